//! Claiming: see `migrations/0024_one_off.sql` for what one claim does.

use chrono::{DateTime, Utc};
use fanfare_domain::limits::{CLAIM_LEASES_MAX, HORIZON_US, LEAD_US, PACE_LAG_US, RETRY_LIST_MAX};
use fanfare_domain::state::RetryKind;
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result};

/// Error code that the claim raises for a worker without a row.
const FENCED: &str = "FF001";

/// Messages claimed by this worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Lease {
    /// The lease: what its settlements name.
    pub id: i64,
    /// The run its messages are of.
    pub run_id: i64,
    /// Sum of the epochs of account and flow; once the board shows another, nothing more may start.
    pub epoch: i32,
    /// Which messages.
    pub span: Span,
    /// Micro-credits reserved for each.
    pub reserve_each: i64,
    /// Time of the first slot, µs by the database's clock.
    pub slot_us: i64,
    /// Distance of the slots, µs; 0 = no slots, since neither the account nor the run has a limit.
    pub period_us: i64,
    /// How long after its slot a message may still start, µs.
    pub lateness_us: i64,
    /// The database's time at the claim, µs.
    pub now_us: i64,
    /// The circuit is half open: what becomes of this message decides whether it closes.
    pub probe: bool,
    /// Its slots are those of the run's own pace, since the account has no cap.
    pub paced: bool,
    /// Of which lane.
    pub lane: Lane,
}

/// What a lease was claimed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// By the claim of bulk.
    Bulk,
    /// As urgent messages, with slots of their own.
    Urgent,
    /// As urgent messages without slots: they are sent in those that bulk gives away, where they are counted by
    /// the day already.
    Borrowing,
}

/// The messages of a lease.
#[derive(Debug, Clone, PartialEq)]
pub enum Span {
    /// Seqs lo to hi − 1, never tried before.
    Range {
        /// First seq.
        lo: i32,
        /// One past the last.
        hi: i32,
    },
    /// Retries.
    List {
        /// The seqs, increasing.
        seqs: Vec<i32>,
        /// Attempts made before, by position.
        attempts: Vec<i16>,
        /// As what each waited, by position.
        kinds: Vec<RetryKind>,
    },
}

impl Lease {
    /// How many messages it holds.
    pub fn len(&self) -> usize {
        match &self.span {
            Span::Range { lo, hi } => (hi - lo) as usize,
            Span::List { seqs, .. } => seqs.len(),
        }
    }

    /// A lease is never empty; clippy wants the question answered all the same.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Attempts made of the message at `position` before this one.
    pub fn attempts_before(&self, position: usize) -> i16 {
        match &self.span {
            Span::Range { .. } => 0,
            Span::List { attempts, .. } => attempts.get(position).copied().unwrap_or(0),
        }
    }

    /// Whether an earlier attempt of the message at `position` may have been accepted.
    pub fn in_doubt(&self, position: usize) -> bool {
        match &self.span {
            Span::Range { .. } => false,
            Span::List { kinds, .. } => kinds.get(position) == Some(&RetryKind::Unknown),
        }
    }
}

#[derive(FromRow)]
struct Row {
    lease_id: i64,
    run_id: i64,
    epoch: i32,
    lo: i32,
    hi: i32,
    seqs: Option<Vec<i32>>,
    attempts: Option<Vec<i16>>,
    kinds: Option<Vec<i16>>,
    reserve_each: i64,
    slot_us: i64,
    period_us: i64,
    lateness_us: i64,
    now_us: i64,
    probe: bool,
    /// Told by the claim of bulk alone: what is urgent keeps no pace.
    #[sqlx(default)]
    paced: bool,
}

/// Claims up to `want` messages of the account for the worker. `lease_id` names the first lease, the
/// next ones count up: it is the first of a block of [`CLAIM_LEASES_MAX`]. Windows go by `now`, the machine's clock. Nothing comes back when there is nothing to claim now.
///
/// # Errors
/// [`Error::Fenced`] when the fleet declared the worker dead; else when the database fails.
#[allow(clippy::too_many_arguments, reason = "one for each argument of the function in the database")]
pub async fn claim(
    c: &mut PgConnection,
    workspace_id: i32,
    account_id: i64,
    worker_id: i64,
    lease_id: i64,
    shard: i16,
    want: usize,
    now: DateTime<Utc>,
) -> Result<Vec<Lease>> {
    let rows: Vec<Row> =
        sqlx::query_as("select * from claim($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) -- claim")
            .bind(workspace_id)
            .bind(account_id)
            .bind(worker_id)
            .bind(lease_id)
            .bind(CLAIM_LEASES_MAX)
            .bind(shard)
            .bind(want as i32)
            .bind(RETRY_LIST_MAX as i32)
            .bind(HORIZON_US)
            .bind(LEAD_US)
            .bind(PACE_LAG_US)
            .bind(now)
            .fetch_all(c)
            .await
            .map_err(fenced)?;
    leases(rows, Lane::Bulk)
}

