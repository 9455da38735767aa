//! When a campaign runs by itself, as `campaign create` and `campaign schedule` are told.

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args};
use fanfare_domain::limits::{LATEST_START, SECONDS_TICKS_MAX};
use fanfare_domain::schedule::{Missed, Pattern, Schedule, Tz, local_time};
use fanfare_domain::state::{Overlap, ScheduleForm};
use fanfare_domain::zone::resolve;
use fanfare_store::schedules::NewSchedule;

use crate::output::Usage;
use crate::parse;
use crate::schedule::{self, Written};

/// When it runs by itself.
#[derive(Debug, Args)]
#[command(next_help_heading = "Schedule")]
#[command(group = ArgGroup::new("recurring").args(["cron", "words"]))]
#[command(group = ArgGroup::new("once").args(["at", "at_local"]).conflicts_with("recurring"))]
pub struct Timing {
    /// Again and again, by five fields: minute hour day-of-month month day-of-week, e.g. '0 9 * * mon'
    #[arg(long, value_parser = schedule::cron)]
    cron: Option<Written>,
    /// Again and again, in plain words, e.g. 'every Monday 09:00' or 'monthly on the last day 10:00'
    #[arg(long, value_parser = schedule::words)]
    words: Option<Written>,
    /// Once, at a time with its offset: 2026-12-01T09:00+01:00
    #[arg(long, value_name = "TIME", value_parser = parse::time)]
    at: Option<DateTime<Utc>>,
    /// Once, at a time by the clocks of the zone: 2026-12-01T09:00
    #[arg(long, value_name = "LOCAL TIME")]
    at_local: Option<String>,
    /// It does not run before this time, with an offset, or by the clocks of the zone [default: now]
    #[arg(long, value_name = "TIME", requires = "recurring")]
    start: Option<String>,
    /// It does not run after this time
    #[arg(long, value_name = "TIME", requires = "recurring")]
    end: Option<String>,
    /// It ends after so many runs
    #[arg(long, value_name = "N", requires = "recurring", value_parser = clap::value_parser!(i32).range(1..=1_000_000))]
    runs: Option<i32>,
    /// Of the runs that nobody could start in time: skip them, run-once for all of them, or run-each[=N], at
    /// most N, the newest
    #[arg(long, value_name = "skip|run-once|run-each[=N]", requires = "recurring", default_value = "run-once")]
    missed: Missed,
    /// When the run before is not over: skip, queue, or parallel
    #[arg(long, value_name = "skip|queue|parallel", requires = "recurring", default_value_t = Overlap::Skip)]
    overlap: Overlap,
    /// Later than this after its time, a single run is held for a person, e.g. 15m, 2h [default: 1h]
    #[arg(long, value_name = "TIME", requires = "once", value_parser = parse::seconds)]
    latest_start: Option<i64>,
}

/// A schedule that was found sound.
#[derive(Debug, Clone)]
pub struct Sound {
    form: ScheduleForm,
    expression: String,
    zone: Tz,
    starts_at: DateTime<Utc>,
    ends_at: Option<DateTime<Utc>>,
    runs_max: Option<i32>,
    missed: Missed,
    overlap: Overlap,
    latest_after_s: Option<i64>,
    next_at: DateTime<Utc>,
}

impl Sound {
    /// As people read it.
    pub fn in_words(&self) -> String {
        format!("{}, by the clocks of {}; first {}", self.expression, self.zone.name(), shown(self.next_at, self.zone))
    }

    /// To be stored.
    pub fn as_new(&self) -> NewSchedule<'_> {
        NewSchedule {
            form: self.form,
            expression: &self.expression,
            zone: self.zone,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            runs_max: self.runs_max,
            missed: self.missed,
            overlap: self.overlap,
            latest_after_s: self.latest_after_s,
            next_at: self.next_at,
        }
    }
}

impl Timing {
    /// The schedule that is meant, if any; `now` is when it is made, and it goes by the clocks of the zone.
    pub fn sound(&self, now: DateTime<Utc>, zone: Option<Tz>) -> Result<Option<Sound>, Usage> {
        let zone = zone.unwrap_or(Tz::UTC);
        match (&self.cron, &self.words) {
            (Some(written), _) => self.recurring(ScheduleForm::Cron, written, zone, now).map(Some),
            (_, Some(written)) => self.recurring(ScheduleForm::Words, written, zone, now).map(Some),
            (None, None) => self.once(zone, now),
        }
    }

