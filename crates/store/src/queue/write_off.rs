//! Writing off: the campaign chose to count its messages in doubt as lost, and as paid.

use fanfare_domain::id::Ids;
use sqlx::{FromRow, PgPool};

use super::books::charge;
use crate::Result;
use crate::error::ensure_affected;

#[derive(FromRow)]
struct Sums {
    messages: i64,
    cost: i64,
    reserved: i64,
}

/// Decides every unknown of the run that waits for nothing but a person as written off, if its campaign
/// chose that: the price is charged, what was reserved beyond it is freed. Gives how many there were.
///
/// # Errors
/// When the database fails; nothing is decided then.
pub async fn write_off(pool: &PgPool, ids: &Ids, workspace_id: i32, run_id: i64, shard: i16) -> Result<i64> {
    let mut tx = pool.begin().await?;
    let sums: Sums = sqlx::query_as(
        "-- write_off
         with gone as (
           delete from retry t using run r, campaign c
           where t.workspace_id = $1 and t.run_id = $2 and t.kind = 2 and t.due_at = 'infinity'
             and r.workspace_id = $1 and r.run_id = $2
             and c.workspace_id = $1 and c.campaign_id = r.campaign_id and c.on_unknown = 3
           returning t.seq, t.attempts, t.account_id, t.reserved, r.prices
         ), priced as (
           select g.seq, g.attempts, g.account_id, g.reserved,
                  least(g.reserved, m.units * coalesce((g.prices ->> m.country)::bigint, (g.prices ->> '')::bigint, 0)) as cost
           from gone g join recipient m on m.workspace_id = $1 and m.run_id = $2 and m.seq = g.seq
         ), decided as (
           insert into outcome (workspace_id, seq, run_id, account_id, at, cost, latency_ms, attempt, class, late)
           select $1, p.seq, $2, p.account_id, clock_timestamp(), p.cost, 0, p.attempts + 1, 9, false from priced p
         )
         select count(*) as messages, coalesce(sum(cost), 0)::bigint as cost, coalesce(sum(reserved), 0)::bigint as reserved
         from priced",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_one(&mut *tx)
    .await?;
    if sums.reserved > 0 {
        let done = sqlx::query(
            "-- write_off: credit
             update credit set balance = balance - $2, reserved = reserved - $3 where workspace_id = $1",
        )
        .bind(workspace_id)
        .bind(sums.cost)
        .bind(sums.reserved)
        .execute(&mut *tx)
        .await?;
        ensure_affected("write_off: credit", done.rows_affected(), 1)?;
    }
    if sums.cost > 0 {
        sqlx::query(
            "-- write_off: progress, after the credit as in every flush
             insert into progress as g (workspace_id, run_id, shard, cost) values ($1, $2, $3, $4)
             on conflict (workspace_id, run_id, shard) do update set cost = g.cost + excluded.cost",
        )
        .bind(workspace_id)
        .bind(run_id)
        .bind(shard)
        .bind(sums.cost)
        .execute(&mut *tx)
        .await?;
        charge(&mut tx, ids, workspace_id, run_id, sums.cost, sums.messages as i32).await?;
    }
    tx.commit().await?;
    Ok(sums.messages)
}
