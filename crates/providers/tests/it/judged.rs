//! The named providers against their simulators: what an adapter says of a message is held against what
//! the judge saw.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use chrono::TimeDelta;
use fanfare_domain::clock::Clock;
use fanfare_domain::content::Content;
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Answer, FailureKind};
use fanfare_providers::{Adapter, Client, Finding, Provider as _, open};
use fanfare_sim::{Config, Control, Faults, Handle, Kind, Sim};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::peer;

/// Messages sent at a time.
const AT_ONCE: usize = 25;

/// A simulator of a kind, with faults.
fn simulator(kind: Kind, faults: Faults, seed: u64) -> Handle {
    let secret = Some("s3cret".to_owned());
    let config = Config { kind, faults, seed, secret, honour_keys: false, ..Config::default() };
    let sim = Sim::bind(config, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let handle = sim.handle();
    tokio::spawn(sim.serve(std::future::pending()));
    handle
}

fn client(clock: Clock) -> Client {
    Client::new(clock).with_timeouts(Duration::from_secs(5), Duration::from_millis(400))
}

fn account(kind: &str, sim: &Handle, mut settings: Value, client: &Client) -> Adapter {
    settings["url"] = sim.url().into();
    open(kind, &settings, Some("s3cret"), client).unwrap()
}

/// Sends all of them, some at a time; what the adapter said of each.
async fn send_all(adapter: Adapter, messages: Vec<OutMessage>) -> Vec<(OutMessage, Answer)> {
    let adapter = std::sync::Arc::new(adapter);
    let mut said = Vec::new();
    let mut flight = JoinSet::new();
    for message in messages {
        if flight.len() == AT_ONCE {
            said.extend(flight.join_next().await.map(Result::unwrap));
        }
        let adapter = adapter.clone();
        flight.spawn(async move {
            let answer = adapter.send(&message, &|| true).await;
            (message, answer)
        });
    }
    while let Some(more) = flight.join_next().await {
        said.push(more.unwrap());
    }
    said
}

/// How often each address was accepted, and each id given.
fn accepted(sim: &Handle) -> (HashMap<String, usize>, HashMap<String, usize>) {
    let (mut by_address, mut by_id) = (HashMap::new(), HashMap::new());
    for acceptance in sim.accepted(0).accepted {
        *by_address.entry(acceptance.to).or_default() += 1;
        // What a mail server is known to have taken by.
        *by_id.entry(format!("{}@example.com", acceptance.id)).or_default() += 1;
        *by_id.entry(acceptance.provider_id).or_default() += 1;
    }
    (by_address, by_id)
}

/// Holds what was said against what was seen; returns the messages in doubt.
fn judged(sim: &Handle, said: Vec<(OutMessage, Answer)>) -> Vec<OutMessage> {
    let (by_address, by_id) = accepted(sim);
    let mut doubtful = Vec::new();
    let mut sent = 0;
    for (message, answer) in said {
        let times = by_address.get(&message.to).copied().unwrap_or(0);
        match answer {
            Answer::Sent { provider_id } => {
                sent += 1;
                assert_eq!(times, 1, "{}", message.to);
                provider_id.iter().for_each(|id| assert_eq!(by_id.get(id), Some(&1), "{id}"));
            }
            Answer::Failed(failure) if failure.kind == FailureKind::Unknown => doubtful.push(message),
            other => assert_eq!(times, 0, "{}: {other:?}", message.to),
        }
    }
    let seen = sim.stats();
    assert_eq!((seen.accepted_twice, seen.rejected), (0, 0), "{seen:?}");
    assert!(sent > 0 && !doubtful.is_empty(), "{sent} sent, {} in doubt: {seen:?}", doubtful.len());
    doubtful
}

fn heavy() -> Faults {
    Faults::preset("heavy").unwrap()
}

#[tokio::test]
async fn twilio_is_believed_and_what_is_in_doubt_is_found() {
    let since = Clock::system().now();
    let sim = simulator(Kind::Twilio, heavy(), 3);
    let settings = json!({ "account_sid": "AC5", "messaging_service_sid": "MG1" });
    let message = |n: u128| OutMessage {
        id: Uuid::from_u128(n),
        to: format!("+2135550{n:05}"),
        channel: Channel::Sms,
        content: Content::text(format!("Hello {n}, 5% & more")),
        ..peer::message()
    };
    let adapter = account("twilio", &sim, settings.clone(), &client(Clock::system()));
    let doubtful = judged(&sim, send_all(adapter, (0..600).map(message).collect()).await);

    sim.control(Control { faults: Some(Faults::default()), ..Control::default() }).await;
    let (by_address, _) = accepted(&sim);
    let soon = account("twilio", &sim, settings.clone(), &client(Clock::system()));
    let late = Clock::manual(since + TimeDelta::minutes(10));
    let later = account("twilio", &sim, settings, &client(late));
    let mut seen = [0; 2];
    for message in doubtful {
        let was = by_address.contains_key(&message.to);
        match later.look_up(&message, since, &|| true).await {
            Finding::Sent { provider_id } => assert!(was && provider_id.is_some(), "{}", message.to),
            Finding::Absent => {
                assert!(!was, "{}", message.to);
                let found = soon.look_up(&message, since, &|| true).await;
                assert_eq!(found, Finding::Unsure("too soon to be listed"));
            }
            other => panic!("{}: {other:?}", message.to),
        }
        seen[usize::from(was)] += 1;
    }
    assert!(seen.iter().all(|n| *n > 0), "absent and found: {seen:?}, seed 3");
    assert!(soon.check().await.is_ok());
}

#[tokio::test]
async fn twilio_sends_by_a_service_or_a_sender_and_not_without() {
    let sim = simulator(Kind::Twilio, Faults::default(), 1);
    let settings = json!({ "account_sid": "AC5", "key_sid": "SK1" });
    let adapter = account("twilio", &sim, settings, &client(Clock::system()));
    let from = |from: Option<&str>| OutMessage { from: from.map(str::to_owned), ..peer::message() };
    let none = adapter.send(&from(None), &|| true).await;
    assert_eq!(none, peer::failed(FailureKind::Configuration, "no sender and no messaging_service_sid"));
    assert_eq!(sim.stats().requests, 0);
    assert!(matches!(adapter.send(&from(Some("+15005550006")), &|| true).await, Answer::Sent { .. }));
    assert_eq!(adapter.check().await, Ok("the key may read messages".to_owned()));
    assert!(!format!("{adapter:?}").contains("s3cret"));
    assert_eq!(sim.stats().accepted, 1);
}

#[tokio::test]
async fn smtp_is_believed_stage_by_stage() {
    let sim = simulator(Kind::Smtp, heavy(), 4);
    let adapter = account("smtp", &sim, json!({ "tls": "none", "user": "shop" }), &client(Clock::system()));
    let message = |n: u128| OutMessage {
        id: Uuid::from_u128(n),
        to: format!("amina{n}@example.org"),
        from: Some("Shop <shop@example.com>".into()),
        channel: Channel::Email,
        content: Content::Html {
            subject: format!("Spring {n}"),
            html: "<p>مرحبا</p>".into(),
            body: None,
            attachments: Vec::new(),
        },
        ..peer::message()
    };
    let said = send_all(adapter, (0..800).map(message).collect()).await;
    for (message, answer) in &said {
        if let Answer::Sent { provider_id } = answer {
            assert_eq!(provider_id.as_deref(), Some(format!("{}@example.com", message.id).as_str()));
        }
    }
    judged(&sim, said);
    let seen = sim.stats();
    assert!(seen.by_fault.values().filter(|n| **n > 0).count() >= 10, "seed 4: {seen:?}");
    assert_eq!(seen.accounts.keys().collect::<Vec<_>>(), ["s3cret"]);
}
