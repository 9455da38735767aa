//! Lists: named sets of contacts.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use crate::nearest::nearest;
use crate::{Error, Result, Store};

/// A list.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct List {
    /// Its id.
    pub list_id: i64,
    /// What `--list` names.
    pub name: String,
    /// When the first import named it.
    pub created_at: DateTime<Utc>,
}

/// A list, and how many it holds.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct Counted {
    /// Its id.
    pub list_id: i64,
    /// What `--list` names.
    pub name: String,
    /// Its contacts.
    pub contacts: i64,
    /// When the first import named it.
    pub created_at: DateTime<Utc>,
}

/// The list called `name`.
///
/// # Errors
/// [`Error::NotFound`] with the nearest names; else when the database fails.
pub async fn get(c: &mut PgConnection, workspace_id: i32, name: &str) -> Result<List> {
    if let Some(list) = find(c, workspace_id, name).await? {
        return Ok(list);
    }
    let names: Vec<String> =
        sqlx::query_scalar("-- get: names\n select name from list where workspace_id = $1 order by name")
            .bind(workspace_id)
            .fetch_all(c)
            .await?;
    Err(Error::NotFound { what: "list", name: name.to_owned(), near: nearest(name, names) })
}

/// The list called `name`, if there is one.
///
/// # Errors
/// When the database fails.
pub async fn find(c: &mut PgConnection, workspace_id: i32, name: &str) -> Result<Option<List>> {
    Ok(sqlx::query_as("-- find\n select list_id, name, created_at from list where workspace_id = $1 and name = $2")
        .bind(workspace_id)
        .bind(name)
        .fetch_optional(c)
        .await?)
}

/// The list called `name`, which is made if it does not exist.
///
/// # Errors
/// When the database fails.
pub async fn ensure(c: &mut PgConnection, store: &Store, workspace_id: i32, name: &str) -> Result<List> {
    if let Some(list) = find(c, workspace_id, name).await? {
        return Ok(list);
    }
    sqlx::query(
        "-- ensure
         insert into list (workspace_id, list_id, name, created_at) values ($1, $2, $3, $4)
         on conflict (workspace_id, name) do nothing",
    )
    .bind(workspace_id)
    .bind(store.ids.next())
    .bind(name)
    .bind(store.clock.now())
    .execute(&mut *c)
    .await?;
    // Whether this made it or another program did a moment before.
    get(c, workspace_id, name).await
}

/// All lists of the workspace by name, with their contacts counted.
///
/// # Errors
/// When the database fails.
pub async fn all(c: &mut PgConnection, workspace_id: i32) -> Result<Vec<Counted>> {
    Ok(sqlx::query_as(
        "-- all
         select l.list_id, l.name, l.created_at,
           (select count(*) from contact c where c.workspace_id = $1 and c.list_id = l.list_id) as contacts
         from list l where l.workspace_id = $1 order by l.name",
    )
    .bind(workspace_id)
    .fetch_all(c)
    .await?)
}

/// How a transaction holds a list against other imports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Together with others that hold it so.
    Shared,
    /// Alone.
    Alone,
}

/// Holds the list until the end of the transaction. Campaigns and single reads are not held up.
///
/// # Errors
/// [`Error::NotFound`] when the list has gone; else when the database fails.
pub async fn hold(c: &mut PgConnection, workspace_id: i32, list_id: i64, how: Hold) -> Result<()> {
    let sql = match how {
        Hold::Shared => "-- hold\n select 1 from list where workspace_id = $1 and list_id = $2 for share",
        Hold::Alone => "-- hold\n select 1 from list where workspace_id = $1 and list_id = $2 for no key update",
    };
    let found: Option<i32> = sqlx::query_scalar(sql).bind(workspace_id).bind(list_id).fetch_optional(c).await?;
    match found {
        Some(_) => Ok(()),
        None => Err(Error::NotFound { what: "list", name: list_id.to_string(), near: Vec::new() }),
    }
}
