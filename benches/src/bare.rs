//! The baseline of the drain: the same HTTP client, the same messages, no database.

use std::time::{Duration, Instant};

use fanfare_domain::clock::Clock;
use fanfare_domain::content::Content;
use fanfare_domain::id::message_id;
use fanfare_domain::limits::IN_FLIGHT_MAX;
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::Answer;
use fanfare_providers::{Client, Provider as _};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde_json::{Value, json};

use crate::fleet::rounded;
use crate::meter::cpu_seconds;

/// Sends `messages` through as many tasks as a worker has batches, with as many requests in flight.
pub async fn run(port: u16, messages: u64) -> anyhow::Result<Value> {
    const TASKS: u64 = 4;
    let settings = json!({ "url": format!("http://127.0.0.1:{port}/send") });
    let client = Client::new(Clock::system());
    let adapter = std::sync::Arc::new(fanfare_providers::open("http", &settings, Some("bare"), &client)?);
    let began = Instant::now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let adapter = adapter.clone();
            tokio::spawn(async move {
                let (mut flight, mut sent) = (FuturesUnordered::new(), 0u64);
                for i in (task..messages).step_by(TASKS as usize) {
                    if flight.len() >= IN_FLIGHT_MAX / TASKS as usize {
                        sent += u64::from(flight.next().await == Some(true));
                    }
                    let adapter = &adapter;
                    flight
                        .push(async move { matches!(adapter.send(&message(i), &|| true).await, Answer::Sent { .. }) });
                }
                while let Some(ok) = flight.next().await {
                    sent += u64::from(ok);
                }
                sent
            })
        })
        .collect();
    let mut sent = 0;
    for task in tasks {
        sent += task.await?;
    }
    let seconds = began.elapsed().max(Duration::from_millis(1)).as_secs_f64();
    Ok(json!({
        "sent": sent,
        "rate": rounded(messages as f64 / seconds),
        "cpu_us_per_message": rounded(cpu_seconds(std::process::id()) * 1e6 / messages as f64),
    }))
}

fn message(i: u64) -> OutMessage {
    OutMessage {
        id: message_id(0, 0, i as i32),
        to: format!("+2135{i:08}"),
        from: None,
        channel: Channel::Sms,
        content: Content::Text { subject: None, body: format!("Hello Amina {}", i % 977) },
        campaign: "bench".into(),
        run_id: 1,
        seq: i as i32,
        attempt: 1,
    }
}
