//! Asking providers what became of messages that they had accepted and only queued.
//!
//! A question is work like a message: it takes a slot of the account's pace, is not started once that has
//! passed or the account's epoch has moved on, and counts against the cap. One worker of the fleet asks an
//! account at a time; what a dead one had not written down is asked for again, and counts once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare_domain::id::message_id;
use fanfare_domain::limits::{CLAIM_EVERY, POLL_EVERY, POLL_REFUSED_REST, POLL_REST};
use fanfare_domain::outcome::{Failure, FailureKind};
use fanfare_domain::receipt::{About, Receipt};
use fanfare_domain::retry::{RETRY_AFTER_MAX, poll_wait};
use fanfare_providers::{Adapter, Asked, Polled, Provider as _};
use fanfare_store::polls::{Poll, Slot};
use fanfare_store::{Error as StoreError, Store, polls, queue, receipts};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::board::{Board, Gate, Watch};
use crate::serve::{self, AccountKey, OpenError};
use crate::slots::{self, Slots};

/// Tries for a slot before the account is left for a moment.
const TRIES_MAX: u32 = 32;
/// How often a question that is unsure of its account looks again.
const UNSURE_LOOK: Duration = Duration::from_millis(10);

/// The questions of one worker.
#[derive(Clone)]
pub struct Polls {
    pub store: Store,
    pub worker_id: i64,
    pub board: Arc<Board>,
    pub over: CancellationToken,
}

/// What the questions of a page came to.
#[derive(Default)]
struct Page {
    receipts: Vec<Receipt>,
    told: Vec<(i64, i32)>,
    again: Vec<(i64, i32, Duration)>,
}

/// What follows a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Next,
    /// Nothing more is asked of the account for now.
    Stop,
}

