//! The windows of segments: which are shut, to which they are moved on, and when one opens next.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use fanfare_domain::hours::Window;
use fanfare_domain::state::RunKind;
use fanfare_domain::zone;
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgPool};

use super::{Rules, of_campaign};
use crate::{Error, Result, flows, runs};

/// A run whose recipients are divided by their zones.
#[derive(Debug, Clone)]
pub struct Windowed {
    /// When they may be written to.
    pub rules: Rules,
    /// When it started: what zones are alike is asked from then on.
    pub started_at: DateTime<Utc>,
    /// The waves of the segments so far: number and zone, in order.
    pub waves: Vec<(i16, Tz)>,
}

/// What a running run of windows is expanded by; `None` for one without windows.
///
/// # Errors
/// When the database fails.
pub async fn windowed(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<Option<Windowed>> {
    let run: Option<(i64, DateTime<Utc>)> = sqlx::query_as(
        "-- windowed
         select r.campaign_id, coalesce(r.started_at, r.scheduled_for) from run r
         where r.workspace_id = $1 and r.run_id = $2
           and exists (select from flow f where f.workspace_id = $1 and f.run_id = $2 and f.windowed)",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_optional(&mut *c)
    .await?;
    let Some((campaign_id, started_at)) = run else { return Ok(None) };
    let known: Vec<(i16, String)> = sqlx::query_as(
        "-- windowed: waves
         select distinct on (wave) wave, zone from segment
         where workspace_id = $1 and run_id = $2 and zone is not null order by wave",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_all(&mut *c)
    .await?;
    let zone = |(wave, name): (i16, String)| match zone::parse(&name) {
        Ok(zone) => Ok((wave, zone)),
        Err(e) => Err(Error::Corrupt(format!("wave {wave} of run {run_id}: {e}"))),
    };
    let waves = known.into_iter().map(zone).collect::<Result<_>>()?;
    Ok(Some(Windowed { rules: of_campaign(c, workspace_id, campaign_id).await?, started_at, waves }))
}

/// Segments of one zone and window of a run.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Shut {
    /// Tenant.
    pub workspace_id: i32,
    /// The run.
    pub run_id: i64,
    /// Its campaign.
    pub campaign_id: i64,
    /// The zone; `None` where the segment was written before the run had windows.
    pub zone: Option<String>,
}

/// Zones of unfinished runs with a segment whose window is closed by `now`, or will be before anything
/// claimed now was sent, in every workspace.
///
/// # Errors
/// When the database fails.
pub async fn shut(c: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<Shut>> {
    let rows = sqlx::query_as(
        "-- shut
         select distinct g.workspace_id, g.run_id, r.campaign_id, g.zone
         from (select distinct workspace_id, run_id from flow where windowed) f
         join run r on r.workspace_id = f.workspace_id and r.run_id = f.run_id
         join segment g on g.workspace_id = f.workspace_id and g.run_id = f.run_id
         where g.closes_at <= $1 + interval '6 seconds' order by 1, 2, 4",
    )
    .bind(now)
    .fetch_all(c)
    .await?;
    Ok(rows)
}

/// Unfinished runs without windows of campaigns that have some now, with their workspaces: those of one, or of every
/// workspace, or of one campaign. Says of each whether its messages come one by one.
///
/// # Errors
/// When the database fails.
pub async fn without(
    c: &mut PgConnection,
    workspace_id: Option<i32>,
    campaign_id: Option<i64>,
) -> Result<Vec<(i32, i64, bool)>> {
    let runs = sqlx::query_as(
        "-- without
         select r.workspace_id, r.run_id, r.kind = $3
         from (select distinct workspace_id, run_id from flow where not windowed and ($1::int is null or workspace_id = $1)) f
         join run r on r.workspace_id = f.workspace_id and r.run_id = f.run_id
         where ($2::bigint is null or r.campaign_id = $2) and is_windowed(r.workspace_id, r.campaign_id) order by 1, 2",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(RunKind::Live.as_i16())
    .fetch_all(c)
    .await?;
    Ok(runs)
}

/// Unfinished runs with windows: those of a workspace, or of one campaign.
///
/// # Errors
/// When the database fails.
pub async fn with(c: &mut PgConnection, workspace_id: i32, campaign_id: Option<i64>) -> Result<Vec<i64>> {
    let runs = sqlx::query_scalar(
        "-- with
         select distinct f.run_id from flow f join run r on r.workspace_id = f.workspace_id and r.run_id = f.run_id
         where f.workspace_id = $1 and f.windowed and ($2::bigint is null or r.campaign_id = $2) order by f.run_id",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .fetch_all(c)
    .await?;
    Ok(runs)
}

/// Waits for a segment of the run that is being committed, if one is, and for messages that are being entered: from
/// then on whoever expands or enters sees what was committed before.
///
/// # Errors
/// When the database fails.
pub async fn pass(pool: &PgPool, workspace_id: i32, run_id: i64) -> Result<()> {
    let mut tx = pool.begin().await?;
    flows::lock(&mut tx, workspace_id, run_id).await?;
    runs::lock(&mut tx, workspace_id, run_id).await?;
    Ok(tx.commit().await?)
}

/// Gives a run windows from `now` on. What is in it by then is shut until its window is moved on, and what workers hold
/// of it goes back.
///
/// # Errors
/// When the database fails.
pub async fn begin(pool: &PgPool, workspace_id: i32, run_id: i64, now: DateTime<Utc>) -> Result<()> {
    let mut tx = pool.begin().await?;
    flows::lock(&mut tx, workspace_id, run_id).await?;
    runs::lock(&mut tx, workspace_id, run_id).await?;
    sqlx::query("update flow set windowed = true, epoch = epoch + 1 where workspace_id = $1 and run_id = $2 -- begin")
        .bind(workspace_id)
        .bind(run_id)
        .execute(&mut *tx)
        .await?;
    sqlx::query("update segment set closes_at = $3 where workspace_id = $1 and run_id = $2 -- begin: shut")
        .bind(workspace_id)
        .bind(run_id)
        .bind(now)
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}

/// All zones of the unfinished runs with windows of a workspace, or of one campaign of it.
///
/// # Errors
/// When the database fails.
pub async fn zones(c: &mut PgConnection, workspace_id: i32, campaign_id: Option<i64>) -> Result<Vec<Shut>> {
    let rows = sqlx::query_as(
        "-- zones
         select distinct g.workspace_id, g.run_id, r.campaign_id, g.zone
         from (select distinct workspace_id, run_id from flow where workspace_id = $1 and windowed) f
         join run r on r.workspace_id = f.workspace_id and r.run_id = f.run_id
         join segment g on g.workspace_id = f.workspace_id and g.run_id = f.run_id
         where $2::bigint is null or r.campaign_id = $2 order by 1, 2, 4",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .fetch_all(c)
    .await?;
    Ok(rows)
}

/// Gives the segments of a zone of a run another window; of those only that are shut by `now`, unless `all`.
/// What waits there for another attempt is put off until then, so that claims do not look at it all night; with
/// `all` what was put off for a later window is due when this one opens. None of it is due before its own time,
/// that of its back-off or of the provider; what expires before is due at its expiry, to be counted. With `all` workers
/// hand back what they hold of the run. Says how many were moved.
///
/// # Errors
/// When the database fails; nothing is moved then.
pub async fn roll(pool: &PgPool, shut: &Shut, window: Window, (now, all): (DateTime<Utc>, bool)) -> Result<i64> {
    let mut tx = pool.begin().await?;
    // Flows before segments: the order of the claim and of the sweep. And behind every message that is being
    // entered by the window of before.
    flows::lock(&mut tx, shut.workspace_id, shut.run_id).await?;
    runs::lock(&mut tx, shut.workspace_id, shut.run_id).await?;
    let moved = sqlx::query_scalar(
        "-- roll
         with moved as (
           update segment g set opens_at = $4, closes_at = $5
           where g.workspace_id = $1 and g.run_id = $2 and g.zone is not distinct from $3
             and ($7 or g.closes_at <= $6 + interval '6 seconds')
           returning g.lo, g.hi
         ), due as (
           -- By the database's clock, as all that waits for another attempt.
           select clock_timestamp() + greatest($4 - $6, interval '0') as at
         ), put_off as (
           update retry r set not_before = coalesce(r.not_before, r.due_at),
             due_at = least(greatest(d.at, coalesce(r.not_before, r.due_at)), (
               select clock_timestamp() + greatest(e.expires_at - $6, interval '0') from expiry e
               where e.workspace_id = $1 and e.run_id = $2 and e.seq = r.seq and r.kind <> 2))
           from moved m, due d
           where r.workspace_id = $1 and r.run_id = $2 and r.seq >= m.lo and r.seq < m.hi and r.due_at < 'infinity'
             and (r.due_at < d.at and $4 > $6 or $7 and r.due_at > d.at and r.not_before is not null)
         )
         select count(*) from moved",
    )
    .bind(shut.workspace_id)
    .bind(shut.run_id)
    .bind(&shut.zone)
    .bind(window.opens)
    .bind(window.closes)
    .bind(now)
    .bind(all)
    .fetch_one(&mut *tx)
    .await?;
    if all {
        // Workers know of their messages when the window of before would close.
        sqlx::query("update flow set epoch = epoch + 1 where workspace_id = $1 and run_id = $2 -- roll: hand back")
            .bind(shut.workspace_id)
            .bind(shut.run_id)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(moved)
}

/// When a run goes on of which nothing may be sent now: the next opening of a segment that still has something
/// to send. `None` if one is open, or nothing waits.
///
/// # Errors
/// When the database fails.
pub async fn next_opening(
    c: &mut PgConnection,
    workspace_id: i32,
    run_id: i64,
    now: DateTime<Utc>,
) -> Result<Option<Opening>> {
    let row: Option<Opening> = sqlx::query_as(
        "-- next_opening
         with waiting as (
           select g.zone, g.opens_at, g.closes_at, is_open(g, $3) as open from segment g
           where g.workspace_id = $1 and g.run_id = $2
             and exists (select from flow f where f.workspace_id = $1 and f.run_id = $2 and f.windowed)
             and (g.next_seq < g.hi
               or exists (select from returned r where r.workspace_id = $1 and r.run_id = $2 and r.lo >= g.lo and r.lo < g.hi)
               or exists (select from retry r where r.workspace_id = $1 and r.run_id = $2 and r.due_at < 'infinity'
                            and r.seq >= g.lo and r.seq < g.hi)))
         select zone, opens_at from waiting
         where not exists (select from waiting where open) and opens_at > $3 order by opens_at, zone limit 1",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(now)
    .fetch_optional(c)
    .await?;
    Ok(row)
}

/// When a window opens next.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct Opening {
    /// Where.
    pub zone: Option<String>,
    /// When.
    pub opens_at: DateTime<Utc>,
}
