//! When a failed attempt is repeated, and when no more.

use std::time::Duration;

use crate::limits::{POLL_FIRST, POLL_WAIT_MAX};
use crate::outcome::FailureKind;
use crate::rng::Rng;

/// First back-off; doubles with each attempt.
const BACKOFF_BASE_MS: u64 = 500;
/// Back-off never exceeds this.
const BACKOFF_CAP_MS: u64 = 10 * 60 * 1000;
/// A provider's Retry-After is obeyed up to this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// Attempts of any kind after which a message is given up, by class of its last failure.
pub fn attempts_max(kind: FailureKind) -> i16 {
    match kind {
        FailureKind::Throttled | FailureKind::Later => 50,
        FailureKind::Transient => 8,
        FailureKind::Unknown => 8,
        // Never counted as attempts: the message goes back.
        FailureKind::Unreachable | FailureKind::Configuration => i16::MAX,
        FailureKind::PermanentRecipient | FailureKind::PermanentContent => 1,
    }
}

/// A message in doubt is looked up after this, and then less and less often: a provider's list may lag, and
/// what it does not have yet must not be taken for absent.
const LOOK_UP_FIRST_MS: u64 = 120_000;

/// Wait before the look-up of a message in doubt, after so many look-ups that told nothing.
pub fn look_up_wait(unsure: i16, rng: &Rng) -> Duration {
    let doublings = unsure.clamp(0, 20) as u32;
    let wait_ms = (LOOK_UP_FIRST_MS << doublings).min(BACKOFF_CAP_MS);
    Duration::from_millis(wait_ms + rng.below(wait_ms / 4))
}

/// Wait before a provider is asked again what became of a message, after so many questions.
pub fn poll_wait(asked: i16, rng: &Rng) -> Duration {
    let doublings = asked.clamp(0, 16) as u32;
    let wait = POLL_FIRST.saturating_mul(1 << doublings).min(POLL_WAIT_MAX);
    wait + Duration::from_millis(rng.below(u64::try_from(wait.as_millis() / 4).unwrap_or(0)))
}

/// Wait before attempt `attempts + 1`: capped exponential back-off with full jitter, and never less
/// than the provider asked for (with up to a tenth more, so that the waiters do not return as one).
pub fn backoff(attempts: i16, retry_after: Option<Duration>, rng: &Rng) -> Duration {
    let doublings = attempts.clamp(1, 20) as u32 - 1;
    let ceiling_ms = (BACKOFF_BASE_MS << doublings).min(BACKOFF_CAP_MS);
    let jittered = Duration::from_millis(rng.below(ceiling_ms + 1));
    match retry_after.map(|d| d.min(RETRY_AFTER_MAX)) {
        Some(asked) => {
            let spread_ms = u64::try_from(asked.as_millis() / 10).unwrap_or(0);
            jittered.max(asked + Duration::from_millis(rng.below(spread_ms + 1)))
        }
        None => jittered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_cap_and_obeys_the_provider() {
        let rng = Rng::seeded(3);
        for attempts in 1..100 {
            assert!(backoff(attempts, None, &rng) <= Duration::from_millis(BACKOFF_CAP_MS));
        }
        let first = (0..1000).map(|_| backoff(1, None, &rng)).max().unwrap();
        let fifth = (0..1000).map(|_| backoff(5, None, &rng)).max().unwrap();
        assert!(first <= Duration::from_millis(500) && fifth > Duration::from_secs(4), "seed 3");
        assert!(backoff(1, Some(Duration::from_secs(9)), &rng) >= Duration::from_secs(9));
    }
}
