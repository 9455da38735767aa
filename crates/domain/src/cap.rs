//! Rate caps, and the distance of slots that keeps them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{DAY_US, LATENESS_MAX_US, LATENESS_MIN_US, SLACK_US};

/// At most `count` sends in any window of `per_us` microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cap {
    /// Sends.
    pub count: i64,
    /// Length of the window, µs.
    pub per_us: i64,
}

/// Why a cap was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapError {
    /// Not of the form `COUNT/UNIT`.
    #[error("cap {0:?} is not COUNT/UNIT: write for example 80/s, 60/min, 1000/h or 10000/d")]
    Form(String),
    /// A cap of zero would stop the account.
    #[error("cap {0:?} lets nothing through: give at least 1, or leave the cap out for no limit")]
    Zero(String),
    /// More than a billion, which no provider allows and no slot can express.
    #[error("cap {0:?} is above 1000000000: leave the cap out for no limit")]
    TooLarge(String),
}

impl FromStr for Cap {
    type Err = CapError;

    fn from_str(text: &str) -> Result<Self, CapError> {
        let form = || CapError::Form(text.to_owned());
        let (count, unit) = text.trim().split_once('/').ok_or_else(form)?;
        let count: u64 = count.trim().parse().map_err(|_| form())?;
        let per_us = match unit.trim() {
            "s" | "sec" => 1_000_000,
            "m" | "min" => 60_000_000,
            "h" | "hour" => 3_600_000_000,
            "d" | "day" => DAY_US,
            _ => return Err(form()),
        };
        match count {
            0 => Err(CapError::Zero(text.to_owned())),
            1..=1_000_000_000 => Ok(Self { count: count as i64, per_us }),
            _ => Err(CapError::TooLarge(text.to_owned())),
        }
    }
}

impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per_us {
            1_000_000 => "s",
            60_000_000 => "min",
            3_600_000_000 => "h",
            _ => "d",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

impl Cap {
    /// Distance of two slots, µs: τ = (W + d + RTT + J + 1 µs) / cap, rounded up.
    ///
    /// A send starts between its slot and d + RTT later, and its way to the provider varies by J.
    /// So the sends that the provider can see in a closed window of length W have their slots in an
    /// interval of length W + d + RTT + J, which holds at most `cap` slots of distance τ.
    pub fn period_us(self) -> i64 {
        (self.per_us + self.lateness_us() + SLACK_US + self.count - 1) / self.count
    }

    /// d: a hundredth of the window, within bounds. A slow account needs its connection anew for each
    /// send, and the dialling takes its time.
    pub(crate) fn lateness_us(self) -> i64 {
        (self.per_us / 100).clamp(LATENESS_MIN_US, LATENESS_MAX_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_are_read_and_shown_as_people_write_them() {
        for text in ["80/s", "60/min", "1000/h", "10000/d"] {
            assert_eq!(text.parse::<Cap>().unwrap().to_string(), text);
        }
        assert_eq!("0/s".parse::<Cap>(), Err(CapError::Zero("0/s".into())));
        for bad in ["", "80", "80/fortnight", "-1/s", "fast/s"] {
            assert_eq!(bad.parse::<Cap>(), Err(CapError::Form(bad.into())));
        }
    }

    /// The worst the fleet can do: each send as late or as early as the bounds allow.
    #[test]
    fn no_window_holds_more_than_the_cap() {
        let rng = crate::rng::Rng::seeded(7);
        for cap in [1, 10, 80, 500, 1000] {
            let cap = Cap { count: cap, per_us: 1_000_000 };
            let tau = cap.period_us();
            let late = (cap.lateness_us() + SLACK_US) as u64;
            let mut seen: Vec<i64> = (0..20_000).map(|i| i * tau + rng.below(late) as i64).collect();
            seen.sort_unstable();
            for (i, start) in seen.iter().enumerate() {
                let end = seen.partition_point(|t| *t <= start + cap.per_us);
                assert!(end - i <= cap.count as usize, "{} in a window of {cap}, seed 7", end - i);
            }
        }
    }
}
