//! Runs: launching, starting at their time, pausing, cancelling. How they end stands in `finish`.

use chrono::{DateTime, Utc};
use fanfare_domain::cohort::Member;
use fanfare_domain::price::Prices;
use fanfare_domain::state::{PausedReason, RunKind, RunState, Sharing};
use serde::Deserialize;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use crate::campaigns::Campaign;
use crate::{Error, Result, flows, transitions};

/// So many messages must be decided before their failures say anything.
const FAILURES_OF: i64 = 100;

/// A run to be inserted.
#[derive(Debug, Clone)]
pub struct NewRun<'a> {
    /// Its id.
    pub run_id: i64,
    /// Its campaign.
    pub campaign_id: i64,
    /// Who makes it: a person, or a role of the program.
    pub actor: &'a str,
    /// Its accounts, in their order; at least one.
    pub accounts: &'a [NewRunAccount<'a>],
    /// How they divide it.
    pub sharing: Sharing,
    /// To which of its parent's recipients.
    pub cohort: &'a [Member],
    /// Points (`domain::split`) of those it goes to, from and to; `None` = to all.
    pub part: Option<(i64, i64)>,
    /// What is expected of it.
    pub forecast: Option<serde_json::Value>,
    /// Why it starts paused, if it does.
    pub held: Option<PausedReason>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, FromRow)]
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
    /// Past its expiry: what is unsent counts as expired.
    pub expired: bool,
}

impl<'a> NewRun<'a> {
    /// A run of this campaign that starts at once, with what the campaign says of it.
    pub fn of(campaign: &Campaign, run_id: i64, actor: &'a str, now: DateTime<Utc>) -> Self {
        Self {
            run_id,
            campaign_id: campaign.campaign_id,
            actor,
            accounts: &[],
            sharing: campaign.sharing,
            scheduled_for: now,
            starts_now: true,
            kind: RunKind::Launch,
            parent_run_id: None,
            step: None,
            arms: &[],
            cohort: &[],
            part: None,
            forecast: None,
            held: None,
            fallback_version: campaign.fallback.as_ref().map(|f| f.version),
            variables: &[],
            planned: 0,
            weight: campaign.weight,
            expires_at: campaign.expires_at(now),
        }
    }
}

