//! Flushing: one transaction that writes down what became of messages, fenced by their leases.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use fanfare_domain::id::Ids;
use fanfare_domain::outcome::Class;
use fanfare_domain::state::RetryKind;
use sqlx::{PgConnection, PgPool};

use super::books::{Books, Sums};
use super::claim::{Lease, Span};
use super::settle::{lock_doubts, settle_reported};
use crate::copy::Rows;
use crate::{Result, polls};

/// What becomes of a message after an attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    /// Decided; `cost` micro-credits are charged.
    Final {
        /// Micro-credits, at most what was reserved.
        cost: i64,
    },
    /// Certainly not accepted; due again after this.
    Retry(Duration),
    /// May have been accepted; due again after this, or held for a person.
    Unknown(Option<Duration>),
    /// Not started: goes back as it was, and no outcome is written.
    Returned,
}

/// What became of one message of a lease.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// The lease.
    pub lease_id: i64,
    /// Position in the lease.
    pub position: usize,
    /// The run.
    pub run_id: i64,
    /// The message.
    pub seq: i32,
    /// Number of this attempt, from 1. For [`Fate::Returned`]: of the attempt that was not made.
    pub attempt: i16,
    /// If it came from a list, as what it waited: a returned one goes back as it was.
    pub was: Option<RetryKind>,
    /// What becomes of it.
    pub fate: Fate,
    /// Class of the outcome.
    pub class: Class,
    /// When the answer came, µs since the Unix epoch.
    pub at_us: i64,
    /// From the start of the request to its answer.
    pub latency_ms: i32,
    /// The provider's id of the message.
    pub provider_id: Option<String>,
    /// The provider's code.
    pub detail: Option<String>,
    /// The provider has only queued it: what becomes of it is to be asked for.
    pub queued: bool,
    /// Of one handed back: another message took its slot, and its place in the counts of the day.
    pub swapped: bool,
}

impl Settlement {
    /// What becomes of the message at `position` of `lease`; the answer's details are for the caller to add.
    pub fn of(lease: &Lease, position: usize, fate: Fate, class: Class) -> Self {
        let (seq, was) = match &lease.span {
            Span::Range { lo, .. } => (lo + position as i32, None),
            Span::List { seqs, kinds, .. } => (seqs[position], Some(kinds[position])),
        };
        Self {
            lease_id: lease.id,
            position,
            run_id: lease.run_id,
            seq,
            attempt: lease.attempts_before(position) + 1,
            was,
            fate,
            class,
            at_us: 0,
            latency_ms: 0,
            provider_id: None,
            detail: None,
            queued: false,
            swapped: false,
        }
    }
}

/// State of a lease after the settlements that are being flushed.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// The lease.
    pub lease_id: i64,
    /// Reserved for each of its messages, micro-credits.
    pub reserve_each: i64,
    /// Bitmap of its settled messages, least significant bit first.
    pub done: Vec<u8>,
    /// Its messages not yet settled; at 0 the lease ends.
    pub open: i32,
}

/// Who flushes.
#[derive(Debug, Clone, Copy)]
pub struct Flusher {
    /// Tenant.
    pub workspace_id: i32,
    /// The account.
    pub account_id: i64,
    /// The worker that owns the leases.
    pub worker_id: i64,
    /// Its shard of progress.
    pub shard: i16,
    /// Whether the provider's ids are to be kept, for the receipts to come.
    pub correlates: bool,
}

/// What a flush found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Leases that are not this worker's any more.
    pub lost_leases: Vec<i64>,
    /// Settlements that came too late to decide anything.
    pub late: usize,
}

/// A settlement that decides, and what is reserved for its message.
struct Effective<'a> {
    settlement: &'a Settlement,
    reserved: i64,
    /// It was parked as unknown by a reclaim in the meantime.
    unparked: bool,
}

