//! The window of a conversation: words of our own go to those who wrote within a day, and to nobody else.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_domain::receipt::{Inbound, Meaning, ReceiptKind};
use fanfare_domain::state::MessageState;
use fanfare_domain::template::Text;
use fanfare_sim::Config;
use fanfare_store::{deliveries, inbound};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

use crate::drain::faults_of;
use crate::receipts::post;
use crate::stage::{Account, PRICE, Play, Stage, WORKSPACE};

const CONTACTS: i32 = 300;
const HOOK_KEY: &str = "app s3cret";

/// How long ago a recipient wrote, in seconds, and whether the provider remembers it.
const WROTE: [(Option<i64>, bool); 6] = [
    (Some(3_600), true),
    (Some(24 * 3_600 - 120), true),
    // In its last minute a window is not used.
    (Some(24 * 3_600 - 30), true),
    (Some(25 * 3_600), true),
    (None, true),
    // Here the books and the provider differ.
    (Some(3_600), false),
];
const EACH: i64 = CONTACTS as i64 / WROTE.len() as i64;

/// Which of [`WROTE`] the recipient of this address is.
fn sort(address: &str) -> usize {
    let number: usize = address.trim_start_matches("+2135").parse().unwrap();
    number % WROTE.len()
}

fn account(kind: &'static str, fallback: bool) -> Account {
    let settings = match kind {
        "meta" => json!({ "phone_number_id": "106540352242922" }),
        "one_msg" => json!({ "instance_id": "ABC123" }),
        _ => json!({}),
    };
    let approved =
        Text::Rich(json!({ "type": "template", "name": "spring", "language": "en", "params": ["{{ name }}"] }));
    Account { fallback: fallback.then_some(approved), ..Account::whatsapp(kind, settings) }
}

/// The stage, once everybody has written who will.
async fn stage(kind: &'static str, fallback: bool, faults: &str) -> Play {
    let faults = if faults.is_empty() { Default::default() } else { faults_of(faults) };
    let sim = Config { faults, seed: 14, hook_key: Some(HOOK_KEY.to_owned()), ..Config::default() };
    let (account, receipts) = (account(kind, fallback), kind != "pabbly");
    let play =
        Stage { contacts: CONTACTS, idempotent: false, receipts, account, sim, ..Stage::default() }.launch().await;
    let now = play.db.store.clock.now();
    let addresses: Vec<String> =
        sqlx::query_scalar("select address from recipient order by seq").fetch_all(&play.db.store.pool).await.unwrap();
    let mut wrote = Vec::new();
    for address in addresses {
        let (ago, known) = WROTE[sort(&address)];
        let Some(at) = ago.map(|seconds| now - TimeDelta::seconds(seconds)) else { continue };
        if known {
            play.sim.wrote(&address, at.timestamp_micros());
        }
        wrote.push((address, at));
    }
    tell(&play, kind, &wrote).await;
    play
}

/// Has the provider hand on what recipients wrote, as it does.
async fn tell(play: &Play, kind: &str, wrote: &[(String, DateTime<Utc>)]) {
    let digits = |address: &String| address.trim_start_matches('+').to_owned();
    let (body, headers) = match kind {
        "meta" => {
            let message = |(from, at): &(String, DateTime<Utc>)| {
                json!({ "id": format!("wamid.{from}"), "from": digits(from), "type": "text",
                        "timestamp": at.timestamp().to_string(), "text": { "body": "Hello?" } })
            };
            let value = json!({ "messages": wrote.iter().map(message).collect::<Vec<_>>() });
            let body = json!({ "entry": [{ "changes": [{ "field": "messages", "value": value }] }] });
            let mut mac = Hmac::<Sha256>::new_from_slice(HOOK_KEY.as_bytes()).unwrap();
            mac.update(body.to_string().as_bytes());
            let signature = hex::encode(mac.finalize().into_bytes());
            (body, format!("x-hub-signature-256: sha256={signature}\r\n"))
        }
        "one_msg" => {
            let message = |(from, at): &(String, DateTime<Utc>)| {
                json!({ "id": format!("m {from}"), "author": format!("{}@c.us", digits(from)), "body": "Hello?",
                        "fromMe": false, "time": at.timestamp() })
            };
            (json!({ "messages": wrote.iter().map(message).collect::<Vec<_>>() }), String::new())
        }
        // It posts nothing: what it was told by other ways.
        _ => {
            let heard = |(from, at): &(String, DateTime<Utc>)| Inbound {
                provider_id: from.clone(),
                address: from.clone(),
                at: Some(*at),
                meaning: Meaning::Reply,
                about: None,
                answer: (ReceiptKind::Replied, None),
            };
            let all: Vec<Inbound> = wrote.iter().map(heard).collect();
            let account_id: i64 =
                sqlx::query_scalar("select account_id from account").fetch_one(&play.db.store.pool).await.unwrap();
            inbound::take(&play.db.store, WORKSPACE, account_id, &all).await.unwrap();
            return;
        }
    };
    assert_eq!(post(&play.hook, &headers, body.to_string().as_bytes()).await.0, 200);
}

