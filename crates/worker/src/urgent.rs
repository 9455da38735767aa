//! Urgent messages beside bulk, inside one process: they take every second slot that bulk holds here, if they
//! must.
//!
//! Bulk reserves its slots up to a horizon ahead, so that a slot of its own would come too late for an urgent
//! message. It is claimed without one, and asks here; a batch of bulk whose next slot has come gives it away,
//! and ends with as many messages handed back as it gave slots. A slot is used once, by whomever: the
//! account's limit holds as it stands. Of two slots in a row bulk keeps one.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fanfare_domain::limits::URGENT_AHEAD;
use tokio::sync::oneshot;

use crate::slots::{Slot, Slots};

/// What is asked for and given, of one account in one process.
#[derive(Debug, Default)]
pub struct Exchange(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The batches of bulk under way, by their lease: when their slots are.
    givers: HashMap<i64, (Slots, usize)>,
    /// Who waits for a slot, the first first.
    asking: VecDeque<oneshot::Sender<Slot>>,
    /// Messages claimed without a slot that have not got one.
    owed: usize,
    /// The slot before was given away.
    given: bool,
}

impl State {
    /// Slots of bulk to come within a moment.
    fn ahead(&self, now: Instant) -> usize {
        let soon = now + URGENT_AHEAD;
        let of =
            |(slots, n): &(Slots, usize)| (slots.places_before(soon).min(*n)).saturating_sub(slots.places_before(now));
        self.givers.values().map(of).sum()
    }
}

impl Exchange {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many messages more may be claimed without slots: as many as would get one within a moment.
    /// `None` where bulk holds no slot here, so that they need their own.
    pub fn room(&self) -> Option<usize> {
        let state = self.state();
        match state.ahead(Instant::now()) {
            0 if state.owed == 0 => None,
            ahead => Some(ahead.div_ceil(2).saturating_sub(state.owed)),
        }
    }

    /// A batch of bulk begins; its slots are told of until the answer is dropped.
    pub fn begin(self: &Arc<Self>, lease_id: i64, slots: Slots, n: usize) -> Giver {
        self.state().givers.insert(lease_id, (slots, n));
        Giver { exchange: self.clone(), lease_id }
    }

    /// Offers a slot of bulk that has come. Whether it was taken: then it is another's, and this message
    /// waits for the next.
    pub fn offer(&self, slot: Slot) -> bool {
        let mut state = self.state();
        // Every other slot stays where it is; one that is lost is nobody's.
        if std::mem::take(&mut state.given) || slot.missed(Instant::now()) {
            return false;
        }
        while let Some(asking) = state.asking.pop_front() {
            // Whoever went away in the meantime is passed over.
            if asking.send(slot).is_ok() {
                state.given = true;
                break;
            }
        }
        state.given
    }

    /// Messages were claimed without slots.
    pub fn owe(self: &Arc<Self>, messages: usize) -> Owed {
        self.state().owed += messages;
        Owed { exchange: self.clone(), messages: AtomicUsize::new(messages) }
    }
}

/// A batch of bulk, for as long as it is under way.
#[derive(Debug)]
pub struct Giver {
    exchange: Arc<Exchange>,
    lease_id: i64,
}

impl Giver {
    /// See [`Exchange::offer`].
    pub fn offer(&self, slot: Slot) -> bool {
        self.exchange.offer(slot)
    }
}

impl Drop for Giver {
    fn drop(&mut self) {
        let mut state = self.exchange.state();
        state.givers.remove(&self.lease_id);
        // Nobody is left who could give: they are told, and go for slots of their own.
        if state.givers.is_empty() {
            state.asking.clear();
        }
    }
}

/// Messages claimed without slots.
#[derive(Debug)]
pub struct Owed {
    exchange: Arc<Exchange>,
    messages: AtomicUsize,
}

