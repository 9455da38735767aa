//! Transitions: every change of state of a campaign, its schedule and its runs, with who changed it and why.

use chrono::{DateTime, Utc};
use fanfare_domain::state::{Approval, RunState};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result};

/// Who changes what changes by itself.
pub const SCHEDULER: &str = "scheduler";
/// Who pauses a run because of a provider's answer, or for want of credit.
pub const WORKER: &str = "worker";

/// A state of a campaign, or of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum State {
    /// Of a run.
    Run(RunState),
    /// Of the campaign itself.
    Campaign(Approval),
}

impl State {
    fn from_i16(n: i16) -> Result<Self> {
        let run = RunState::from_i16(n).map(Self::Run);
        run.or_else(|| Approval::from_i16(n).map(Self::Campaign))
            .ok_or_else(|| Error::Corrupt(format!("transition state {n}")))
    }

    /// As written on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run(state) => state.as_str(),
            Self::Campaign(state) => state.as_str(),
        }
    }
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// The run; `None` = the campaign itself.
    pub run_id: Option<i64>,
    /// When, by the database's clock.
    pub at: DateTime<Utc>,
    /// What it was; `None` = there was none.
    pub from: Option<State>,
    /// What it became.
    pub to: State,
    /// The person, or the role of the program.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
}

/// Records a change of a run's state, in the transaction that changes it.
///
/// # Errors
/// When the database fails.
pub async fn of_run(
    c: &mut PgConnection,
    (workspace_id, run_id): (i32, i64),
    (from, to): (Option<RunState>, RunState),
    actor: &str,
    reason: Option<&str>,
) -> Result<()> {
    sqlx::query(
        "-- transitions: of run
         insert into transition (workspace_id, campaign_id, run_id, at, from_state, to_state, actor, reason)
         select r.workspace_id, r.campaign_id, r.run_id, clock_timestamp(), $3, $4, $5, $6
         from run r where r.workspace_id = $1 and r.run_id = $2",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(from.map_or(0, RunState::as_i16))
    .bind(to.as_i16())
    .bind(actor)
    .bind(reason)
    .execute(c)
    .await?;
    Ok(())
}

/// Records a change of a campaign's own state, in the transaction that changes it.
///
/// # Errors
/// When the database fails.
pub async fn of_campaign(
    c: &mut PgConnection,
    (workspace_id, campaign_id): (i32, i64),
    (from, to): (Option<Approval>, Approval),
    actor: &str,
    reason: Option<&str>,
) -> Result<()> {
    sqlx::query(
        "-- transitions: of campaign
         insert into transition (workspace_id, campaign_id, run_id, at, from_state, to_state, actor, reason)
         values ($1, $2, 0, clock_timestamp(), $3, $4, $5, $6)",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(from.map_or(0, Approval::as_i16))
    .bind(to.as_i16())
    .bind(actor)
    .bind(reason)
    .execute(c)
    .await?;
    Ok(())
}

/// Records a change of a campaign that leaves its own state as it is, such as one of its schedule, in the
/// transaction that changes it.
///
/// # Errors
/// When the database fails.
pub async fn noted(
    c: &mut PgConnection,
    (workspace_id, campaign_id): (i32, i64),
    actor: &str,
    what: &str,
) -> Result<()> {
    sqlx::query(
        "-- transitions: noted
         insert into transition (workspace_id, campaign_id, run_id, at, from_state, to_state, actor, reason)
         select c.workspace_id, c.campaign_id, 0, clock_timestamp(), c.approval, c.approval, $3, $4
         from campaign c where c.workspace_id = $1 and c.campaign_id = $2",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(actor)
    .bind(what)
    .execute(c)
    .await?;
    Ok(())
}

/// All changes of a campaign and its runs, the first one first.
///
/// # Errors
/// When the database fails.
pub async fn all(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<Vec<Transition>> {
    #[derive(FromRow)]
    struct Row {
        run_id: i64,
        at: DateTime<Utc>,
        from_state: i16,
        to_state: i16,
        actor: String,
        reason: Option<String>,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "-- transitions: all
         select run_id, at, from_state, to_state, actor, reason from transition
         where workspace_id = $1 and campaign_id = $2 order by at, run_id",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .fetch_all(c)
    .await?;
    let transition = |row: Row| {
        Ok(Transition {
            run_id: (row.run_id != 0).then_some(row.run_id),
            at: row.at,
            from: (row.from_state != 0).then(|| State::from_i16(row.from_state)).transpose()?,
            to: State::from_i16(row.to_state)?,
            actor: row.actor,
            reason: row.reason,
        })
    };
    rows.into_iter().map(transition).collect()
}
