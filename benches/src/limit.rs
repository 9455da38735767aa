//! A cap shared by four workers, as the provider counts it; then again with one killed half-way.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fleet::{Fleet, Process, rounded, stats};

const CAP: u64 = 500;
const SECONDS: u64 = 60;

pub async fn run(program: &Path, divide: u64) -> anyhow::Result<Value> {
    let seconds = (SECONDS / divide).max(5);
    Ok(json!({
        "cap_per_second": CAP,
        "undisturbed": once(program, seconds, false).await?,
        "one_killed_half_way": once(program, seconds, true).await?,
    }))
}

async fn once(program: &Path, seconds: u64, kill: bool) -> anyhow::Result<Value> {
    let fleet = Fleet::new(program).await?;
    let (_sim, port) = fleet.sim(&["--latency", "20ms"]).await?;
    let contacts = CAP * (seconds + 30);
    fleet
        .campaign(port, contacts, &["--price", "5000", "--idempotent", "true", "--cap", &format!("{CAP}/s")], &[])
        .await?;
    fleet.run(&["campaign", "launch", "bench"])?;
    let _scheduler = fleet.start(&["scheduler"])?;
    fleet.until("expand", Duration::from_secs(60), |s| s["expanded"] == json!(true)).await?;
    let mut workers: Vec<Process> = (0..4).map(|_| fleet.start(&["worker"])).collect::<anyhow::Result<_>>()?;
    while stats(port)?["requests"] == json!(0) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_secs(seconds / 2)).await;
    if kill {
        drop(workers.pop());
    }
    tokio::time::sleep(Duration::from_secs(seconds - seconds / 2)).await;
    let seen = stats(port)?;
    let most = seen["accounts"]
        .as_object()
        .into_iter()
        .flat_map(|a| a.values())
        .filter_map(|a| a["max_in_window"]["1s"].as_u64())
        .max();
    let allowed = (CAP * seconds) as f64;
    Ok(json!({
        "seconds": seconds,
        "requests": seen["requests"],
        "most_in_any_second": most,
        "share_of_the_cap": rounded(seen["requests"].as_f64().unwrap_or(0.0) / allowed),
        "share_of_the_cap_target": if kill { Value::Null } else { json!(0.97) },
    }))
}
