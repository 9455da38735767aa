//! Recipients by their clocks: what a plan says of them, how they are frozen, and how their windows move on.

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_domain::clock::Clock;
use fanfare_domain::state::{Category, RunState};
use fanfare_scheduler::expand::{self, Expanded};
use fanfare_scheduler::hours::{apply, roll_shut};
use fanfare_scheduler::launch::{Launch, launch};
use fanfare_scheduler::life::{Edit, edit};
use fanfare_store::flows;
use fanfare_store::hours::{self, NewHours, Written};
use serde_json::json;

use crate::scene::{CAMPAIGN, Person, Scene, Setting, person};

const NOON: &str = "2026-11-23T12:00:00Z";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Two in Algeria, one of whom lives in Paris; one each in Tokyo, New York and nowhere.
fn people() -> Vec<Person> {
    let lives = |zone: &str| Some(json!({"Time zone": zone, "city": "x"}));
    vec![
        Person { country: Some("US"), attributes: lives("Mars/Olympus"), ..person("+12125550100") },
        Person { country: Some("DZ"), ..person("+213555000001") },
        Person { country: Some("DZ"), attributes: lives("europe/paris"), ..person("+213555000002") },
        Person { country: Some("FR"), ..person("+33600000001") },
        Person { country: Some("JP"), ..person("+819012345678") },
        person("+8812345678"),
    ]
}

async fn scene(hours: NewHours<'static>) -> (Scene, Clock) {
    let clock = Clock::manual(at(NOON));
    let setting = Setting {
        caps: vec!["1/s".parse().unwrap()],
        clock: clock.clone(),
        hours: NewHours { zone: Some("Asia/Kolkata".parse().unwrap()), ..hours },
        ..Setting::default()
    };
    (Scene::set(setting, &people()).await, clock)
}

