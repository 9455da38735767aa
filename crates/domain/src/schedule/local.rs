//! Times of the wall clock as instants.

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};

use super::Error;
use crate::nearest::nearest;

/// Most zones that are suggested.
const SUGGESTED_MAX: usize = 3;

/// What a time of the wall clock is in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Local {
    /// This instant.
    Once(DateTime<Utc>),
    /// The first of two: the clocks are put back over it.
    FirstOfTwo(DateTime<Utc>),
    /// None, since the clocks are put forward over it: the next instant that exists.
    Skipped(DateTime<Utc>),
}

impl Local {
    /// The instant that stands for it.
    pub fn at(self) -> DateTime<Utc> {
        match self {
            Self::Once(at) | Self::FirstOfTwo(at) | Self::Skipped(at) => at,
        }
    }
}

/// The instant at which the clocks of `zone` show `time`; `None` at the ends of the calendar.
pub fn resolve(zone: Tz, time: NaiveDateTime) -> Option<Local> {
    match zone.from_local_datetime(&time) {
        LocalResult::Single(at) => Some(Local::Once(at.to_utc())),
        LocalResult::Ambiguous(one, other) => Some(Local::FirstOfTwo(one.min(other).to_utc())),
        LocalResult::None => after_gap(zone, time).map(Local::Skipped),
    }
}

/// The first instant at which the clocks show more than `time`, which they skip.
fn after_gap(zone: Tz, time: NaiveDateTime) -> Option<DateTime<Utc>> {
    // No zone is further from UTC than 15 hours, and none ever skipped more than a day.
    let near = TimeDelta::try_hours(48)?;
    let (mut before, mut after) =
        (time.checked_sub_signed(near)?.and_utc().timestamp(), time.checked_add_signed(near)?.and_utc().timestamp());
    let shown = |at: i64| Some(DateTime::from_timestamp(at, 0)?.with_timezone(&zone).naive_local());
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if shown(middle)? < time {
            before = middle;
        } else {
            after = middle;
        }
    }
    DateTime::from_timestamp(after, 0)
}

/// The zone of an IANA name, in any case: `Europe/Paris`.
///
/// # Errors
/// The nearest names, when there is none of this one.
pub fn zone(name: &str) -> Result<Tz, Error> {
    let wanted = name.trim();
    let found = TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(wanted));
    found.copied().ok_or_else(|| Error::Zone { name: name.to_owned(), near: near(wanted) })
}

/// Zones of nearly this name, or of a city of nearly this name.
fn near(wanted: &str) -> Vec<String> {
    let city = |zone: &Tz| zone.name().rsplit('/').next().unwrap_or_default().replace('_', " ");
    let wanted_city = wanted.rsplit('/').next().unwrap_or_default().replace('_', " ");
    let mut near = nearest(wanted, TZ_VARIANTS.iter().map(|zone| zone.name()));
    let exact = TZ_VARIANTS.iter().filter(|zone| city(zone).eq_ignore_ascii_case(&wanted_city));
    let mut all: Vec<String> = exact.map(|zone| zone.name().to_owned()).collect();
    if all.is_empty() {
        let cities = nearest(&wanted_city, TZ_VARIANTS.iter().map(city));
        near.extend(TZ_VARIANTS.iter().filter(|zone| cities.contains(&city(zone))).map(|zone| zone.name().to_owned()));
    }
    all.extend(near);
    let mut seen = Vec::new();
    for name in all {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen.truncate(SUGGESTED_MAX);
    seen
}

/// A date with a time and without an offset: `2026-12-01T09:00`.
///
/// # Errors
/// When it is none.
pub fn local_time(text: &str) -> Result<NaiveDateTime, Error> {
    let joined = text.trim().replacen(' ', "T", 1);
    ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(&joined, format).ok())
        .ok_or_else(|| Error::LocalTime(text.to_owned()))
}
