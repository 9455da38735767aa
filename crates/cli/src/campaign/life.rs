//! `fanfare campaign submit`, `approve`, `refuse` and `set`: what people decide beside the runs.

use anyhow::Context as _;
use clap::Args;
use fanfare_scheduler::life::{self, Edit, Edited, Verdict};
use fanfare_store::campaigns::Campaign;
use fanfare_store::hours::Written;
use serde_json::json;

use super::create;
use crate::context::Context;
use crate::output::{Output, Usage, count, id};
use crate::parse;
use crate::workspace::hours::{self as workspace_hours, Change};

#[derive(Debug, Args)]
pub struct Set {
    /// Which
    name: String,
    /// Its share of each account beside other campaigns, 1 to 1000
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=1000))]
    weight: Option<i32>,
    /// What each of its runs sends in the mean, over all accounts and workers, e.g. 50/s, 3000/min, 500/h; none for as
    /// much as its accounts let it
    #[arg(long, value_name = "RATE|none", value_parser = parse::rate_or_none)]
    rate: Option<parse::Rate>,
    #[command(flatten)]
    through: create::ThroughArgs,
    /// Pause a run once more of its messages failed, e.g. 20%; 0% = never
    #[arg(long, value_name = "PERCENT", value_parser = parse_limit)]
    pause_if_failed: Option<i32>,
    /// Hours of the day in which nothing is sent, by the recipients' clocks, e.g. 21:00-08:00; none to take them back
    #[arg(long, value_name = "FROM-TO|none", value_parser = workspace_hours::quiet)]
    quiet: Option<Change>,
    /// Windows in which something is, e.g. 'mon-fri 09:00-18:00, sat 10:00-14:00'; none to take them back
    #[arg(long, value_name = "WINDOWS|none", value_parser = workspace_hours::windows)]
    hours: Option<Change>,
}

impl Set {
    /// Whether it says nothing of hours.
    fn keeps_hours(&self) -> bool {
        self.quiet.is_none() && self.hours.is_none()
    }
}

fn change(change: Option<&Change>) -> Option<Option<&str>> {
    change.map(|Change(text)| text.as_deref())
}

fn parse_limit(text: &str) -> Result<i32, String> {
    if text.trim() == "0%" { Ok(0) } else { parse::permille(text) }
}

/// Moves a campaign on its way to approval.
pub async fn judge(context: &Context, name: &str, verdict: Verdict<'_>, output: Output) -> anyhow::Result<()> {
    let campaign = life::judge(&context.store, context.workspace_id, name, verdict).await?;
    let value = json!({
        "campaign": campaign.name, "state": campaign.approval, "says": campaign.says(), "by": &*context.store.actor,
    });
    output.result(&value, |_| format!("campaign {name} is {}: it says {}", campaign.approval, campaign.says()))
}

/// Changes a campaign, and its runs that are not over at once.
pub async fn set(context: &Context, set: &Set, output: Output) -> anyhow::Result<()> {
    let through = set.through.given()?;
    let kept = set.weight.is_none() && set.rate.is_none() && set.pause_if_failed.is_none() && set.keeps_hours();
    if kept && through.is_none() {
        let options = "--weight, --rate, --account with its shares, --pause-if-failed, --quiet or --hours";
        return Err(Usage(format!("nothing to change: give {options}")).into());
    }
    for account in through.iter().flat_map(|(accounts, _)| accounts) {
        create::fits(context, account).await?;
    }
    let edit = Edit {
        weight: set.weight,
        rate: set.rate.map(|parse::Rate(rate)| rate),
        through: through.as_ref().map(|(accounts, sharing)| (accounts.as_slice(), *sharing)),
        fails_at_permille: set.pause_if_failed,
        quiet: change(set.quiet.as_ref()),
        hours: change(set.hours.as_ref()),
    };
    let edited = life::edit(&context.store, context.workspace_id, &set.name, edit).await?;
    let Edited { campaign, runs, written, undivided } = edited;
    let value = json!({
        "id": id(campaign.campaign_id), "campaign": campaign.name, "weight": campaign.weight,
        "rate": campaign.rate.map(|rate| rate.to_string()),
        "accounts": campaign.accounts, "sharing": campaign.sharing,
        "fails_at_permille": campaign.fails_at_permille, "runs_changed": runs,
        "quiet": written.quiet, "hours": written.hours, "undivided": undivided,
    });
    output.result(&value, |_| {
        let note = workspace_hours::undivided(undivided, "the campaign's zone");
        [in_words(&campaign, &written, runs), note].join("\n").trim_end().to_owned()
    })
}

fn in_words(campaign: &Campaign, written: &Written, runs: usize) -> String {
    let quiet = written.quiet.as_ref().map(|quiet| format!(", not {quiet}")).unwrap_or_default();
    let hours = written.hours.as_ref().map(|hours| format!(", within {hours}")).unwrap_or_default();
    let runs = match runs {
        0 => String::new(),
        n => format!(
            "; at once for {} that {} not over",
            if n == 1 { "the run".to_owned() } else { format!("{} runs", count(n as i64)) },
            if n == 1 { "is" } else { "are" }
        ),
    };
    format!("{} goes through {}{quiet}{hours}{runs}", campaign.name, create::through(campaign))
}

/// Whose comment a refusal needs.
pub fn comment(text: &str) -> anyhow::Result<&str> {
    let text = text.trim();
    (!text.is_empty()).then_some(text).context("a refusal needs a comment: say what is to be changed")
}
