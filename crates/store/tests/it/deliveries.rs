//! Deliveries and progress are two views of the same rows: they must agree at every instant.

use std::collections::BTreeMap;
use std::time::Duration;

use fanfare_domain::outcome::Class;
use fanfare_domain::state::MessageState;
use fanfare_store::deliveries::{self, Delivery};
use fanfare_store::queue::{self, Fate, Flusher, Mark, Settlement};
use fanfare_store::{finish, progress, workers};
use fanfare_testdb::TestDb;
use sqlx::Connection as _;

use crate::scene::{ACCOUNT, RUN, Scene, WORKSPACE};

/// Small, so that ranges and lists cross its borders.
const PAGE: i32 = 97;

/// Reads every message of the run in one snapshot, and holds that counting them by state gives what
/// progress counted.
pub async fn assert_agree(db: &TestDb, note: &str) {
    assert_agree_of(db, RUN, note).await;
}

/// The same of any run.
pub async fn assert_agree_of(db: &TestDb, run_id: i64, note: &str) {
    let mut c = db.store.pool.acquire().await.unwrap();
    let mut tx = c.begin_with("begin isolation level repeatable read read only").await.unwrap();
    let p = progress::progress(&mut tx, WORKSPACE, run_id).await.unwrap();
    let all = read_of(&mut tx, run_id, None).await;
    let mut found: BTreeMap<&str, i64> = BTreeMap::new();
    for d in &all {
        *found.entry(d.state.as_str()).or_default() += 1;
    }
    let counted = [
        ("queued", p.queued),
        ("leased", p.leased),
        ("retrying", p.retrying),
        ("sent", p.sent),
        ("failed", p.failed),
        ("suppressed", p.suppressed),
        ("expired", p.expired),
        ("cancelled", p.cancelled),
        ("unknown", p.unknown),
    ];
    let counted: BTreeMap<&str, i64> = counted.into_iter().filter(|(_, n)| *n != 0).collect();
    assert_eq!(found, counted, "{note}");
    assert_eq!(all.iter().map(|d| d.cost).sum::<i64>(), p.cost, "{note}: cost");
    assert_eq!(all.len() as i64, p.total, "{note}: a message is missing or listed twice");
    assert!(all.is_sorted_by(|a, b| a.seq < b.seq), "{note}: a message is listed twice");
}

async fn read(c: &mut fanfare_store::PgConnection, only: Option<MessageState>) -> Vec<Delivery> {
    read_of(c, RUN, only).await
}

async fn read_of(c: &mut fanfare_store::PgConnection, run_id: i64, only: Option<MessageState>) -> Vec<Delivery> {
    let total = deliveries::total(c, WORKSPACE, run_id).await.unwrap();
    let mut all = vec![];
    for lo in (0..total).step_by(PAGE as usize) {
        let hi = total.min(lo + PAGE);
        all.extend(deliveries::page(c, WORKSPACE, run_id, (lo, hi), only).await.unwrap());
    }
    all
}

/// Claims `want` messages and settles each by `fate_of`, in one flush.
async fn play(db: &TestDb, want: usize, fate_of: impl Fn(i32, i16) -> (Fate, Class)) {
    let worker_id = db.store.ids.next();
    workers::register(&db.store.pool, worker_id, "test", Duration::from_secs(60)).await.unwrap();
    let mut c = db.store.pool.acquire().await.unwrap();
    let base = db.store.ids.next();
    let leases =
        queue::claim(&mut c, WORKSPACE, ACCOUNT, worker_id, base, 0, want, db.store.clock.now()).await.unwrap();
    let who = Flusher { workspace_id: WORKSPACE, account_id: ACCOUNT, worker_id, shard: 0, correlates: false };
    for lease in &leases {
        let settlements: Vec<Settlement> = (0..lease.len())
            .map(|position| {
                let blank = Settlement::of(lease, position, Fate::Returned, Class::Transient);
                let (fate, class) = fate_of(blank.seq, blank.attempt);
                Settlement { fate, class, detail: Some("code".into()), ..blank }
            })
            .collect();
        let mark = Mark { lease_id: lease.id, reserve_each: lease.reserve_each, done: vec![], open: 0 };
        queue::flush(&db.store.pool, &db.store.ids, who, &[mark], &settlements, false).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_out_of_attempts_has_failed_and_one_swept_before_that_was_cancelled() {
    let db = TestDb::new().await;
    Scene { recipients: 10, segments: 1, idempotent: true, reserve_each: 2, credit: 1000 }.set(&db).await;
    // Message 0 fails until it is out of attempts, message 1 waits for its second, message 2 is sent.
    for _ in 0..8 {
        play(&db, 3, |seq, attempt| match (seq, attempt) {
            (0, 8) => (Fate::Final { cost: 0 }, Class::Transient),
            (0, _) => (Fate::Retry(Duration::ZERO), Class::Transient),
            (1, _) => (Fate::Retry(Duration::from_secs(3600)), Class::Throttled),
            (2, _) => (Fate::Final { cost: 2 }, Class::Sent),
            _ => (Fate::Returned, Class::Transient),
        })
        .await;
        assert_agree(&db, "while sending").await;
    }
    let mut c = db.store.pool.acquire().await.unwrap();
    let before = read(&mut c, None).await;
    let seen: Vec<_> =
        before.iter().take(4).map(|d| (d.state.as_str(), d.attempts, d.cost, d.detail.as_deref())).collect();
    let code = Some("code");
    assert_eq!(seen, [("failed", 8, 0, code), ("retrying", 1, 0, code), ("sent", 1, 2, code), ("queued", 0, 0, None)]);

    Scene::cancel(&db).await;
    for run in finish::closing(&mut c, db.store.clock.now()).await.unwrap() {
        finish::sweep(&db.store.pool, run, 0).await.unwrap();
    }
    assert_agree(&db, "after the cancel").await;
    let cancelled: Vec<i32> = read(&mut c, Some(MessageState::Cancelled)).await.iter().map(|d| d.seq).collect();
    assert_eq!(cancelled, [1, 3, 4, 5, 6, 7, 8, 9]);
    let failed: Vec<i32> = read(&mut c, Some(MessageState::Failed)).await.iter().map(|d| d.seq).collect();
    assert_eq!(failed, [0]);
}