/// Zone, recipients, opening and closing of a segment.
type Segment = (Option<String>, i32, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

async fn segments(scene: &Scene) -> Vec<Segment> {
    sqlx::query_as("select zone, hi - lo, opens_at, closes_at from segment order by run_id, segment_no")
        .fetch_all(&scene.store.pool)
        .await
        .unwrap()
}

fn segment(zone: &str, n: i32, opens: &str, closes: &str) -> Segment {
    (Some(zone.to_owned()), n, Some(at(opens)), Some(at(closes)))
}

#[tokio::test]
async fn a_plan_says_who_waits_for_whose_morning() {
    let (scene, _) = scene(NewHours { quiet: Some("21:00-08:00"), ..NewHours::default() }).await;
    let plan = scene.plan().await;
    let waves: Vec<_> = plan.waves.iter().map(|w| (w.zone.as_str(), w.recipients, w.opens_at, w.closes_at)).collect();
    let open = |zone, n, opens: &str, closes: &str| (zone, n, at(opens), Some(at(closes)));
    assert_eq!(
        waves,
        [
            open("America/New_York", 1, "2026-11-23T13:00:00Z", "2026-11-24T02:00:00Z"),
            // Algiers and Paris differ in summer.
            open("Africa/Algiers", 1, NOON, "2026-11-23T20:00:00Z"),
            open("Europe/Paris", 2, NOON, "2026-11-23T20:00:00Z"),
            open("Asia/Tokyo", 1, "2026-11-23T23:00:00Z", "2026-11-24T12:00:00Z"),
            open("Asia/Kolkata", 1, NOON, "2026-11-23T15:30:00Z"),
        ]
    );
    let hours = plan.hours.clone().unwrap();
    assert_eq!((hours.outside, hours.late, hours.invalid), (2, 0, 1));
    assert_eq!((hours.by_attribute, hours.by_number, hours.by_country, hours.by_campaign), (1, 4, 0, 1));
    assert_eq!((hours.invalid_first[0].row, hours.invalid_first[0].zone.as_str()), (0, "Mars/Olympus"));
    let warning = plan.warnings[0].to_string();
    assert!(warning.contains("\"Mars/Olympus\" in row 0") && warning.contains("their number"), "{warning}");
    assert_eq!(plan.waves[3].starts_at, Some(at("2026-11-23T23:00:00Z")));
    let end = plan.finishes_at.unwrap() - at("2026-11-23T23:00:00Z");
    assert!(end > TimeDelta::zero() && end < TimeDelta::seconds(3), "{end}");
    assert!(plan.refusals.is_empty(), "{:?}", plan.refusals);
    assert_eq!(serde_json::to_value(&plan).unwrap()["waves"][0]["zone"], "America/New_York");
}

#[tokio::test]
async fn a_plan_without_hours_says_nothing_of_waves() {
    let (scene, _) = scene(NewHours::default()).await;
    let plan = scene.plan().await;
    assert!(plan.hours.is_none() && plan.waves.is_empty() && plan.starts_at == at(NOON));
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    scene.expand_all().await;
    assert_eq!(segments(&scene).await, [(None, 6, None, None)]);
    assert_eq!(scene.number("select count(*) from flow where windowed").await, 0);
}

#[tokio::test]
async fn a_stretch_is_frozen_as_a_segment_for_each_wave_and_shut_ones_move_on() {
    let (scene, clock) = scene(NewHours { hours: Some("mon-fri 09:00-18:00"), ..NewHours::default() }).await;
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    scene.expand_all().await;
    let new_york = segment("America/New_York", 1, "2026-11-23T14:00:00Z", "2026-11-23T23:00:00Z");
    let tokyo = segment("Asia/Tokyo", 1, "2026-11-24T00:00:00Z", "2026-11-24T09:00:00Z");
    let first = [
        new_york.clone(),
        segment("Africa/Algiers", 1, NOON, "2026-11-23T17:00:00Z"),
        segment("Europe/Paris", 2, NOON, "2026-11-23T17:00:00Z"),
        tokyo.clone(),
        segment("Asia/Kolkata", 1, NOON, "2026-11-23T12:30:00Z"),
    ];
    assert_eq!(segments(&scene).await, first);
    let frozen = scene.recipients().await;
    let seqs: Vec<i32> = frozen.iter().map(|(seq, ..)| *seq).collect();
    assert_eq!(seqs, [0, 1, 2, 3, 4, 5]);
    // By wave, and in each by address.
    let addresses: Vec<&str> = frozen.iter().map(|(_, address, ..)| address.as_str()).collect();
    let by_wave = ["+12125550100", "+213555000001", "+213555000002", "+33600000001", "+819012345678", "+8812345678"];
    assert_eq!(addresses, by_wave);

    assert_eq!(roll_shut(&scene.store).await.unwrap(), 0, "none is shut yet");
    clock.advance_us(30 * 60_000_000 - 5_000_000);
    assert_eq!(roll_shut(&scene.store).await.unwrap(), 1, "a little before, since what is claimed now leaves later");
    clock.advance_us(5 * 3_600_000_000);
    assert_eq!(roll_shut(&scene.store).await.unwrap(), 2);
    let next = [
        new_york,
        segment("Africa/Algiers", 1, "2026-11-24T08:00:00Z", "2026-11-24T17:00:00Z"),
        segment("Europe/Paris", 2, "2026-11-24T08:00:00Z", "2026-11-24T17:00:00Z"),
        tokyo,
        segment("Asia/Kolkata", 1, "2026-11-24T03:30:00Z", "2026-11-24T12:30:00Z"),
    ];
    assert_eq!(segments(&scene).await, next);
}

#[tokio::test]
async fn later_stretches_go_on_with_the_waves_of_the_earlier_ones() {
    let (scene, _) = scene(NewHours { quiet: Some("21:00-08:00"), ..NewHours::default() }).await;
    scene.add_many(6_000).await;
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    scene.expand_all().await;
    let waves: Vec<(i16, String, i64)> =
        sqlx::query_as("select wave, zone, sum(hi - lo) from segment group by wave, zone order by wave")
            .fetch_all(&scene.store.pool)
            .await
            .unwrap();
    let expected = [
        (0, "America/New_York", 1),
        (1, "Africa/Algiers", 6_001),
        (2, "Europe/Paris", 2),
        (3, "Asia/Tokyo", 1),
        (4, "Asia/Kolkata", 1),
    ];
    assert_eq!(waves, expected.map(|(wave, zone, n)| (wave, zone.to_owned(), n)));
    assert_eq!(scene.number("select count(*) from segment where wave = 1").await, 2);
    let gaps = "select count(*) from segment g where lo <> coalesce((select max(hi) from segment o where o.segment_no < g.segment_no), 0)";
    assert_eq!(scene.number(gaps).await, 0);
    let unlike =
        "select count(*) from recipient r where r.seq <> (select count(*) from recipient o where o.seq < r.seq)";
    assert_eq!(scene.number(unlike).await, 0);
}

#[tokio::test]
async fn everybody_at_nine_where_they_are() {
    let local = Some("2026-11-24T09:00:00".parse().unwrap());
    let (scene, clock) = scene(NewHours { local, ..NewHours::default() }).await;
    let plan = scene.plan().await;
    let opens: Vec<_> =
        plan.waves.iter().map(|w| (w.zone.as_str(), w.opens_at.format("%dT%H:%M").to_string())).collect();
    let expected = [
        ("America/New_York", "24T14:00"),
        ("Africa/Algiers", "24T08:00"),
        ("Europe/Paris", "24T08:00"),
        ("Asia/Tokyo", "24T00:00"),
        ("Asia/Kolkata", "24T03:30"),
    ];
    assert_eq!(opens, expected.map(|(zone, time)| (zone, time.to_owned())));
    assert_eq!(plan.starts_at, at("2026-11-23T23:50:00Z"), "ten minutes before Tokyo");
    let refused =
        launch(&scene.store, 1, CAMPAIGN, Launch { at: Some(at("2026-11-24T00:00:00Z")), again: false }).await;
    assert!(refused.unwrap_err().to_string().contains("leave --at out"));
    let run = launch(&scene.store, 1, CAMPAIGN, Launch::default()).await.unwrap();
    assert_eq!((run.state, run.scheduled_for), (RunState::Scheduled, plan.starts_at));
    scene.expand_all().await;
    assert_eq!(segments(&scene).await, []);
    clock.advance_us((plan.starts_at - at(NOON)).num_microseconds().unwrap());
    scene.expand_all().await;
    let frozen: Vec<_> = segments(&scene).await.into_iter().map(|(_, n, opens, closes)| (n, opens, closes)).collect();
    let planned: Vec<_> = plan.waves.iter().map(|w| (w.recipients as i32, Some(w.opens_at), None)).collect();
    assert_eq!(frozen, planned);
}

#[tokio::test]
async fn a_local_time_that_is_past_for_some_or_for_all() {
    let local = Some("2026-11-23T20:00:00".parse().unwrap());
    let (scene, clock) = scene(NewHours { local, ..NewHours::default() }).await;
    let plan = scene.plan().await;
    assert_eq!(plan.hours.as_ref().unwrap().late, 1, "21:00 in Tokyo");
    assert!(
        plan.warnings.iter().any(|w| w.problem.contains("past already where 1 recipients are")),
        "{:?}",
        plan.warnings
    );
    assert_eq!((plan.waves[3].opens_at, plan.starts_at), (at(NOON), at(NOON)));
    clock.advance_us(14 * 3_600_000_000);
    let refused = launch(&scene.store, 1, CAMPAIGN, Launch::default()).await.unwrap_err().to_string();
    assert!(refused.contains("is past wherever its recipients are") && refused.contains("--local-date"), "{refused}");
}

#[tokio::test]
async fn workspace_and_campaign_hold_together_and_what_never_opens_is_refused() {
    let (scene, _) = scene(NewHours { hours: Some("mon 09:00-12:00"), ..NewHours::default() }).await;
    let mut c = scene.store.pool.acquire().await.unwrap();
    let quiet = |quiet: &str| Written { quiet: Some(quiet.to_owned()), hours: None };
    hours::set(&mut c, 1, None, &quiet("21:00-10:00")).await.unwrap();
    hours::set(&mut c, 1, Some(Category::Utility), &quiet("00:00-23:59")).await.unwrap();
    let rules = hours::of_campaign(&mut c, 1, scene.campaign.campaign_id).await.unwrap();
    assert_eq!(rules.hours, "mon 10:00-12:00".parse().unwrap(), "the hours of another category do not hold");
    hours::set(&mut c, 1, Some(Category::Marketing), &quiet("08:00-13:00")).await.unwrap();
    let plan = scene.plan().await;
    assert!(plan.refusals[0].problem.contains("no minute in common"), "{:?}", plan.refusals);
    assert!(launch(&scene.store, 1, CAMPAIGN, Launch::default()).await.is_err());
    assert_eq!(scene.number("select count(*) from run").await, 0);
}

#[tokio::test]
async fn a_change_of_the_hours_holds_for_what_runs() {
    let (scene, _) = scene(NewHours { quiet: Some("21:00-08:00"), ..NewHours::default() }).await;
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    scene.expand_all().await;
    let mut c = scene.store.pool.acquire().await.unwrap();
    let written = Written { quiet: None, hours: Some("mon-fri 15:00-16:00".to_owned()) };
    hours::set(&mut c, 1, None, &written).await.unwrap();
    let before = scene.flow().await.1;
    assert_eq!(apply(&scene.store, 1, Some(scene.campaign.campaign_id)).await.unwrap().moved, 5);
    assert!(scene.flow().await.1 > before, "what workers hold goes back");
    assert_eq!(segments(&scene).await[1], segment("Africa/Algiers", 1, "2026-11-23T14:00:00Z", "2026-11-23T15:00:00Z"));
    hours::set(&mut c, 1, None, &Written::default()).await.unwrap();
    assert_eq!(apply(&scene.store, 1, None).await.unwrap().moved, 5);
    assert_eq!(segments(&scene).await[1], segment("Africa/Algiers", 1, NOON, "2026-11-23T20:00:00Z"));
}

#[tokio::test]
async fn hours_that_come_to_a_run_without_any_hold_by_the_zone_of_the_campaign() {
    let (scene, _) = scene(NewHours::default()).await;
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    scene.expand_all().await;
    let change = |hours| Edit { hours: Some(hours), ..Edit::default() };
    let refused =
        edit(&scene.store, 1, CAMPAIGN, Edit { quiet: Some(Some("21-8")), weight: Some(7), ..change(None) }).await;
    assert!(refused.unwrap_err().to_string().contains("21-8"));
    assert_eq!(scene.number("select weight::bigint from campaign").await, 1, "nothing was changed");
    let edited = edit(&scene.store, 1, CAMPAIGN, change(Some("09:00-18:00"))).await.unwrap();
    assert_eq!((edited.runs, edited.undivided, edited.written.hours.as_deref()), (1, 1, Some("09:00-18:00")));
    let (zone, n, opens, closes) = segments(&scene).await.remove(0);
    // 17:30 in Kolkata.
    assert_eq!((zone, n, opens, closes), (None, 6, Some(at(NOON)), Some(at("2026-11-23T12:30:00Z"))));
    let edited = edit(&scene.store, 1, CAMPAIGN, change(None)).await.unwrap();
    assert_eq!((edited.undivided, edited.written), (0, Written::default()));
    assert_eq!(segments(&scene).await, [(None, 6, Some(at(NOON)), None)]);
}

/// Whoever set them may be gone before they are given to what runs, or a run may begin in between.
#[tokio::test]
async fn hours_that_nobody_has_given_to_a_run_hold_once_a_scheduler_looks() {
    let (scene, _) = scene(NewHours::default()).await;
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    scene.expand_all().await;
    let mut c = scene.store.pool.acquire().await.unwrap();
    let written = Written { quiet: None, hours: Some("mon-fri 15:00-16:00".to_owned()) };
    hours::set(&mut c, 1, None, &written).await.unwrap();
    drop(c);
    roll_shut(&scene.store).await.unwrap();
    let (zone, n, opens, closes) = segments(&scene).await.remove(0);
    assert_eq!((zone, n), (None, 6));
    // Tomorrow: it is half past five in Kolkata.
    assert_eq!((opens, closes), (Some(at("2026-11-24T09:30:00Z")), Some(at("2026-11-24T10:30:00Z"))));
    assert_eq!(scene.number("select count(*) from flow where windowed").await, 1);
}

#[tokio::test]
async fn what_waits_for_another_attempt_is_put_off_with_its_segment() {
    let (scene, clock) = scene(NewHours { hours: Some("09:00-18:00"), ..NewHours::default() }).await;
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    scene.expand_all().await;
    // In Algiers, twice in Paris, of whom one in doubt, and in Tokyo.
    scene
        .sql(
            "insert into retry (workspace_id, run_id, seq, attempts, kind, account_id, due_at, reserved)
             select 1, run_id, seq, 1, case seq when 3 then 2 else 1 end, account_id, now(), 0
             from flow, generate_series(1, 4) seq",
        )
        .await;
    let later = "select count(*) from retry where due_at between now() + interval '14 h' and now() + interval '15 h'";
    clock.advance_us(5 * 3_600_000_000 + 1_800_000_000);
    roll_shut(&scene.store).await.unwrap();
    assert_eq!(scene.number(later).await, 3, "from 17:30 until 08:00");
    assert_eq!(scene.number("select count(*) from retry where due_at <= now()").await, 1);
    scene.sql("update campaign set hours = null, quiet = '04:00-05:00'").await;
    apply(&scene.store, 1, None).await.unwrap();
    assert_eq!(scene.number("select count(*) from retry where due_at <= now()").await, 4, "what is in doubt, too");
}

#[tokio::test]
async fn what_is_put_off_is_due_no_sooner_than_it_was_by_itself() {
    let (scene, clock) = scene(NewHours { hours: Some("09:00-18:00"), ..NewHours::default() }).await;
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    scene.expand_all().await;
    // A provider asked for 20 hours, one for 20 minutes; one message is in doubt for five minutes, one is held.
    scene
        .sql(
            "create table t0 as select now() as at;
             insert into retry (workspace_id, run_id, seq, attempts, kind, account_id, due_at, reserved)
             select 1, run_id, seq, 1, kind, account_id, coalesce(now() + wait::interval, 'infinity'), 0
             from flow, (values (0, 2, null), (1, 1, '20 h'), (2, 1, '20 min'), (3, 2, '5 min')) r (seq, kind, wait)",
        )
        .await;
    // In steps of five minutes from then on, so that it does not matter how long this takes.
    let due = async || -> Vec<String> {
        let sql = "select to_char(round(extract(epoch from nullif(r.due_at, 'infinity') - t0.at) / 300) * 5, 'FM9990')
                   from retry r, t0 order by r.seq";
        let rows: Vec<Option<String>> = sqlx::query_scalar(sql).fetch_all(&scene.store.pool).await.unwrap();
        rows.into_iter().map(|row| row.unwrap_or("held".to_owned())).collect()
    };
    clock.advance_us(5 * 3_600_000_000 + 1_800_000_000);
    roll_shut(&scene.store).await.unwrap();
    assert_eq!(due().await, ["held", "1200", "870", "870"], "from 17:30 until 08:00");
    for (hours, expected) in [
        ("18:40-23:00", ["held", "1200", "20", "10"]),
        ("09:00-18:00", ["held", "1200", "870", "870"]),
        ("04:00-03:00", ["held", "1200", "20", "5"]),
    ] {
        scene.sql(format!("update campaign set hours = '{hours}'")).await;
        apply(&scene.store, 1, None).await.unwrap();
        assert_eq!(due().await, expected, "{hours}");
    }
}

#[tokio::test]
async fn hours_that_are_none_are_refused_and_nothing_is_created() {
    let (scene, _) = scene(NewHours::default()).await;
    let through = [fanfare_store::campaigns::Through::account("demo")];
    for (hours, part) in [
        (NewHours { quiet: Some("21-8"), ..NewHours::default() }, "21-8"),
        (NewHours { quiet: Some("09:00-09:00"), ..NewHours::default() }, "never opens"),
        (NewHours { quiet: Some("08:00-20:00"), hours: Some("09:00-18:00"), ..NewHours::default() }, "no minute"),
        (NewHours { local: Some("2026-11-23T00:00:00".parse().unwrap()), ..NewHours::default() }, "past all over"),
    ] {
        let new = fanfare_store::campaigns::NewCampaign {
            hours,
            ..fanfare_store::campaigns::NewCampaign::of("other", "hello", "people", &through)
        };
        let refused = fanfare_store::campaigns::create(&scene.store, 1, new).await.unwrap_err().to_string();
        assert!(refused.contains(part), "{hours:?}: {refused}");
        assert_eq!(scene.number("select count(*) from campaign").await, 1);
    }
}

#[tokio::test]
async fn a_segment_that_was_divided_by_the_hours_of_before_is_divided_anew() {
    let (scene, _) = scene(NewHours { quiet: Some("21:00-08:00"), ..NewHours::default() }).await;
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    let [(workspace_id, run_id)] = expand::due(&scene.store).await.unwrap()[..] else { panic!("one run") };
    // Whoever holds the flows makes the expansion wait between reading the hours and its commit.
    let mut tx = scene.store.pool.begin().await.unwrap();
    flows::lock(&mut tx, workspace_id, run_id).await.unwrap();
    let store = scene.store.clone();
    let expanding = tokio::spawn(async move { expand::expand_next(&store, workspace_id, run_id).await.unwrap() });
    let waiting = "select count(*) from pg_stat_activity where datname = current_database()
                   and wait_event_type = 'Lock' and query like '%flows: lock%'";
    while scene.number(waiting).await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    scene.sql("update campaign set quiet = '12:30-12:00'").await;
    tx.commit().await.unwrap();
    assert_eq!(expanding.await.unwrap(), Expanded::Skipped);
    assert_eq!(segments(&scene).await, []);

    scene.expand_all().await;
    let windows = segments(&scene).await;
    let half_an_hour = |(_, _, opens, closes): &Segment| *closes.as_ref().unwrap() - opens.unwrap();
    assert!(windows.iter().all(|s| half_an_hour(s) <= TimeDelta::minutes(30)), "{windows:?}");
    assert_eq!(scene.number("select count(*) from recipient").await, 6);
}

#[tokio::test]
async fn what_is_foretold_of_a_run_with_windows_goes_until_the_last_has_opened() {
    let (scene, _) = scene(NewHours { quiet: Some("21:00-08:00"), ..NewHours::default() }).await;
    let plan = launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap().plan;
    let span = (plan.finishes_at.unwrap() - plan.starts_at).num_seconds();
    assert!(span > 3600, "{span}");
    assert_eq!(scene.number("select (forecast ->> 'seconds')::float8::bigint from run").await, span);
}
