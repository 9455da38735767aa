//! Files of ours, and what the providers that keep them call them.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::error::ensure_affected;
use crate::{Result, Store};

/// A file, by its hash.
pub type Hash = [u8; 32];

/// Keeps a file, unless it is kept already.
///
/// # Errors
/// When the database fails.
pub async fn put(store: &Store, workspace_id: i32, sha256: Hash, mime: &str, bytes: &[u8]) -> Result<()> {
    sqlx::query(
        "-- put
         insert into media (workspace_id, sha256, mime, bytes, added_at) values ($1, $2, $3, $4, $5)
         on conflict (workspace_id, sha256) do nothing",
    )
    .bind(workspace_id)
    .bind(sha256.as_slice())
    .bind(mime)
    .bind(bytes)
    .bind(store.clock.now())
    .execute(&store.pool)
    .await?;
    Ok(())
}

/// The bytes of a file; `None` if it is not kept.
///
/// # Errors
/// When the database fails.
pub async fn bytes(c: &mut PgConnection, workspace_id: i32, sha256: Hash) -> Result<Option<Vec<u8>>> {
    let bytes = sqlx::query_scalar("-- bytes\n select bytes from media where workspace_id = $1 and sha256 = $2")
        .bind(workspace_id)
        .bind(sha256.as_slice())
        .fetch_optional(c)
        .await?;
    Ok(bytes)
}

/// What a provider calls a file, and until when that is used.
pub type Known = (String, DateTime<Utc>);

/// What the account's provider calls a file, if it has a name that is good at `now`. Makes sure that there is
/// a row to lock: by itself, so that no transaction that waits for a provider has written anything.
///
/// # Errors
/// When the file is not kept or the database fails.
pub async fn look(
    c: &mut PgConnection,
    (workspace_id, account_id): (i32, i64),
    sha256: Hash,
    now: DateTime<Utc>,
) -> Result<Option<Known>> {
    sqlx::query(
        "-- look: row
         insert into account_media (workspace_id, account_id, sha256) values ($1, $2, $3)
         on conflict (workspace_id, account_id, sha256) do nothing",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(sha256.as_slice())
    .execute(&mut *c)
    .await?;
    let found: (Option<String>, Option<DateTime<Utc>>) = sqlx::query_as(
        "-- look
         select provider_id, good_until from account_media
         where workspace_id = $1 and account_id = $2 and sha256 = $3",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(sha256.as_slice())
    .fetch_one(c)
    .await?;
    Ok(good(found, now))
}

fn good((id, until): (Option<String>, Option<DateTime<Utc>>), now: DateTime<Utc>) -> Option<Known> {
    id.zip(until).filter(|(_, until)| *until > now)
}

/// The same, locked until the transaction ends, waiting for whoever hands the file over.
///
/// # Errors
/// When nobody looked before, or the database fails.
pub async fn lock(
    c: &mut PgConnection,
    (workspace_id, account_id): (i32, i64),
    sha256: Hash,
    now: DateTime<Utc>,
) -> Result<Option<Known>> {
    let found: (Option<String>, Option<DateTime<Utc>>) = sqlx::query_as(
        "-- lock
         select provider_id, good_until from account_media
         where workspace_id = $1 and account_id = $2 and sha256 = $3 for update",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(sha256.as_slice())
    .fetch_one(c)
    .await?;
    Ok(good(found, now))
}

/// Keeps what the provider calls a file, whose row the transaction has locked.
///
/// # Errors
/// When it is not there or the database fails.
pub async fn keep(
    c: &mut PgConnection,
    (workspace_id, account_id): (i32, i64),
    sha256: Hash,
    (id, until): (&str, DateTime<Utc>),
) -> Result<()> {
    let done = sqlx::query(
        "-- keep
         update account_media set provider_id = $4, good_until = $5
         where workspace_id = $1 and account_id = $2 and sha256 = $3",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(sha256.as_slice())
    .bind(id)
    .bind(until)
    .execute(c)
    .await?;
    ensure_affected("keep", done.rows_affected(), 1)
}

/// Forgets what the provider called a file; says whether that was its name still.
///
/// # Errors
/// When the database fails.
pub async fn forget(
    c: &mut PgConnection,
    (workspace_id, account_id): (i32, i64),
    sha256: Hash,
    id: &str,
) -> Result<bool> {
    let done = sqlx::query(
        "-- forget
         update account_media set provider_id = null, good_until = null
         where workspace_id = $1 and account_id = $2 and sha256 = $3 and provider_id = $4",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(sha256.as_slice())
    .bind(id)
    .execute(c)
    .await?;
    Ok(done.rows_affected() > 0)
}
