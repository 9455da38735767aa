//! `fanfare campaign submit`, `approve`, `refuse` and `set`: what people decide beside the runs.

use anyhow::Context as _;
use clap::Args;
use fanfare_scheduler::life::{self, Edit, Verdict};
use fanfare_store::campaigns::Campaign;
use serde_json::json;

use super::create;
use crate::context::Context;
use crate::output::{Output, Usage, count, id};
use crate::parse;

#[derive(Debug, Args)]
pub struct Set {
    /// Which
    name: String,
    /// Its share of each account beside other campaigns, 1 to 1000
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=1000))]
    weight: Option<i32>,
    #[command(flatten)]
    through: create::ThroughArgs,
    /// Pause a run once more of its messages failed, e.g. 20%; 0% = never
    #[arg(long, value_name = "PERCENT", value_parser = parse_limit)]
    pause_if_failed: Option<i32>,
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
    if set.weight.is_none() && set.pause_if_failed.is_none() && through.is_none() {
        return Err(
            Usage("nothing to change: give --weight, --account with its shares, or --pause-if-failed".into()).into()
        );
    }
    for account in through.iter().flat_map(|(accounts, _)| accounts) {
        create::fits(context, account).await?;
    }
    let edit = Edit {
        weight: set.weight,
        through: through.as_ref().map(|(accounts, sharing)| (accounts.as_slice(), *sharing)),
        fails_at_permille: set.pause_if_failed,
    };
    let (campaign, runs) = life::edit(&context.store, context.workspace_id, &set.name, edit).await?;
    let value = json!({
        "id": id(campaign.campaign_id), "campaign": campaign.name, "weight": campaign.weight,
        "accounts": campaign.accounts, "sharing": campaign.sharing,
        "fails_at_permille": campaign.fails_at_permille, "runs_changed": runs,
    });
    output.result(&value, |_| in_words(&campaign, runs))
}

fn in_words(campaign: &Campaign, runs: usize) -> String {
    let runs = match runs {
        0 => String::new(),
        n => format!(
            "; at once for {} that {} not over",
            if n == 1 { "the run".to_owned() } else { format!("{} runs", count(n as i64)) },
            if n == 1 { "is" } else { "are" }
        ),
    };
    format!("{} goes through {}{runs}", campaign.name, create::through(campaign))
}

/// Whose comment a refusal needs.
pub fn comment(text: &str) -> anyhow::Result<&str> {
    let text = text.trim();
    (!text.is_empty()).then_some(text).context("a refusal needs a comment: say what is to be changed")
}
