//! When messages may be sent, by the clocks of their recipients: quiet hours and send windows.
//!
//! Both are sets of minutes of a week, so that what several parties allow is the intersection.

mod window;
mod written;

use std::fmt;
use std::str::FromStr;

pub use window::Window;

/// Minutes of a week, from Monday 00:00.
const WEEK: u16 = 7 * DAY;
const DAY: u16 = 24 * 60;

/// Minutes of the week, by a recipient's clocks, in which it may be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// From each minute to another, that one excluded; in order, apart from each other.
    open: Vec<(u16, u16)>,
}

/// What cannot be read as hours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoursError {
    /// Not of the form.
    #[error("{given:?} in {text:?} is not {expected}")]
    Form {
        /// The whole.
        text: String,
        /// The part that was not understood.
        given: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// Nothing could ever be sent.
    #[error("{0:?} never opens: leave some time for sending")]
    Never(String),
}

/// Hours of the day in which nobody is disturbed, as written and read: `21:00-08:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiet {
    from: u16,
    to: u16,
}

impl Quiet {
    /// The minutes that they leave.
    pub fn hours(self) -> Hours {
        let day = |day: u16| (day * DAY + self.to, day * DAY + self.from + if self.from > self.to { 0 } else { DAY });
        Hours::of((0..7).map(day))
    }
}

impl FromStr for Quiet {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let (from, to) = written::span(text, text.trim())?;
        if from == to % DAY {
            return Err(HoursError::Never(text.to_owned()));
        }
        Ok(Self { from, to: to % DAY })
    }
}

impl fmt::Display for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", Clock(self.from), Clock(self.to))
    }
}

impl Hours {
    /// Every minute.
    pub fn always() -> Self {
        Self { open: vec![(0, WEEK)] }
    }

    /// Whether there is no minute that is not in it.
    pub fn is_always(&self) -> bool {
        self.open == [(0, WEEK)]
    }

    /// Whether there is none that is.
    pub fn is_never(&self) -> bool {
        self.open.is_empty()
    }

    /// What both allow.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let (mut open, mut i, mut j) = (Vec::new(), 0, 0);
        while let (Some(a), Some(b)) = (self.open.get(i), other.open.get(j)) {
            let both = (a.0.max(b.0), a.1.min(b.1));
            if both.0 < both.1 {
                open.push(both);
            }
            if a.1 < b.1 { i += 1 } else { j += 1 }
        }
        Self { open }
    }

    /// Of spans that may reach into the next week and overlap.
    fn of(spans: impl IntoIterator<Item = (u16, u16)>) -> Self {
        let mut all: Vec<(u16, u16)> = Vec::new();
        for (from, to) in spans {
            all.push((from, to.min(WEEK)));
            if to > WEEK {
                all.push((0, to - WEEK));
            }
        }
        all.retain(|(from, to)| from < to);
        all.sort_unstable();
        let mut open: Vec<(u16, u16)> = Vec::new();
        for (from, to) in all {
            match open.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => open.push((from, to)),
            }
        }
        Self { open }
    }
}

impl FromStr for Hours {
    type Err = HoursError;

    /// Windows by weekday: `mon-fri 09:00-18:00, sat 10:00-14:00`; without days, every day. A window that ends
    /// before it begins goes over midnight.
    fn from_str(text: &str) -> Result<Self, HoursError> {
        let hours = Self::of(written::windows(text)?);
        if hours.is_never() { Err(HoursError::Never(text.to_owned())) } else { Ok(hours) }
    }
}

/// A minute of the day as clocks show it.
struct Clock(u16);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

#[cfg(test)]
mod tests;
