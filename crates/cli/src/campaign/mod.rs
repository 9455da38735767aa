//! `fanfare campaign`: from the definition to the last message.

mod create;
mod follow;
mod life;
pub mod plan;
pub mod recipients;
mod report;
mod runs;
mod schedule;
pub mod status;
mod stuck;
mod triggered;
pub mod watch;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use fanfare_domain::cohort::Member;
use fanfare_domain::state::{MessageState, OnUnknown, RunState, ScheduleForm, ScheduleState};
use fanfare_scheduler::Problem;
use fanfare_scheduler::control::{self, Changed};
use fanfare_scheduler::launch::{Launch, launch};
use fanfare_scheduler::life::Verdict;
use fanfare_scheduler::resend::resend;
use fanfare_store::campaigns::{self, Campaign};
use fanfare_store::{PgConnection, Store, progress, schedules};
use serde_json::json;
use uuid::Uuid;

use crate::context::{Context, Global};
use crate::message::Addressed;
use crate::output::{Output, Table, count, id, when};
use crate::parse;
use status::Status;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Define a campaign: what to say, to whom, through which account
    Create(Box<create::Create>),
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
        /// When, with its offset: 2026-12-01T09:00+01:00; more than an hour late it is held for a person
        /// [default: now]
        #[arg(long, value_parser = parse::time)]
        at: Option<DateTime<Utc>>,
        /// A campaign that was sent before goes to the whole list once more
        #[arg(long)]
        again: bool,
    },
    /// Send one message of a triggered campaign, ahead of all bulk; the same key again is the same message
    Enrol {
        /// Which
        name: String,
        #[command(flatten)]
        addressed: Addressed,
    },
    /// Take no more messages into a triggered campaign; those that came are sent
    Stop {
        /// Which
        name: String,
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
    /// Let it run by itself at other times than before, or from now on; runs that are there go on
    Reschedule(schedule::Reschedule),
    /// Change a campaign; its runs that are not over change at once. What is said, and to whom, is frozen in each
    Set(life::Set),
    /// Hand a campaign in, to be approved
    Submit {
        /// Which
        name: String,
    },
    /// Let a campaign that is in review be launched, as it is now
    Approve {
        /// Which
        name: String,
    },
    /// Send a campaign that is in review back
    Refuse {
        /// Which
        name: String,
        /// What is to be changed
        #[arg(long)]
        comment: String,
    },
    /// What comes after a campaign, and to whom
    #[command(subcommand)]
    FollowUp(follow::Command),
    /// Send once more to some of a run's recipients, by what became of their messages
    Resend {
        /// Which
        name: String,
        /// To those failed, unknown, undelivered, unread, no_reply, expired or cancelled; several are separated by commas
        #[arg(long, value_name = "STATES", value_delimiter = ',', required = true)]
        state: Vec<Member>,
        /// Of this run [default: the newest]
        #[arg(long)]
        run: Option<i64>,
    },
    /// List the runs of a campaign
    Runs {
        /// Which
        name: String,
    },
    /// Every change of state of a campaign and its runs: when, by whom, why
    History {
        /// Which
        name: String,
    },
    /// What was expected of a run beside what came of it, by country and by variant
    Report {
        /// Which
        name: String,
        /// Of this run [default: the newest]
        #[arg(long)]
        run: Option<i64>,
    },
    /// Where the newest run stands
    Status {
        /// Which
        name: String,
        /// Of this run [default: the newest]
        #[arg(long)]
        run: Option<i64>,
    },
    /// Follow the newest run until it is over
    Watch {
        /// Which
        name: String,
        /// This run [default: the newest]
        #[arg(long)]
        run: Option<i64>,
    },
    /// List the messages of the newest run
    Recipients {
        /// Which
        name: String,
        /// Of this run [default: the newest]
        #[arg(long)]
        run: Option<i64>,
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
        /// Of this run [default: the newest]
        #[arg(long)]
        run: Option<i64>,
        /// One JSON object a line
        #[arg(long, conflicts_with = "json")]
        json_lines: bool,
    },
    /// List the campaigns
    Ls,
}

pub async fn run(global: &Global, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    // Bad usage is refused before the database is opened.
    match &command {
        Command::Create(new) => new.check()?,
        Command::Enrol { addressed, .. } => drop(addressed.params()?),
        _ => {}
    }
    global.with(async |context| dispatch(context, command, output).await).await
}

