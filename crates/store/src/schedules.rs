//! Schedules of campaigns, and what became of their ticks. Whoever deals with a tick, or changes the
//! schedule, holds its row locked, before the campaign's.

use chrono::{DateTime, Utc};
use fanfare_domain::schedule::{self, Missed, Pattern, Tz};
use fanfare_domain::state::{Overlap, ScheduleForm, ScheduleState, TickVerdict};
use fanfare_domain::zone;
use sqlx::{FromRow, PgConnection};

use crate::error::ensure_affected;
use crate::{Error, Result};

/// A schedule to be given to a campaign.
#[derive(Debug, Clone, Copy)]
pub struct NewSchedule<'a> {
    /// How it is written.
    pub form: ScheduleForm,
    /// As it was written; of one time, that time by the clocks of the zone.
    pub expression: &'a str,
    /// By whose clocks it goes.
    pub zone: Tz,
    /// It has no tick before.
    pub starts_at: DateTime<Utc>,
    /// It has no tick after.
    pub ends_at: Option<DateTime<Utc>>,
    /// It ends after so many runs.
    pub runs_max: Option<i32>,
    /// What becomes of missed ticks.
    pub missed: Missed,
    /// What becomes of a tick whose predecessor's run is not over.
    pub overlap: Overlap,
    /// Of one time: seconds after it from which on it is held for a person.
    pub latest_after_s: Option<i64>,
    /// Its first tick.
    pub next_at: DateTime<Utc>,
}

/// The schedule of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Name of the campaign.
    pub campaign: String,
    /// How it is written.
    pub form: ScheduleForm,
    /// As it was written.
    pub expression: String,
    /// By whose clocks it goes.
    pub zone: Tz,
    /// It has no tick before.
    pub starts_at: DateTime<Utc>,
    /// It has no tick after.
    pub ends_at: Option<DateTime<Utc>>,
    /// It ends after so many runs.
    pub runs_max: Option<i32>,
    /// What becomes of missed ticks.
    pub missed: Missed,
    /// What becomes of a tick whose predecessor's run is not over.
    pub overlap: Overlap,
    /// Of one time: seconds after it from which on it is held for a person.
    pub latest_after_s: Option<i64>,
    /// Its state.
    pub state: ScheduleState,
    /// The first tick not dealt with.
    pub next_at: Option<DateTime<Utc>>,
    /// Runs so far.
    pub fired: i32,
}

impl Schedule {
    /// Its instants, unless it has one only.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when what is stored cannot be read.
    pub fn recurrence(&self) -> Result<Option<schedule::Schedule>> {
        let pattern = match self.form {
            ScheduleForm::Cron => Pattern::cron(&self.expression),
            ScheduleForm::Words => Pattern::words(&self.expression),
            ScheduleForm::Once => return Ok(None),
        };
        let pattern = pattern.map_err(|e| Error::Corrupt(format!("schedule: {e}")))?;
        Ok(Some(schedule::Schedule { pattern, zone: self.zone }))
    }

    /// The first tick after `at`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when what is stored cannot be read.
    pub fn after(&self, at: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        let next = self.recurrence()?.and_then(|recurrence| recurrence.after(at)).map(|instant| instant.at);
        Ok(next.filter(|next| self.ends_at.is_none_or(|end| *next <= end)))
    }

    /// How many runs it may still have.
    pub fn runs_left(&self) -> i32 {
        self.runs_max.map_or(i32::MAX, |most| (most - self.fired).max(0))
    }
}

/// What became of an instant, or of several in a row with one fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The instant, or the first.
    pub scheduled_for: DateTime<Utc>,
    /// The last.
    pub through: DateTime<Utc>,
    /// How many.
    pub ticks: i32,
    /// What became of them.
    pub verdict: TickVerdict,
    /// The run that it fired.
    pub run_id: Option<i64>,
    /// Why it has none, in words.
    pub why: Option<String>,
    /// When that was decided.
    pub decided_at: DateTime<Utc>,
}

