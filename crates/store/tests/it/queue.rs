//! The queue under random operations: the books must balance after every single one.

use std::time::Duration;

use fanfare_domain::outcome::Class;
use fanfare_domain::receipt::{About, Receipt, ReceiptKind};
use fanfare_domain::rng::Rng;
use fanfare_domain::state::Sharing;
use fanfare_store::queue::{self, Fate, Flusher, Lease, Mark, Settlement};
use fanfare_store::{audit, credits, finish, flows, migrate, progress, receipts, workers};
use fanfare_testdb::TestDb;

use crate::scene::{ACCOUNT, RUN, SECOND, Scene, WORKSPACE};

const TTL: Duration = Duration::from_secs(3600);
const OPERATIONS: usize = 250;

/// A worker as the test plays it: what it holds, and the bitmaps it would have in memory.
struct Actor {
    worker_id: i64,
    account_id: i64,
    alive: bool,
    held: Vec<Held>,
}

struct Held {
    lease: Lease,
    settled: Vec<bool>,
}

impl Actor {
    async fn start(db: &TestDb, worker_id: i64) -> Self {
        workers::register(&db.store.pool, worker_id, "test", TTL).await.unwrap();
        Self { worker_id, account_id: ACCOUNT, alive: true, held: vec![] }
    }

    /// One of a fleet that serves two accounts.
    async fn start_of_two(db: &TestDb, worker_id: i64) -> Self {
        let account_id = if worker_id % 2 == 0 { SECOND } else { ACCOUNT };
        Self { account_id, ..Self::start(db, worker_id).await }
    }

    fn who(&self) -> Flusher {
        Flusher {
            workspace_id: WORKSPACE,
            account_id: self.account_id,
            worker_id: self.worker_id,
            shard: (self.worker_id % 3) as i16,
            correlates: false,
        }
    }

    async fn claim(&mut self, db: &TestDb, want: usize) -> usize {
        let mut c = db.store.pool.acquire().await.unwrap();
        let base = db.store.ids.next();
        let not_its = "select count(*) from retry where kind = 2 and account_id <> $1";
        let before: i64 = sqlx::query_scalar(not_its).bind(self.account_id).fetch_one(&mut *c).await.unwrap();
        let leases = queue::claim(&mut c, WORKSPACE, self.account_id, self.worker_id, base, 0, want).await.unwrap();
        let after: i64 = sqlx::query_scalar(not_its).bind(self.account_id).fetch_one(&mut *c).await.unwrap();
        assert_eq!(before, after, "what is in doubt goes through no other account");
        let claimed = leases.iter().map(Lease::len).sum();
        assert!(claimed <= want, "{claimed} claimed of {want} wanted");
        for lease in leases {
            queue::messages(&mut c, WORKSPACE, &lease).await.unwrap();
            self.held.push(Held { settled: vec![false; lease.len()], lease });
        }
        claimed
    }

    /// Settles a random part of one lease, or all of it, by `fate_of`.
    async fn flush(
        &mut self,
        db: &TestDb,
        rng: &Rng,
        all: bool,
        fate_of: impl Fn(&Rng, &Lease, usize) -> (Fate, Class),
    ) {
        if self.held.is_empty() {
            return;
        }
        let pick = rng.below(self.held.len() as u64) as usize;
        let held = &mut self.held[pick];
        let mut settlements = vec![];
        for position in 0..held.lease.len() {
            if !held.settled[position] && (all || rng.chance(0.5)) {
                held.settled[position] = true;
                let (fate, class) = fate_of(rng, &held.lease, position);
                settlements.push(Settlement::of(&held.lease, position, fate, class));
            }
        }
        let mark = held.mark();
        let ended = mark.open == 0;
        let (pool, ids, who) = (&db.store.pool, &db.store.ids, self.who());
        queue::flush(pool, ids, who, std::slice::from_ref(&mark), &settlements, false).await.unwrap();
        if rng.chance(0.3) {
            // The answer to the commit was lost, so the worker writes the same again.
            queue::flush(pool, ids, who, &[mark], &settlements, true).await.unwrap();
        }
        if ended {
            self.held.remove(pick);
        }
    }
}

impl Held {
    fn mark(&self) -> Mark {
        let mut done = vec![0u8; self.settled.len().div_ceil(8)];
        for i in (0..self.settled.len()).filter(|i| self.settled[*i]) {
            done[i / 8] |= 1 << (i % 8);
        }
        let open = self.settled.iter().filter(|s| !**s).count() as i32;
        Mark { lease_id: self.lease.id, reserve_each: self.lease.reserve_each, done, open }
    }
}

/// Any fate that a worker could find.
fn any_fate(rng: &Rng, lease: &Lease, position: usize) -> (Fate, Class) {
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

async fn assert_balanced(db: &TestDb, seed: u64, step: usize, what: &str) {
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
        let what = match rng.below(20) {
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
        for run in finish::closing(&mut c).await.unwrap() {
            if run.cancelling {
                finish::sweep(&db.store.pool, run, 0).await.unwrap();
            }
            finished = finish::finish(&db.store.pool, run.workspace_id, run.run_id).await.unwrap();
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

async fn sql(db: &TestDb, text: &'static str) {
    sqlx::raw_sql(text).execute(&db.store.pool).await.unwrap();
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
        "insert into run select workspace_id, n, campaign_id, scheduled_for + n * interval '1 s', template_version,
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
             insert into run select workspace_id, n, campaign_id, scheduled_for + n * interval '1 s', template_version,
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

/// Two accounts may serve the same runs in different orders.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_holds_a_cursor_waits_for_no_other() {
    let db = TestDb::new().await;
    let (mut one, _) = pair(&db, Sharing::Together).await;
    sql(
        &db,
        "insert into run select workspace_id, 61, campaign_id, scheduled_for + interval '1 s', template_version,
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
    migrated(16..=16).await;
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
