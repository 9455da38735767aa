//! The one place where a transaction is run again.

use std::time::Duration;

use crate::{Error, Result};

/// Times a transaction is tried before its conflict is the caller's.
const TRIES_MAX: u32 = 5;
/// The loser waits this long, and twice as long each further time: at once it could take again what
/// the winner is about to get, and both would be where they were.
const PAUSE: Duration = Duration::from_millis(10);

/// Runs `work`, which begins a transaction, called `name`, and commits it. When the database ended it
/// in favour of another one (serialisation failure, deadlock), all of `work` is run again, a few times.
///
/// A lost connection is not tried again here: whether the commit happened is then unknown, and only
/// the caller can tell whether doing it twice is harmless.
///
/// # Errors
/// What `work` returned last.
pub async fn run_tx<T, F>(name: &'static str, mut work: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut attempt = 1;
    loop {
        match work().await {
            Err(e) if attempt < TRIES_MAX && is_conflict(&e) => {
                tracing::debug!(name, attempt, "the transaction lost a conflict and is run again");
                tokio::time::sleep(PAUSE * (1 << (attempt - 1))).await;
                attempt += 1;
            }
            done => return done,
        }
    }
}

fn is_conflict(e: &Error) -> bool {
    match e {
        Error::Sql(sqlx::Error::Database(d)) => matches!(d.code().as_deref(), Some("40001" | "40P01")),
        _ => false,
    }
}
