//! `fanfare campaign create`: what to say, to whom, through which accounts, under which policies.

mod audience;
mod hours;
mod parts;
mod through;
mod timing;
mod trigger;

use anyhow::Context as _;
use clap::Args;
use fanfare_domain::cap::Cap;
use fanfare_domain::clock::Clock;
use fanfare_domain::state::{CampaignKind, OnMissing, OnUnknown, Sharing};
use fanfare_providers::{Kind, sender};
use fanfare_store::accounts;
use fanfare_store::arms::CampaignArm;
use fanfare_store::campaigns::{self, Campaign, NewCampaign, Through};
use serde_json::json;

use super::triggered;
use crate::context::Context;
use crate::output::{Output, Usage, duration, fields, id};
use crate::parse;
use crate::schedule::utc;
use audience::Audience;
use hours::HoursOptions;

pub use through::{ThroughArgs, through};
pub use timing::{Sound, Timing};

#[derive(Debug, Args)]
pub struct Create {
    /// What the commands will call it
    #[arg(value_parser = parse::name)]
    name: String,
    /// What is said
    #[arg(long)]
    template: String,
    /// Template, approved by the provider, for those who have not written within 24 hours, where they may be
    /// sent nothing else [default: they are sent nothing]
    #[arg(long, value_name = "TEMPLATE")]
    fallback: Option<String>,
    #[command(flatten)]
    audience: Audience,
    #[command(flatten)]
    trigger: trigger::Trigger,
    #[command(flatten)]
    through: ThroughArgs,
    /// Its share of each account beside other campaigns, 1 to 1000
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=1000))]
    weight: i32,
    /// What each of its runs sends in the mean, over all accounts and workers, e.g. 50/s, 3000/min, 500/h [default: as
    /// much as its accounts let it]
    #[arg(long, value_parser = parse::rate)]
    rate: Option<Cap>,
    /// When recipients lack a variable: refuse the launch, skip them, or by default send with nothing in
    /// its place
    #[arg(long, value_name = "refuse|skip|default", default_value_t = OnMissing::Refuse)]
    on_missing: OnMissing,
    /// A message in doubt, at a provider without idempotency keys: hold it for a person, resend it at the
    /// risk of a second one, or write_off
    #[arg(long, value_name = "hold|resend|write_off", default_value_t = OnUnknown::Hold)]
    on_unknown: OnUnknown,
    /// What is not sent this long after the launch, or of a triggered campaign after it came, is not sent at all,
    /// e.g. 90m, 24h, 7d [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse::seconds)]
    expires_after: Option<i64>,
    #[command(flatten)]
    timing: Timing,
    /// Whom an earlier run has reached, or may still reach, is left out
    #[arg(long, help_heading = "Schedule")]
    once_per_contact: bool,
    #[command(flatten)]
    hours: HoursOptions,
    #[command(flatten)]
    parts: parts::Parts,
}

impl Create {
    /// What can be refused before the database is opened.
    pub fn check(&self) -> Result<(), Usage> {
        self.through()?;
        let schedule = self.timing.sound(Clock::system().now(), self.hours.zone())?;
        if self.trigger.triggered && schedule.is_some() {
            return Err(Usage("--triggered: messages that come one by one have no schedule: leave it out".to_owned()));
        }
        if schedule.is_some() && self.parts.first_part().is_some() {
            return Err(Usage(
                "a campaign with a schedule goes to everybody at once: leave the first part out".to_owned(),
            ));
        }
        if schedule.is_some() && self.hours.is_local() {
            return Err(Usage("--local-date is a day of its own: leave it out, or the schedule".to_owned()));
        }
        if self.trigger.triggered && self.audience.chooses() {
            let what = "--triggered: messages come one by one, to whoever is enrolled: leave --minus and --segment out";
            return Err(Usage(what.to_owned()));
        }
        if self.trigger.triggered && self.parts.first_part().is_some() {
            return Err(Usage(
                "--triggered: messages that come one by one have no first part: leave it out".to_owned(),
            ));
        }
        if self.trigger.triggered && self.rate.is_some() {
            let what = "--triggered: messages that come one by one are sent at once: leave --rate out; a limit for all \
                        that an account sends is its cap, fanfare account set ACCOUNT --cap 50/s";
            return Err(Usage(what.to_owned()));
        }
        self.parts.arms(&self.template).map(drop)
    }

    fn through(&self) -> Result<(Vec<Through<'_>>, Sharing), Usage> {
        let none = || Usage("through which account? name one with --account, or several".to_owned());
        self.through.given()?.ok_or_else(none)
    }
}

