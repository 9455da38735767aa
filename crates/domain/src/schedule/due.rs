//! What is to become of the ticks that are due, before anything is known of runs that are going on.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};

use crate::limits::{MADE_UP_MAX, TICK_GRACE};

/// What to do with ticks that nobody dealt with in time, since all schedulers were down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// Nothing: wait for the next.
    Skip,
    /// One run for all of them, at once; the next tick's, if that is due by now.
    RunOnce,
    /// A run for each of the newest, at most so many; the older ones are skipped.
    RunEach(i32),
}

impl Missed {
    /// The stored number, and how many ticks are made up for.
    pub fn stored(self) -> (i16, i32) {
        match self {
            Self::Skip => (1, 1),
            Self::RunOnce => (2, 1),
            Self::RunEach(most) => (3, most),
        }
    }

    /// The value of what is stored.
    pub fn from_stored(policy: i16, most: i32) -> Option<Self> {
        match policy {
            1 => Some(Self::Skip),
            2 => Some(Self::RunOnce),
            3 => Some(Self::RunEach(most)),
            _ => None,
        }
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skip => f.write_str("skip"),
            Self::RunOnce => f.write_str("run-once"),
            Self::RunEach(most) => write!(f, "run-each={most}"),
        }
    }
}

impl FromStr for Missed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (policy, most) = match text.split_once('=') {
            Some((policy, most)) => (policy, Some(most)),
            None => (text, None),
        };
        let number = |most: &str| most.parse().ok().filter(|most| (1..=MADE_UP_MAX).contains(most));
        match (policy, most) {
            ("skip", None) => Ok(Self::Skip),
            ("run-once", None) => Ok(Self::RunOnce),
            ("run-each", None) => Ok(Self::RunEach(MADE_UP_MAX)),
            ("run-each", Some(most)) => number(most)
                .map(Self::RunEach)
                .ok_or_else(|| format!("{text:?}: expected run-each=N with N from 1 to {MADE_UP_MAX}")),
            _ => Err(format!("policy {text:?} is none of skip, run-once, run-each, run-each=N")),
        }
    }
}

/// What is to become of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is dealt with in time: it runs.
    OnTime,
    /// It was missed, and runs now.
    MadeUp,
    /// It was missed, and is skipped.
    Skipped,
    /// It was missed, and the run of a later one stands for it.
    Merged,
}

/// Ticks in a row with one fate. Those that run stand alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The first.
    pub first: DateTime<Utc>,
    /// The last.
    pub last: DateTime<Utc>,
    /// How many.
    pub ticks: i32,
    /// What becomes of them.
    pub fate: Fate,
}

/// Judges the ticks that are due by `now`, which come in their order, the first not dealt with in front.
/// `more` says that further ones are due behind them.
///
/// A tick is missed when the next one is due too, or when it is later than [`TICK_GRACE`].
pub fn judge(due: &[DateTime<Utc>], more: bool, now: DateTime<Utc>, policy: Missed) -> Vec<Stretch> {
    let grace = TimeDelta::from_std(TICK_GRACE).unwrap_or(TimeDelta::MAX);
    let on_time = !more && due.last().is_some_and(|last| now - *last <= grace);
    let missed = due.len() - usize::from(on_time);
    let made_up = match policy {
        _ if more => 0,
        Missed::Skip => 0,
        Missed::RunOnce => usize::from(!on_time),
        Missed::RunEach(most) => usize::try_from(most).unwrap_or_default(),
    };
    let made_up_from = missed.saturating_sub(made_up);
    let left = if policy == Missed::RunOnce { Fate::Merged } else { Fate::Skipped };
    let fate = |i: usize| match i {
        i if i < made_up_from => left,
        i if i < missed => Fate::MadeUp,
        _ => Fate::OnTime,
    };
    let mut stretches: Vec<Stretch> = Vec::new();
    for (i, at) in due.iter().enumerate() {
        let (fate, runs) = (fate(i), i >= made_up_from);
        match stretches.last_mut().filter(|stretch| !runs && stretch.fate == fate) {
            Some(stretch) => (stretch.last, stretch.ticks) = (*at, stretch.ticks + 1),
            None => stretches.push(Stretch { first: *at, last: *at, ticks: 1, fate }),
        }
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fates of ticks that were due so many seconds ago, as letters.
    fn fates(ago: &[i64], more: bool, policy: &str) -> String {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let due: Vec<_> = ago.iter().map(|s| now - TimeDelta::seconds(*s)).collect();
        let stretches = judge(&due, more, now, policy.parse().unwrap());
        assert_eq!(stretches.iter().map(|s| s.ticks).sum::<i32>() as usize, due.len());
        let letter = |fate| match fate {
            Fate::OnTime => "T",
            Fate::MadeUp => "U",
            Fate::Skipped => "s",
            Fate::Merged => "m",
        };
        stretches.iter().map(|s| letter(s.fate).repeat(s.ticks as usize)).collect()
    }

    #[test]
    fn missed_ticks_go_by_their_policy_and_the_one_in_time_always_runs() {
        let cases: [(&[i64], bool, [&str; 4]); 7] = [
            (&[], false, ["", "", "", ""]),
            (&[0], false, ["T", "T", "T", "T"]),
            (&[60], false, ["T", "T", "T", "T"]),
            (&[61], false, ["s", "U", "U", "U"]),
            (&[6, 4, 2, 0], false, ["sssT", "mmmT", "UUUT", "sUUT"]),
            (&[7200, 3600], false, ["ss", "mU", "UU", "UU"]),
            (&[6, 4], true, ["ss", "mm", "ss", "ss"]),
        ];
        for (ago, more, expected) in cases {
            let found = ["skip", "run-once", "run-each", "run-each=2"].map(|policy| fates(ago, more, policy));
            assert_eq!(found, expected, "{ago:?}");
        }
    }

    #[test]
    fn policies_are_read_and_refused() {
        for text in ["skip", "run-once", "run-each=3"] {
            assert_eq!(text.parse::<Missed>().unwrap().to_string(), text);
        }
        for bad in ["", "run", "run-each=0", "run-each=101", "run-each=x", "skip=1"] {
            assert!(bad.parse::<Missed>().unwrap_err().contains("run-each"), "{bad}");
        }
        for policy in [Missed::Skip, Missed::RunOnce, Missed::RunEach(7)] {
            let (stored, most) = policy.stored();
            assert_eq!(Missed::from_stored(stored, most), Some(policy));
        }
    }
}