/// Inserts a run, its accounts, its flows and the mark that its audience is to be expanded; of a live run
/// instead the segment that its messages are to be entered into.
///
/// # Errors
/// When the campaign has a run of that time already, or the database fails.
pub async fn insert(c: &mut PgConnection, workspace_id: i32, run: &NewRun<'_>) -> Result<()> {
    let state = match (run.starts_now, run.held) {
        (false, _) => RunState::Scheduled,
        (true, None) => RunState::Running,
        (true, Some(_)) => RunState::Paused,
    };
    let done = sqlx::query(
        "-- insert
         insert into run (workspace_id, run_id, campaign_id, scheduled_for, variables, planned,
           state, expires_at, started_at, fallback_version, kind, parent_run_id, step, cohort, part_from, part_to, forecast,
           paused_reason)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
         on conflict do nothing",
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
    .bind((!run.cohort.is_empty()).then(|| run.cohort.iter().map(Member::to_string).collect::<Vec<_>>()))
    .bind(run.part.map(|part| part.0))
    .bind(run.part.map(|part| part.1))
    .bind(&run.forecast)
    .bind(run.held.map(PausedReason::as_i16))
    .execute(&mut *c)
    .await?;
    if done.rows_affected() == 0 {
        let at = run.scheduled_for;
        return Err(Error::Conflict(format!("the campaign has such a run of {at} already: choose another time")));
    }
    for (number, arm) in (0..).zip(run.arms) {
        insert_arm(c, workspace_id, run.run_id, number, arm).await?;
    }
    for (rank, account) in (0..).zip(run.accounts) {
        insert_account(c, workspace_id, run, rank, account).await?;
    }
    let sql = match run.kind {
        // It has one segment, which grows, and is claimed already as far as it goes.
        RunKind::Live => {
            "-- insert: segment
             insert into segment (workspace_id, run_id, segment_no, lo, hi, next_seq, after_address,
               no_address, duplicate, suppressed, missing) values ($1, $2, 0, 0, 0, 0, '', 0, 0, 0, 0)"
        }
        _ => "-- insert: expansion\n insert into expansion (workspace_id, run_id) values ($1, $2)",
    };
    sqlx::query(sql).bind(workspace_id).bind(run.run_id).execute(&mut *c).await?;
    if state == RunState::Running {
        flows::open(c, workspace_id, run.run_id).await?;
    }
    transitions::of_run(c, (workspace_id, run.run_id), (None, state), run.actor, run.held.map(PausedReason::as_str))
        .await
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
         insert into flow (workspace_id, account_id, run_id, weight, runnable, reserve_each, sharing, rank, share, lane, windowed)
         values ($1, $2, $3, $4, false, $5, $6, $7, $8, $9, $9 = 1 and is_windowed($1, $10))",
    )
    .bind(workspace_id)
    .bind(account.account_id)
    .bind(run.run_id)
    .bind(run.weight)
    .bind(account.reserve_each)
    .bind(sharing)
    .bind(rank)
    .bind(account.share.unwrap_or(1))
    .bind(i16::from(run.kind != RunKind::Live))
    .bind(run.campaign_id)
    .execute(c)
    .await?;
    Ok(())
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
        expired: bool,
    }
    let (campaign_id, unfinished, run_id) = match which {
        Which::Newest(campaign_id) => (Some(campaign_id), false, None),
        Which::Unfinished(campaign_id) => (Some(campaign_id), true, None),
        Which::Run(run_id) => (None, false, Some(run_id)),
    };
    let rows: Vec<Row> = sqlx::query_as(
        "-- standings
         select r.run_id, r.kind, r.state, r.paused_reason, r.scheduled_for, r.started_at,
                coalesce(r.expires_at <= clock_timestamp(), false) as expired
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
            expired: r.expired,
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
            let change = (Some(RunState::Scheduled), RunState::Running);
            transitions::of_run(c, (workspace_id, run_id), change, transitions::SCHEDULER, None).await?;
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

/// A running run of which too much failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Failing {
    /// Tenant.
    pub workspace_id: i32,
    /// The run.
    pub run_id: i64,
    /// Failed since its start, or since a person let it go on in spite of it.
    pub failed: i64,
    /// Sent or failed since then.
    pub decided: i64,
    /// What the campaign takes, in thousandths.
    pub limit_permille: i32,
}

/// Running runs of which more failed than their campaigns take, of [`FAILURES_OF`] messages at least. What had
/// failed when a person resumed one does not count any more.
///
/// # Errors
/// When the database fails.
pub async fn failing(c: &mut PgConnection) -> Result<Vec<Failing>> {
    Ok(sqlx::query_as(
        "-- failing
         select r.workspace_id, r.run_id, p.failed - b.failed as failed, p.decided - b.decided as decided,
                c.fails_at_permille as limit_permille
         from campaign c
         join run r on r.workspace_id = c.workspace_id and r.campaign_id = c.campaign_id and r.state = 2
         cross join lateral (
           select coalesce(sum(failed), 0)::bigint as failed, coalesce(sum(sent + failed), 0)::bigint as decided
           from progress where workspace_id = r.workspace_id and run_id = r.run_id) p
         cross join lateral (select r.forgiven_failed as failed, r.forgiven_decided as decided) b
         where c.fails_at_permille is not null and p.decided - b.decided >= $1
           and (p.failed - b.failed) * 1000 > (p.decided - b.decided) * c.fails_at_permille",
    )
    .bind(FAILURES_OF)
    .fetch_all(c)
    .await?)
}

/// Counts what has failed so far no more against the run: a person has seen it.
///
/// # Errors
/// When the database fails.
pub async fn forgive(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<()> {
    sqlx::query(
        "-- forgive
         update run r set forgiven_failed = p.failed, forgiven_decided = p.decided
         from (select coalesce(sum(failed), 0)::bigint as failed, coalesce(sum(sent + failed), 0)::bigint as decided
               from progress where workspace_id = $1 and run_id = $2) p
         where r.workspace_id = $1 and r.run_id = $2",
    )
    .bind(workspace_id)
    .bind(run_id)
    .execute(c)
    .await?;
    Ok(())
}

/// Notes in words why a run is paused.
///
/// # Errors
/// When the database fails.
pub async fn say_why(c: &mut PgConnection, workspace_id: i32, run_id: i64, why: &str) -> Result<()> {
    sqlx::query("-- say_why\n update run set paused_detail = $3 where workspace_id = $1 and run_id = $2")
        .bind(workspace_id)
        .bind(run_id)
        .bind(why)
        .execute(c)
        .await?;
    Ok(())
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

/// Whether the audience of a run of this kind is not complete.
///
/// # Errors
/// When the database fails.
pub async fn is_expanding(c: &mut PgConnection, workspace_id: i32, campaign_id: i64, kind: RunKind) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "-- is_expanding
         select exists (select from run where workspace_id = $1 and campaign_id = $2 and kind = $3 and state in (2, 3)
                          and expanded_at is null)",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(kind.as_i16())
    .fetch_one(c)
    .await?)
}

