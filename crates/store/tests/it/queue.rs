//! The queue under random operations: the books must balance after every single one.

use std::time::Duration;

use fanfare_domain::outcome::Class;
use fanfare_domain::receipt::{About, Receipt, ReceiptKind};
use fanfare_domain::rng::Rng;
use fanfare_domain::state::Sharing;
use fanfare_store::queue::{self, Fate, Lease};
use fanfare_store::{audit, credits, finish, flows, progress, receipts};
use fanfare_testdb::TestDb;

use crate::actor::{Actor, sql};
use crate::pace::set_rate;
use crate::scene::{ACCOUNT, RUN, Scene, WORKSPACE};

const OPERATIONS: usize = 250;

/// Any fate that a worker could find.
pub fn any_fate(rng: &Rng, lease: &Lease, position: usize) -> (Fate, Class) {
    let doubt = lease.in_doubt(position);
    match rng.below(10) {
        0..=4 => (Fate::Final { cost: 3 + rng.below(5) as i64 }, Class::Sent),
        5 => (Fate::Final { cost: 0 }, Class::PermanentRecipient),
        6 if !doubt => (Fate::Retry(Duration::ZERO), Class::Throttled),
        7 => (Fate::Unknown(Some(Duration::ZERO)), Class::Unknown),
        8 => (Fate::Unknown(None), Class::Unknown),
        _ => (Fate::Returned, Class::Transient),
    }
}

