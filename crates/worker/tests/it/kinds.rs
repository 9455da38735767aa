//! Draining through providers of other kinds: whatever a provider answers, nothing is sent twice.

use std::time::Duration;

use fanfare_domain::template::Text;
use fanfare_providers::Kind;
use fanfare_providers::kind::Keys;
use fanfare_sim::{Config, Faults};
use fanfare_store::Store;
use serde_json::{Value, json};

use crate::stage::{Account, Stage};

const CONTACTS: i32 = 300;
const FAULTS: [&str; 6] =
    ["500=0.03", "500-accepted=0.05", "reset=0.05", "reset-accepted=0.05", "malformed=0.05", "recipient=0.05"];

/// Makes look-ups due at once: nobody waits two minutes for them here.
pub async fn nudge(store: Store) {
    loop {
        let sql = "update retry set due_at = clock_timestamp() where kind = 2 and due_at < 'infinity'";
        sqlx::query(sql).execute(&store.pool).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Drains a run with faults; `settled` says whether the kind can settle every doubt.
async fn check(kind: &'static str, settings: Value, text: Text, settled: bool) {
    let faults =
        FAULTS.into_iter().fold(Faults::default(), |faults, chance| faults.with(chance.parse().unwrap()).unwrap());
    let sim = Config { faults, seed: 8, ..Config::default() };
    let account = Account { text, ..Account::whatsapp(kind, settings) };
    let idempotent = Kind::named(kind).unwrap().keys == Keys::Honoured;
    let play = Stage { contacts: CONTACTS, idempotent, account, sim, ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    let nudging = tokio::spawn(nudge(play.db.store.clone()));
    let done = play.finished().await;
    nudging.abort();
    let seen = play.sim.stats();
    let what = format!("{kind}, seed 8: {done:?} {seen:?}");
    assert_eq!((seen.accepted_twice, done.sent + done.failed + done.unknown), (0, i64::from(CONTACTS)), "{what}");
    let (sent, unknown) = (done.sent as u64, done.unknown as u64);
    assert!(sent <= seen.accepted_messages && seen.accepted_messages <= sent + unknown, "{what}");
    assert!(done.sent > 0 && done.failed > 0 && (settled == (done.unknown == 0)), "{what}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grow_settles_every_doubt_by_its_keys() {
    let text = Text::Approved { name: "spring".into(), params: vec!["{{ name }}".into()] };
    check("grow", json!({}), text, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_system_settles_every_doubt_by_looking_it_up() {
    let text = Text::Body { subject: None, body: "Hello {{ name }}".into() };
    check("one_system", json!({ "session_id": "3" }), text, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_confirmed_repeats_nothing() {
    let text = Text::Approved { name: "12".into(), params: vec!["name={{ name }}".into()] };
    check("one_confirmed", json!({ "email": "owner@example.com" }), text, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_msg_repeats_nothing() {
    let text = Text::Rich(json!({ "type": "template", "name": "spring", "language": "en", "params": ["{{ name }}"] }));
    check("one_msg", json!({ "instance_id": "ABC123" }), text, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pabbly_repeats_nothing() {
    let text = Text::Approved { name: "spring".into(), params: vec!["{{ name }}".into()] };
    check("pabbly", json!({}), text, false).await;
}