/// Writes down `settlements` and the state of their leases in one commit.
///
/// After an error the same call may be repeated with `again`: what a commit of unknown result did
/// write is then recognised and not written twice. Settlements of leases that were reclaimed settle
/// the parked message if it still waits, and are kept as late history otherwise.
///
/// # Errors
/// When the database fails; nothing, or all of it, was written then.
pub async fn flush(
    pool: &PgPool,
    ids: &Ids,
    who: Flusher,
    marks: &[Mark],
    settlements: &[Settlement],
    again: bool,
) -> Result<Flushed> {
    let mut tx = pool.begin().await?;
    // Before the leases, as a reclaim does.
    let doubtful = settlements.iter().filter(|s| matches!(s.fate, Fate::Unknown(_))).map(|s| s.run_id).collect();
    lock_doubts(&mut tx, &doubtful, true).await?;
    let settled_before = if again { settled(&mut tx, who, marks).await? } else { HashMap::new() };
    let alive = mark(&mut tx, who, marks).await?;
    let reserve: HashMap<i64, i64> = marks.iter().map(|m| (m.lease_id, m.reserve_each)).collect();

    let (mine, mut lost): (Vec<_>, Vec<_>) = settlements.iter().partition(|s| alive.contains(&s.lease_id));
    // In one order, so that two of these at once cannot wait for each other.
    lost.sort_by_key(|s| (s.run_id, s.seq));
    if again {
        // The lost commit may have handed it back, and its next attempt may be what is in doubt now.
        lost.retain(|s| s.fate != Fate::Returned);
    }
    let mut effective: Vec<Effective<'_>> = mine
        .into_iter()
        .filter(|s| !settled_before.get(&s.lease_id).is_some_and(|done| bit(done, s.position)))
        .map(|s| Effective { settlement: s, reserved: reserve.get(&s.lease_id).copied().unwrap_or(0), unparked: false })
        .collect();
    outcomes(&mut tx, who, effective.iter().map(|e| e.settlement)).await?;
    if who.correlates {
        sent_ids(&mut tx, who, settlements).await?;
    }
    polls::ask(&mut tx, (who.workspace_id, who.account_id), queued(settlements)).await?;
    let late = if lost.is_empty() { 0 } else { unpark(&mut tx, who, lost, &mut effective).await? };

    let mut books = Books::default();
    for e in &effective {
        enter(&mut books, e);
    }
    waiting(&mut tx, who, &effective).await?;
    returned(&mut tx, who, &effective).await?;
    books.write(&mut tx, ids, who).await?;
    settle_new_doubts(&mut tx, ids, who, &effective).await?;
    tx.commit().await?;

    let lost_leases = marks.iter().map(|m| m.lease_id).filter(|id| !alive.contains(id)).collect();
    Ok(Flushed { lost_leases, late })
}

/// Moves the leases on, or ends them; gives those that are still this worker's.
async fn mark(c: &mut PgConnection, who: Flusher, marks: &[Mark]) -> Result<HashSet<i64>> {
    let (ended, open): (Vec<&Mark>, Vec<&Mark>) = marks.iter().partition(|m| m.open == 0);
    let mut alive = HashSet::new();
    if !ended.is_empty() {
        let ids: Vec<i64> = ended.iter().map(|m| m.lease_id).collect();
        let gone: Vec<i64> = sqlx::query_scalar(
            "-- flush: end leases
             delete from lease where workspace_id = $1 and lease_id = any ($2) and worker_id = $3 returning lease_id",
        )
        .bind(who.workspace_id)
        .bind(&ids)
        .bind(who.worker_id)
        .fetch_all(&mut *c)
        .await?;
        alive.extend(gone);
    }
    if !open.is_empty() {
        let ids: Vec<i64> = open.iter().map(|m| m.lease_id).collect();
        let done: Vec<&[u8]> = open.iter().map(|m| m.done.as_slice()).collect();
        let left: Vec<i32> = open.iter().map(|m| m.open).collect();
        let moved: Vec<i64> = sqlx::query_scalar(
            "-- flush: move leases on
             update lease l set done = u.done, open = u.open
             from unnest($2::bigint[], $3::bytea[], $4::int[]) as u(id, done, open)
             where l.workspace_id = $1 and l.lease_id = u.id and l.worker_id = $5 returning l.lease_id",
        )
        .bind(who.workspace_id)
        .bind(&ids)
        .bind(&done)
        .bind(&left)
        .bind(who.worker_id)
        .fetch_all(c)
        .await?;
        alive.extend(moved);
    }
    Ok(alive)
}

