//! From the database's slots to this machine's clock.

use std::time::{Duration, Instant};

use fanfare_domain::limits::LATENESS_US;
use fanfare_store::queue::Lease;

/// The slots of one lease on the local monotonic clock.
///
/// Slot i lies at `received + (slot − now) + i·τ`, where `now` is the database's time inside the claim
/// and `received` the local time when its answer arrived. So the clocks of two machines need not agree,
/// and the error is late by at most the claim's round trip.
#[derive(Debug, Clone, Copy)]
pub struct Slots {
    first: Instant,
    period: Duration,
}

impl Slots {
    /// The slots of `lease`, whose claim's answer arrived at `received`; none when there is no cap.
    pub fn of(lease: &Lease, received: Instant) -> Option<Self> {
        if lease.period_us == 0 {
            return None;
        }
        let ahead = Duration::from_micros(lease.slot_us.saturating_sub(lease.now_us).max(0) as u64);
        Some(Self { first: received + ahead, period: Duration::from_micros(lease.period_us as u64) })
    }

    /// When the message at `position` may start.
    pub fn at(&self, position: usize) -> Instant {
        self.first + self.period * position as u32
    }

    /// Whether it is too late to start the message at `position`: its slot is lost then.
    pub fn missed(&self, position: usize, now: Instant) -> bool {
        now.saturating_duration_since(self.at(position)) > Duration::from_micros(LATENESS_US as u64)
    }
}
