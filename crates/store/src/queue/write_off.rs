//! Writing off: the campaign chose to count its messages in doubt as lost, and as paid.

use fanfare_domain::id::Ids;
use fanfare_domain::outcome::Class;
use sqlx::PgPool;

use super::settle::{Verdict, settle};
use crate::Result;

/// Decides every unknown of the run that waits for nothing but a person as written off; the caller knows
/// that its campaign chose that. Gives how many there were.
///
/// # Errors
/// When the database fails; nothing is decided then.
pub async fn write_off(pool: &PgPool, ids: &Ids, workspace_id: i32, run_id: i64, shard: i16) -> Result<i64> {
    let mut tx = pool.begin().await?;
    let verdict = Verdict { workspace_id, run_id, seqs: None, class: Class::WrittenOff, detail: None, shard };
    let messages = settle(&mut tx, ids, verdict).await?;
    tx.commit().await?;
    Ok(messages)
}
