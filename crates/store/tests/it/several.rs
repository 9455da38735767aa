//! A run through two accounts, and what else two claims, flushes or reclaims at once can do to each other.

use fanfare_domain::outcome::Class;
use fanfare_domain::rng::Rng;
use fanfare_domain::state::Sharing;
use fanfare_store::queue::{self, Fate};
use fanfare_store::{credits, flows, migrate};
use fanfare_testdb::TestDb;

use crate::actor::{Actor, sql};
use crate::scene::{ACCOUNT, RUN, SECOND, Scene, WORKSPACE};

/// Two accounts that share the run, each with a worker.
async fn pair(db: &TestDb, sharing: Sharing) -> (Actor, Actor) {
    Scene { recipients: 1_000, segments: 1, idempotent: true, reserve_each: 0, credit: 0 }.set(db).await;
    Scene::second_account(db, sharing).await;
    (Actor::start_of_two(db, 1).await, Actor::start_of_two(db, 2).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_wait_for_nobody_who_cannot_send() {
    let db = TestDb::new().await;
    let (mut one, mut other) = pair(&db, Sharing::Shares).await;
    assert_eq!(one.claim(&db, 200).await, 64, "not far ahead of the other");
    assert_eq!(one.claim(&db, 200).await, 0);
    assert_eq!(other.claim(&db, 100).await, 100);
    sql(&db, "update account set stopped_reason = '401' where account_id = 21").await;
    assert_eq!(one.claim(&db, 200).await, 200, "all that is left is its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_whose_turn_is_another_accounts_do_not_keep_others_from_theirs() {
    for sharing in ["2, 64", "3, 0"] {
        let db = TestDb::new().await;
        Scene { recipients: 100, segments: 1, idempotent: true, reserve_each: 0, credit: 0 }.set(&db).await;
        Scene::second_account(&db, Sharing::Together).await;
        let waiting = format!(
            "delete from flow where account_id = 20;
             update flow set sharing = 0, vtime = 1000;
             insert into run select workspace_id, n, campaign_id, scheduled_for + n * interval '1 s',
               variables, planned, state, paused_reason, expires_at, expanded_to, expanded_at, started_at, finished_at
             from run, generate_series(100, 119) n;
             insert into segment select 1, n, 0, 0, 100, 50, '', 0, 0, 0, 0 from generate_series(100, 119) n;
             insert into flow (workspace_id, account_id, run_id, weight, runnable, rank, sharing, claimed)
               select 1, 20 + a, n, 1, true, a, s, a * c
               from generate_series(100, 119) n, generate_series(0, 1) a, (values ({sharing})) as v(s, c);"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(waiting)).execute(&db.store.pool).await.unwrap();
        let mut second = Actor::start_of_two(&db, 2).await;
        assert_eq!(second.claim(&db, 10).await, 10, "sharing {sharing}");
        assert_eq!(second.held[0].lease.run_id, RUN);
    }
}

/// A message that one account's provider would take in other words only may be claimed by another.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_closed_to_one_account_may_be_open_to_another() {
    let db = TestDb::new().await;
    let (mut one, _) = pair(&db, Sharing::Together).await;
    sql(
        &db,
        "insert into conversation select 1, account_id, address, now() - interval '1 h' from recipient, account where seq = 0;
         insert into outcome (workspace_id, seq, run_id, account_id, at, cost, latency_ms, attempt, class, late, detail)
           values (1, 0, 60, 20, now(), 0, 0, 1, 5, false, 'window closed: 131047')",
    )
    .await;
    assert_eq!(one.claim(&db, 1).await, 1);
    let mut c = db.store.pool.acquire().await.unwrap();
    for (account_id, open) in [(ACCOUNT, false), (SECOND, true)] {
        let mut messages =
            queue::messages(&mut c, db.store.seal.pepper(), (WORKSPACE, account_id), &one.held[0].lease).await.unwrap();
        queue::heard(&mut c, (WORKSPACE, account_id), RUN, &mut messages).await.unwrap();
        assert_eq!(messages[0].heard_at.is_some(), open, "account {account_id}");
    }
}

/// Two accounts may serve the same runs in different orders.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_holds_a_cursor_waits_for_no_other() {
    let db = TestDb::new().await;
    let (mut one, _) = pair(&db, Sharing::Together).await;
    sql(
        &db,
        "insert into run select workspace_id, 61, campaign_id, scheduled_for + interval '1 s',
           variables, planned, state, paused_reason, expires_at, expanded_to, expanded_at, started_at, finished_at from run;
         insert into segment select 1, 61, 0, 0, 100, 50, '', 0, 0, 0, 0;
         insert into recipient select 1, seq, 61, units, variant, address, country, params from recipient where seq < 100;
         insert into returned values (1, 61, 10, 20);
         insert into flow (workspace_id, account_id, run_id, weight, runnable, sharing, rank, vtime)
           select 1, account_id, 61, 1, true, 1, rank, 1 from flow;
         update segment set next_seq = hi - 10 where run_id = 60",
    )
    .await;
    // As the other account's claim holds them, which may want the cursor of the first run next.
    let mut other = db.store.pool.begin().await.unwrap();
    for sql in ["select from returned for update", "select from segment where run_id = 61 for no key update"] {
        sqlx::query(sql).execute(&mut *other).await.unwrap();
    }
    assert_eq!(one.claim(&db, 100).await, 10, "what is left of the first run");
    other.rollback().await.unwrap();
    assert_eq!(one.claim(&db, 100).await, 60);
}

/// What the versions before several accounts left: a run that goes on, one out of credit, one paused by its
/// provider, one that is over.
#[tokio::test(flavor = "multi_thread")]
async fn runs_of_an_older_database_go_on() {
    let db = TestDb::new().await;
    sql(&db, "drop schema public cascade; create schema public").await;
    let migrated = async |versions: std::ops::RangeInclusive<i64>| {
        for migration in migrate::MIGRATIONS.iter().filter(|m| versions.contains(&m.version)) {
            sqlx::raw_sql(migration.sql.clone()).execute(&db.store.pool).await.unwrap();
        }
    };
    migrated(1..=15).await;
    sql(
        &db,
        "insert into workspace (workspace_id, name, created_at) values (1, 'default', now()) on conflict do nothing;
         insert into credit (workspace_id, balance, reserved) values (1, 0, 0)
           on conflict (workspace_id) do update set balance = 0;
         insert into list values (1, 10, 'l', now());
         insert into account values (1, 20, 'a', 'http', '{}', null, null, true, '[]', null, now());
         insert into account_pace (workspace_id, account_id) values (1, 20);
         insert into template values (1, 30, 't', 2, 1, now());
         insert into campaign select 1, n, 'c' || n, 30, 10, 20, 1, 1, 1, null, now() from generate_series(60, 63) n;
         insert into run (workspace_id, run_id, campaign_id, scheduled_for, template_version, variables, prices, planned,
             state, paused_reason, paused_detail, expanded_to, expanded_at, started_at, finished_at)
           select 1, r, r, now(), 1, '{}', '{\"\": 5}', 10, s, why, case why when 3 then '132015' end, 'z', now(), now(),
             case s when 5 then now() end
           from (values (60, 2, null), (61, 3, 2), (62, 3, 3), (63, 5, null)) as v(r, s, why);
         insert into flow (workspace_id, account_id, run_id, weight, runnable, reserve_each)
           values (1, 20, 60, 1, true, 0), (1, 20, 61, 1, false, 5), (1, 20, 62, 1, false, 5);
         insert into recipient select 1, s, r, 1, 0, '+2135550' || s, 'DZ', null
           from generate_series(0, 9) s, generate_series(60, 63) r;
         insert into segment select 1, r, 0, 0, 10, 1, '', 0, 0, 0, 0 from generate_series(60, 62) r;
         insert into retry values (1, 60, 0, 1, 1, 20, now(), 0, null)",
    )
    .await;
    migrated(16..=i64::MAX).await;
    let mut actor = Actor::start(&db, 1).await;
    assert_eq!(actor.claim(&db, 20).await, 10, "a retry, and the cursor");
    credits::topup(&db.store, WORKSPACE, 1_000, None).await.unwrap();
    assert_eq!(actor.claim(&db, 20).await, 9, "the run that was out of credit");
    flows::open(&mut db.store.pool.acquire().await.unwrap(), WORKSPACE, 62).await.unwrap();
    assert_eq!(actor.claim(&db, 20).await, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn credit_opens_the_accounts_that_lacked_it_whatever_closed_the_last_one() {
    let db = TestDb::new().await;
    pair(&db, Sharing::Together).await;
    sql(
        &db,
        "update flow set runnable = false, closed = account_id - 19;
         update run set state = 3, paused_reason = 3, paused_detail = '132015'",
    )
    .await;
    credits::topup(&db.store, WORKSPACE, 1_000, None).await.unwrap();
    let open = "select state, account_id from run join flow using (workspace_id, run_id) where runnable";
    let open: Vec<(i16, i64)> = sqlx::query_as(open).fetch_all(&db.store.pool).await.unwrap();
    assert_eq!(open, [(2, ACCOUNT)]);
}

/// Waits until somebody waits for a lock of this database.
async fn somebody_waits(db: &TestDb) {
    let waits =
        "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')";
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&db.store.pool).await.unwrap() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_runs_out_of_credit_while_it_is_topped_up_is_not_left_behind() {
    let db = TestDb::new().await;
    Scene { recipients: 100, segments: 1, idempotent: true, reserve_each: 8, credit: 5 }.set(&db).await;
    // As the claim does it.
    let mut claim = db.store.pool.begin().await.unwrap();
    for sql in [
        "select from credit for no key update",
        "update flow set runnable = false, closed = 1",
        "update run set state = 3, paused_reason = 2",
    ] {
        sqlx::query(sql).execute(&mut *claim).await.unwrap();
    }
    let committed = async {
        somebody_waits(&db).await;
        claim.commit().await.unwrap();
    };
    let (topped_up, ()) = tokio::join!(credits::topup(&db.store, WORKSPACE, 1_000, None), committed);
    topped_up.unwrap();
    assert_eq!(Actor::start(&db, 1).await.claim(&db, 10).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_with_doubts_holds_no_lease_that_a_reclaim_waits_for() {
    let db = TestDb::new().await;
    Scene { recipients: 10, segments: 1, idempotent: false, reserve_each: 0, credit: 0 }.set(&db).await;
    let mut actor = Actor::start(&db, 1).await;
    actor.claim(&db, 10).await;
    let mut reclaim = db.store.pool.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock($1)").bind(RUN).execute(&mut *reclaim).await.unwrap();
    let rng = Rng::seeded(1);
    let buried = async {
        somebody_waits(&db).await;
        sqlx::query("select from lease for update nowait").execute(&mut *reclaim).await.unwrap();
        reclaim.rollback().await.unwrap();
    };
    tokio::join!(actor.flush(&db, &rng, true, |_, _, _| (Fate::Unknown(None), Class::Unknown)), buried);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_by_the_day_counts_what_was_sent_before_it_was_set() {
    let db = TestDb::new().await;
    Scene { recipients: 100, segments: 1, idempotent: true, reserve_each: 0, credit: 0 }.set(&db).await;
    let mut actor = Actor::start(&db, 1).await;
    sql(&db, "update account_pace set period_us = 1000, window_us = 1000000").await;
    assert_eq!(actor.claim(&db, 10).await, 10);
    sql(&db, "update account_pace set day_cap = 15").await;
    assert_eq!(actor.claim(&db, 10).await, 5);
}
