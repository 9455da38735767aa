//! Draining a run: everything is sent, once, within the cap, whatever dies.

use std::time::Duration;

use fanfare_domain::state::OnUnknown;
use fanfare_scheduler::control;
use fanfare_sim::{Config, Faults};

use crate::stage::{CAMPAIGN, PRICE, Stage, WORKSPACE};

pub fn faults_of(chances: &str) -> Faults {
    chances.split(' ').fold(Faults::default(), |faults, chance| faults.with(chance.parse().unwrap()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_sent_once_and_paid_once() {
    let play = Stage { contacts: 3_000, ..Stage::default() }.launch().await;
    play.scheduler();
    let workers = [play.worker(), play.worker()];
    let done = play.finished().await;
    assert_eq!((done.total, done.sent, done.cost), (3_000, 3_000, 3_000 * PRICE), "{done:?}");
    let seen = play.sim.stats();
    assert_eq!((seen.accepted_messages, seen.accepted, seen.accepted_twice), (3_000, 3_000, 0));
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_lose_nothing_and_repeat_nothing() {
    let faults =
        "500=0.05 500-accepted=0.05 503=0.02 reset=0.05 reset-accepted=0.05 malformed=0.05 429=0.01 recipient=0.05";
    let sim = Config { faults: faults_of(faults), seed: 5, ..Config::default() };
    let play = Stage { contacts: 1_500, sim, ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    let done = play.finished().await;
    let seen = play.sim.stats();
    assert_eq!(seen.accepted_twice, 0, "the key was honoured: {seen:?}");
    // A message may be refused for its recipient after an earlier attempt was accepted unheard.
    assert!(done.sent as u64 <= seen.accepted_messages, "seed 5: {done:?} {seen:?}");
    assert_eq!(done.sent + done.failed + done.unknown, 1_500, "seed 5: {done:?}");
    assert!(done.failed > 0 && done.sent > 1_300, "seed 5: {done:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_whatever_is_in_doubt_is_shown_and_never_repeated() {
    let sim = Config { faults: faults_of("500-accepted=0.05 reset=0.05 malformed=0.05"), seed: 6, ..Config::default() };
    let play = Stage { contacts: 1_000, idempotent: false, sim, ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    let done = play.finished().await;
    let seen = play.sim.stats();
    assert_eq!((seen.accepted_twice, seen.requests), (0, 1_000), "seed 6: {seen:?}");
    let struck: u64 = seen.by_fault.values().sum();
    assert_eq!(done.unknown as u64, struck, "seed 6: {done:?} {seen:?}");
    assert_eq!(done.sent + done.unknown, 1_000);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_off_is_paid_and_closed() {
    let sim = Config { faults: faults_of("500-accepted=0.1"), seed: 7, ..Config::default() };
    let stage = Stage { contacts: 300, idempotent: false, on_unknown: OnUnknown::WriteOff, sim, ..Stage::default() };
    let play = stage.launch().await;
    play.scheduler();
    let worker = play.worker();
    let done = play.finished().await;
    assert!(done.unknown > 0, "seed 7: {done:?}");
    assert_eq!((done.sent + done.unknown, done.cost), (300, 300 * PRICE), "seed 7: {done:?}");
    let mut c = play.db.store.pool.acquire().await.unwrap();
    assert_eq!(fanfare_store::credits::balance(&mut c, WORKSPACE).await.unwrap().reserved, 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_stops_the_sending_and_a_resume_goes_on() {
    let play = Stage { contacts: 2_000, caps: &["500/s"], ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    play.until("some are sent", |p| p.sent > 100).await;
    control::pause(&play.db.store, WORKSPACE, CAMPAIGN).await.unwrap();
    let paused = play.until("nothing is leased", |p| p.leased == 0).await;
    let seen = play.sim.stats().requests;
    assert!(paused.queued > 0, "{paused:?}");
    // Longer than any slot that was given out before the pause.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(play.sim.stats().requests, seen, "sent while paused");
    control::resume(&play.db.store, WORKSPACE, CAMPAIGN).await.unwrap();
    let done = play.finished().await;
    assert_eq!(done.sent, 2_000);
    assert_eq!(play.sim.stats().accepted, 2_000);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_keeps_what_was_sent_and_sends_no_more() {
    let play = Stage { contacts: 2_000, caps: &["500/s"], ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    play.until("some are sent", |p| p.sent > 100).await;
    control::cancel(&play.db.store, WORKSPACE, CAMPAIGN).await.unwrap();
    let done = play.until("cancelled", |p| p.state().unwrap().as_str() == "cancelled").await;
    assert_eq!(done.sent + done.cancelled, 2_000, "{done:?}");
    assert_eq!(play.sim.stats().accepted, done.sent as u64);
    play.assert_books().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_finishes_what_is_in_flight_and_hands_back_the_rest() {
    let sim = Config { latency: Duration::from_millis(30), ..Config::default() };
    let play = Stage { contacts: 3_000, sim, ..Stage::default() }.launch().await;
    let worker = play.worker();
    play.until("some are sent", |p| p.sent > 200).await;
    worker.stop().await;
    let left = play.status().await;
    assert_eq!((left.leased, left.unknown, left.retrying), (0, 0, 0), "{left:?}");
    assert_eq!(left.sent as u64, play.sim.stats().accepted, "{left:?}");
    assert!(left.queued > 0, "stopped in the middle: {left:?}");
    play.scheduler();
    let next = play.worker();
    assert_eq!(play.finished().await.sent, 3_000);
    assert_eq!(play.sim.stats().accepted, 3_000);
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_declared_dead_starts_anew_and_nothing_is_lost() {
    let sim = Config { latency: Duration::from_millis(50), ..Config::default() };
    let play = Stage { contacts: 4_000, sim, ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    for sent in [300, 900, 1_500] {
        play.until("some are sent", |p| p.sent > sent).await;
        // What the fleet sees of a worker that hung for too long.
        play.bury().await;
    }
    let done = play.finished().await;
    assert_eq!(done.sent, 4_000, "{done:?}");
    let seen = play.sim.stats();
    assert_eq!((seen.accepted_messages, seen.accepted_twice), (4_000, 0), "{seen:?}");
    worker.stop().await;
}
