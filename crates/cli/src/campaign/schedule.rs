//! `fanfare campaign schedule`: when a campaign runs by itself, and what became of that.

use chrono::{DateTime, Utc};
use clap::Args;
use fanfare_domain::schedule::{Instant, Tz};
use fanfare_domain::state::ScheduleState;
use fanfare_domain::zone;
use fanfare_scheduler::schedule::{Change, change};
use fanfare_store::campaigns::{self, Campaign};
use fanfare_store::schedules::{self, Schedule, Tick};
use fanfare_store::{PgConnection, Store};
use serde_json::{Value, json};

use super::create::{Sound, Timing};
use crate::context::Context;
use crate::output::{Output, Table, Usage, count, duration, fields, id, when};
use crate::schedule::{as_json, table, utc};

#[derive(Debug, Args)]
pub struct Options {
    /// Which
    name: String,
    /// Skip its ticks until it is resumed; a run that is going on goes on
    #[arg(long, conflicts_with_all = ["resume", "end"])]
    pause: bool,
    /// Let its ticks fire again; those that came meanwhile are skipped
    #[arg(long, conflicts_with = "end")]
    resume: bool,
    /// Let no tick fire any more
    #[arg(long)]
    end: bool,
    /// How many ticks to show, to come and past
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
}

#[derive(Debug, Args)]
pub struct Reschedule {
    /// Which
    name: String,
    #[command(flatten)]
    timing: Timing,
    /// By whose clocks, e.g. Europe/Paris [default: that of its schedule so far, else UTC]
    #[arg(long, value_parser = zone::parse, help_heading = "Schedule")]
    zone: Option<Tz>,
}

impl Reschedule {
    fn sound(&self, now: DateTime<Utc>, before: Option<Tz>) -> Result<Sound, Usage> {
        let none = || Usage("when? give --cron, --words, --at or --at-local".to_owned());
        self.timing.sound(now, self.zone.or(before))?.ok_or_else(none)
    }
}

pub async fn reschedule(context: &Context, options: &Reschedule, output: Output) -> anyhow::Result<()> {
    let (store, workspace_id, name) = (&context.store, context.workspace_id, options.name.as_str());
    let mut c = store.pool.acquire().await?;
    let campaign_id = campaigns::get(&mut c, workspace_id, name).await?.campaign_id;
    let before = schedules::get(&mut c, workspace_id, campaign_id).await?.map(|s| s.zone);
    drop(c);
    let sound = options.sound(store.clock.now(), before)?;
    fanfare_scheduler::schedule::reschedule(store, workspace_id, name, &sound.as_new()).await?;
    let value = json!({ "campaign": name, "state": ScheduleState::Active, "next_at": utc(sound.as_new().next_at) });
    output.result(&value, |_| format!("campaign {name} runs {}", sound.in_words()))
}

pub async fn run(context: &Context, options: &Options, output: Output) -> anyhow::Result<()> {
    let (store, workspace_id, name) = (&context.store, context.workspace_id, options.name.as_str());
    let wanted = match (options.pause, options.resume, options.end) {
        (true, _, _) => Some(Change::Pause),
        (_, true, _) => Some(Change::Resume),
        (_, _, true) => Some(Change::End),
        _ => None,
    };
    if let Some(wanted) = wanted {
        let state = change(store, workspace_id, name, wanted).await?;
        let value = json!({ "campaign": name, "state": state });
        return output.result(&value, |_| format!("the schedule of campaign {name} is {state}"));
    }
    let mut c = store.pool.acquire().await?;
    let campaign = campaigns::get(&mut c, workspace_id, name).await?;
    let Some(schedule) = schedules::get(&mut c, workspace_id, campaign.campaign_id).await? else {
        anyhow::bail!("campaign {name:?} has no schedule: it runs when it is launched, fanfare campaign launch {name}");
    };
    let next = next(&schedule, store, options.count)?;
    let ticks = schedules::ticks(&mut c, workspace_id, campaign.campaign_id, i64::from(options.count)).await?;
    let value = json!({
        "campaign": name, "schedule": value(&schedule, &campaign), "next": as_json(&next, schedule.zone),
        "ticks": ticks.iter().map(tick).collect::<Vec<_>>(),
    });
    output.result(&value, |_| render(&schedule, &campaign, &next, &ticks))
}

/// Its next ticks.
fn next(schedule: &Schedule, store: &Store, count: u16) -> anyhow::Result<Vec<Instant>> {
    let Some(first) = schedule.next_at.filter(|_| schedule.state == ScheduleState::Active) else {
        return Ok(Vec::new());
    };
    let Some(recurrence) = schedule.recurrence()? else { return Ok(vec![Instant { at: first, shift: None }]) };
    // Those that are due are about to be dealt with.
    let from = first.max(store.clock.now());
    let end = |i: &Instant| schedule.ends_at.is_none_or(|end| i.at <= end);
    let count = usize::from(count).min(usize::try_from(schedule.runs_left()).unwrap_or(usize::MAX));
    Ok(recurrence.from(from).take_while(end).take(count).collect())
}

