//! The apalis backend over our leases: one for each account and process.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use apalis_core::backend::{Backend, BackendConfig, finalize::Ephemeral, queue::Queue};
use apalis_core::layers::Identity;
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;
use fanfare_domain::limits::{ACCOUNTS_EVERY, CLAIM_EVERY, CLAIM_LEASES_MAX, CLAIM_MAX};
use fanfare_store::queue;
use fanfare_store::{Error, Result, accounts};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::claims::Claims;
use crate::runs::Runs;
use crate::send::Batch;
use crate::urgent_loop::{Due, UrgentLoop};

/// Longest wait between two tries to reach the database.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(1);
/// A claim waits a moment for this much room, so that claims stay few.
const CLAIM_GOOD: usize = CLAIM_MAX / 2;
/// How long that moment is.
const ROOM_LOOK: Duration = Duration::from_millis(3);

/// Claims leases in a task of its own and hands them to apalis.
pub struct LeaseBackend {
    queue: String,
    batches: mpsc::UnboundedReceiver<Batch>,
    stop: CancellationToken,
}

/// The task that claims bulk.
pub struct ClaimLoop {
    pub claims: Claims,
    /// The account as it was opened.
    pub row: accounts::Account,
    /// Rung when there may be new work.
    pub wake: Arc<Notify>,
    /// Cancelled by the claim when the fleet has buried this worker.
    pub fenced: CancellationToken,
}

impl LeaseBackend {
    /// Starts claiming, bulk and what is urgent; must run inside a tokio runtime. `due` tells of what is urgent.
    pub fn start(claims: ClaimLoop, due: Due, batches: mpsc::UnboundedReceiver<Batch>) -> Self {
        let stop = claims.claims.stop.clone();
        let queue = claims.claims.account.account_id.to_string();
        let urgent = UrgentLoop { claims: claims.claims.clone(), due, fenced: claims.fenced.clone() };
        tokio::spawn(urgent.run());
        tokio::spawn(claims.run());
        Self { queue, batches, stop }
    }
}

impl Drop for LeaseBackend {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Backend for LeaseBackend {
    type Task = Task<Batch>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Task<Batch>, Infallible>>> {
        // The claim loop ends the channel once it has stopped: what was claimed is yielded before that,
        // and hands itself back, since its stop is cancelled.
        let Some(batch) = ready!(self.batches.poll_recv(cx)) else { return Poll::Ready(None) };
        let id = batch.lease.id as u64;
        Poll::Ready(Some(Ok(TaskBuilder::new(batch)
            .task_id(TaskId::from_int(id))
            .queue(Queue::from(self.queue.as_str()))
            .build())))
    }

    fn poll_close(&mut self, _: &mut Context<'_>, worker: &WorkerContext) -> Poll<Result<(), Infallible>> {
        self.stop.cancel();
        // After the end of the input apalis waits for its worker to be told to stop; it cannot fail here,
        // since a worker that polls has started.
        let _ = worker.stop();
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for LeaseBackend {
    type Args = Batch;
    type Id = u64;
    type Kind = Ephemeral;
    type Config = String;
    type Layer = Identity;

    fn config(&self) -> &String {
        &self.queue
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

impl ClaimLoop {
    async fn run(self) {
        let mut runs = Runs::new(self.claims.account.kind);
        let mut wait = Duration::from_millis(20);
        let mut lost: Option<i64> = None;
        let mut looked = Instant::now();
        let who = self.claims.who;
        while !self.claims.stop.is_cancelled() {
            let key = (who.workspace_id, who.account_id);
            if !self.claims.board.has_work(key) {
                self.idle(CLAIM_EVERY).await;
                continue;
            }
            if looked.elapsed() >= ACCOUNTS_EVERY {
                looked = Instant::now();
                if self.is_changed().await {
                    tracing::info!(account_id = who.account_id, "the account was changed: it is opened anew");
                    self.claims.stop.cancel();
                    return;
                }
            }
            if !self.claims.board.has_bulk(key) {
                self.idle(CLAIM_EVERY).await;
                continue;
            }
            let Some(permits) = self.permits().await else { return };
            let base = self.claims.account.store.ids.block(i64::from(CLAIM_LEASES_MAX));
            match self.claim(base, permits, &mut runs).await {
                Ok(pause) => {
                    wait = Duration::from_millis(20);
                    self.idle(pause).await;
                    // A claim that was given up may have committed after it was looked for.
                    if let Some(base) = lost.take() {
                        self.claims.recover(base, Duration::ZERO).await;
                    }
                }
                Err(Error::Fenced) => {
                    self.fenced.cancel();
                    return;
                }
                Err(error) => {
                    tracing::warn!(account_id = who.account_id, ?error, "claim failed, trying again");
                    self.claims.recover(base, wait).await;
                    lost = Some(base);
                    wait = (wait * 2).min(RETRY_WAIT_MAX);
                }
            }
        }
    }

    /// Whether its provider would see another account now than the one that was opened.
    async fn is_changed(&self) -> bool {
        let who = self.claims.who;
        let now = async {
            let mut c = self.claims.account.store.pool.acquire().await?;
            accounts::by_id(&mut c, who.workspace_id, who.account_id).await
        };
        // What cannot be read is not claimed from either.
        now.await.is_ok_and(|now: accounts::Account| !now.speaks_as(&self.row))
    }

    /// For as many messages as to claim; waits a moment until it is worth a claim.
    async fn permits(&self) -> Option<OwnedSemaphorePermit> {
        let account = &self.claims.account;
        let room = account.room();
        if let Some(permits) = (room >= CLAIM_GOOD).then(|| account.permits(room.min(CLAIM_MAX))).flatten() {
            return Some(permits);
        }
        loop {
            tokio::select! {
                () = self.claims.stop.cancelled() => return None,
                () = sleep(ROOM_LOOK) => {}
            }
            let room = account.room();
            if let Some(permits) = (room > 0).then(|| account.permits(room.min(CLAIM_MAX))).flatten() {
                return Some(permits);
            }
        }
    }

    /// One claim; says how long to wait before the next.
    async fn claim(&self, base: i64, permits: OwnedSemaphorePermit, runs: &mut Runs) -> Result<Duration> {
        let (who, account) = (self.claims.who, &self.claims.account);
        let now = account.store.clock.now();
        let (want, mut c) = (permits.num_permits(), account.store.pool.acquire().await?);
        let leases =
            queue::claim(&mut c, who.workspace_id, who.account_id, who.worker_id, base, who.shard, want, now).await?;
        // Of what has slots more was not to be had yet.
        let slotted = leases.iter().all(|lease| lease.period_us > 0);
        self.claims.begin(&mut c, leases, permits, runs).await;
        Ok(if slotted { CLAIM_EVERY } else { Duration::ZERO })
    }

    async fn idle(&self, pause: Duration) {
        if pause.is_zero() {
            return;
        }
        // A little chance keeps the fleet from asking in step.
        let jitter = Duration::from_micros(self.claims.account.store.rng.below(pause.as_micros() as u64 / 4 + 1));
        tokio::select! {
            () = self.claims.stop.cancelled() => {}
            () = self.wake.notified() => {}
            () = sleep(pause + jitter) => {}
        }
    }
}