impl Polls {
    /// Asks for as long as the worker lives; ends when the questions under way are answered.
    pub async fn run(self) {
        let mut asking: HashSet<AccountKey> = HashSet::new();
        let mut tasks = JoinSet::new();
        let mut tick = interval(POLL_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.over.cancelled() => break,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => match ended {
                    Ok(key) => { asking.remove(&key); }
                    // Which account it was is not known: this life ends, and the next asks anew.
                    Err(error) => {
                        tracing::error!(%error, "a question panicked");
                        self.over.cancel();
                    }
                },
                _ = tick.tick() => for key in self.due().await {
                    if asking.insert(key) {
                        tasks.spawn(self.clone().of_account(key));
                    }
                }
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn due(&self) -> Vec<AccountKey> {
        // Without a look at the database's clock nobody knows when a slot is.
        if self.board.clock().is_none() {
            return Vec::new();
        }
        let found = async { polls::due_accounts(&mut *self.store.pool.acquire().await?, self.worker_id).await };
        // The board says so when the database is away.
        found.await.unwrap_or_else(|error: StoreError| {
            tracing::debug!(?error, "cannot look for what is to be asked");
            Vec::new()
        })
    }

    /// Asks for whatever of the account is due, in pages.
    async fn of_account(self, key: AccountKey) -> AccountKey {
        let asked = async {
            let Some((_, adapter)) = serve::open(&self.store, key, None).await? else { return Ok(()) };
            while !self.over.is_cancelled() && self.page(key, &adapter).await? == Then::Next {}
            Ok::<_, OpenError>(())
        };
        match asked.await {
            Ok(()) => {}
            // The heart finds out by itself, and ends this life.
            Err(OpenError::Store(StoreError::Fenced)) => {}
            Err(error) => tracing::warn!(account_id = key.1, ?error, "the account cannot be asked"),
        }
        key
    }

    async fn page(&self, key: AccountKey, adapter: &Adapter) -> Result<Then, StoreError> {
        let due = polls::due(&mut *self.store.pool.acquire().await?, key.0, key.1).await?;
        let mut then = if due.is_empty() { Then::Stop } else { Then::Next };
        let mut page = Page::default();
        for poll in &due {
            let Some((slot, watch)) = self.slot(key).await? else {
                then = Then::Stop;
                break;
            };
            if self.one(key, adapter, poll, (&slot, &watch), &mut page).await? == Then::Stop {
                then = Then::Stop;
                break;
            }
        }
        if !page.receipts.is_empty() {
            receipts::take(&self.store, key.0, key.1, &page.receipts).await?;
        }
        // After the receipts: what comes between is asked for again, and each counts once.
        let over = polls::note(&self.store.pool, key.0, &page.told, &page.again).await?;
        if over > 0 {
            tracing::info!(account_id = key.1, messages = over, "nothing was told of them, and none will ask any more");
        }
        Ok(then)
    }

    /// A slot; none if there is none soon.
    async fn slot(&self, key: AccountKey) -> Result<Option<(Slot, Watch)>, StoreError> {
        for _ in 0..TRIES_MAX {
            if self.over.is_cancelled() {
                return Ok(None);
            }
            let mut c = self.store.pool.acquire().await?;
            if let Some(slot) = polls::reserve(&mut c, key.0, key.1, self.worker_id).await? {
                return Ok(Some((slot, self.board.watch((key.0, key.1, 0), slot.epoch))));
            }
            drop(c);
            // A little chance, so as not to meet the claims of the account each time.
            let jitter = Duration::from_micros(self.store.rng.below(CLAIM_EVERY.as_micros() as u64 / 4));
            tokio::select! { () = self.over.cancelled() => {}, () = sleep(CLAIM_EVERY + jitter) => {} }
        }
        Ok(None)
    }

    /// Asks for one message at its slot.
    async fn one(
        &self,
        key: AccountKey,
        adapter: &Adapter,
        poll: &Poll,
        (slot, watch): (&Slot, &Watch),
        page: &mut Page,
    ) -> Result<Then, StoreError> {
        let at = self.board.clock().and_then(|seen| Slots::of_question(slot, seen)).map(|slots| slots.slot(0));
        let missed = || at.is_some_and(|slot| slot.missed(Instant::now()));
        if !self.turn(at, watch).await || missed() {
            return Ok(Then::Next);
        }
        let asked = Asked { provider_id: poll.provider_id.clone(), id: message_id(key.0, poll.run_id, poll.seq) };
        let may_start = || !missed() && watch.gate() == Gate::Open;
        let polled = adapter.poll(&asked, &may_start).await;
        if slot.probe && matches!(polled, Polled::Ended { .. } | Polled::Pending | Polled::Unsure(_)) {
            queue::circuit_close(&mut *self.store.pool.acquire().await?, key.0, key.1).await?;
        }
        let again = || (poll.run_id, poll.seq, poll_wait(poll.asked + 1, &self.store.rng));
        match polled {
            Polled::Ended { kind, at, detail } => {
                let about = About::Message { run_id: poll.run_id, seq: poll.seq };
                page.receipts.push(Receipt { about, kind, at, detail });
                page.told.push((poll.run_id, poll.seq));
            }
            Polled::Pending => page.again.push(again()),
            Polled::Unsure(why) => {
                tracing::debug!(
                    account_id = key.1,
                    run_id = poll.run_id,
                    seq = poll.seq,
                    why,
                    "nothing certain was told"
                );
                page.again.push(again());
            }
            Polled::Failed(failure) => {
                // One that is refused each time must not keep the others from their turn.
                if !matches!(failure.kind, FailureKind::Throttled | FailureKind::Later | FailureKind::Unreachable) {
                    page.again.push(again());
                }
                self.failed(key, slot, failure).await?;
                return Ok(Then::Stop);
            }
            Polled::NotStarted => {}
        }
        Ok(Then::Next)
    }

    /// Waits for the slot; whether it still holds then.
    async fn turn(&self, at: Option<slots::Slot>, watch: &Watch) -> bool {
        let wait = at.map_or(Duration::ZERO, |slot| slot.at.saturating_duration_since(Instant::now()));
        tokio::select! { () = self.over.cancelled() => return false, () = sleep(wait) => {} }
        loop {
            match watch.gate() {
                Gate::Open => return !self.over.is_cancelled(),
                Gate::Shut => return false,
                Gate::Unsure => {
                    tokio::select! { () = self.over.cancelled() => return false, () = sleep(UNSURE_LOOK) => {} }
                }
            }
        }
    }

    /// What a question meets never stops an account: its messages may fare better.
    async fn failed(&self, key: AccountKey, slot: &Slot, failure: Failure) -> Result<(), StoreError> {
        let mut c = self.store.pool.acquire().await?;
        let wait = match failure.kind {
            FailureKind::Throttled | FailureKind::Later => {
                let wait = failure.retry_after.unwrap_or(POLL_EVERY).min(RETRY_AFTER_MAX);
                polls::throttled(&mut c, key.0, key.1, slot.epoch, wait).await?;
                wait
            }
            FailureKind::Configuration => POLL_REFUSED_REST,
            FailureKind::Transient | FailureKind::Unreachable | FailureKind::Unknown => POLL_REST,
            // Of this message alone.
            FailureKind::PermanentContent | FailureKind::PermanentRecipient => Duration::ZERO,
        };
        polls::rest(&mut c, key.0, key.1, wait).await?;
        let (code, wait_s) = (failure.detail, wait.as_secs());
        tracing::warn!(account_id = key.1, code, wait_s, "the provider does not tell what became of messages");
        Ok(())
    }
}
