//! Files of ours: handed to a provider once for the fleet, and sent by its id; or sent as they are.

use std::time::Duration;

use fanfare_domain::template::Text;
use fanfare_sim::Config;
use fanfare_store::media;
use serde_json::{Value, json};

use crate::stage::{Account, Play, Stage, WORKSPACE};

const HASH: media::Hash = [7; 32];

/// Says the picture to so many, through an account of this kind.
async fn play(kind: &'static str, settings: Value, contacts: i32) -> Play {
    let file = json!({ "sha256": "07".repeat(32), "mime": "image/png", "bytes": 8, "name": "offer.png" });
    let text = Text::Rich(json!({ "type": "image", "file": file, "caption": "For {{ name }}" }));
    let account = Account { text, ..Account::whatsapp(kind, settings) };
    // Everybody has written just now.
    let sim = Config { latency: Duration::from_millis(5), open_window: true, ..Config::default() };
    let stage = Stage { contacts, caps: &["150/s"], idempotent: false, account, sim, ..Stage::default() };
    let play = stage.launch().await;
    let wrote = "insert into conversation select 1, account_id, address, now() from recipient, account";
    sqlx::query(wrote).execute(&play.db.store.pool).await.unwrap();
    media::put(&play.db.store, WORKSPACE, HASH, "image/png", b"\x89PNG\r\n\x1a\n").await.unwrap();
    play
}

fn meta() -> (&'static str, Value) {
    ("meta", json!({ "phone_number_id": "106540352242922" }))
}

async fn kept_id(play: &Play) -> Option<String> {
    let ids: Vec<Option<String>> =
        sqlx::query_scalar("select provider_id from account_media").fetch_all(&play.db.store.pool).await.unwrap();
    assert_eq!(ids.len(), 1);
    ids.into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_hand_a_file_over_once_and_within_the_limit() {
    let (kind, settings) = meta();
    let play = play(kind, settings, 400).await;
    play.scheduler();
    let workers = [play.worker(), play.worker()];
    let done = play.finished().await;
    let seen = play.sim.stats();
    assert_eq!((done.sent, done.failed, seen.accepted, seen.accepted_twice), (400, 0, 400, 0), "{seen:?}");
    assert_eq!(seen.requests, 401, "one for the file: {seen:?}");
    assert!(seen.accounts["s3cret"].max_in_window["1s"] <= 150, "{seen:?}");
    assert!(kept_id(&play).await.unwrap().starts_with("1037"));
    let most: i16 =
        sqlx::query_scalar("select max(attempt) from outcome").fetch_one(&play.db.store.pool).await.unwrap();
    assert_eq!(most, 1, "waiting for the file costs no attempt");
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_the_provider_lost_or_that_is_old_is_replaced() {
    for (id, good, refused) in [("stale", "1 day", true), ("10370", "-1 s", false)] {
        let (kind, settings) = meta();
        let play = play(kind, settings, 60).await;
        let sql =
            "insert into account_media select 1, account_id, $1, $2, clock_timestamp() + $3::interval from account";
        let insert = sqlx::query(sql).bind(HASH.as_slice()).bind(id).bind(good);
        insert.execute(&play.db.store.pool).await.unwrap();
        play.scheduler();
        let worker = play.worker();
        let done = play.finished().await;
        let seen = play.sim.stats();
        assert_eq!((done.sent, done.failed, done.unknown, seen.accepted_twice), (60, 0, 0, 0), "{id}: {seen:?}");
        assert_eq!((seen.accepted, seen.rejected > 0), (60, refused), "{id}: {seen:?}");
        assert_eq!(seen.requests, 61 + seen.rejected, "{id}, one for the file: {seen:?}");
        assert_ne!(kept_id(&play).await.as_deref(), Some(id));
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linked_device_gets_the_file_itself() {
    let play = play("one_system", json!({ "session_id": "3" }), 40).await;
    play.scheduler();
    let worker = play.worker();
    let done = play.finished().await;
    let seen = play.sim.stats();
    assert_eq!((done.sent, seen.requests, seen.accepted_twice), (40, 40, 0), "{seen:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_pauses_the_run_before_anything_is_sent() {
    let play = play("one_msg", json!({ "instance_id": "ABC123" }), 200).await;
    sqlx::query("delete from media").execute(&play.db.store.pool).await.unwrap();
    play.scheduler();
    let worker = play.worker();
    let paused = play.until("paused", |p| p.paused_reason().is_some() && p.leased == 0).await;
    assert_eq!(paused.paused_detail.as_deref(), Some("file is not kept"));
    assert_eq!((paused.sent, paused.unknown, play.sim.stats().requests), (0, 0, 0), "{paused:?}");
    worker.stop().await;
}
