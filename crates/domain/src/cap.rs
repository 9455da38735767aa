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
    fn lateness_us(self) -> i64 {
        (self.per_us / 100).clamp(LATENESS_MIN_US, LATENESS_MAX_US)
    }
}

/// What a set of caps comes to: one slot distance, and a count by the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// Distance of slots, µs; 0 = no cap.
    pub period_us: i64,
    /// The window that gave it, µs.
    pub window_us: i64,
    /// How long after its slot a send may still start, µs.
    pub lateness_us: i64,
    /// Most sends in any 24 hours; 0 = no cap.
    pub day_cap: i64,
}

impl Pace {
    /// The pace that keeps all of `caps`: the largest slot distance, the smallest daily count.
    pub fn of(caps: &[Cap]) -> Self {
        let slotted = caps.iter().filter(|c| c.per_us < DAY_US).max_by_key(|c| c.period_us());
        let period_us = slotted.map_or(0, |c| c.period_us());
        // What the distance leaves room for in every window; in that of its own it is d.
        let room = caps.iter().filter(|c| c.per_us < DAY_US).map(|c| c.count * period_us - c.per_us - SLACK_US).min();
        let day = caps.iter().filter(|c| c.per_us >= DAY_US).map(|c| c.count).min();
        Self {
            period_us,
            lateness_us: room.unwrap_or(LATENESS_MIN_US).min(LATENESS_MAX_US),
            window_us: slotted.map_or(0, |c| c.per_us),
            day_cap: day.unwrap_or(0),
        }
    }

    /// Seconds that `messages` take at this pace, counting from an idle account.
    pub fn seconds_for(&self, messages: u64) -> f64 {
        let slotted = messages as f64 * self.period_us as f64 / 1e6;
        match self.day_cap {
            0 => slotted,
            cap => {
                let full_days = messages.saturating_sub(1) / cap as u64;
                let rest = messages - full_days * cap as u64;
                let last_day = rest as f64 * self.period_us as f64 / 1e6;
                (full_days as f64 * 86_400.0 + last_day).max(slotted)
            }
        }
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

    #[test]
    fn the_pace_of_several_caps_keeps_each() {
        let caps: Vec<Cap> = ["60/min", "1000/h", "10000/d"].map(|c| c.parse().unwrap()).into();
        let pace = Pace::of(&caps);
        assert_eq!(pace.window_us, 3_600_000_000);
        assert_eq!(pace.day_cap, 10_000);
        assert!(pace.period_us >= 3_600_000);
        assert!(pace.seconds_for(25_000) > 2.0 * 86_400.0);
        assert_eq!(Pace::of(&[]).period_us, 0);
        for caps in [["60/min", "1000/h"], ["80/s", "1000/h"], ["1/s", "60/min"], ["1000/s", "59999/min"]] {
            let caps: Vec<Cap> = caps.map(|c| c.parse().unwrap()).into();
            let pace = Pace::of(&caps);
            assert!(pace.lateness_us >= LATENESS_MIN_US, "{caps:?}: {pace:?}");
            for cap in &caps {
                let held = (cap.per_us + pace.lateness_us + SLACK_US - 1) / pace.period_us + 1;
                assert!(held <= cap.count, "{held} in a window of {cap}: {pace:?}");
            }
        }
    }
}
