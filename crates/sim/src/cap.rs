//! A limit of the provider's own: requests above it are turned away.

use std::collections::VecDeque;
use std::str::FromStr;
use std::time::Duration;

use crate::ConfigError;

/// At most so many requests in any window of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    /// Requests.
    pub count: u32,
    /// Length of the window.
    pub window: Duration,
}

impl FromStr for Cap {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let refused = || ConfigError::new("cap", text, "a count of at least 1 and s, min or h, for example 500/s");
        let (count, unit) = text.split_once('/').ok_or_else(refused)?;
        let count = count.parse().ok().filter(|n| *n > 0).ok_or_else(refused)?;
        let window_s = match unit {
            "s" => 1,
            "min" => 60,
            "h" => 3600,
            _ => return Err(refused()),
        };
        Ok(Self { count, window: Duration::from_secs(window_s) })
    }
}

/// The requests that an account was allowed lately.
#[derive(Debug, Default)]
pub(crate) struct Allowed(VecDeque<i64>);

impl Allowed {
    /// Lets a request of this moment through, or says after how many µs there is room again.
    pub fn admit(&mut self, cap: Cap, at_us: i64) -> Result<(), i64> {
        let window_us = i64::try_from(cap.window.as_micros()).unwrap_or(i64::MAX);
        while self.0.front().is_some_and(|oldest| *oldest < at_us - window_us) {
            self.0.pop_front();
        }
        match self.0.front() {
            Some(oldest) if self.0.len() >= cap.count as usize => Err(oldest + window_us + 1 - at_us),
            _ => {
                self.0.push_back(at_us);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_turns_away_what_is_above_it_in_a_closed_window() {
        let cap: Cap = "2/s".parse().unwrap();
        let mut allowed = Allowed::default();
        assert_eq!(allowed.admit(cap, 0), Ok(()));
        assert_eq!(allowed.admit(cap, 400_000), Ok(()));
        assert_eq!(allowed.admit(cap, 500_000), Err(500_001));
        assert_eq!(allowed.admit(cap, 1_000_000), Err(1));
        assert_eq!(allowed.admit(cap, 1_000_001), Ok(()));
        assert_eq!(allowed.admit(cap, 1_000_002), Err(399_999));
        for bad in ["", "2", "0/s", "-1/s", "2/d", "x/s"] {
            assert!(bad.parse::<Cap>().is_err(), "{bad}");
        }
    }
}