/// Bitmaps as they stand, locked: what an earlier flush of unknown result wrote.
async fn settled(c: &mut PgConnection, who: Flusher, marks: &[Mark]) -> Result<HashMap<i64, Vec<u8>>> {
    let ids: Vec<i64> = marks.iter().map(|m| m.lease_id).collect();
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "-- flush: settled before
         select lease_id, done from lease
         where workspace_id = $1 and lease_id = any ($2) and worker_id = $3 order by lease_id for update",
    )
    .bind(who.workspace_id)
    .bind(&ids)
    .bind(who.worker_id)
    .fetch_all(c)
    .await?;
    Ok(rows.into_iter().collect())
}

/// Appends the outcomes of attempts that were made.
async fn outcomes(
    c: &mut PgConnection,
    who: Flusher,
    settlements: impl Iterator<Item = &Settlement> + Clone,
) -> Result<()> {
    let mut rows = Rows::default();
    for s in settlements.filter(|s| s.fate != Fate::Returned) {
        let cost = if let Fate::Final { cost } = s.fate { cost } else { 0 };
        rows.row(12).i32(who.workspace_id).i32(s.seq).i64(s.run_id).i64(who.account_id).timestamp_us(s.at_us);
        rows.i64(cost).i32(s.latency_ms).i16(s.attempt).i16(s.class.as_i16()).bool(false);
        rows.text(s.provider_id.as_deref()).text(s.detail.as_deref());
    }
    if !rows.is_empty() {
        rows.copy(
            c,
            "COPY outcome (workspace_id, seq, run_id, account_id, at, cost, latency_ms, attempt, class, late,
             provider_id, detail) FROM STDIN (FORMAT binary)",
        )
        .await?;
    }
    Ok(())
}

/// Keeps the provider's ids of what was accepted, late or not. A repeat does nothing.
async fn sent_ids(c: &mut PgConnection, who: Flusher, settlements: &[Settlement]) -> Result<()> {
    let mut sent: Vec<(&str, i64, i32)> = settlements
        .iter()
        .filter(|s| s.class == Class::Sent)
        .filter_map(|s| Some((s.provider_id.as_deref()?, s.run_id, s.seq)))
        .collect();
    // In one order, so that two of these at once cannot wait for each other.
    sent.sort_unstable();
    let ids: Vec<&str> = sent.iter().map(|s| s.0).collect();
    let runs: Vec<i64> = sent.iter().map(|s| s.1).collect();
    let seqs: Vec<i32> = sent.iter().map(|s| s.2).collect();
    sqlx::query(
        "-- flush: sent ids
         insert into sent_id (workspace_id, account_id, provider_id, run_id, seq)
         select $1, $2, u.id, u.run_id, u.seq from unnest($3::text[], $4::bigint[], $5::int[]) as u(id, run_id, seq)
         on conflict do nothing",
    )
    .bind(who.workspace_id)
    .bind(who.account_id)
    .bind(&ids)
    .bind(&runs)
    .bind(&seqs)
    .execute(c)
    .await?;
    Ok(())
}

/// What was accepted and only queued, late or not.
fn queued(settlements: &[Settlement]) -> Vec<(i64, i32, &str)> {
    let queued = settlements.iter().filter(|s| s.queued && s.class == Class::Sent);
    queued.filter_map(|s| Some((s.run_id, s.seq, s.provider_id.as_deref()?))).collect()
}

