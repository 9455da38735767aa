//! Runs: launching, starting at their time, pausing, cancelling. How they end stands in `finish`.

mod guard;
mod insert;
mod list;

use chrono::{DateTime, Utc};
use fanfare_domain::limits::LATEST_START;
use fanfare_domain::state::{PausedReason, RunKind, RunState};
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result, flows, transitions};

pub use guard::{Failing, failing, forgive, say_why};
pub use insert::{NewRun, NewRunAccount, RunArm, insert};
pub use list::{Beside, Listed, beside, is_expanding, list};

/// Where a run stands, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The run.
    pub run_id: i64,
    /// Why there is one.
    pub kind: RunKind,
    /// Its state.
    pub state: RunState,
    /// Why it is paused.
    pub paused_reason: Option<PausedReason>,
    /// When it was to start.
    pub scheduled_for: DateTime<Utc>,
    /// When it did.
    pub started_at: Option<DateTime<Utc>>,
    /// From then on what is unsent counts as expired.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Standing {
    /// Whether it is past its expiry.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// Which runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// The newest of a campaign.
    Newest(i64),
    /// Those of a campaign that are not over.
    Unfinished(i64),
    /// This one.
    Run(i64),
}

/// Where a run stands.
///
/// # Errors
/// [`Error::NotFound`] when there is none; else when the database fails.
pub async fn standing(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<Standing> {
    let found = standings(c, workspace_id, Which::Run(run_id)).await?.pop();
    found.ok_or_else(|| Error::NotFound { what: "run", name: run_id.to_string(), near: Vec::new() })
}

/// The newest run of a campaign.
///
/// # Errors
/// When the database fails.
pub async fn newest(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<Option<Standing>> {
    Ok(standings(c, workspace_id, Which::Newest(campaign_id)).await?.pop())
}

async fn standings(c: &mut PgConnection, workspace_id: i32, which: Which) -> Result<Vec<Standing>> {
    #[derive(FromRow)]
    struct Row {
        run_id: i64,
        kind: i16,
        state: i16,
        paused_reason: Option<i16>,
        scheduled_for: DateTime<Utc>,
        started_at: Option<DateTime<Utc>>,
        expires_at: Option<DateTime<Utc>>,
    }
    let (campaign_id, unfinished, run_id) = match which {
        Which::Newest(campaign_id) => (Some(campaign_id), false, None),
        Which::Unfinished(campaign_id) => (Some(campaign_id), true, None),
        Which::Run(run_id) => (None, false, Some(run_id)),
    };
    let rows: Vec<Row> = sqlx::query_as(
        "-- standings
         select r.run_id, r.kind, r.state, r.paused_reason, r.scheduled_for, r.started_at, r.expires_at
         from run r
         where r.workspace_id = $1
           and case when $3 then r.campaign_id = $2 and r.state < 5
                    else r.run_id = coalesce($4, (
                      select max(n.run_id) from run n where n.workspace_id = $1 and n.campaign_id = $2)) end
         order by r.run_id",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(unfinished)
    .bind(run_id)
    .fetch_all(c)
    .await?;
    let standing = |r: Row| {
        let corrupt = |what, n| Error::Corrupt(format!("run {what} {n}"));
        Ok(Standing {
            run_id: r.run_id,
            kind: RunKind::from_i16(r.kind).ok_or_else(|| corrupt("kind", r.kind))?,
            state: RunState::from_i16(r.state).ok_or_else(|| corrupt("state", r.state))?,
            paused_reason: r.paused_reason.and_then(PausedReason::from_i16),
            scheduled_for: r.scheduled_for,
            started_at: r.started_at,
            expires_at: r.expires_at,
        })
    };
    rows.into_iter().map(standing).collect()
}

/// The runs of a campaign that are not over, the oldest first.
///
/// # Errors
/// When the database fails.
pub async fn unfinished(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<Vec<Standing>> {
    standings(c, workspace_id, Which::Unfinished(campaign_id)).await
}

/// Locks a run, behind every message that is being entered into it. Its flows are locked before.
///
/// # Errors
/// When the database fails.
pub async fn lock(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<()> {
    sqlx::query("select from run where workspace_id = $1 and run_id = $2 for no key update -- lock")
        .bind(workspace_id)
        .bind(run_id)
        .execute(c)
        .await?;
    Ok(())
}

/// Starts the scheduled runs whose time has come by `now`, in every workspace; says which. Two
/// schedulers never start the same one. A launch whose time is over since [`LATEST_START`] is held for a person
/// instead.
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
        if hold_late(c, workspace_id, run_id, now).await? {
            continue;
        }
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
            let change = (Some(RunState::Scheduled), RunState::Running);
            transitions::of_run(c, (workspace_id, run_id), change, transitions::SCHEDULER, None).await?;
            started.push((workspace_id, run_id));
        }
    }
    Ok(started)
}

/// Holds a launch that is too late to be started. Says whether it is.
async fn hold_late(c: &mut PgConnection, workspace_id: i32, run_id: i64, now: DateTime<Utc>) -> Result<bool> {
    let late = PausedReason::Late;
    let done = sqlx::query(
        "-- hold_late
         update run set state = 3, paused_reason = $4,
           paused_detail = 'nobody could start it until ' || floor(extract(epoch from $3 - scheduled_for) / 60) || ' minutes after its time'
         where workspace_id = $1 and run_id = $2 and state = 1 and kind = $5
           and scheduled_for < $3 - $6 * interval '1 second'",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(now)
    .bind(late.as_i16())
    .bind(RunKind::Launch.as_i16())
    .bind(LATEST_START.as_secs_f64())
    .execute(&mut *c)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let (change, why) = ((Some(RunState::Scheduled), RunState::Paused), Some(late.as_str()));
    transitions::of_run(c, (workspace_id, run_id), change, transitions::SCHEDULER, why).await?;
    Ok(true)
}

/// Lets a run that is held since it was too late start at once: its time is `now`.
///
/// # Errors
/// When the database fails.
pub async fn let_go(c: &mut PgConnection, workspace_id: i32, run_id: i64, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "-- let_go
         update run set scheduled_for = $3, paused_detail = null where workspace_id = $1 and run_id = $2",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(now)
    .execute(c)
    .await?;
    Ok(())
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
    actor: &str,
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
    .execute(&mut *c)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let why = paused_reason.map(PausedReason::as_str);
    transitions::of_run(c, (workspace_id, run.run_id), (Some(run.state), state), actor, why).await?;
    Ok(true)
}

/// The run, if it is one of this campaign.
///
/// # Errors
/// When the database fails.
pub async fn of_campaign(
    c: &mut PgConnection,
    workspace_id: i32,
    campaign_id: i64,
    run_id: i64,
) -> Result<Option<Standing>> {
    let found: Option<i64> = sqlx::query_scalar(
        "-- of_campaign\n select run_id from run where workspace_id = $1 and campaign_id = $2 and run_id = $3",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(run_id)
    .fetch_optional(&mut *c)
    .await?;
    match found {
        Some(run_id) => Ok(Some(standing(c, workspace_id, run_id).await?)),
        None => Ok(None),
    }
}
