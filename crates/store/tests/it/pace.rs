//! A campaign's own rate, as the claims of its accounts keep it.

use fanfare_domain::cap::Cap;
use fanfare_domain::limits::PACE_LAG_US;
use fanfare_domain::outcome::Class;
use fanfare_domain::rng::Rng;
use fanfare_domain::state::{OnUnknown, Sharing};
use fanfare_store::queue::{self, Decision, Fate, Lease};
use fanfare_store::{campaigns, finish, flows};
use fanfare_testdb::TestDb;

use crate::actor::{Actor, sql};
use crate::queue::assert_balanced;
use crate::scene::{RUN, Scene, WORKSPACE};

/// Gives the campaign this rate, and its run the pace, as an edit does.
pub async fn set_rate(db: &TestDb, rate: Option<&str>) {
    let rate: Option<Cap> = rate.map(|rate| rate.parse().unwrap());
    let mut tx = db.store.pool.begin().await.unwrap();
    let campaign = campaigns::get(&mut tx, WORKSPACE, "c").await.unwrap();
    campaigns::set_rate(&mut tx, WORKSPACE, &campaign, rate).await.unwrap();
    flows::lock(&mut tx, WORKSPACE, RUN).await.unwrap();
    flows::pace(&mut tx, WORKSPACE, RUN).await.unwrap();
    tx.commit().await.unwrap();
}

/// A run of 1,000 messages with this rate, through two accounts that share it, each with a worker.
async fn pair(rate: &str) -> (TestDb, Actor, Actor) {
    let db = TestDb::new().await;
    Scene { recipients: 1_000, segments: 1, idempotent: true, reserve_each: 0, credit: 0 }.set(&db).await;
    Scene::second_account(&db, Sharing::Together).await;
    set_rate(&db, Some(rate)).await;
    let (one, other) = (Actor::start_of_two(&db, 1).await, Actor::start_of_two(&db, 2).await);
    (db, one, other)
}

/// Lets as much time pass as a run may be behind its pace, and more.
async fn long_after(db: &TestDb) {
    sql(db, "update run_pace set next_us = 0").await;
}

