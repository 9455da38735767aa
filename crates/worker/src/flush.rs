//! The flusher: gathers settlements and writes them down in groups.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fanfare_domain::limits::{FLUSH_EVERY, HOUR_US};
use fanfare_domain::outcome::Class;
use fanfare_domain::state::RetryKind;
use fanfare_store::queue::{self, Contacted, Fate, Flusher, Lane, Lease, Mark, Settlement, TakenBack};
use fanfare_store::{Error, PgPool, Store};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// Longest wait between two tries to reach the database.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(1);
/// A refusal that is no matter of waiting is tried this often before the worker gives up.
const REFUSALS_MAX: u32 = 5;

/// What the flusher is told.
#[derive(Debug)]
pub enum Note {
    /// A lease begins.
    Begun(Box<Lease>),
    /// Something became of one of its messages.
    Settled(Settlement),
}

/// One flusher: of one account in one process.
pub struct FlushLoop {
    pub store: Store,
    pub who: Flusher,
    pub notes: mpsc::UnboundedReceiver<Note>,
    /// Permits of the messages held: given back once their settlement is committed.
    pub held: Arc<Semaphore>,
    /// Messages settled in a flush, smoothed: what the claim loop sizes its stock by.
    pub briskness: Arc<AtomicUsize>,
    /// No more notes will come: end after the last flush.
    pub drain: CancellationToken,
    /// Whether the account has a limit of recipients by the day.
    pub counts_recipients: bool,
    /// Cancelled by the flusher when a lease turns out to be another's: the fleet thinks us dead.
    pub fenced: CancellationToken,
}

/// What a flush takes back from the limits by the day, and from the account's shares.
#[derive(Default)]
struct Days {
    by_hour: HashMap<i32, TakenBack>,
    unclaimed: HashMap<i64, i32>,
    contacted: Vec<Contacted>,
}

impl Days {
    /// `counted` says whether the claim counted it.
    fn note(&mut self, s: &Settlement, hour: i32, counted: bool) {
        match (s.fate, s.class) {
            (Fate::Returned, _) => {
                // What borrowed a slot of bulk took over its place in the count.
                if counted && !s.swapped {
                    self.by_hour.entry(hour).or_default().unstarted += 1;
                }
                if matches!(s.was, None | Some(RetryKind::New)) {
                    *self.unclaimed.entry(s.run_id).or_default() += 1;
                }
            }
            (Fate::Unknown(_), _) | (_, Class::Sent) => {
                self.contacted.push(Contacted { run_id: s.run_id, seq: s.seq, hour });
            }
            (Fate::Final { .. } | Fate::Retry(_), _) => self.by_hour.entry(hour).or_default().refused += 1,
        }
    }

    async fn write(self, pool: &PgPool, who: Flusher, counts_recipients: bool) -> Result<(), Error> {
        let key = (who.workspace_id, who.account_id);
        for (run_id, messages) in self.unclaimed {
            queue::unclaim(pool, key, run_id, messages).await?;
        }
        for (hour, taken) in self.by_hour {
            if taken.unstarted > 0 || counts_recipients {
                queue::give_back(pool, key, hour, taken).await?;
            }
        }
        if counts_recipients && !self.contacted.is_empty() {
            queue::contacted(pool, key, &self.contacted).await?;
        }
        Ok(())
    }
}

/// A lease as far as it is settled.
struct Open {
    reserve_each: i64,
    /// When it was claimed, µs by the database's clock.
    claimed_us: i64,
    /// Whether the claim counted its messages by the day.
    counted: bool,
    done: Vec<u8>,
    open: i32,
}

