//! When recipients may be written to: what workspace and campaign say of it, and the windows of segments.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;
use fanfare_domain::hours::{Hours, HoursError, Quiet, Window};
use fanfare_domain::limits::HOURS_MARGIN;
use fanfare_domain::state::{Category, RunKind};
use fanfare_domain::zone;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgPool};

use crate::{Error, Result, flows, runs};

/// Where every day ends last.
const LAST: Tz = Tz::Etc__GMTPlus12;

/// Quiet hours and send windows, as somebody wrote them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Written {
    /// Hours of the day in which nothing is sent.
    pub quiet: Option<String>,
    /// Windows in which something is.
    pub hours: Option<String>,
}

impl Written {
    /// The minutes that they leave.
    ///
    /// # Errors
    /// For what cannot be read, or leaves none.
    pub fn read(&self) -> Result<Hours, HoursError> {
        let quiet = self.quiet.as_deref().map(str::parse::<Quiet>).transpose()?;
        let hours = self.hours.as_deref().map(str::parse::<Hours>).transpose()?;
        Ok(quiet.map_or_else(Hours::always, Quiet::hours).and(&hours.unwrap_or_else(Hours::always)))
    }
}

/// When the recipients of a campaign may be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// By their clocks; those of the workspace and of the campaign, as far as both allow.
    pub hours: Hours,
    /// Where those live of whom nothing is known.
    pub zone: Tz,
    /// Not before this time of their clocks.
    pub local: Option<NaiveDateTime>,
}

impl Rules {
    /// Whether somebody may have to wait for another than the run's start.
    pub fn any(&self) -> bool {
        !self.hours.is_always() || self.local.is_some()
    }

    /// The window that is open from `from` on in a zone, or the next; `None` if there is none.
    pub fn first(&self, zone: Tz, from: DateTime<Utc>) -> Option<Window> {
        let local = self.local.map(|local| zone::instant(zone, local).0);
        self.hours.next(zone, local.map_or(from, |local| local.max(from)))
    }

    /// The same. Hours that have come to contradict each other never open: then one of no length, so that they
    /// are looked at again.
    pub fn window_or_wait(&self, zone: Tz, from: DateTime<Utc>) -> Window {
        let wait = from + TimeDelta::days(1);
        self.first(zone, from).unwrap_or(Window { opens: wait, closes: Some(wait) })
    }

    /// The window of what comes at `now`: one that is about to close does not count any more.
    pub fn window_at(&self, zone: Tz, now: DateTime<Utc>) -> Window {
        let window = self.window_or_wait(zone, now);
        let soon = now + HOURS_MARGIN;
        if window.closes.is_some_and(|closes| closes <= soon) { self.window_or_wait(zone, soon) } else { window }
    }
}

#[derive(FromRow)]
struct Row {
    quiet: Option<String>,
    hours: Option<String>,
    zone: Option<String>,
    local_date: Option<NaiveDate>,
    local_time: Option<NaiveTime>,
    exempt: bool,
    #[sqlx(json)]
    workspace: Vec<Written>,
}

impl Row {
    fn rules(self) -> Result<Rules> {
        let zone = match self.zone {
            Some(name) => zone::parse(&name).map_err(|e| Error::Corrupt(format!("a campaign's zone: {e}")))?,
            None => Tz::UTC,
        };
        if self.exempt {
            return Ok(Rules { hours: Hours::always(), zone, local: None });
        }
        let corrupt = |e: HoursError| Error::Corrupt(format!("sending hours: {e}"));
        let mut hours = Written { quiet: self.quiet, hours: self.hours }.read().map_err(corrupt)?;
        for written in &self.workspace {
            hours = hours.and(&written.read().map_err(corrupt)?);
        }
        Ok(Rules { hours, zone, local: self.local_date.zip(self.local_time).map(|(date, time)| date.and_time(time)) })
    }
}

