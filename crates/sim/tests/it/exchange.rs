//! What is accepted, what is refused, and how it is counted.

use std::time::Duration;

use fanfare_sim::{Config, Sim};
use serde_json::json;
use uuid::Uuid;

use crate::client::{Client, body, request, request_of, start};

#[tokio::test]
async fn accepted_messages_are_counted_and_can_be_compared_one_by_one() {
    let sim = start(Config::default());
    let mut client = Client::connect(sim.address()).await;
    for n in 1..=3 {
        let answer = client.send(n).await.unwrap();
        assert_eq!((answer.status, answer.json()), (200, json!({ "id": format!("sim-{n}") })));
    }
    client.write(&request(4, "other")).await;
    assert_eq!(client.read().await.unwrap().status, 200);

    let stats = client.get("/stats").await.json();
    assert_eq!(stats["requests"], 4);
    assert_eq!((&stats["accepted"], &stats["accepted_messages"]), (&json!(4), &json!(4)));
    assert_eq!(stats["accounts"]["s3cret"]["requests"], 3);
    assert_eq!(stats["accounts"]["s3cret"]["max_in_window"], json!({ "1s": 3, "60s": 3 }));
    assert_eq!(stats["accounts"]["other"]["max_in_window"]["60s"], 1);
    assert!(stats["latency_ms"]["max"].as_f64().unwrap() > 0.0);

    let page = client.get("/accepted?after=2").await.json();
    assert_eq!(page["next"], 4);
    let seen: Vec<_> = page["accepted"].as_array().unwrap().iter().map(|a| a["to"].as_str().unwrap()).collect();
    assert_eq!(seen, ["+213555000003", "+213555000004"]);
    assert_eq!(page["accepted"][0]["id"], json!(Uuid::from_u128(3)));
    assert_eq!(page["accepted"][0]["provider_id"], "sim-3");

    client.post("/reset", &json!({})).await;
    assert_eq!((sim.stats().requests, sim.stats().accepted, sim.accepted(0).accepted.len()), (0, 0, 0));
}

#[tokio::test]
async fn a_repeated_key_gets_the_first_result_where_keys_are_honoured() {
    let sim = start(Config::default());
    let mut client = Client::connect(sim.address()).await;
    for _ in 0..3 {
        assert_eq!(client.send(7).await.unwrap().json(), json!({ "id": "sim-1" }));
    }
    let stats = sim.stats();
    assert_eq!((stats.accepted, stats.accepted_twice, stats.repeats_answered), (1, 0, 2));
    // Keys belong to an account: at another one this is another message.
    client.write(&request(7, "other")).await;
    assert_eq!(client.read().await.unwrap().json(), json!({ "id": "sim-2" }));
    assert_eq!(sim.stats().accepted_twice, 1);
}

#[tokio::test]
async fn each_request_is_accepted_where_keys_are_ignored() {
    let sim = start(Config { honour_keys: false, ..Config::default() });
    let mut client = Client::connect(sim.address()).await;
    for n in 1..=3 {
        assert_eq!(client.send(7).await.unwrap().json(), json!({ "id": format!("sim-{n}") }));
    }
    let stats = sim.stats();
    assert_eq!((stats.accepted, stats.accepted_messages, stats.accepted_twice), (3, 1, 1));
    assert_eq!(stats.repeats_answered, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_sent_on_many_connections_at_once_is_accepted_once() {
    let sim = start(Config::default());
    let mut clients = Vec::new();
    for _ in 0..32 {
        clients.push(Client::connect(sim.address()).await);
    }
    let sent: Vec<_> = clients
        .into_iter()
        .map(|mut client| tokio::spawn(async move { client.send(7).await.unwrap().json() }))
        .collect();
    for answer in sent {
        assert_eq!(answer.await.unwrap(), json!({ "id": "sim-1" }));
    }
    assert_eq!((sim.stats().accepted, sim.stats().repeats_answered), (1, 31));
}

#[tokio::test]
async fn a_message_of_another_shape_is_refused() {
    let sim = start(Config::default());
    let mut client = Client::connect(sim.address()).await;
    let key = Uuid::from_u128(1).to_string();
    let changed = |field: &str, value| {
        let mut body = body(1);
        body[field] = value;
        body
    };
    let mut without_to = body(1);
    without_to.as_object_mut().unwrap().remove("to");
    let refused = [
        request_of(&body(1), "another-key", "s3cret"),
        request_of(&body(1), &Uuid::from_u128(2).to_string(), "s3cret"),
        request(1, "s3cret").replace("idempotency-key", "x-key"),
        request_of(&without_to, &key, "s3cret"),
        request_of(&changed("to", json!("")), &key, "s3cret"),
        request_of(&changed("channel", json!("pigeon")), &key, "s3cret"),
        request_of(&changed("run", json!(1)), &key, "s3cret"),
        request_of(&changed("text", json!(null)), &key, "s3cret"),
        request_of(&changed("template", json!("offer")), &key, "s3cret"),
        request_of(&changed("priority", json!(1)), &key, "s3cret"),
    ];
    for request in &refused {
        client.write(request).await;
        let answer = client.read().await.unwrap();
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!("malformed")), "{request}");
    }
    let stats = sim.stats();
    assert_eq!((stats.rejected, stats.accepted), (refused.len() as u64, 0));
}

