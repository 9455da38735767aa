//! What has a window is claimed inside it only: the cursor, what was handed back, what is tried again.

use fanfare_domain::outcome::Class;
use fanfare_store::queue::{self, Fate, Mark, Settlement};
use fanfare_testdb::TestDb;

use crate::actor::{Actor, Held};
use crate::queue::assert_balanced;
use crate::scene::Scene;

async fn sql(db: &TestDb, sql: &'static str) {
    sqlx::raw_sql(sql).execute(&db.store.pool).await.unwrap();
}

/// Two segments of ten, of which the second is open.
async fn half_open() -> TestDb {
    let db = TestDb::new().await;
    Scene { recipients: 20, segments: 2, idempotent: true, reserve_each: 0, credit: 0 }.set(&db).await;
    sql(
        &db,
        "update flow set windowed = true;
         update segment set opens_at = now() + interval '1 h' where segment_no = 0;
         update segment set opens_at = now() - interval '1 h', closes_at = now() + interval '1 h' where segment_no = 1",
    )
    .await;
    db
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_is_claimed_while_it_is_open() {
    let db = half_open().await;
    let mut actor = Actor::start(&db, 1).await;
    assert_eq!(actor.claim(&db, 100).await, 10);
    assert_eq!(actor.claim(&db, 100).await, 0);
    sql(&db, "update segment set opens_at = now() - interval '1 s' where segment_no = 0").await;
    assert_eq!(actor.claim(&db, 4).await, 4);
    // What is claimed now is sent a few seconds later at most.
    sql(&db, "update segment set closes_at = now() + interval '5 s' where segment_no = 0").await;
    assert_eq!(actor.claim(&db, 100).await, 0);
    sql(&db, "update segment set closes_at = null where segment_no = 0").await;
    assert_eq!(actor.claim(&db, 100).await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_back_or_waits_for_another_attempt_keeps_the_window_of_its_segment() {
    let db = half_open().await;
    sql(
        &db,
        "update segment set next_seq = hi;
         insert into returned values (1, 60, 0, 5), (1, 60, 10, 13);
         insert into retry (workspace_id, run_id, seq, attempts, kind, account_id, due_at, reserved)
           select 1, 60, s, 1, 1, 20, now(), 0 from generate_series(6, 17, 11) s;
         insert into progress (workspace_id, run_id, shard, retrying) values (1, 60, 0, 2)",
    )
    .await;
    let mut actor = Actor::start(&db, 1).await;
    assert_eq!(actor.claim(&db, 100).await, 4, "three and a retry");
    assert_eq!(actor.claim(&db, 100).await, 0);
    sql(&db, "update segment set opens_at = null").await;
    assert_eq!(actor.claim(&db, 100).await, 6, "five and a retry");
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_of_two_segments_that_are_handed_back_at_once_keep_each_its_own_window() {
    let db = half_open().await;
    sql(&db, "update segment set opens_at = null, closes_at = null").await;
    let mut actor = Actor::start(&db, 1).await;
    assert_eq!(actor.claim(&db, 100).await, 20);
    let mut settlements = vec![];
    for held in &mut actor.held {
        held.settled.fill(true);
        let back = |position| Settlement::of(&held.lease, position, Fate::Returned, Class::Sent);
        settlements.extend((0..held.lease.len()).map(back));
    }
    let marks: Vec<Mark> = actor.held.iter().map(Held::mark).collect();
    assert_eq!(marks.len(), 2, "one lease of each segment");
    queue::flush(&db.store.pool, &db.store.ids, actor.who(), &marks, &settlements, false).await.unwrap();
    actor.held.clear();
    sql(&db, "update segment set opens_at = now() + interval '1 h' where segment_no = 1").await;
    assert_eq!(actor.claim(&db, 100).await, 10, "those of the segment that is open, and no others");
    assert_eq!(actor.claim(&db, 100).await, 0);
    sql(&db, "update segment set opens_at = null").await;
    assert_eq!(actor.claim(&db, 100).await, 10);
    assert_balanced(&db, 0, 0, "claimed again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_windows_and_one_whose_windows_are_closed_do_not_wait_for_each_other() {
    let db = half_open().await;
    sql(
        &db,
        "update segment set opens_at = now() + interval '1 h';
         insert into run select workspace_id, n, campaign_id, scheduled_for + n * interval '1 s',
           variables, planned, state, paused_reason, expires_at, expanded_to, expanded_at, started_at, finished_at
         from run, generate_series(100, 119) n;
         insert into segment (workspace_id, run_id, segment_no, lo, hi, next_seq, after_address, no_address, duplicate,
             suppressed, missing, opens_at)
           select 1, n, 0, 0, 10, 0, '', 0, 0, 0, 0, now() + interval '1 h' from generate_series(100, 118) n
           union all select 1, 119, 0, 0, 10, 0, '', 0, 0, 0, 0, null;
         insert into recipient select 1, s, 119, 1, 0, '+2135550' || s, 'DZ', null from generate_series(0, 9) s;
         insert into flow (workspace_id, account_id, run_id, weight, runnable, windowed, vtime)
           select 1, 20, n, 1, true, n < 119, n from generate_series(100, 119) n",
    )
    .await;
    let mut actor = Actor::start(&db, 1).await;
    assert_eq!(actor.claim(&db, 100).await, 10, "behind twenty that wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_come_one_by_one_are_not_bulk() {
    let db = TestDb::new().await;
    Scene { recipients: 10, segments: 1, idempotent: true, reserve_each: 0, credit: 0 }.set(&db).await;
    sql(&db, "update flow set lane = 0").await;
    assert_eq!(Actor::start(&db, 1).await.claim(&db, 10).await, 0);
}
