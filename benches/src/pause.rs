//! Pausing, changing and resuming a run at moments of chance: how long after a pause the last message arrives.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use fanfare_domain::rng::Rng;
use serde_json::{Value, json};

use crate::fleet::{Fleet, rounded, stats};

const MESSAGES: u64 = 50_000;
const MOMENTS: u64 = 20;
const SEED: u64 = 1;
/// After this nothing of before the pause can be under way.
const QUIET: Duration = Duration::from_millis(700);

pub async fn run(program: &Path, divide: u64) -> anyhow::Result<Value> {
    let fleet = Fleet::new(program).await?;
    let (_sim, port) = fleet.sim(&["--latency", "5ms", "--faults", "light"]).await?;
    let messages = MESSAGES / divide;
    fleet.campaign(port, messages, &["--price", "5000", "--idempotent", "true", "--cap", "2000/s"], &[]).await?;
    fleet.run(&["campaign", "launch", "bench"])?;
    let _scheduler = fleet.start(&["scheduler"])?;
    fleet.until("expand", Duration::from_secs(60), |s| s["expanded"] == json!(true)).await?;
    let _workers = [fleet.start(&["worker"])?, fleet.start(&["worker"])?];
    fleet.serving().await?;
    let (rng, mut next, mut late_ms, mut audits) = (Rng::seeded(SEED), 0, Vec::new(), 0);
    for moment in 0..MOMENTS {
        tokio::time::sleep(Duration::from_millis(200 + rng.below(600))).await;
        fleet.run(&["campaign", "pause", "bench"])?;
        let paused_us: i64 = sqlx::query_scalar(
            "select (extract(epoch from max(at)) * 1000000)::bigint from transition where to_state = 3",
        )
        .fetch_one(&fleet.store.pool)
        .await?;
        tokio::time::sleep(QUIET).await;
        let last = last_accepted(port, &mut next)?;
        late_ms.extend(last.map(|at| ((at - paused_us) as f64 / 1000.0).max(0.0)));
        let weight = (1 + rng.below(100)).to_string();
        fleet.run(&["campaign", "set", "bench", "--weight", &weight])?;
        audits += u64::from(fleet.run(&["audit"])?["ok"] == json!(true));
        let on = if moment == MOMENTS - 1 { "cancel" } else { "resume" };
        fleet.run(&["campaign", on, "bench"])?;
    }
    let done = fleet.until("end", Duration::from_secs(60), |s| s["state"] == json!("cancelled")).await?;
    audits += u64::from(fleet.run(&["audit"])?["ok"] == json!(true));
    late_ms.sort_by(f64::total_cmp);
    ensure!(!late_ms.is_empty(), "nothing was sent");
    Ok(json!({
        "messages": messages,
        "sent": done["sent"],
        "cancelled": done["cancelled"],
        "pauses": MOMENTS,
        "audits_true": audits,
        "audits": MOMENTS + 1,
        "accepted_twice": stats(port)?["accepted_twice"],
        "pause_to_last_send_ms_p50": rounded(late_ms[late_ms.len() / 2]),
        "pause_to_last_send_ms_p99": rounded(late_ms[late_ms.len() - 1]),
        "pause_to_last_send_ms_p99_target": 300,
    }))
}

/// When the last message arrived that was accepted since the last look, µs since the Unix epoch.
fn last_accepted(port: u16, next: &mut u64) -> anyhow::Result<Option<i64>> {
    let mut last = None;
    loop {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
        write!(stream, "GET /accepted?after={next} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let page: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).context("no body")?)?;
        let accepted = page["accepted"].as_array().context("a page has acceptances")?;
        last = last.max(accepted.iter().filter_map(|a| a["at_us"].as_i64()).max());
        let after = page["next"].as_u64().context("a page says what is next")?;
        if accepted.is_empty() || after == *next {
            return Ok(last);
        }
        *next = after;
    }
}