pub async fn assert_balanced(db: &TestDb, seed: u64, step: usize, what: &str) {
    let mut c = db.store.pool.acquire().await.unwrap();
    let audit = audit::audit(&mut c, WORKSPACE).await.unwrap();
    let broken: Vec<_> = audit.checks.iter().filter(|c| !c.ok).collect();
    assert!(audit.ok, "seed {seed}, step {step} ({what}): {broken:#?}");
    drop(c);
    crate::deliveries::assert_agree(db, &format!("seed {seed}, step {step} ({what})")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn books_balance_whatever_happens() {
    for seed in [1, 2, 3, 4] {
        random_life(seed, None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn books_balance_whatever_happens_to_two_accounts() {
    for (seed, sharing) in [(5, Sharing::Together), (6, Sharing::Shares), (7, Sharing::InOrder), (8, Sharing::InOrder)]
    {
        random_life(seed, Some(sharing)).await;
    }
}

/// A worker of the account, or of one of two.
async fn worker(db: &TestDb, worker_id: i64, sharing: Option<Sharing>) -> Actor {
    if sharing.is_some() { Actor::start_of_two(db, worker_id).await } else { Actor::start(db, worker_id).await }
}

async fn random_life(seed: u64, sharing: Option<Sharing>) {
    let (db, rng) = (TestDb::new().await, Rng::seeded(seed));
    Scene { recipients: 900, segments: 3, idempotent: true, reserve_each: 8, credit: 5_000 }.set(&db).await;
    if let Some(sharing) = sharing {
        Scene::second_account(&db, sharing).await;
    }
    let mut actors = vec![worker(&db, 1, sharing).await, worker(&db, 2, sharing).await];
    let mut next_worker = 3;
    for step in 0..OPERATIONS {
        let who = rng.below(actors.len() as u64) as usize;
        let what = match rng.below(21) {
            0..=6 if actors[who].alive => {
                actors[who].claim(&db, 1 + rng.below(40) as usize).await;
                "claim"
            }
            7..=14 => {
                // The dead may flush too: late.
                actors[who].flush(&db, &rng, rng.chance(0.5), any_fate).await;
                "flush"
            }
            15 if actors[who].alive => {
                actors[who].alive = false;
                sqlx::query("update worker set alive_until = 'epoch' where worker_id = $1")
                    .bind(actors[who].worker_id)
                    .execute(&db.store.pool)
                    .await
                    .unwrap();
                queue::reclaim(&db.store.pool, &db.store.ids, 1).await.unwrap().expect("one is dead");
                actors.push(worker(&db, next_worker, sharing).await);
                next_worker += 1;
                "reclaim"
            }
            16 => {
                credits::topup(&db.store, WORKSPACE, 500, None).await.unwrap();
                "topup"
            }
            17 => {
                Scene::pause(&db, rng.chance(0.5)).await;
                "pause or resume"
            }
            18 if sharing.is_some() => {
                let stop = "update account set stopped_reason = case when account_id = $1 then '401' end";
                let which = rng.below(4) as i64 + ACCOUNT;
                sqlx::query(stop).bind(which).execute(&db.store.pool).await.unwrap();
                "one account is stopped, or none"
            }
            19 if sharing.is_some() => {
                let (account_id, mut c) = (actors[who].account_id, db.store.pool.acquire().await.unwrap());
                flows::close_by_provider(&mut c, (WORKSPACE, account_id, RUN), "132015").await.unwrap();
                "an account is closed to the run"
            }
            20 => {
                let rates = [None, Some("100/s"), Some("1000000/s")];
                set_rate(&db, rates[rng.below(3) as usize]).await;
                "the rate is changed"
            }
            _ => continue,
        };
        assert_balanced(&db, seed, step, what).await;
    }
    // Somebody must be left to drain each account.
    actors.extend([worker(&db, 1001, sharing).await, worker(&db, 1002, sharing).await]);
    end(&db, &rng, seed, &mut actors).await;
}

/// Brings the run to its end: by draining it, or by cancelling it.
async fn end(db: &TestDb, rng: &Rng, seed: u64, actors: &mut [Actor]) {
    let cancel = rng.chance(0.5);
    credits::topup(&db.store, WORKSPACE, 1_000_000, None).await.unwrap();
    sql(db, "update account set stopped_reason = null").await;
    Scene::pause(db, false).await;
    set_rate(db, None).await;
    if cancel {
        Scene::cancel(db).await;
    }
    let sent = |_: &Rng, _: &Lease, _: usize| (Fate::Final { cost: 5 }, Class::Sent);
    let mut finished = false;
    for step in 0..10_000 {
        for actor in actors.iter_mut().filter(|a| a.alive) {
            while !actor.held.is_empty() {
                actor.flush(db, rng, true, sent).await;
            }
            actor.claim(db, 64).await;
        }
        let mut c = db.store.pool.acquire().await.unwrap();
        for run in finish::closing(&mut c, db.store.clock.now()).await.unwrap() {
            if run.cancelling {
                finish::sweep(&db.store.pool, run, 0).await.unwrap();
            }
            finished =
                finish::finish(&db.store.pool, run.workspace_id, run.run_id, db.store.clock.now()).await.unwrap();
        }
        assert_balanced(db, seed, step, "end").await;
        if finished {
            break;
        }
    }
    assert!(finished, "seed {seed}: the run never ended");
    let mut c = db.store.pool.acquire().await.unwrap();
    let p = progress::progress(&mut c, WORKSPACE, RUN).await.unwrap();
    assert_eq!((p.total, p.open()), (900, 0), "seed {seed}: {p:?}");
    assert_eq!(cancel, p.cancelled > 0 || p.state().unwrap().as_str() == "cancelled", "seed {seed}: {p:?}");
}

/// What a restarted, or another, server finds: slots may have been given out that it never heard of.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_the_server_claims_wait_once_and_go_on() {
    let db = TestDb::new().await;
    Scene { recipients: 100, segments: 1, idempotent: true, reserve_each: 0, credit: 0 }.set(&db).await;
    let mut actor = Actor::start(&db, 1).await;
    let capped = "update account_pace set period_us = 10000, window_us = 1000000, boot = 'another server'";
    sqlx::query(capped).execute(&db.store.pool).await.unwrap();
    assert_eq!(actor.claim(&db, 10).await, 0, "slots of the other server may still be under way");
    let ahead: i64 = sqlx::query_scalar(
        "select next_us - (extract(epoch from clock_timestamp()) * 1000000)::bigint from account_pace",
    )
    .fetch_one(&db.store.pool)
    .await
    .unwrap();
    assert!((1..=1_310_000).contains(&ahead), "waits once, for 1.3 s and a slot at most: {ahead} µs");
    // The time passes.
    sqlx::query("update account_pace set next_us = 0").execute(&db.store.pool).await.unwrap();
    assert_eq!(actor.claim(&db, 10).await, 10, "and then goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_claim_makes_no_more_leases_than_a_lost_answer_is_looked_for() {
    let db = TestDb::new().await;
    Scene { recipients: 500, segments: 1, idempotent: true, reserve_each: 0, credit: 0 }.set(&db).await;
    sql(&db, "update segment set next_seq = hi; insert into returned select 1, 60, s, s + 1 from generate_series(0, 498, 2) s").await;
    let mut actor = Actor::start(&db, 1).await;
    assert_eq!(actor.claim(&db, 1000).await, 64, "each range is a lease of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_only_wait_do_not_keep_others_from_their_turn() {
    let db = TestDb::new().await;
    Scene { recipients: 100, segments: 1, idempotent: true, reserve_each: 0, credit: 0 }.set(&db).await;
    sql(
        &db,
        "insert into run select workspace_id, n, campaign_id, scheduled_for + n * interval '1 s',
           variables, planned, state, paused_reason, expires_at, expanded_to, expanded_at, started_at, finished_at
         from run, generate_series(100, 119) n;
         insert into flow (workspace_id, account_id, run_id, weight, runnable, reserve_each)
           select 1, 20, n, 1, true, 0 from generate_series(100, 119) n;
         insert into retry (workspace_id, run_id, seq, attempts, kind, account_id, due_at, reserved)
           select 1, n, 0, 1, 1, 20, now() + interval '10 min', 0 from generate_series(100, 119) n;
         update flow set vtime = 1000 where run_id = 60",
    )
    .await;
    let mut actor = Actor::start(&db, 1).await;
    assert_eq!(actor.claim(&db, 10).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_the_provider_asked_for_holds_with_a_cap_and_without() {
    let db = TestDb::new().await;
    Scene { recipients: 100, segments: 1, idempotent: true, reserve_each: 0, credit: 0 }.set(&db).await;
    let mut actor = Actor::start(&db, 1).await;
    // Longer than there are slots in an int.
    sql(&db, "update account_pace set next_us = (extract(epoch from now() + interval '50 years') * 1000000)::bigint")
        .await;
    assert_eq!(actor.claim(&db, 10).await, 0);
    sql(&db, "update account_pace set period_us = 1000, window_us = 1000000").await;
    assert_eq!(actor.claim(&db, 10).await, 0);
    sql(&db, "update account_pace set next_us = 0").await;
    assert_eq!(actor.claim(&db, 10).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubt_and_its_report_never_pass_each_other_unseen() {
    let db = TestDb::new().await;
    Scene { recipients: 300, segments: 1, idempotent: false, reserve_each: 0, credit: 0 }.set(&db).await;
    let rng = Rng::seeded(11);
    let mut actor = Actor::start(&db, 1).await;
    for seq in 0..300 {
        assert_eq!(actor.claim(&db, 1).await, 1);
        let about = About::Message { run_id: RUN, seq };
        let report = [Receipt { about, kind: ReceiptKind::Delivered, at: None, detail: None }];
        let (_, taken) = tokio::join!(
            actor.flush(&db, &rng, true, |_, _, _| (Fate::Unknown(None), Class::Unknown)),
            receipts::take(&db.store, WORKSPACE, ACCOUNT, &report),
        );
        taken.unwrap();
    }
    let left: i64 = sqlx::query_scalar("select count(*) from retry").fetch_one(&db.store.pool).await.unwrap();
    assert_eq!(left, 0, "reported messages in doubt");
}

/// A killed worker's message, at a provider whose receipt would name it, in a campaign that has what is in
/// doubt sent again.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_worker_held_waits_for_its_receipt_before_it_is_sent_again() {
    for (waits, policy, expected) in [(true, 2, "waits"), (false, 2, "soon"), (true, 1, "held")] {
        let db = TestDb::new().await;
        Scene { recipients: 4, segments: 1, idempotent: false, reserve_each: 0, credit: 0 }.set(&db).await;
        let mut actor = Actor::start(&db, 1).await;
        assert_eq!(actor.claim(&db, 10).await, 4);
        sqlx::query("with a as (update account set waits_for_echo = $1) update campaign set on_unknown = $2")
            .bind(waits)
            .bind(policy)
            .execute(&db.store.pool)
            .await
            .unwrap();
        sql(&db, "update worker set alive_until = 'epoch'").await;
        queue::reclaim(&db.store.pool, &db.store.ids, 1).await.unwrap().expect("it is dead");
        let seen: Vec<String> = sqlx::query_scalar(
            "select distinct case when due_at = 'infinity' then 'held'
                                  when due_at > clock_timestamp() + interval '1 min' then 'waits' else 'soon' end from retry",
        )
        .fetch_all(&db.store.pool)
        .await
        .unwrap();
        assert_eq!(seen, [expected]);
    }
}
