//! Messages that come one by one: they are entered into a live run, once for each key.
//!
//! Entering is one transaction: the run's segment grows by a seq that counts as claimed, the recipient is
//! frozen, and the message waits in `retry`, due at once, as one that was never tried.

use chrono::{DateTime, Utc};
use fanfare_domain::state::{CampaignKind, PausedReason, RunKind, RunState};
use sqlx::{FromRow, PgConnection, PgPool};

use crate::audience::Priced;
use crate::erase::lock_address;
use crate::runs::RunArm;
use crate::suppressions::EVERYWHERE;
use crate::{Error, Result, flows};

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
        sqlx::query("select from run where workspace_id = $1 and run_id = $2 for no key update -- stop_idle: lock")
            .bind(run.0)
            .bind(run.1)
            .execute(&mut *tx)
            .await?;
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

/// A message to be entered.
#[derive(Debug, Clone, Copy)]
pub struct OneOff<'a> {
    /// The live run.
    pub run_id: i64,
    /// The campaign in which its key is unique; 0 for a message of none.
    pub campaign_id: i64,
    /// Its key, if it has one.
    pub key: Option<&'a str>,
    /// Hash of what it is to say.
    pub digest: &'a [u8],
    /// Phone in E.164 or e-mail.
    pub address: &'a str,
    /// What remains of that once it is erased.
    pub hash: &'a str,
    /// ISO 3166 alpha-2, for the price.
    pub country: Option<&'a str>,
    /// How many times the price is due.
    pub units: i16,
    /// The variant it gets.
    pub variant: i16,
    /// Values of the run's variables, as a JSON array.
    pub params: Option<&'a serde_json::Value>,
    /// What it costs through each account, micro-credits; in the order of their ids, in which flows are locked.
    pub costs: &'a [(i64, i64)],
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

/// What became of entering a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// It is due.
    As(i32),
    /// Its key was used meanwhile.
    Used,
    /// The run takes none.
    Refused(Standing),
    /// Its address is suppressed, perhaps since it was judged.
    Suppressed,
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

/// Enters a message into a live run. It waits for the first of the run's accounts that can send; of several
/// that share the run by their shares, for the one that is behind.
///
/// # Errors
/// When the database fails; nothing is entered then.
pub async fn enter(pool: &PgPool, workspace_id: i32, m: OneOff<'_>) -> Result<Entered> {
    let mut tx = pool.begin().await?;
    // Before all else: whoever is erased meanwhile is so before this, which is refused then, or finds the message.
    lock_address(&mut tx, workspace_id, m.address, false).await?;
    if is_suppressed(&mut tx, workspace_id, m).await? {
        return Ok(Entered::Suppressed);
    }
    for (account_id, micro) in m.costs {
        // Flows before run.
        sqlx::query(
            "-- enter: flow
             update flow set reserve_each = $4
             where workspace_id = $1 and account_id = $2 and run_id = $3 and reserve_each < $4",
        )
        .bind(workspace_id)
        .bind(account_id)
        .bind(m.run_id)
        .bind(micro)
        .execute(&mut *tx)
        .await?;
    }
    // Whoever changes the run's state waits for this, and finds the message; or this waits, and enters none.
    let (state, paused_reason, stopped): (i16, Option<i16>, bool) = sqlx::query_as(
        "-- enter: run
         select state, paused_reason, expanded_at is not null from run where workspace_id = $1 and run_id = $2 for share",
    )
    .bind(workspace_id)
    .bind(m.run_id)
    .fetch_one(&mut *tx)
    .await?;
    let found = standing(state, paused_reason, stopped)?;
    let known: Vec<i64> = m.costs.iter().map(|(account_id, _)| *account_id).collect();
    // Through an account that was added meanwhile nobody knows what it costs.
    if found != Standing::Open || flows::any_but(&mut tx, (workspace_id, m.run_id), &known).await? {
        return Ok(Entered::Refused(found));
    }
    let Some(seq) = write(&mut tx, workspace_id, m).await? else { return Ok(Entered::Used) };
    tx.commit().await?;
    Ok(Entered::As(seq))
}

async fn is_suppressed(c: &mut PgConnection, workspace_id: i32, m: OneOff<'_>) -> Result<bool> {
    let accounts: Vec<i64> = m.costs.iter().map(|(account_id, _)| *account_id).chain([EVERYWHERE]).collect();
    let found = sqlx::query_scalar(
        "-- enter: suppressed
         select exists (select from suppression where workspace_id = $1 and address in ($2, $3) and account_id = any ($4))",
    )
    .bind(workspace_id)
    .bind(m.address)
    .bind(m.hash)
    .bind(accounts)
    .fetch_one(c)
    .await?;
    Ok(found)
}

/// The message's rows; none if its key is used.
async fn write(c: &mut PgConnection, workspace_id: i32, m: OneOff<'_>) -> Result<Option<i32>> {
    let (seq, is_new): (i32, bool) = sqlx::query_as(
        "-- enter
         with grown as (
           update segment set hi = hi + 1, next_seq = next_seq + 1
           where workspace_id = $1 and run_id = $2 and segment_no = 0 returning hi - 1 as seq
         ), kept as (
           insert into one_off (workspace_id, campaign_id, key, run_id, seq, digest, at)
           select $1, $3, $4, $2, g.seq, $5, clock_timestamp() from grown g where $4 is not null
           on conflict do nothing returning seq
         ), frozen as (
           insert into recipient (workspace_id, seq, run_id, units, variant, address, country, params)
           select $1, g.seq, $2, $6, $7, $8, $9, $10 from grown g
         ), through as (
           select f.account_id from flow f
           where f.workspace_id = $1 and f.run_id = $2
           order by not can_send(f, (extract(epoch from clock_timestamp()) * 1000000)::bigint),
                    case when f.sharing = 2 then f.claimed::numeric / f.share end, f.rank limit 1
         ), waiting as (
           insert into retry (workspace_id, run_id, seq, attempts, kind, account_id, due_at, reserved)
           select $1, $2, g.seq, 0, 3, t.account_id, clock_timestamp(), 0 from grown g, through t
           returning seq
         )
         select w.seq, $4 is null or exists (select from kept) from waiting w",
    )
    .bind(workspace_id)
    .bind(m.run_id)
    .bind(m.campaign_id)
    .bind(m.key)
    .bind(m.digest)
    .bind(m.units)
    .bind(m.variant)
    .bind(m.address)
    .bind(m.country)
    .bind(m.params)
    .fetch_one(c)
    .await?;
    Ok(is_new.then_some(seq))
}
