//! The processes of the fleet: their registration, their heartbeat, and what they must look at.

use std::time::Duration;

use sqlx::{FromRow, PgConnection, PgPool};

use crate::error::ensure_affected;
use crate::{Error, Result};

/// Announces a worker, alive for `ttl` unless it says so again.
///
/// # Errors
/// When the database fails.
pub async fn register(pool: &PgPool, worker_id: i64, host: &str, ttl: Duration) -> Result<()> {
    sqlx::query(
        "-- register
         insert into worker (worker_id, host, pid, version, started_at, alive_until)
         values ($1, $2, $3, $4, clock_timestamp(), clock_timestamp() + make_interval(secs => $5))",
    )
    .bind(worker_id)
    .bind(host)
    .bind(std::process::id() as i32)
    .bind(env!("CARGO_PKG_VERSION"))
    .bind(ttl.as_secs_f64())
    .execute(pool)
    .await?;
    Ok(())
}

/// Says that the worker is alive.
///
/// # Errors
/// [`Error::Fenced`] when the fleet has buried it; else when the database fails.
pub async fn heartbeat(pool: &PgPool, worker_id: i64, ttl: Duration) -> Result<()> {
    let done = sqlx::query(
        "-- heartbeat
         update worker set alive_until = clock_timestamp() + make_interval(secs => $2) where worker_id = $1",
    )
    .bind(worker_id)
    .bind(ttl.as_secs_f64())
    .execute(pool)
    .await?;
    if done.rows_affected() == 0 { Err(Error::Fenced) } else { Ok(()) }
}

/// Takes a worker's leave. Whatever it still holds is reclaimed at once, not after its time.
///
/// # Errors
/// When the database fails.
pub async fn leave(pool: &PgPool, worker_id: i64) -> Result<()> {
    let done = sqlx::query(
        "-- leave
         update worker set alive_until = 'epoch'
         where worker_id = $1 and exists (select from lease where lease.worker_id = $1)",
    )
    .bind(worker_id)
    .execute(pool)
    .await?;
    if done.rows_affected() == 0 {
        let gone =
            sqlx::query("delete from worker where worker_id = $1 -- leave").bind(worker_id).execute(pool).await?;
        ensure_affected("leave", gone.rows_affected(), 1)?;
    }
    Ok(())
}

/// One line of the board: a flow and its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct BoardRow {
    /// Tenant.
    pub workspace_id: i32,
    /// The account.
    pub account_id: i64,
    /// The run; 0 stands for the account itself, whose questions have slots of their own.
    pub run_id: i64,
    /// Epoch of the account plus epoch of the flow.
    pub epoch: i32,
    /// Whether it may be claimed from.
    pub runnable: bool,
    /// Whether its messages are urgent: of the transactional lane.
    pub urgent: bool,
}

/// Whether the fleet has not buried the worker.
///
/// # Errors
/// When the database fails.
pub async fn is_alive(c: &mut PgConnection, worker_id: i64) -> Result<bool> {
    let alive = sqlx::query_scalar("select exists (select from worker where worker_id = $1) -- is_alive")
        .bind(worker_id)
        .fetch_one(c)
        .await?;
    Ok(alive)
}

/// Whether any worker of the fleet is alive.
///
/// # Errors
/// When the database fails.
pub async fn any_alive(c: &mut PgConnection) -> Result<bool> {
    let any =
        sqlx::query_scalar("select exists (select from worker where alive_until > clock_timestamp()) -- any_alive")
            .fetch_one(c)
            .await?;
    Ok(any)
}

/// The board: every flow of the fleet, and every account that is asked for something. It holds unfinished
/// runs only, so it is small.
///
/// # Errors
/// When the database fails.
pub async fn board(c: &mut PgConnection) -> Result<Vec<BoardRow>> {
    let rows = sqlx::query_as(
        "-- board
         select f.workspace_id, f.account_id, f.run_id, f.epoch + p.epoch as epoch, f.runnable, f.lane = 0 as urgent
         from flow f join account_pace p on p.workspace_id = f.workspace_id and p.account_id = f.account_id
         union all
         select q.workspace_id, q.account_id, 0, p.epoch, false, false
         from poller q join account_pace p on p.workspace_id = q.workspace_id and p.account_id = q.account_id",
    )
    .fetch_all(c)
    .await?;
    Ok(rows)
}

/// The database's clock, µs since the Unix epoch.
///
/// # Errors
/// When the database fails.
pub async fn clock_us(c: &mut PgConnection) -> Result<i64> {
    let now = sqlx::query_scalar("select (extract(epoch from clock_timestamp()) * 1000000)::bigint -- clock_us")
        .fetch_one(c)
        .await?;
    Ok(now)
}
