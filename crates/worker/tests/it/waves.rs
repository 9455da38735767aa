//! Recipients are written to in their own hours only: by a clock that is set forward step by step, and by an
//! oracle that asks the zones of their own.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;
use fanfare_domain::clock::Clock;
use fanfare_domain::limits::IN_FLIGHT_MAX;
use fanfare_domain::rng::Rng;
use fanfare_scheduler::hours::roll_shut;
use fanfare_scheduler::plan::plan;
use fanfare_sim::Config;
use fanfare_store::credits;
use fanfare_store::hours::NewHours;
use fanfare_store::progress::Progress;

use crate::drain::faults_of;
use crate::stage::{CAMPAIGN, PRICE, Person, Play, Stage, WORKSPACE};

/// Twelve countries: beginning of the number, digits behind it, country, and the zone that the number tells.
const COUNTRIES: [(&str, usize, &str, &str); 17] = [
    ("+21355", 7, "DZ", "Africa/Algiers"),
    ("+336", 8, "FR", "Europe/Paris"),
    ("+447", 9, "GB", "Europe/London"),
    ("+919", 9, "IN", "Asia/Kolkata"),
    ("+9779", 9, "NP", "Asia/Kathmandu"),
    ("+8190", 8, "JP", "Asia/Tokyo"),
    ("+612", 8, "AU", "Australia/Sydney"),
    ("+618941", 5, "AU", "Australia/Perth"),
    ("+1212555", 4, "US", "America/New_York"),
    ("+1312555", 4, "US", "America/Chicago"),
    ("+1602555", 4, "US", "America/Phoenix"),
    ("+1808555", 4, "US", "Pacific/Honolulu"),
    ("+55119", 8, "BR", "America/Sao_Paulo"),
    ("+55929", 8, "BR", "America/Manaus"),
    ("+2782", 7, "ZA", "Africa/Johannesburg"),
    ("+642", 8, "NZ", "Pacific/Auckland"),
    ("+67655", 3, "TO", "Pacific/Tongatapu"),
];

/// Contacts of them, and by the zones of the oracle.
struct World {
    people: Vec<Person>,
    zones: HashMap<String, Tz>,
    invalid: i64,
    named: i64,
}

impl World {
    fn of(contacts: usize) -> Self {
        let mut world = Self { people: Vec::new(), zones: HashMap::new(), invalid: 0, named: 0 };
        for i in 0..contacts {
            let (begin, digits, country, zone) = COUNTRIES[i % COUNTRIES.len()];
            let phone = format!("{begin}{:0digits$}", i / COUNTRIES.len());
            let (timezone, zone) = match i % 20 {
                3 => (Some("Asia/Dubai"), "Asia/Dubai"),
                4 => (Some("america/bogota"), "America/Bogota"),
                5 => (Some("Mars/Olympus"), zone),
                _ => (None, zone),
            };
            world.invalid += i64::from(timezone == Some("Mars/Olympus"));
            world.named += i64::from(timezone.is_some());
            world.zones.insert(phone.clone(), zone.parse().unwrap());
            world.people.push(Person { phone, country, timezone });
        }
        world
    }

