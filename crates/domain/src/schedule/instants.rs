//! The instants of a schedule.

use chrono::{DateTime, Datelike as _, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{Calendar, Pattern};
use crate::zone::{Local, resolve};

/// A pattern in a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its days and times.
    pub pattern: Pattern,
    /// Where the clocks hang that it goes by.
    pub zone: Tz,
}

/// When a schedule runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant {
    /// When.
    pub at: DateTime<Utc>,
    /// What daylight saving does to it.
    pub shift: Option<Shift>,
}

/// What daylight saving does to an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shift {
    /// The clocks never show this time on that day; the instant is the next that exists.
    Skipped(NaiveDateTime),
    /// The clocks show this time twice; the instant is the first.
    Twice(NaiveDateTime),
}

impl Schedule {
    /// The first instant at or after `from`; `None` when none comes within the calendar.
    pub fn next(&self, from: DateTime<Utc>) -> Option<Instant> {
        // Zones are not known at the ends of the calendar.
        if !(1..=9999).contains(&from.year()) {
            return None;
        }
        match &self.pattern {
            Pattern::Calendar(calendar) => self.next_of(calendar, from),
            Pattern::Seconds(seconds) => next_second(i64::from(*seconds), from),
        }
    }

    /// The first instant after `from`.
    pub fn after(&self, from: DateTime<Utc>) -> Option<Instant> {
        self.next(from.checked_add_signed(TimeDelta::microseconds(1))?)
    }

    /// The instants from `from` on.
    pub fn from(&self, from: DateTime<Utc>) -> impl Iterator<Item = Instant> {
        std::iter::successors(self.next(from), |last| self.after(last.at))
    }

    fn next_of(&self, calendar: &Calendar, from: DateTime<Utc>) -> Option<Instant> {
        // A second earlier, for times that are skipped right before `from` and stand for it.
        let begin = from.checked_sub_signed(TimeDelta::seconds(1))?.with_timezone(&self.zone).naive_local();
        let mut date = calendar.day_from(begin.date())?;
        loop {
            for minutes in calendar.times() {
                let time = date.and_time(NaiveTime::from_num_seconds_from_midnight_opt(u32::from(*minutes) * 60, 0)?);
                if time < begin {
                    continue;
                }
                let local = resolve(self.zone, time)?;
                if local.at() >= from {
                    return Some(Instant { at: local.at(), shift: shift(local, time) });
                }
            }
            date = calendar.day_from(date.succ_opt()?)?;
        }
    }
}

fn shift(local: Local, time: NaiveDateTime) -> Option<Shift> {
    match local {
        Local::Once(_) => None,
        Local::FirstOfTwo(_) => Some(Shift::Twice(time)),
        Local::Skipped(_) => Some(Shift::Skipped(time)),
    }
}

fn next_second(seconds: i64, from: DateTime<Utc>) -> Option<Instant> {
    let whole = from.timestamp() + i64::from(from.timestamp_subsec_nanos() > 0);
    let at = whole.checked_add(seconds - 1)?.div_euclid(seconds) * seconds;
    Some(Instant { at: DateTime::from_timestamp(at, 0)?, shift: None })
}
