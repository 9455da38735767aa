//! What workspace and campaign say of the hours of their recipients, and how that is changed.

use chrono::{DateTime, NaiveDateTime, Utc};
use chrono_tz::Tz;
use fanfare_domain::state::Category;
use fanfare_domain::zone;
use sqlx::PgConnection;

use super::{Written, of_campaign};
use crate::{Error, Result};

/// Where every day ends last.
const LAST: Tz = Tz::Etc__GMTPlus12;

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
    if let Some(local) = new.local.filter(|local| zone::instant(LAST, *local) <= now) {
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
