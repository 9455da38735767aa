//! Runs: launching, starting at their time, pausing, cancelling. How they end stands in `finish`.

use chrono::{DateTime, Utc};
use fanfare_domain::price::Prices;
use fanfare_domain::state::{PausedReason, RunKind, RunState, Sharing};
use serde::Deserialize;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result, flows};

/// A run to be inserted.
#[derive(Debug, Clone)]
pub struct NewRun<'a> {
    /// Its id.
    pub run_id: i64,
    /// Its campaign.
    pub campaign_id: i64,
    /// Its accounts, in their order; at least one.
    pub accounts: &'a [NewRunAccount<'a>],
    /// How they divide it.
    pub sharing: Sharing,
    /// When it is to start.
    pub scheduled_for: DateTime<Utc>,
    /// Whether it starts at once; else it waits for `scheduled_for`.
    pub starts_now: bool,
    /// Why there is one.
    pub kind: RunKind,
    /// The run whose messages decide who its recipients are.
    pub parent_run_id: Option<i64>,
    /// Of a follow-up: which of the campaign's.
    pub step: Option<i16>,
    /// What it says; at least one.
    pub arms: &'a [RunArm],
    /// The version of the campaign's fallback, if it has one.
    pub fallback_version: Option<i32>,
    /// The template's variables, in order.
    pub variables: &'a [String],
    /// Contacts of the list.
    pub planned: i64,
    /// Its share of each account.
    pub weight: i32,
    /// From then on what is unsent expires; set at the start of a run that waits.
    pub expires_at: Option<DateTime<Utc>>,
}

/// What a run says, or one of the variants that it tries against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct RunArm {
    /// The template.
    pub template_id: i64,
    /// The frozen version of it.
    pub version: i32,
    /// Its part of the recipients beside the others' weights.
    pub weight: i32,
}

/// An account of a run to be inserted.
#[derive(Debug, Clone, Copy)]
pub struct NewRunAccount<'a> {
    /// The account.
    pub account_id: i64,
    /// Its part of the messages, where the run is divided by shares.
    pub share: Option<i32>,
    /// The address it sends from, unless the account's own.
    pub sender: Option<&'a str>,
    /// What its messages cost.
    pub prices: &'a Prices,
    /// Its dearest message, micro-credits.
    pub reserve_each: i64,
}

/// Where a run stands, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The run.
    pub run_id: i64,
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

/// Inserts a run, its accounts, its flows and the mark that its audience is to be expanded.
///
/// # Errors
/// When the campaign has a run of that time already, or the database fails.
pub async fn insert(c: &mut PgConnection, workspace_id: i32, run: &NewRun<'_>) -> Result<()> {
    let state = if run.starts_now { RunState::Running } else { RunState::Scheduled };
    let done = sqlx::query(
        "-- insert
         insert into run (workspace_id, run_id, campaign_id, scheduled_for, variables, planned,
           state, expires_at, started_at, fallback_version, kind, parent_run_id, step)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         on conflict (workspace_id, campaign_id, scheduled_for) do nothing",
    )
    .bind(workspace_id)
    .bind(run.run_id)
    .bind(run.campaign_id)
    .bind(run.scheduled_for)
    .bind(run.variables)
    .bind(run.planned)
    .bind(state.as_i16())
    .bind(run.expires_at)
    .bind(run.starts_now.then_some(run.scheduled_for))
    .bind(run.fallback_version)
    .bind(run.kind.as_i16())
    .bind(run.parent_run_id)
    .bind(run.step)
    .execute(&mut *c)
    .await?;
    if done.rows_affected() == 0 {
        let at = run.scheduled_for;
        return Err(Error::Conflict(format!("the campaign has a run of {at} already: choose another time")));
    }
    for (number, arm) in (0..).zip(run.arms) {
        insert_arm(c, workspace_id, run.run_id, number, arm).await?;
    }
    for (rank, account) in (0..).zip(run.accounts) {
        insert_account(c, workspace_id, run, rank, account).await?;
    }
    sqlx::query("-- insert: expansion\n insert into expansion (workspace_id, run_id) values ($1, $2)")
        .bind(workspace_id)
        .bind(run.run_id)
        .execute(&mut *c)
        .await?;
    if run.starts_now {
        flows::open(c, workspace_id, run.run_id).await?;
    }
    Ok(())
}

