//! Bringing the schema up to date.

use std::collections::HashMap;

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnection;

use crate::{Error, Result};

/// Every migration of this program, in order.
pub static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// Brings the schema up to date, one process at a time (an advisory lock). When there is nothing to
/// do, that takes one query.
///
/// # Errors
/// [`Error::NewerSchema`] or [`Error::ForeignSchema`] before anything is changed; else a migration
/// that failed and was rolled back. The connection is then not to be used again.
pub async fn to_newest(connection: &mut PgConnection) -> Result<()> {
    let applied = applied(connection).await?;
    let known = MIGRATIONS.iter().map(|m| m.version).max().unwrap_or(0);
    let found = applied.keys().copied().max().unwrap_or(0);
    if found > known {
        return Err(Error::NewerSchema { found, known });
    }
    let mut missing = MIGRATIONS.iter().filter(|m| !applied.contains_key(&m.version)).peekable();
    let foreign = applied.iter().find(|(version, checksum)| {
        !MIGRATIONS.iter().any(|m| m.version == **version && m.checksum[..] == checksum[..])
    });
    if let Some((&version, _)) = foreign {
        return Err(Error::ForeignSchema { version });
    }
    if missing.peek().is_some() {
        MIGRATIONS.run(connection).await?;
    }
    Ok(())
}

/// The migrations that the database has seen, with their checksums.
async fn applied(c: &mut PgConnection) -> Result<HashMap<i64, Vec<u8>>> {
    let rows = sqlx::query_as(
        "-- applied
         select version, checksum from _sqlx_migrations where success",
    )
    .fetch_all(c)
    .await;
    match rows {
        Ok(rows) => Ok(rows.into_iter().collect()),
        // A new database has no such table.
        Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("42P01") => Ok(HashMap::new()),
        Err(e) => Err(e.into()),
    }
}