fn value(s: &Schedule, campaign: &Campaign) -> Value {
    json!({
        "form": s.form, "expression": s.expression, "zone": s.zone.name(), "state": s.state,
        "start": utc(s.starts_at), "end": s.ends_at.map(utc), "runs_max": s.runs_max, "runs": s.fired,
        "missed": s.missed.to_string(), "overlap": s.overlap, "latest_start_seconds": s.latest_after_s,
        "once_per_contact": campaign.once_per_contact, "next_at": s.next_at.map(utc),
    })
}

fn tick(t: &Tick) -> Value {
    json!({
        "at": utc(t.scheduled_for), "through": utc(t.through), "ticks": t.ticks, "verdict": t.verdict,
        "run": t.run_id.map(id), "why": t.why, "decided_at": t.decided_at,
    })
}

/// `every Monday 09:00, by the clocks of Europe/Paris`.
pub fn in_words(s: &Schedule) -> String {
    format!("{}, by the clocks of {}", s.expression, s.zone.name())
}

fn render(s: &Schedule, campaign: &Campaign, next: &[Instant], ticks: &[Tick]) -> String {
    let runs = match s.runs_max {
        Some(most) => format!("{} of {}", count(i64::from(s.fired)), count(i64::from(most))),
        None => count(i64::from(s.fired)),
    };
    let late = s.latest_after_s.map(|s| format!("held for a person {} after its time", duration(s as f64)));
    let policies = match &late {
        Some(late) => late.clone(),
        None => format!("missed: {}; while a run is going on: {}", s.missed, s.overlap),
    };
    let once = if campaign.once_per_contact { "; each contact once" } else { "" };
    let hint = match s.state {
        ScheduleState::Held => format!(": fanfare campaign launch {} lets it go", campaign.name),
        ScheduleState::Paused => format!(": fanfare campaign schedule {} --resume", campaign.name),
        ScheduleState::Active | ScheduleState::Ended => String::new(),
    };
    let head = fields([
        ("campaign", campaign.name.clone()),
        ("schedule", in_words(s)),
        ("state", format!("{}{hint}", s.state)),
        ("until", s.ends_at.map(when).unwrap_or_default()),
        ("runs", runs),
        ("policies", format!("{policies}{once}")),
    ]);
    let coming = if next.is_empty() { String::new() } else { format!("\n{}", table(next, s.zone)) };
    let mut past = Table::new(&["tick", "ticks", "became", "run", "why"]);
    for t in ticks {
        let at = t.scheduled_for.with_timezone(&s.zone).format("%a %Y-%m-%d %H:%M:%S").to_string();
        let run = t.run_id.map(id).unwrap_or_default();
        past.row([at, count(i64::from(t.ticks)), t.verdict.to_string(), run, t.why.clone().unwrap_or_default()]);
    }
    let past = if ticks.is_empty() { String::new() } else { format!("\n{}", past.render()) };
    format!("{head}{coming}{past}")
}

/// What a campaign that has not run yet is waiting for; `None` without a schedule.
pub async fn waiting(
    c: &mut PgConnection,
    workspace_id: i32,
    campaign: &Campaign,
) -> anyhow::Result<Option<(Value, String)>> {
    let Some(s) = schedules::get(c, workspace_id, campaign.campaign_id).await? else { return Ok(None) };
    let held = schedules::ticks(c, workspace_id, campaign.campaign_id, 1).await?.into_iter().find_map(|t| t.why);
    let state = if s.state == ScheduleState::Active { "scheduled" } else { s.state.as_str() };
    let name = &campaign.name;
    let text = match (s.state, s.next_at) {
        (ScheduleState::Active, Some(at)) => format!("campaign {name} has not run yet: its first run is {}", when(at)),
        (ScheduleState::Held, _) => {
            let why = held.clone().unwrap_or_default();
            format!(
                "campaign {name} is held: {why}\nfanfare campaign launch {name} lets it go; fanfare campaign schedule {name} --end drops it"
            )
        }
        (state, _) => format!("campaign {name} has not run yet, and its schedule is {state}"),
    };
    let json = json!({
        "id": id(campaign.campaign_id), "campaign": name, "run": null, "state": state, "total": 0,
        "scheduled_for": s.next_at, "why": held, "schedule": value(&s, campaign),
    });
    Ok(Some((json, text)))
}
