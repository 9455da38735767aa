//! Imports: the checkpoint of a load while it runs, its account afterwards.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::{FromRow, PgConnection};

use crate::error::ensure_affected;
use crate::lists::{self, Hold};
use crate::{Error, Result, Store};

/// Of the data rows, what became of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow, Serialize)]
pub struct Counts {
    /// Rows dealt with: the sum of the next five.
    pub rows: i64,
    /// Made a new contact.
    pub imported: i64,
    /// Changed a contact of the list.
    pub updated: i64,
    /// Found their contact as it is.
    pub unchanged: i64,
    /// Repeat an address and were dropped or folded in by the policy.
    pub duplicates: i64,
    /// Were refused.
    pub rejected: i64,
    /// Of all rows, those whose address is suppressed.
    pub suppressed: i64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.rows += more.rows;
        self.imported += more.imported;
        self.updated += more.updated;
        self.unchanged += more.unchanged;
        self.duplicates += more.duplicates;
        self.rejected += more.rejected;
        self.suppressed += more.suppressed;
    }
}

/// What names an import: the same again is the same import, unless another came between.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The list it fills.
    pub list_id: i64,
    /// SHA-256 of the file's bytes.
    pub content_sha256: &'a [u8; 32],
    /// SHA-256 of the options that change the result.
    pub options_sha256: &'a [u8; 32],
}

/// An import.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Import {
    /// Its id.
    pub import_id: i64,
    /// Whether its last row is committed; else it runs, or was killed and can be resumed.
    pub finished: bool,
    /// Its account so far; `rows` is the checkpoint.
    #[sqlx(flatten)]
    pub counts: Counts,
}

/// The import of this identity: the one that runs, else the one that finished last, if the list is still as
/// that one left it. Once another import has come after it, the same file is a new import.
///
/// # Errors
/// When the database fails.
pub async fn find(c: &mut PgConnection, workspace_id: i32, identity: Identity<'_>) -> Result<Option<Import>> {
    Ok(sqlx::query_as(
        "-- find
         select import_id, state = 2 as finished, rows, imported, updated, unchanged, duplicates, rejected, suppressed
         from import i where workspace_id = $1 and list_id = $2 and content_sha256 = $3 and options_sha256 = $4
           and (state = 1 or not exists (
             select from import o where o.workspace_id = $1 and o.list_id = $2 and o.import_id <> i.import_id
               and case o.state when 1 then o.rows > 0
                   else (o.finished_at, o.import_id) > (i.finished_at, i.import_id) end))
         order by state limit 1",
    )
    .bind(workspace_id)
    .bind(identity.list_id)
    .bind(identity.content_sha256.as_slice())
    .bind(identity.options_sha256.as_slice())
    .fetch_optional(c)
    .await?)
}

/// The import of this identity, which is begun if there is none. That waits for an import that has the list
/// for itself.
///
/// # Errors
/// When the database fails.
pub async fn begin(
    store: &Store,
    workspace_id: i32,
    identity: Identity<'_>,
    file_name: &str,
    options: &serde_json::Value,
) -> Result<Import> {
    let mut tx = store.pool.begin().await?;
    if let Some(import) = find(&mut tx, workspace_id, identity).await? {
        return Ok(import);
    }
    lists::hold(&mut tx, workspace_id, identity.list_id, Hold::Alone).await?;
    // Another program may have begun it while this one waited for the list.
    if let Some(import) = find(&mut tx, workspace_id, identity).await? {
        return Ok(import);
    }
    let import_id = store.ids.next();
    let done = sqlx::query(
        "-- begin
         insert into import (workspace_id, import_id, list_id, content_sha256, options_sha256, file_name, options,
           state, started_at)
         values ($1, $2, $3, $4, $5, $6, $7, 1, $8)",
    )
    .bind(workspace_id)
    .bind(import_id)
    .bind(identity.list_id)
    .bind(identity.content_sha256.as_slice())
    .bind(identity.options_sha256.as_slice())
    .bind(file_name)
    .bind(options)
    .bind(store.clock.now())
    .execute(&mut *tx)
    .await?;
    ensure_affected("begin", done.rows_affected(), 1)?;
    tx.commit().await?;
    Ok(Import { import_id, finished: false, counts: Counts::default() })
}

