//! `fanfare campaign`: from the definition to the last message.

mod create;
pub mod plan;
mod recipients;
mod schedule;
pub mod status;
mod stuck;
pub mod watch;

use std::process::ExitCode;

use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::Subcommand;
use fanfare_domain::state::{MessageState, OnUnknown, ScheduleState};
use fanfare_scheduler::Problem;
use fanfare_scheduler::control::{self, Changed};
use fanfare_scheduler::launch::{Launch, launch};
use fanfare_store::campaigns::{self, Campaign};
use fanfare_store::{PgConnection, Store, progress, schedules};
use serde_json::json;
use uuid::Uuid;

use crate::context::{Context, Global};
use crate::output::{Output, Table, count, id, when};
use crate::parse;
use status::Status;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Define a campaign: what to say, to whom, through which account
    Create(create::Create),
    /// The dry run: whom a launch would reach, what it would cost, what stands in its way
    Plan {
        /// Which
        name: String,
        /// For a campaign that was sent before: plan to send it once more
        #[arg(long)]
        again: bool,
    },
    /// Freeze the audience and begin to send, now or at a time
    Launch {
        /// Which
        name: String,
        /// When, with its offset: 2026-12-01T09:00+01:00 [default: now]
        #[arg(long, value_parser = parse::time)]
        at: Option<DateTime<Utc>>,
        /// A campaign that was sent before goes to the whole list once more
        #[arg(long)]
        again: bool,
    },
    /// Send nothing more until resumed
    Pause {
        /// Which
        name: String,
    },
    /// Go on
    Resume {
        /// Which
        name: String,
    },
    /// Send nothing more, ever; what was sent stays on record
    Cancel {
        /// Which
        name: String,
    },
    /// When it runs by itself and what became of that; pause, resume or end it
    Schedule(schedule::Options),
    /// Where the newest run stands
    Status {
        /// Which
        name: String,
    },
    /// Follow the newest run until it is over
    Watch {
        /// Which
        name: String,
    },
    /// List the messages of the newest run
    Recipients {
        /// Which
        name: String,
        /// Only those in this state: queued, leased, retrying, sent, failed, suppressed, expired, cancelled or unknown
        #[arg(long)]
        state: Option<MessageState>,
        /// One JSON object a line
        #[arg(long, conflicts_with = "json")]
        json_lines: bool,
    },
    /// Decide about a message in doubt; the decision is kept, with who made it and when
    #[command(group = clap::ArgGroup::new("verdict").required(true).args(["resend", "write_off", "hold"]))]
    Resolve {
        /// The message's id, as campaign recipients --state unknown --json-lines shows it
        id: Uuid,
        /// Send it again, at the risk of a second one
        #[arg(long)]
        resend: bool,
        /// Count it as lost, and as paid
        #[arg(long)]
        write_off: bool,
        /// Keep it in doubt
        #[arg(long)]
        hold: bool,
    },
    /// Write every message of the newest run to standard output as CSV: state, attempts, cost, provider's id
    Export {
        /// Which
        name: String,
        /// One JSON object a line
        #[arg(long, conflicts_with = "json")]
        json_lines: bool,
    },
    /// List the campaigns
    Ls,
}

pub async fn run(global: &Global, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    if let Command::Create(new) = &command {
        // Bad usage is refused before the database is opened.
        new.check()?;
    }
    global.with(async |context| dispatch(context, command, output).await).await
}

