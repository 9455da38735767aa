//! The board: what the fleet decided about each flow, as this process last saw it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use fanfare_domain::limits::EPOCH_STALE;
use fanfare_store::workers::BoardRow;

use crate::slots::{DatabaseClock, Sighting};

/// Epoch of a flow that is not on the board any more: no lease has it.
const GONE: i32 = -1;

/// Tenant, account, run.
pub type FlowKey = (i32, i64, i64);

/// The epochs of all flows, and when they were looked at.
#[derive(Debug)]
pub struct Board {
    flows: RwLock<HashMap<FlowKey, Arc<AtomicI32>>>,
    /// Accounts with a flow of bulk that may be claimed from.
    bulk: RwLock<HashSet<(i32, i64)>>,
    /// Accounts with a flow that may bring urgent messages.
    urgent: RwLock<HashSet<(i32, i64)>>,
    origin: Instant,
    /// Milliseconds from `origin` to the start of the last look; 0 = never.
    seen_ms: AtomicU64,
    clock: Mutex<DatabaseClock>,
}

impl Board {
    pub fn new() -> Self {
        Self {
            flows: RwLock::default(),
            bulk: RwLock::default(),
            urgent: RwLock::default(),
            origin: Instant::now(),
            seen_ms: AtomicU64::new(0),
            clock: Mutex::default(),
        }
    }

    /// Remembers a look at the database's clock.
    pub fn saw_clock(&self, sighting: Sighting) {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).saw(sighting);
    }

    /// The look at the database's clock to go by; none before the first.
    pub fn clock(&self) -> Option<Sighting> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).best()
    }

    /// Takes over what a look begun at `asked` found.
    pub fn update(&self, asked: Instant, rows: &[BoardRow]) {
        let mut flows = self.flows.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = HashMap::with_capacity(rows.len());
        for row in rows {
            let key = (row.workspace_id, row.account_id, row.run_id);
            let cell = flows.remove(&key).unwrap_or_default();
            cell.store(row.epoch, Ordering::Release);
            next.insert(key, cell);
        }
        for cell in flows.values() {
            cell.store(GONE, Ordering::Release);
        }
        *flows = next;
        for (accounts, urgent) in [(&self.bulk, false), (&self.urgent, true)] {
            let able = rows.iter().filter(|r| r.runnable && r.urgent == urgent);
            let able = able.map(|r| (r.workspace_id, r.account_id)).collect();
            *accounts.write().unwrap_or_else(PoisonError::into_inner) = able;
        }
        // At least 1, since 0 stands for never.
        let seen = asked.duration_since(self.origin).as_millis() as u64;
        self.seen_ms.store(seen.max(1), Ordering::Release);
    }

    /// Whether there may be something urgent for any account.
    pub fn has_urgent(&self) -> bool {
        !self.urgent.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Whether a claim of whatever kind for this account may find something.
    pub fn has_work(&self, account: (i32, i64)) -> bool {
        self.has_bulk(account) || self.urgent.read().unwrap_or_else(PoisonError::into_inner).contains(&account)
    }

    /// Whether a claim of bulk for this account may find something.
    pub fn has_bulk(&self, account: (i32, i64)) -> bool {
        self.bulk.read().unwrap_or_else(PoisonError::into_inner).contains(&account)
    }

    /// Follows the flow of a lease claimed at `epoch`. A flow that the board has not seen yet is younger
    /// than the last look.
    pub fn watch(self: &Arc<Self>, key: FlowKey, epoch: i32) -> Watch {
        let known = self.flows.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let cell = known.unwrap_or_else(|| {
            let mut flows = self.flows.write().unwrap_or_else(PoisonError::into_inner);
            flows.entry(key).or_insert_with(|| Arc::new(AtomicI32::new(epoch))).clone()
        });
        // The claim is newer than the last look, if it saw a higher epoch.
        cell.fetch_max(epoch, Ordering::AcqRel);
        Watch { board: self.clone(), cell, epoch }
    }

    fn fresh(&self) -> bool {
        let seen = self.seen_ms.load(Ordering::Acquire);
        let age = (self.origin.elapsed().as_millis() as u64).saturating_sub(seen);
        seen > 0 && u128::from(age) < EPOCH_STALE.as_millis()
    }
}

/// What a lease may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Start the next send.
    Open,
    /// The database was not heard of for too long: start nothing until it is.
    Unsure,
    /// Paused, cancelled, throttled or stopped since the claim: hand the rest back.
    Shut,
}

/// One lease's view of its flow.
#[derive(Debug, Clone)]
pub struct Watch {
    board: Arc<Board>,
    cell: Arc<AtomicI32>,
    epoch: i32,
}

impl Watch {
    pub fn gate(&self) -> Gate {
        if self.cell.load(Ordering::Acquire) != self.epoch {
            Gate::Shut
        } else if self.board.fresh() {
            Gate::Open
        } else {
            Gate::Unsure
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(epoch: i32) -> BoardRow {
        BoardRow { workspace_id: 1, account_id: 2, run_id: 3, epoch, runnable: true, urgent: false }
    }

    #[test]
    fn a_lease_stops_when_its_flow_moves_on_or_ends() {
        let board = Arc::new(Board::new());
        assert_eq!(board.watch((1, 2, 3), 4).gate(), Gate::Unsure, "nothing was seen yet");
        board.update(Instant::now(), &[row(4)]);
        let watch = board.watch((1, 2, 3), 4);
        assert_eq!(watch.gate(), Gate::Open);
        board.update(Instant::now(), &[row(5)]);
        assert_eq!(watch.gate(), Gate::Shut);
        let newer = board.watch((1, 2, 3), 6);
        assert_eq!(newer.gate(), Gate::Open, "claimed after the last look");
        board.update(Instant::now(), &[]);
        assert_eq!(newer.gate(), Gate::Shut);
    }
}