/// Puts on record what came into a list otherwise than from a file, as an import that is finished.
///
/// # Errors
/// When the database fails.
pub async fn record(
    c: &mut PgConnection,
    (workspace_id, import_id): (i32, i64),
    list_id: i64,
    what: &str,
    counts: Counts,
    now: DateTime<Utc>,
) -> Result<()> {
    let hash = Sha256::digest(import_id.to_be_bytes());
    let done = sqlx::query(
        "-- record
         insert into import (workspace_id, import_id, list_id, content_sha256, options_sha256, file_name, options, state,
           rows, imported, duplicates, started_at, finished_at)
         values ($1, $2, $3, $4, $4, $5, '{}', 2, $6, $7, $8, $9, $9)",
    )
    .bind(workspace_id)
    .bind(import_id)
    .bind(list_id)
    .bind(hash.as_slice())
    .bind(what)
    .bind(counts.rows)
    .bind(counts.imported)
    .bind(counts.duplicates)
    .bind(now)
    .execute(c)
    .await?;
    ensure_affected("record", done.rows_affected(), 1)
}

/// Whether no other import has put a contact into the list, nor is about to. Who holds the list may rely on
/// it: see [`begin`].
///
/// # Errors
/// When the database fails.
pub async fn is_only(c: &mut PgConnection, workspace_id: i32, list_id: i64, import_id: i64) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "-- is_only
         select not exists (
           select from import where workspace_id = $1 and list_id = $2 and import_id <> $3
               and (imported > 0 or state = 1))",
    )
    .bind(workspace_id)
    .bind(list_id)
    .bind(import_id)
    .fetch_one(c)
    .await?)
}

/// Locks a running import and holds that it stands at `rows`.
///
/// # Errors
/// [`Error::Conflict`] when another program has moved it on; else when the database fails.
pub async fn lock(c: &mut PgConnection, workspace_id: i32, import_id: i64, rows: i64) -> Result<()> {
    let found: Option<(i64, i16)> = sqlx::query_as(
        "-- lock\n select rows, state from import where workspace_id = $1 and import_id = $2 for no key update",
    )
    .bind(workspace_id)
    .bind(import_id)
    .fetch_optional(c)
    .await?;
    match found {
        Some((at, 1)) if at == rows => Ok(()),
        _ => Err(taken()),
    }
}

/// Adds the account of a batch to a locked import that stands at `rows`.
///
/// # Errors
/// [`Error::Affected`] when it stands elsewhere; else when the database fails.
pub async fn advance(c: &mut PgConnection, workspace_id: i32, import_id: i64, rows: i64, batch: Counts) -> Result<()> {
    let done = sqlx::query(
        "-- advance
         update import set rows = rows + $4, imported = imported + $5, updated = updated + $6,
           unchanged = unchanged + $7, duplicates = duplicates + $8, rejected = rejected + $9,
           suppressed = suppressed + $10
         where workspace_id = $1 and import_id = $2 and rows = $3 and state = 1",
    )
    .bind(workspace_id)
    .bind(import_id)
    .bind(rows)
    .bind(batch.rows)
    .bind(batch.imported)
    .bind(batch.updated)
    .bind(batch.unchanged)
    .bind(batch.duplicates)
    .bind(batch.rejected)
    .bind(batch.suppressed)
    .execute(c)
    .await?;
    ensure_affected("advance", done.rows_affected(), 1)
}

/// Ends an import whose rows are all committed, and says its account. Doing it twice is harmless.
///
/// # Errors
/// [`Error::Conflict`] when it has not `rows` rows; else when the database fails.
pub async fn finish(
    c: &mut PgConnection,
    store: &Store,
    workspace_id: i32,
    import_id: i64,
    rows: i64,
) -> Result<Counts> {
    let done: Option<Counts> = sqlx::query_as(
        "-- finish
         update import set state = 2, finished_at = coalesce(finished_at, $4)
         where workspace_id = $1 and import_id = $2 and rows = $3
         returning rows, imported, updated, unchanged, duplicates, rejected, suppressed",
    )
    .bind(workspace_id)
    .bind(import_id)
    .bind(rows)
    .bind(store.clock.now())
    .fetch_optional(c)
    .await?;
    done.ok_or_else(taken)
}

/// What the loser of two programs that run the same import is told.
pub fn taken() -> Error {
    Error::Conflict(
        "another program is importing the same file into this list: let it finish; the same command then says its result"
            .into(),
    )
}

/// What the file of an import was called; `None` if there is no such import.
///
/// # Errors
/// When the database fails.
pub async fn file_name(c: &mut PgConnection, workspace_id: i32, import_id: i64) -> Result<Option<String>> {
    let name =
        sqlx::query_scalar("-- file_name\n select file_name from import where workspace_id = $1 and import_id = $2")
            .bind(workspace_id)
            .bind(import_id)
            .fetch_optional(c)
            .await?;
    Ok(name)
}
