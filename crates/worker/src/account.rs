//! One account in one process: what all its batches share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fanfare_domain::limits::{HELD_MAX, IN_FLIGHT_MAX, URGENT_HELD};
use fanfare_providers::{Adapter, Kind};
use fanfare_store::{Store, accounts};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::flush::Note;
use crate::steer::Signs;
use crate::urgent::Exchange;

/// Flushes' worth of messages kept in stock: those being flushed, and those to send meanwhile.
const STOCK_FLUSHES: usize = 6;

/// What the batches of an account share.
pub struct Account {
    pub store: Store,
    pub workspace_id: i32,
    pub account_id: i64,
    pub sender: Option<String>,
    pub idempotent: bool,
    pub looks_up: bool,
    pub kind: Option<&'static Kind>,
    pub waits_for_echo: bool,
    pub adapter: Adapter,
    /// Places for requests in flight.
    pub in_flight: Semaphore,
    /// Permits for messages held, from claim to committed settlement.
    pub held: Arc<Semaphore>,
    /// Messages settled in a flush, smoothed.
    pub briskness: Arc<AtomicUsize>,
    /// Where urgent messages get slots of bulk.
    pub exchange: Arc<Exchange>,
    pub signs: Signs,
    notes: mpsc::UnboundedSender<Note>,
}

impl Account {
    /// The account `row`, speaking through `adapter`.
    pub fn new(
        store: Store,
        row: &accounts::Account,
        adapter: Adapter,
        signs: Signs,
        notes: mpsc::UnboundedSender<Note>,
    ) -> Self {
        Self {
            store,
            workspace_id: row.workspace_id,
            account_id: row.account_id,
            sender: row.sender.clone(),
            idempotent: row.idempotent,
            looks_up: row.looks_up,
            kind: Kind::named(&row.kind),
            waits_for_echo: row.waits_for_echo,
            adapter,
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            held: Arc::new(Semaphore::new(HELD_MAX)),
            briskness: Arc::default(),
            exchange: Arc::default(),
            signs,
            notes,
        }
    }

    /// How many messages of bulk may be claimed more. The stock is what fits in flight and what a few flushes
    /// settle: enough never to run dry, and no more, because what a killed worker held is in doubt.
    pub fn room(&self) -> usize {
        let most = HELD_MAX - URGENT_HELD;
        let stock = (IN_FLIGHT_MAX + STOCK_FLUSHES * self.briskness.load(Ordering::Relaxed)).min(most);
        let held = HELD_MAX - self.held.available_permits();
        stock.saturating_sub(held)
    }

    /// Permits for a claim of so many messages; none if there are not as many.
    pub fn permits(&self, messages: usize) -> Option<OwnedSemaphorePermit> {
        // There are at most `HELD_MAX`.
        self.held.clone().try_acquire_many_owned(messages as u32).ok()
    }

    /// Tells the flusher. It outlives every batch, so nothing told is lost.
    pub fn note(&self, note: Note) {
        let _ = self.notes.send(note);
    }
}
