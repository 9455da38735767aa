//! Steering an account by the signs in its answers: slow it down, open or close its circuit, stop it.

use std::sync::atomic::{AtomicU32, Ordering};

use fanfare_store::{Store, accounts, queue};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::resolve::Sign;

/// So many ailing answers in a row open the circuit.
const AILING_MAX: u32 = 12;

/// A sign, and the lease it came from.
#[derive(Debug)]
pub struct Seen {
    pub run_id: i64,
    pub epoch: i32,
    pub probe: bool,
    pub sign: Sign,
}

/// Counts signs where they arise, and passes on those that need a decision of the fleet.
#[derive(Debug)]
pub struct Signs {
    ailing: AtomicU32,
    decisions: mpsc::UnboundedSender<Seen>,
}

impl Signs {
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Seen>) {
        let (decisions, seen) = mpsc::unbounded_channel();
        (Self { ailing: AtomicU32::new(0), decisions }, seen)
    }

    /// Takes note of one answer's sign.
    pub fn note(&self, seen: Seen) {
        let decide = match &seen.sign {
            Sign::Healthy => {
                // A plain load first: this is the path of every message.
                if self.ailing.load(Ordering::Relaxed) != 0 {
                    self.ailing.store(0, Ordering::Relaxed);
                }
                seen.probe
            }
            Sign::Ailing => {
                let in_a_row = self.ailing.fetch_add(1, Ordering::Relaxed) + 1;
                let open = seen.probe || in_a_row >= AILING_MAX;
                if open {
                    self.ailing.store(0, Ordering::Relaxed);
                }
                open
            }
            Sign::Throttled(_) | Sign::Refused(_) => true,
        };
        if decide {
            // The receiver is gone only when the worker ends.
            let _ = self.decisions.send(seen);
        }
    }
}

/// Carries the decisions about one account to the database.
pub struct Steering {
    pub store: Store,
    pub account: accounts::Account,
    pub seen: mpsc::UnboundedReceiver<Seen>,
    /// Cancelled when the provider refuses us: the account is to be opened anew.
    pub ended: CancellationToken,
    /// No more signs will come.
    pub drain: CancellationToken,
}

impl Steering {
    /// Decides until drained. A decision that fails is dropped: the next answer brings the same sign.
    pub async fn run(mut self) {
        loop {
            let seen = tokio::select! {
                seen = self.seen.recv() => seen,
                () = self.drain.cancelled() => None,
            };
            let Some(seen) = seen else { return };
            if let Err(error) = self.decide(&seen).await {
                tracing::warn!(account_id = self.account.account_id, ?error, "steering the account failed");
            }
        }
    }

    async fn decide(&self, seen: &Seen) -> fanfare_store::Result<()> {
        let (workspace_id, account_id) = (self.account.workspace_id, self.account.account_id);
        let mut c = self.store.pool.acquire().await?;
        match &seen.sign {
            Sign::Healthy => {
                queue::circuit_close(&mut c, workspace_id, account_id).await?;
                tracing::info!(account_id, "circuit closed: the account answers again");
            }
            Sign::Ailing => {
                if queue::circuit_open(&mut c, workspace_id, account_id, seen.run_id, seen.epoch).await? {
                    tracing::warn!(account_id, "circuit opened: the account does not answer");
                }
            }
            Sign::Throttled(wait) => {
                if queue::throttle(&mut c, workspace_id, account_id, seen.run_id, seen.epoch, *wait).await? {
                    tracing::warn!(account_id, wait_ms = wait.as_millis() as u64, "throttled: the account slows down");
                }
                if seen.probe {
                    queue::circuit_close(&mut c, workspace_id, account_id).await?;
                }
            }
            Sign::Refused(reason) => {
                // Under new settings the refusal of the old ones says nothing.
                let now = accounts::by_id(&mut c, workspace_id, account_id).await?;
                if now.speaks_as(&self.account) {
                    accounts::stop(&mut c, workspace_id, account_id, reason).await?;
                    tracing::error!(account_id, reason, "account stopped: its provider refuses it");
                }
                self.ended.cancel();
            }
        }
        Ok(())
    }
}
