//! Draining with the cap off and a provider that answers at once.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::fleet::{Fleet, number, rounded, stats};
use crate::meter::{cpu_seconds, cpu_seconds_with_children, peak_rss_bytes};

pub async fn run(program: &Path, divide: u64) -> anyhow::Result<Value> {
    let messages = 200_000 / divide;
    let fleet = Fleet::new(program).await?;
    let bare = {
        let (_sim, port) = fleet.sim(&["--latency", "0ms"]).await?;
        baseline(port, messages)?
    };
    let (_sim, port) = fleet.sim(&["--latency", "0ms"]).await?;
    fleet.campaign(port, messages, &["--price", "5000", "--idempotent", "true"], &[]).await?;
    let start = fleet.wal_bytes().await?;
    let mut scheduler = fleet.start(&["scheduler"])?;
    fleet.run(&["campaign", "launch", "bench"])?;
    fleet.until("expand", Duration::from_secs(120), |s| s["expanded"] == json!(true)).await?;
    let expanded = fleet.wal_bytes().await?;

    let server = fleet.server_pid().await?;
    let server_before = cpu_seconds_with_children(server);
    let mut worker = fleet.start(&["worker"])?;
    let status = drained(&fleet, Duration::from_secs(600)).await?;
    let server_cpu = cpu_seconds_with_children(server) - server_before;
    let (worker_cpu, rss) = (cpu_seconds(worker.pid()), peak_rss_bytes(worker.pid()));
    let sent = fleet.wal_bytes().await?;
    ensure!(status["sent"] == json!(messages), "not all sent: {status}");
    ensure!(number(&stats(port)?, "accepted_twice") == 0.0, "accepted twice");
    worker.stop()?;
    scheduler.stop()?;

    let rate = messages as f64 / sending_seconds(&fleet).await?;
    let each = messages as f64;
    Ok(json!({
        "messages": messages,
        "rate": rounded(rate),
        "bare_client": bare,
        "rate_to_bare_client": rounded(rate / number(&bare, "rate")),
        "rate_to_bare_client_target": 0.6,
        "worker_cpu_us_per_message": rounded(worker_cpu * 1e6 / each),
        "postgres_cpu_us_per_message": rounded(server_cpu * 1e6 / each),
        "cpu_us_per_message": rounded((worker_cpu + server_cpu) * 1e6 / each),
        "cpu_us_per_message_target": 30,
        "wal_bytes_per_message_sending": rounded((sent - expanded) as f64 / each),
        "wal_bytes_per_message_sending_target": 350,
        "wal_bytes_per_message_with_expand": rounded((sent - start) as f64 / each),
        "wal_bytes_per_message_with_expand_target": 600,
        "worker_peak_rss_mib": rounded(rss as f64 / 1048576.0),
        "worker_peak_rss_mib_target": 64,
    }))
}

/// Waits until everything is decided; asks the database and not the program, so as to cost little.
pub async fn drained(fleet: &Fleet, limit: Duration) -> anyhow::Result<Value> {
    let began = std::time::Instant::now();
    loop {
        // The server may just have been killed.
        let over = sqlx::query_scalar("select bool_and(state in (5, 6)) from run").fetch_one(&fleet.store.pool).await;
        if over.unwrap_or(false) {
            return fleet.status();
        }
        ensure!(began.elapsed() < limit, "not drained within {limit:?}: {}", fleet.status()?);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// From the first outcome to the last, by the workers' clock.
pub async fn sending_seconds(fleet: &Fleet) -> anyhow::Result<f64> {
    let seconds: f64 = sqlx::query_scalar("select extract(epoch from max(at) - min(at))::float8 from outcome")
        .fetch_one(&fleet.store.pool)
        .await?;
    Ok(seconds)
}

/// The bare client, as a process of its own so that its CPU time is its own.
fn baseline(port: u16, messages: u64) -> anyhow::Result<Value> {
    let out = std::process::Command::new(std::env::current_exe()?)
        .args(["bare", &port.to_string(), &messages.to_string()])
        .output()?;
    ensure!(out.status.success(), "bare client: {}", String::from_utf8_lossy(&out.stderr));
    let report: Value = serde_json::from_slice(&out.stdout)?;
    ensure!(report["bare"]["sent"] == json!(messages), "bare client: {report}");
    Ok(report["bare"].clone())
}
