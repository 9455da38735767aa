//! Each fault looks to a client as it should, and is counted.

use std::io::ErrorKind;
use std::time::Instant;

use fanfare_sim::{Chance, Config, Fault, Faults, Handle};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{Answer, Client, request, start};

/// A simulator that has one fault, always.
fn faulty(fault: Fault) -> Handle {
    let faults = Faults::default().with(Chance { fault, probability: 1.0 }).unwrap();
    start(Config { faults, ..Config::default() })
}

/// What a client gets that meets this fault, after the judge has been looked at.
async fn met(fault: Fault, accepted: u64) -> std::io::Result<Answer> {
    let sim = faulty(fault);
    let mut client = Client::connect(sim.address()).await;
    let answer = client.send(1).await;
    let stats = sim.stats();
    assert_eq!((stats.requests, stats.accepted), (1, accepted), "{fault:?}");
    assert_eq!(stats.by_fault.get(fault.name()), Some(&1), "{fault:?}");
    answer
}

#[tokio::test]
async fn throttling_comes_with_and_without_retry_after() {
    let answer = met(Fault::Throttle, 0).await.unwrap();
    assert_eq!((answer.status, answer.retry_after()), (429, None));
    let answer = met(Fault::ThrottleFor, 0).await.unwrap();
    assert_eq!((answer.status, answer.retry_after()), (429, Some("1")));
}

#[tokio::test]
async fn an_error_looks_the_same_before_and_after_accepting() {
    let before = met(Fault::Error, 0).await.unwrap();
    let after = met(Fault::ErrorAccepted, 1).await.unwrap();
    assert_eq!((before.status, before.head, before.body), (500, after.head, after.body));
}

#[tokio::test]
async fn unavailability_says_when_to_return() {
    let answer = met(Fault::Unavailable, 0).await.unwrap();
    assert_eq!((answer.status, answer.retry_after()), (503, Some("1")));
}

#[tokio::test]
async fn a_reset_looks_the_same_before_and_after_accepting() {
    assert_eq!(met(Fault::Reset, 0).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(met(Fault::ResetAccepted, 1).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn silence_lasts_until_the_client_gives_up() {
    let sim = faulty(Fault::SilenceAccepted);
    let mut client = Client::connect(sim.address()).await;
    client.write(&request(1, "s3cret")).await;
    // Half a close: the simulator hears the end, and answers it by the end of the connection alone.
    client.0.shutdown().await.unwrap();
    assert_eq!(client.0.read(&mut [0]).await.unwrap(), 0);
    assert_eq!((sim.stats().accepted, sim.stats().by_fault["silence-accepted"]), (1, 1));
}

#[tokio::test]
async fn a_slow_body_comes_whole_and_late() {
    let begun = Instant::now();
    let answer = met(Fault::SlowBody, 1).await.unwrap();
    assert_eq!(answer.json()["id"], "sim-1");
    assert!(begun.elapsed() >= fanfare_sim::duration("1s").unwrap());
}

#[tokio::test]
async fn a_malformed_acceptance_is_no_json() {
    let answer = met(Fault::Malformed, 1).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(serde_json::from_str::<serde_json::Value>(&answer.body).is_err());
}

#[tokio::test]
async fn a_refused_recipient_is_blamed_unless_the_message_was_accepted_before() {
    let answer = met(Fault::Recipient, 0).await.unwrap();
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &"invalid_recipient".into()));

    let sim = start(Config::default());
    let mut client = Client::connect(sim.address()).await;
    client.send(1).await.unwrap();
    let faults = Faults::default().with("recipient=1".parse().unwrap()).unwrap();
    sim.control(fanfare_sim::Control { faults: Some(faults), ..Default::default() }).await;
    assert_eq!(client.send(1).await.unwrap().json()["id"], "sim-1");
    assert_eq!(client.send(2).await.unwrap().status, 400);
}

#[tokio::test]
async fn a_repeat_after_a_lost_answer_gets_the_first_result() {
    let sim = faulty(Fault::ResetAccepted);
    let mut client = Client::connect(sim.address()).await;
    assert!(client.send(1).await.is_err());
    sim.control(fanfare_sim::Control { faults: Some(Faults::default()), ..Default::default() }).await;
    let mut client = Client::connect(sim.address()).await;
    assert_eq!(client.send(1).await.unwrap().json()["id"], "sim-1");
    assert_eq!((sim.stats().accepted, sim.stats().repeats_answered), (1, 1));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let faults = Faults::default().with("429=0.5".parse().unwrap()).unwrap();
        let sim = start(Config { faults, seed: 9, ..Config::default() });
        let mut client = Client::connect(sim.address()).await;
        let mut statuses = Vec::new();
        for n in 0..64 {
            statuses.push(client.send(n).await.unwrap().status);
        }
        assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}, seed 9");
        seen.push(statuses);
    }
    assert_eq!(seen[0], seen[1], "seed 9");
}
