//! Steering it while it runs.

use std::io::ErrorKind;

use fanfare_domain::clock::Clock;
use fanfare_sim::{Config, Kind};
use serde_json::json;
use tokio::net::TcpStream;

use crate::client::{Client, start};

#[tokio::test]
async fn an_outage_closes_and_refuses_connections_until_it_ends() {
    let sim = start(Config::default());
    let mut operator = Client::connect(sim.control_address()).await;
    let mut client = Client::connect(sim.address()).await;
    client.send(1).await.unwrap();

    for n in [2, 3u64] {
        assert_eq!(operator.post("/control", &json!({ "outage": true })).await.status, 200);
        assert!(client.read().await.is_err(), "open connections are closed");
        let refused = TcpStream::connect(sim.address()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(operator.get("/stats").await.json()["accepted"], json!(n - 1));

        assert_eq!(operator.post("/control", &json!({ "outage": false })).await.status, 200);
        client = Client::connect(sim.address()).await;
        client.send(n.into()).await.unwrap();
    }
}

#[tokio::test]
async fn an_outage_cuts_off_a_request_under_way() {
    let sim = start(Config { latency: std::time::Duration::from_secs(600), ..Config::default() });
    let mut operator = Client::connect(sim.control_address()).await;
    let mut client = Client::connect(sim.address()).await;
    client.write(&crate::client::request(1, "s3cret")).await;
    while sim.stats().accepted == 0 {
        tokio::task::yield_now().await;
    }
    operator.post("/control", &json!({ "outage": true })).await;
    assert!(client.read().await.is_err());
}

#[tokio::test]
async fn latency_and_faults_change_while_running() {
    let sim = start(Config::default());
    let mut client = Client::connect(sim.address()).await;
    let changed = client.post("/control", &json!({ "latency_ms": 25, "faults": { "503": 1.0 } })).await;
    assert_eq!(changed.status, 200);
    assert_eq!(client.send(1).await.unwrap().status, 503);
    assert!(sim.stats().latency_ms.max >= 25.0);
    // What is not named stays.
    client.post("/control", &json!({ "latency_ms": 0 })).await;
    assert_eq!(client.send(1).await.unwrap().status, 503);
    client.post("/control", &json!({ "faults": {} })).await;
    assert_eq!(client.send(1).await.unwrap().status, 200);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_a_reason() {
    let sim = start(Config::default());
    let mut client = Client::connect(sim.address()).await;
    let message = |answer: crate::client::Answer| {
        assert_eq!(answer.status, 400);
        answer.json()["error"]["message"].as_str().unwrap().to_owned()
    };
    let outage = message(client.post("/control", &json!({ "outage": true })).await);
    assert!(outage.ends_with(&sim.control_address().to_string()), "{outage}");
    let fault = message(client.post("/control", &json!({ "faults": { "430": 1.0 } })).await);
    assert!(fault.contains("430") && fault.contains("429-retry-after"), "{fault}");
    let many = message(client.post("/control", &json!({ "faults": { "429": 0.6, "503": 0.6 } })).await);
    assert!(many.contains("these come to 1.2"), "{many}");
    assert_eq!(message(client.get("/accepted?after=x").await), "expected ?after=N");
    assert_eq!(client.get("/nowhere").await.status, 404);
    assert_eq!(client.get("/send").await.status, 405);
    // Messages are taken at their own address only.
    let mut operator = Client::connect(sim.control_address()).await;
    assert_eq!(operator.send(1).await.unwrap().status, 405);
}

#[tokio::test]
async fn shutdown_closes_everything() {
    let sim = fanfare_sim::Sim::bind(Config::default(), "127.0.0.1:0".parse().unwrap()).unwrap();
    let handle = sim.handle();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(sim.serve(async { drop(stopped.await) }));
    let mut client = Client::connect(handle.address()).await;
    client.send(1).await.unwrap();
    drop(stop);
    serving.await.unwrap();
    assert!(client.read().await.is_err());
    assert!(TcpStream::connect(handle.address()).await.is_err());
    assert_eq!(handle.stats().accepted, 1);
}

#[tokio::test]
async fn who_has_not_written_within_a_day_may_be_sent_templates_only() {
    const DAY_US: i64 = 24 * 3600 * 1_000_000;
    let sim = start(Config { kind: Kind::OneMsg, ..Config::default() });
    let mut client = Client::connect(sim.address()).await;
    let now_us = Clock::system().now_us();
    sim.wrote("+213550000001", now_us - DAY_US + 60_000_000);
    sim.wrote("+213550000002", now_us - DAY_US - 1_000_000);
    client.post("/control", &json!({ "wrote": ["+213550000004"] })).await;
    let text = json!({ "body": "Hello" });
    let template =
        json!({ "template": "spring", "namespace": "n", "language": { "policy": "deterministic", "code": "en" } });
    for (to, method, said, sent) in [
        (213_550_000_001_u64, "sendMessage", &text, true),
        (213_550_000_002, "sendMessage", &text, false),
        (213_550_000_002, "sendTemplate", &template, true),
        (213_550_000_003, "sendMessage", &text, false),
        (213_550_000_004, "sendMessage", &text, true),
    ] {
        let mut body = said.clone();
        body["phone"] = to.into();
        let answer = client.post(&format!("/SIM1/{method}?token=s3cret"), &body).await;
        assert_eq!((answer.status, &answer.json()["sent"]), (200, &json!(sent)), "{to} {method}");
    }
    let seen = sim.stats();
    assert_eq!((seen.accepted, seen.outside_window, seen.rejected), (3, 2, 0));
}
