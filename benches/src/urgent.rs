//! Messages that come one by one while a large run drains through the same account at its cap: from the call
//! that submits one until the provider has it, and what bulk keeps when they come faster than they may be sent.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use fanfare_scheduler::one_off::{Message, Of, submit};
use fanfare_store::Store;
use serde_json::{Map, Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use crate::depth::deepen;
use crate::fleet::{Fleet, accepted, rounded, stats};
use crate::meter::{cpu_seconds, cpu_seconds_with_children};

/// Bulk messages that wait.
const QUEUED: u64 = 1_000_000;
/// Messages whose way is measured, at each cap.
const MEASURED: u64 = 400;
/// One comes this long after the other, on average.
const APART: Duration = Duration::from_millis(100);
/// How long the idle cost is watched.
const IDLE: Duration = Duration::from_secs(10);

pub async fn run(program: &Path, divide: u64) -> anyhow::Result<Value> {
    Ok(json!({
        "queued": QUEUED / divide,
        "at_80_per_second": at(program, 80, 500, divide).await?,
        "at_1000_per_second": at(program, 1_000, 50, divide).await?,
    }))
}

/// Which messages were submitted when, µs since the Unix epoch.
type Submitted = HashMap<Uuid, i64>;

async fn at(program: &Path, cap: u64, target_ms: u64, divide: u64) -> anyhow::Result<Value> {
    let fleet = Fleet::new(program).await?;
    let (_sim, port) = fleet.sim(&["--latency", "20ms"]).await?;
    let account = ["--price", "5000", "--idempotent", "true", "--cap", &format!("{cap}/s")];
    fleet.campaign(port, 1_000, &account, &[]).await?;
    // The first message of its kind opens what the others are entered into.
    let store = &fleet.store;
    let _first = one(store).await?;
    let worker = fleet.start(&["worker"])?;
    fleet.serving().await?;
    let idle = idle_cost(&fleet, worker.pid()).await?;
    fleet.run(&["campaign", "launch", "bench"])?;
    let mut scheduler = fleet.start(&["scheduler"])?;
    fleet.until("expand", Duration::from_secs(60), |s| s["expanded"] == json!(true)).await?;
    scheduler.stop()?;
    deepen(&fleet, QUEUED / divide).await?;
    let before = stats(port)?["requests"].as_u64().unwrap_or(0);
    while stats(port)?["requests"].as_u64().unwrap_or(0) < before + 2 * cap {
        sleep(Duration::from_millis(50)).await;
    }

    let mut submitted = Submitted::new();
    for _ in 0..(MEASURED / divide).max(50) {
        submitted.extend([one(store).await?]);
        // Not in step with anything.
        sleep(Duration::from_micros(store.rng.below(2 * APART.as_micros() as u64))).await;
    }
    let way = arrived(port, &submitted).await?;

    // Then as fast as they can be entered, for a while.
    let mut flood = Submitted::new();
    let until = store.clock.now_us() + 5_000_000;
    while store.clock.now_us() < until {
        let (a, b, c, d) = tokio::try_join!(one(store), one(store), one(store), one(store))?;
        flood.extend([a, b, c, d]);
    }
    let arrivals = arrived(port, &flood).await?;
    let most =
        stats(port)?["accounts"].as_object().and_then(|all| all.values().next()?["max_in_window"]["1s"].as_u64());
    ensure!(most.unwrap_or(u64::MAX) <= cap, "{most:?} in one second at a cap of {cap}");
    Ok(json!({
        "measured": way.ms.len(),
        "submit_to_provider_p50_ms": rounded(way.percentile(0.50)),
        "submit_to_provider_p99_ms": rounded(way.percentile(0.99)),
        "submit_to_provider_p99_ms_target": target_ms,
        "submit_to_provider_max_ms": rounded(way.percentile(1.0)),
        "sent_per_second_meanwhile": rounded(way.rate),
        "flood_messages": flood.len(),
        "flood_share_of_bulk": rounded(arrivals.share_of_bulk),
        "flood_share_of_bulk_target": 0.5,
        "flood_sent_per_second": rounded(arrivals.rate),
        "most_in_any_second": most,
        "idle": idle,
    }))
}

/// Submits one message as the commands do; gives its id and when the call began.
async fn one(store: &Store) -> anyhow::Result<(Uuid, i64)> {
    let at_us = store.clock.now_us();
    let to = format!("+2136{:08}", store.rng.below(100_000_000));
    let of = Of::Template { account: "bench", template: "bench" };
    let params = Map::from_iter([("name".to_owned(), json!("Ali"))]);
    let key = store.ids.next().to_string();
    let message = Message { of, to: &to, params: &params, key: Some(&key), expires_after_s: None };
    Ok((submit(store, 1, message).await?.id, at_us))
}

/// What the provider had of messages.
struct Arrived {
    /// From the call to the provider.
    ms: Vec<f64>,
    /// Of all messages that came between the first and the last of these, those of bulk.
    share_of_bulk: f64,
    /// All messages in that time.
    rate: f64,
}

impl Arrived {
    fn percentile(&self, part: f64) -> f64 {
        percentile(&self.ms, part)
    }
}

fn percentile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}

/// Waits until the provider has all of them.
async fn arrived(port: u16, submitted: &Submitted) -> anyhow::Result<Arrived> {
    let mut arrivals: Vec<(i64, Option<Uuid>)> = Vec::new();
    let (mut next, mut missing) = (0, submitted.len());
    while missing > 0 {
        let page = accepted(port, next)?;
        next = page["next"].as_u64().unwrap_or(next);
        let found = page["accepted"].as_array().cloned().unwrap_or_default();
        for message in &found {
            let id = message["id"].as_str().and_then(|id| id.parse().ok()).filter(|id| submitted.contains_key(id));
            missing -= usize::from(id.is_some());
            arrivals.push((message["at_us"].as_i64().unwrap_or(0), id));
        }
        if found.is_empty() {
            sleep(Duration::from_millis(100)).await;
        }
    }
    let of_these: Vec<usize> = (0..arrivals.len()).filter(|i| arrivals[*i].1.is_some()).collect();
    let (Some(first), Some(last)) = (of_these.first(), of_these.last()) else { anyhow::bail!("nothing was sent") };
    let between = &arrivals[*first..=*last];
    let seconds = (arrivals[*last].0 - arrivals[*first].0) as f64 / 1e6;
    let mut ms: Vec<f64> =
        (between.iter()).filter_map(|(at_us, id)| Some((at_us - submitted.get(id.as_ref()?)?) as f64 / 1e3)).collect();
    ms.sort_by(f64::total_cmp);
    Ok(Arrived {
        share_of_bulk: (between.len() - of_these.len()) as f64 / between.len() as f64,
        rate: between.len() as f64 / seconds,
        ms,
    })
}

/// What a worker and the database take while there could be something urgent, and nothing is.
async fn idle_cost(fleet: &Fleet, worker: u32) -> anyhow::Result<Value> {
    let server = fleet.server_pid().await?;
    sleep(Duration::from_secs(2)).await;
    let (before, before_server) = (cpu_seconds(worker), cpu_seconds_with_children(server));
    sleep(IDLE).await;
    let seconds = IDLE.as_secs_f64();
    Ok(json!({
        "worker_cpu_percent": rounded((cpu_seconds(worker) - before) / seconds * 100.0),
        "postgres_cpu_percent": rounded((cpu_seconds_with_children(server) - before_server) / seconds * 100.0),
    }))
}
