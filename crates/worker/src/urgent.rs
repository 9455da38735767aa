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
