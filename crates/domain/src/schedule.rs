//! When a campaign runs: cron expressions and plain words, in a zone, as instants.
//!
//! Both are read into one [`Pattern`]; [`Schedule`] is a pattern in a zone and gives its instants. A
//! pattern says what the clocks on the wall show. Where daylight saving makes a time of the wall
//! clock not exist, the schedule runs at the next instant that does; where it exists twice, at the
//! first of the two, and only then.

mod calendar;
mod cron;
mod due;
mod instants;
mod local;
#[cfg(test)]
mod published;
#[cfg(test)]
mod tests;
mod times;
mod tokens;
mod words;

pub use calendar::Calendar;
pub use chrono_tz::Tz;
pub use due::{Fate, Missed, Stretch, judge};
pub use instants::{Instant, Schedule, Shift};
pub use local::local_time;

/// A recurring schedule as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// Days and times by the wall clock.
    Calendar(Calendar),
    /// Every so many seconds, counted from the full minute. Not for campaigns that live long: see
    /// [`crate::limits::SECONDS_TICKS_MAX`].
    Seconds(u32),
}

impl Pattern {
    /// Reads a cron expression: five fields as in crontab(5), or a nickname such as `@daily`.
    ///
    /// # Errors
    /// Which field cannot be read and what was expected there; or that it never comes.
    pub fn cron(text: &str) -> Result<Self, Error> {
        cron::read(text).map(Self::Calendar)
    }

    /// Reads plain words: `every Monday 09:00`, `monthly on the last day 10:00`.
    ///
    /// # Errors
    /// Which word cannot be read and what was expected in its place.
    pub fn words(text: &str) -> Result<Self, Error> {
        words::read(text)
    }
}

/// Why something is no schedule. Each says what was given, what was expected, and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not five fields.
    #[error("{0}")]
    Fields(String),
    /// A field of a cron expression.
    #[error("{field} {part:?} of cron {cron:?}: {why}")]
    Field {
        /// The whole expression.
        cron: String,
        /// Which field.
        field: &'static str,
        /// The part of it that cannot be read.
        part: String,
        /// What was expected.
        why: String,
    },
    /// It can be read, and never comes.
    #[error("{text:?} never comes: {why}")]
    Never {
        /// As it was written.
        text: String,
        /// Why not.
        why: String,
    },
    /// A word that cannot be read.
    #[error("cannot read {}: {why}", place(.at, .text))]
    Word {
        /// The whole phrase.
        text: String,
        /// The word, empty at the end.
        at: String,
        /// What was expected.
        why: String,
    },
    /// Not a date with a time.
    #[error("{0:?} is no local time: write for example 2026-12-01T09:00, and its zone by --zone")]
    LocalTime(String),
}

fn place(at: &str, text: &str) -> String {
    match at {
        "" => format!("{text:?} to its end"),
        at => format!("{at:?} in {text:?}"),
    }
}
