//! Draining through providers of other kinds: whatever a provider answers, and whoever dies, nothing is sent
//! twice.

use std::time::Duration;

use fanfare_domain::outcome::FailureKind;
use fanfare_domain::retry::attempts_max;
use fanfare_domain::template::Text;
use fanfare_providers::Kind;
use fanfare_providers::kind::Keys;
use fanfare_sim::{Config, Control};
use fanfare_store::Store;
use serde_json::{Value, json};

use crate::drain::faults_of;
use crate::stage::{Account, Stage};

const CONTACTS: i32 = 600;
const FAULTS: &str = "500=0.02 500-accepted=0.04 reset=0.02 reset-accepted=0.04 malformed=0.04 recipient=0.05";
/// The same, and what a worker waits for until its time-out.
const FAULTS_AND_SILENCE: &str =
    "500=0.02 500-accepted=0.04 reset=0.02 reset-accepted=0.04 malformed=0.04 recipient=0.05 silence-accepted=0.01";
/// The one kind whose second worker meets silence as well, and waits a quarter of a minute for its end.
const PATIENT: &str = "twilio";

/// Makes look-ups due at once: nobody waits two minutes for them here.
pub async fn nudge(store: Store) {
    loop {
        let sql = "update retry set due_at = clock_timestamp() where kind = 2 and due_at < 'infinity'";
        sqlx::query(sql).execute(&store.pool).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Drains a run with faults, by a worker that is killed in its midst and one that comes after it; `settled` says
/// whether the kind can settle every doubt.
async fn check(kind: &'static str, settings: Value, text: Text, settled: bool) {
    let known = Kind::named(kind).unwrap();
    // Slow enough for some to be under way when the worker dies.
    let sim = Config {
        faults: faults_of(FAULTS_AND_SILENCE),
        seed: 8,
        latency: Duration::from_millis(50),
        ..Config::default()
    };
    let channel = known.channels().next().unwrap();
    let account = Account { kind, settings, channel, text, fallback: None };
    let idempotent = known.keys == Keys::Honoured;
    let play = Stage { contacts: CONTACTS, idempotent, account, sim, ..Stage::default() }.launch().await;
    // A list is believed to have everything only some time after the run was started.
    let started = "update run set started_at = started_at - interval '10 min'";
    sqlx::query(started).execute(&play.db.store.pool).await.unwrap();
    play.scheduler();
    let mortal = play.mortal_worker();
    play.until("some are accepted", |_| play.sim.stats().accepted_messages > 200).await;
    mortal.kill();
    play.bury().await;
    play.until("what it held is parked", |p| p.leased == 0).await;
    let lost = "select count(*) from retry where reason = 'worker lost'";
    let lost: i64 = sqlx::query_scalar(lost).fetch_one(&play.db.store.pool).await.unwrap();

    let silences = || play.sim.stats().by_fault["silence-accepted"];
    let before = silences();
    if kind != PATIENT {
        play.sim.control(Control { faults: Some(faults_of(FAULTS)), ..Control::default() }).await;
    }
    let worker = play.worker();
    let nudging = tokio::spawn(nudge(play.db.store.clone()));
    let done = play.finished().await;
    nudging.abort();
    let seen = play.sim.stats();
    let what = format!("{kind}, seed 8: {lost} lost, {done:?} {seen:?}");
    assert!(lost > 0 && before > 0 && (kind != PATIENT || silences() > before), "{what}");
    assert_eq!((seen.accepted_twice, done.sent + done.failed + done.unknown), (0, i64::from(CONTACTS)), "{what}");
    let (sent, unknown) = (done.sent as u64, done.unknown as u64);
    assert!(sent <= seen.accepted_messages && seen.accepted_messages <= sent + unknown, "{what}");
    assert!(done.sent > 0 && done.failed > 0, "{what}");
    // Of a few hundred look-ups a chain may fail by chance until none is left; that alone leaves a doubt.
    let early = "select count(*) from retry where kind = 2 and attempts < $1";
    let most = attempts_max(FailureKind::Unknown);
    let early: i64 = sqlx::query_scalar(early).bind(most).fetch_one(&play.db.store.pool).await.unwrap();
    assert_eq!(settled, early == 0, "{early} in doubt too early: {what}");
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

#[tokio::test(flavor = "multi_thread")]
async fn meta_repeats_nothing() {
    let text = Text::Rich(json!({ "type": "template", "name": "spring", "language": "en", "params": ["{{ name }}"] }));
    check("meta", json!({ "phone_number_id": "106540352242922" }), text, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twilio_settles_every_doubt_by_looking_it_up() {
    let text = Text::Body { subject: None, body: "Hello {{ name }}".into() };
    check("twilio", json!({ "account_sid": "AC5ef8732a3c49700934481addd5ce1659" }), text, true).await;
}