#[tokio::test]
async fn another_secret_is_refused() {
    let sim = start(Config { secret: Some("right".into()), ..Config::default() });
    let mut client = Client::connect(sim.address()).await;
    assert_eq!(client.send(1).await.unwrap().status, 401);
    client.write(&request(1, "right")).await;
    assert_eq!(client.read().await.unwrap().status, 200);
    assert_eq!((sim.stats().rejected, sim.stats().accepted), (1, 1));
}

#[tokio::test]
async fn requests_above_the_cap_are_turned_away_and_told_when_to_return() {
    let sim = start(Config { cap: Some("2/h".parse().unwrap()), ..Config::default() });
    let mut client = Client::connect(sim.address()).await;
    let mut statuses = Vec::new();
    for n in 1..=4 {
        let answer = client.send(n).await.unwrap();
        statuses.push(answer.status);
        if answer.status == 429 {
            let seconds: u32 = answer.retry_after().unwrap().parse().unwrap();
            assert!((3500..=3600).contains(&seconds), "{seconds}");
        }
    }
    assert_eq!(statuses, [200, 200, 429, 429]);
    assert_eq!((sim.stats().over_cap, sim.stats().accepted), (2, 2));
    // Another account has its own.
    client.write(&request(5, "other")).await;
    assert_eq!(client.read().await.unwrap().status, 200);
}

#[tokio::test]
async fn requests_in_pieces_and_in_a_row_are_read() {
    let sim = start(Config::default());
    let mut client = Client::connect(sim.address()).await;
    client.0.set_nodelay(true).unwrap();
    for piece in request(1, "s3cret").as_bytes().chunks(50) {
        client.write(std::str::from_utf8(piece).unwrap()).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.read().await.unwrap().json(), json!({ "id": "sim-1" }));
    client.write(&(request(2, "s3cret") + &request(3, "s3cret"))).await;
    assert_eq!(client.read().await.unwrap().json(), json!({ "id": "sim-2" }));
    assert_eq!(client.read().await.unwrap().json(), json!({ "id": "sim-3" }));
}

#[tokio::test]
async fn a_client_that_asks_for_the_end_gets_it() {
    let sim = start(Config::default());
    let mut client = Client::connect(sim.address()).await;
    client.write("GET /stats HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert_eq!(client.read().await.unwrap().status, 200);
    assert!(client.read().await.is_err());
    let mut client = Client::connect(sim.address()).await;
    client.write("what is this\r\n\r\n").await;
    assert_eq!(client.read().await.unwrap().status, 400);
    assert!(client.read().await.is_err());
}

#[tokio::test]
async fn latency_comes_before_each_answer() {
    let sim = start(Config { latency: Duration::from_millis(30), ..Config::default() });
    let mut client = Client::connect(sim.address()).await;
    client.send(1).await.unwrap();
    assert!(sim.stats().latency_ms.p50 >= 30.0);
}

#[tokio::test]
async fn an_address_in_use_is_refused() {
    let sim = start(Config::default());
    let error = Sim::bind(Config::default(), sim.address()).err().unwrap();
    assert_eq!(error.to_string(), format!("cannot listen on {}", sim.address()));
}