pub async fn run(context: &Context, new: &Create, output: Output) -> anyhow::Result<()> {
    let (accounts, sharing) = new.through()?;
    let schedule = new.timing.sound(context.store.clock.now(), new.hours.zone())?;
    let (list, more_lists) = new.audience.lists();
    let arms = new.parts.arms(&new.template)?;
    let campaign = NewCampaign {
        name: &new.name,
        template: &new.template,
        fallback: new.fallback.as_deref(),
        list,
        more_lists,
        minus: &new.audience.minus,
        audience: new.audience.segment.as_ref(),
        category: new.audience.category(new.trigger.kind()),
        kind: new.trigger.kind(),
        accounts: &accounts,
        sharing,
        weight: new.weight,
        rate: new.rate,
        on_missing: new.on_missing,
        on_unknown: new.on_unknown,
        expires_after_s: new.expires_after,
        schedule: schedule.as_ref().map(Sound::as_new),
        once_per_contact: new.once_per_contact,
        hours: new.hours.new_hours(),
        arms: &arms,
        first_part: new.parts.first_part(),
        fails_at_permille: new.parts.fails_at_permille(),
    };
    for through in &accounts {
        fits(context, through).await?;
    }
    let made = campaigns::create(&context.store, context.workspace_id, campaign).await?;
    if made.kind == CampaignKind::Triggered {
        triggered::begin(context, &made.name).await?;
    }
    let value = json!({
        "id": id(made.campaign_id), "name": made.name, "kind": made.kind, "template": made.template,
        "fallback": made.fallback.as_ref().map(|f| &f.name), "list": made.list,
        "lists": names(&made, false), "minus": names(&made, true), "segment": made.audience, "category": made.category,
        "accounts": made.accounts, "sharing": made.sharing, "channel": made.channel, "weight": made.weight,
        "rate": made.rate.map(|rate| rate.to_string()), "on_missing": made.on_missing,
        "on_unknown": made.on_unknown, "expires_after_seconds": made.expires_after_s,
        "once_per_contact": made.once_per_contact, "next_at": schedule.as_ref().map(|s| utc(s.as_new().next_at)),
        "times": new.hours.json(),
        "variants": made.arms, "first_part": made.first_part, "fails_at_permille": made.fails_at_permille,
    });
    output.result(&value, |_| definition(&made, &new.hours, schedule.as_ref()))
}

/// Refuses a sender that the account cannot send from.
pub async fn fits(context: &Context, through: &Through<'_>) -> anyhow::Result<()> {
    let Some(address) = through.sender else { return Ok(()) };
    let mut c = context.store.pool.acquire().await?;
    let account = accounts::get(&mut c, context.workspace_id, through.account).await?;
    let kind = Kind::named(&account.kind).with_context(|| format!("account {:?} is of no known kind", account.name))?;
    sender::check(kind, &account.settings, address)
        .map_err(|why| Usage(format!("--sender {}={address}: {why}", through.account)).into())
}

/// The names of its lists, or of those it leaves out.
fn names(c: &Campaign, minus: bool) -> Vec<&str> {
    let first = Some(c.list.as_str()).filter(|name| !minus && !name.is_empty());
    let more = c.more_lists.iter().filter(|list| list.minus == minus).map(|list| list.name.as_str());
    first.into_iter().chain(more).collect()
}

fn definition(c: &Campaign, hours: &HoursOptions, schedule: Option<&Sound>) -> String {
    let fallback = c.fallback.as_ref().map(|f| format!("; outside the 24-hour window template {}", f.name));
    let broadcast = c.kind == CampaignKind::Broadcast;
    let since = if broadcast { "the launch" } else { "it came" };
    let expires = c.expires_after_s.map_or("never".to_owned(), |s| format!("{} after {since}", duration(s as f64)));
    fields([
        ("campaign", c.name.clone()),
        ("says", format!("{}, by {}{}", templates(c), c.channel, fallback.unwrap_or_default())),
        ("to", if broadcast { audience::in_words(c) } else { "whoever is enrolled".to_owned() }),
        ("for", c.category.to_string()),
        ("in parts", first_part(c)),
        ("through", through(c)),
        ("when", hours.shown()),
        (
            "policies",
            format!("variable missing: {}; message in doubt: {}; expires: {expires}", c.on_missing, c.on_unknown),
        ),
        ("runs", schedule.map(Sound::in_words).unwrap_or_default()),
        (
            "next",
            if broadcast {
                format!("fanfare campaign plan {}", c.name)
            } else {
                format!("fanfare campaign enrol {} --to …", c.name)
            },
        ),
    ])
}

/// `template hello`, or `templates hello (1 of 3), sale (2 of 3)`.
fn templates(c: &Campaign) -> String {
    let all: i32 = c.arms.iter().map(|arm| arm.weight).sum();
    let each = |arm: &CampaignArm| format!("{} ({} of {all})", arm.template, arm.weight);
    match c.arms.as_slice() {
        [] => format!("template {}", c.template),
        arms => format!("templates {}", arms.iter().map(each).collect::<Vec<_>>().join(", ")),
    }
}

/// `10 % first, the rest 2 h after, by the best read`.
fn first_part(c: &Campaign) -> String {
    let Some(part) = c.first_part else { return String::new() };
    let share = part.ppm.map(|ppm| format!("{} %", f64::from(ppm) / 10_000.0));
    let share = share.or(part.messages.map(|n| format!("{n} messages"))).unwrap_or_default();
    let after =
        if part.rest_after_s == 0 { String::new() } else { format!(" {} later", duration(part.rest_after_s as f64)) };
    let winner = part.measure().map(|m| format!(" in the words most {m}")).unwrap_or_default();
    let limit = |what: &str, permille: Option<i32>| {
        permille.map(|n| format!(", held if more than {} % {what}", f64::from(n) / 10.0)).unwrap_or_default()
    };
    let held = limit("failed", part.failed_permille) + &limit("opted out", part.opted_out_permille);
    format!("{share} first, then the rest{after}{winner}{held}")
}
