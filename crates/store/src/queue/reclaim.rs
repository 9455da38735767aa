//! Reclaiming what dead workers held.

use std::collections::BTreeSet;

use fanfare_domain::id::Ids;
use fanfare_domain::limits::ECHO_WAIT;
use sqlx::{FromRow, PgConnection, PgPool};

use super::settle::{lock_doubts, settle_reported};
use crate::Result;

/// Messages parked as unknown.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Parked {
    /// Tenant.
    pub workspace_id: i32,
    /// The run.
    pub run_id: i64,
    /// How many of its messages.
    pub parked: i64,
}

/// Buries one dead worker, if there is one: its row goes, and with it its right to settle; its
/// unsettled messages are parked. Which of several is left to chance: one that cannot be buried must not
/// keep the others from it. Any number of nodes may call this; each worker is buried once.
///
/// # Errors
/// When the database fails; nothing is done then.
pub async fn reclaim(pool: &PgPool, ids: &Ids, shard: i16) -> Result<Option<(i64, Vec<Parked>)>> {
    let mut tx = pool.begin().await?;
    // The claim holds the row for key share, so no lease can be added behind this lock.
    let dead: Option<i64> = sqlx::query_scalar(
        "-- reclaim: pick
         select worker_id from worker where alive_until < clock_timestamp() order by random() limit 1 for update skip locked",
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(worker_id) = dead else { return Ok(None) };
    let held: Vec<(i32, i64)> =
        sqlx::query_as("select distinct workspace_id, run_id from lease where worker_id = $1 -- reclaim: what it held")
            .bind(worker_id)
            .fetch_all(&mut *tx)
            .await?;
    lock_doubts(&mut tx, &held.iter().map(|(_, run_id)| *run_id).collect(), true).await?;
    let workspaces: BTreeSet<i32> = held.into_iter().map(|(workspace_id, _)| workspace_id).collect();
    let mut parked = Vec::new();
    for workspace_id in workspaces {
        let rows: Vec<Parked> =
            sqlx::query_as("select $1 as workspace_id, run_id, parked from reclaim($1, $2, $3) -- reclaim: park")
                .bind(workspace_id)
                .bind(worker_id)
                .bind(shard)
                .fetch_all(&mut *tx)
                .await?;
        for row in &rows {
            wait_for_echoes(&mut tx, workspace_id, row.run_id).await?;
            settle_reported(&mut tx, ids, (workspace_id, row.run_id), None, shard).await?;
        }
        parked.extend(rows);
    }
    sqlx::query("delete from worker where worker_id = $1 -- reclaim: bury").bind(worker_id).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(Some((worker_id, parked)))
}

/// What was just parked and would be sent again waits for its receipt first, where that may come.
async fn wait_for_echoes(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<()> {
    sqlx::query(
        "-- reclaim: wait for echoes
         update retry t set due_at = clock_timestamp() + make_interval(secs => $3)
         from account a
         where a.workspace_id = $1 and a.account_id = t.account_id and a.waits_for_echo
           and t.workspace_id = $1 and t.run_id = $2 and t.kind = 2 and t.reason = 'worker lost'
           and t.due_at between clock_timestamp() and clock_timestamp() + interval '2 s'",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(ECHO_WAIT.as_secs_f64())
    .execute(c)
    .await?;
    Ok(())
}
