//! `fanfare schedule`: what a schedule would do, without a campaign and without a database.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use fanfare_domain::clock::Clock;
use fanfare_domain::schedule::{Instant, Pattern, Schedule, Shift, Tz};
use fanfare_domain::zone;
use serde_json::{Value, json};

use crate::output::{Output, Table, dim};
use crate::parse;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The next instants of a cron expression or of plain words, in a zone and in UTC
    #[command(group = clap::ArgGroup::new("pattern").required(true).args(["cron", "words"]))]
    Preview(Preview),
}

#[derive(Debug, Args)]
pub struct Preview {
    /// Five fields: minute hour day-of-month month day-of-week, e.g. '30 9 * * mon-fri'
    #[arg(long, value_parser = cron)]
    cron: Option<Written>,
    /// Plain words, e.g. 'every Monday 09:00' or 'monthly on the last day 10:00'
    #[arg(long, value_parser = words)]
    words: Option<Written>,
    /// The time zone by whose clocks it goes, e.g. Europe/Paris
    #[arg(long, default_value = "UTC", value_parser = zone::parse)]
    zone: Tz,
    /// From when on, with its offset [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse::time)]
    from: Option<DateTime<Utc>>,
    /// How many
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
}

/// A pattern, and how it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub text: String,
    pub pattern: Pattern,
}

pub fn cron(text: &str) -> Result<Written, String> {
    let pattern = Pattern::cron(text).map_err(|e| e.to_string())?;
    Ok(Written { text: text.trim().to_owned(), pattern })
}

pub fn words(text: &str) -> Result<Written, String> {
    let pattern = Pattern::words(text).map_err(|e| e.to_string())?;
    Ok(Written { text: text.trim().to_owned(), pattern })
}

pub fn run(command: Command, output: Output) -> anyhow::Result<ExitCode> {
    let Command::Preview(preview) = command;
    // clap has seen to it that there is one.
    let Some(written) = preview.cron.or(preview.words) else { return Ok(ExitCode::FAILURE) };
    let schedule = Schedule { pattern: written.pattern, zone: preview.zone };
    let from = preview.from.unwrap_or_else(|| Clock::system().now());
    let instants: Vec<Instant> = schedule.from(from).take(usize::from(preview.count)).collect();
    let warning = warning(&schedule.pattern);
    let mut value = as_json(&instants, preview.zone);
    value["warnings"] = json!(warning.iter().collect::<Vec<_>>());
    output.result(&value, |_| {
        let none = || format!("{:?} does not come any more in this calendar", written.text);
        let table = if instants.is_empty() { none() } else { table(&instants, preview.zone) };
        warning.map_or_else(|| table.clone(), |warning| format!("{table}{}", dim(&format!("note: {warning}"))))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What should be known of a pattern.
pub fn warning(pattern: &Pattern) -> Option<&'static str> {
    match pattern {
        Pattern::Calendar(calendar) if calendar.is_untimed() => Some("no time of day is given: it is midnight, 00:00"),
        _ => None,
    }
}

/// Instants as scripts read them: in UTC, by the clocks of the zone, and what daylight saving does.
pub fn as_json(instants: &[Instant], zone: Tz) -> Value {
    let notes = instants.iter().filter_map(|instant| {
        let (kind, time) = match instant.shift? {
            Shift::Skipped(time) => ("skipped", time),
            Shift::Twice(time) => ("twice", time),
        };
        let time = time.format("%Y-%m-%dT%H:%M:%S").to_string();
        Some(json!({ "instant": utc(instant.at), "local_time": time, "kind": kind, "note": note(*instant) }))
    });
    json!({
        "instants": instants.iter().map(|i| utc(i.at)).collect::<Vec<_>>(),
        "zone": zone.name(),
        "local": instants.iter().map(|i| i.at.with_timezone(&zone).to_rfc3339()).collect::<Vec<_>>(),
        "notes": notes.collect::<Vec<_>>(),
    })
}

/// Instants as people read them.
pub fn table(instants: &[Instant], zone: Tz) -> String {
    let mut table = Table::new(&[zone.name(), "utc", ""]);
    for instant in instants {
        let local = instant.at.with_timezone(&zone);
        let local = local.format(if seconds(instant) { "%a %Y-%m-%d %H:%M:%S %:z" } else { "%a %Y-%m-%d %H:%M %:z" });
        let utc = instant.at.format(if seconds(instant) { "%a %Y-%m-%d %H:%M:%S" } else { "%a %Y-%m-%d %H:%M" });
        table.row([local.to_string(), utc.to_string(), note(*instant)]);
    }
    table.render()
}

fn seconds(instant: &Instant) -> bool {
    instant.at.timestamp() % 60 != 0
}

/// `2026-03-02T08:30:00Z`.
pub fn utc(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What daylight saving does to an instant, in words.
fn note(instant: Instant) -> String {
    match instant.shift {
        None => String::new(),
        Some(Shift::Skipped(time)) => {
            format!("{} does not exist that day: the clocks go forward", time.format("%H:%M"))
        }
        Some(Shift::Twice(time)) => format!("{} comes twice that day: the first of the two", time.format("%H:%M")),
    }
}