impl FlushLoop {
    /// Flushes until drained.
    ///
    /// # Errors
    /// When the database refuses a flush for good. What was not written is reclaimed as unknown later.
    pub async fn run(mut self) -> Result<(), Error> {
        let mut leases: HashMap<i64, Open> = HashMap::new();
        let mut tick = interval(FLUSH_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let last = tokio::select! {
                _ = tick.tick() => false,
                () = self.drain.cancelled() => true,
            };
            let settlements = self.gather(&mut leases);
            let smoothed = (self.briskness.load(Ordering::Relaxed) * 7 + settlements.len()).div_ceil(8);
            self.briskness.store(smoothed, Ordering::Relaxed);
            if !settlements.is_empty() {
                let marks = mark(&mut leases, &settlements);
                self.write(&marks, &settlements).await?;
                self.give_back(&leases, &settlements).await;
                leases.retain(|_, lease| lease.open > 0);
                self.held.add_permits(settlements.len());
            }
            if last {
                return Ok(());
            }
        }
    }

    fn gather(&mut self, leases: &mut HashMap<i64, Open>) -> Vec<Settlement> {
        let mut settlements = Vec::new();
        while let Ok(note) = self.notes.try_recv() {
            match note {
                Note::Begun(lease) => {
                    let (reserve_each, claimed_us) = (lease.reserve_each, lease.now_us);
                    let (counted, open) = (lease.lane != Lane::Borrowing, lease.len() as i32);
                    let open = Open { reserve_each, claimed_us, counted, done: vec![], open };
                    leases.insert(lease.id, open);
                }
                Note::Settled(settlement) => settlements.push(settlement),
            }
        }
        settlements
    }

    /// What was not sent does not count against the limits by the day. Should this fail, the day is a little
    /// shorter.
    async fn give_back(&self, leases: &HashMap<i64, Open>, settlements: &[Settlement]) {
        let mut days = Days::default();
        for s in settlements {
            let Some(lease) = leases.get(&s.lease_id) else { continue };
            days.note(s, (lease.claimed_us / HOUR_US) as i32, lease.counted);
        }
        if let Err(error) = days.write(&self.store.pool, self.who, self.counts_recipients).await {
            tracing::warn!(
                account_id = self.who.account_id,
                ?error,
                "the day's count keeps messages that were not sent"
            );
        }
    }

    /// Writes one group down, however long the database is away.
    async fn write(&self, marks: &[Mark], settlements: &[Settlement]) -> Result<(), Error> {
        let (mut wait, mut refusals) = (Duration::from_millis(20), 0);
        let mut again = false;
        loop {
            match queue::flush(&self.store.pool, &self.store.ids, self.who, marks, settlements, again).await {
                Ok(flushed) => {
                    if !flushed.lost_leases.is_empty() && !again {
                        self.fenced.cancel();
                    }
                    if flushed.late > 0 {
                        tracing::warn!(account_id = self.who.account_id, late = flushed.late, "late settlements");
                    }
                    return Ok(());
                }
                Err(e) if !e.is_transient() && refusals == REFUSALS_MAX => return Err(e),
                Err(e) => {
                    refusals += u32::from(!e.is_transient());
                    tracing::warn!(account_id = self.who.account_id, error = ?e, "flush failed, trying again");
                }
            }
            // The failed commit may have been written all the same.
            again = true;
            sleep(wait).await;
            wait = (wait * 2).min(RETRY_WAIT_MAX);
        }
    }
}

/// Sets the bits of the settled, and says how each of their leases now stands.
fn mark(leases: &mut HashMap<i64, Open>, settlements: &[Settlement]) -> Vec<Mark> {
    let mut touched: Vec<i64> = Vec::new();
    for s in settlements {
        // Every settlement is of a lease whose beginning was noted before it.
        let Some(lease) = leases.get_mut(&s.lease_id) else { continue };
        let byte = s.position / 8;
        if lease.done.len() <= byte {
            lease.done.resize(byte + 1, 0);
        }
        lease.done[byte] |= 1 << (s.position % 8);
        lease.open -= 1;
        if touched.last() != Some(&s.lease_id) {
            touched.push(s.lease_id);
        }
    }
    touched.sort_unstable();
    touched.dedup();
    touched
        .into_iter()
        .filter_map(|lease_id| {
            let lease = leases.get(&lease_id)?;
            Some(Mark { lease_id, reserve_each: lease.reserve_each, done: lease.done.clone(), open: lease.open })
        })
        .collect()
}
