//! Messages that come one by one: they are entered into a live run, once for each key, and wait there for their
//! hours or their expiry, if they have any.

mod enter;
mod wait;

use chrono::{DateTime, Utc};
use fanfare_domain::state::{CampaignKind, PausedReason, RunKind, RunState};
use sqlx::{FromRow, PgConnection, PgPool};

use crate::audience::Priced;
use crate::runs::{self, RunArm};
use crate::{Error, Result, flows};

pub use enter::{Entered, OneOff, enter};
pub use wait::{Times, expire, put_off, times};

/// The newest live run of a campaign.
#[derive(Debug, Clone, FromRow)]
pub struct Live {
    /// The run.
    pub run_id: i64,
    state: i16,
    paused_reason: Option<i16>,
    /// Nothing is entered any more; it ends once all that was is settled.
    pub stopped: bool,
    /// What it says.
    #[sqlx(json)]
    pub arms: Vec<RunArm>,
    /// The frozen version of the campaign's fallback.
    pub fallback_version: Option<i32>,
    /// The frozen variables, in order.
    pub variables: Vec<String>,
    /// Its accounts with their frozen prices, in their order.
    #[sqlx(json)]
    pub accounts: Vec<Priced>,
}

impl Live {
    /// Where it stands.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a number that is no state.
    pub fn standing(&self) -> Result<Standing> {
        standing(self.state, self.paused_reason, self.stopped)
    }
}

/// Whether messages may be entered into a live run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// They may.
    Open,
    /// It is paused.
    Paused(PausedReason),
    /// It was stopped, or cancelled.
    Stopped,
}

fn standing(state: i16, paused_reason: Option<i16>, stopped: bool) -> Result<Standing> {
    let state = RunState::from_i16(state).ok_or_else(|| Error::Corrupt(format!("run state {state}")))?;
    Ok(match (state, paused_reason.and_then(PausedReason::from_i16)) {
        _ if stopped => Standing::Stopped,
        (RunState::Running | RunState::Scheduled, _) => Standing::Open,
        (RunState::Paused, reason) => Standing::Paused(reason.unwrap_or(PausedReason::Person)),
        (RunState::Cancelling | RunState::Finished | RunState::Cancelled, _) => Standing::Stopped,
    })
}

