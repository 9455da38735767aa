//! Questions to providers: which messages are asked for, when, and at which slot.

use std::time::Duration;

use fanfare_domain::limits::{HORIZON_US, LEAD_US, POLL_FIRST, POLL_FOR, POLL_LEASE, POLL_PAGE, POLL_SHARE};
use sqlx::{FromRow, PgConnection, PgPool};

use crate::{Error, Result};

/// Error code of a worker without a row.
const FENCED: &str = "FF001";

/// A message that its provider is to be asked for.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Poll {
    /// The run.
    pub run_id: i64,
    /// The message.
    pub seq: i32,
    /// The provider's id of it.
    pub provider_id: String,
    /// How often it was asked for, and nothing was told.
    pub asked: i16,
}

/// A slot for one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Slot {
    /// Its time, µs by the database's clock.
    pub slot_us: i64,
    /// Distance to the next one, µs; 0 = no cap.
    pub period_us: i64,
    /// How long after it the question may still start, µs.
    pub lateness_us: i64,
    /// Epoch of the account; once the board shows another, it may not.
    pub epoch: i32,
    /// The circuit is half open: an answer closes it.
    pub probe: bool,
}

/// Has messages asked for, by run, seq and the provider's id, a minute from now. A repeat does nothing, or has
/// one asked for once more.
///
/// # Errors
/// When the database fails; the caller's transaction is broken then.
pub(crate) async fn ask(
    c: &mut PgConnection,
    (workspace_id, account_id): (i32, i64),
    mut queued: Vec<(i64, i32, &str)>,
) -> Result<()> {
    if queued.is_empty() {
        return Ok(());
    }
    // In one order, so that two of these at once cannot wait for each other.
    queued.sort_unstable();
    let runs: Vec<i64> = queued.iter().map(|q| q.0).collect();
    let seqs: Vec<i32> = queued.iter().map(|q| q.1).collect();
    let ids: Vec<&str> = queued.iter().map(|q| q.2).collect();
    sqlx::query(
        "-- ask
         with asked as (
           insert into poll (workspace_id, account_id, run_id, seq, provider_id, accepted_at, due_at)
           select $1, $2, u.run_id, u.seq, u.id, clock_timestamp(), clock_timestamp() + make_interval(secs => $6)
           from unnest($3::bigint[], $4::int[], $5::text[]) as u(run_id, seq, id)
           on conflict do nothing
         )
         insert into poller (workspace_id, account_id) values ($1, $2) on conflict do nothing",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(&runs)
    .bind(&seqs)
    .bind(&ids)
    .bind(POLL_FIRST.as_secs_f64())
    .execute(c)
    .await?;
    Ok(())
}

/// Accounts, with their tenants, of which something is to be asked now, by nobody but this worker.
///
/// # Errors
/// When the database fails.
pub async fn due_accounts(c: &mut PgConnection, worker_id: i64) -> Result<Vec<(i32, i64)>> {
    let rows = sqlx::query_as(
        "-- due_accounts
         with t as (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as now_us)
         select q.workspace_id, q.account_id
         from t, poller q join account a on a.workspace_id = q.workspace_id and a.account_id = q.account_id
         where a.stopped_reason is null and q.next_us <= t.now_us
           and (q.worker_id = $1 or q.until_us <= t.now_us
             or not exists (select from worker w where w.worker_id = q.worker_id))
           and exists (select from poll p where p.workspace_id = q.workspace_id and p.account_id = q.account_id
                         and p.due_at <= clock_timestamp())",
    )
    .bind(worker_id)
    .fetch_all(c)
    .await?;
    Ok(rows)
}

/// The account's messages that are to be asked for now, the longest due first; as many as are written
/// down at once.
///
/// # Errors
/// When the database fails.
pub async fn due(c: &mut PgConnection, workspace_id: i32, account_id: i64) -> Result<Vec<Poll>> {
    let rows = sqlx::query_as(
        "-- due
         select run_id, seq, provider_id, asked from poll
         where workspace_id = $1 and account_id = $2 and due_at <= clock_timestamp()
         order by due_at limit $3",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(POLL_PAGE as i64)
    .fetch_all(c)
    .await?;
    Ok(rows)
}

/// Takes a slot of the account's pace for one question: see `migrations/0018_poll.sql`. None when there is
/// none now, or another worker of the fleet asks.
///
/// # Errors
/// [`Error::Fenced`] when the fleet declared the worker dead; else when the database fails.
pub async fn reserve(c: &mut PgConnection, workspace_id: i32, account_id: i64, worker_id: i64) -> Result<Option<Slot>> {
    sqlx::query_as("select * from reserve_slot($1, $2, $3, $4, $5, $6, $7) -- reserve")
        .bind(workspace_id)
        .bind(account_id)
        .bind(worker_id)
        .bind(HORIZON_US)
        .bind(LEAD_US)
        .bind(POLL_LEASE.as_micros() as i64)
        .bind(POLL_SHARE)
        .fetch_optional(c)
        .await
        .map_err(|e| match e.as_database_error().and_then(|d| d.code()) {
            Some(code) if code == FENCED => Error::Fenced,
            _ => e.into(),
        })
}

/// Writes down what questions came to: `told` are asked for no more, `again` after a wait of their own, and
/// those for which the time is up never again; gives how many these are. A repeat does nothing more.
///
/// # Errors
/// When the database fails; nothing is written then.
pub async fn note(
    pool: &PgPool,
    workspace_id: i32,
    told: &[(i64, i32)],
    again: &[(i64, i32, Duration)],
) -> Result<u64> {
    let mut tx = pool.begin().await?;
    let (runs, seqs): (Vec<i64>, Vec<i32>) = told.iter().copied().unzip();
    sqlx::query(
        "-- note: told
         delete from poll p using unnest($2::bigint[], $3::int[]) as u(run_id, seq)
         where p.workspace_id = $1 and p.run_id = u.run_id and p.seq = u.seq",
    )
    .bind(workspace_id)
    .bind(&runs)
    .bind(&seqs)
    .execute(&mut *tx)
    .await?;
    let runs: Vec<i64> = again.iter().map(|a| a.0).collect();
    let seqs: Vec<i32> = again.iter().map(|a| a.1).collect();
    let waits: Vec<f64> = again.iter().map(|a| a.2.as_secs_f64()).collect();
    let over: i64 = sqlx::query_scalar(
        "-- note: again
         with u as (
           select u.*, p.accepted_at + make_interval(secs => $5) as until
           from unnest($2::bigint[], $3::int[], $4::float8[]) as u(run_id, seq, wait)
           join poll p on p.workspace_id = $1 and p.run_id = u.run_id and p.seq = u.seq
         ), later as (
           update poll p set asked = p.asked + 1, due_at = least(clock_timestamp() + make_interval(secs => u.wait), u.until)
           from u where p.workspace_id = $1 and p.run_id = u.run_id and p.seq = u.seq and u.until > clock_timestamp()
         ), never as (
           delete from poll p using u
           where p.workspace_id = $1 and p.run_id = u.run_id and p.seq = u.seq and u.until <= clock_timestamp()
           returning 1
         )
         select count(*) from never",
    )
    .bind(workspace_id)
    .bind(&runs)
    .bind(&seqs)
    .bind(&waits)
    .bind(POLL_FOR.as_secs_f64())
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(over.unsigned_abs())
}

/// Nothing more is asked of the account for this long.
///
/// # Errors
/// When the database fails.
pub async fn rest(c: &mut PgConnection, workspace_id: i32, account_id: i64, wait: Duration) -> Result<()> {
    sqlx::query(
        "-- rest
         update poller set next_us = greatest(next_us, (extract(epoch from clock_timestamp()) * 1000000)::bigint + $3)
         where workspace_id = $1 and account_id = $2",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(wait.as_micros() as i64)
    .execute(c)
    .await?;
    Ok(())
}

/// The provider answered a question that it was too much: no slot for `wait`, of messages neither, and what
/// the fleet holds of slots is dropped. Answers to questions of one epoch count once.
///
/// # Errors
/// When the database fails.
pub async fn throttled(
    c: &mut PgConnection,
    workspace_id: i32,
    account_id: i64,
    epoch: i32,
    wait: Duration,
) -> Result<()> {
    sqlx::query(
        "-- throttled
         update account_pace p set
           epoch = p.epoch + 1,
           next_us = greatest(p.next_us, (extract(epoch from clock_timestamp()) * 1000000)::bigint + $4)
         where p.workspace_id = $1 and p.account_id = $2 and p.epoch = $3",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(epoch)
    .bind(wait.as_micros() as i64)
    .execute(c)
    .await?;
    Ok(())
}

/// How many messages of a run are still to be asked for.
///
/// # Errors
/// When the database fails.
pub async fn open(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<i64> {
    let many = sqlx::query_scalar(
        "-- open
         select count(*) from poll where workspace_id = $1 and run_id = $2",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_one(c)
    .await?;
    Ok(many)
}