async fn number(db: &TestDb, text: &'static str) -> i64 {
    sqlx::query_scalar(text).fetch_one(&db.store.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_and_workers_keep_the_pace_together() {
    let (db, mut one, mut other) = pair("1/h").await;
    assert_eq!((one.claim(&db, 100).await, other.claim(&db, 100).await, one.claim(&db, 100).await), (1, 0, 0));
    long_after(&db).await;
    assert_eq!((other.claim(&db, 100).await, one.claim(&db, 100).await), (1, 0));
    // A repeat is a message.
    sql(&db, "insert into retry values (1, 60, 500, 1, 1, 20, now(), 0, null); update progress set retrying = 1").await;
    long_after(&db).await;
    assert_eq!((one.claim(&db, 100).await, other.claim(&db, 100).await), (1, 0));
    assert_eq!(number(&db, "select count(*) from retry").await, 0, "it went first");
    // At the account's own slots as well.
    sql(&db, "update account_pace set period_us = 1000, window_us = 1000000, lateness_us = 5000000").await;
    long_after(&db).await;
    assert_eq!((one.claim(&db, 100).await, other.claim(&db, 100).await), (1, 0));
    let lease = &one.held.last().unwrap().lease;
    assert_eq!((lease.period_us, lease.lateness_us, lease.paced), (1000, PACE_LAG_US, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_builds_up_no_burst() {
    let (db, mut one, mut other) = pair("1000/s").await;
    long_after(&db).await;
    assert_eq!(one.claim(&db, 100).await, 100, "what is wanted");
    long_after(&db).await;
    assert_eq!(other.claim(&db, 1_000).await, 251, "what lies a quarter of a second back at most");
    let lease = &other.held[0].lease;
    assert_eq!((lease.period_us, lease.lateness_us, lease.paced), (1000, PACE_LAG_US, true));
    assert!(lease.slot_us > lease.now_us, "not at once, but each in its slot: {lease:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_its_pace_keeps_no_other_from_its_turn() {
    let db = TestDb::new().await;
    Scene { recipients: 100, segments: 1, idempotent: true, reserve_each: 0, credit: 0 }.set(&db).await;
    sql(
        &db,
        "insert into run select workspace_id, n, campaign_id, scheduled_for + n * interval '1 s',
           variables, planned, state, paused_reason, expires_at, expanded_to, expanded_at, started_at, finished_at
         from run, generate_series(100, 119) n;
         insert into segment select 1, n, 0, 0, 10, 0, '', 0, 0, 0, 0 from generate_series(100, 119) n;
         insert into recipient select 1, s, n, 1, 0, '+2135550' || s, 'DZ', null
           from generate_series(0, 9) s, generate_series(100, 119) n;
         insert into flow (workspace_id, account_id, run_id, weight, runnable, paced)
           select 1, 20, n, 1, true, true from generate_series(100, 119) n;
         insert into run_pace select 1, n, 1000000,
           (extract(epoch from now() + interval '1 h') * 1000000)::bigint from generate_series(100, 119) n;
         update flow set vtime = 1000000 where run_id = 60",
    )
    .await;
    let mut actor = Actor::start(&db, 1).await;
    assert_eq!(actor.claim(&db, 10).await, 10, "behind twenty that wait");
    assert_eq!(actor.held[0].lease.run_id, RUN);
    // One of them is due, and has waited for long: it goes first, and is owed nothing for that.
    sql(&db, "update run_pace set next_us = 0 where run_id = 119").await;
    assert_eq!(actor.claim(&db, 10).await, 10);
    let held: Vec<(i64, usize)> = actor.held.iter().map(|held| (held.lease.run_id, held.lease.len())).collect();
    assert_eq!(held, [(RUN, 10), (119, 1), (RUN, 9)]);
    let behind = "select a.vtime - b.vtime from flow a, flow b where a.run_id = 60 and b.run_id = 119";
    assert!((0..=10_000).contains(&number(&db, behind).await));
    // Another account's claim holds one that is due: it is waited for by nobody.
    sql(&db, "update run_pace set next_us = 0 where run_id = 118").await;
    let mut other = db.store.pool.begin().await.unwrap();
    sqlx::query("select from run_pace for no key update").execute(&mut *other).await.unwrap();
    assert_eq!(actor.claim(&db, 10).await, 10);
    assert_eq!(actor.held.last().unwrap().lease.run_id, RUN);
    other.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_holds_from_when_it_is_set_until_it_is_taken_back() {
    let (db, mut one, mut other) = pair("1/h").await;
    let epochs = "select sum(epoch)::bigint from flow";
    let before = number(&db, epochs).await;
    assert_eq!((one.claim(&db, 100).await, other.claim(&db, 100).await), (1, 0));
    // What is faster does not wait for what was slow.
    set_rate(&db, Some("1000/s")).await;
    let ahead = "select greatest(0, next_us - (extract(epoch from clock_timestamp()) * 1000000)::bigint) from run_pace";
    assert!(number(&db, ahead).await <= 1_000);
    set_rate(&db, None).await;
    assert_eq!(number(&db, epochs).await, before + 4, "whatever workers hold of it goes back");
    assert_eq!(
        number(&db, "select (select count(*) from run_pace) + (select count(*) from flow where paced)").await,
        0
    );
    assert_eq!((one.claim(&db, 100).await, other.claim(&db, 100).await), (100, 100));
    assert!(one.held.iter().skip(1).all(|held| held.lease.period_us == 0 && !held.lease.paced));
    assert_balanced(&db, 0, 0, "end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pace_goes_with_the_flows_and_comes_back_with_them() {
    let (db, mut one, _) = pair("50/s").await;
    assert_eq!(one.claim(&db, 100).await, 1);
    let doubt = |_: &Rng, _: &Lease, _: usize| (Fate::Unknown(None), Class::Unknown);
    one.flush(&db, &Rng::seeded(1), true, doubt).await;
    sql(&db, "update segment set next_seq = hi").await;
    assert!(finish::finish(&db.store.pool, WORKSPACE, RUN, db.store.clock.now()).await.unwrap());
    assert_eq!(number(&db, "select (select count(*) from run_pace) + (select count(*) from flow)").await, 0);
    let decision = Decision {
        workspace_id: WORKSPACE,
        run_id: RUN,
        seq: 0,
        verdict: OnUnknown::Resend,
        decided_by: "tester",
        decided_at: db.store.clock.now(),
        shard: 0,
    };
    assert!(queue::decide(&db.store.pool, &db.store.ids, decision).await.unwrap());
    assert_eq!(number(&db, "select period_us from run_pace").await, 20_000);
    assert_eq!(number(&db, "select count(*) from flow where paced").await, 2);
    assert_eq!(one.claim(&db, 100).await, 1);
    sql(&db, "update segment set next_seq = 1").await;
    assert_balanced(&db, 0, 0, "sent again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_runs_without_a_rate_asks_nothing_of_a_pace() {
    let (db, one, _) = pair("1000/s").await;
    let looks = async || {
        let mut tx = db.store.pool.begin().await.unwrap();
        let (base, now) = (db.store.ids.next(), db.store.clock.now());
        // With what the connection did a moment ago.
        let sql = "select coalesce(seq_scan, 0) + coalesce(idx_scan, 0) from pg_stat_xact_user_tables where relname = 'run_pace'";
        let before: i64 = sqlx::query_scalar(sql).fetch_one(&mut *tx).await.unwrap();
        let leases = queue::claim(&mut tx, WORKSPACE, one.account_id, one.worker_id, base, 0, 10, now).await.unwrap();
        assert!(!leases.is_empty());
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut *tx).await.unwrap() - before
    };
    assert!(looks().await > 0);
    set_rate(&db, None).await;
    assert_eq!(looks().await, 0);
}