async fn dispatch(context: &Context, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    let (store, workspace_id) = (&context.store, context.workspace_id);
    match command {
        Command::Create(new) => create::run(context, &new, output).await?,
        Command::Plan { name, again } => return plan::run(context, &name, again, output).await,
        Command::Launch { name, at, again } => {
            launched(store, workspace_id, &name, Launch { at, again }, output).await?;
        }
        Command::Pause { name } => changed(output, &control::pause(store, workspace_id, &name).await?)?,
        Command::Resume { name } => changed(output, &control::resume(store, workspace_id, &name).await?)?,
        Command::Cancel { name } => changed(output, &control::cancel(store, workspace_id, &name).await?)?,
        Command::Schedule(options) => schedule::run(context, &options, output).await?,
        Command::Status { name } => status::run(context, &name, output).await?,
        Command::Watch { name } => watch::run(context, &name, output).await?,
        Command::Recipients { name, state, json_lines } => {
            recipients::list(context, &name, state, json_lines, output).await?;
        }
        Command::Resolve { id, resend, write_off, .. } => {
            let verdict = match (resend, write_off) {
                (true, _) => OnUnknown::Resend,
                (false, true) => OnUnknown::WriteOff,
                (false, false) => OnUnknown::Hold,
            };
            recipients::resolve(context, id, verdict, output).await?;
        }
        Command::Export { name, json_lines } => recipients::export(context, &name, json_lines, output).await?,
        Command::Ls => ls(context, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The names of its accounts.
pub fn account_names(c: &Campaign) -> String {
    c.accounts.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join(", ")
}

async fn launched(store: &Store, workspace_id: i32, name: &str, how: Launch, output: Output) -> anyhow::Result<()> {
    if how.at.is_none()
        && !how.again
        && let Some(next_at) = scheduled(store, workspace_id, name).await?
    {
        return comes_by_itself(store, workspace_id, name, next_at, output).await;
    }
    let run = match launch(store, workspace_id, name, how).await {
        Err(fanfare_scheduler::Error::Refused(problems)) => return Err(refused(name, &problems)),
        done => done?,
    };
    let value = json!({
        "campaign": run.campaign, "run": id(run.run_id), "state": run.state, "scheduled_for": run.scheduled_for,
        "recipients": run.plan.recipients, "cost": run.plan.cost, "warnings": run.plan.warnings,
    });
    output.result(&value, |_| {
        let start = match how.at {
            Some(at) => format!("starts {}", when(at)),
            None => "launched".to_owned(),
        };
        let to = count(run.plan.recipients);
        let warnings: String =
            run.plan.warnings.iter().map(|w| format!("note: {}: {}\n", w.problem, w.remedy)).collect();
        format!("{warnings}{start}: {to} recipients, {}\nnext: fanfare campaign watch {name}", plan::cost(&run.plan))
    })
}

/// When the campaign's schedule next runs it.
async fn scheduled(store: &Store, workspace_id: i32, name: &str) -> anyhow::Result<Option<DateTime<Utc>>> {
    let mut c = store.pool.acquire().await?;
    let campaign_id = campaigns::get(&mut c, workspace_id, name).await?.campaign_id;
    let schedule = schedules::get(&mut c, workspace_id, campaign_id).await?;
    Ok(schedule.filter(|s| s.state == ScheduleState::Active).and_then(|s| s.next_at))
}

/// There is nothing to launch by hand; what stands in the way is told now, not when its time has come.
async fn comes_by_itself(
    store: &Store,
    workspace_id: i32,
    name: &str,
    next_at: DateTime<Utc>,
    output: Output,
) -> anyhow::Result<()> {
    let plan = fanfare_scheduler::plan::plan(store, workspace_id, name, false, |_, _| {}).await?;
    if !plan.refusals.is_empty() {
        return Err(refused(name, &plan.refusals));
    }
    let value = json!({
        "campaign": name, "run": null, "state": "scheduled", "scheduled_for": next_at,
        "recipients": plan.recipients, "cost": plan.cost, "warnings": plan.warnings,
    });
    output.result(&value, |_| {
        format!(
            "its schedule runs it by itself, next {}: {} recipients by now, {}\nto send it now as well, give --again",
            when(next_at),
            count(plan.recipients),
            plan::cost(&plan)
        )
    })
}

fn refused(name: &str, problems: &[Problem]) -> anyhow::Error {
    let list: String = problems.iter().map(|p| format!("\n  {}\n    {}", p.problem, p.remedy)).collect();
    anyhow::anyhow!("campaign {name:?} cannot be launched:{list}")
}

fn changed(output: Output, changed: &Changed) -> anyhow::Result<()> {
    let value = json!({ "campaign": changed.campaign, "run": id(changed.run_id), "state": changed.state });
    output.result(&value, |_| format!("campaign {} is {}", changed.campaign, changed.state))
}

/// The campaign's newest run.
async fn newest_run(c: &mut PgConnection, workspace_id: i32, name: &str) -> anyhow::Result<(Campaign, i64)> {
    let campaign = campaigns::get(c, workspace_id, name).await?;
    match progress::newest_run(c, workspace_id, campaign.campaign_id).await? {
        Some(run_id) => Ok((campaign, run_id)),
        None => bail!("campaign {name:?} has not been launched: fanfare campaign launch {name}"),
    }
}

async fn ls(context: &Context, output: Output) -> anyhow::Result<()> {
    let mut c = context.store.pool.acquire().await?;
    let mut all: Vec<(Campaign, Option<Status>)> = Vec::new();
    for campaign in campaigns::list(&mut c, context.workspace_id).await? {
        let status = match progress::newest_run(&mut c, context.workspace_id, campaign.campaign_id).await? {
            Some(run_id) => Some(status::read(&mut c, context.workspace_id, &campaign, run_id).await?),
            None => None,
        };
        all.push((campaign, status));
    }
    let json: Vec<_> = all
        .iter()
        .map(|(c, s)| json!({ "id": id(c.campaign_id), "name": c.name, "template": c.template, "list": c.list, "accounts": c.accounts, "status": s }))
        .collect();
    output.result(&json!({ "campaigns": json }), |_| {
        let mut table = Table::new(&["campaign", "template", "list", "account", "state", "sent", "total"]);
        for (c, s) in &all {
            let (state, sent, total) = match s {
                Some(s) => (s.state_in_words(), count(s.sent), count(s.total)),
                None => ("not launched".to_owned(), String::new(), String::new()),
            };
            table.row([c.name.clone(), c.template.clone(), c.list.clone(), account_names(c), state, sent, total]);
        }
        let none = "no campaigns yet: fanfare campaign create NAME --template T --list L --account A";
        if all.is_empty() { none.to_owned() } else { table.render() }
    })
}
