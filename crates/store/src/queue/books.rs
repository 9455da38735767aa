//! The counters and the credit that a flush moves, gathered and written once for each run.

use std::collections::BTreeMap;

use fanfare_domain::id::Ids;
use sqlx::PgConnection;

use super::flush::Flusher;
use crate::error::ensure_affected;
use crate::{Error, Result};

/// Changes of one run's counters.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sums {
    pub sent: i64,
    pub failed: i64,
    pub suppressed: i64,
    pub expired: i64,
    pub unknown: i64,
    pub retrying: i64,
    /// Micro-credits charged.
    pub cost: i64,
    /// Messages that were charged.
    pub charged_messages: i32,
}

/// Changes of all runs, and of the workspace's reservations.
#[derive(Debug, Default)]
pub struct Books {
    runs: BTreeMap<i64, Sums>,
    /// Micro-credits no longer reserved.
    pub released: i64,
}

impl Books {
    /// The changes of one run.
    pub fn of(&mut self, run_id: i64) -> &mut Sums {
        self.runs.entry(run_id).or_default()
    }

    /// Writes credit, ledger and counters, in the claim's lock order.
    pub async fn write(&self, c: &mut PgConnection, ids: &Ids, who: Flusher) -> Result<()> {
        let charged: i64 = self.runs.values().map(|s| s.cost).sum();
        if charged != 0 || self.released != 0 {
            let done = sqlx::query(
                "-- flush: credit
                 update credit set balance = balance - $2, reserved = reserved - $3 where workspace_id = $1",
            )
            .bind(who.workspace_id)
            .bind(charged)
            .bind(self.released)
            .execute(&mut *c)
            .await?;
            ensure_affected("flush: credit", done.rows_affected(), 1)?;
        }
        for (run_id, sums) in self.runs.iter().filter(|(_, s)| s.cost > 0) {
            charge(c, ids, who.workspace_id, *run_id, sums.cost, sums.charged_messages).await?;
        }
        self.count(c, who).await
    }

    async fn count(&self, c: &mut PgConnection, who: Flusher) -> Result<()> {
        // Sorted by run, so that two flushes of one shard never wait for each other in a circle.
        for (run_id, s) in self.runs.iter().filter(|(_, s)| **s != Sums::default()) {
            sqlx::query(
                "-- flush: progress
                 insert into progress as p (workspace_id, run_id, shard, sent, failed, suppressed, expired, unknown, retrying, cost)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                 on conflict (workspace_id, run_id, shard) do update set
                   sent = p.sent + excluded.sent, failed = p.failed + excluded.failed,
                   suppressed = p.suppressed + excluded.suppressed, expired = p.expired + excluded.expired,
                   unknown = p.unknown + excluded.unknown, retrying = p.retrying + excluded.retrying,
                   cost = p.cost + excluded.cost",
            )
            .bind(who.workspace_id)
            .bind(run_id)
            .bind(who.shard)
            .bind(s.sent)
            .bind(s.failed)
            .bind(s.suppressed)
            .bind(s.expired)
            .bind(s.unknown)
            .bind(s.retrying)
            .bind(s.cost)
            .execute(&mut *c)
            .await?;
        }
        Ok(())
    }
}

/// Appends a charge to the ledger; the balance is the caller's to move, in the same transaction.
pub(crate) async fn charge(
    c: &mut PgConnection,
    ids: &Ids,
    workspace_id: i32,
    run_id: i64,
    micro: i64,
    messages: i32,
) -> Result<(), Error> {
    sqlx::query(
        "-- charge
         insert into ledger (workspace_id, entry_id, at, kind, amount, run_id, messages)
         values ($1, $2, clock_timestamp(), 2, $3, $4, $5)",
    )
    .bind(workspace_id)
    .bind(ids.next())
    .bind(-micro)
    .bind(run_id)
    .bind(messages)
    .execute(c)
    .await?;
    Ok(())
}