/// Settlements of leases that were reclaimed: those whose message still waits parked take it over (one
/// that would go on only while its run does), the others become late history. Gives the number of the
/// latter.
async fn unpark<'a>(
    c: &mut PgConnection,
    who: Flusher,
    lost: Vec<&'a Settlement>,
    effective: &mut Vec<Effective<'a>>,
) -> Result<usize> {
    let mut late = 0;
    for s in lost {
        let decided = matches!(s.fate, Fate::Final { .. });
        let reserved: Option<i64> = sqlx::query_scalar(
            "-- flush: unpark
             with going_on as (select run_id from flow where workspace_id = $1 and run_id = $2 for key share)
             delete from retry where workspace_id = $1 and run_id = $2 and seq = $3 and attempts = $4 and kind = 2
               and ($5 or exists (select from going_on))
             returning reserved",
        )
        .bind(who.workspace_id)
        .bind(s.run_id)
        .bind(s.seq)
        .bind(s.attempt)
        .bind(decided)
        .fetch_optional(&mut *c)
        .await?;
        late += usize::from(reserved.is_none());
        if s.fate != Fate::Returned {
            late_outcome(c, who, s, reserved.is_none()).await?;
        }
        effective.extend(reserved.map(|reserved| Effective { settlement: s, reserved, unparked: true }));
    }
    Ok(late)
}

/// One outcome after a reclaim. It may be there already, from a flush whose commit was not heard of.
async fn late_outcome(c: &mut PgConnection, who: Flusher, s: &Settlement, late: bool) -> Result<()> {
    let cost = if let (Fate::Final { cost }, false) = (s.fate, late) { cost } else { 0 };
    sqlx::query(
        "-- flush: late outcome
         insert into outcome (workspace_id, seq, run_id, account_id, at, cost, latency_ms, attempt, class, late, provider_id, detail)
         values ($1, $2, $3, $4, to_timestamp($5::float8 / 1000000), $6, $7, $8, $9, $10, $11, $12)
         on conflict (workspace_id, run_id, seq, attempt) do nothing",
    )
    .bind(who.workspace_id)
    .bind(s.seq)
    .bind(s.run_id)
    .bind(who.account_id)
    .bind(s.at_us as f64)
    .bind(cost)
    .bind(s.latency_ms)
    .bind(s.attempt)
    .bind(s.class.as_i16())
    .bind(late)
    .bind(&s.provider_id)
    .bind(&s.detail)
    .execute(c)
    .await?;
    Ok(())
}

