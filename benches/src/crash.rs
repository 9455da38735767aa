//! Killing workers and the database in mid-campaign; auditing a drain full of faults.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use fanfare_domain::rng::Rng;
use fanfare_store::audit::audit;
use serde_json::{Value, json};

use crate::drain::drained;
use crate::fleet::{Fleet, Process, number, rounded, stats};

const WORKERS: usize = 3;
const SEED: u64 = 1;

/// Both kinds of provider: one that honours idempotency keys, one that does not.
pub async fn run(program: &Path, divide: u64) -> anyhow::Result<Value> {
    let messages = 30_000 / divide;
    Ok(json!({
        "messages": messages,
        "seed": SEED,
        "keys_honoured": killed(program, messages, true).await?,
        "keys_ignored": killed(program, messages, false).await?,
    }))
}

/// Three workers; one of them, by chance, killed every 300 ms; the database server killed once.
async fn killed(program: &Path, messages: u64, keys: bool) -> anyhow::Result<Value> {
    let fleet = Fleet::new(program).await?;
    let rng = Rng::seeded(SEED);
    let honour = keys.to_string();
    let (_sim, port) = fleet.sim(&["--latency", "20ms", "--idempotent", &honour]).await?;
    fleet.campaign(port, messages, &["--price", "5000", "--idempotent", &honour, "--cap", "2000/s"], &[]).await?;
    let _scheduler = fleet.start(&["scheduler"])?;
    fleet.run(&["campaign", "launch", "bench"])?;
    let mut workers: Vec<Process> = (0..WORKERS).map(|_| fleet.start(&["worker"])).collect::<anyhow::Result<_>>()?;
    let began = Instant::now();
    let (mut kills, mut server_kills) = (0, 0);
    // The status cannot be had while the server is down.
    while fleet.status().map_or(0.0, |s| decided(&s)) < messages as f64 * 0.9 {
        ensure!(began.elapsed() < Duration::from_secs(300), "not drained: {}", fleet.status()?);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let victim = rng.below(WORKERS as u64) as usize;
        workers[victim] = fleet.start(&["worker"])?;
        kills += 1;
        if kills == 10 {
            let server = fleet.server_pid().await?;
            kill(server)?;
            server_kills += 1;
        }
    }
    let status = drained(&fleet, Duration::from_secs(600)).await?;
    let seen = stats(port)?;
    let audit = fleet.run(&["audit"])?;
    Ok(json!({
        "worker_kills": kills,
        "server_kills": server_kills,
        "sent": status["sent"],
        "unknown": status["unknown"],
        "lost": messages as f64 - decided(&status),
        "accepted_by_the_provider": seen["accepted_messages"],
        "accepted_twice": seen["accepted_twice"],
        // Every message that the provider accepted is known as sent, or shown in doubt.
        "accepted_but_neither_sent_nor_unknown": (number(&seen, "accepted_messages") - number(&status, "sent") - number(&status, "unknown")).max(0.0),
        "audit_ok": audit["ok"],
        "seconds": rounded(began.elapsed().as_secs_f64()),
    }))
}

/// Messages whose fate is known, or known to be in doubt.
fn decided(status: &Value) -> f64 {
    ["sent", "failed", "suppressed", "expired", "cancelled", "unknown"].iter().map(|f| number(status, f)).sum()
}

fn kill(pid: u32) -> anyhow::Result<()> {
    let pid = rustix::process::Pid::from_raw(pid as i32).ok_or_else(|| anyhow::anyhow!("no process id"))?;
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::KILL)?)
}

/// Audits every 100 ms while 100,000 messages are drained through heavy faults.
pub async fn conservation(program: &Path, divide: u64) -> anyhow::Result<Value> {
    let messages = 100_000 / divide;
    let fleet = Fleet::new(program).await?;
    let (_sim, port) = fleet.sim(&["--faults", "heavy", "--latency", "5ms"]).await?;
    fleet.campaign(port, messages, &["--price", "5000", "--idempotent", "true"], &[]).await?;
    let _scheduler = fleet.start(&["scheduler"])?;
    let _workers: Vec<Process> = (0..2).map(|_| fleet.start(&["worker"])).collect::<anyhow::Result<_>>()?;
    fleet.run(&["campaign", "launch", "bench"])?;
    let (mut audits, mut violated) = (0, vec![]);
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let mut c = fleet.store.pool.acquire().await?;
        let over: bool = sqlx::query_scalar("select bool_and(state in (5, 6)) from run").fetch_one(&mut *c).await?;
        let found = audit(&mut c, 1).await?;
        audits += 1;
        violated.extend(found.checks.into_iter().filter(|c| !c.ok).map(|c| format!("{}: {}", c.name, c.detail)));
        if over {
            break;
        }
        ensure!(began.elapsed() < Duration::from_secs(1200), "not drained: {}", fleet.status()?);
    }
    Ok(json!({
        "messages": messages,
        "audits": audits,
        "violated": violated,
        "status": fleet.status()?,
        "seconds": rounded(began.elapsed().as_secs_f64()),
    }))
}
