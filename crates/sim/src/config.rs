//! What a simulator is told at its start, and how people write it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::{Cap, Faults, Kind, Status, Target};

/// How a simulator behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which provider it is.
    pub kind: Kind,
    /// Time from a request to its answer.
    pub latency: Duration,
    /// How often it fails, and how.
    pub faults: Faults,
    /// Whether a repeated Idempotency-Key gets the first result instead of being accepted again.
    pub honour_keys: bool,
    /// The only bearer token that is let in; without it every one is, each an account of its own.
    pub secret: Option<String>,
    /// Requests of an account above this are answered with 429.
    pub cap: Option<Cap>,
    /// Windows in which the requests of an account are counted.
    pub windows: Vec<Duration>,
    /// Seed of the faults.
    pub seed: u64,
    /// Whether everybody may be sent anything, as if they had all just written.
    pub open_window: bool,
    /// Where delivery receipts are posted.
    pub receipts_to: Option<Target>,
    /// Which receipts each acceptance has.
    pub receipts: Vec<Status>,
    /// What posts are signed with, where the interface signs; else the secret.
    pub hook_key: Option<String>,
    /// The control address; without it, a free port beside the address for messages.
    pub control: Option<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kind: Kind::Http,
            latency: Duration::ZERO,
            faults: Faults::default(),
            honour_keys: true,
            secret: None,
            cap: None,
            windows: vec![Duration::from_secs(1), Duration::from_secs(60)],
            seed: 1,
            open_window: false,
            receipts_to: None,
            receipts: vec![Status::Delivered],
            hook_key: None,
            control: None,
        }
    }
}

/// Something written on the command line that cannot be used. Says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {found:?}: expected {expected}")]
pub struct ConfigError {
    /// Kind of thing.
    pub what: &'static str,
    /// What was found.
    pub found: String,
    /// What would do.
    pub expected: String,
}

impl ConfigError {
    pub(crate) fn new(what: &'static str, found: &str, expected: impl Into<String>) -> Self {
        Self { what, found: found.to_owned(), expected: expected.into() }
    }
}

/// Reads a duration: `20ms`, `1s`, `5m`, `1h`, or `0`.
///
/// # Errors
/// [`ConfigError`] if it is none of these.
pub fn duration(text: &str) -> Result<Duration, ConfigError> {
    let refused = || ConfigError::new("duration", text, "a number with ms, s, m or h, for example 20ms");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| refused())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(refused()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(refused)
}

/// Writes a duration as [`duration`] reads it: whole seconds, else milliseconds.
pub fn shown(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let ms = |text: &str| duration(text).unwrap().as_millis();
        assert_eq!([ms("0"), ms("20ms"), ms("1s"), ms("5m"), ms("1h")], [0, 20, 1_000, 300_000, 3_600_000]);
        assert_eq!(shown(duration("60s").unwrap()), "60s");
        assert_eq!(shown(duration("1500ms").unwrap()), "1500ms");
        for bad in ["", "20", "ms", "1.5s", "-1s", "1 s", "1d", "99999999999999999999s", "9999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
