//! What a zone's clocks show: stretches between two changes, and the instant of a local time.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

/// Two zones that keep the same time for so many days are one to a campaign.
const YEAR_DAYS: i64 = 366;
const DAY_S: i64 = 86_400;

/// A stretch of time in which a zone's clocks are not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Unix time at which it begins, seconds.
    pub from_s: i64,
    /// And at which it ends.
    pub to_s: i64,
    /// What is added to UTC, seconds.
    pub offset_s: i64,
}

fn offset_s(zone: Tz, at_s: i64) -> i64 {
    let at = DateTime::from_timestamp(at_s, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    i64::from(zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc())
}

/// The stretches of `[from_s, to_s)`, in order. No zone changes its clocks twice within a day and a night, so
/// two looks a day apart find every change.
pub fn pieces(zone: Tz, from_s: i64, to_s: i64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut begin, mut seen, mut offset) = (from_s, from_s, offset_s(zone, from_s));
    while seen < to_s {
        let next = (seen + DAY_S).min(to_s);
        let then = offset_s(zone, next);
        if then != offset {
            let (mut before, mut after) = (seen, next);
            while after - before > 1 {
                let middle = i64::midpoint(before, after);
                if offset_s(zone, middle) == offset { before = middle } else { after = middle }
            }
            pieces.push(Piece { from_s: begin, to_s: after, offset_s: offset });
            (begin, offset) = (after, then);
        }
        seen = next;
    }
    if begin < to_s {
        pieces.push(Piece { from_s: begin, to_s, offset_s: offset });
    }
    pieces
}

/// What a zone's clocks show in the year from `from` on: equal for those that keep the same time.
pub fn same_time(zone: Tz, from: DateTime<Utc>) -> Vec<Piece> {
    let from_s = from.timestamp();
    pieces(zone, from_s, from_s + YEAR_DAYS * DAY_S)
}

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

/// The same, the end of time at the ends of the calendar.
pub fn instant(zone: Tz, time: NaiveDateTime) -> DateTime<Utc> {
    resolve(zone, time).map_or(DateTime::<Utc>::MAX_UTC, Local::at)
}
