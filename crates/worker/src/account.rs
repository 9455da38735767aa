//! One account in one process: what all its batches share.

use std::sync::Arc;

use fanfare_domain::limits::{HELD_MAX, IN_FLIGHT_MAX};
use fanfare_providers::Adapter;
use fanfare_store::Store;
use tokio::sync::{Semaphore, mpsc};

use crate::flush::Note;
use crate::steer::Signs;

/// What the batches of an account share.
pub struct Account {
    pub store: Store,
    pub workspace_id: i32,
    pub account_id: i64,
    pub sender: Option<String>,
    pub idempotent: bool,
    pub adapter: Adapter,
    /// Places for requests in flight.
    pub in_flight: Semaphore,
    /// Permits for messages held, from claim to committed settlement.
    pub held: Arc<Semaphore>,
    pub signs: Signs,
    notes: mpsc::UnboundedSender<Note>,
}

impl Account {
    pub fn new(
        store: Store,
        (workspace_id, account_id): (i32, i64),
        (sender, idempotent, adapter): (Option<String>, bool, Adapter),
        signs: Signs,
        notes: mpsc::UnboundedSender<Note>,
    ) -> Self {
        Self {
            store,
            workspace_id,
            account_id,
            sender,
            idempotent,
            adapter,
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            held: Arc::new(Semaphore::new(HELD_MAX)),
            signs,
            notes,
        }
    }

    /// Tells the flusher. It outlives every batch, so nothing told is lost.
    pub fn note(&self, note: Note) {
        let _ = self.notes.send(note);
    }
}
