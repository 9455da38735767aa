//! Slots for questions: of the same pace as messages, by one worker at a time, and never more than a share.

use std::time::Duration;

use fanfare_store::polls::{self, Slot};
use fanfare_store::queue::{self, Lease};
use fanfare_store::workers;
use fanfare_testdb::TestDb;
use sqlx::PgConnection;

use crate::scene::{ACCOUNT, RUN, Scene, WORKSPACE};

const PERIOD_US: i64 = 10_000;

/// An account with something to ask, two workers, and this many messages that wait to be sent.
async fn scene(messages: i32) -> TestDb {
    let db = TestDb::new().await;
    Scene { recipients: 100, segments: 1, idempotent: true, reserve_each: 0, credit: 0 }.set(&db).await;
    for worker_id in [1, 2] {
        workers::register(&db.store.pool, worker_id, "test", Duration::from_secs(3600)).await.unwrap();
    }
    sqlx::query("update segment set next_seq = hi - $1").bind(messages).execute(&db.store.pool).await.unwrap();
    sql(
        &db,
        "insert into poller (workspace_id, account_id) values (1, 20);
         insert into poll (workspace_id, account_id, run_id, seq, provider_id, accepted_at, due_at)
           select 1, 20, 60, s, s::text, now(), now() from generate_series(0, 9) s",
    )
    .await;
    db
}

async fn sql(db: &TestDb, text: &'static str) {
    sqlx::raw_sql(text).execute(&db.store.pool).await.unwrap();
}

async fn reserve(db: &TestDb, worker_id: i64) -> Option<Slot> {
    let mut c = db.store.pool.acquire().await.unwrap();
    polls::reserve(&mut c, WORKSPACE, ACCOUNT, worker_id).await.unwrap()
}