/// The rules of a campaign as they are now.
///
/// # Errors
/// When it does not exist, or the database fails.
pub async fn of_campaign(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<Rules> {
    let row: Row = sqlx::query_as(
        "-- of_campaign
         select c.quiet, c.hours, coalesce(c.zone, w.zone) as zone, c.local_date, c.local_time, c.category = 2 as exempt,
                (select coalesce(jsonb_agg(jsonb_build_object('quiet', h.quiet, 'hours', h.hours)), '[]')
                 from workspace_hours h
                 where h.workspace_id = c.workspace_id and h.category in (0, c.category)) as workspace
         from campaign c join workspace w on w.workspace_id = c.workspace_id
         where c.workspace_id = $1 and c.campaign_id = $2",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .fetch_one(c)
    .await?;
    row.rules()
}

/// The rules of a run's campaign as they are now.
///
/// # Errors
/// When it does not exist, or the database fails.
pub async fn of_run(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<Rules> {
    let campaign_id =
        sqlx::query_scalar("select campaign_id from run where workspace_id = $1 and run_id = $2 -- of_run")
            .bind(workspace_id)
            .bind(run_id)
            .fetch_one(&mut *c)
            .await?;
    of_campaign(c, workspace_id, campaign_id).await
}

/// When a campaign that is created may write to people, beside what the workspace says.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewHours<'a> {
    /// Hours of the day in which nothing is sent.
    pub quiet: Option<&'a str>,
    /// Windows in which something is.
    pub hours: Option<&'a str>,
    /// Where those live of whom nothing is known.
    pub zone: Option<Tz>,
    /// Not before this time of the recipients' clocks.
    pub local: Option<NaiveDateTime>,
}

/// Notes when the campaign may write to people. It has to be applied to what runs.
///
/// # Errors
/// [`Error::Conflict`] for hours that cannot be read, or that leave nothing beside those of the workspace, and
/// for a local time that is past everywhere; else when the database fails.
pub async fn set_campaign(
    c: &mut PgConnection,
    (workspace_id, campaign_id): (i32, i64),
    new: NewHours<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    let written = Written { quiet: new.quiet.map(str::to_owned), hours: new.hours.map(str::to_owned) };
    written.read().map_err(|e| Error::Conflict(e.to_string()))?;
    if let Some(local) = new.local.filter(|local| zone::instant(LAST, *local).0 <= now) {
        return Err(Error::Conflict(format!("{local} is past all over the world: give a time to come")));
    }
    sqlx::query(
        "-- set_campaign
         update campaign set quiet = $3, hours = $4, zone = $5, local_date = $6, local_time = $7
         where workspace_id = $1 and campaign_id = $2",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(new.quiet)
    .bind(new.hours)
    .bind(new.zone.map(|zone| zone.name()))
    .bind(new.local.map(|local| local.date()))
    .bind(new.local.map(|local| local.time()))
    .execute(&mut *c)
    .await?;
    some_is_left(c, (workspace_id, campaign_id)).await
}

async fn some_is_left(c: &mut PgConnection, (workspace_id, campaign_id): (i32, i64)) -> Result<()> {
    if of_campaign(c, workspace_id, campaign_id).await?.hours.is_never() {
        let why = "the hours given and those of the workspace have no minute in common: nothing would ever be sent";
        return Err(Error::Conflict(format!("{why}; give others, or change those of the workspace")));
    }
    Ok(())
}

/// Changes the quiet hours or the windows of a campaign, as far as they are given; gives what they are then. It
/// has to be applied to what runs.
///
/// # Errors
/// [`Error::Conflict`] for hours that cannot be read, or that leave nothing beside those of the workspace; else
/// when the database fails.
pub async fn change_campaign(
    c: &mut PgConnection,
    (workspace_id, campaign_id): (i32, i64),
    quiet: Option<Option<&str>>,
    hours: Option<Option<&str>>,
) -> Result<Written> {
    let (quiet, hours): (Option<String>, Option<String>) = sqlx::query_as(
        "-- change_campaign
         update campaign set quiet = case when $3 then $4 else quiet end, hours = case when $5 then $6 else hours end
         where workspace_id = $1 and campaign_id = $2 returning quiet, hours",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(quiet.is_some())
    .bind(quiet.flatten())
    .bind(hours.is_some())
    .bind(hours.flatten())
    .fetch_one(&mut *c)
    .await?;
    let written = Written { quiet, hours };
    written.read().map_err(|e| Error::Conflict(e.to_string()))?;
    some_is_left(c, (workspace_id, campaign_id)).await?;
    Ok(written)
}

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

/// What a workspace says of the times at which its campaigns write to people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkspaceHours {
    /// Where those live of whom nothing is known.
    pub zone: Option<String>,
    /// By category; `None` = every category.
    pub of: Vec<(Option<Category>, Written)>,
}

/// What the workspace says.
///
/// # Errors
/// When it does not exist, or the database fails.
pub async fn of_workspace(c: &mut PgConnection, workspace_id: i32) -> Result<WorkspaceHours> {
    let zone = sqlx::query_scalar("select zone from workspace where workspace_id = $1 -- of_workspace")
        .bind(workspace_id)
        .fetch_one(&mut *c)
        .await?;
    let rows: Vec<(i16, Option<String>, Option<String>)> = sqlx::query_as(
        "-- of_workspace: hours
         select category, quiet, hours from workspace_hours where workspace_id = $1 order by category",
    )
    .bind(workspace_id)
    .fetch_all(c)
    .await?;
    let of = rows.into_iter().map(|(n, quiet, hours)| (Category::from_i16(n), Written { quiet, hours }));
    Ok(WorkspaceHours { zone, of: of.collect() })
}

/// Changes what the workspace says of the campaigns of a category, or of all; nothing written takes it back.
///
/// # Errors
/// When the database fails.
pub async fn set(c: &mut PgConnection, workspace_id: i32, category: Option<Category>, written: &Written) -> Result<()> {
    let category = category.map_or(0, Category::as_i16);
    if written.quiet.is_none() && written.hours.is_none() {
        sqlx::query("delete from workspace_hours where workspace_id = $1 and category = $2 -- set: forget")
            .bind(workspace_id)
            .bind(category)
            .execute(c)
            .await?;
        return Ok(());
    }
    sqlx::query(
        "-- set
         insert into workspace_hours (workspace_id, category, quiet, hours) values ($1, $2, $3, $4)
         on conflict (workspace_id, category) do update set quiet = excluded.quiet, hours = excluded.hours",
    )
    .bind(workspace_id)
    .bind(category)
    .bind(&written.quiet)
    .bind(&written.hours)
    .execute(c)
    .await?;
    Ok(())
}

/// Says where those live of whom nothing is known.
///
/// # Errors
/// When the database fails.
pub async fn set_zone(c: &mut PgConnection, workspace_id: i32, zone: Tz) -> Result<()> {
    sqlx::query("update workspace set zone = $2 where workspace_id = $1 -- set_zone")
        .bind(workspace_id)
        .bind(zone.name())
        .execute(c)
        .await?;
    Ok(())
}