/// Gives a campaign a schedule, in the place of the one that it has.
///
/// # Errors
/// When the database fails.
pub async fn put(c: &mut PgConnection, workspace_id: i32, campaign_id: i64, new: &NewSchedule<'_>) -> Result<()> {
    let (missed, missed_max) = new.missed.stored();
    sqlx::query(
        "-- schedules: put
         insert into schedule (workspace_id, campaign_id, form, expression, zone, starts_at, ends_at, runs_max,
           missed, missed_max, overlap, latest_after_s, state, next_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1, $13)
         on conflict (workspace_id, campaign_id) do update
           set form = excluded.form, expression = excluded.expression, zone = excluded.zone,
             starts_at = excluded.starts_at, ends_at = excluded.ends_at, runs_max = excluded.runs_max,
             missed = excluded.missed, missed_max = excluded.missed_max, overlap = excluded.overlap,
             latest_after_s = excluded.latest_after_s, state = 1, next_at = excluded.next_at, fired = 0",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(new.form.as_i16())
    .bind(new.expression)
    .bind(new.zone.name())
    .bind(new.starts_at)
    .bind(new.ends_at)
    .bind(new.runs_max)
    .bind(missed)
    .bind(missed_max)
    .bind(new.overlap.as_i16())
    .bind(new.latest_after_s)
    .bind(new.next_at)
    .execute(c)
    .await?;
    Ok(())
}

/// The schedule of a campaign, if it has one.
///
/// # Errors
/// When the database fails.
pub async fn get(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<Option<Schedule>> {
    #[derive(FromRow)]
    struct Row {
        campaign: String,
        form: i16,
        expression: String,
        zone: String,
        starts_at: DateTime<Utc>,
        ends_at: Option<DateTime<Utc>>,
        runs_max: Option<i32>,
        missed: i16,
        missed_max: i32,
        overlap: i16,
        latest_after_s: Option<i64>,
        state: i16,
        next_at: Option<DateTime<Utc>>,
        fired: i32,
    }
    let row: Option<Row> = sqlx::query_as(
        "-- schedules: get
         select c.name as campaign, s.form, s.expression, s.zone, s.starts_at, s.ends_at, s.runs_max, s.missed, s.missed_max,
                s.overlap, s.latest_after_s, s.state, s.next_at, s.fired
         from schedule s join campaign c on c.workspace_id = s.workspace_id and c.campaign_id = s.campaign_id
         where s.workspace_id = $1 and s.campaign_id = $2",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .fetch_optional(c)
    .await?;
    let Some(r) = row else { return Ok(None) };
    let corrupt = |what: &str, n: i16| Error::Corrupt(format!("{what} {n} of the schedule of campaign {campaign_id}"));
    Ok(Some(Schedule {
        form: ScheduleForm::from_i16(r.form).ok_or_else(|| corrupt("form", r.form))?,
        zone: zone::parse(&r.zone).map_err(|e| Error::Corrupt(e.to_string()))?,
        missed: Missed::from_stored(r.missed, r.missed_max).ok_or_else(|| corrupt("missed", r.missed))?,
        overlap: Overlap::from_i16(r.overlap).ok_or_else(|| corrupt("overlap", r.overlap))?,
        state: ScheduleState::from_i16(r.state).ok_or_else(|| corrupt("state", r.state))?,
        campaign: r.campaign,
        expression: r.expression,
        starts_at: r.starts_at,
        ends_at: r.ends_at,
        runs_max: r.runs_max,
        latest_after_s: r.latest_after_s,
        next_at: r.next_at,
        fired: r.fired,
    }))
}

/// Schedules with a tick to deal with, in every workspace, as workspace and campaign: one that is due by
/// `now`, or one in the queue whose predecessors' runs are over.
///
/// # Errors
/// When the database fails.
pub async fn due(c: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<(i32, i64)>> {
    let due = sqlx::query_as(
        "-- schedules: due
         select s.workspace_id, s.campaign_id from schedule s
         where s.state = 1 and (s.next_at <= $1 or (
           exists (select from tick t where t.workspace_id = s.workspace_id and t.campaign_id = s.campaign_id and t.verdict = 5)
           and not exists (select from run r where r.workspace_id = s.workspace_id and r.campaign_id = s.campaign_id
                             and r.kind in (1, 2) and r.state < 5)))
         order by s.next_at",
    )
    .bind(now)
    .fetch_all(c)
    .await?;
    Ok(due)
}

/// Takes a schedule for this transaction. False when another scheduler has it. What it says is to be read
/// in a statement of its own afterwards.
///
/// # Errors
/// When the database fails.
pub async fn take(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<bool> {
    let done = sqlx::query(
        "-- schedules: take
         select from schedule where workspace_id = $1 and campaign_id = $2 for update skip locked",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Locks the schedule of a campaign, if it has one, and waits for whoever has it.
///
/// # Errors
/// When the database fails.
pub async fn lock(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<()> {
    sqlx::query("select from schedule where workspace_id = $1 and campaign_id = $2 for update -- schedules: lock")
        .bind(workspace_id)
        .bind(campaign_id)
        .execute(c)
        .await?;
    Ok(())
}

/// Whether a launch or an earlier tick of the campaign has a run that is not over.
///
/// # Errors
/// When the database fails.
pub async fn is_busy(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<bool> {
    let busy = sqlx::query_scalar(
        "-- schedules: is busy
         select exists (select from run where workspace_id = $1 and campaign_id = $2 and kind in (1, 2) and state < 5)",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .fetch_one(c)
    .await?;
    Ok(busy)
}

/// The ticks in the queue, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn queued(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<Vec<DateTime<Utc>>> {
    let queued = sqlx::query_scalar(
        "-- schedules: queued
         select scheduled_for from tick where workspace_id = $1 and campaign_id = $2 and verdict = 5 order by scheduled_for",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .fetch_all(c)
    .await?;
    Ok(queued)
}

/// Notes what became of a tick, or of one that waited until now.
///
/// # Errors
/// When something else became of it before, or the database fails.
pub async fn record(c: &mut PgConnection, workspace_id: i32, campaign_id: i64, tick: &Tick) -> Result<()> {
    let done = sqlx::query(
        "-- schedules: record
         insert into tick as t (workspace_id, campaign_id, scheduled_for, through, ticks, verdict, run_id, why, decided_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (workspace_id, campaign_id, scheduled_for) do update
           set verdict = excluded.verdict, run_id = excluded.run_id, why = excluded.why, decided_at = excluded.decided_at
           where t.verdict in (5, 6)",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(tick.scheduled_for)
    .bind(tick.through)
    .bind(tick.ticks)
    .bind(tick.verdict.as_i16())
    .bind(tick.run_id)
    .bind(&tick.why)
    .bind(tick.decided_at)
    .execute(c)
    .await?;
    ensure_affected("schedules::record", done.rows_affected(), 1)
}

/// Notes how far a schedule is, and that it fired so often.
///
/// # Errors
/// When it does not exist or the database fails.
pub async fn advance(
    c: &mut PgConnection,
    (workspace_id, campaign_id): (i32, i64),
    state: ScheduleState,
    next_at: Option<DateTime<Utc>>,
    fired: i32,
) -> Result<()> {
    let done = sqlx::query(
        "-- schedules: advance
         update schedule set state = $3, next_at = $4, fired = fired + $5 where workspace_id = $1 and campaign_id = $2",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(state.as_i16())
    .bind(next_at)
    .bind(fired)
    .execute(c)
    .await?;
    ensure_affected("schedules::advance", done.rows_affected(), 1)
}

/// Ends a schedule that has not ended yet: what waits is dropped. Says whether it had not.
///
/// # Errors
/// When the database fails.
pub async fn end(c: &mut PgConnection, workspace_id: i32, campaign_id: i64, now: DateTime<Utc>) -> Result<bool> {
    drop_waiting(c, (workspace_id, campaign_id), "the schedule was ended", now).await?;
    let done = sqlx::query(
        "-- schedules: end
         update schedule set state = 4, next_at = null where workspace_id = $1 and campaign_id = $2 and state <> 4",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Drops the ticks that wait for a run's end or for a person.
///
/// # Errors
/// When the database fails.
pub async fn drop_waiting(
    c: &mut PgConnection,
    (workspace_id, campaign_id): (i32, i64),
    why: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "-- schedules: drop waiting
         update tick set verdict = 9, why = $3, decided_at = $4
         where workspace_id = $1 and campaign_id = $2 and verdict in (5, 6)",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(why)
    .bind(now)
    .execute(c)
    .await?;
    Ok(())
}

/// Lets a run that a person launched stand for the single start of its campaign, whether that is yet to come, paused
/// or held: nobody is sent to twice. The schedule is over; a time that is past has become this run. Says whether there
/// was one.
///
/// # Errors
/// When the database fails.
pub async fn stand_in(
    c: &mut PgConnection,
    workspace_id: i32,
    campaign_id: i64,
    run_id: i64,
    now: DateTime<Utc>,
) -> Result<bool> {
    let waits: Option<DateTime<Utc>> = sqlx::query_scalar(
        "-- schedules: stand in
         select coalesce(s.next_at, (select max(t.scheduled_for) from tick t
                                     where t.workspace_id = $1 and t.campaign_id = $2 and t.verdict = 6))
         from schedule s where s.workspace_id = $1 and s.campaign_id = $2 and s.form = 3 and s.state < 4",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .fetch_optional(&mut *c)
    .await?
    .flatten();
    let Some(at) = waits else { return Ok(false) };
    if at <= now {
        let why = Some("a person launched it".to_owned());
        let (verdict, run_id) = (TickVerdict::Fired, Some(run_id));
        let tick = Tick { scheduled_for: at, through: at, ticks: 1, verdict, run_id, why, decided_at: now };
        record(c, workspace_id, campaign_id, &tick).await?;
    }
    advance(c, (workspace_id, campaign_id), ScheduleState::Ended, None, 1).await?;
    Ok(true)
}

/// What became of the newest ticks, newest first.
///
/// # Errors
/// When the database fails.
pub async fn ticks(c: &mut PgConnection, workspace_id: i32, campaign_id: i64, limit: i64) -> Result<Vec<Tick>> {
    #[derive(FromRow)]
    struct Row {
        scheduled_for: DateTime<Utc>,
        through: DateTime<Utc>,
        ticks: i32,
        verdict: i16,
        run_id: Option<i64>,
        why: Option<String>,
        decided_at: DateTime<Utc>,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "-- schedules: ticks
         select scheduled_for, through, ticks, verdict, run_id, why, decided_at from tick
         where workspace_id = $1 and campaign_id = $2 order by scheduled_for desc limit $3",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(limit)
    .fetch_all(c)
    .await?;
    let tick = |r: Row| {
        Ok(Tick {
            verdict: TickVerdict::from_i16(r.verdict)
                .ok_or_else(|| Error::Corrupt(format!("verdict {}", r.verdict)))?,
            scheduled_for: r.scheduled_for,
            through: r.through,
            ticks: r.ticks,
            run_id: r.run_id,
            why: r.why,
            decided_at: r.decided_at,
        })
    };
    rows.into_iter().map(tick).collect()
}
