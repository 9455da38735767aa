//! What a message waits for that came by itself, and what becomes of it when that does not come in time.

use chrono::{DateTime, Utc};
use fanfare_domain::outcome::Class;
use sqlx::{FromRow, PgConnection};

use crate::Result;
use crate::hours::Opening;

/// What a message of a live run waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    /// Its window, if that is closed and the message waits.
    pub opens: Option<Opening>,
    /// From then on it is not sent any more.
    pub expires_at: Option<DateTime<Utc>>,
}

/// What a message of a run waits for; windows go by `now`.
///
/// # Errors
/// When the database fails.
pub async fn times(
    c: &mut PgConnection,
    workspace_id: i32,
    (run_id, seq): (i64, i32),
    now: DateTime<Utc>,
) -> Result<Times> {
    #[derive(FromRow)]
    struct Row {
        zone: Option<String>,
        opens_at: Option<DateTime<Utc>>,
        expires_at: Option<DateTime<Utc>>,
    }
    let row: Row = sqlx::query_as(
        "-- times
         select g.zone, g.opens_at,
                (select expires_at from expiry where workspace_id = $1 and run_id = $2 and seq = $3) as expires_at
         from (select) one left join (
           select g.zone, g.opens_at from segment g
           where g.workspace_id = $1 and g.run_id = $2 and g.lo <= $3 and g.hi > $3 and g.opens_at > $4
             and exists (select from flow where workspace_id = $1 and run_id = $2 and windowed)
             and exists (select from retry where workspace_id = $1 and run_id = $2 and seq = $3)) g on true",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(seq)
    .bind(now)
    .fetch_one(c)
    .await?;
    let Row { zone, opens_at, expires_at } = row;
    Ok(Times { opens: opens_at.map(|opens_at| Opening { zone, opens_at }), expires_at })
}

/// Counts messages as expired that came one by one and have waited for too long, in every workspace: for their
/// window, an account, credit or a person. Nothing is reserved for them. What is in doubt does not expire. Says
/// how many these were.
///
/// # Errors
/// When the database fails; nothing is counted then.
pub async fn expire(c: &mut PgConnection, now: DateTime<Utc>, shard: i16) -> Result<i64> {
    let expired = sqlx::query_scalar(
        "-- expire
         with late as materialized (
           -- What waits for its window is due at its expiry, should that be sooner.
           select r.workspace_id, r.run_id, r.seq from flow f
           join retry r on r.workspace_id = f.workspace_id and r.account_id = f.account_id and r.run_id = f.run_id
           join expiry e on e.workspace_id = r.workspace_id and e.run_id = r.run_id and e.seq = r.seq
           where f.lane = 0 and r.kind <> 2 and r.due_at <= clock_timestamp() and e.expires_at <= $1
           for update of r skip locked
         ), gone as (
           delete from retry r using late l
           where r.workspace_id = l.workspace_id and r.run_id = l.run_id and r.seq = l.seq
           returning r.workspace_id, r.run_id, r.seq, r.kind, r.attempts, r.account_id
         ), noted as (
           insert into outcome (workspace_id, seq, run_id, account_id, at, cost, latency_ms, attempt, class, late)
           select g.workspace_id, g.seq, g.run_id, g.account_id, $1, 0, 0, g.attempts + 1, $3, false from gone g
           on conflict do nothing
         ), counted as (
           insert into progress as p (workspace_id, run_id, shard, retrying, expired)
           select g.workspace_id, g.run_id, $2, -count(*) filter (where g.kind = 1), count(*) from gone g
           group by g.workspace_id, g.run_id order by g.workspace_id, g.run_id
           on conflict (workspace_id, run_id, shard)
           do update set retrying = p.retrying + excluded.retrying, expired = p.expired + excluded.expired
         )
         select count(*) from gone",
    )
    .bind(now)
    .bind(shard)
    .bind(Class::Expired.as_i16())
    .fetch_one(c)
    .await?;
    Ok(expired)
}

/// Puts messages off that came one by one and are due although their window is closed: they were under way when
/// it closed. Urgent messages are looked for too often to meet them all night.
///
/// # Errors
/// When the database fails; nothing is put off then.
pub async fn put_off(c: &mut PgConnection, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "-- put_off
         with early as materialized (
           select r.workspace_id, r.run_id, r.seq, r.kind, g.opens_at from flow f
           join retry r on r.workspace_id = f.workspace_id and r.account_id = f.account_id and r.run_id = f.run_id
           join segment g on g.workspace_id = r.workspace_id and g.run_id = r.run_id and g.lo <= r.seq and g.hi > r.seq
           where f.lane = 0 and f.windowed and r.due_at <= clock_timestamp() and g.opens_at > $1
           -- A claim, or another scheduler, has the others.
           for update of r skip locked
         )
         update retry r set not_before = coalesce(r.not_before, r.due_at), due_at = clock_timestamp() + (least(e.opens_at, (
             select greatest(x.expires_at, $1) from expiry x
             where x.workspace_id = e.workspace_id and x.run_id = e.run_id and x.seq = e.seq and e.kind <> 2)) - $1)
         from early e where r.workspace_id = e.workspace_id and r.run_id = e.run_id and r.seq = e.seq",
    )
    .bind(now)
    .execute(c)
    .await?;
    Ok(())
}
