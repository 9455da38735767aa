//! What the limits of an account come to: a distance of slots, and what a day leaves.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::cap::Cap;
use crate::limits::{DAY_US, LATENESS_MAX_US, LATENESS_MIN_US, SLACK_US};

/// More sends a day than this no ramp allows; it has ended then.
const RAMP_MAX: f64 = 1e9;
const DAY_SECONDS: f64 = DAY_US as f64 / 1e6;

/// The ramp of a new sender: so many sends in its first 24 hours, and each day by a factor more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmUp {
    /// Most sends of the first day.
    pub first: i64,
    /// Factor from day to day, in thousandths; at least 1000.
    pub growth_permille: i32,
}

impl WarmUp {
    /// Most sends in the 24 hours of `day`, counted from 0. The same formula as `day_room` in the database.
    pub fn on_day(self, day: u32) -> u64 {
        let growth = f64::from(self.growth_permille) / 1000.0;
        (self.first as f64 * growth.powi(day.min(200) as i32)).min(RAMP_MAX).round() as u64
    }
}

impl FromStr for WarmUp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || {
            format!(
                "{text:?} is no ramp: write FIRSTxFACTOR, for example 500x1.5 for 500 sends on the first day and each day half as many more"
            )
        };
        let (first, factor) = text.trim().split_once('x').ok_or_else(refuse)?;
        let first: i64 = first.trim().parse().map_err(|_| refuse())?;
        let factor: f64 = factor.trim().parse().map_err(|_| refuse())?;
        match ((1..=1_000_000_000).contains(&first), (1.001..=100.0).contains(&factor)) {
            (true, true) => Ok(Self { first, growth_permille: (factor * 1000.0).round() as i32 }),
            (false, _) => Err(format!("{text:?} begins with {first} sends: expected 1 to 1000000000")),
            (true, false) => Err(format!("{text:?} grows by {factor} a day: expected 1.001 to 100")),
        }
    }
}

impl fmt::Display for WarmUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.first, f64::from(self.growth_permille) / 1000.0)
    }
}

/// What the limits of an account come to.
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
    /// Most different recipients in any 24 hours; 0 = no cap.
    pub recipient_cap: i64,
    /// The ramp, if there is one.
    pub warm_up: Option<WarmUp>,
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
            ..Self::default()
        }
    }

    /// Whether anything limits it.
    pub fn is_limited(&self) -> bool {
        self.period_us > 0 || self.has_days()
    }

    /// Whether a day's end limits it.
    fn has_days(&self) -> bool {
        self.day_cap > 0 || self.recipient_cap > 0 || self.warm_up.is_some()
    }

    /// Messages that the limits by the day let through on `day`, counted from 0; one for each recipient.
    pub(crate) fn day_room(&self, day: u32) -> u64 {
        let capped = |cap: i64| if cap > 0 { cap.unsigned_abs() } else { u64::MAX };
        let ramp = self.warm_up.map_or(u64::MAX, |w| w.on_day(day));
        capped(self.day_cap).min(capped(self.recipient_cap)).min(ramp)
    }

    /// Messages that fit into a day from `from` seconds on, by the slots alone.
    pub(crate) fn slots_from(&self, from: f64) -> u64 {
        match self.period_us {
            0 => u64::MAX,
            period => ((DAY_SECONDS - from) * 1e6 / period as f64).max(0.0) as u64,
        }
    }

    /// Seconds that `messages` take by the slots alone.
    pub(crate) fn slotted(&self, messages: u64) -> f64 {
        messages as f64 * self.period_us as f64 / 1e6
    }

    /// Seconds that `messages` to different recipients take at this pace, counting from an idle account.
    pub fn seconds_for(&self, messages: u64) -> f64 {
        if !self.has_days() {
            return self.slotted(messages);
        }
        let (mut left, mut day) = (messages, 0);
        loop {
            // A day lets one through at least, however slow its slots are.
            let room = self.day_room(day).min(self.slots_from(0.0)).max(1);
            if left <= room {
                return f64::from(day) * DAY_SECONDS + self.slotted(left);
            }
            left -= room;
            day += 1;
        }
    }

    /// Messages that are sent in the first `seconds` at this pace, from an idle account.
    pub(crate) fn sends_within(&self, seconds: f64) -> f64 {
        let by_slots =
            |seconds: f64| if self.period_us > 0 { seconds * 1e6 / self.period_us as f64 } else { f64::INFINITY };
        if !self.has_days() {
            return by_slots(seconds);
        }
        let days = (seconds / DAY_SECONDS).floor().min(100_000.0) as u32;
        let full: f64 = (0..days).map(|day| (self.day_room(day) as f64).min(by_slots(DAY_SECONDS))).sum();
        full + (self.day_room(days) as f64).min(by_slots(seconds - f64::from(days) * DAY_SECONDS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(texts: &[&str]) -> Vec<Cap> {
        texts.iter().map(|c| c.parse().unwrap()).collect()
    }

    #[test]
    fn the_pace_of_several_caps_keeps_each() {
        let pace = Pace::of(&caps(&["60/min", "1000/h", "10000/d"]));
        assert_eq!(pace.window_us, 3_600_000_000);
        assert_eq!(pace.day_cap, 10_000);
        assert!(pace.period_us >= 3_600_000);
        assert!(pace.seconds_for(25_000) > 2.0 * 86_400.0);
        assert_eq!(Pace::of(&[]).period_us, 0);
        for texts in [["60/min", "1000/h"], ["80/s", "1000/h"], ["1/s", "60/min"], ["1000/s", "59999/min"]] {
            let caps = caps(&texts);
            let pace = Pace::of(&caps);
            assert!(pace.lateness_us >= LATENESS_MIN_US, "{caps:?}: {pace:?}");
            for cap in &caps {
                let held = (cap.per_us + pace.lateness_us + SLACK_US - 1) / pace.period_us + 1;
                assert!(held <= cap.count, "{held} in a window of {cap}: {pace:?}");
            }
        }
    }

    #[test]
    fn a_ramp_is_read_as_people_write_it_and_grows_by_the_day() {
        let ramp: WarmUp = "500x1.5".parse().unwrap();
        assert_eq!([0, 1, 2, 3].map(|day| ramp.on_day(day)), [500, 750, 1125, 1688]);
        assert_eq!(ramp.to_string(), "500x1.5");
        for bad in ["", "500", "500x", "x2", "0x2", "500x0.5", "500x1", "-1x2", "500x1e9"] {
            assert!(bad.parse::<WarmUp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_ramp_and_a_tier_set_the_day_of_the_end() {
        let ramp = Pace { warm_up: Some("500x1.5".parse().unwrap()), ..Pace::default() };
        assert_eq!(ramp.seconds_for(500), 0.0);
        assert_eq!(ramp.seconds_for(501), 86_400.0);
        assert_eq!(ramp.seconds_for(500 + 750 + 1), 2.0 * 86_400.0);
        let tier = Pace { recipient_cap: 250, ..ramp };
        assert_eq!(tier.seconds_for(1000), 3.0 * 86_400.0);
    }
}