/// A run of a campaign, in short.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Where it stands.
    pub standing: Standing,
    /// When its last message was decided.
    pub finished_at: Option<DateTime<Utc>>,
    /// The run whose messages decide who its recipients are.
    pub parent_run_id: Option<i64>,
    /// Of a follow-up: the name of the step.
    pub step: Option<String>,
    /// Its messages so far.
    pub total: i64,
    /// Accepted.
    pub sent: i64,
    /// Why it is paused, in words.
    pub paused_detail: Option<String>,
    /// What was expected of it.
    pub forecast: Option<serde_json::Value>,
}

/// The runs of a campaign, the oldest first.
///
/// # Errors
/// When the database fails.
pub async fn list(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<Vec<Listed>> {
    #[derive(FromRow)]
    struct Row {
        run_id: i64,
        finished_at: Option<DateTime<Utc>>,
        parent_run_id: Option<i64>,
        step: Option<String>,
        total: i64,
        sent: i64,
        paused_detail: Option<String>,
        forecast: Option<serde_json::Value>,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "-- list
         select r.run_id, r.finished_at, r.parent_run_id, f.name as step, r.paused_detail, r.forecast,
                (select coalesce(sum(hi - lo), 0) from segment g
                 where g.workspace_id = r.workspace_id and g.run_id = r.run_id)::bigint as total,
                (select coalesce(sum(sent), 0) from progress p
                 where p.workspace_id = r.workspace_id and p.run_id = r.run_id)::bigint as sent
         from run r
         left join follow_up f on f.workspace_id = r.workspace_id and f.campaign_id = r.campaign_id and f.step = r.step
         where r.workspace_id = $1 and r.campaign_id = $2 order by r.run_id",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .fetch_all(&mut *c)
    .await?;
    let mut runs = Vec::new();
    for row in rows {
        runs.push(Listed {
            standing: standing(c, workspace_id, row.run_id).await?,
            finished_at: row.finished_at,
            parent_run_id: row.parent_run_id,
            step: row.step,
            total: row.total,
            sent: row.sent,
            paused_detail: row.paused_detail,
            forecast: row.forecast,
        });
    }
    Ok(runs)
}

/// Bulk messages that an account has still to send for running runs of other campaigns, with the weight of each: of
/// a run through several accounts an equal part.
///
/// # Errors
/// When the database fails.
pub async fn beside(
    c: &mut PgConnection,
    (workspace_id, account_id): (i32, i64),
    campaign_id: i64,
) -> Result<Vec<(i64, i32)>> {
    Ok(sqlx::query_as(
        "-- beside
         select (greatest(0, s.waiting + case when r.expanded_at is null
                     -- Of a part, about so much of those who are not known yet.
                     then (r.planned - s.seen) * coalesce((r.part_to - r.part_from) / 4294967296.0, 1) else 0 end)
                   / n.accounts)::bigint,
                f.weight
         from flow f
         join run r on r.workspace_id = f.workspace_id and r.run_id = f.run_id and r.campaign_id <> $3
         cross join lateral (
           select coalesce(sum(g.hi - g.next_seq), 0) as waiting,
                  coalesce(sum(g.hi - g.lo + g.no_address + g.duplicate + g.suppressed + g.missing + g.reached + g.minus
                    + g.outside + g.no_consent + g.capped + g.other_part + g.gone + g.answered), 0) as seen
           from segment g where g.workspace_id = f.workspace_id and g.run_id = f.run_id) s
         cross join lateral (
           select count(*) as accounts from flow o
           where o.workspace_id = f.workspace_id and o.run_id = f.run_id and o.runnable) n
         where f.workspace_id = $1 and f.account_id = $2 and f.runnable and f.lane = 1 and r.state = 2",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(campaign_id)
    .fetch_all(c)
    .await?)
}