async fn dispatch(context: &Context, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    let (store, workspace_id) = (&context.store, context.workspace_id);
    match command {
        Command::Create(new) => create::run(context, &new, output).await?,
        Command::Plan { name, again } => return plan::run(context, &name, again, output).await,
        Command::Enrol { name, addressed } => return triggered::enrol(context, &name, &addressed, output).await,
        Command::Stop { name } => triggered::stop(context, &name, output).await?,
        Command::Launch { name, at, .. } if triggered::is(context, &name).await? => {
            triggered::launch(context, &name, at, output).await?;
        }
        Command::Launch { name, at, again } => {
            launched(store, workspace_id, &name, Launch { at, again }, output).await?;
        }
        Command::Pause { name } => changed(output, &control::pause(store, workspace_id, &name).await?)?,
        Command::Resume { name } => changed(output, &control::resume(store, workspace_id, &name).await?)?,
        Command::Cancel { name } => changed(output, &control::cancel(store, workspace_id, &name).await?)?,
        Command::Schedule(options) => schedule::run(context, &options, output).await?,
        Command::Reschedule(options) => schedule::reschedule(context, &options, output).await?,
        Command::Set(set) => life::set(context, &set, output).await?,
        Command::Submit { name } => life::judge(context, &name, Verdict::Submit, output).await?,
        Command::Approve { name } => life::judge(context, &name, Verdict::Approve, output).await?,
        Command::Refuse { name, comment } => {
            life::judge(context, &name, Verdict::Refuse(life::comment(&comment)?), output).await?;
        }
        Command::FollowUp(command) => follow::run(context, command, output).await?,
        Command::Resend { name, state, run } => resent(context, &name, run, &state, output).await?,
        Command::Runs { name } => runs::list(context, &name, output).await?,
        Command::History { name } => runs::history(context, &name, output).await?,
        Command::Report { name, run } => report::run(context, &name, run, output).await?,
        Command::Status { name, run } => status::run(context, &name, run, output).await?,
        Command::Watch { name, run } => watch::run(context, &name, run, output).await?,
        Command::Recipients { name, run, state, json_lines } => {
            recipients::list(context, (&name, run), state, json_lines, output).await?;
        }
        Command::Resolve { id, resend, write_off, .. } => {
            let verdict = match (resend, write_off) {
                (true, _) => OnUnknown::Resend,
                (false, true) => OnUnknown::WriteOff,
                (false, false) => OnUnknown::Hold,
            };
            recipients::resolve(context, id, verdict, output).await?;
        }
        Command::Export { name, run, json_lines } => {
            recipients::export(context, (&name, run), json_lines, output).await?
        }
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
        && let Some(next) = scheduled(store, workspace_id, name).await?
    {
        return comes_by_itself(store, workspace_id, name, next, output).await;
    }
    let run = match launch(store, workspace_id, name, how).await {
        Err(fanfare_scheduler::Error::Refused(problems)) => return Err(refused(name, &problems)),
        done => done?,
    };
    let value = json!({
        "campaign": run.campaign, "run": id(run.run_id), "state": run.state, "scheduled_for": run.scheduled_for,
        "recipients": run.plan.recipients, "first": run.plan.first, "cost": run.plan.cost, "warnings": run.plan.warnings,
    });
    output.result(&value, |_| {
        // One that goes by its recipients' clocks may have to wait, too.
        let start = match run.state {
            RunState::Scheduled => format!("starts {}", when(run.scheduled_for)),
            _ => "launched".to_owned(),
        };
        let to = format!("{} recipients{}", count(run.plan.recipients), plan::first_part(&run.plan));
        let warnings: String =
            run.plan.warnings.iter().map(|w| format!("note: {}: {}\n", w.problem, w.remedy)).collect();
        format!("{warnings}{start}: {to}, {}\nnext: fanfare campaign watch {name}", plan::cost(&run.plan))
    })
}

/// When the campaign's schedule next runs it, and how that is written.
async fn scheduled(
    store: &Store,
    workspace_id: i32,
    name: &str,
) -> anyhow::Result<Option<(DateTime<Utc>, ScheduleForm)>> {
    let mut c = store.pool.acquire().await?;
    let campaign_id = campaigns::get(&mut c, workspace_id, name).await?.campaign_id;
    let schedule = schedules::get(&mut c, workspace_id, campaign_id).await?;
    Ok(schedule.filter(|s| s.state == ScheduleState::Active).and_then(|s| Some((s.next_at?, s.form))))
}

/// There is nothing to launch by hand; what stands in the way is told now, not when its time has come.
async fn comes_by_itself(
    store: &Store,
    workspace_id: i32,
    name: &str,
    (next_at, form): (DateTime<Utc>, ScheduleForm),
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
    // A launch takes the place of a single start; of what comes again and again it is one more.
    let how = if form == ScheduleForm::Once { "instead" } else { "as well" };
    output.result(&value, |_| {
        format!(
            "its schedule runs it by itself, next {}: {} recipients by now, {}\nto send it now {how}, give --again",
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
    let runs: Vec<String> = changed.runs.iter().map(|run| id(*run)).collect();
    let value = json!({
        "campaign": changed.campaign, "run": changed.run_id.map(id), "state": changed.state, "runs": runs,
        "schedule_ended": changed.schedule_ended,
    });
    output.result(&value, |_| {
        let ended = format!("the schedule of campaign {} has ended", changed.campaign);
        let Some(state) = changed.state else { return ended };
        let runs = if runs.len() == 1 { String::new() } else { format!(", in {} runs", runs.len()) };
        let ended = if changed.schedule_ended { format!("; {ended}") } else { String::new() };
        format!("campaign {} is {state}{runs}{ended}", changed.campaign)
    })
}

async fn resent(
    context: &Context,
    name: &str,
    run: Option<i64>,
    cohort: &[Member],
    output: Output,
) -> anyhow::Result<()> {
    let resent = resend(&context.store, context.workspace_id, name, run, cohort).await?;
    let value = json!({
        "campaign": name, "run": id(resent.run_id), "parent": id(resent.parent_run_id), "state": resent.cohort,
    });
    output.result(&value, |_| {
        let twice = cohort.iter().any(Member::may_have_reached);
        let note = if twice { "note: some of them may have got the first message, and get it twice\n" } else { "" };
        let to = cohort.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!(
            "{note}sent once more to those {to} of run {}\nnext: fanfare campaign watch {name}",
            id(resent.parent_run_id)
        )
    })
}

/// A run of the campaign: the one that is named, else the newest.
async fn run_of(
    c: &mut PgConnection,
    workspace_id: i32,
    name: &str,
    run_id: Option<i64>,
) -> anyhow::Result<(Campaign, i64)> {
    let campaign = campaigns::get(c, workspace_id, name).await?;
    if let Some(run_id) = run_id {
        let found = fanfare_store::runs::of_campaign(c, workspace_id, campaign.campaign_id, run_id).await?;
        let found = found.with_context(|| {
            format!("campaign {name:?} has no run {run_id}: fanfare campaign runs {name} lists them")
        })?;
        return Ok((campaign, found.run_id));
    }
    match progress::newest_run(c, workspace_id, campaign.campaign_id).await? {
        Some(run_id) => Ok((campaign, run_id)),
        None => bail!("campaign {name:?} has not been launched: fanfare campaign launch {name}"),
    }
}

async fn ls(context: &Context, output: Output) -> anyhow::Result<()> {
    let mut c = context.store.pool.acquire().await?;
    let mut all: Vec<(Campaign, Option<Status>, Option<DateTime<Utc>>)> = Vec::new();
    for campaign in campaigns::list(&mut c, context.workspace_id).await? {
        let status = match progress::newest_run(&mut c, context.workspace_id, campaign.campaign_id).await? {
            Some(run_id) => Some(status::read(&mut c, context.workspace_id, &campaign, run_id).await?),
            None => None,
        };
        let next = scheduled(&context.store, context.workspace_id, &campaign.name).await?;
        let next_at = next.map(|(at, _)| at);
        all.push((campaign, status, next_at));
    }
    let json: Vec<_> = all
        .iter()
        .map(|(c, s, next_at)| {
            json!({
                "id": id(c.campaign_id), "name": c.name, "kind": c.kind, "template": c.template, "list": c.list,
                "accounts": c.accounts, "approval": c.approval, "next_at": next_at, "status": s,
            })
        })
        .collect();
    output.result(&json!({ "campaigns": json }), |_| {
        let mut table = Table::new(&["campaign", "template", "list", "account", "state", "sent", "total"]);
        for (c, s, next_at) in &all {
            let (state, sent, total) = match (s, next_at) {
                (Some(s), _) => (s.state_in_words(), count(s.sent), count(s.total)),
                (None, Some(at)) => (format!("runs {}", when(*at)), String::new(), String::new()),
                (None, None) => ("not launched".to_owned(), String::new(), String::new()),
            };
            table.row([c.name.clone(), c.template.clone(), c.list.clone(), account_names(c), state, sent, total]);
        }
        let none = "no campaigns yet: fanfare campaign create NAME --template T --list L --account A";
        if all.is_empty() { none.to_owned() } else { table.render() }
    })
}