/// Of each sort: how many were sent words of our own, and how many the template.
fn accepted(play: &Play) -> Vec<(i64, i64)> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut sorts = vec![(0, 0); WROTE.len()];
    for acceptance in play.sim.accepted(0).accepted {
        let (own, template) = &mut sorts[sort(&acceptance.to)];
        *(if acceptance.free_form { own } else { template }) += 1;
        *seen.entry(acceptance.to).or_default() += 1;
    }
    assert!(seen.values().all(|times| *times == 1), "somebody was sent two: {seen:?}");
    sorts
}

async fn with_fallback(kind: &'static str) {
    // Each accepts, so that everybody gets one whatever is said of it.
    let play = stage(kind, true, "reset-accepted=0.05 malformed=0.05").await;
    play.scheduler();
    let worker = play.worker();
    let done = play.finished().await;
    let seen = play.sim.stats();
    let what = format!("{kind}, seed 14: {done:?} {seen:?}");
    let (own, template) = ((EACH, 0), (0, EACH));
    assert_eq!(accepted(&play), [own, own, template, template, template, template], "{what}");
    assert_eq!((done.failed, done.sent + done.unknown), (0, i64::from(CONTACTS)), "{what}");
    assert!(seen.by_fault.len() == 2 && done.cost == done.sent * PRICE, "{what}");
    // The provider had to say so only where our books said otherwise.
    assert_eq!((seen.outside_window, seen.rejected), (EACH as u64, 0), "{what}");
    worker.stop().await;
}

async fn without_fallback(kind: &'static str) {
    let play = stage(kind, false, "").await;
    play.scheduler();
    let worker = play.worker();
    let done = play.finished().await;
    let seen = play.sim.stats();
    let what = format!("{kind}: {done:?} {seen:?}");
    let (own, nothing) = ((EACH, 0), (0, 0));
    assert_eq!(accepted(&play), [own, own, nothing, nothing, nothing, nothing], "{what}");
    assert_eq!((done.sent, done.failed, done.cost), (2 * EACH, 4 * EACH, 2 * EACH * PRICE), "{what}");
    // Nobody was asked for what is known to be refused.
    assert_eq!((seen.requests, seen.outside_window), (3 * EACH as u64, EACH as u64), "{what}");
    let mut c = play.db.store.pool.acquire().await.unwrap();
    let failed = Some(MessageState::Failed);
    let failed = deliveries::page(&mut c, WORKSPACE, done.run_id, (0, CONTACTS), failed).await.unwrap();
    let mut details: BTreeMap<String, i64> = BTreeMap::new();
    for delivery in failed {
        *details.entry(delivery.detail.unwrap_or_default()).or_default() += 1;
    }
    let said: Vec<(&str, i64)> = details.iter().map(|(detail, n)| (detail.as_str(), *n)).collect();
    assert!(
        matches!(said[..], [("window closed", n), (code, EACH)] if n == 3 * EACH && code.starts_with("window closed: ")),
        "{said:?}"
    );
    worker.stop().await;
}

/// A provider whose clock is fast must not keep a window open for longer than it is.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_heard_of_in_the_time_to_come() {
    let play =
        Stage { contacts: 1, receipts: true, account: account("one_msg", true), ..Stage::default() }.launch().await;
    let store = &play.db.store;
    tell(&play, "one_msg", &[("+213550000001".to_owned(), store.clock.now() + TimeDelta::days(1))]).await;
    let heard_at: DateTime<Utc> =
        sqlx::query_scalar("select heard_at from conversation").fetch_one(&store.pool).await.unwrap();
    assert!(heard_at <= store.clock.now(), "{heard_at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn meta_is_sent_the_fallback_where_its_window_is_closed() {
    with_fallback("meta").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_msg_is_sent_the_fallback_where_its_window_is_closed() {
    with_fallback("one_msg").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pabbly_is_sent_the_fallback_where_its_window_is_closed() {
    with_fallback("pabbly").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_fallback_nobody_is_sent_anything_outside_the_window() {
    without_fallback("meta").await;
    without_fallback("one_msg").await;
    without_fallback("pabbly").await;
}
