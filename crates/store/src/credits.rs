//! Credits: top-ups, the balance, the ledger.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use crate::error::ensure_affected;
use crate::tx::run_tx;
use crate::{Result, Store, flows};

/// The credit of a workspace, micro-credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, FromRow)]
pub struct Credit {
    /// Top-ups less charges.
    pub balance: i64,
    /// Of it, reserved by what is in flight or in doubt.
    pub reserved: i64,
}

impl Credit {
    /// What may still be spent, micro-credits.
    pub fn available(self) -> i64 {
        self.balance - self.reserved
    }
}

/// The credit of a workspace.
///
/// # Errors
/// When the database fails.
pub async fn balance(c: &mut PgConnection, workspace_id: i32) -> Result<Credit> {
    let credit = sqlx::query_as("select balance, reserved from credit where workspace_id = $1 -- balance")
        .bind(workspace_id)
        .fetch_one(c)
        .await?;
    Ok(credit)
}

/// Adds `micro` (above 0) micro-credits, and lets the runs that paused for want of credit go on.
///
/// # Errors
/// When the database fails; nothing is added then.
pub async fn topup(store: &Store, workspace_id: i32, micro: i64, note: Option<&str>) -> Result<Credit> {
    let (credit, resumed) = run_tx("top up", || try_topup(store, workspace_id, micro, note)).await?;
    // A claim that ran out of credit just then was not to be seen before it committed.
    let behind = run_tx("go on", || async {
        let mut tx = store.pool.begin().await?;
        let resumed = flows::resume_poor(&mut tx, workspace_id).await?;
        tx.commit().await?;
        Ok(resumed)
    });
    // The credit is there: whoever is told of a failure would top up once more.
    let resumed = resumed
        + behind.await.unwrap_or_else(|error| {
            tracing::warn!(workspace_id, ?error, "a run that ran out of credit just now may have to be resumed");
            0
        });
    tracing::info!(workspace_id, micro, resumed, "topped up");
    Ok(credit)
}

async fn try_topup(store: &Store, workspace_id: i32, micro: i64, note: Option<&str>) -> Result<(Credit, u64)> {
    let mut tx = store.pool.begin().await?;
    // The flows first: the claim locks a flow before the credit.
    let resumed = flows::resume_poor(&mut tx, workspace_id).await?;
    sqlx::query(
        "-- topup: ledger
         insert into ledger (workspace_id, entry_id, at, kind, amount, messages, note)
         values ($1, $2, clock_timestamp(), 1, $3, 0, $4)",
    )
    .bind(workspace_id)
    .bind(store.ids.next())
    .bind(micro)
    .bind(note)
    .execute(&mut *tx)
    .await?;
    let done = sqlx::query("update credit set balance = balance + $2 where workspace_id = $1 -- topup: credit")
        .bind(workspace_id)
        .bind(micro)
        .execute(&mut *tx)
        .await?;
    ensure_affected("topup", done.rows_affected(), 1)?;
    let credit = balance(&mut tx, workspace_id).await?;
    tx.commit().await?;
    Ok((credit, resumed))
}

/// One entry of the ledger.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Entry {
    /// The entry.
    pub entry_id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// `topup` or `charge`.
    pub kind: String,
    /// Micro-credits; a charge is negative.
    pub amount: i64,
    /// Of a charge: the campaign.
    pub campaign: Option<String>,
    /// Of a charge: the run.
    pub run_id: Option<i64>,
    /// Of a charge: how many messages it pays for.
    pub messages: i32,
    /// Of a top-up: what the person wrote.
    pub note: Option<String>,
}

/// The newest `limit` entries of the ledger, newest first.
///
/// # Errors
/// When the database fails.
pub async fn ledger(c: &mut PgConnection, workspace_id: i32, limit: i64) -> Result<Vec<Entry>> {
    let rows = sqlx::query_as(
        "-- ledger
         select l.entry_id, l.at, case l.kind when 1 then 'topup' else 'charge' end as kind, l.amount,
                case c.kind when 3 then 'message send' else c.name end as campaign, l.run_id, l.messages, l.note
         from ledger l
         left join run r on r.workspace_id = l.workspace_id and r.run_id = l.run_id
         left join campaign c on c.workspace_id = r.workspace_id and c.campaign_id = r.campaign_id
         where l.workspace_id = $1 order by l.entry_id desc limit $2",
    )
    .bind(workspace_id)
    .bind(limit)
    .fetch_all(c)
    .await?;
    Ok(rows)
}