impl Owed {
    /// Waits for a slot; none comes when bulk holds none here any more.
    pub async fn slot(&self) -> Option<Slot> {
        let answer = {
            let mut state = self.exchange.state();
            if state.givers.is_empty() {
                return None;
            }
            let (asking, answer) = oneshot::channel();
            state.asking.push_back(asking);
            answer
        };
        let slot = answer.await.ok()?;
        self.settle(1);
        Some(slot)
    }

    fn settle(&self, messages: usize) {
        self.messages.fetch_sub(messages, Ordering::Relaxed);
        self.exchange.state().owed -= messages;
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.settle(self.messages.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fanfare_store::queue::{Lane, Lease, Span};

    use super::*;
    use crate::slots::Sighting;

    /// Slots of 100 ms, the first one now.
    fn slots(n: i32) -> Slots {
        let lease = Lease {
            id: 1,
            run_id: 1,
            epoch: 0,
            span: Span::Range { lo: 0, hi: n },
            reserve_each: 0,
            slot_us: 0,
            period_us: 10_000,
            lateness_us: 60_000_000,
            now_us: 0,
            probe: false,
            paced: false,
            lane: Lane::Bulk,
        };
        let now = Instant::now();
        Slots::of(&lease, Sighting { asked: now, received: now, database_us: 0 }).unwrap()
    }

    #[tokio::test]
    async fn bulk_keeps_every_other_slot() {
        let exchange = Arc::new(Exchange::default());
        let giver = exchange.begin(1, slots(100), 100);
        let owed = exchange.owe(3);
        let mut given = Vec::new();
        for place in 0..6 {
            let slot = giver.exchange.state().givers[&1].0.slot(place);
            let mut asks = std::pin::pin!(owed.slot());
            // Asks, and waits for an answer.
            let waits = futures::poll!(&mut asks).is_pending();
            let taken = giver.offer(slot);
            given.push((waits, taken));
            if taken {
                assert_eq!(asks.await, Some(slot));
            }
        }
        assert_eq!(given.iter().map(|(_, taken)| *taken).collect::<Vec<_>>(), [true, false, true, false, true, false]);
        assert!(given.iter().all(|(waits, _)| *waits));
    }

    #[tokio::test]
    async fn whoever_waits_is_told_when_bulk_has_none_left() {
        let exchange = Arc::new(Exchange::default());
        assert_eq!(exchange.room(), None);
        assert_eq!(exchange.owe(1).slot().await, None, "nobody to give");
        let (one, other) = (exchange.begin(1, slots(20), 20), exchange.begin(2, slots(20), 20));
        assert!(exchange.room().is_some_and(|room| (1..=20).contains(&room)));
        let owed = exchange.owe(2);
        let mut asks = Box::pin(owed.slot());
        assert!(futures::poll!(&mut asks).is_pending());
        drop(one);
        assert!(futures::poll!(&mut asks).is_pending(), "the other still may");
        drop(other);
        assert_eq!(asks.await, None);
        assert_eq!(exchange.room(), Some(0), "what has none must be handed back before more is claimed");
        drop(owed);
        assert_eq!(exchange.room(), None);
    }

    #[tokio::test]
    async fn nobody_is_given_a_slot_that_is_lost_or_one_that_went_away_a_slot_at_all() {
        let exchange = Arc::new(Exchange::default());
        let giver = exchange.begin(1, slots(20), 20);
        let owed = exchange.owe(1);
        {
            let mut gone = std::pin::pin!(owed.slot());
            assert!(futures::poll!(&mut gone).is_pending());
        }
        let slot = slots(20).slot(0);
        assert!(!giver.offer(slot), "who asked for it does not wait any more");
        let mut asks = std::pin::pin!(owed.slot());
        assert!(futures::poll!(&mut asks).is_pending());
        let lost = Slot { at: slot.at, until: slot.at - Duration::from_millis(1) };
        assert!(!giver.offer(lost));
        assert!(giver.offer(slot));
    }
}
