//! The end of runs: sweeping what will not be sent, and finishing by state. Expiry goes by the machine's clock.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool};

use crate::{Result, flows, transitions};

/// A run that may have to be swept or finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Closing {
    /// Tenant.
    pub workspace_id: i32,
    /// The run.
    pub run_id: i64,
    /// Being cancelled (else: past its expiry, or perhaps done).
    pub cancelling: bool,
    /// Past its expiry.
    pub expired: bool,
    /// Its campaign writes messages in doubt off.
    pub writes_off: bool,
}

/// Runs that are being cancelled, are past their expiry by `now`, or are fully expanded and may be done.
///
/// # Errors
/// When the database fails.
pub async fn closing(c: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<Closing>> {
    let rows = sqlx::query_as(
        "-- closing
         select r.workspace_id, r.run_id, r.state = 4 as cancelling,
                r.state <> 4 and coalesce(r.expires_at <= $1, false) as expired,
                c.on_unknown = 3 as writes_off
         from run r join campaign c on c.workspace_id = r.workspace_id and c.campaign_id = r.campaign_id
         where r.state = 4 or (r.state in (2, 3) and (r.expanded_at is not null or r.expires_at <= $1))",
    )
    .bind(now)
    .fetch_all(c)
    .await?;
    Ok(rows)
}

/// Moves everything of the run that waits (cursor, returned ranges, what is certain of retry) to `cancelled` or
/// `expired`, in one transaction. What is leased is left to settle; what is in doubt is not repeated any
/// more, and held for a person. A repeat does nothing.
///
/// # Errors
/// When the database fails; nothing is moved then.
pub async fn sweep(pool: &PgPool, run: Closing, shard: i16) -> Result<i64> {
    let mut tx = pool.begin().await?;
    // Flows before segments: the claim's order. After this no claim can take from the run.
    flows::lock(&mut tx, run.workspace_id, run.run_id).await?;
    sqlx::query("-- sweep: close\n update flow set runnable = false, epoch = epoch + 1 where workspace_id = $1 and run_id = $2 and runnable")
        .bind(run.workspace_id)
        .bind(run.run_id)
        .execute(&mut *tx)
        .await?;
    let swept: i64 = sqlx::query_scalar(
        "-- sweep
         with cursor as (
           update segment g set next_seq = g.hi from segment o
           where g.workspace_id = $1 and g.run_id = $2 and g.next_seq < g.hi
             and o.workspace_id = $1 and o.run_id = $2 and o.segment_no = g.segment_no
           returning g.hi - o.next_seq as n
         ), ranges as (
           delete from returned where workspace_id = $1 and run_id = $2 returning hi - lo as n
         ), retries as (
           delete from retry where workspace_id = $1 and run_id = $2 and kind <> 2 returning kind
         ), held as (
           update retry set due_at = 'infinity' where workspace_id = $1 and run_id = $2 and kind = 2 and due_at < 'infinity'
         ), sums as (
           select coalesce((select sum(n) from cursor), 0) + coalesce((select sum(n) from ranges), 0)
                    + (select count(*) from retries where kind = 3) as fresh,
                  (select count(*) from retries where kind = 1) as retries
         ), counted as (
           insert into progress as p (workspace_id, run_id, shard, retrying, cancelled, expired)
           select $1, $2, $3, -retries, case when $4 then fresh + retries else 0 end, case when $4 then 0 else fresh + retries end
           from sums where fresh + retries > 0
           on conflict (workspace_id, run_id, shard) do update set retrying = p.retrying + excluded.retrying,
             cancelled = p.cancelled + excluded.cancelled, expired = p.expired + excluded.expired
         )
         select (fresh + retries)::bigint from sums",
    )
    .bind(run.workspace_id)
    .bind(run.run_id)
    .bind(shard)
    .bind(run.cancelling)
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(swept)
}

/// Ends the run if nothing of it is queued, leased, waiting for a retry, or in doubt with a repeat or a
/// write-off due: state decides, no counter does. The flow goes with it. Says whether it ended.
///
/// # Errors
/// When the database fails.
pub async fn finish(pool: &PgPool, workspace_id: i32, run_id: i64, now: DateTime<Utc>) -> Result<bool> {
    let mut tx = pool.begin().await?;
    // The claim and the flush of this run's last messages commit before or after, never between.
    let held =
        sqlx::query("select from flow where workspace_id = $1 and run_id = $2 for update skip locked -- finish: lock")
            .bind(workspace_id)
            .bind(run_id)
            .execute(&mut *tx)
            .await?;
    let all: i64 =
        sqlx::query_scalar("select count(*) from flow where workspace_id = $1 and run_id = $2 -- finish: flows")
            .bind(workspace_id)
            .bind(run_id)
            .fetch_one(&mut *tx)
            .await?;
    if all == 0 || held.rows_affected() < all.unsigned_abs() {
        // At once: a claim passes over a flow that is locked.
        tx.rollback().await?;
        return Ok(false);
    }
    let done = sqlx::query(
        "-- finish
         with was as (
           select state from run where workspace_id = $1 and run_id = $2
         ), done as (
         update run r set state = case r.state when 4 then 6 else 5 end, paused_reason = null, finished_at = $4
         from campaign c
         where c.workspace_id = $1 and c.campaign_id = r.campaign_id and r.workspace_id = $1 and r.run_id = $2
           and (r.state = 4 or (r.state in (2, 3) and r.expanded_at is not null))
           and not exists (select from segment g where g.workspace_id = $1 and g.run_id = $2 and g.next_seq < g.hi)
           and not exists (select from returned w where w.workspace_id = $1 and w.run_id = $2)
           and not exists (select from lease l where l.workspace_id = $1 and l.run_id = $2)
           and not exists (select from retry t where t.workspace_id = $1 and t.run_id = $2
                             and (t.kind <> 2 or t.due_at < 'infinity' or c.on_unknown = 3))
         returning r.campaign_id, r.state)
         insert into transition (workspace_id, campaign_id, run_id, at, from_state, to_state, actor)
         select $1, d.campaign_id, $2, $4, w.state, d.state, $3 from done d, was w",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(transitions::SCHEDULER)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        tx.rollback().await?;
        return Ok(false);
    }
    for sql in [
        "-- finish: forget pace\n delete from run_pace where workspace_id = $1 and run_id = $2",
        "-- finish: forget flows\n delete from flow where workspace_id = $1 and run_id = $2",
    ] {
        sqlx::query(sql).bind(workspace_id).bind(run_id).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(true)
}
