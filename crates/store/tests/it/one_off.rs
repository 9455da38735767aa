//! Messages that come one by one: entered once for each key, claimed beside bulk, accounted for like any other.

use chrono::TimeDelta;
use fanfare_domain::clock::Clock;
use fanfare_domain::hours::Window;
use fanfare_domain::limits::ONE_OFF_BLOCK;
use fanfare_domain::outcome::Class;
use fanfare_domain::rng::Rng;
use fanfare_domain::state::OnUnknown;
use fanfare_store::one_off::{self, Entered, OneOff, Standing};
use fanfare_store::queue::{self, Fate, Lane, Lease};
use fanfare_store::{PgConnection, credits, finish, hours, progress};
use fanfare_testdb::TestDb;

use crate::actor::{Actor, sql};
use crate::deliveries::assert_agree_of;
use crate::queue::{any_fate, assert_balanced};
use crate::scene::{ACCOUNT, Scene, WORKSPACE};

/// The live run.
pub const LIVE: i64 = 61;

/// A run of bulk, and a live one of the same account.
pub async fn scene(recipients: i32, reserve_each: i64, credit: i64) -> TestDb {
    let db = TestDb::new().await;
    Scene { recipients, segments: 1, idempotent: true, reserve_each, credit }.set(&db).await;
    sql(
        &db,
        "insert into campaign (workspace_id, campaign_id, name, template_id, sharing, weight, on_missing, on_unknown, created_at, kind)
           values (1, 41, 'live', 30, 1, 1, 1, 1, now(), 2);
         insert into run (workspace_id, run_id, campaign_id, scheduled_for, variables, planned, state, started_at, kind)
           values (1, 61, 41, now(), '{}', 0, 2, now(), 6);
         insert into run_arm values (1, 61, 0, 30, 1, 1);
         insert into run_account select workspace_id, 61, account_id, rank, share, sender, prices from run_account;
         insert into flow (workspace_id, account_id, run_id, weight, runnable, lane) values (1, 20, 61, 1, true, 0);
         insert into segment select 1, 61, 0, 0, 0, 0, '', 0, 0, 0, 0",
    )
    .await;
    db
}

pub fn one_off<'a>(key: Option<&'a str>, digest: &'a [u8], costs: &'a [(i64, i64)]) -> OneOff<'a> {
    let (address, country) = ("+213555000001", Some("DZ"));
    let hash = "erased:0";
    OneOff {
        run_id: LIVE,
        campaign_id: 41,
        key,
        digest,
        address,
        hash,
        country,
        units: 1,
        variant: 0,
        params: None,
        zone: None,
        now: Clock::system().now(),
        expires_at: None,
        costs,
    }
}

async fn enter(db: &TestDb) -> Entered {
    enter_for(db, 0).await
}

