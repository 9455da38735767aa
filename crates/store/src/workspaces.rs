//! Workspaces: the tenants. One is made by its first use, [`DEFAULT`] by any.

use chrono::{DateTime, Utc};
use fanfare_domain::state::Consent;
use serde::Serialize;
use sqlx::PgConnection;

use crate::error::ensure_affected;
use crate::nearest::nearest;
use crate::{Error, Result};

/// The workspace of whoever names none.
pub const DEFAULT: &str = "default";

/// The id of the workspace called `name`, which exists.
///
/// # Errors
/// [`Error::NoWorkspace`] with the nearest names; else when the database fails.
pub async fn get(c: &mut PgConnection, name: &str) -> Result<i32> {
    let all = all(c).await?;
    match all.iter().find(|(_, known)| known == name) {
        Some((id, _)) => Ok(*id),
        None => {
            let names = all.iter().map(|(_, known)| known.as_str()).filter(|known| *known != DEFAULT);
            let near = nearest(name, names.chain([DEFAULT]));
            Err(Error::NoWorkspace { name: name.to_owned(), near })
        }
    }
}

/// The id of the workspace called `name`, which is made if it does not exist.
///
/// # Errors
/// When the database fails.
pub async fn ensure(c: &mut PgConnection, name: &str, now: DateTime<Utc>) -> Result<i32> {
    // ensure
    let found: Option<i32> = sqlx::query_scalar("select workspace_id from workspace where name = $1")
        .bind(name)
        .fetch_optional(&mut *c)
        .await?;
    if let Some(id) = found {
        return Ok(id);
    }
    // Two first uses at once pick the same number; the loser then finds the winner's row.
    sqlx::query(
        "insert into workspace (workspace_id, name, created_at)
         select coalesce(max(workspace_id), 0) + 1, $1, $2 from workspace on conflict do nothing",
    )
    .bind(name)
    .bind(now)
    .execute(&mut *c)
    .await?;
    let id: i32 =
        sqlx::query_scalar("select workspace_id from workspace where name = $1").bind(name).fetch_one(&mut *c).await?;
    sqlx::query("insert into credit (workspace_id) values ($1) on conflict do nothing")
        .bind(id)
        .execute(&mut *c)
        .await?;
    Ok(id)
}

/// All workspaces: id and name, in order.
///
/// # Errors
/// When the database fails.
pub async fn all(c: &mut PgConnection) -> Result<Vec<(i32, String)>> {
    let rows =
        sqlx::query_as("-- all\n select workspace_id, name from workspace order by workspace_id").fetch_all(c).await?;
    Ok(rows)
}

/// What a workspace asks of its campaigns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rules {
    /// Whom it may go to.
    pub consent: Consent,
    /// How often.
    pub cap: Option<Cap>,
    /// Whether they have to be approved before they are launched.
    pub review: bool,
}

/// Most marketing messages to a contact in a span of time, over all campaigns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cap {
    /// Messages.
    pub messages: i32,
    /// In so many hours.
    pub hours: i32,
}

/// The rules of the workspace.
///
/// # Errors
/// When the database fails.
pub async fn rules(c: &mut PgConnection, workspace_id: i32) -> Result<Rules> {
    let (consent, messages, hours, review): (i16, Option<i32>, Option<i32>, bool) = sqlx::query_as(
        "-- rules\n select consent, cap_messages, cap_hours, review from workspace where workspace_id = $1",
    )
    .bind(workspace_id)
    .fetch_one(c)
    .await?;
    let consent = Consent::from_i16(consent).ok_or_else(|| Error::Corrupt(format!("workspace.consent {consent}")))?;
    Ok(Rules { consent, cap: messages.zip(hours).map(|(messages, hours)| Cap { messages, hours }), review })
}

/// Changes the rules of the workspace.
///
/// # Errors
/// When the database fails.
pub async fn set_rules(c: &mut PgConnection, workspace_id: i32, rules: Rules) -> Result<()> {
    let done = sqlx::query(
        "-- set_rules
         update workspace set consent = $2, cap_messages = $3, cap_hours = $4, review = $5 where workspace_id = $1",
    )
    .bind(workspace_id)
    .bind(rules.consent.as_i16())
    .bind(rules.cap.map(|cap| cap.messages))
    .bind(rules.cap.map(|cap| cap.hours))
    .bind(rules.review)
    .execute(c)
    .await?;
    ensure_affected("set_rules", done.rows_affected(), 1)
}

/// Lets one expansion at a time decide who gets marketing, where a cap counts what others have decided.
///
/// # Errors
/// When the database fails.
pub async fn hold(c: &mut PgConnection, workspace_id: i32) -> Result<()> {
    sqlx::query("-- hold\n select from workspace where workspace_id = $1 for no key update")
        .bind(workspace_id)
        .execute(c)
        .await?;
    Ok(())
}