/// The newest live run of a campaign, if it ever had one.
///
/// # Errors
/// When the database fails.
pub async fn live(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<Option<Live>> {
    let row = sqlx::query_as(
        "-- live
         select r.run_id, r.state, r.paused_reason, r.expanded_at is not null as stopped, run_arms(r) as arms,
                r.fallback_version, r.variables,
                (select jsonb_agg(jsonb_build_object('account_id', a.account_id, 'prices', a.prices) order by a.rank)
                 from run_account a where a.workspace_id = $1 and a.run_id = r.run_id) as accounts
         from run r where r.workspace_id = $1 and r.campaign_id = $2 and r.kind = $3 order by r.run_id desc limit 1",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(RunKind::Live.as_i16())
    .fetch_optional(c)
    .await?;
    Ok(row)
}

/// Lets nothing more be entered into a live run: it ends once all that was is settled. False when it was
/// stopped before, or is over.
///
/// # Errors
/// When the database fails.
pub async fn stop(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<bool> {
    // Flows before run: the order of the claim and of a pause.
    flows::lock(c, workspace_id, run_id).await?;
    let done = sqlx::query(
        "-- stop
         update run set expanded_at = clock_timestamp()
         where workspace_id = $1 and run_id = $2 and kind = $3 and state in (1, 2, 3) and expanded_at is null",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(RunKind::Live.as_i16())
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Live runs of campaigns that nobody has named of which nothing waits, is leased or in doubt, and of which nothing
/// was entered since a time: the last message was answered before. All, or whether one is among them.
const IDLE: &str = "-- idle
    select r.workspace_id, r.run_id from run r
    join campaign c on c.workspace_id = r.workspace_id and c.campaign_id = r.campaign_id and c.kind = 3
    join segment g on g.workspace_id = r.workspace_id and g.run_id = r.run_id and g.segment_no = 0
    where r.kind = 6 and r.state in (2, 3) and r.expanded_at is null and r.started_at < $1
      and ($2::int is null or r.workspace_id = $2 and r.run_id = $3)
      and not exists (select from retry t where t.workspace_id = r.workspace_id and t.run_id = r.run_id)
      and not exists (select from lease l where l.workspace_id = r.workspace_id and l.run_id = r.run_id)
      and not exists (select from returned b where b.workspace_id = r.workspace_id and b.run_id = r.run_id)
      and not exists (select from outcome o where o.workspace_id = r.workspace_id and o.run_id = r.run_id
                        and o.seq = g.hi - 1 and o.at >= $1)";

/// Stops the live runs that nobody has named and of which nothing was under way since a time, in every workspace;
/// gives them. Whoever enters a message is waited for, and found.
///
/// # Errors
/// When the database fails; those that were stopped before are.
pub async fn stop_idle(pool: &PgPool, since: DateTime<Utc>) -> Result<Vec<(i32, i64)>> {
    let among = |run: Option<(i32, i64)>| {
        let of = (run.map(|run| run.0), run.map(|run| run.1));
        sqlx::query_as::<_, (i32, i64)>(IDLE).bind(since).bind(of.0).bind(of.1)
    };
    let mut stopped = Vec::new();
    for run in among(None).fetch_all(pool).await? {
        let mut tx = pool.begin().await?;
        // Flows before run, as whoever enters a dearer message locks them.
        flows::lock(&mut tx, run.0, run.1).await?;
        runs::lock(&mut tx, run.0, run.1).await?;
        if among(Some(run)).fetch_optional(&mut *tx).await?.is_some() && stop(&mut tx, run.0, run.1).await? {
            tx.commit().await?;
            stopped.push(run);
        }
    }
    Ok(stopped)
}

/// Whose messages those of a run are.
#[derive(Debug, Clone, FromRow)]
pub struct OfRun {
    /// Name of the campaign.
    pub campaign: String,
    kind: i16,
    /// Name of its template.
    pub template: String,
}

impl OfRun {
    /// How the campaign comes by its messages.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a number that is no kind.
    pub fn kind(&self) -> Result<CampaignKind> {
        CampaignKind::from_i16(self.kind).ok_or_else(|| Error::Corrupt(format!("campaign kind {}", self.kind)))
    }
}

/// Whose messages those of a run are; none if there is no such run.
///
/// # Errors
/// When the database fails.
pub async fn of_run(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<Option<OfRun>> {
    let row = sqlx::query_as(
        "-- of_run
         select c.name as campaign, c.kind, t.name as template from run r
         join campaign c on c.workspace_id = r.workspace_id and c.campaign_id = r.campaign_id
         join template t on t.workspace_id = c.workspace_id and t.template_id = c.template_id
         where r.workspace_id = $1 and r.run_id = $2",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_optional(c)
    .await?;
    Ok(row)
}

/// A message that has a key.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Keyed {
    /// Its run.
    pub run_id: i64,
    /// The message.
    pub seq: i32,
    /// Hash of what it was to say.
    pub digest: Vec<u8>,
    /// To whom.
    pub address: String,
}

/// The message of a key.
///
/// # Errors
/// When the database fails.
pub async fn keyed(c: &mut PgConnection, workspace_id: i32, (campaign_id, key): (i64, &str)) -> Result<Option<Keyed>> {
    let row = sqlx::query_as(
        "-- keyed
         select o.run_id, o.seq, o.digest, m.address from one_off o
         join recipient m on m.workspace_id = o.workspace_id and m.run_id = o.run_id and m.seq = o.seq
         where o.workspace_id = $1 and o.campaign_id = $2 and o.key = $3",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(key)
    .fetch_optional(c)
    .await?;
    Ok(row)
}
