//! Messages that stay in doubt however often they are looked up: the campaign's policy decides.

use fanfare_domain::state::OnUnknown;
use fanfare_domain::template::Text;
use fanfare_sim::{Config, Control, Faults};
use serde_json::json;

use crate::drain::faults_of;
use crate::kinds::nudge;
use crate::stage::{Account, PRICE, Stage};

const CONTACTS: i32 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_decides_about_what_look_ups_leave_in_doubt() {
    for on_unknown in [OnUnknown::Hold, OnUnknown::WriteOff, OnUnknown::Resend] {
        let sim = Config { faults: faults_of("reset-accepted=0.2"), seed: 14, ..Config::default() };
        // A picture is listed, and cannot be told from another.
        let text = Text::Rich(json!({ "type": "image", "url": "https://example.com/a.jpg", "caption": "{{ name }}" }));
        let account = Account { text, ..Account::whatsapp("one_system", json!({ "session_id": "3" })) };
        let stage = Stage { contacts: CONTACTS, idempotent: false, on_unknown, account, sim, ..Stage::default() };
        let play = stage.launch().await;
        play.scheduler();
        let worker = play.worker();
        let sent = play.until("each was tried", |p| p.queued + p.leased == 0).await;
        let doubtful = sent.unknown;
        let what = format!("{on_unknown}, seed 14: {sent:?}");
        assert!(doubtful > 0 && sent.sent + doubtful == i64::from(CONTACTS), "{what}");
        play.sim.control(Control { faults: Some(Faults::default()), ..Control::default() }).await;

        let nudging = tokio::spawn(nudge(play.db.store.clone()));
        let done = play.finished().await;
        nudging.abort();
        let seen = play.sim.stats();
        let what = format!("{what} {done:?} {seen:?}");
        // Seven look-ups each; whatever was sent again was sent once.
        assert_eq!(seen.questions as i64, 7 * doubtful, "{what}");
        let (again, unknown, paid) = match on_unknown {
            OnUnknown::Hold => (0, doubtful, i64::from(CONTACTS) - doubtful),
            OnUnknown::WriteOff => (0, doubtful, i64::from(CONTACTS)),
            OnUnknown::Resend => (doubtful, 0, i64::from(CONTACTS)),
        };
        assert_eq!((seen.accepted_twice as i64, done.unknown, done.cost), (again, unknown, paid * PRICE), "{what}");
        worker.stop().await;
    }
}
