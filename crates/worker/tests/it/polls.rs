//! Asking for what a provider had only queued.

use std::collections::BTreeSet;
use std::time::Duration;

use fanfare_domain::id::message_of;
use fanfare_domain::template::Text;
use fanfare_sim::Config;
use fanfare_store::{Store, accounts};
use serde_json::json;

use crate::drain::faults_of;
use crate::stage::{Account, Stage, WORKSPACE};

/// Makes questions due at once: nobody waits a minute for them here.
async fn nudge(store: Store) {
    loop {
        sqlx::raw_sql("update poll set due_at = clock_timestamp(); update poller set next_us = 0")
            .execute(&store.pool)
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until nothing is left to ask for.
async fn all_told(store: &Store) {
    let open = async || sqlx::query_scalar::<_, i64>("select count(*) from poll").fetch_one(&store.pool).await.unwrap();
    while open().await > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn grow() -> Account {
    let text = Text::Approved { name: "spring".into(), params: vec!["{{ name }}".into()] };
    Account { text, ..Account::whatsapp("grow", json!({})) }
}

/// One in eight is queued at first, and one in four of those fails after all; many answers are late.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_only_queued_is_asked_for_until_its_end_is_told() {
    let faults = "receipt-late=0.3 429=0.05 500=0.05 500-accepted=0.05 reset=0.05 reset-accepted=0.05";
    let sim = Config { faults: faults_of(faults), seed: 15, ..Config::default() };
    let play = Stage { contacts: 300, account: grow(), sim, ..Stage::default() }.launch().await;
    play.scheduler();
    let workers = [play.worker(), play.worker()];
    let done = play.finished().await;
    assert_eq!(done.sent, 300, "seed 15: {done:?}");
    assert_eq!(play.sim.stats().questions, 0, "not before a minute has passed");

    let nudging = tokio::spawn(nudge(play.db.store.clone()));
    let seqs = |every: u64| -> BTreeSet<i32> {
        let all = play.sim.accepted(0).accepted.into_iter();
        let every = all.filter(|a| a.provider_id.parse::<u64>().unwrap().is_multiple_of(every));
        every.map(|a| message_of(a.id).unwrap().2).collect()
    };
    let (queued, failed) = (seqs(8), seqs(32));
    all_told(&play.db.store).await;
    nudging.abort();
    let told: Vec<(i32, i16, Option<String>)> =
        sqlx::query_as("select seq, kind, detail from receipt").fetch_all(&play.db.store.pool).await.unwrap();
    let of = |kind: i16| -> BTreeSet<i32> { told.iter().filter(|t| t.1 == kind).map(|t| t.0).collect() };
    assert_eq!((of(1), of(4)), (&queued - &failed, failed.clone()), "seed 15");
    assert!(told.iter().all(|(_, _, detail)| detail.as_deref().is_none_or(|d| d == "failed")), "no words are kept");
    let after = play.status().await;
    assert_eq!((after.sent, after.undelivered), (300, failed.len() as i64), "seed 15: {after:?}");
    let seen = play.sim.stats();
    assert!(seen.by_fault["receipt-late"] > 0 && seen.accepted_twice == 0, "seed 15: {seen:?}");
    play.assert_books().await;
    for worker in workers {
        worker.stop().await;
    }
}

/// A token that may send and not read, say: questions rest, and the account goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_question_stops_no_account_and_is_asked_again() {
    let sim = Config { secret: Some("s3cret".to_owned()), ..Config::default() };
    let play = Stage { contacts: 40, account: grow(), sim, ..Stage::default() }.launch().await;
    let store = &play.db.store;
    play.scheduler();
    let worker = play.worker();
    play.finished().await;
    accounts::set_secret(store, WORKSPACE, "demo", Some("another")).await.unwrap();
    sqlx::raw_sql("update poll set due_at = clock_timestamp()").execute(&store.pool).await.unwrap();
    let rests = "select next_us > (extract(epoch from clock_timestamp()) * 1000000)::bigint + 60000000 from poller";
    while !sqlx::query_scalar::<_, bool>(rests).fetch_one(&store.pool).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seen = play.status().await;
    assert_eq!((seen.accounts[0].stopped.as_deref(), seen.undelivered), (None, 0));
    assert_eq!(play.sim.stats().rejected, 1, "asked once, and left alone");
    accounts::set_secret(store, WORKSPACE, "demo", Some("s3cret")).await.unwrap();
    let nudging = tokio::spawn(nudge(store.clone()));
    all_told(store).await;
    nudging.abort();
    assert_eq!(play.status().await.undelivered, 1);
    play.assert_books().await;
    worker.stop().await;
}
