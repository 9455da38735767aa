//! `fanfare campaign create`: what to say, to whom, through which accounts, under which policies.

mod timing;

use std::collections::HashSet;

use anyhow::Context as _;
use clap::Args;
use fanfare_domain::clock::Clock;
use fanfare_domain::state::{OnMissing, OnUnknown, Sharing};
use fanfare_providers::{Kind, sender};
use fanfare_store::accounts;
use fanfare_store::campaigns::{self, Campaign, CampaignAccount, NewCampaign, Through};
use serde_json::json;

use crate::context::Context;
use crate::output::{Output, Usage, duration, fields, id};
use crate::parse;
use crate::schedule::utc;

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
    /// To whom
    #[arg(long)]
    list: String,
    /// Through which account; repeat it for several, which then send together, the fastest most
    #[arg(long = "account", value_name = "ACCOUNT", required = true)]
    accounts: Vec<String>,
    /// Divide it by shares, one for each account, e.g. --share main=3 --share other=1
    #[arg(long = "share", value_name = "ACCOUNT=N", value_parser = parse::share, conflicts_with = "in_order")]
    shares: Vec<(String, i32)>,
    /// Prefer the accounts in the order given: a later one sends only what the earlier ones cannot, since
    /// they are stopped, down, or at the end of their day
    #[arg(long)]
    in_order: bool,
    /// The address that an account sends from for this campaign [default: the account's own]
    #[arg(long = "sender", value_name = "ACCOUNT=ADDRESS", value_parser = parse::sender)]
    senders: Vec<(String, String)>,
    /// Its share of each account beside other campaigns, 1 to 1000
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=1000))]
    weight: i32,
    /// When recipients lack a variable: refuse the launch, skip them, or by default send with nothing in
    /// its place
    #[arg(long, value_name = "refuse|skip|default", default_value_t = OnMissing::Refuse)]
    on_missing: OnMissing,
    /// A message in doubt, at a provider without idempotency keys: hold it for a person, resend it at the
    /// risk of a second one, or write_off
    #[arg(long, value_name = "hold|resend|write_off", default_value_t = OnUnknown::Hold)]
    on_unknown: OnUnknown,
    /// What is not sent this long after the launch is not sent at all, e.g. 90m, 24h, 7d [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse::seconds)]
    expires_after: Option<i64>,
    #[command(flatten)]
    timing: timing::Timing,
}

impl Create {
    /// Refuses what cannot be, as far as that is seen without the database.
    pub fn check(&self) -> Result<(), Usage> {
        self.through()?;
        self.timing.sound(Clock::system().now())?;
        Ok(())
    }

    /// The accounts with what was said of each.
    fn through(&self) -> Result<(Vec<Through<'_>>, Sharing), Usage> {
        fn of<'v, T>(all: &'v [(String, T)], account: &str) -> Option<&'v T> {
            all.iter().find(|(name, _)| name == account).map(|(_, value)| value)
        }
        let named = self.shares.iter().map(|(name, _)| name).chain(self.senders.iter().map(|(name, _)| name));
        if let Some(stranger) = named.into_iter().find(|name| !self.accounts.contains(name)) {
            return Err(Usage(format!("--account {stranger:?} is not given: name each account with --account first")));
        }
        for named in [
            self.shares.iter().map(|(name, _)| name).collect(),
            self.senders.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        ] {
            let mut seen = HashSet::new();
            if let Some(twice) = named.into_iter().find(|name| !seen.insert(*name)) {
                return Err(Usage(format!("account {twice:?} is given two shares or two senders: give one of each")));
            }
        }
        let share = |account: &String| of(&self.shares, account).copied();
        if let (false, Some(without)) = (self.shares.is_empty(), self.accounts.iter().find(|a| share(a).is_none())) {
            return Err(Usage(format!(
                "account {without:?} has no share: give every account one, --share {without}=N"
            )));
        }
        let sharing = match (self.in_order, self.shares.is_empty()) {
            (true, _) => Sharing::InOrder,
            (false, false) => Sharing::Shares,
            (false, true) => Sharing::Together,
        };
        let sender = |account: &String| of(&self.senders, account).map(String::as_str);
        let through = self.accounts.iter().map(|a| Through { account: a, share: share(a), sender: sender(a) });
        Ok((through.collect(), sharing))
    }
}

