//! An account that logs in: the fleet has one token.

use std::time::Duration;

use fanfare_domain::message::Channel;
use fanfare_domain::template::Text;
use fanfare_sim::{Config, Kind};
use fanfare_store::{accounts, tokens};
use serde_json::json;

use crate::stage::{Account, Stage, WORKSPACE};

fn logging_in() -> Stage {
    let text = Text::Approved { name: "12".into(), params: vec!["name={{ name }}".into()] };
    Stage {
        contacts: 300,
        idempotent: false,
        account: Account {
            kind: "one_confirmed",
            settings: json!({ "email": "owner@example.com" }),
            channel: Channel::Whatsapp,
            text,
            ..Account::default()
        },
        sim: Config { kind: Kind::OneConfirmed, latency: Duration::from_millis(5), ..Config::default() },
        ..Stage::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_log_in_once() {
    let play = logging_in().launch().await;
    play.scheduler();
    let workers = [play.worker(), play.worker()];
    assert_eq!(play.finished().await.sent, 300);
    let stats = play.sim.stats();
    assert_eq!((stats.accepted, stats.accepted_twice, stats.requests), (300, 0, 301), "one login: {stats:?}");
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_renewed_once_for_all_and_costs_no_message() {
    let mut stage = logging_in();
    stage.sim.secret = Some("s3cret".into());
    let play = stage.launch().await;
    let store = &play.db.store;
    let mut tx = store.pool.begin().await.unwrap();
    let account = accounts::get(&mut tx, WORKSPACE, "demo").await.unwrap();
    assert_eq!(tokens::lock(&mut tx, store, &account).await.unwrap(), None);
    tokens::put(&mut tx, store, &account, "jwt-ended-elsewhere").await.unwrap();
    tx.commit().await.unwrap();

    play.scheduler();
    let workers = [play.worker(), play.worker()];
    let done = play.finished().await;
    let stats = play.sim.stats();
    assert_eq!((done.sent, done.failed, stats.accepted, stats.accepted_twice), (300, 0, 300, 0));
    assert!(stats.rejected > 0, "{stats:?}");
    assert_eq!(stats.requests, 300 + stats.rejected + 1, "one login: {stats:?}");
    let most: i16 = sqlx::query_scalar("select max(attempt) from outcome").fetch_one(&store.pool).await.unwrap();
    assert_eq!(most, 1, "the refusals cost no attempt");
    for worker in workers {
        worker.stop().await;
    }
}
