//! The cap, in a binary of its own: cargo runs it alone, and the load of neighbouring tests would be a
//! jitter that no provider shows.

#[path = "../it/stage.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod stage;

use stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_keeps_the_cap_as_the_provider_counts_it() {
    let play = Stage { contacts: 900, caps: &["200/s"], ..Stage::default() }.launch().await;
    play.scheduler();
    let workers = [play.worker(), play.worker(), play.worker()];
    play.finished().await;
    let seen = play.sim.stats();
    let most = seen.accounts.values().map(|a| a.max_in_window["1s"]).max().unwrap();
    assert!(most <= 200, "{most} in one second");
    assert_eq!(seen.accepted_messages, 900);
    for worker in workers {
        worker.stop().await;
    }
}