async fn enter_for(db: &TestDb, micro: i64) -> Entered {
    one_off::enter(&db.store.pool, WORKSPACE, one_off(None, b"", &[(ACCOUNT, micro)])).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stands_for_one_message_however_many_send_it_at_once() {
    let db = scene(0, 0, 0).await;
    let send = |_| one_off::enter(&db.store.pool, WORKSPACE, one_off(Some("order-17"), b"x", &[(ACCOUNT, 0)]));
    let entered = futures::future::join_all((0..20).map(send)).await;
    let first: Vec<_> = entered.into_iter().map(Result::unwrap).filter(|e| *e != Entered::Used).collect();
    assert_eq!(first, [Entered::As(0)]);
    let mut c = db.store.pool.acquire().await.unwrap();
    let keyed = one_off::keyed(&mut c, WORKSPACE, (41, "order-17")).await.unwrap().unwrap();
    assert_eq!((keyed.run_id, keyed.seq, keyed.digest.as_slice()), (LIVE, 0, b"x".as_slice()));
    assert_eq!(one_off::keyed(&mut c, WORKSPACE, (0, "order-17")).await.unwrap(), None, "another campaign's");
    let p = progress::progress(&mut c, WORKSPACE, LIVE).await.unwrap();
    assert_eq!((p.total, p.queued, p.imbalance()), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_enters_a_message_while_the_run_is_cancelled_is_refused_or_finds_it_cancelled() {
    for seed in 0..10 {
        let db = scene(0, 0, 0).await;
        let cancel = async {
            let mut tx = db.store.pool.begin().await.unwrap();
            fanfare_store::flows::lock(&mut tx, WORKSPACE, LIVE).await.unwrap();
            sqlx::query("update run set state = 4 where run_id = 61").execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
            let mut c = db.store.pool.acquire().await.unwrap();
            let runs = finish::closing(&mut c, db.store.clock.now()).await.unwrap();
            let run = runs.into_iter().find(|run| run.run_id == LIVE).unwrap();
            finish::sweep(&db.store.pool, run, 0).await.unwrap();
            assert!(
                finish::finish(&db.store.pool, WORKSPACE, LIVE, db.store.clock.now()).await.unwrap(),
                "seed {seed}"
            );
        };
        let (entered, ()) = tokio::join!(futures::future::join_all((0..8).map(|_| enter(&db))), cancel);
        let stayed = entered.iter().filter(|e| matches!(e, Entered::As(_))).count() as i64;
        let refused = entered.iter().filter(|e| **e == Entered::Refused(Standing::Stopped)).count() as i64;
        let mut c = db.store.pool.acquire().await.unwrap();
        let p = progress::progress(&mut c, WORKSPACE, LIVE).await.unwrap();
        assert_eq!((p.total, p.cancelled, stayed + refused), (stayed, stayed, 8), "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_takes_nothing_more_and_ends_when_all_it_took_is_settled() {
    let db = scene(0, 0, 0).await;
    assert_eq!(enter(&db).await, Entered::As(0));
    assert!(!finish::finish(&db.store.pool, WORKSPACE, LIVE, db.store.clock.now()).await.unwrap(), "it is live");
    let mut c = db.store.pool.acquire().await.unwrap();
    assert!(one_off::stop(&mut c, WORKSPACE, LIVE).await.unwrap());
    assert!(!one_off::stop(&mut c, WORKSPACE, LIVE).await.unwrap(), "once");
    assert_eq!(enter(&db).await, Entered::Refused(Standing::Stopped));
    assert!(!finish::finish(&db.store.pool, WORKSPACE, LIVE, db.store.clock.now()).await.unwrap(), "one message waits");
    let mut actor = Actor::start(&db, 1).await;
    assert_eq!(actor.claim_urgent(&db, 10, Lane::Urgent).await, 1);
    let sent = |_: &Rng, _: &Lease, _: usize| (Fate::Final { cost: 0 }, Class::Sent);
    actor.flush(&db, &Rng::seeded(1), true, sent).await;
    assert!(finish::finish(&db.store.pool, WORKSPACE, LIVE, db.store.clock.now()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_bulk_waits_urgent_messages_have_slots_of_their_own_only_where_nobody_has_claimed_ahead() {
    let db = scene(1_000, 0, 0).await;
    // So far apart that what bulk has claimed lies ahead for as long as the horizon lets it.
    sql(&db, "update account_pace set period_us = 140000, window_us = 1000000").await;
    let mut actor = Actor::start(&db, 1).await;
    for _ in 0..5 {
        enter(&db).await;
    }
    assert_eq!(actor.claim(&db, 2).await, 2, "bulk, and nothing urgent");
    assert_eq!(actor.claim_urgent(&db, 10, Lane::Urgent).await, 0, "the next slots are bulk's");
    let ahead = "select next_us from account_pace";
    let before: i64 = sqlx::query_scalar(ahead).fetch_one(&db.store.pool).await.unwrap();
    assert_eq!(actor.claim_urgent(&db, 3, Lane::Borrowing).await, 3, "in the place of bulk");
    let after: i64 = sqlx::query_scalar(ahead).fetch_one(&db.store.pool).await.unwrap();
    assert_eq!(before, after, "a borrowed slot is no new one");
    sql(&db, "update account_pace set next_us = 0").await;
    assert_eq!(actor.claim_urgent(&db, 10, Lane::Urgent).await, 1, "one at a time");
    sql(&db, "update account_pace set next_us = 0; update segment set next_seq = hi where run_id = 60").await;
    enter(&db).await;
    assert_eq!(actor.claim_urgent(&db, 10, Lane::Urgent).await, 2, "nobody else waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn borrowed_or_not_what_the_account_may_not_send_is_not_claimed() {
    let refusals = [
        "update account set stopped_reason = '401'",
        "update account_pace set closed_until_us = 9000000000000000",
        "update flow set runnable = false where lane = 0",
    ];
    for refusal in refusals {
        let db = scene(10, 0, 0).await;
        enter(&db).await;
        sql(&db, refusal).await;
        let mut actor = Actor::start(&db, 1).await;
        for lane in [Lane::Urgent, Lane::Borrowing] {
            assert_eq!(actor.claim_urgent(&db, 10, lane).await, 0, "{refusal}");
        }
    }
    let db = scene(0, 0, 0).await;
    sql(&db, "update account_pace set day_cap = 3").await;
    for _ in 0..5 {
        enter(&db).await;
    }
    let mut actor = Actor::start(&db, 1).await;
    assert_eq!(actor.claim_urgent(&db, 10, Lane::Urgent).await, 3, "the limit by the day counts them too");
    assert_eq!(actor.claim_urgent(&db, 10, Lane::Urgent).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_run_without_credit_pauses_and_goes_on_after_a_top_up() {
    let db = scene(0, 0, 10).await;
    for _ in 0..2 {
        enter_for(&db, 8).await;
    }
    let mut actor = Actor::start(&db, 1).await;
    assert_eq!(actor.claim_urgent(&db, 10, Lane::Urgent).await, 1, "the credit pays for one");
    let sent = |_: &Rng, _: &Lease, _: usize| (Fate::Final { cost: 8 }, Class::Sent);
    actor.flush(&db, &Rng::seeded(1), true, sent).await;
    assert_eq!(actor.claim_urgent(&db, 10, Lane::Urgent).await, 0);
    let standing = async || {
        let mut c = db.store.pool.acquire().await.unwrap();
        one_off::live(&mut c, WORKSPACE, 41).await.unwrap().unwrap().standing().unwrap()
    };
    assert_ne!(standing().await, Standing::Open);
    credits::topup(&db.store, WORKSPACE, 100, None).await.unwrap();
    assert_eq!(standing().await, Standing::Open);
    assert_eq!(actor.claim_urgent(&db, 10, Lane::Urgent).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_takes_over_what_one_that_cannot_send_has_not_in_doubt() {
    let db = scene(0, 0, 0).await;
    sql(
        &db,
        "insert into account select 1, 21, 'b', kind, settings, secret, sender, idempotent, caps, null, now() from account;
         insert into account_pace (workspace_id, account_id) values (1, 21);
         insert into flow (workspace_id, account_id, run_id, weight, runnable, lane, sharing, rank)
           values (1, 21, 61, 1, true, 0, 3, 1);
         update flow set sharing = 3 where run_id = 61;
         insert into recipient select 1, s, 61, 1, 0, '+2135550', 'DZ', null from generate_series(0, 2) s;
         update segment set hi = 3, next_seq = 3 where run_id = 61;
         insert into retry (workspace_id, run_id, seq, attempts, kind, account_id, due_at, reserved)
           select 1, 61, k - 1, 0, k, 20, now(), 0 from generate_series(1, 3) k;
         insert into progress (workspace_id, run_id, shard, retrying, unknown) values (1, 61, 0, 1, 1)",
    )
    .await;
    let mut other = Actor::start_of_two(&db, 2).await;
    assert_eq!(other.claim_urgent(&db, 10, Lane::Urgent).await, 0, "the first can send");
    sql(&db, "update account set stopped_reason = '401' where account_id = 20").await;
    let due = queue::urgent(&mut db.store.pool.acquire().await.unwrap(), db.store.clock.now()).await.unwrap();
    assert!(due.contains(&(WORKSPACE, 21)), "{due:?}");
    assert_eq!(other.claim_urgent(&db, 10, Lane::Urgent).await, 2);
    assert_eq!(enter(&db).await, Entered::Refused(Standing::Open), "what it costs through the other is not known");
    let of_both = one_off(None, b"", &[(ACCOUNT, 0), (21, 0)]);
    assert_eq!(one_off::enter(&db.store.pool, WORKSPACE, of_both).await.unwrap(), Entered::As(3));
    assert_eq!(other.claim_urgent(&db, 10, Lane::Urgent).await, 1, "a new one waits for who can send");
}

/// Enters a message to somebody in a zone.
async fn enter_in(db: &TestDb, zone: &str) -> Entered {
    let message = OneOff { zone: Some(zone.parse().unwrap()), ..one_off(None, b"", &[(ACCOUNT, 0)]) };
    one_off::enter(&db.store.pool, WORKSPACE, message).await.unwrap()
}

/// Number of rows, or the like.
async fn number(db: &TestDb, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&db.store.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_given_out_in_blocks_of_a_zone_however_many_enter_at_once() {
    let db = scene(0, 0, 0).await;
    assert_eq!((enter(&db).await, enter(&db).await), (Entered::As(0), Entered::As(1)), "it keeps no hours yet");
    sql(&db, "update campaign set quiet = '00:00-12:00' where kind = 2").await;
    hours::begin(&db.store.pool, WORKSPACE, LIVE, db.store.clock.now()).await.unwrap();
    let zones = ["Africa/Algiers", "Asia/Tokyo"];
    let both = (0..20).map(|i| enter_in(&db, zones[i % 2]));
    let entered = futures::future::join_all(both).await;
    assert!(entered.iter().all(|e| matches!(e, Entered::As(_))), "{entered:?}");
    let of_zone =
        "select count(*) from segment where run_id = 61 and hi - lo = 10 and lo = 2 + 4096 * (segment_no - 1)";
    assert_eq!(number(&db, of_zone).await, 2, "a block each, behind what came before");
    // All but one of the numbers of the block in Algiers.
    sql(
        &db,
        "insert into recipient select 1, s, 61, 1, 0, '+2135550', 'DZ', null
           from segment g, generate_series(g.hi, g.lo + 4094) s where g.run_id = 61 and g.zone = 'Africa/Algiers';
         update segment set hi = lo + 4095, next_seq = lo + 4095 where run_id = 61 and zone = 'Africa/Algiers';
         insert into progress (workspace_id, run_id, shard, cancelled) values (1, 61, 0, 4085)",
    )
    .await;
    futures::future::join_all((0..8).map(|_| enter_in(&db, zones[0]))).await;
    let sizes: Vec<(String, i32)> = sqlx::query_as(
        "select zone, hi - lo from segment where run_id = 61 and zone is not null order by zone, segment_no",
    )
    .fetch_all(&db.store.pool)
    .await
    .unwrap();
    let expected = [(zones[0], ONE_OFF_BLOCK), (zones[0], 7), (zones[1], 10)];
    assert_eq!(sizes, expected.map(|(zone, n)| (zone.to_owned(), n)));
    assert_balanced(&db, 0, 0, "entered").await;
}

/// As `scheduler::hours::apply` does, while messages are being entered.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_enters_a_message_while_the_hours_are_changed_keeps_the_new_ones() {
    for round in 0..5 {
        let db = scene(0, 0, 0).await;
        let now = db.store.clock.now();
        let clock = |hours| (now + TimeDelta::hours(hours)).format("%H:%M");
        let change = async {
            sqlx::query("update campaign set quiet = $1 where kind = 2")
                .bind(format!("{}-{}", clock(-1), clock(2)))
                .execute(&db.store.pool)
                .await
                .unwrap();
            hours::begin(&db.store.pool, WORKSPACE, LIVE, db.store.clock.now()).await.unwrap();
            let mut c = db.store.pool.acquire().await.unwrap();
            let rules = hours::of_run(&mut c, WORKSPACE, LIVE).await.unwrap();
            for zone in hours::zones(&mut c, WORKSPACE, None).await.unwrap() {
                let window = rules.window_or_wait(rules.zone, now);
                hours::roll(&db.store.pool, &zone, window, (now, true)).await.unwrap();
            }
        };
        let (entered, ()) = tokio::join!(futures::future::join_all((0..40).map(|_| enter(&db))), change);
        assert!(entered.iter().all(|e| matches!(e, Entered::As(_))), "round {round}: {entered:?}");
        let early = "select count(*) from retry where due_at < now() + interval '1 h 50 min'";
        assert_eq!(number(&db, early).await, 0, "round {round}: due at night");
        assert_eq!(number(&db, "select count(*) from retry").await, 40);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_window_is_neither_looked_at_nor_claimed() {
    let db = scene(0, 0, 0).await;
    let (open, closed) = ("Africa/Algiers", "Asia/Tokyo");
    sql(
        &db,
        "update campaign set quiet = '00:00-12:00' where kind = 2; update flow set windowed = true where lane = 0",
    )
    .await;
    for zone in [open, closed, open] {
        enter_in(&db, zone).await;
    }
    // Whatever the time of day is, one of them is open.
    sql(
        &db,
        "update segment set opens_at = now() - interval '1 h', closes_at = null where zone = 'Africa/Algiers';
         update segment set opens_at = now() + interval '1 h' where zone = 'Asia/Tokyo';
         update retry set due_at = now()",
    )
    .await;
    let mut c = db.store.pool.acquire().await.unwrap();
    let mut actor = Actor::start(&db, 1).await;
    assert_eq!(actor.claim_urgent(&db, 10, Lane::Urgent).await, 2);
    let looks = async |c: &mut PgConnection| queue::urgent(c, db.store.clock.now()).await.unwrap();
    assert_eq!(looks(&mut c).await, [], "what is due is closed");
    assert_eq!(actor.claim_urgent(&db, 10, Lane::Urgent).await, 0);
    one_off::put_off(&mut c, db.store.clock.now()).await.unwrap();
    let put_off =
        "select count(*) from retry where due_at between now() + interval '50 min' and now() + interval '1 h'";
    assert_eq!(number(&db, put_off).await, 1);
    sql(&db, "update segment set opens_at = now() where run_id = 61; update retry set due_at = now()").await;
    assert_eq!(looks(&mut c).await, [(WORKSPACE, ACCOUNT)]);
    assert_eq!(actor.claim_urgent(&db, 10, Lane::Urgent).await, 1);
}

/// A person may have a doubt repeated by a run that is over, at night.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_goes_on_keeps_its_hours() {
    let db = scene(0, 0, 0).await;
    sql(
        &db,
        "update campaign set quiet = '00:00-12:00' where kind = 2; update flow set windowed = true where lane = 0",
    )
    .await;
    let Entered::As(seq) = enter_in(&db, "Africa/Algiers").await else { panic!("it takes messages") };
    sql(
        &db,
        "update segment set opens_at = now() - interval '1 day', closes_at = null where run_id = 61;
         update retry set kind = 2, due_at = 'infinity', attempts = 1;
         insert into progress (workspace_id, run_id, shard, unknown) values (1, 61, 0, 1);
         update run set state = 5, expanded_at = now(), finished_at = now() where run_id = 61;
         delete from flow where run_id = 61",
    )
    .await;
    let decision = queue::Decision {
        workspace_id: WORKSPACE,
        run_id: LIVE,
        seq,
        verdict: OnUnknown::Resend,
        decided_by: "a person",
        decided_at: db.store.clock.now(),
        shard: 0,
    };
    assert!(queue::decide(&db.store.pool, &db.store.ids, decision).await.unwrap());
    let mut actor = Actor::start(&db, 1).await;
    assert_eq!(actor.claim_urgent(&db, 10, Lane::Urgent).await, 0, "nobody has looked at its hours yet");
    let mut c = db.store.pool.acquire().await.unwrap();
    let shut = hours::shut(&mut c, db.store.clock.now()).await.unwrap();
    assert_eq!(shut.iter().map(|shut| shut.zone.as_deref()).collect::<Vec<_>>(), [Some("Africa/Algiers"), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_balance_whatever_happens_to_urgent_messages_beside_bulk() {
    let mut entered = 0;
    for seed in [21, 22, 23] {
        entered += random_life(seed, false).await;
    }
    assert!(entered > 30, "{entered} entered");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_balance_whatever_happens_to_messages_that_keep_hours_and_expire() {
    let mut entered = 0;
    for seed in [24, 25, 26] {
        entered += random_life(seed, true).await;
    }
    assert!(entered > 30, "{entered} entered");
}

/// Enters a message to somebody in one of several zones, of which some are closed at any time.
async fn enter_anywhere(db: &TestDb, rng: &Rng, micro: i64) -> Entered {
    let zones = ["Africa/Algiers", "Asia/Tokyo", "America/Los_Angeles", "Pacific/Auckland"];
    let (now, costs) = (db.store.clock.now(), [(ACCOUNT, micro)]);
    let message = OneOff {
        zone: zones.get(rng.below(5) as usize).map(|zone| zone.parse().unwrap()),
        now,
        expires_at: rng.chance(0.3).then(|| now + TimeDelta::milliseconds(rng.below(500) as i64)),
        ..one_off(None, b"", &costs)
    };
    one_off::enter(&db.store.pool, WORKSPACE, message).await.unwrap()
}

/// What a scheduler does of hours and expiry.
async fn look_at_times(db: &TestDb, rng: &Rng) {
    db.store.clock.advance_us(rng.below(400_000) as i64);
    let (mut c, now) = (db.store.pool.acquire().await.unwrap(), db.store.clock.now());
    one_off::expire(&mut c, now, 1).await.unwrap();
    one_off::put_off(&mut c, now).await.unwrap();
    let wait = TimeDelta::hours(rng.below(3) as i64 - 1);
    let window = Window { opens: now + wait, closes: Some(now + wait + TimeDelta::hours(1)) };
    let zones = hours::zones(&mut c, WORKSPACE, None).await.unwrap();
    if let Some(zone) = zones.get(rng.below(5) as usize) {
        hours::roll(&db.store.pool, zone, window, (now, true)).await.unwrap();
    }
}

/// Says how many messages were entered.
async fn random_life(seed: u64, keeps_hours: bool) -> i32 {
    let (mut db, rng) = (scene(300, 8, 3_000).await, Rng::seeded(seed));
    if keeps_hours {
        // Afternoon in Algiers; night in Los Angeles and Auckland.
        db.store.clock = Clock::manual("2026-03-02T13:00:00Z".parse().unwrap());
        sql(
            &db,
            "update campaign set quiet = '00:00-12:00' where kind = 2; update flow set windowed = true where lane = 0",
        )
        .await;
    }
    let mut actors = vec![Actor::start(&db, 1).await, Actor::start(&db, 2).await];
    let mut entered = 0;
    for step in 0..200 {
        let who = rng.below(actors.len() as u64) as usize;
        let lane = if rng.chance(0.5) { Lane::Urgent } else { Lane::Borrowing };
        let what = match rng.below(20) {
            0..=3 => {
                let message = if keeps_hours { enter_anywhere(&db, &rng, 8).await } else { enter_for(&db, 8).await };
                entered += i32::from(matches!(message, Entered::As(_)));
                "enter"
            }
            4..=5 if actors[who].alive => {
                actors[who].claim(&db, 1 + rng.below(20) as usize).await;
                "claim"
            }
            6..=8 if actors[who].alive => {
                actors[who].claim_urgent(&db, 1 + rng.below(5) as usize, lane).await;
                "claim urgent"
            }
            9..=15 => {
                actors[who].flush(&db, &rng, rng.chance(0.5), any_fate).await;
                "flush"
            }
            16 if actors[who].alive => {
                actors[who].alive = false;
                sqlx::query("update worker set alive_until = 'epoch' where worker_id = $1")
                    .bind(actors[who].worker_id)
                    .execute(&db.store.pool)
                    .await
                    .unwrap();
                queue::reclaim(&db.store.pool, &db.store.ids, 1).await.unwrap().expect("one is dead");
                actors.push(Actor::start(&db, 3 + step as i64).await);
                "reclaim"
            }
            17 => {
                credits::topup(&db.store, WORKSPACE, 500, None).await.unwrap();
                "topup"
            }
            18 => {
                Scene::pause(&db, rng.chance(0.3)).await;
                "pause or resume"
            }
            _ if keeps_hours => {
                look_at_times(&db, &rng).await;
                "times"
            }
            _ => continue,
        };
        assert_balanced(&db, seed, step, what).await;
        assert_agree_of(&db, LIVE, &format!("seed {seed}, step {step} ({what})")).await;
    }
    if rng.chance(0.5) {
        Scene::cancel(&db).await;
        let mut c = db.store.pool.acquire().await.unwrap();
        for run in finish::closing(&mut c, db.store.clock.now()).await.unwrap() {
            finish::sweep(&db.store.pool, run, 0).await.unwrap();
        }
        assert_balanced(&db, seed, 1_000, "cancel").await;
        assert_agree_of(&db, LIVE, "cancelled").await;
    }
    entered
}