pub async fn run(context: &Context, new: &Create, output: Output) -> anyhow::Result<()> {
    let (accounts, sharing) = new.through()?;
    let schedule = new.timing.sound(context.store.clock.now())?;
    let campaign = NewCampaign {
        name: &new.name,
        template: &new.template,
        fallback: new.fallback.as_deref(),
        list: &new.list,
        accounts: &accounts,
        sharing,
        weight: new.weight,
        on_missing: new.on_missing,
        on_unknown: new.on_unknown,
        expires_after_s: new.expires_after,
        schedule: schedule.as_ref().map(timing::Sound::as_new),
        once_per_contact: new.timing.once_per_contact,
    };
    for through in &accounts {
        fits(context, through).await?;
    }
    let made = campaigns::create(&context.store, context.workspace_id, campaign).await?;
    let value = json!({
        "id": id(made.campaign_id), "name": made.name, "template": made.template,
        "fallback": made.fallback.as_ref().map(|f| &f.name), "list": made.list,
        "accounts": made.accounts, "sharing": made.sharing, "channel": made.channel, "weight": made.weight, "on_missing": made.on_missing,
        "on_unknown": made.on_unknown, "expires_after_seconds": made.expires_after_s,
        "once_per_contact": made.once_per_contact, "next_at": schedule.as_ref().map(|s| utc(s.as_new().next_at)),
    });
    output.result(&value, |_| definition(&made, schedule.as_ref()))
}

/// Refuses a sender that the account cannot send from.
async fn fits(context: &Context, through: &Through<'_>) -> anyhow::Result<()> {
    let Some(address) = through.sender else { return Ok(()) };
    let mut c = context.store.pool.acquire().await?;
    let account = accounts::get(&mut c, context.workspace_id, through.account).await?;
    let kind = Kind::named(&account.kind).with_context(|| format!("account {:?} is of no known kind", account.name))?;
    sender::check(kind, &account.settings, address)
        .map_err(|why| Usage(format!("--sender {}={address}: {why}", through.account)).into())
}

fn definition(c: &Campaign, schedule: Option<&timing::Sound>) -> String {
    let expires = c.expires_after_s.map_or("never".to_owned(), |s| format!("{} after the launch", duration(s as f64)));
    let fallback = c.fallback.as_ref().map(|f| format!("; outside the 24-hour window template {}", f.name));
    fields([
        ("campaign", c.name.clone()),
        ("says", format!("template {}, by {}{}", c.template, c.channel, fallback.unwrap_or_default())),
        ("to", format!("list {}", c.list)),
        ("through", through(c)),
        (
            "policies",
            format!("variable missing: {}; message in doubt: {}; expires: {expires}", c.on_missing, c.on_unknown),
        ),
        ("runs", schedule.map(timing::Sound::in_words).unwrap_or_default()),
        ("next", format!("fanfare campaign plan {}", c.name)),
    ])
}

/// `accounts main (3 of 4), other (1 of 4), by shares; weight 1`.
fn through(c: &Campaign) -> String {
    let all: i32 = c.accounts.iter().filter_map(|a| a.share).sum();
    let each = |a: &CampaignAccount| {
        let share = a.share.map(|share| format!(" ({share} of {all})")).unwrap_or_default();
        let sender = a.sender.as_ref().map(|sender| format!(" from {sender}")).unwrap_or_default();
        format!("{}{share}{sender}", a.name)
    };
    let names = c.accounts.iter().map(each).collect::<Vec<_>>().join(", ");
    match (c.accounts.len(), c.sharing) {
        (1, _) => format!("account {names}, weight {}", c.weight),
        (_, Sharing::Together) => format!("accounts {names}, together; weight {}", c.weight),
        (_, Sharing::Shares) => format!("accounts {names}, by shares; weight {}", c.weight),
        (_, Sharing::InOrder) => format!("accounts {names}, in this order; weight {}", c.weight),
    }
}
