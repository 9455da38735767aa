//! Runs of which too much fails.

use sqlx::{FromRow, PgConnection};

use crate::Result;

/// So many messages must be decided before their failures say anything.
const FAILURES_OF: i64 = 100;

/// A running run of which too much failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Failing {
    /// Tenant.
    pub workspace_id: i32,
    /// The run.
    pub run_id: i64,
    /// Failed since its start, or since a person let it go on in spite of it.
    pub failed: i64,
    /// Sent or failed since then.
    pub decided: i64,
    /// What the campaign takes, in thousandths.
    pub limit_permille: i32,
}

/// Running runs of which more failed than their campaigns take, of [`FAILURES_OF`] messages at least. What had
/// failed when a person resumed one does not count any more.
///
/// # Errors
/// When the database fails.
pub async fn failing(c: &mut PgConnection) -> Result<Vec<Failing>> {
    Ok(sqlx::query_as(
        "-- failing
         select r.workspace_id, r.run_id, p.failed - b.failed as failed, p.decided - b.decided as decided,
                c.fails_at_permille as limit_permille
         from campaign c
         join run r on r.workspace_id = c.workspace_id and r.campaign_id = c.campaign_id and r.state = 2
         cross join lateral (
           select coalesce(sum(failed), 0)::bigint as failed, coalesce(sum(sent + failed), 0)::bigint as decided
           from progress where workspace_id = r.workspace_id and run_id = r.run_id) p
         cross join lateral (select r.forgiven_failed as failed, r.forgiven_decided as decided) b
         where c.fails_at_permille is not null and p.decided - b.decided >= $1
           and (p.failed - b.failed) * 1000 > (p.decided - b.decided) * c.fails_at_permille",
    )
    .bind(FAILURES_OF)
    .fetch_all(c)
    .await?)
}

/// Counts what has failed so far no more against the run: a person has seen it.
///
/// # Errors
/// When the database fails.
pub async fn forgive(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<()> {
    sqlx::query(
        "-- forgive
         update run r set forgiven_failed = p.failed, forgiven_decided = p.decided
         from (select coalesce(sum(failed), 0)::bigint as failed, coalesce(sum(sent + failed), 0)::bigint as decided
               from progress where workspace_id = $1 and run_id = $2) p
         where r.workspace_id = $1 and r.run_id = $2",
    )
    .bind(workspace_id)
    .bind(run_id)
    .execute(c)
    .await?;
    Ok(())
}

/// Notes in words why a run is paused.
///
/// # Errors
/// When the database fails.
pub async fn say_why(c: &mut PgConnection, workspace_id: i32, run_id: i64, why: &str) -> Result<()> {
    sqlx::query("-- say_why\n update run set paused_detail = $3 where workspace_id = $1 and run_id = $2")
        .bind(workspace_id)
        .bind(run_id)
        .bind(why)
        .execute(c)
        .await?;
    Ok(())
}
