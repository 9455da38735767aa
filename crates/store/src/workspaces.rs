//! Workspaces: the tenants. One is made by its first use, [`DEFAULT`] by any.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

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
