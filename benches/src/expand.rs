//! Expanding against a plain INSERT … SELECT of the same rows.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fleet::{Fleet, rounded};

pub async fn run(program: &Path, divide: u64) -> anyhow::Result<Value> {
    let contacts = 1_000_000 / divide;
    let fleet = Fleet::new(program).await?;
    let (_sim, port) = fleet.sim(&[]).await?;
    // A slow account, so that the worker costs nothing and yet shows when the first message goes out.
    fleet.campaign(port, contacts, &["--price", "5000", "--idempotent", "true", "--cap", "20/s"], &[]).await?;
    let baseline = insert_select(&fleet).await?;
    let (_scheduler, _worker) = (fleet.start(&["scheduler"])?, fleet.start(&["worker"])?);
    fleet.serving().await?;
    let before = fleet.wal_bytes().await?;
    fleet.run(&["campaign", "launch", "bench"])?;
    fleet.until("expand", Duration::from_secs(300), |s| s["expanded"] == json!(true)).await?;
    let wal = fleet.wal_bytes().await? - before;
    let (all, first): (f64, f64) = sqlx::query_as(
        "select extract(epoch from r.expanded_at - r.started_at)::float8, extract(epoch from min(o.at) - r.started_at)::float8
         from run r join outcome o on o.workspace_id = r.workspace_id and o.run_id = r.run_id
         group by r.expanded_at, r.started_at",
    )
    .fetch_one(&fleet.store.pool)
    .await?;
    Ok(json!({
        "recipients": contacts,
        "expand_seconds": rounded(all),
        "first_message_seconds": rounded(first),
        "first_message_seconds_target": 1,
        "insert_select_seconds": rounded(baseline),
        "expand_to_insert_select": rounded(all / baseline),
        "expand_to_insert_select_target": 1.5,
        "wal_bytes_per_recipient": rounded(wal as f64 / contacts as f64),
    }))
}

/// Seconds for the same rows by one statement inside the server.
async fn insert_select(fleet: &Fleet) -> anyhow::Result<f64> {
    let mut c = fleet.store.pool.acquire().await?;
    sqlx::query("create table baseline (like recipient including indexes)").execute(&mut *c).await?;
    let began = Instant::now();
    sqlx::query(
        "insert into baseline (workspace_id, seq, run_id, units, variant, address, country, params)
         select workspace_id, row_number() over (order by address) - 1, 1, 1, 0, address, country, jsonb_build_array(name)
         from contact order by address",
    )
    .execute(&mut *c)
    .await?;
    Ok(began.elapsed().as_secs_f64())
}
