//! The cap, in a binary of its own: cargo runs it alone, and the load of neighbouring tests would be a
//! jitter that no provider shows.

#[path = "../it/stage.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod stage;

use std::time::Duration;

use fanfare_domain::template::Text;
use fanfare_sim::{AccountStats, Config, Faults};
use fanfare_store::Store;
use serde_json::json;
use stage::{Account, Stage};

/// Both in one: two at once would be each other's jitter.
#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_keeps_the_cap_as_the_provider_counts_it() {
    drained(Stage { contacts: 900, caps: &["200/s"], ..Stage::default() }, false).await;

    let text = Text::Approved { name: "spring".into(), params: vec!["{{ name }}".into()] };
    let account = Account { text, ..Account::whatsapp("grow", json!({})) };
    // Nothing is ever told, so that there is always something to ask for.
    let faults = Faults::default().with("receipt-late=1".parse().unwrap()).unwrap();
    let sim = Config { faults, ..Config::default() };
    let seen = drained(Stage { contacts: 900, caps: &["200/s"], account, sim, ..Stage::default() }, true).await;
    let questions = seen.requests - 900;
    // One slot in ten, and some more once the last messages are claimed.
    assert!((10..=160).contains(&questions), "{questions} questions beside 900 messages");

    urgent_beside_bulk().await;
}

/// Drains it by three workers, with questions asked all the while.
async fn drained(stage: Stage, asking: bool) -> AccountStats {
    let play = stage.launch().await;
    play.scheduler();
    let nudging = asking.then(|| tokio::spawn(nudge(play.db.store.clone())));
    let workers = [play.worker(), play.worker(), play.worker()];
    play.finished().await;
    let seen = play.sim.stats();
    nudging.inspect(|task| task.abort());
    let of_account = seen.accounts.into_values().next().unwrap();
    let most = of_account.max_in_window["1s"];
    assert!(most <= 200, "{most} in one second");
    assert_eq!(seen.accepted_messages, 900);
    for worker in workers {
        worker.stop().await;
    }
    of_account
}

/// Three workers, and urgent messages all the while.
async fn urgent_beside_bulk() {
    let play = Stage { contacts: 900, caps: &["200/s"], ..Stage::default() }.launch().await;
    play.scheduler();
    let workers = [play.worker(), play.worker(), play.worker()];
    let mut submitted = Vec::new();
    for i in 0..200 {
        submitted.extend(play.submit(i..i + 1).await);
    }
    play.until_of(&submitted, "all urgent ones are sent", |p| p.sent == 200).await;
    play.finished().await;
    let seen = play.sim.stats();
    let most = seen.accounts.into_values().next().unwrap().max_in_window["1s"];
    assert!(most <= 200, "{most} in one second");
    assert_eq!(seen.accepted_messages, 1_100);
    for worker in workers {
        worker.stop().await;
    }
}

/// Makes questions due at once.
async fn nudge(store: Store) {
    loop {
        let sql = "update poll set due_at = clock_timestamp() where due_at > clock_timestamp()";
        sqlx::query(sql).execute(&store.pool).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
