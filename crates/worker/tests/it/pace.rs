//! Campaigns with a rate of their own, by what their providers saw.

use std::collections::HashSet;

use fanfare_domain::cap::Cap;
use fanfare_domain::id::message_id;
use fanfare_domain::state::RunState;
use fanfare_scheduler::control;
use fanfare_scheduler::launch::{Launch, launch};
use fanfare_scheduler::life::{self, Edit};
use fanfare_store::campaigns::{self, NewCampaign, Through};
use fanfare_store::progress::{newest_run, progress};

use crate::stage::{CAMPAIGN, Other, Play, Stage, WORKSPACE};

fn per_second(count: i64) -> Option<Cap> {
    Some(Cap { count, per_us: 1_000_000 })
}

async fn set_rate(play: &Play, rate: Option<Cap>) {
    life::edit(&play.db.store, WORKSPACE, CAMPAIGN, Edit { rate: Some(rate), ..Edit::default() }).await.unwrap();
}

/// When the messages of a run arrived at all of its providers, in order, µs.
fn arrivals(play: &Play, run_id: i64, messages: i64) -> Vec<i64> {
    let ids: HashSet<_> = (0..messages as i32).map(|seq| message_id(WORKSPACE, run_id, seq)).collect();
    let sims = [&play.sim].into_iter().chain(&play.others);
    let all = sims.flat_map(|sim| sim.accepted(0).accepted);
    let mut at: Vec<i64> = all.filter(|one| ids.contains(&one.id)).map(|one| one.at_us).collect();
    at.sort_unstable();
    at
}

/// Holds that in no window W there were more than the rate lets through in W and a second.
fn assert_paced(at_us: &[i64], a_second: i64) {
    for seconds in 1..=5 {
        for (i, start) in at_us.iter().enumerate() {
            let within = at_us[i..].partition_point(|at| *at <= start + seconds * 1_000_000) as i64;
            assert!(within <= a_second * (seconds + 1), "{within} in {seconds} s at {a_second} a second");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_keeps_its_rate_beside_one_that_has_none() {
    let play = Stage { contacts: 240, campaign: |c| NewCampaign { rate: per_second(10), ..c }, ..Stage::default() }
        .launch()
        .await;
    let (store, through) = (&play.db.store, [Through::account("demo")]);
    campaigns::create(store, WORKSPACE, NewCampaign::of("other", "hello", "l", &through)).await.unwrap();
    launch(store, WORKSPACE, "other", Launch::default()).await.unwrap();
    play.expand().await;
    play.scheduler();
    let (a, b) = (play.worker(), play.worker());
    // Alone it would take 24 seconds, the other one less than one.
    let paced = play.until("under way", |p| p.sent >= 20).await;
    let mut c = store.pool.acquire().await.unwrap();
    let id = campaigns::get(&mut c, WORKSPACE, "other").await.unwrap().campaign_id;
    let other = newest_run(&mut c, WORKSPACE, id).await.unwrap().unwrap();
    assert_eq!(progress(&mut c, WORKSPACE, other).await.unwrap().sent, 240, "{paced:?}");
    drop(c);
    let changed_us = store.clock.now_us();
    set_rate(&play, per_second(100)).await;
    assert_eq!(play.finished().await.sent, 240);
    let at = arrivals(&play, paced.run_id, 240);
    assert_eq!(at.len(), 240);
    assert_paced(&at[..at.partition_point(|at| *at < changed_us)], 10);
    assert_paced(&at, 100);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_that_is_set_in_mid_run_holds_for_all_accounts_together() {
    let others = vec![Other { name: "other", caps: &["100/s"], ..Other::default() }];
    let play = Stage { contacts: 500, caps: &["100/s"], others, ..Stage::default() }.launch().await;
    play.scheduler();
    let (a, b) = (play.worker(), play.worker());
    let sent = play.until("under way", |p| p.sent >= 50).await.sent;
    set_rate(&play, per_second(20)).await;
    // What had started before workers heard of it may still arrive.
    let set_us = play.db.store.clock.now_us() + 300_000;
    let run_id = play.until("at its rate", |p| p.sent >= sent + 120).await.run_id;
    let taken_back_us = play.db.store.clock.now_us();
    set_rate(&play, None).await;
    assert_eq!(play.finished().await.sent, 500);
    let at = arrivals(&play, run_id, 500);
    assert_eq!(at.len(), 500);
    let (from, to) = (at.partition_point(|at| *at < set_us), at.partition_point(|at| *at < taken_back_us));
    assert!(to > from, "some were sent at the rate");
    assert_paced(&at[from..to], 20);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_with_a_rate_is_paused_resumed_and_cancelled() {
    let play = Stage { contacts: 500, campaign: |c| NewCampaign { rate: per_second(50), ..c }, ..Stage::default() }
        .launch()
        .await;
    play.scheduler();
    let worker = play.worker();
    play.until("under way", |p| p.sent >= 10).await;
    control::pause(&play.db.store, WORKSPACE, CAMPAIGN).await.unwrap();
    let run_id = play.until("nothing is leased", |p| p.leased == 0).await.run_id;
    play.assert_books().await;
    control::resume(&play.db.store, WORKSPACE, CAMPAIGN).await.unwrap();
    play.until("going on", |p| p.sent >= 60).await;
    control::cancel(&play.db.store, WORKSPACE, CAMPAIGN).await.unwrap();
    let done = play.until("cancelled", |p| p.state().unwrap() == RunState::Cancelled).await;
    assert_eq!(done.sent + done.cancelled, 500, "{done:?}");
    play.assert_books().await;
    assert_paced(&arrivals(&play, run_id, 500), 50);
    let left = "select (select count(*) from flow) + (select count(*) from run_pace)";
    assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(&play.db.store.pool).await.unwrap(), 0);
    worker.stop().await;
}
