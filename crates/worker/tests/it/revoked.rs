//! A token that is revoked in mid-run: the account stops, and no message is lost, failed or sent twice by it.

use fanfare_domain::message::Channel;
use fanfare_domain::template::Text;
use fanfare_sim::{Config, Control};
use fanfare_store::accounts;
use serde_json::{Value, json};

use crate::stage::{Account, Stage, WORKSPACE};

const CONTACTS: i32 = 400;

/// The kinds that write to phones, with the settings of an account and a template's name and parameter.
fn accounts_of_kinds() -> Vec<Account> {
    let whatsapp = |kind, settings: Value, name: &str, param: &str| {
        let approved = json!({ "type": "template", "name": name, "language": "en", "params": [param] });
        let text = Text::Rich(serde_json::from_value(approved).unwrap());
        Account { text, ..Account::whatsapp(kind, settings) }
    };
    vec![
        Account::default(),
        whatsapp("one_confirmed", json!({}), "12", "name={{ name }}"),
        whatsapp("one_msg", json!({ "instance_id": "ABC123" }), "spring", "{{ name }}"),
        whatsapp("pabbly", json!({}), "spring", "{{ name }}"),
        whatsapp("grow", json!({}), "spring", "{{ name }}"),
        whatsapp("one_system", json!({ "session_id": "3" }), "5", "name={{ name }}"),
        whatsapp("meta", json!({ "phone_number_id": "106540352242922" }), "spring", "{{ name }}"),
        Account {
            kind: "twilio",
            settings: json!({ "account_sid": "AC5", "messaging_service_sid": "MG1" }),
            channel: Channel::Sms,
            ..Account::default()
        },
    ]
}

async fn revoke(account: Account) {
    let kind = account.kind;
    let sim = Config { secret: Some("s3cret".into()), ..Config::default() };
    let stage = Stage { contacts: CONTACTS, caps: &["400/s"], idempotent: false, account, sim, ..Stage::default() };
    let play = stage.launch().await;
    play.scheduler();
    let worker = play.worker();
    play.until(kind, |p| p.sent > 50).await;
    play.sim.control(Control { secret: Some("another".into()), ..Control::default() }).await;
    let stopped = play.until(kind, |p| p.accounts[0].stopped.is_some() && p.leased == 0).await;
    let accepted = play.sim.stats().accepted_messages;
    let open = (stopped.sent.unsigned_abs(), stopped.queued + stopped.sent, stopped.failed, stopped.unknown);
    assert_eq!(open, (accepted, i64::from(CONTACTS), 0, 0), "{kind}: {stopped:?}");
    let store = &play.db.store;
    accounts::set_secret(store, WORKSPACE, "demo", Some("another")).await.unwrap();
    accounts::resume(&mut store.pool.acquire().await.unwrap(), WORKSPACE, "demo").await.unwrap();
    assert_eq!(play.finished().await.sent, i64::from(CONTACTS), "{kind}: with the new one it goes on");
    let stats = play.sim.stats();
    assert_eq!((stats.accepted_messages, stats.accepted_twice), (400, 0), "{kind}: {stats:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_stops_the_account_and_harms_no_message() {
    for account in accounts_of_kinds() {
        revoke(account).await;
    }
}