    fn recurring(&self, form: ScheduleForm, written: &Written, zone: Tz, now: DateTime<Utc>) -> Result<Sound, Usage> {
        let time =
            |option: &str, given: &Option<String>| given.as_deref().map(|t| instant(option, t, zone)).transpose();
        let (start, end) = (time("--start", &self.start)?, time("--end", &self.end)?);
        if let Some(start) = start.filter(|start| *start <= now) {
            return Err(Usage(format!("--start {} is past: give a time to come, or leave it out", shown(start, zone))));
        }
        let starts_at = start.unwrap_or(now);
        if let Some(end) = end.filter(|end| *end <= starts_at) {
            let from = if start.is_some() { "its start" } else { "now" };
            return Err(Usage(format!("--end {} is not after {from}: give a later one", shown(end, zone))));
        }
        let recurrence = Schedule { pattern: written.pattern.clone(), zone };
        let first = recurrence.next(starts_at).map(|instant| instant.at);
        let Some(next_at) = first.filter(|first| end.is_none_or(|end| *first <= end)) else {
            let until = end.map_or_else(String::new, |end| format!(" until its end, {}", shown(end, zone)));
            let first = first.map_or_else(String::new, |first| format!("; it would first on {}", shown(first, zone)));
            return Err(Usage(format!("{:?} does not come{until}{first}", written.text)));
        };
        if let Pattern::Seconds(seconds) = written.pattern {
            self.bounded(&written.text, seconds, next_at, end)?;
        }
        Ok(Sound {
            form,
            expression: written.text.clone(),
            zone,
            starts_at,
            ends_at: end,
            runs_max: self.runs,
            missed: self.missed,
            overlap: self.overlap,
            latest_after_s: None,
            next_at,
        })
    }

    /// Refuses a schedule by seconds that has no near end.
    fn bounded(&self, text: &str, seconds: u32, first: DateTime<Utc>, end: Option<DateTime<Utc>>) -> Result<(), Usage> {
        let until_end = end.map(|end| (end - first).num_seconds() / i64::from(seconds) + 1);
        let ticks = until_end.unwrap_or(i64::MAX).min(self.runs.map_or(i64::MAX, i64::from));
        if ticks <= i64::from(SECONDS_TICKS_MAX) {
            return Ok(());
        }
        Err(Usage(format!(
            "{text:?} goes on for too long: a schedule by seconds has at most {SECONDS_TICKS_MAX} runs; give --runs N or a nearer --end"
        )))
    }

    fn once(&self, zone: Tz, now: DateTime<Utc>) -> Result<Option<Sound>, Usage> {
        let at = match (&self.at, &self.at_local) {
            (Some(at), _) => *at,
            (None, Some(text)) => instant("--at-local", text, zone)?,
            (None, None) => return Ok(None),
        };
        if at <= now {
            return Err(Usage(format!("{} is past: give a time to come", shown(at, zone))));
        }
        Ok(Some(Sound {
            form: ScheduleForm::Once,
            expression: at.with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S").to_string(),
            zone,
            starts_at: now,
            ends_at: None,
            runs_max: Some(1),
            missed: Missed::RunOnce,
            overlap: Overlap::Parallel,
            latest_after_s: Some(self.latest_start.unwrap_or(LATEST_START.as_secs().cast_signed())),
            next_at: at,
        }))
    }
}

/// A time with its offset, or by the clocks of the zone.
fn instant(option: &str, text: &str, zone: Tz) -> Result<DateTime<Utc>, Usage> {
    if let Ok(at) = parse::time(text) {
        return Ok(at);
    }
    let refuse = |why: String| Usage(format!("{option}: {why}"));
    let time = local_time(text).map_err(|e| refuse(e.to_string()))?;
    resolve(zone, time).map(|local| local.at()).ok_or_else(|| refuse(format!("{text:?} is not in the calendar")))
}

fn shown(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).format("%Y-%m-%d %H:%M %:z").to_string()
}
