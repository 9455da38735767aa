//! When the campaign may write to people, by their clocks.

use chrono::{NaiveDate, NaiveTime};
use chrono_tz::Tz;
use clap::Args;
use fanfare_domain::zone;
use fanfare_store::hours::NewHours;
use serde_json::{Value, json};

use crate::parse;

/// Options of `campaign create`.
#[derive(Debug, Args)]
#[command(next_help_heading = "By the recipients' clocks")]
pub struct HoursOptions {
    /// Hours of the day in which nothing is sent, e.g. 21:00-08:00, beside those of the workspace
    #[arg(long, value_name = "FROM-TO", value_parser = parse::quiet)]
    quiet: Option<String>,
    /// Windows in which something is, e.g. 'mon-fri 09:00-18:00, sat 10:00-14:00', beside those of the workspace
    #[arg(long, value_name = "WINDOWS", value_parser = parse::hours)]
    hours: Option<String>,
    /// Where those live of whom nothing is known, e.g. Europe/Paris; the others are known by an attribute
    /// timezone, time_zone, zone or tz, or by their number [default: the workspace's, else UTC]. A schedule goes by
    /// the clocks of this zone [default: UTC]
    #[arg(long, value_parser = zone::parse)]
    zone: Option<Tz>,
    /// Send to everybody on this day where they are, e.g. 2026-12-01
    #[arg(long, value_name = "DATE", requires = "local_time", value_parser = parse::date)]
    local_date: Option<NaiveDate>,
    /// At this time of that day, e.g. 09:00
    #[arg(long, value_name = "TIME", requires = "local_date", value_parser = parse::time_of_day)]
    local_time: Option<NaiveTime>,
}

impl HoursOptions {
    /// As the store takes them.
    pub fn new_hours(&self) -> NewHours<'_> {
        NewHours {
            quiet: self.quiet.as_deref(),
            hours: self.hours.as_deref(),
            zone: self.zone,
            local: self.local_date.zip(self.local_time).map(|(date, time)| date.and_time(time)),
        }
    }

    /// By whose clocks a schedule goes, too.
    pub fn zone(&self) -> Option<Tz> {
        self.zone
    }

    /// Whether it is sent at a time of everybody's own clock.
    pub fn is_local(&self) -> bool {
        self.local_date.is_some()
    }

    /// As programs read them.
    pub fn json(&self) -> Value {
        json!({
            "quiet": self.quiet, "hours": self.hours, "zone": self.zone.map(|zone| zone.name()),
            "local_date": self.local_date, "local_time": self.local_time.map(|time| time.format("%H:%M").to_string()),
        })
    }

    /// `2026-12-01 09:00 where they are; not 21:00-08:00; mon-fri 09:00-18:00; others in Europe/Paris`.
    pub fn shown(&self) -> String {
        let local = self.local_date.zip(self.local_time);
        let parts = [
            local.map(|(date, time)| format!("{date} {} where they are", time.format("%H:%M"))),
            self.quiet.as_ref().map(|quiet| format!("not {quiet}")),
            self.hours.clone(),
            self.zone.map(|zone| format!("whose zone is unknown: {}", zone.name())),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}
