//! Claiming what is urgent, as soon as it is due.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use fanfare_domain::limits::{CLAIM_LEASES_MAX, URGENT_CLAIM_MAX, URGENT_EVERY};
use fanfare_store::queue::{self, Lane};
use fanfare_store::{Error, Result, Store};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::claims::Claims;
use crate::runs::Runs;
use crate::serve::AccountKey;

/// Accounts through which something urgent may be claimed: told anew at each look that finds any.
pub type Due = watch::Receiver<HashSet<AccountKey>>;

/// How long after a failed claim the next is tried.
const FAILED_WAIT: Duration = Duration::from_millis(100);

/// Looks for what is urgent, for all accounts of this process at once, until it is dropped; while no run may
/// bring any, it asks nothing.
pub async fn look(store: Store, board: Arc<Board>, tell: watch::Sender<HashSet<AccountKey>>) {
    let mut tick = interval(URGENT_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if !board.has_urgent() {
            continue;
        }
        let found = async { queue::urgent(&mut *store.pool.acquire().await?, store.clock.now()).await };
        match found.await {
            Ok(due) if due.is_empty() => {}
            // Nobody listens before the first account is served.
            Ok(due) => drop(tell.send(due.into_iter().collect())),
            // The board says so when the database is away.
            Err(error) => tracing::debug!(?error, "cannot look for what is urgent"),
        }
    }
}

/// The task that claims urgent messages of one account.
pub struct UrgentLoop {
    pub claims: Claims,
    pub due: Due,
    /// Cancelled by the claim when the fleet has buried this worker.
    pub fenced: CancellationToken,
}

impl UrgentLoop {
    /// Claims until the account is served no more.
    pub async fn run(mut self) {
        let who = self.claims.who;
        let mut runs = Runs::new(self.claims.account.kind);
        loop {
            tokio::select! {
                () = self.claims.stop.cancelled() => return,
                changed = self.due.changed() => if changed.is_err() { return },
            }
            if !self.due.borrow_and_update().contains(&(who.workspace_id, who.account_id)) {
                continue;
            }
            let base = self.claims.account.store.ids.block(i64::from(CLAIM_LEASES_MAX));
            match self.claim(base, &mut runs).await {
                Ok(()) => {}
                Err(Error::Fenced) => {
                    self.fenced.cancel();
                    return;
                }
                Err(error) => {
                    tracing::warn!(account_id = who.account_id, ?error, "urgent claim failed, trying again");
                    self.claims.recover(base, FAILED_WAIT).await;
                }
            }
        }
    }

    /// One claim: where bulk holds slots here, of as many messages as soon get one of them.
    async fn claim(&self, base: i64, runs: &mut Runs) -> Result<()> {
        let (who, account) = (self.claims.who, &self.claims.account);
        let (most, lane) = match account.exchange.room() {
            Some(room) => (room.min(URGENT_CLAIM_MAX), Lane::Borrowing),
            None => (URGENT_CLAIM_MAX, Lane::Urgent),
        };
        let Some(permits) = (most > 0).then(|| account.permits(most)).flatten() else { return Ok(()) };
        let mut c = account.store.pool.acquire().await?;
        let (now, ids) = (account.store.clock.now(), (who.workspace_id, who.account_id));
        let leases =
            queue::claim_urgent(&mut c, ids.0, ids.1, who.worker_id, base, who.shard, (most, lane), now).await?;
        self.claims.begin(&mut c, leases, permits, runs).await;
        Ok(())
    }
}
