//! When recipients may be written to: what workspace and campaign say of it.

mod change;
mod windows;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;
use fanfare_domain::hours::{Hours, HoursError, Quiet, Window};
use fanfare_domain::limits::HOURS_MARGIN;
use fanfare_domain::zone;
use serde::Deserialize;
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result};

pub use change::{NewHours, WorkspaceHours, change_campaign, of_workspace, set, set_campaign, set_zone};
pub use windows::{Opening, Shut, Windowed, begin, next_opening, pass, roll, shut, windowed, with, without, zones};

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
        let local = self.local.map(|local| zone::instant(zone, local));
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
