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
use fanfare_domain::outcome::Class;
use fanfare_store::queue::{self, Fate, Flusher, Lease, Message, Settlement};
use fanfare_store::{Error, PgConnection, Result, accounts};
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::account::Account;
use crate::board::Board;
use crate::flush::Note;
use crate::runs::{Run, Runs};
use crate::send::Batch;
use crate::slots::Slots;

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

/// The task that claims.
pub struct ClaimLoop {
    pub account: Arc<Account>,
    /// The account as it was opened.
    pub row: accounts::Account,
    pub who: Flusher,
    pub board: Arc<Board>,
    /// Rung when there may be new work.
    pub wake: Arc<Notify>,
    pub stop: CancellationToken,
    /// Cancelled by the claim when the fleet has buried this worker.
    pub fenced: CancellationToken,
}

impl LeaseBackend {
    /// Starts claiming; must run inside a tokio runtime.
    pub fn start(claims: ClaimLoop) -> Self {
        let (tx, batches) = mpsc::unbounded_channel();
        let stop = claims.stop.clone();
        let queue = claims.account.account_id.to_string();
        tokio::spawn(claims.run(tx));
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
    async fn run(self, batches: mpsc::UnboundedSender<Batch>) {
        let mut runs = Runs::new(self.account.kind);
        let mut wait = Duration::from_millis(20);
        let mut lost: Option<i64> = None;
        let mut looked = Instant::now();
        while !self.stop.is_cancelled() {
            if !self.board.has_work((self.who.workspace_id, self.who.account_id)) {
                self.idle(CLAIM_EVERY).await;
                continue;
            }
            if looked.elapsed() >= ACCOUNTS_EVERY {
                looked = Instant::now();
                if self.is_changed().await {
                    tracing::info!(account_id = self.who.account_id, "the account was changed: it is opened anew");
                    self.stop.cancel();
                    return;
                }
            }
            let Some(want) = self.permits().await else { return };
            let base = self.account.store.ids.block(i64::from(CLAIM_LEASES_MAX));
            match self.claim(base, want, &mut runs, &batches).await {
                Ok(pause) => {
                    wait = Duration::from_millis(20);
                    self.idle(pause).await;
                    // A claim that was given up may have committed after it was looked for.
                    if let Some(base) = lost.take() {
                        self.recover(base, Duration::ZERO).await;
                    }
                }
                Err(Error::Fenced) => {
                    self.fenced.cancel();
                    return;
                }
                Err(error) => {
                    tracing::warn!(account_id = self.account.account_id, ?error, "claim failed, trying again");
                    self.recover(base, wait).await;
                    lost = Some(base);
                    wait = (wait * 2).min(RETRY_WAIT_MAX);
                }
            }
        }
    }

    /// Whether its provider would see another account now than the one that was opened.
    async fn is_changed(&self) -> bool {
        let now = async {
            let mut c = self.account.store.pool.acquire().await?;
            accounts::by_id(&mut c, self.who.workspace_id, self.who.account_id).await
        };
        // What cannot be read is not claimed from either.
        now.await.is_ok_and(|now: accounts::Account| !now.speaks_as(&self.row))
    }

    /// How many messages to claim; waits a moment until it is worth a claim.
    async fn permits(&self) -> Option<usize> {
        let room = self.account.room();
        if room >= CLAIM_GOOD {
            return Some(room.min(CLAIM_MAX));
        }
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = sleep(ROOM_LOOK) => {}
            }
            match self.account.room() {
                0 => {}
                room => return Some(room.min(CLAIM_MAX)),
            }
        }
    }

    /// One claim; says how long to wait before the next.
    async fn claim(
        &self,
        base: i64,
        want: usize,
        runs: &mut Runs,
        batches: &mpsc::UnboundedSender<Batch>,
    ) -> Result<Duration> {
        let (ws, account) = (self.who.workspace_id, &self.account);
        let now = account.store.clock.now();
        let mut c = account.store.pool.acquire().await?;
        let leases =
            queue::claim(&mut c, ws, self.who.account_id, self.who.worker_id, base, self.who.shard, want, now).await?;
        let seen = self.board.clock();
        let capped = leases.first().is_some_and(|l| l.period_us > 0);
        let claimed: usize = leases.iter().map(Lease::len).sum();
        for lease in &leases {
            self.hold(lease);
        }
        for lease in leases {
            let run = runs.get(&mut c, (ws, self.who.account_id), lease.run_id).await;
            let loaded = match run {
                Ok(run) => self.messages(&mut c, &run, &lease).await.map(|messages| (run, messages)),
                Err(e) => Err(e),
            };
            match loaded {
                Ok((run, messages)) => {
                    // Accounts are served only once the board was seen, and the clock before it.
                    let slots = seen.and_then(|seen| Slots::of(&lease, seen));
                    let watch = self.board.watch((ws, self.who.account_id, lease.run_id), lease.epoch);
                    let (account, stop) = (account.clone(), self.stop.clone());
                    // The receiver lives until this loop ends.
                    let _ = batches.send(Batch { account, run, lease, messages, slots, watch, stop });
                }
                Err(error) => {
                    tracing::warn!(lease_id = lease.id, ?error, "cannot read the messages of a lease, handing it back");
                    self.hand_back(&lease);
                }
            }
        }
        Ok(if claimed == 0 || capped { CLAIM_EVERY } else { Duration::ZERO })
    }

    /// The messages of a lease; where that matters, with the times when their recipients wrote.
    async fn messages(&self, c: &mut PgConnection, run: &Run, lease: &Lease) -> Result<Vec<Message>> {
        let (workspace_id, account_id) = (self.who.workspace_id, self.who.account_id);
        let mut messages = queue::messages(c, workspace_id, lease).await?;
        if run.window {
            queue::heard(c, (workspace_id, account_id), lease.run_id, &mut messages).await?;
        }
        Ok(messages)
    }

    /// Takes the permits of a lease and tells the flusher of it.
    fn hold(&self, lease: &Lease) {
        match self.account.held.try_acquire_many(lease.len() as u32) {
            Ok(permits) => permits.forget(),
            // Only this loop takes permits, and it asked for no more than there were.
            Err(_) => tracing::error!(lease_id = lease.id, "more messages claimed than permitted"),
        }
        self.account.note(Note::Begun(Box::new(lease.clone())));
    }

    fn hand_back(&self, lease: &Lease) {
        for position in 0..lease.len() {
            let settlement = Settlement::of(lease, position, Fate::Returned, Class::Transient);
            self.account.note(Note::Settled(settlement));
        }
    }

    /// After a failed claim: whatever it leased all the same goes back.
    async fn recover(&self, base: i64, wait: Duration) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(wait) => {}
            }
            let Ok(mut c) = self.account.store.pool.acquire().await else { continue };
            let Flusher { workspace_id, account_id, worker_id, .. } = self.who;
            if let Ok(leases) = queue::unheard(&mut c, workspace_id, account_id, worker_id, base).await {
                for lease in &leases {
                    self.hold(lease);
                    self.hand_back(lease);
                }
                return;
            }
        }
    }

    async fn idle(&self, pause: Duration) {
        if pause.is_zero() {
            return;
        }
        // A little chance keeps the fleet from asking in step.
        let jitter = Duration::from_micros(self.account.store.rng.below(pause.as_micros() as u64 / 4 + 1));
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.wake.notified() => {}
            () = sleep(pause + jitter) => {}
        }
    }
}