async fn insert_arm(c: &mut PgConnection, workspace_id: i32, run_id: i64, number: i16, arm: &RunArm) -> Result<()> {
    sqlx::query(
        "-- insert: arm
         insert into run_arm (workspace_id, run_id, arm, template_id, template_version, weight)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(number)
    .bind(arm.template_id)
    .bind(arm.version)
    .bind(arm.weight)
    .execute(c)
    .await?;
    Ok(())
}

async fn insert_account(
    c: &mut PgConnection,
    workspace_id: i32,
    run: &NewRun<'_>,
    rank: i16,
    account: &NewRunAccount<'_>,
) -> Result<()> {
    sqlx::query(
        "-- insert: account
         insert into run_account (workspace_id, run_id, account_id, rank, share, sender, prices)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(workspace_id)
    .bind(run.run_id)
    .bind(account.account_id)
    .bind(rank)
    .bind(account.share)
    .bind(account.sender)
    .bind(Json(account.prices))
    .execute(&mut *c)
    .await?;
    let sharing = if run.accounts.len() == 1 { 0 } else { run.sharing.as_i16() };
    sqlx::query(
        "-- insert: flow
         insert into flow (workspace_id, account_id, run_id, weight, runnable, reserve_each, sharing, rank, share)
         values ($1, $2, $3, $4, false, $5, $6, $7, $8)",
    )
    .bind(workspace_id)
    .bind(account.account_id)
    .bind(run.run_id)
    .bind(run.weight)
    .bind(account.reserve_each)
    .bind(sharing)
    .bind(rank)
    .bind(account.share.unwrap_or(1))
    .execute(c)
    .await?;
    Ok(())
}

/// The newest run of a campaign.
///
/// # Errors
/// When the database fails.
pub async fn newest(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<Option<Standing>> {
    #[derive(FromRow)]
    struct Row {
        run_id: i64,
        state: i16,
        paused_reason: Option<i16>,
        scheduled_for: DateTime<Utc>,
        started_at: Option<DateTime<Utc>>,
        expired: bool,
    }
    let row: Option<Row> = sqlx::query_as(
        "-- newest
         select r.run_id, r.state, r.paused_reason, r.scheduled_for, r.started_at,
                coalesce(r.expires_at <= clock_timestamp(), false) as expired
         from run r where r.workspace_id = $1 and r.campaign_id = $2 order by r.run_id desc limit 1",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .fetch_optional(c)
    .await?;
    row.map(|r| {
        Ok(Standing {
            run_id: r.run_id,
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
    let due: Vec<(i32, i64)> = sqlx::query_as(
        "select workspace_id, run_id from run where state = 1 and scheduled_for <= $1 order by 1, 2 -- start_due: which",
    )
    .bind(now)
    .fetch_all(&mut *c)
    .await?;
    let mut started = Vec::new();
    for (workspace_id, run_id) in due {
        flows::lock(c, workspace_id, run_id).await?;
        let done = sqlx::query(
            "-- start_due
             update run r set state = 2, started_at = $3, expires_at = $3 + c.expires_after_s * interval '1 second'
             from campaign c
             where r.workspace_id = $1 and r.run_id = $2 and r.state = 1
               and c.workspace_id = r.workspace_id and c.campaign_id = r.campaign_id",
        )
        .bind(workspace_id)
        .bind(run_id)
        .bind(now)
        .execute(&mut *c)
        .await?;
        // Another scheduler may have started it, or a person cancelled it, before the lock.
        if done.rows_affected() == 1 {
            flows::open(c, workspace_id, run_id).await?;
            started.push((workspace_id, run_id));
        }
    }
    Ok(started)
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
