//! From the database's slots to this machine's clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use fanfare_store::polls;
use fanfare_store::queue::Lease;

/// Looks at the database's clock that are remembered.
const SIGHTINGS: usize = 20;

/// One look at the database's clock.
#[derive(Debug, Clone, Copy)]
pub struct Sighting {
    /// When it was asked.
    pub asked: Instant,
    /// When the answer arrived.
    pub received: Instant,
    /// What it said, µs since the Unix epoch.
    pub database_us: i64,
}

/// The database's clock as this process knows it: the quickest of the last looks counts, since its error
/// is the smallest. The claim's own answer is no such look: it comes after a commit, and a slow disk
/// would make every slot of it late by as much.
#[derive(Debug, Default)]
pub struct DatabaseClock(VecDeque<Sighting>);

impl DatabaseClock {
    /// Remembers a look.
    pub fn saw(&mut self, sighting: Sighting) {
        if self.0.len() == SIGHTINGS {
            self.0.pop_front();
        }
        self.0.push_back(sighting);
    }

    /// The look to go by; none before the first.
    pub fn best(&self) -> Option<Sighting> {
        self.0.iter().min_by_key(|s| s.received - s.asked).copied()
    }
}

/// The slots of one lease on the local monotonic clock.
///
/// A time t of the database is `received + (t − database_us)` of the best look at its clock. So the
/// clocks of two machines need not agree, and the error is late by at most that look's round trip.
#[derive(Debug, Clone, Copy)]
pub struct Slots {
    received: Instant,
    first_us: i64,
    period_us: i64,
    lateness_us: i64,
}

impl Slots {
    /// The slots of `lease` by the clock `seen`; none when there is no cap.
    pub fn of(lease: &Lease, seen: Sighting) -> Option<Self> {
        Self::from((lease.slot_us, lease.period_us), lease.lateness_us, seen)
    }

    /// The one slot of a question; none when there is no cap.
    pub fn of_question(slot: &polls::Slot, seen: Sighting) -> Option<Self> {
        Self::from((slot.slot_us, slot.period_us), slot.lateness_us, seen)
    }

    fn from((slot_us, period_us): (i64, i64), lateness_us: i64, seen: Sighting) -> Option<Self> {
        let first_us = slot_us - seen.database_us;
        (period_us > 0).then_some(Self { received: seen.received, first_us, period_us, lateness_us })
    }

    /// The slot at this place, from 0.
    pub fn slot(&self, place: usize) -> Slot {
        let after_us = self.first_us + self.period_us * place as i64;
        // A slot before the look is past.
        let after = |us: i64| self.received + Duration::from_micros(us.max(0) as u64);
        Slot { at: after(after_us), until: after(after_us + self.lateness_us) }
    }

    /// How many slots come before this time, were there no end to them.
    pub fn places_before(&self, time: Instant) -> usize {
        let after_us = time.saturating_duration_since(self.received).as_micros() as i64 - self.first_us;
        (after_us.max(0) as usize).div_ceil(self.period_us as usize)
    }
}

/// When one message may start. It is used once, for whatever message takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Not before.
    pub at: Instant,
    /// Nor after.
    pub until: Instant,
}

impl Slot {
    /// Whether it is too late to start anything in it: it is lost then.
    pub fn missed(self, now: Instant) -> bool {
        now > self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_store::queue::{Lane, Span};

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn slots_follow_the_quickest_look_at_the_clock() {
        let start = Instant::now();
        let mut clock = DatabaseClock::default();
        // A slow look, whose answer came 80 ms after the clock was read, and a quick one.
        clock.saw(Sighting { asked: start, received: start + ms(100), database_us: 20_000 });
        clock.saw(Sighting { asked: start + ms(200), received: start + ms(201), database_us: 200_500 });
        let lease = Lease {
            id: 1,
            run_id: 1,
            epoch: 0,
            span: Span::Range { lo: 0, hi: 3 },
            reserve_each: 0,
            slot_us: 300_500,
            period_us: 10_000,
            lateness_us: 10_000,
            now_us: 290_000,
            probe: false,
            paced: false,
            lane: Lane::Bulk,
        };
        let slots = Slots::of(&lease, clock.best().unwrap()).unwrap();
        assert_eq!(slots.slot(0).at, start + ms(301));
        assert_eq!(slots.slot(2).at, start + ms(321));
        assert!(!slots.slot(0).missed(start + ms(310)));
        assert!(slots.slot(0).missed(start + ms(312)) && !slots.slot(2).missed(start + ms(312)));
        assert_eq!([300, 301, 302, 311, 312, 322].map(|at| slots.places_before(start + ms(at))), [0, 0, 1, 1, 2, 3]);
    }
}