/// Settles those of the new doubts that a receipt has spoken of already.
async fn settle_new_doubts(c: &mut PgConnection, ids: &Ids, who: Flusher, effective: &[Effective<'_>]) -> Result<()> {
    let mut by_run: BTreeMap<i64, Vec<i32>> = BTreeMap::new();
    for s in effective.iter().map(|e| e.settlement).filter(|s| matches!(s.fate, Fate::Unknown(_))) {
        by_run.entry(s.run_id).or_default().push(s.seq);
    }
    for (run_id, seqs) in by_run {
        settle_reported(c, ids, (who.workspace_id, run_id), Some(&seqs), who.shard).await?;
    }
    Ok(())
}

/// Adds one settlement to the counters and to the credit.
fn enter(books: &mut Books, e: &Effective<'_>) {
    let s = e.settlement;
    let sums = books.of(s.run_id);
    if e.unparked {
        sums.unknown -= 1;
    }
    // What is reserved stays so for a message in doubt, and is freed for any other.
    let mut freed = e.reserved;
    match s.fate {
        Fate::Final { cost } => {
            sums.cost += cost;
            sums.charged_messages += i32::from(cost > 0);
            *class_counter(sums, s.class) += 1;
        }
        Fate::Retry(_) => sums.retrying += 1,
        Fate::Unknown(_) => {
            sums.unknown += 1;
            freed = 0;
        }
        Fate::Returned => match s.was {
            None | Some(RetryKind::New) => {}
            Some(RetryKind::Retry) => sums.retrying += 1,
            Some(RetryKind::Unknown) => {
                sums.unknown += 1;
                freed = 0;
            }
        },
    }
    books.released += freed;
}

fn class_counter(sums: &mut Sums, class: Class) -> &mut i64 {
    match class {
        Class::Sent => &mut sums.sent,
        Class::Suppressed => &mut sums.suppressed,
        Class::Expired => &mut sums.expired,
        Class::Unknown | Class::WrittenOff => &mut sums.unknown,
        Class::PermanentRecipient | Class::PermanentContent | Class::Throttled | Class::Transient => &mut sums.failed,
    }
}

/// Writes the rows of messages that wait: retries, unknowns, and returned ones that came from a list.
async fn waiting(c: &mut PgConnection, who: Flusher, effective: &[Effective<'_>]) -> Result<()> {
    let (mut runs, mut seqs, mut attempts, mut kinds) = (vec![], vec![], vec![], vec![]);
    let (mut delays, mut reserved, mut reasons): (Vec<Option<f64>>, Vec<i64>, Vec<Option<&str>>) =
        (vec![], vec![], vec![]);
    for e in effective {
        let s = e.settlement;
        let (kind, made, delay) = match (s.fate, s.was) {
            (Fate::Retry(delay), _) => (RetryKind::Retry, s.attempt, Some(delay)),
            (Fate::Unknown(delay), _) => (RetryKind::Unknown, s.attempt, delay),
            (Fate::Returned, Some(kind)) => (kind, s.attempt - 1, Some(Duration::ZERO)),
            (Fate::Final { .. }, _) | (Fate::Returned, None) => continue,
        };
        runs.push(s.run_id);
        seqs.push(s.seq);
        attempts.push(made);
        kinds.push(kind.as_i16());
        delays.push(delay.map(|d| d.as_secs_f64()));
        reserved.push(if kind == RetryKind::Unknown { e.reserved } else { 0 });
        reasons.push(s.detail.as_deref());
    }
    if runs.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "-- flush: waiting
         insert into retry (workspace_id, run_id, seq, attempts, kind, account_id, due_at, reserved, reason)
         select $1, u.run_id, u.seq, u.attempts, u.kind, $2,
                coalesce(clock_timestamp() + make_interval(secs => u.delay), 'infinity'), u.reserved, u.reason
         from unnest($3::bigint[], $4::int[], $5::smallint[], $6::smallint[], $7::float8[], $8::bigint[], $9::text[])
              as u(run_id, seq, attempts, kind, delay, reserved, reason)",
    )
    .bind(who.workspace_id)
    .bind(who.account_id)
    .bind(&runs)
    .bind(&seqs)
    .bind(&attempts)
    .bind(&kinds)
    .bind(&delays)
    .bind(&reserved)
    .bind(&reasons)
    .execute(c)
    .await?;
    Ok(())
}

/// Hands unstarted messages of ranges back, neighbours of a lease as one range: a lease lies in one segment, and those
/// of two may have different windows.
async fn returned(c: &mut PgConnection, who: Flusher, effective: &[Effective<'_>]) -> Result<()> {
    let mut by_lease: BTreeMap<(i64, i64), Vec<i32>> = BTreeMap::new();
    for s in effective.iter().map(|e| e.settlement).filter(|s| s.fate == Fate::Returned && s.was.is_none()) {
        by_lease.entry((s.run_id, s.lease_id)).or_default().push(s.seq);
    }
    for ((run_id, _), mut seqs) in by_lease {
        seqs.sort_unstable();
        let (mut los, mut his) = (vec![], vec![]);
        for range in seqs.chunk_by(|a, b| a + 1 == *b) {
            // A chunk is never empty.
            los.push(range[0]);
            his.push(range[range.len() - 1] + 1);
        }
        sqlx::query(
            "-- flush: returned
             insert into returned (workspace_id, run_id, lo, hi)
             select $1, $2, u.lo, u.hi from unnest($3::int[], $4::int[]) as u(lo, hi)",
        )
        .bind(who.workspace_id)
        .bind(run_id)
        .bind(&los)
        .bind(&his)
        .execute(&mut *c)
        .await?;
    }
    Ok(())
}

/// Whether bit `i` of a bitmap is set.
fn bit(done: &[u8], i: usize) -> bool {
    done.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1)
}
