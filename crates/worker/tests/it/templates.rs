//! Templates that a provider refuses: the run pauses with its code, nothing is lost, and it goes on when a
//! person has put the template right.

use fanfare_domain::state::PausedReason;
use fanfare_domain::template::Text;
use fanfare_scheduler::control;
use fanfare_sim::{Config, Control, Faults};
use serde_json::{Value, json};

use crate::drain::faults_of;
use crate::stage::{Account, CAMPAIGN, Stage, WORKSPACE};

const CONTACTS: i32 = 200;

/// Has every message refused so until the run has paused with this code, and lets it go on. Whether the
/// messages that were refused are `tried_again` then.
async fn check((kind, settings, name): (&'static str, Value, &str), fault: &str, code: &str, tried_again: bool) {
    let text =
        Text::Rich(json!({ "type": "template", "name": name, "language": "en_US", "params": ["name={{ name }}"] }));
    let account = Account { text, ..Account::whatsapp(kind, settings) };
    let sim = Config { faults: faults_of(&format!("{fault}=1")), ..Config::default() };
    // Slow, so that many are left when the word of the first is heard.
    let stage = Stage { contacts: CONTACTS, caps: &["100/s"], idempotent: false, account, sim, ..Stage::default() };
    let play = stage.launch().await;
    play.scheduler();
    let worker = play.worker();
    let what = format!("{kind}, {fault}");
    let paused = play.until("paused", |p| p.paused_reason().is_some() && p.leased == 0).await;
    assert_eq!(paused.paused_reason(), Some(PausedReason::Provider), "{what}");
    assert_eq!(paused.paused_detail.as_deref(), Some(code), "{what}");
    assert_eq!((paused.sent, paused.unknown), (0, 0), "{what}: {paused:?}");
    assert!(paused.queued > 0 && paused.failed + paused.retrying > 0, "{what}: {paused:?}");
    assert_eq!(play.sim.stats().accepted, 0, "{what}");

    play.sim.control(Control { faults: Some(Faults::default()), ..Control::default() }).await;
    // Nobody waits three hours here.
    sqlx::query("update retry set due_at = clock_timestamp()").execute(&play.db.store.pool).await.unwrap();
    control::resume(&play.db.store, WORKSPACE, CAMPAIGN).await.unwrap();
    let done = play.finished().await;
    let failed = if tried_again { 0 } else { paused.failed };
    assert_eq!((done.sent, done.failed), (i64::from(CONTACTS) - failed, failed), "{what}: {done:?}");
    let seen = play.sim.stats();
    assert_eq!((seen.accepted as i64, seen.accepted_twice), (done.sent, 0), "{what}: {seen:?}");
    worker.stop().await;
}

fn meta() -> (&'static str, Value, &'static str) {
    ("meta", json!({ "phone_number_id": "106540352242922" }), "spring_sale")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_does_not_exist_pauses_the_run() {
    check(meta(), "template-missing", "132001", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_of_other_parameters_pauses_the_run() {
    check(meta(), "template-parameters", "132000", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_template_pauses_the_run_and_costs_no_message() {
    check(meta(), "template-paused", "132015", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_resellers_words_for_a_missing_template_pause_the_run_too() {
    let one_msg = ("one_msg", json!({ "instance_id": "ABC123" }), "spring_sale");
    check(one_msg, "template-missing", "template is not defined", false).await;
    check(("pabbly", json!({}), "spring_sale"), "template-missing", "404", false).await;
    check(("one_confirmed", json!({}), "12"), "template-missing", "422 template_id", false).await;
    check(("one_system", json!({ "session_id": "3" }), "5"), "template-missing", "404", false).await;
}
