//! Runs: launching, starting at their time, pausing, cancelling. How they end stands in `finish`.

use chrono::{DateTime, Utc};
use fanfare_domain::price::Prices;
use fanfare_domain::state::{PausedReason, RunState};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use crate::error::ensure_affected;
use crate::{Error, Result};

/// A run to be inserted.
#[derive(Debug, Clone)]
pub struct NewRun<'a> {
    /// Its id.
    pub run_id: i64,
    /// Its campaign.
    pub campaign_id: i64,
    /// Whose limits it shares.
    pub account_id: i64,
    /// When it is to start.
    pub scheduled_for: DateTime<Utc>,
    /// Whether it starts at once; else it waits for `scheduled_for`.
    pub starts_now: bool,
    /// The version of the template that it sends.
    pub template_version: i32,
    /// The version of the campaign's fallback, if it has one.
    pub fallback_version: Option<i32>,
    /// The template's variables, in order.
    pub variables: &'a [String],
    /// The account's prices.
    pub prices: &'a Prices,
    /// Contacts of the list.
    pub planned: i64,
    /// Its share of the account.
    pub weight: i32,
    /// The dearest message, micro-credits.
    pub reserve_each: i64,
    /// From then on what is unsent expires; set at the start of a run that waits.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Where a run stands, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The run.
    pub run_id: i64,
    /// Its account.
    pub account_id: i64,
    /// Its state.
    pub state: RunState,
    /// Why it is paused.
    pub paused_reason: Option<PausedReason>,
    /// When it was to start.
    pub scheduled_for: DateTime<Utc>,
    /// When it did.
    pub started_at: Option<DateTime<Utc>>,
    /// Past its expiry: what is unsent counts as expired.
    pub expired: bool,
}

/// Inserts a run, its flow and the mark that its audience is to be expanded.
///
/// # Errors
/// When the campaign has a run of that time already, or the database fails.
pub async fn insert(c: &mut PgConnection, workspace_id: i32, run: &NewRun<'_>) -> Result<()> {
    let state = if run.starts_now { RunState::Running } else { RunState::Scheduled };
    let done = sqlx::query(
        "-- insert
         insert into run (workspace_id, run_id, campaign_id, scheduled_for, template_version, variables, prices, planned,
           state, expires_at, started_at, fallback_version)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         on conflict (workspace_id, campaign_id, scheduled_for) do nothing",
    )
    .bind(workspace_id)
    .bind(run.run_id)
    .bind(run.campaign_id)
    .bind(run.scheduled_for)
    .bind(run.template_version)
    .bind(run.variables)
    .bind(Json(run.prices))
    .bind(run.planned)
    .bind(state.as_i16())
    .bind(run.expires_at)
    .bind(run.starts_now.then_some(run.scheduled_for))
    .bind(run.fallback_version)
    .execute(&mut *c)
    .await?;
    if done.rows_affected() == 0 {
        let at = run.scheduled_for;
        return Err(Error::Conflict(format!("the campaign has a run of {at} already: choose another time")));
    }
    sqlx::query(
        "-- insert: flow
         insert into flow (workspace_id, account_id, run_id, weight, runnable, vtime, reserve_each)
         values ($1, $2, $3, $4, $5, 0, $6)",
    )
    .bind(workspace_id)
    .bind(run.account_id)
    .bind(run.run_id)
    .bind(run.weight)
    .bind(run.starts_now)
    .bind(run.reserve_each)
    .execute(&mut *c)
    .await?;
    sqlx::query("-- insert: expansion\n insert into expansion (workspace_id, run_id) values ($1, $2)")
        .bind(workspace_id)
        .bind(run.run_id)
        .execute(&mut *c)
        .await?;
    if run.starts_now {
        join_in(c, workspace_id, run.account_id, run.run_id).await?;
    }
    Ok(())
}

