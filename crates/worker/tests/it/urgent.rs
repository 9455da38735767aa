//! Messages that come one by one, beside a run of bulk through the same account.

use std::time::Duration;

use fanfare_scheduler::control;
use fanfare_sim::Config;

use crate::drain::faults_of;
use crate::stage::{CAMPAIGN, PRICE, Play, Stage, WORKSPACE};

/// Whether each acceptance, in order, was of an urgent message.
fn order(play: &Play, urgent_run: i64) -> Vec<bool> {
    let page = play.sim.accepted(0);
    let run = |id| fanfare_domain::id::message_of(id).unwrap().1;
    page.accepted.iter().map(|a| run(a.id) == urgent_run).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn urgent_messages_overtake_bulk_and_leave_it_every_other_slot() {
    let play = Stage { contacts: 4_000, caps: &["200/s"], ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    play.until("bulk is sent", |p| p.sent > 50).await;
    let submitted = play.submit(0..80).await;
    let done = play.until_of(&submitted, "all urgent ones are sent", |p| p.sent == 80).await;
    assert_eq!(done.cost, 80 * PRICE);
    let bulk = play.status().await;
    assert!(bulk.queued > 2_000, "bulk waits meanwhile: {bulk:?}");
    let order = order(&play, submitted[0].run_id);
    let (first, last) = (order.iter().position(|u| *u).unwrap(), order.iter().rposition(|u| *u).unwrap());
    let bulk_between = order[first..=last].iter().filter(|urgent| !**urgent).count();
    assert!(bulk_between + 2 >= 80, "{bulk_between} of bulk among 80 urgent ones");
    control::cancel(&play.db.store, WORKSPACE, CAMPAIGN).await.unwrap();
    play.until("cancelled", |p| p.state().unwrap().as_str() == "cancelled").await;
    play.assert_books().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_bulk_urgent_messages_have_the_account_for_themselves() {
    for caps in [&["100/s"][..], &[]] {
        let play = Stage { contacts: 1, caps, ..Stage::default() }.launch().await;
        play.scheduler();
        let workers = [play.worker(), play.worker()];
        play.finished().await;
        let submitted = play.submit(0..50).await;
        play.until_of(&submitted, "all are sent", |p| p.sent == 50).await;
        let seen = play.sim.stats();
        assert_eq!((seen.accepted_messages, seen.accepted_twice), (51, 0));
        play.assert_books().await;
        for worker in workers {
            worker.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_at_first_is_tried_again_ahead_of_bulk_too() {
    let faults = faults_of("500=0.1 500-accepted=0.1 503=0.1 reset-accepted=0.1");
    let sim = Config { faults, seed: 8, ..Config::default() };
    let play = Stage { contacts: 1_500, caps: &["300/s"], sim, ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    let submitted = play.submit(0..60).await;
    play.until_of(&submitted, "all are sent", |p| p.sent == 60).await;
    play.finished().await;
    let seen = play.sim.stats();
    assert_eq!((seen.accepted_messages, seen.accepted_twice), (1_560, 0), "seed 8: {seen:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_loses_no_urgent_message_and_repeats_none() {
    let sim = Config { latency: Duration::from_millis(40), ..Config::default() };
    let play = Stage { contacts: 2_000, caps: &["300/s"], sim, ..Stage::default() }.launch().await;
    play.scheduler();
    for killed in 0..3 {
        let mortal = play.mortal_worker();
        play.until("bulk is sent", |p| p.sent > 60 * (killed + 1)).await;
        let submitted = play.submit(killed as u32 * 30..(killed as u32 + 1) * 30).await;
        play.until_of(&submitted, "some are under way", |p| p.leased > 0 || p.sent == p.total).await;
        mortal.kill();
        play.bury().await;
    }
    let workers = [play.worker(), play.worker()];
    let submitted = play.submit(0..1).await;
    assert!(submitted[0].repeated, "the key of the first one");
    play.until_of(&submitted, "all are sent", |p| p.sent == 90).await;
    play.finished().await;
    let seen = play.sim.stats();
    assert_eq!((seen.accepted_messages, seen.accepted_twice), (2_090, 0), "{seen:?}");
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn urgent_messages_go_on_while_bulk_is_paused_and_when_it_ends() {
    let play = Stage { contacts: 400, caps: &["100/s"], ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    play.until("bulk is sent", |p| p.sent > 20).await;
    let mut submitted = play.submit(0..10).await;
    // What waits for a slot of bulk has to look for one of its own.
    control::pause(&play.db.store, WORKSPACE, CAMPAIGN).await.unwrap();
    submitted.extend(play.submit(10..20).await);
    play.until_of(&submitted, "all are sent", |p| p.sent == 20).await;
    control::resume(&play.db.store, WORKSPACE, CAMPAIGN).await.unwrap();
    play.until("the last of bulk is claimed", |p| p.queued == 0).await;
    submitted.extend(play.submit(20..40).await);
    play.until_of(&submitted, "all are sent", |p| p.sent == 40).await;
    play.finished().await;
    assert_eq!(play.sim.stats().accepted_messages, 440);
    worker.stop().await;
}

/// Each with one connection to the database, of which a process has few.
#[tokio::test(flavor = "multi_thread")]
async fn many_may_submit_at_once() {
    let play = Stage { contacts: 1, ..Stage::default() }.launch().await;
    let at_once = (0..60).map(|i| play.submit(i..i + 1));
    let submitted = futures::future::join_all(at_once).await.concat();
    play.until_of(&submitted, "all are entered", |p| p.queued == 60).await;
    play.assert_books().await;
}

/// The count by the day is one of requests, whoever has the slot.
#[tokio::test(flavor = "multi_thread")]
async fn a_borrowed_slot_counts_once_by_the_day() {
    let play = Stage { contacts: 300, caps: &["100/s", "5000/day"], ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    play.until("bulk is sent", |p| p.sent > 20).await;
    let submitted = play.submit(0..40).await;
    play.until_of(&submitted, "all are sent", |p| p.sent == 40).await;
    play.finished().await;
    worker.stop().await;
    let counted: i64 = sqlx::query_scalar("select sum(c) from account_pace, unnest(day_counts) c")
        .fetch_one(&play.db.store.pool)
        .await
        .unwrap();
    assert!((340..=345).contains(&counted), "{counted} counted for 340 messages");
}
