//! The one place where a transaction is run again.

use sqlx::{Connection as _, PgConnection, PgPool};

use crate::{Error, Result};

/// Times a transaction is tried before its conflict is the caller's.
const TRIES_MAX: u32 = 5;

/// Runs `work` in a transaction called `name` and commits it. When the database ended it in favour of
/// another transaction (serialisation failure, deadlock), all of `work` is run again, a few times.
///
/// A lost connection is not tried again here: whether the commit happened is then unknown, and only
/// the caller can tell whether doing it twice is harmless.
///
/// # Errors
/// What `work` returned, or the database's refusal to begin or to commit.
pub async fn run_tx<T>(
    pool: &PgPool,
    name: &'static str,
    mut work: impl AsyncFnMut(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    let mut connection = pool.acquire().await?;
    for attempt in 1.. {
        match try_once(&mut connection, &mut work).await {
            Err(e) if attempt < TRIES_MAX && is_conflict(&e) => tracing::debug!(name, attempt, "transaction again"),
            done => return done,
        }
    }
    unreachable!("the loop has no end of its own")
}

async fn try_once<T>(
    connection: &mut PgConnection,
    work: &mut impl AsyncFnMut(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    // Dropping it on the way out rolls back.
    let mut tx = connection.begin().await?;
    let value = work(&mut tx).await?;
    tx.commit().await?;
    Ok(value)
}

fn is_conflict(e: &Error) -> bool {
    match e {
        Error::Sql(sqlx::Error::Database(d)) => matches!(d.code().as_deref(), Some("40001" | "40P01")),
        _ => false,
    }
}
