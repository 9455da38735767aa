//! Accounts that refuse, fail, or run out of credit.

use fanfare_sim::{Config, Control};
use fanfare_store::{accounts, credits};

use crate::stage::{PRICE, Stage, WORKSPACE};

#[tokio::test(flavor = "multi_thread")]
async fn bad_credentials_stop_the_account_and_harm_no_message() {
    let sim = Config { secret: Some("another".into()), ..Config::default() };
    let play = Stage { contacts: 500, sim, ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    let stopped = play.until("stopped", |p| p.accounts[0].stopped.is_some() && p.leased == 0).await;
    assert_eq!((stopped.queued, stopped.failed, stopped.retrying), (500, 0, 0), "{stopped:?}");
    accounts::set_secret(&play.db.store, WORKSPACE, "demo", Some("another")).await.unwrap();
    let mut c = play.db.store.pool.acquire().await.unwrap();
    accounts::resume(&mut c, WORKSPACE, "demo").await.unwrap();
    drop(c);
    assert_eq!(play.finished().await.sent, 500, "with the right secret, without a restart");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_opens_the_circuit_and_burns_no_attempt() {
    let play = Stage { contacts: 400, ..Stage::default() }.launch().await;
    play.sim.control(Control { outage: Some(true), ..Control::default() }).await;
    play.scheduler();
    let worker = play.worker();
    let store = &play.db.store;
    loop {
        let open: bool =
            sqlx::query_scalar("select failures > 0 from account_pace").fetch_one(&store.pool).await.unwrap();
        if open {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let down = play.until("all handed back", |p| p.leased == 0).await;
    assert_eq!((down.queued, down.retrying, down.failed, down.unknown), (400, 0, 0, 0), "{down:?}");
    play.sim.control(Control { outage: Some(false), ..Control::default() }).await;
    assert_eq!(play.finished().await.sent, 400);
    let most: i16 = sqlx::query_scalar("select max(attempt) from outcome").fetch_one(&store.pool).await.unwrap();
    assert_eq!(most, 1, "the outage cost no attempt");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_out_of_credit_pauses_and_goes_on_after_a_top_up() {
    let play = Stage { contacts: 300, credit: 100 * PRICE + 1, ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    let paused = play.until("paused", |p| p.paused_reason().is_some()).await;
    assert_eq!((paused.sent, paused.queued), (100, 200), "{paused:?}");
    play.assert_books().await;
    credits::topup(&play.db.store, WORKSPACE, 200 * PRICE, None).await.unwrap();
    let done = play.finished().await;
    assert_eq!((done.sent, done.cost), (300, 300 * PRICE));
    let mut c = play.db.store.pool.acquire().await.unwrap();
    let credit = credits::balance(&mut c, WORKSPACE).await.unwrap();
    assert_eq!((credit.balance, credit.reserved), (1, 0));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_account_slows_down_and_recovers() {
    let sim = Config { cap: Some("100/s".parse().unwrap()), ..Config::default() };
    let play = Stage { contacts: 600, sim, ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    let done = play.finished().await;
    assert_eq!((done.sent, done.failed), (600, 0), "{done:?}");
    let seen = play.sim.stats();
    // Unthrottled, 500 of 600 would have been refused again and again.
    assert!(seen.over_cap < 1_200, "{} requests above the provider's cap", seen.over_cap);
    worker.stop().await;
}
