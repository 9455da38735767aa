//! Receipts and replies: counted once in whatever order, and the end of doubt.

use std::time::Duration;

use fanfare_domain::id::message_id;
use fanfare_domain::receipt::Meaning;
use fanfare_domain::rng::Rng;
use fanfare_domain::state::OnUnknown;
use fanfare_domain::template::Text;
use fanfare_sim::{Config, Control, Faults, Status};
use fanfare_store::opt_words;
use fanfare_store::progress::Progress;
use fanfare_store::queue::{self, Decision};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::drain::faults_of;
use crate::stage::{Account, Play, Stage, WORKSPACE};

/// Posts a body to an address with these headers; gives the status and the answer.
pub async fn post(url: &str, headers: &str, body: &[u8]) -> (u16, String) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let length = body.len();
    let head = format!(
        "POST /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses a long body may close before all of it is written.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("{answer}"));
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// A stage whose messages are sent by nobody.
async fn waiting(contacts: i32) -> (Play, i64) {
    let play = Stage { contacts, receipts: true, ..Stage::default() }.launch().await;
    let run_id = play.status().await.run_id;
    (play, run_id)
}

fn reported(p: &Progress) -> (i64, i64, i64, i64) {
    (p.delivered, p.read, p.undelivered, p.replied)
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_count_once_in_whatever_order_they_come() {
    let (play, run_id) = waiting(200).await;
    let report = |seq: i32, status: &str| json!({ "id": message_id(WORKSPACE, run_id, seq), "status": status });
    let mut all: Vec<Value> = Vec::new();
    for seq in 0..200 {
        all.push(report(seq, "sent"));
        // A third is read without a word of its delivery.
        if seq % 3 != 0 {
            all.push(report(seq, "delivered"));
        }
        if seq % 3 != 1 {
            all.push(report(seq, "read"));
        }
        if seq % 50 == 0 {
            all.push(report(seq, "failed"));
        }
    }
    // Each twice, all shuffled, several to a post, many posts at once.
    all.extend(all.clone());
    let rng = Rng::seeded(9);
    (1..all.len()).rev().for_each(|i| all.swap(i, rng.below(i as u64 + 1) as usize));
    let posts = all.chunks(7).map(|chunk| {
        let (hook, body) = (play.hook.clone(), serde_json::to_vec(chunk).unwrap());
        tokio::spawn(async move { post(&hook, "", &body).await.0 })
    });
    for done in futures::future::join_all(posts).await {
        assert_eq!(done.unwrap(), 200, "seed 9");
    }
    let p = play.status().await;
    assert_eq!(reported(&p), (200, 133, 4, 0), "seed 9: {p:?}");
    let rows: i64 = sqlx::query_scalar("select count(*) from receipt").fetch_one(&play.db.store.pool).await.unwrap();
    assert_eq!(rows, 200 + 200 + 133 + 4, "seed 9");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_is_refused_or_counted_and_harms_nothing() {
    let (play, run_id) = waiting(3).await;
    let good = json!({ "id": message_id(WORKSPACE, run_id, 0), "status": "delivered" }).to_string();
    let wrong = play.hook.rsplit_once('/').unwrap().0.to_owned() + "/0123456789abcdef0123456789abcdef";
    let (status, said) = post(&wrong, "", good.as_bytes()).await;
    assert_eq!((status, said.as_str()), (404, "nobody takes posts at this address"));
    for (body, why) in [
        ("{", "not JSON"),
        ("{}", "id is not the id of a message"),
        (r#"{"id": "5f0c1f0e-6b0d-5a64-9a0e-0b8a3c1d2e4f", "status": "sent"}"#, "id is not the id of a message"),
        (&good.replace("delivered", "lost"), "status is none of"),
        (&good.replace('}', r#","at":"yesterday"}"#), "at is not a time"),
    ] {
        let (status, said) = post(&play.hook, "", body.as_bytes()).await;
        assert!(status == 400 && said.contains(why), "{body}: {status} {said}");
    }
    let (status, _) = post(&play.hook, "", &vec![b' '; 5 * 1024 * 1024]).await;
    assert_eq!(status, 413);
    // A message that this workspace does not have: taken, and counted.
    let stranger = json!({ "id": message_id(WORKSPACE, run_id, 77), "status": "delivered" }).to_string();
    assert_eq!(post(&play.hook, "", stranger.as_bytes()).await.0, 200);
    assert_eq!(reported(&play.status().await), (0, 0, 0, 0));
    assert_eq!(post(&play.hook, "", good.as_bytes()).await.0, 200);
    assert_eq!(reported(&play.status().await), (1, 0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opts_out_is_sent_nothing_more_and_who_comes_back_is() {
    let (play, run_id) = waiting(50).await;
    let store = &play.db.store;
    let mut c = store.pool.acquire().await.unwrap();
    let addresses: Vec<String> =
        sqlx::query_scalar("select address from recipient order by seq").fetch_all(&mut *c).await.unwrap();
    let wrote = |i: usize, n: u32, text: &str| {
        let about = message_id(WORKSPACE, run_id, i as i32);
        json!({ "from": addresses[i], "text": text, "message_id": format!("m{i}-{n}"), "in_reply_to": about })
    };
    let all = json!([wrote(0, 1, "STOP"), wrote(1, 1, "توقف"), wrote(2, 1, "Stop"), wrote(3, 1, "Stop by at nine?")]);
    for _ in 0..2 {
        assert_eq!(post(&play.hook, "", all.to_string().as_bytes()).await.0, 200);
    }
    assert_eq!(post(&play.hook, "", wrote(2, 2, "START").to_string().as_bytes()).await.0, 200);
    assert_eq!(reported(&play.status().await), (0, 0, 0, 4), "an answer counts once for each message");
    play.scheduler();
    let worker = play.worker();
    let done = play.finished().await;
    assert_eq!((done.sent, done.suppressed), (48, 2), "{done:?}");
    let heard: i64 = sqlx::query_scalar("select count(*) from conversation").fetch_one(&mut *c).await.unwrap();
    assert_eq!(heard, 4);
    worker.stop().await;
}

/// Nothing is started anew: the server looks at the words every two seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_says_which_words_opt_out() {
    let (play, _) = waiting(3).await;
    let store = &play.db.store;
    let now = store.clock.now();
    let mut c = store.pool.acquire().await.unwrap();
    opt_words::add(&mut c, WORKSPACE, "Basta", Meaning::OptOut, now).await.unwrap();
    opt_words::remove(&mut c, WORKSPACE, "STOP", now).await.unwrap();
    let suppressed = "select address from suppression order by address";
    let suppressed = async || sqlx::query_scalar::<_, String>(suppressed).fetch_all(&store.pool).await.unwrap();
    let mut number = 0;
    let mut write = async |who: u32, text: &str| {
        number += 1;
        let message = json!({ "from": format!("+21355000000{who}"), "text": text, "message_id": format!("m{number}") });
        assert_eq!(post(&play.hook, "", message.to_string().as_bytes()).await.0, 200);
    };
    write(1, "¡basta!").await;
    write(2, "stop").await;
    assert_eq!(suppressed().await, ["+213550000001"]);
    opt_words::add(&mut c, WORKSPACE, "stop", Meaning::OptOut, now).await.unwrap();
    opt_words::remove(&mut c, WORKSPACE, "basta", now).await.unwrap();
    for _ in 0..100_000 {
        if suppressed().await.len() > 1 {
            break;
        }
        write(2, "stop").await;
    }
    write(3, "basta").await;
    assert_eq!(suppressed().await, ["+213550000001", "+213550000002"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_comes_late_does_not_undo_a_later_one() {
    let (play, _) = waiting(1).await;
    let wrote = |n: u32, text: &str, at: &str| {
        json!({ "from": "+213550000001", "text": text, "message_id": format!("m{n}"), "at": at }).to_string()
    };
    for (n, text, at) in [(1, "stop", "2026-11-01T10:00:00Z"), (2, "start", "2026-11-01T09:59:00Z")] {
        assert_eq!(post(&play.hook, "", wrote(n, text, at).as_bytes()).await.0, 200);
    }
    let suppressed = "select count(*) from suppression";
    let count = async || sqlx::query_scalar::<_, i64>(suppressed).fetch_one(&play.db.store.pool).await.unwrap();
    assert_eq!(count().await, 1);
    assert_eq!(post(&play.hook, "", wrote(3, "start", "2026-11-01T10:01:00Z").as_bytes()).await.0, 200);
    assert_eq!(count().await, 0);
}

/// A person had it sent again, and before it was, there is proof that it had been accepted.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_not_sent_again_once_its_acceptance_is_proved() {
    let sim = Config { faults: faults_of("reset-accepted=0.2"), seed: 12, ..Config::default() };
    let play = Stage { contacts: 50, idempotent: false, receipts: true, sim, ..Stage::default() }.launch().await;
    // The receipts of the simulator itself go nowhere.
    play.sim.post_receipts_to("http://127.0.0.1:9/".parse().unwrap());
    play.scheduler();
    let worker = play.worker();
    let done = play.finished().await;
    worker.stop().await;
    assert!(done.unknown > 0, "seed 12: {done:?}");
    let seen = play.sim.stats().requests;
    let store = &play.db.store;
    let doubtful: Vec<i32> =
        sqlx::query_scalar("select seq from retry where kind = 2 order by seq").fetch_all(&store.pool).await.unwrap();
    for seq in &doubtful {
        let (verdict, decided_at) = (OnUnknown::Resend, store.clock.now());
        let run_id = done.run_id;
        let decision =
            Decision { workspace_id: WORKSPACE, run_id, seq: *seq, verdict, decided_by: "test", decided_at, shard: 0 };
        assert!(queue::decide(&store.pool, &store.ids, decision).await.unwrap());
        let receipt = json!({ "id": message_id(WORKSPACE, run_id, *seq), "status": "delivered" }).to_string();
        assert_eq!(post(&play.hook, "", receipt.as_bytes()).await.0, 200);
    }
    let worker = play.worker();
    let done = play.until("all are sent", |p| p.sent == 50).await;
    assert_eq!((done.unknown, play.sim.stats().requests), (0, seen), "seed 12: {done:?}");
    play.finished().await;
    worker.stop().await;
}

/// A provider may answer with a refusal and report it as well: the message is not taken for accepted, and
/// goes on to its next attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_is_reported_too_is_no_acceptance() {
    let sim = Config { faults: faults_of("503=1"), ..Config::default() };
    let play = Stage { contacts: 20, idempotent: false, receipts: true, sim, ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    let refused = play.until("some are refused", |p| p.retrying > 0).await;
    for seq in 0..20 {
        let receipt = json!({ "id": message_id(WORKSPACE, refused.run_id, seq), "status": "failed" }).to_string();
        assert_eq!(post(&play.hook, "", receipt.as_bytes()).await.0, 200);
    }
    play.sim.control(Control { faults: Some(Faults::default()), ..Control::default() }).await;
    let done = play.finished().await;
    let seen = play.sim.stats();
    assert_eq!((done.sent, seen.accepted, seen.accepted_twice), (20, 20, 0), "{done:?}");
    worker.stop().await;
}

/// Meta has neither key nor look-up: what is in doubt is settled by the status that names our reference.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_settles_a_message_in_doubt() {
    let sim = Config {
        faults: faults_of("reset-accepted=0.1 malformed=0.1 receipt-twice=0.2 receipt-late=0.2"),
        receipts: vec![Status::Sent, Status::Delivered, Status::Read],
        hook_key: Some("app s3cret".to_owned()),
        seed: 10,
        ..Config::default()
    };
    let approved = json!({ "type": "template", "name": "spring", "language": "en", "params": ["{{ name }}"] });
    let text = Text::Rich(approved);
    let account = Account { text, ..Account::whatsapp("meta", json!({ "phone_number_id": "106540352242922" })) };
    let stage = Stage { account, contacts: 400, idempotent: false, receipts: true, sim, ..Stage::default() };
    let play = stage.launch().await;
    play.scheduler();
    let worker = play.worker();
    let done = play.until("nothing is in doubt", |p| p.sent == 400).await;
    assert_eq!((done.unknown, done.cost), (0, 400 * crate::stage::PRICE), "seed 10: {done:?}");
    let seen = play.sim.stats();
    assert_eq!((seen.accepted, seen.accepted_twice), (400, 0), "seed 10: {seen:?}");
    assert!(seen.by_fault["reset-accepted"] > 0 && seen.by_fault["receipt-late"] > 0, "seed 10: {seen:?}");
    play.until("all are delivered and read", |p| p.delivered == 400 && p.read == 400).await;
    play.finished().await;
    worker.stop().await;

    // Nobody else can report anything.
    let forged =
        [("", "none"), ("x-hub-signature-256: sha256=00\r\n", "short"), ("x-hub-signature-256: sha1=00\r\n", "other")];
    for (header, what) in forged {
        assert_eq!(post(&play.hook, header, b"{}").await.0, 401, "{what}");
    }
    let secret = play.hook.rsplit_once('/').unwrap().1;
    let ask = |token: &str| format!("{}?hub.mode=subscribe&hub.verify_token={token}&hub.challenge=4711", play.hook);
    for (token, expected) in [(secret, (200, "4711")), ("guess", (401, "the signature does not fit the body"))] {
        let (status, said) = get(&ask(token)).await;
        assert_eq!((status, said.as_str()), expected);
    }
}

/// Twilio is told with each message where to post, and the address has our reference: what is in doubt is
/// settled long before it would be looked up.
#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_each_message_names_settles_a_doubt() {
    let sim = Config {
        faults: faults_of("reset-accepted=0.1 malformed=0.1 receipt-twice=0.2 receipt-late=0.2"),
        receipts: vec![Status::Sent, Status::Delivered],
        secret: Some("s3cret".to_owned()),
        seed: 17,
        ..Config::default()
    };
    let settings = json!({ "account_sid": "AC5ef8732a3c49700934481addd5ce1659" });
    let account = Account { kind: "twilio", settings, ..Account::default() };
    let stage = Stage { account, contacts: 300, idempotent: false, receipts: true, sim, ..Stage::default() };
    let play = stage.launch().await;
    // What does not name an address of its own is posted to nobody.
    play.sim.post_receipts_to("http://127.0.0.1:9/".parse().unwrap());
    play.scheduler();
    let worker = play.worker();
    let done = play.until("nothing is in doubt", |p| p.sent == 300 && p.delivered == 300).await;
    let seen = play.sim.stats();
    assert_eq!((done.unknown, seen.accepted, seen.questions), (0, 300, 0), "seed 17: {done:?} {seen:?}");
    assert!(seen.by_fault["reset-accepted"] > 0 && seen.by_fault["malformed"] > 0, "seed 17: {seen:?}");
    play.finished().await;
    worker.stop().await;
}

/// A hook that is opened while messages are sent: those that follow name it, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_hook_is_named_by_the_messages_that_follow_its_opening() {
    let settings = json!({ "account_sid": "AC5ef8732a3c49700934481addd5ce1659" });
    let account = Account { kind: "twilio", settings, ..Account::default() };
    let sim = Config { secret: Some("s3cret".to_owned()), ..Config::default() };
    let stage = Stage { account, contacts: 400, caps: &["100/s"], idempotent: false, sim, ..Stage::default() };
    let play = stage.launch().await;
    play.scheduler();
    let worker = play.worker();
    play.until("some are sent", |p| p.sent > 50).await;
    play.open_hook().await;
    let done = play.finished().await;
    let told = play.until("those after it are reported on", |p| p.delivered >= 200).await;
    assert_eq!((done.sent, play.sim.stats().accepted_twice), (400, 0), "{done:?}");
    assert!(told.delivered < 400, "{told:?}");
    worker.stop().await;
}

/// 1Confirmed posts confirmations alone, and only what names its message counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_counts_for_the_message_that_it_names() {
    let sim = Config {
        faults: faults_of("receipt-twice=0.3 receipt-late=0.3"),
        receipts: vec![Status::Sent, Status::Delivered, Status::Read],
        seed: 16,
        ..Config::default()
    };
    let text = Text::Approved { name: "12".into(), params: vec!["name={{ name }}".into()] };
    let account = Account { text, ..Account::whatsapp("one_confirmed", json!({ "email": "owner@example.com" })) };
    let play =
        Stage { account, contacts: 100, idempotent: false, receipts: true, sim, ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    let done = play.until("all have confirmed", |p| p.replied == 100).await;
    assert_eq!((done.sent, done.delivered, done.read), (100, 0, 0), "seed 16: {done:?}");
    let nameless = br#"{"id": 201, "phone": "213550000001", "confirmed": true, "broadcast_name": "spring"}"#;
    assert_eq!(post(&play.hook, "", nameless).await.0, 400, "it may be another message to the same phone");
    let stranger = br#"{"message_id": "wamid.other", "confirmed": true}"#;
    assert_eq!(post(&play.hook, "", stranger).await.0, 200);
    assert_eq!(play.finished().await.replied, 100);
    let kinds: Vec<i16> =
        sqlx::query_scalar("select distinct kind from receipt").fetch_all(&play.db.store.pool).await.unwrap();
    assert_eq!(kinds, [5]);
    worker.stop().await;
}

async fn get(url: &str) -> (u16, String) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let head = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap();
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap())
}

/// Opt-outs in mid-run: what they meet in the queue is suppressed, and nothing is sent long after.
#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_is_obeyed_within_two_seconds() {
    let play = Stage { contacts: 10_000, caps: &["1000/s"], receipts: true, ..Stage::default() }.launch().await;
    let store = &play.db.store;
    // All over the queue, so that some of them are next in turn.
    let addresses: Vec<String> =
        sqlx::query_scalar("select address from recipient where seq >= 1000 and seq % 90 = 0 order by seq limit 100")
            .fetch_all(&store.pool)
            .await
            .unwrap();
    assert_eq!(addresses.len(), 100);
    play.scheduler();
    let worker = play.worker();
    play.until("some are sent", |p| p.sent > 900).await;
    let wrote: Vec<Value> =
        addresses.iter().map(|a| json!({ "from": a, "text": "stop", "message_id": format!("out {a}") })).collect();
    let body = serde_json::to_vec(&wrote).unwrap();
    assert_eq!(post(&play.hook, "", &body).await.0, 200);
    let stored_us = fanfare_domain::clock::Clock::system().now_us();
    let done = play.finished().await;
    assert_eq!(done.sent + done.suppressed, 10_000, "{done:?}");
    let bound_us = stored_us + i64::try_from(Duration::from_secs(2).as_micros()).unwrap();
    let (mut to_them, mut after) = (0, 0);
    loop {
        let page = play.sim.accepted(after);
        if page.accepted.is_empty() {
            break;
        }
        for a in page.accepted.into_iter().filter(|a| addresses.contains(&a.to)) {
            assert!(a.at_us <= bound_us, "{} µs after the bound", a.at_us - bound_us);
            to_them += 1;
        }
        after = page.next;
    }
    assert_eq!(done.suppressed, 100 - to_them, "{done:?}");
    assert!(done.suppressed >= 80, "{done:?}");
    worker.stop().await;
}
