//! Schedulers that die while they fire: every tick is accounted for, each run is made once, and nobody gets a
//! once-per-contact campaign twice.
//!
//! The suite runs it for a short while. At full length (three schedulers, a tick every 2 s for 5 minutes, one
//! of them killed every 3 s, all down for 20 s in the middle):
//! `FANFARE_TICKS=full cargo test -p fanfare-cli --test it ticks -- --nocapture`

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_domain::clock::Clock;
use fanfare_domain::rng::Rng;
use fanfare_sim::Config;
use serde_json::{Value, json};

use crate::program::{Home, Provider, Role, SECRET, eventually};

/// What is played, in seconds.
#[derive(Debug, Clone, Copy)]
struct Length {
    every: i64,
    lasts: i64,
    kill_every: u64,
    down: u64,
}

const SHORT: Length = Length { every: 2, lasts: 24, kill_every: 2, down: 7 };
const FULL: Length = Length { every: 2, lasts: 300, kill_every: 3, down: 20 };

/// Each policy is a campaign of that name.
const POLICIES: [(&str, &str); 3] = [("skip", "skip"), ("once", "run-once"), ("each", "run-each=4")];
/// New contacts with each kill, so that each run finds somebody.
const NEW_CONTACTS: i64 = 20;

fn now() -> DateTime<Utc> {
    Clock::system().now()
}

