//! `fanfare workspace`: the rules that hold for all of its campaigns.

pub mod hours;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use fanfare_domain::state::Consent;
use fanfare_scheduler::hours::apply;
use fanfare_store::hours as store_hours;
use fanfare_store::workspaces::{self, Cap, Rules};
use serde_json::json;

use crate::context::{Context, Global};
use crate::output::{Output, Usage, fields};
use crate::parse;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the rules
    Show,
    /// Change them
    Set(Set),
}

#[derive(Debug, Args)]
pub struct Set {
    /// Whom marketing may go to: everybody counts as opted in, or only those of whom it is known
    #[arg(long, value_name = "assumed|required")]
    consent: Option<Consent>,
    /// Most marketing messages to a contact in a span of time, over all campaigns, e.g. 3/7d; none for no limit
    #[arg(long, value_name = "N/TIME", value_parser = parse::cap_by_contact)]
    cap: Option<parse::ByContact>,
    /// Whether campaigns have to be approved before they are launched: fanfare campaign submit, then approve
    #[arg(long, value_name = "on|off", value_parser = parse::on_off)]
    review: Option<bool>,
    #[command(flatten)]
    hours: hours::SetHours,
}

pub async fn run(global: &Global, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    if let Command::Set(Set { consent: None, cap: None, review: None, hours }) = &command
        && hours.is_empty()
    {
        let options = "--consent, --cap, --review, --quiet, --hours or --zone";
        return Err(Usage(format!("say what is to change: {options}")).into());
    }
    let made = matches!(command, Command::Set(_));
    global.with_workspace(made, async |context| changed(context, command, output).await).await?;
    Ok(ExitCode::SUCCESS)
}

async fn changed(context: &Context, command: Command, output: Output) -> anyhow::Result<()> {
    let changes = matches!(command, Command::Set(_));
    let mut tx = context.store.pool.begin().await?;
    workspaces::hold(&mut tx, context.workspace_id).await?;
    let mut rules = workspaces::rules(&mut tx, context.workspace_id).await?;
    if let Command::Set(set) = command {
        rules.consent = set.consent.unwrap_or(rules.consent);
        rules.cap = set.cap.map_or(rules.cap, |cap| cap.0);
        rules.review = set.review.unwrap_or(rules.review);
        workspaces::set_rules(&mut tx, context.workspace_id, rules).await?;
        set.hours.set(&mut tx, context.workspace_id).await?;
    }
    let times = store_hours::of_workspace(&mut tx, context.workspace_id).await?;
    tx.commit().await?;
    let undivided = match changes {
        true => apply(&context.store, context.workspace_id, None).await?.undivided,
        false => 0,
    };
    let value = json!({
        "consent": rules.consent, "cap": rules.cap, "review": rules.review, "zone": times.zone,
        "hours": hours::json(&times), "undivided": undivided,
    });
    output.result(&value, |_| {
        let consent = match rules.consent {
            Consent::Assumed => "assumed: marketing goes to every contact",
            Consent::Required => "required: marketing goes to those who have opted in",
        };
        let review = if rules.review { "on: a campaign is launched as it was approved" } else { "off" };
        let rules = [("consent", consent.to_owned()), ("cap", cap_in_words(rules)), ("review", review.to_owned())];
        let note = ("note", hours::undivided(undivided, times.zone.as_deref().unwrap_or("UTC")));
        fields(rules.into_iter().chain(hours::rows(&times)).chain([note]))
    })
}

/// `at most 3 marketing messages to a contact in 7 days`.
pub fn cap_in_words(rules: Rules) -> String {
    match rules.cap {
        None => "none: marketing as often as campaigns say".to_owned(),
        Some(Cap { messages, hours }) if hours % 24 == 0 => {
            format!("at most {messages} marketing messages to a contact in {} days", hours / 24)
        }
        Some(Cap { messages, hours }) => format!("at most {messages} marketing messages to a contact in {hours} hours"),
    }
}