    /// Whether the clocks of a recipient show a time of these hours.
    fn may(&self, phone: &str, at: DateTime<Utc>, (from, to): (NaiveTime, NaiveTime)) -> bool {
        let local = at.with_timezone(&self.zones[phone]).time();
        from <= local && local < to
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn time(text: &str) -> NaiveTime {
    NaiveTime::parse_from_str(text, "%H:%M").unwrap()
}

/// Lets a worker send what may be sent now, and nothing else, and ends it: nothing is under way then.
async fn serve(play: &Play) -> Progress {
    let store = &play.db.store;
    roll_shut(store).await.unwrap();
    let worker = play.worker();
    loop {
        let status = play.until("nothing is leased", |p| p.leased == 0).await;
        // Leases in the same look: the worker may have claimed since, and would hand back what it has not started.
        let open: bool = sqlx::query_scalar(
            "select exists (select from lease)
                 or exists (select from segment g where g.next_seq < g.hi and is_open(g, $1))
                 or exists (select from returned r where is_open(1, r.run_id, r.lo, $1))
                 or exists (select from retry r where r.due_at <= now() and is_open(1, r.run_id, r.seq, $1))
                 or exists (select from expansion)",
        )
        .bind(store.clock.now())
        .fetch_one(&store.pool)
        .await
        .unwrap();
        if !open || status.state().unwrap().as_str() == "finished" {
            worker.stop().await;
            return play.status().await;
        }
    }
}

/// Every attempt: to whom, which, and when by the clock of the test.
async fn attempts(play: &Play) -> Vec<(String, i16, DateTime<Utc>)> {
    sqlx::query_as(
        "select r.address, o.attempt, o.at from outcome o join recipient r using (workspace_id, run_id, seq) order by 3",
    )
    .fetch_all(&play.db.store.pool)
    .await
    .unwrap()
}

/// An account without a cap gives no slots, and what it has claimed waits for as long as its provider takes.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_place_in_flight_does_not_start_once_its_window_has_closed() {
    let clock = Clock::manual(at("2026-03-02T20:00:00Z"));
    let stage = Stage {
        contacts: 1_500,
        hours: NewHours { hours: Some("09:00-22:00"), ..NewHours::default() },
        clock: clock.clone(),
        sim: Config { latency: Duration::from_secs(2), ..Config::default() },
        ..Stage::default()
    };
    let play = stage.launch().await;
    let worker = play.worker();
    let more = |p: &Progress| p.sent > 0 && p.leased > IN_FLIGHT_MAX as i64;
    let before = play.until("some wait for a place", more).await;
    // Ten in the evening in Algiers.
    clock.advance_us(3_600_000_000);
    let after = play.until("nothing is under way", |p| p.leased == 0).await;
    assert!(after.queued > before.queued && after.sent + after.queued == 1_500, "{before:?}, then {after:?}");
    worker.stop().await;
    play.assert_books().await;
    assert_eq!(play.sim.stats().accepted as i64, after.sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_written_to_in_their_hours_once_and_tried_again_in_them() {
    let (seed, contacts) = (9, 5_000);
    let world = World::of(contacts);
    // The clocks of France and Britain go forward in the first night.
    let clock = Clock::manual(at("2026-03-28T12:00:00Z"));
    let stage = Stage {
        contacts: 0,
        hours: NewHours { hours: Some("09:00-10:30"), ..NewHours::default() },
        clock: clock.clone(),
        sim: Config { faults: faults_of("503=0.25 500=0.05 reset=0.02"), seed, ..Config::default() },
        people: World::of(contacts).people,
        ..Stage::default()
    };
    let play = stage.launch().await;
    play.scheduler();
    let planned = plan(&play.db.store, WORKSPACE, CAMPAIGN, true, |_, _| {}).await.unwrap();
    let hours = planned.hours.unwrap();
    assert_eq!((hours.invalid, hours.by_attribute), (world.invalid, world.named - world.invalid));
    assert_eq!(planned.waves.iter().map(|wave| wave.recipients).sum::<i64>(), contacts as i64);
    assert!(planned.waves.len() >= 14, "{:?}", planned.waves);

    let (rng, open) = (Rng::seeded(seed), (time("09:00"), time("10:30")));
    let (mut arrived, mut seen, mut steps) = (HashSet::new(), 0, 0);
    loop {
        let status = serve(&play).await;
        let page = play.sim.accepted(seen);
        seen = page.next;
        for message in page.accepted {
            let case = format!("seed {seed}: to {} at {}", message.to, clock.now());
            assert!(world.may(&message.to, clock.now(), open), "{case}: outside the hours");
            assert!(arrived.insert(message.to), "{case}: twice");
        }
        if status.state().unwrap().as_str() == "finished" {
            break;
        }
        steps += 1;
        assert!(steps < 500, "seed {seed}: {status:?}");
        clock.advance_us((20 + rng.below(20) as i64) * 60_000_000);
        // The time of their backoff has passed as well.
        sqlx::query("update retry set due_at = now() where due_at < 'infinity'")
            .execute(&play.db.store.pool)
            .await
            .unwrap();
    }
    let done = play.finished().await;
    assert_eq!((done.total, done.sent + done.failed + done.unknown), (5_000, 5_000), "seed {seed}: {done:?}");
    assert_eq!(done.cost, done.sent * PRICE);
    assert!(done.sent as usize <= arrived.len() && arrived.len() > 4_990, "seed {seed}: {done:?}");
    assert_eq!(play.sim.stats().accepted_twice, 0);
    // What the books say of every attempt, refused ones included.
    let mut first: HashMap<String, DateTime<Utc>> = HashMap::new();
    let (mut again, mut another_day) = (0, 0);
    for (phone, attempt, when) in attempts(&play).await {
        assert!(world.may(&phone, when, open), "seed {seed}: attempt {attempt} to {phone} at {when}");
        let before = *first.entry(phone).or_insert(when);
        again += i32::from(attempt > 1);
        another_day += i32::from(when - before > TimeDelta::hours(12));
    }
    assert!(again > 1_000 && another_day > 20, "seed {seed}: {again} again, {another_day} on another day");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_open_before_its_expiry_is_expired_and_costs_nothing() {
    let clock = Clock::manual(at("2026-03-02T08:30:00Z"));
    let stage = Stage {
        contacts: 0,
        hours: NewHours { quiet: Some("21:00-08:00"), ..NewHours::default() },
        clock: clock.clone(),
        expires_after_s: Some(3 * 3600),
        people: World::of(170).people,
        ..Stage::default()
    };
    let play = stage.launch().await;
    play.scheduler();
    let world = World::of(170);
    let planned = plan(&play.db.store, WORKSPACE, CAMPAIGN, true, |_, _| {}).await.unwrap();
    for _ in 0..7 {
        serve(&play).await;
        clock.advance_us(1_800_000_000);
    }
    let done = play.finished().await;
    let opens = |phone: &String| {
        let start = at("2026-03-02T08:30:00Z");
        (0..6).any(|half| world.may(phone, start + TimeDelta::minutes(30 * half), (time("08:00"), time("21:00"))))
    };
    let sent = world.zones.keys().filter(|phone| opens(phone)).count() as i64;
    assert_eq!((done.sent, done.expired), (sent, 170 - sent), "{done:?}");
    assert!(done.expired > 30);
    assert_eq!(planned.waves.iter().map(|wave| wave.expired).sum::<i64>(), done.expired, "foreseen");
    assert_eq!(done.cost, sent * PRICE);
    let mut c = play.db.store.pool.acquire().await.unwrap();
    assert_eq!(credits::balance(&mut c, WORKSPACE).await.unwrap().reserved, 0);
}
