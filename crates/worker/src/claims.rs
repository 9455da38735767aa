//! What becomes of leases once they are claimed: their messages are read, and they are handed on as batches.

use std::sync::Arc;
use std::time::Duration;

use fanfare_domain::outcome::Class;
use fanfare_store::queue::{self, Fate, Flusher, Lane, Lease, Message, Settlement};
use fanfare_store::{PgConnection, Result};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::account::Account;
use crate::board::Board;
use crate::flush::Note;
use crate::runs::{Run, Runs};
use crate::send::{Batch, Pace};
use crate::slots::Slots;

/// What the loops that claim for an account have in common.
#[derive(Clone)]
pub struct Claims {
    pub account: Arc<Account>,
    pub who: Flusher,
    pub board: Arc<Board>,
    pub stop: CancellationToken,
    /// To apalis. It ends once both loops have.
    pub batches: mpsc::UnboundedSender<Batch>,
}

impl Claims {
    /// Hands claimed leases on. `permits` are those of the claim; what it did not need is given back.
    pub async fn begin(
        &self,
        c: &mut PgConnection,
        leases: Vec<Lease>,
        mut permits: OwnedSemaphorePermit,
        runs: &mut Runs,
    ) {
        for lease in &leases {
            match permits.split(lease.len()) {
                // Given back by the flush that settles them.
                Some(held) => held.forget(),
                // A claim makes no more than it is asked for.
                None => tracing::error!(lease_id = lease.id, "more messages claimed than permitted"),
            }
            self.account.note(Note::Begun(Box::new(lease.clone())));
        }
        drop(permits);
        for lease in leases {
            let loaded = match runs.get(c, (self.who.workspace_id, self.who.account_id), lease.run_id).await {
                Ok(run) => self.messages(c, &run, &lease).await.map(|messages| (run, messages)),
                Err(e) => Err(e),
            };
            match loaded {
                Ok((run, messages)) => self.hand_on(lease, run, messages),
                Err(error) => {
                    tracing::warn!(lease_id = lease.id, ?error, "cannot read the messages of a lease, handing it back");
                    self.hand_back(&lease);
                }
            }
        }
    }

    fn hand_on(&self, lease: Lease, run: Arc<Run>, messages: Vec<Message>) {
        // Accounts are served only once the board was seen, and the clock before it.
        let own = |seen| Slots::of(&lease, seen).map_or(Pace::Free, Pace::Own);
        let pace = match lease.lane {
            Lane::Borrowing => Pace::Owed(self.account.exchange.owe(lease.len())),
            Lane::Bulk | Lane::Urgent => self.board.clock().map_or(Pace::Free, own),
        };
        let watch = self.board.watch((self.who.workspace_id, self.who.account_id, lease.run_id), lease.epoch);
        let (account, stop) = (self.account.clone(), self.stop.clone());
        // The receiver lives until the loops end.
        let _ = self.batches.send(Batch { account, run, lease, messages, pace, watch, stop });
    }

    /// The messages of a lease; where that matters, with the times when their recipients wrote.
    async fn messages(&self, c: &mut PgConnection, run: &Run, lease: &Lease) -> Result<Vec<Message>> {
        let (workspace_id, account_id) = (self.who.workspace_id, self.who.account_id);
        let pepper = self.account.store.seal.pepper();
        let mut messages = queue::messages(c, pepper, (workspace_id, account_id), lease).await?;
        if run.window {
            queue::heard(c, (workspace_id, account_id), lease.run_id, &mut messages).await?;
        }
        Ok(messages)
    }

    fn hand_back(&self, lease: &Lease) {
        for position in 0..lease.len() {
            let settlement = Settlement::of(lease, position, Fate::Returned, Class::Transient);
            self.account.note(Note::Settled(settlement));
        }
    }

    /// After a failed claim: whatever it leased all the same goes back.
    pub async fn recover(&self, base: i64, wait: Duration) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(wait) => {}
            }
            let Ok(mut c) = self.account.store.pool.acquire().await else { continue };
            let Flusher { workspace_id, account_id, worker_id, .. } = self.who;
            if let Ok(leases) = queue::unheard(&mut c, workspace_id, account_id, worker_id, base).await {
                for lease in &leases {
                    match self.account.permits(lease.len()) {
                        Some(held) => held.forget(),
                        // The flush gives them back all the same: a few more may be held from then on.
                        None => tracing::error!(lease_id = lease.id, "more messages claimed than permitted"),
                    }
                    self.account.note(Note::Begun(Box::new(lease.clone())));
                    self.hand_back(lease);
                }
                return;
            }
        }
    }
}