/// Puts a flow that begins to be claimed from, or begins again, level with the account's others: it is
/// neither served before all of them until it has caught up, nor after.
async fn join_in(c: &mut PgConnection, workspace_id: i32, account_id: i64, run_id: i64) -> Result<()> {
    let done = sqlx::query(
        "-- join_in
         update flow f set vtime = greatest(f.vtime, o.level)
         from (select coalesce(min(vtime) filter (where runnable), max(vtime), 0) as level from flow
               where workspace_id = $1 and account_id = $2 and run_id <> $3) o
         where f.workspace_id = $1 and f.account_id = $2 and f.run_id = $3",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(run_id)
    .execute(c)
    .await?;
    ensure_affected("join_in", done.rows_affected(), 1)
}

/// The newest run of a campaign.
///
/// # Errors
/// When the database fails.
pub async fn newest(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<Option<Standing>> {
    #[derive(FromRow)]
    struct Row {
        run_id: i64,
        account_id: i64,
        state: i16,
        paused_reason: Option<i16>,
        scheduled_for: DateTime<Utc>,
        started_at: Option<DateTime<Utc>>,
        expired: bool,
    }
    let row: Option<Row> = sqlx::query_as(
        "-- newest
         select r.run_id, c.account_id, r.state, r.paused_reason, r.scheduled_for, r.started_at,
                coalesce(r.expires_at <= clock_timestamp(), false) as expired
         from run r join campaign c on c.workspace_id = r.workspace_id and c.campaign_id = r.campaign_id
         where r.workspace_id = $1 and r.campaign_id = $2 order by r.run_id desc limit 1",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .fetch_optional(c)
    .await?;
    row.map(|r| {
        Ok(Standing {
            run_id: r.run_id,
            account_id: r.account_id,
            state: RunState::from_i16(r.state).ok_or_else(|| Error::Corrupt(format!("run state {}", r.state)))?,
            paused_reason: r.paused_reason.and_then(PausedReason::from_i16),
            scheduled_for: r.scheduled_for,
            started_at: r.started_at,
            expired: r.expired,
        })
    })
    .transpose()
}

/// Starts the scheduled runs whose time has come by `now`, in every workspace; says which. Two
/// schedulers never start the same one.
///
/// # Errors
/// When the database fails; none is started then.
pub async fn start_due(c: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<(i32, i64)>> {
    let due: Vec<(i32, i64, i64)> = sqlx::query_as(
        "-- start_due: which
         select r.workspace_id, f.account_id, r.run_id
         from run r join flow f on f.workspace_id = r.workspace_id and f.run_id = r.run_id
         where r.state = 1 and r.scheduled_for <= $1 for update of f, r skip locked",
    )
    .bind(now)
    .fetch_all(&mut *c)
    .await?;
    for (workspace_id, account_id, run_id) in &due {
        let done = sqlx::query(
            "-- start_due
             with started as (
               update run r set state = 2, started_at = $3, expires_at = $3 + c.expires_after_s * interval '1 second'
               from campaign c
               where r.workspace_id = $1 and r.run_id = $2 and r.state = 1
                 and c.workspace_id = r.workspace_id and c.campaign_id = r.campaign_id
               returning r.run_id
             )
             update flow f set runnable = true from started s where f.workspace_id = $1 and f.run_id = s.run_id",
        )
        .bind(workspace_id)
        .bind(run_id)
        .bind(now)
        .execute(&mut *c)
        .await?;
        ensure_affected("start_due", done.rows_affected(), 1)?;
        join_in(c, *workspace_id, *account_id, *run_id).await?;
    }
    Ok(due.into_iter().map(|(workspace_id, _, run_id)| (workspace_id, run_id)).collect())
}

/// Locks the run's flow, which every change of a run's state does first, as the claim does. A run that
/// is over has none.
///
/// # Errors
/// When the database fails.
pub async fn lock_flow(c: &mut PgConnection, workspace_id: i32, run: Standing) -> Result<()> {
    sqlx::query(
        "-- lock_flow
         select run_id from flow where workspace_id = $1 and account_id = $2 and run_id = $3 for no key update",
    )
    .bind(workspace_id)
    .bind(run.account_id)
    .bind(run.run_id)
    .fetch_optional(c)
    .await?;
    Ok(())
}

/// Closes the flow and makes the fleet drop what it holds of it.
///
/// # Errors
/// When there is no flow or the database fails.
pub async fn close_flow(c: &mut PgConnection, workspace_id: i32, run: Standing) -> Result<()> {
    let done = sqlx::query(
        "-- close_flow
         update flow set runnable = false, epoch = epoch + 1 where workspace_id = $1 and account_id = $2 and run_id = $3",
    )
    .bind(workspace_id)
    .bind(run.account_id)
    .bind(run.run_id)
    .execute(c)
    .await?;
    ensure_affected("close_flow", done.rows_affected(), 1)
}

/// Opens the flow again, level with the account's others.
///
/// # Errors
/// When there is no flow or the database fails.
pub async fn open_flow(c: &mut PgConnection, workspace_id: i32, run: Standing) -> Result<()> {
    join_in(c, workspace_id, run.account_id, run.run_id).await?;
    reopen(c, workspace_id, run.account_id, run.run_id).await
}

async fn reopen(c: &mut PgConnection, workspace_id: i32, account_id: i64, run_id: i64) -> Result<()> {
    let done = sqlx::query(
        "-- reopen
         update flow set runnable = true where workspace_id = $1 and account_id = $2 and run_id = $3",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(run_id)
    .execute(c)
    .await?;
    ensure_affected("reopen", done.rows_affected(), 1)
}

/// Lets the runs that paused for want of credit go on, level with their accounts' others.
///
/// # Errors
/// When the database fails.
pub async fn resume_poor(c: &mut PgConnection, workspace_id: i32) -> Result<u64> {
    // Flows before runs, the order of every other lock.
    let poor: Vec<(i64, i64)> = sqlx::query_as(
        "-- resume_poor: lock
         select f.account_id, f.run_id from flow f
         join run r on r.workspace_id = f.workspace_id and r.run_id = f.run_id
         where f.workspace_id = $1 and r.state = 3 and r.paused_reason = 2
         order by f.account_id, f.run_id for update of f",
    )
    .bind(workspace_id)
    .fetch_all(&mut *c)
    .await?;
    let mut resumed = 0;
    for (account_id, run_id) in poor {
        let done = sqlx::query(
            "-- resume_poor
             update run set state = 2, paused_reason = null
             where workspace_id = $1 and run_id = $2 and state = 3 and paused_reason = 2",
        )
        .bind(workspace_id)
        .bind(run_id)
        .execute(&mut *c)
        .await?;
        // A person may have paused or cancelled it before the lock.
        if done.rows_affected() == 1 {
            join_in(c, workspace_id, account_id, run_id).await?;
            reopen(c, workspace_id, account_id, run_id).await?;
            resumed += 1;
        }
    }
    Ok(resumed)
}

/// Removes the flow and the mark for expansion of a run that never started.
///
/// # Errors
/// When the database fails.
pub async fn forget_flow(c: &mut PgConnection, workspace_id: i32, run: Standing) -> Result<()> {
    sqlx::query("-- forget_flow\n delete from flow where workspace_id = $1 and account_id = $2 and run_id = $3")
        .bind(workspace_id)
        .bind(run.account_id)
        .bind(run.run_id)
        .execute(&mut *c)
        .await?;
    sqlx::query("-- forget_flow: expansion\n delete from expansion where workspace_id = $1 and run_id = $2")
        .bind(workspace_id)
        .bind(run.run_id)
        .execute(c)
        .await?;
    Ok(())
}

/// Pauses a running run, since its provider's answer says that every other message of it would be refused.
/// Says whether it was running.
///
/// # Errors
/// When the database fails; nothing is changed then.
pub async fn pause_by_provider(c: &mut PgConnection, workspace_id: i32, run_id: i64, detail: &str) -> Result<bool> {
    let mut tx = sqlx::Connection::begin(c).await?;
    // Flows before the run, the order of every other lock.
    sqlx::query("-- pause_by_provider: flows\n select from flow where workspace_id = $1 and run_id = $2 order by account_id for update")
        .bind(workspace_id)
        .bind(run_id)
        .execute(&mut *tx)
        .await?;
    let done = sqlx::query(
        "-- pause_by_provider
         update run set state = 3, paused_reason = 3, paused_detail = $3
         where workspace_id = $1 and run_id = $2 and state = 2",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(detail)
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 1 {
        sqlx::query(
            "-- pause_by_provider: close
             update flow set runnable = false, epoch = epoch + 1 where workspace_id = $1 and run_id = $2",
        )
        .bind(workspace_id)
        .bind(run_id)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

/// Moves the run from the state that was seen to another. Says whether it was still in that state.
///
/// # Errors
/// When the database fails.
pub async fn change_state(
    c: &mut PgConnection,
    workspace_id: i32,
    run: Standing,
    state: RunState,
    paused_reason: Option<PausedReason>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let ends = matches!(state, RunState::Finished | RunState::Cancelled);
    let done = sqlx::query(
        "-- change_state
         update run set state = $4, paused_reason = $5, finished_at = $6
         where workspace_id = $1 and run_id = $2 and state = $3",
    )
    .bind(workspace_id)
    .bind(run.run_id)
    .bind(run.state.as_i16())
    .bind(state.as_i16())
    .bind(paused_reason.map(PausedReason::as_i16))
    .bind(ends.then_some(now))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Micro-credits that a claim reserves for each message of the run.
///
/// # Errors
/// When there is no flow or the database fails.
pub async fn reserve_each(c: &mut PgConnection, workspace_id: i32, run: Standing) -> Result<i64> {
    let micro = sqlx::query_scalar(
        "-- reserve_each
         select reserve_each from flow where workspace_id = $1 and account_id = $2 and run_id = $3",
    )
    .bind(workspace_id)
    .bind(run.account_id)
    .bind(run.run_id)
    .fetch_one(c)
    .await?;
    Ok(micro)
}
