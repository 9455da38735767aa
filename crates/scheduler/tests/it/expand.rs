//! Freezing the audience: complete, without gaps, whoever does it and however often it breaks off.

use fanfare_domain::message::Channel;
use fanfare_domain::price::Prices;
use fanfare_domain::state::OnMissing;
use fanfare_scheduler::control;
use fanfare_scheduler::expand::{self, Expanded, expand_next};
use fanfare_scheduler::launch::{Launch, launch};
use serde_json::json;

use crate::scene::{CAMPAIGN, Person, Scene, Setting, body, mail, person};

/// More than two segments.
const MANY: i32 = 5_000 + 100_000 + 1_000;

async fn launched(setting: Setting, people: &[Person]) -> (Scene, i64) {
    let scene = Scene::set(setting, people).await;
    if people.is_empty() {
        scene.add_many(MANY).await;
    }
    let run = launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    (scene, run.run_id)
}

/// Holds that the frozen audience is the whole list in order, numbered without gaps.
async fn whole(scene: &Scene) {
    let sql = "select count(*) from recipient";
    assert_eq!(scene.number(sql).await, i64::from(MANY));
    let gaps = "select count(*) from (select seq, row_number() over (order by address) - 1 as n from recipient) r where seq <> n";
    assert_eq!(scene.number(gaps).await, 0);
    let torn =
        "select count(*) from (select lo, hi, next_seq, lead(lo) over (order by segment_no) as next from segment) s
                where next <> hi or next_seq <> lo";
    assert_eq!(scene.number(torn).await, 0);
    assert_eq!(scene.number("select max(hi)::bigint from segment").await, i64::from(MANY));
    assert_eq!(scene.number("select count(*) from run where expanded_at is not null").await, 1);
    assert_eq!(scene.number("select count(*) from expansion").await, 0);
}

