//! Delivery receipts come to whoever was named, also late and twice.

use chrono::{DateTime, Utc};
use fanfare_sim::{Config, Handle};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::client::{Client, start};

/// A simulator that posts its receipts here.
async fn posting(faults: &Value) -> (Handle, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}/receipts?x=1", listener.local_addr().unwrap());
    let faults = serde_json::from_value(faults.clone()).unwrap();
    (start(Config { receipts_to: Some(target.parse().unwrap()), faults, ..Config::default() }), listener)
}

/// Reads one receipt and answers it; each comes over a connection of its own.
async fn take(listener: &TcpListener, answer: &str) -> Value {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("POST /receipts?x=1 HTTP/1.1\r\n"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    stream.write_all(answer.as_bytes()).await.unwrap();
    serde_json::from_slice(&body).unwrap()
}

const TAKEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";

/// When it says that it happened, µs since the Unix epoch.
fn at_us(receipt: &Value) -> i64 {
    receipt["at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap().timestamp_micros()
}

/// Waits until this many receipts have been answered.
async fn posted(sim: &Handle, receipts: u64) {
    while sim.stats().receipts.posted + sim.stats().receipts.failed < receipts {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn each_acceptance_has_a_receipt_and_a_repeat_has_none() {
    let (sim, listener) = posting(&json!({})).await;
    let mut client = Client::connect(sim.address()).await;
    for n in [1, 1, 2] {
        client.send(n).await.unwrap();
    }
    let mut receipts = [take(&listener, TAKEN).await, take(&listener, TAKEN).await];
    receipts.sort_by_key(|r| r["provider_id"].to_string());
    for (n, receipt) in (1..).zip(&receipts) {
        assert_eq!((&receipt["id"], &receipt["status"]), (&json!(Uuid::from_u128(n)), &json!("delivered")));
        assert_eq!(receipt["provider_id"], format!("sim-{n}"));
        assert!(at_us(receipt) >= sim.accepted(0).accepted[0].at_us);
    }
    posted(&sim, 2).await;
    assert_eq!((sim.stats().receipts.posted, sim.stats().receipts.failed), (2, 0));
}

#[tokio::test]
async fn a_receipt_may_come_twice() {
    let (sim, listener) = posting(&json!({ "receipt-twice": 1.0 })).await;
    Client::connect(sim.address()).await.send(1).await.unwrap();
    let first = take(&listener, TAKEN).await;
    let second = take(&listener, TAKEN).await;
    assert_eq!((&first["id"], &first["provider_id"]), (&second["id"], &second["provider_id"]));
    assert_eq!(sim.stats().by_fault["receipt-twice"], 1);
}

#[tokio::test]
async fn a_receipt_may_come_late() {
    let (sim, listener) = posting(&json!({ "receipt-late": 1.0 })).await;
    let mut client = Client::connect(sim.address()).await;
    client.send(1).await.unwrap();
    let receipt = take(&listener, TAKEN).await;
    let lateness_us = at_us(&receipt) - sim.accepted(0).accepted[0].at_us;
    assert!(lateness_us >= 2_000_000, "{lateness_us}");
    assert_eq!(sim.stats().by_fault["receipt-late"], 1);
}

#[tokio::test]
async fn a_receipt_nobody_takes_is_counted_and_does_not_stop_the_next() {
    let (sim, listener) = posting(&json!({})).await;
    let mut client = Client::connect(sim.address()).await;
    client.send(1).await.unwrap();
    take(&listener, "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n").await;
    client.send(2).await.unwrap();
    assert_eq!(take(&listener, TAKEN).await["provider_id"], "sim-2");
    posted(&sim, 2).await;
    assert_eq!((sim.stats().receipts.posted, sim.stats().receipts.failed), (1, 1));
}
