//! A storm of receipts while messages are sent: none lost, counted right, and the sending goes on.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fanfare_domain::id::message_id;
use fanfare_domain::rng::Rng;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fleet::{Fleet, number, rounded};

const CAP: &str = "1000/s";
/// Connections that receipts come over, each with one receipt at a time.
const CONNECTIONS: usize = 32;
const SEED: u64 = 1;

pub async fn run(program: &Path, divide: u64) -> anyhow::Result<Value> {
    let (messages, receipts) = (20_000 / divide, 100_000 / divide);
    let calm = drain(program, messages, 0).await?;
    let stormy = drain(program, messages, receipts).await?;
    let expected = [messages, messages, messages / 3];
    ensure!(stormy.counts == expected, "delivered, read and undelivered: {:?}, not {expected:?}", stormy.counts);
    Ok(json!({
        "messages": messages,
        "receipts": receipts,
        "receipts_per_second": rounded(receipts as f64 / stormy.storm_seconds),
        "stored": stormy.health["receipts"],
        "repeated": stormy.health["repeated"],
        "rejected": stormy.health["rejected"],
        "delivered_read_undelivered": stormy.counts,
        "rate_without": rounded(calm.rate),
        "rate_with": rounded(stormy.rate),
        "rate_with_to_without": rounded(stormy.rate / calm.rate),
        "rate_with_to_without_target": 0.8,
        "audit_ok": stormy.audit,
    }))
}

struct Drained {
    /// Messages a second.
    rate: f64,
    storm_seconds: f64,
    /// Delivered, read, failed after all.
    counts: [u64; 3],
    health: Value,
    audit: Value,
}

async fn drain(program: &Path, messages: u64, receipts: u64) -> anyhow::Result<Drained> {
    let fleet = Fleet::new(program).await?;
    let (_sim, port) = fleet.sim(&["--latency", "5ms"]).await?;
    fleet.campaign(port, messages, &["--cap", CAP, "--idempotent", "true"], &[]).await?;
    let hook = fleet.run(&["account", "hook", "bench"])?;
    let path = hook["url"].as_str().and_then(|url| url.splitn(4, '/').nth(3)).context("a hook has an address")?;
    let server = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let run = fleet.run(&["campaign", "launch", "bench"])?;
    let run_id: i64 = run["run"].as_str().context("a run has an id")?.parse()?;
    let _scheduler = fleet.start(&["scheduler"])?;
    fleet.until("expand", Duration::from_secs(60), |s| s["expanded"] == json!(true)).await?;
    let _serve = fleet.start(&["serve", "--listen", &server.to_string()])?;
    let _worker = fleet.start(&["worker"])?;
    fleet.serving().await?;
    let began = Instant::now();
    if receipts > 0 {
        storm(&server.to_string(), path, run_id, messages, receipts).await?;
    }
    let storm_seconds = began.elapsed().as_secs_f64();
    let status = fleet.until("drain", Duration::from_secs(300), |s| s["state"] == json!("finished")).await?;
    let (sent, seconds): (i64, f64) =
        sqlx::query_as("select count(*), extract(epoch from max(at) - min(at))::float8 from outcome where class = 1")
            .fetch_one(&fleet.store.pool)
            .await?;
    ensure!(sent as u64 == messages && seconds > 0.0, "{sent} sent in {seconds} s");
    let counts = ["delivered", "read", "undelivered"].map(|key| number(&status, key) as u64);
    let health = if receipts > 0 { health(&server.to_string())? } else { Value::Null };
    let audit = fleet.run(&["audit"])?["ok"].clone();
    Ok(Drained { rate: sent as f64 / seconds, storm_seconds, counts, health, audit })
}

/// Posts receipts of every message: sent, delivered, read, a third of them failed after all; the rest are
/// repeats. All of them shuffled.
async fn storm(server: &str, path: &str, run_id: i64, messages: u64, receipts: u64) -> anyhow::Result<()> {
    let mut all: Vec<(i32, &str)> = Vec::with_capacity(receipts as usize);
    for seq in 0..messages as i32 {
        all.extend([(seq, "sent"), (seq, "delivered"), (seq, "read")]);
        all.extend((seq as u64 % 3 == 1 && (seq as u64) < messages / 3 * 3).then_some((seq, "failed")));
    }
    let rng = Rng::seeded(SEED);
    let unique = all.len();
    while all.len() < receipts as usize {
        all.push(all[rng.below(unique as u64) as usize]);
    }
    (1..all.len()).rev().for_each(|i| all.swap(i, rng.below(i as u64 + 1) as usize));
    wait_for(server).await?;
    let posts = all.chunks(all.len().div_ceil(CONNECTIONS)).map(|chunk| {
        let chunk: Vec<(String, &'static str)> =
            chunk.iter().map(|(seq, status)| (message_id(1, run_id, *seq).to_string(), known(status))).collect();
        let (server, path) = (server.to_owned(), path.to_owned());
        tokio::spawn(async move { post_all(&server, &path, &chunk).await })
    });
    for done in futures::future::join_all(posts).await {
        done??;
    }
    Ok(())
}

fn known(status: &str) -> &'static str {
    ["sent", "delivered", "read"].into_iter().find(|known| *known == status).unwrap_or("failed")
}

async fn wait_for(server: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    while TcpStream::connect(server).await.is_err() {
        ensure!(began.elapsed() < Duration::from_secs(30), "nobody takes receipts at {server}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn post_all(server: &str, path: &str, receipts: &[(String, &str)]) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let mut answer = [0; 1024];
    for (id, status) in receipts {
        let body = format!(r#"{{"id":"{id}","status":"{status}"}}"#);
        let request =
            format!("POST /{path} HTTP/1.1\r\nhost: {server}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await?;
        // An answer without a body comes in one piece.
        let read = stream.read(&mut answer).await?;
        ensure!(answer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..read]));
    }
    Ok(())
}

/// What the server says of itself.
fn health(server: &str) -> anyhow::Result<Value> {
    let mut stream = std::net::TcpStream::connect(server)?;
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(serde_json::from_str(answer.split("\r\n\r\n").nth(1).context("no body")?)?)
}