#[tokio::test]
async fn an_audience_is_frozen_segment_by_segment() {
    let (scene, run_id) = launched(Setting::default(), &[]).await;
    let next = || expand_next(&scene.store, scene.workspace_id, run_id);
    assert_eq!(expand::due(&scene.store).await.unwrap(), [(scene.workspace_id, run_id)]);
    assert_eq!(next().await.unwrap(), Expanded::More);
    assert_eq!(scene.number("select count(*) from recipient").await, 5_000);
    assert_eq!(next().await.unwrap(), Expanded::More);
    assert_eq!(next().await.unwrap(), Expanded::Complete);
    assert_eq!(next().await.unwrap(), Expanded::Skipped);
    assert_eq!(expand::due(&scene.store).await.unwrap(), []);
    whole(&scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_schedulers_at_once_freeze_it_once() {
    let (scene, run_id) = launched(Setting::default(), &[]).await;
    let scheduler = || async {
        // Each looks again until the run needs no more of it.
        while !expand::due(&scene.store).await.unwrap().is_empty() {
            expand_next(&scene.store, scene.workspace_id, run_id).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(scheduler(), scheduler(), scheduler());
    whole(&scene).await;
    assert_eq!(scene.number("select count(*) from segment").await, 3);
}

#[tokio::test]
async fn a_scheduler_that_dies_in_a_segment_leaves_nothing_of_it() {
    let (scene, run_id) = launched(Setting::default(), &[]).await;
    let (store, workspace_id) = (&scene.store, scene.workspace_id);
    expand_next(store, workspace_id, run_id).await.unwrap();
    // The segment is written, the commit never comes: its last statement waits for this lock.
    let mut holder = store.pool.begin().await.unwrap();
    sqlx::query("select from run for no key update").execute(&mut *holder).await.unwrap();
    let dying = tokio::spawn({
        let store = store.clone();
        async move { expand_next(&store, workspace_id, run_id).await }
    });
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while scene.number(waits).await == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(expand_next(store, workspace_id, run_id).await.unwrap(), Expanded::Skipped);
    scene.sql("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'").await;
    assert!(dying.await.unwrap().is_err());
    holder.rollback().await.unwrap();
    assert_eq!(scene.number("select count(*) from recipient").await, 5_000);

    scene.expand_all().await;
    whole(&scene).await;
}

#[tokio::test]
async fn what_is_left_out_stands_in_the_segment() {
    let setting = Setting {
        channel: Channel::Email,
        variants: vec![mail("Hi", "{{ code }}")],
        on_missing: OnMissing::Skip,
        ..Setting::default()
    };
    let code = Some(json!({"code": 7}));
    let people = [
        person("+213555000001"),
        Person { email: Some("a@example.com"), attributes: code.clone(), ..person("+213555000002") },
        Person { email: Some("a@example.com"), attributes: code.clone(), ..person("+213555000003") },
        Person { attributes: code.clone(), ..person("b@example.com") },
        person("c@example.com"),
        Person { attributes: code, ..person("d@example.com") },
    ];
    let (scene, _) = launched(setting, &people).await;
    scene.suppress("b@example.com").await;
    scene.expand_all().await;
    let counts: (i32, i32, i32, i32, i32) =
        sqlx::query_as("select hi - lo, no_address, duplicate, suppressed, missing from segment")
            .fetch_one(&scene.store.pool)
            .await
            .unwrap();
    assert_eq!(counts, (2, 1, 1, 1, 1));
    let written: Vec<_> = scene.recipients().await.into_iter().map(|r| (r.0, r.1, r.4)).collect();
    let expected = |seq, address: &str| (seq, address.to_owned(), Some(json!([7])));
    assert_eq!(written, [expected(0, "a@example.com"), expected(1, "d@example.com")]);
}

#[tokio::test]
async fn the_variant_the_units_and_the_dearest_price_are_frozen() {
    let setting = Setting {
        variants: vec![body("en", "Hello {{ name }}"), body("ar", "مرحبا {{ name }}")],
        prices: Prices([(String::new(), 100), ("FR".to_owned(), 1000)].into()),
        credit: 1_000_000,
        on_missing: OnMissing::Default,
        ..Setting::default()
    };
    let people = [
        Person { name: Some("Ali"), ..person("+213555000001") },
        Person { name: Some("علي"), language: Some("ar"), ..person("+213555000002") },
        person("+213555000003"),
    ];
    let (scene, _) = launched(setting, &people).await;
    let french = Person { name: Some("Zoé"), country: Some("FR"), ..person("+33600000001") };
    let long = "n".repeat(200).leak();
    scene.add(&[french, Person { name: Some(long), country: Some("FR"), ..person("+33600000002") }]).await;
    assert_eq!(scene.number("select reserve_each from flow").await, 100);
    scene.expand_all().await;
    let written: Vec<_> = scene.recipients().await.into_iter().map(|r| (r.2, r.3, r.4.unwrap()[0].clone())).collect();
    let expected =
        [(1, 0, json!("Ali")), (1, 1, json!("علي")), (1, 0, json!(null)), (1, 0, json!("Zoé")), (2, 0, json!(&*long))];
    assert_eq!(written, expected);
    assert_eq!(scene.number("select reserve_each from flow").await, 2000);
}

#[tokio::test]
async fn a_paused_run_is_expanded_and_a_cancelled_one_is_not() {
    let (scene, run_id) = launched(Setting::default(), &[]).await;
    let (store, workspace_id) = (&scene.store, scene.workspace_id);
    control::pause(store, workspace_id, CAMPAIGN).await.unwrap();
    assert_eq!(expand_next(store, workspace_id, run_id).await.unwrap(), Expanded::More);
    control::cancel(store, workspace_id, CAMPAIGN).await.unwrap();
    assert_eq!(expand_next(store, workspace_id, run_id).await.unwrap(), Expanded::Skipped);
    assert_eq!(expand::due(store).await.unwrap(), []);
    assert_eq!(scene.number("select count(*) from recipient").await, 5_000);
    assert_eq!(scene.number("select count(*) from expansion").await, 0);
}

/// With one connection it reads, then writes. A segment that grows too large ends early, which leaves
/// contacts unread on that connection.
#[tokio::test]
async fn one_connection_is_enough_and_a_heavy_segment_ends_early() {
    // What is said is short; what is frozen beside it is not.
    let variants = vec![body("", "{% if story %}Your story{% endif %} is in.")];
    let setting = Setting { channel: Channel::Whatsapp, variants, ..Setting::default() };
    let mut scene = Scene::set(setting, &[]).await;
    scene
        .sql(
            "insert into contact (workspace_id, list_id, import_id, row_no, address, attributes)
             select 1, list_id, 1, i, '+213' || 1000 + i, jsonb_build_object('story', repeat('x', 100000)) from list, generate_series(1, 1000) i",
        )
        .await;
    let run_id = launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap().run_id;
    scene.one_connection().await;
    let next = || expand_next(&scene.store, scene.workspace_id, run_id);
    assert_eq!(next().await.unwrap(), Expanded::More);
    let first = scene.number("select hi::bigint from segment").await;
    assert!((600..1000).contains(&first), "{first}");
    assert_eq!(next().await.unwrap(), Expanded::Complete);
    assert_eq!(scene.number("select count(distinct address) from recipient where seq < 1000").await, 1000);
    assert_eq!(scene.number("select lo::bigint from segment where segment_no = 1").await, first);
}

#[tokio::test]
async fn whom_a_text_is_too_long_for_is_left_out_of_the_run_as_of_the_plan() {
    let variants = vec![body("", "{{ note }}")];
    let setting = Setting { variants, on_missing: OnMissing::Skip, ..Setting::default() };
    let note = |chars: usize| Some(json!({ "note": "x".repeat(chars) }));
    let people = [
        Person { attributes: note(320), ..person("+213555000001") },
        Person { attributes: note(321), ..person("+213555000002") },
    ];
    let scene = Scene::set(setting, &people).await;
    scene.sql("update account set kind = 'grow'").await;
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    scene.expand_all().await;
    let addresses: Vec<String> = scene.recipients().await.into_iter().map(|(_, address, ..)| address).collect();
    assert_eq!(addresses, ["+213555000001"]);
}