/// Whole seconds.
fn shown(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// When all schedulers were down.
struct Outage {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tick_is_accounted_for_whoever_dies() {
    let length = if std::env::var("FANFARE_TICKS").is_ok_and(|v| v == "full") { FULL } else { SHORT };
    let provider = Provider::start(Config::default());
    let home = Home::new().await;
    let url = provider.handle.url();
    home.ok(&["account", "add", "a", "--url", &url, "--secret", SECRET, "--cap", "500/s", "--idempotent", "true"]);
    home.ok(&["template", "add", "t", "--channel", "sms", "--body", "Hello"]);
    add_contacts(&home, 0).await;
    // Ticks are counted from the full minute.
    let first = (now().timestamp() + 15).div_euclid(length.every) * length.every;
    let (start, end) =
        (DateTime::from_timestamp(first, 0).unwrap(), DateTime::from_timestamp(first + length.lasts, 0).unwrap());
    create(&home, length, start, end);

    let outage = play(&home, length, (start, end)).await;
    let ended = |name: &str| home.json(&["campaign", "schedule", name])["schedule"]["state"] == "ended";
    eventually("the schedules end", || POLICIES.iter().all(|(name, _)| ended(name)));
    let _schedulers: Vec<Role> = (0..2).map(|_| home.role(&["scheduler"])).collect();
    let pool = &home.db.as_ref().unwrap().store.pool;
    while sqlx::query_scalar::<_, i64>("select count(*) from run where state < 5").fetch_one(pool).await.unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (name, policy) in POLICIES {
        let ticks = ticks(&home, name);
        let counts = check(&ticks, length, (start, end), policy, &outage);
        assert_eq!(counts.fired, runs(&home, name).await, "{name}: as many runs as ticks that fired");
        eprintln!("{policy}: {counts:?}");
    }
    assert_nobody_twice(&home, &provider).await;
    home.assert_audit();
}

fn create(home: &Home, length: Length, start: DateTime<Utc>, end: DateTime<Utc>) {
    let words = format!("every {} seconds", length.every);
    for (name, policy) in POLICIES {
        let what = ["campaign", "create", name, "--template", "t", "--list", "l", "--account", "a", "--words", &words];
        let when = ["--start", &shown(start), "--end", &shown(end), "--missed", policy, "--overlap", "parallel"];
        home.ok(&[&what[..], &when[..], &["--once-per-contact"]].concat());
    }
}

/// Kills one of three schedulers again and again, and starts it anew; all are down for a while in the middle.
async fn play(home: &Home, length: Length, (start, end): (DateTime<Utc>, DateTime<Utc>)) -> Outage {
    let seed = now().timestamp_micros().unsigned_abs();
    eprintln!("seed {seed}");
    let rng = Rng::seeded(seed);
    let _worker = home.role(&["worker"]);
    let mut schedulers: Vec<Role> = (0..3).map(|_| home.role(&["scheduler"])).collect();
    let began = Instant::now();
    let middle = start + TimeDelta::seconds((length.lasts - length.down.cast_signed()) / 2);
    let (mut round, mut outage) = (1, None);
    while now() < end + TimeDelta::seconds(1) {
        tokio::time::sleep(Duration::from_secs(length.kill_every)).await;
        add_contacts(home, round).await;
        round += 1;
        if outage.is_none() && now() >= middle {
            schedulers.clear();
            let from = now();
            tokio::time::sleep(Duration::from_secs(length.down)).await;
            outage = Some(Outage { from, until: now() });
            schedulers = (0..3).map(|_| home.role(&["scheduler"])).collect();
        }
        // Below 3.
        let victim = rng.below(3) as usize;
        drop(schedulers.remove(victim));
        schedulers.push(home.role(&["scheduler"]));
    }
    eprintln!("{round} kills in {:.0?}", began.elapsed());
    outage.expect("it lasts long enough for an outage")
}

async fn add_contacts(home: &Home, round: i64) {
    let store = &home.db.as_ref().unwrap().store;
    if round == 0 {
        let file = home.file("l.csv", crate::program::contacts_csv(NEW_CONTACTS as usize));
        home.ok(&["import", &file, "--list", "l", "--country", "DZ"]);
        return;
    }
    sqlx::query(
        "insert into contact (workspace_id, list_id, import_id, row_no, address, country)
         select c.workspace_id, c.list_id, c.import_id, 1, '+2136' || lpad(($1 * 1000 + i)::text, 8, '0'), 'DZ'
         from (select * from contact limit 1) c, generate_series(1, $2) i",
    )
    .bind(round)
    .bind(NEW_CONTACTS)
    .execute(&store.pool)
    .await
    .unwrap();
}

/// A line of the account of ticks.
#[derive(Debug)]
struct Line {
    at: DateTime<Utc>,
    through: DateTime<Utc>,
    ticks: i64,
    verdict: String,
}

fn ticks(home: &Home, name: &str) -> Vec<Line> {
    let shown = home.json(&["campaign", "schedule", name, "--count", "1000"]);
    let time = |v: &Value| v.as_str().unwrap().parse().unwrap();
    let line = |t: &Value| Line {
        at: time(&t["at"]),
        through: time(&t["through"]),
        ticks: t["ticks"].as_i64().unwrap(),
        verdict: t["verdict"].as_str().unwrap().to_owned(),
    };
    let mut lines: Vec<Line> = shown["ticks"].as_array().unwrap().iter().map(line).collect();
    lines.reverse();
    lines
}

async fn runs(home: &Home, name: &str) -> i64 {
    let pool = &home.db.as_ref().unwrap().store.pool;
    sqlx::query_scalar("select count(*) from run join campaign using (workspace_id, campaign_id) where name = $1")
        .bind(name)
        .fetch_one(pool)
        .await
        .unwrap()
}

#[derive(Debug, Default)]
struct Counts {
    ticks: i64,
    fired: i64,
    missed: i64,
    merged: i64,
    missed_outside: i64,
}

/// Holds that every instant has one fate, without a gap, and that of those that all schedulers slept through
/// the policy made what it should.
fn check(
    lines: &[Line],
    length: Length,
    (start, end): (DateTime<Utc>, DateTime<Utc>),
    policy: &str,
    outage: &Outage,
) -> Counts {
    let every = TimeDelta::seconds(length.every);
    let (mut counts, mut next) = (Counts::default(), start);
    let mut slept: Vec<&str> = Vec::new();
    for line in lines {
        assert_eq!(line.at, next, "{policy}: no instant is left out, and none is there twice");
        assert_eq!((line.through - line.at).num_seconds(), (line.ticks - 1) * length.every);
        next = line.through + every;
        counts.ticks += line.ticks;
        let sum = match line.verdict.as_str() {
            "fired" => &mut counts.fired,
            "missed" => &mut counts.missed,
            "merged" => &mut counts.merged,
            other => panic!("{policy}: nothing can have {other:?} a tick here"),
        };
        *sum += line.ticks;
        for i in 0..line.ticks {
            let at = line.at + every * i32::try_from(i).unwrap();
            // The last one that was due before they came back is in time.
            if at > outage.from && at + every <= outage.until {
                slept.push(&line.verdict);
            } else if line.verdict != "fired" {
                counts.missed_outside += 1;
            }
        }
    }
    assert_eq!(next, end + every, "{policy}: the last tick is the end");
    assert!(!slept.is_empty(), "{policy}: ticks fell into the outage");
    let made_up = slept.iter().filter(|v| **v == "fired").count();
    match policy {
        "skip" => assert!(slept.iter().all(|v| *v == "missed"), "{slept:?}"),
        "run-once" => assert!(slept.iter().all(|v| *v == "merged"), "{slept:?}"),
        // At most four, and those the newest.
        _ => {
            assert!((1..=4).contains(&made_up), "{slept:?}");
            assert!(slept[..slept.len() - made_up].iter().all(|v| *v == "missed"), "{slept:?}");
        }
    }
    counts
}

/// Of each campaign everybody got one message, and the provider saw as many as the books have.
async fn assert_nobody_twice(home: &Home, provider: &Provider) {
    let pool = &home.db.as_ref().unwrap().store.pool;
    let (messages, contacts, twice): (i64, i64, i64) = sqlx::query_as(
        "select coalesce(sum(n), 0)::bigint, count(*), count(*) filter (where n > 1) from (
           select r.campaign_id, m.address, count(*) as n from recipient m join run r using (workspace_id, run_id)
           group by 1, 2) x",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    let everybody: i64 = sqlx::query_scalar("select count(*) * 3 from contact").fetch_one(pool).await.unwrap();
    eprintln!("{}", json!({ "messages": messages, "recipients": contacts, "twice": twice, "contacts": everybody }));
    assert_eq!(twice, 0);
    assert_eq!(provider.handle.stats().accepted, messages.unsigned_abs());
    assert!(contacts > everybody / 2, "runs found the new contacts: {contacts} of {everybody}");
}