async fn due_for(db: &TestDb, worker_id: i64) -> usize {
    polls::due_accounts(&mut db.store.pool.acquire().await.unwrap(), worker_id).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_asks_until_it_is_done_or_dead() {
    let db = scene(0).await;
    assert_eq!((due_for(&db, 1).await, due_for(&db, 2).await), (1, 1));
    assert!(reserve(&db, 1).await.is_some() && reserve(&db, 1).await.is_some());
    assert_eq!((due_for(&db, 1).await, due_for(&db, 2).await), (1, 0));
    assert_eq!(reserve(&db, 2).await, None, "another one asks");
    sql(&db, "delete from worker where worker_id = 1").await;
    assert_eq!(due_for(&db, 2).await, 1);
    assert!(reserve(&db, 2).await.is_some(), "it is dead");
    workers::register(&db.store.pool, 3, "test", Duration::from_secs(3600)).await.unwrap();
    assert_eq!(reserve(&db, 3).await, None);
    sql(&db, "update poller set until_us = 0").await;
    assert!(reserve(&db, 3).await.is_some(), "it has not asked for long");
    let mut c = db.store.pool.acquire().await.unwrap();
    let dead = polls::reserve(&mut c, WORKSPACE, ACCOUNT, 1).await;
    assert!(matches!(dead, Err(fanfare_store::Error::Fenced)), "{dead:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_and_messages_never_share_a_slot() {
    let db = scene(60).await;
    sql(&db, "update account_pace set period_us = 10000, window_us = 1000000").await;
    let mut slots = Vec::new();
    let mut questions = 0;
    for round in 0..12 {
        let mut c = db.store.pool.acquire().await.unwrap();
        let base = db.store.ids.next();
        let leases: Vec<Lease> =
            queue::claim(&mut c, WORKSPACE, ACCOUNT, 2, base, 0, 5, db.store.clock.now()).await.unwrap();
        slots.extend(leases.iter().flat_map(|l| (0..l.len() as i64).map(|i| l.slot_us + i * l.period_us)));
        if let Some(slot) = reserve(&db, 1).await {
            slots.push(slot.slot_us);
            questions += 1;
        }
        // Time passes by ten slots.
        sql(&db, "update account_pace set next_us = next_us - 100000").await;
        sql(&db, "update poller set next_us = next_us - 100000").await;
        slots.iter_mut().for_each(|slot| *slot -= 100_000);
        assert!(round > 0 || questions == 1, "one of them finds its slot at once");
    }
    slots.sort_unstable();
    let closest = slots.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!(closest >= PERIOD_US, "{closest} µs apart");
    assert!(slots.len() > 60, "all messages were claimed: {}", slots.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_something_waits_to_be_sent_questions_have_a_tenth_of_the_slots() {
    let db = scene(60).await;
    sql(&db, "update account_pace set period_us = 10000, window_us = 1000000").await;
    let first = reserve(&db, 1).await.unwrap();
    assert_eq!(reserve(&db, 1).await, None, "the next nine are for messages");
    let next: i64 = sqlx::query_scalar("select next_us from poller").fetch_one(&db.store.pool).await.unwrap();
    assert_eq!(next, first.slot_us + 10 * PERIOD_US);
    sql(&db, "update segment set next_seq = hi; update poller set next_us = 0").await;
    reserve(&db, 1).await.unwrap();
    let next: i64 = sqlx::query_scalar("select next_us from poller").fetch_one(&db.store.pool).await.unwrap();
    assert_eq!(next, 0, "nothing waits any more: the next slot may be asked for at once");

    // Of a day's messages too, whenever they come.
    sql(
        &db,
        "update account_pace set day_cap = 40, period_us = 0, next_us = 0, day_counts = array_fill(0, array[25]);
         update poller set day_counts = array_fill(0, array[25])",
    )
    .await;
    let mut questions = 0;
    while reserve(&db, 1).await.is_some() {
        questions += 1;
        sql(&db, "update account_pace set next_us = 0").await;
    }
    assert_eq!(questions, 4);
    let day: i64 = sqlx::query_scalar("select sum(c) from account_pace, unnest(day_counts) c")
        .fetch_one(&db.store.pool)
        .await
        .unwrap();
    assert_eq!(day, 4, "and they count against it");
}

/// What the limits by the day leave now, and 25 hours later.
async fn rooms(c: &mut PgConnection, now_us: i64) -> (i64, i64) {
    let sql = "select day_room(p, $1), day_room(p, $1 + 25 * 3600000000) from account_pace p";
    sqlx::query_as(sql).bind(now_us).fetch_one(c).await.unwrap()
}

/// A new sender's ramp is of sends: what it sent is asked for more often than it sends.
#[tokio::test(flavor = "multi_thread")]
async fn questions_take_nothing_of_a_ramp() {
    let db = scene(60).await;
    sql(&db, "update account_pace set period_us = 10000, window_us = 1000000, warm_first = 15").await;
    for _ in 0..20 {
        assert!(reserve(&db, 1).await.is_some());
        sql(&db, "update account_pace set next_us = 0; update poller set next_us = 0").await;
    }
    let mut c = db.store.pool.acquire().await.unwrap();
    let (base, now_us) = (db.store.ids.next(), db.store.clock.now_us());
    let leases: Vec<Lease> =
        queue::claim(&mut c, WORKSPACE, ACCOUNT, 2, base, 0, 20, db.store.clock.now()).await.unwrap();
    assert_eq!(leases.iter().map(Lease::len).sum::<usize>(), 15, "the first day's sends");
    // They count against a cap by the day all the same, and are forgotten with the sends of their hour.
    sql(&db, "update account_pace set day_cap = 36").await;
    assert_eq!(rooms(&mut c, now_us).await, (0, 15));
    sql(&db, "update account_pace set warm_first = 0").await;
    assert_eq!(rooms(&mut c, now_us).await, (1, 36));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_question_is_asked_when_no_message_would_be_sent() {
    for (what, closed) in [
        ("stopped", "update account set stopped_reason = '401'"),
        ("circuit open", "update account_pace set closed_until_us = 9e15::bigint"),
        ("asked to wait", "update account_pace set next_us = 9e15::bigint"),
        (
            "asked to wait, with a cap",
            "update account_pace set next_us = 9e15::bigint, period_us = 10000, window_us = 1000000",
        ),
        ("another server", "update account_pace set boot = 'another', period_us = 10000, window_us = 1000000"),
        ("the day is over", "update account_pace set day_cap = 100, day_hour = 1000000, day_counts[1] = 100"),
        ("half open, and messages try first", "update account_pace set failures = 1; update segment set next_seq = lo"),
    ] {
        let db = scene(0).await;
        sql(&db, closed).await;
        assert_eq!(reserve(&db, 1).await, None, "{what}");
    }
    let db = scene(0).await;
    sql(&db, "update account_pace set failures = 1").await;
    assert!(reserve(&db, 1).await.is_some_and(|slot| slot.probe), "half open, with nothing to send");
    assert_eq!(reserve(&db, 1).await, None, "one probe at a time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_asked_for_less_and_less_often_and_not_for_ever() {
    let db = scene(0).await;
    sql(&db, "update poll set accepted_at = now() - interval '73 h' where seq = 0").await;
    sql(&db, "update poll set accepted_at = now() - interval '71 h' where seq = 1").await;
    let wait = Duration::from_secs(6 * 3600);
    let again: Vec<_> = (0..3).map(|seq| (RUN, seq, wait)).collect();
    let pool = &db.store.pool;
    assert_eq!(polls::note(pool, WORKSPACE, &[(RUN, 9)], &again).await.unwrap(), 1, "for one the time is up");
    let left: Vec<(i32, i16, i32)> = sqlx::query_as(
        "select seq, asked, round(extract(epoch from due_at - clock_timestamp()) / 3600)::int from poll where seq in (0, 1, 2, 9) order by seq",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert_eq!(left, [(1, 1, 1), (2, 1, 6)], "its last question is at the end of its time");
    let due = polls::due(&mut pool.acquire().await.unwrap(), WORKSPACE, ACCOUNT).await.unwrap();
    assert_eq!(due.len(), 6);
    let open = polls::open(&mut pool.acquire().await.unwrap(), WORKSPACE, RUN).await.unwrap();
    assert_eq!(open, 8);
}