/// The same for messages of the transactional lane that are due now; `lane` says whether with slots.
///
/// # Errors
/// As [`claim`].
#[allow(clippy::too_many_arguments, reason = "one for each argument of the function in the database")]
pub async fn claim_urgent(
    c: &mut PgConnection,
    workspace_id: i32,
    account_id: i64,
    worker_id: i64,
    lease_id: i64,
    shard: i16,
    (want, lane): (usize, Lane),
    now: DateTime<Utc>,
) -> Result<Vec<Lease>> {
    let rows: Vec<Row> =
        sqlx::query_as("select * from claim_urgent($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) -- claim_urgent")
            .bind(workspace_id)
            .bind(account_id)
            .bind(worker_id)
            .bind(lease_id)
            .bind(CLAIM_LEASES_MAX)
            .bind(shard)
            .bind(want as i32)
            .bind(lane == Lane::Borrowing)
            .bind(HORIZON_US)
            .bind(LEAD_US)
            .bind(now)
            .fetch_all(c)
            .await
            .map_err(fenced)?;
    leases(rows, lane)
}

/// Accounts, with their tenants, through which an urgent message may be claimed now, as far as it is due and, by
/// `now`, within its window.
///
/// # Errors
/// When the database fails.
pub async fn urgent(c: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<(i32, i64)>> {
    let rows = sqlx::query_as(
        // As `urgent_due` in the database has it, which is planned anew at each call: this is asked very often.
        "-- urgent
         select f.workspace_id, f.account_id from flow f
         where f.lane = 0 and f.runnable
           and exists (select from retry r where r.workspace_id = f.workspace_id and r.account_id = f.account_id
                         and r.run_id = f.run_id and r.due_at <= now()
                         and (not f.windowed or is_open(r.workspace_id, r.run_id, r.seq, $1)))
         union
         select f.workspace_id, f.account_id from flow f
         join flow o on o.workspace_id = f.workspace_id and o.run_id = f.run_id and o.account_id <> f.account_id
         where f.lane = 0 and f.runnable and f.sharing > 0
           and exists (select from retry r where r.workspace_id = o.workspace_id and r.account_id = o.account_id
                         and r.run_id = o.run_id and r.kind <> 2 and r.due_at <= now()
                         and (not f.windowed or is_open(r.workspace_id, r.run_id, r.seq, $1)))
           and not can_send(o, (extract(epoch from now()) * 1000000)::bigint)",
    )
    .bind(now)
    .fetch_all(c)
    .await?;
    Ok(rows)
}

fn fenced(e: sqlx::Error) -> Error {
    match e.as_database_error().and_then(|d| d.code()) {
        Some(code) if code == FENCED => Error::Fenced,
        _ => e.into(),
    }
}

fn leases(rows: Vec<Row>, lane: Lane) -> Result<Vec<Lease>> {
    rows.into_iter().map(|row| row.into_lease(lane)).collect()
}

impl Row {
    fn into_lease(self, lane: Lane) -> Result<Lease> {
        let span = match (self.seqs, self.attempts, self.kinds) {
            (Some(seqs), Some(attempts), Some(kinds)) => {
                let kind = |k| RetryKind::from_i16(k).ok_or_else(|| Error::Corrupt(format!("retry kind {k}")));
                Span::List { seqs, attempts, kinds: kinds.into_iter().map(kind).collect::<Result<_>>()? }
            }
            _ => Span::Range { lo: self.lo, hi: self.hi },
        };
        Ok(Lease {
            id: self.lease_id,
            run_id: self.run_id,
            epoch: self.epoch,
            span,
            reserve_each: self.reserve_each,
            slot_us: self.slot_us,
            period_us: self.period_us,
            lateness_us: self.lateness_us,
            now_us: self.now_us,
            probe: self.probe,
            paced: self.paced,
            lane,
        })
    }
}

/// Leases that the worker owns without having heard of them: the answer to a claim was lost after its
/// commit. `lease_id` is what that claim was called with. Their slots are past, so nothing of them may
/// be sent; they are to be handed back.
///
/// # Errors
/// When the database fails.
pub async fn unheard(
    c: &mut PgConnection,
    workspace_id: i32,
    account_id: i64,
    worker_id: i64,
    lease_id: i64,
) -> Result<Vec<Lease>> {
    let rows: Vec<Row> = sqlx::query_as(
        "-- unheard
         select lease_id, run_id, 0 as epoch, lo, hi, seqs, attempts, kinds, reserve_each, slot_us, period_us,
                0::bigint as lateness_us, slot_us as now_us, false as probe
         from lease
         where workspace_id = $1 and account_id = $2 and worker_id = $3 and lease_id >= $4 and lease_id < $4 + $5",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(worker_id)
    .bind(lease_id)
    .bind(CLAIM_LEASES_MAX)
    .fetch_all(c)
    .await?;
    leases(rows, Lane::Bulk)
}

/// Whether the worker still owns leases of the account.
///
/// # Errors
/// When the database fails.
pub async fn holds(c: &mut PgConnection, workspace_id: i32, account_id: i64, worker_id: i64) -> Result<bool> {
    let held = sqlx::query_scalar(
        "-- holds
         select exists (select from lease where workspace_id = $1 and account_id = $2 and worker_id = $3)",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(worker_id)
    .fetch_one(c)
    .await?;
    Ok(held)
}
