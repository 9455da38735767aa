//! Launching: what is refused, what is frozen, and when a run starts.

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_domain::clock::Clock;
use fanfare_domain::message::Channel;
use fanfare_domain::price::Prices;
use fanfare_domain::state::{OnMissing, PausedReason, RunState};
use fanfare_domain::template::Template;
use fanfare_scheduler::launch::{Launch, launch};
use fanfare_scheduler::plan::plan;
use fanfare_scheduler::resend::resend;
use fanfare_scheduler::{Error, control, expand};
use fanfare_store::{accounts, campaigns, templates};
use serde_json::json;

use crate::scene::{CAMPAIGN, Person, Scene, Setting, body, person};

#[tokio::test]
async fn a_launch_freezes_template_variables_and_prices() {
    let setting = Setting {
        variants: vec![body("", "{{ city }} {{ name }}")],
        prices: Prices([(String::new(), 5000)].into()),
        credit: 1_000_000,
        expires_after_s: Some(3600),
        ..Setting::default()
    };
    let city = Some(json!({"city": "Oran"}));
    let people = [Person { name: Some("Ali"), attributes: city, ..person("+213555000001") }];
    let scene = Scene::set(setting, &people).await;
    let before = scene.store.clock.now();
    let run = launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    assert_eq!((run.state, run.plan.recipients, run.plan.cost), (RunState::Running, 1, 5000));

    // What comes after the launch does not change it.
    let mut c = scene.store.pool.acquire().await.unwrap();
    accounts::set_price(&mut c, scene.workspace_id, "demo", "", 9000).await.unwrap();
    let newer = Template::compile(Channel::Sms, vec![body("", "{{ name }}")]).unwrap();
    assert_eq!(templates::add(&scene.store, scene.workspace_id, "hello", &newer).await.unwrap().version, 2);

    let (version, variables, prices, planned): (i32, Vec<String>, serde_json::Value, i64) =
        sqlx::query_as("select template_version, variables, prices, planned from run join run_arm using (run_id) join run_account using (run_id)")
            .fetch_one(&mut *c)
            .await
            .unwrap();
    assert_eq!((version, variables, prices, planned), (1, vec!["city".into(), "name".into()], json!({"": 5000}), 1));
    let (started, expires): (DateTime<Utc>, DateTime<Utc>) =
        sqlx::query_as("select started_at, expires_at from run").fetch_one(&mut *c).await.unwrap();
    assert!(started >= before && expires == started + TimeDelta::hours(1));
    assert_eq!(scene.number("select reserve_each from flow where runnable").await, 5000);

    scene.expand_all().await;
    let expected = (0, "+213555000001".to_owned(), 1, 0, Some(json!(["Oran", "Ali"])));
    assert_eq!(scene.recipients().await, [expected]);
}

#[tokio::test]
async fn a_launch_refuses_what_the_plan_refuses_and_leaves_nothing_behind() {
    let setting = Setting { variants: vec![body("", "{{ name }}")], ..Setting::default() };
    let scene = Scene::set(setting, &[person("+213555000001")]).await;
    let error = launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap_err();
    let Error::Refused(refusals) = error else { panic!("{error}") };
    assert_eq!(refusals, scene.plan().await.refusals);
    assert_eq!(scene.number("select (select count(*) from run) + (select count(*) from flow)").await, 0);

    let error = launch(&scene.store, scene.workspace_id, "sprnig", Launch::default()).await.unwrap_err().to_string();
    assert!(error.contains("did you mean spring?"), "{error}");
}

#[tokio::test]
async fn a_campaign_has_one_unfinished_run() {
    let scene = Scene::set(Setting::default(), &[person("+213555000001")]).await;
    let go = || launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default());
    let (a, b, c) = tokio::join!(go(), go(), go());
    let won = [&a, &b, &c].into_iter().filter(|r| r.is_ok()).count();
    assert_eq!(won, 1);
    let lost = [a, b, c].into_iter().find_map(Result::err).unwrap();
    assert!(matches!(&lost, Error::Store(fanfare_store::Error::Conflict(why)) if why.contains("running")), "{lost}");
    assert!(scene.plan().await.refusals[0].problem.contains("has a run that is running"));

    control::cancel(&scene.store, scene.workspace_id, CAMPAIGN).await.unwrap();
    let lost = go().await.unwrap_err().to_string();
    assert!(lost.contains("cancelling"), "{lost}");
    scene.sql("update run set state = 6, finished_at = now(); delete from flow").await;
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch { again: true, ..Launch::default() }).await.unwrap();
    assert_eq!(scene.number("select count(*) from run").await, 2);
}

#[tokio::test]
async fn nobody_gets_a_campaign_twice_by_a_slip() {
    let scene = Scene::set(Setting::default(), &[person("+213555000001")]).await;
    let (store, workspace_id) = (&scene.store, scene.workspace_id);
    launch(store, workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    scene.sql("update run set state = 5, finished_at = now(); delete from flow").await;
    let said = launch(store, workspace_id, CAMPAIGN, Launch::default()).await.unwrap_err().to_string();
    assert!(said.contains("was launched before") && said.contains("is finished") && said.contains("--again"), "{said}");
    assert_eq!(scene.plan().await.refusals[0].remedy, "to send it to the whole list once more, give --again");
    let again = plan(store, workspace_id, CAMPAIGN, true, |_, _| {}).await.unwrap();
    assert_eq!((again.refusals.len(), again.recipients), (0, 1));
    assert_eq!(scene.number("select count(*) from run").await, 1);
}

#[tokio::test]
async fn a_scheduled_run_starts_at_its_time_and_once() {
    let setting = Setting { expires_after_s: Some(60), on_missing: OnMissing::Skip, ..Setting::default() };
    let mut scene = Scene::set(setting, &[person("+213555000001")]).await;
    let start: DateTime<Utc> = "2026-12-01T08:00:00Z".parse().unwrap();
    scene.store.clock = Clock::manual(start - TimeDelta::hours(1));
    let (store, workspace_id) = (&scene.store, scene.workspace_id);

    let past =
        launch(store, workspace_id, CAMPAIGN, Launch { at: Some(start - TimeDelta::hours(1)), ..Launch::default() })
            .await
            .unwrap_err();
    assert!(matches!(past, Error::State(_)), "{past}");
    let run = launch(store, workspace_id, CAMPAIGN, Launch { at: Some(start), ..Launch::default() }).await.unwrap();
    assert_eq!((run.state, run.scheduled_for), (RunState::Scheduled, start));
    assert_eq!(expand::due(store).await.unwrap(), []);
    assert_eq!((scene.state().await.0, scene.flow().await.0), (1, false));
    // Contacts that come before the start are in its audience.
    scene.add(&[person("+213555000002")]).await;

    store.clock.advance_us(3_600_000_000);
    let (a, b) = tokio::join!(expand::due(store), expand::due(store));
    assert!(a.unwrap().len() + b.unwrap().len() >= 1);
    assert_eq!((scene.state().await.0, scene.flow().await), (2, (true, 0)));
    let (started, expires): (DateTime<Utc>, DateTime<Utc>) =
        sqlx::query_as("select started_at, expires_at from run").fetch_one(&store.pool).await.unwrap();
    assert_eq!((started, expires), (start, start + TimeDelta::seconds(60)));
    scene.expand_all().await;
    assert_eq!(scene.recipients().await.len(), 2);
}

#[tokio::test]
async fn a_launch_that_nobody_could_start_in_time_is_held_for_a_person() {
    let mut scene = Scene::set(Setting::default(), &[person("+213555000001")]).await;
    let start: DateTime<Utc> = "2026-12-01T08:00:00Z".parse().unwrap();
    scene.store.clock = Clock::manual(start - TimeDelta::hours(1));
    let (store, workspace_id) = (&scene.store, scene.workspace_id);
    launch(store, workspace_id, CAMPAIGN, Launch { at: Some(start), ..Launch::default() }).await.unwrap();
    store.clock.advance_us(TimeDelta::minutes(121).num_microseconds().unwrap());
    assert_eq!(expand::due(store).await.unwrap(), []);
    let held = (RunState::Paused.as_i16(), Some(PausedReason::Late.as_i16()));
    assert_eq!((scene.state().await, scene.flow().await.0), (held, false));
    let why: String = sqlx::query_scalar("select paused_detail from run").fetch_one(&store.pool).await.unwrap();
    assert_eq!(why, "nobody could start it until 61 minutes after its time");

    scene.add(&[person("+213555000002")]).await;
    control::resume(store, workspace_id, CAMPAIGN).await.unwrap();
    scene.expand_all().await;
    assert_eq!((scene.state().await, scene.flow().await.0), ((RunState::Running.as_i16(), None), true));
    assert_eq!(scene.recipients().await.len(), 2, "those of its start");
    assert_eq!(scene.number("select count(*) from run where started_at = scheduled_for").await, 1);

    scene.finish_runs().await;
    store.clock.advance_us(TimeDelta::minutes(1).num_microseconds().unwrap());
    let again = Launch { at: Some(store.clock.now() + TimeDelta::hours(1)), again: true };
    launch(store, workspace_id, CAMPAIGN, again).await.unwrap();
    store.clock.advance_us(TimeDelta::hours(3).num_microseconds().unwrap());
    assert_eq!(expand::due(store).await.unwrap(), []);
    control::cancel(store, workspace_id, CAMPAIGN).await.unwrap();
    assert_eq!(scene.number("select count(*) from run where state = 6").await, 1);
    assert_eq!(scene.number("select count(*) from flow").await, 0);
}

#[tokio::test]
async fn a_launch_that_is_held_has_nothing_to_send_again_and_no_other_beside_it() {
    let mut scene = Scene::set(Setting::default(), &[person("+213555000001")]).await;
    let start: DateTime<Utc> = "2026-12-01T08:00:00Z".parse().unwrap();
    scene.store.clock = Clock::manual(start - TimeDelta::hours(1));
    let (store, workspace_id) = (&scene.store, scene.workspace_id);
    launch(store, workspace_id, CAMPAIGN, Launch { at: Some(start), ..Launch::default() }).await.unwrap();
    store.clock.advance_us(TimeDelta::hours(3).num_microseconds().unwrap());
    expand::due(store).await.unwrap();
    let refused = resend(store, workspace_id, CAMPAIGN, None, &["failed".parse().unwrap()]).await.unwrap_err();
    assert!(refused.to_string().contains("has not started yet"), "{refused}");
    let refused = launch(store, workspace_id, CAMPAIGN, Launch::default()).await.unwrap_err().to_string();
    assert!(refused.contains("its time was over") && refused.contains("fanfare campaign resume spring"), "{refused}");
}

/// A check of a large list takes a while.
#[tokio::test]
async fn a_rate_that_is_set_while_a_launch_checks_its_list_holds_for_its_run() {
    for (before, after) in [(None, Some("50/s")), (Some("50/s"), None)] {
        let scene = Scene::set(Setting::default(), &[person("+213555000001")]).await;
        let (store, workspace_id) = (&scene.store, scene.workspace_id);
        let cap = |rate: Option<&str>| rate.map(|rate| rate.parse().unwrap());
        let mut c = store.pool.acquire().await.unwrap();
        campaigns::set_rate(&mut c, workspace_id, &scene.campaign, cap(before)).await.unwrap();
        drop(c);
        let mut edit = store.pool.begin().await.unwrap();
        campaigns::lock(&mut edit, workspace_id, scene.campaign.campaign_id).await.unwrap();
        campaigns::set_rate(&mut edit, workspace_id, &scene.campaign, cap(after)).await.unwrap();
        let edited = async {
            let waiting =
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
            while scene.number(waiting).await == 0 {
                tokio::task::yield_now().await;
            }
            edit.commit().await.unwrap();
        };
        let (launched, ()) = tokio::join!(launch(store, workspace_id, CAMPAIGN, Launch::default()), edited);
        launched.unwrap();
        let paced = (
            scene.number("select count(*) from run_pace").await,
            scene.number("select count(*) from flow where paced").await,
        );
        let expected = i64::from(after.is_some());
        assert_eq!(paced, (expected, expected), "{before:?}, then {after:?}");
    }
}

#[tokio::test]
async fn a_new_run_joins_the_others_of_its_account_level() {
    let scene = Scene::set(Setting::default(), &[person("+213555000001")]).await;
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    scene.sql("update flow set vtime = 777").await;
    scene.sql("insert into campaign select workspace_id, 5, 'second', template_id, list_id, 3, 1, 1, null, now(), 1 from campaign;
         insert into campaign_account select workspace_id, 5, 0, account_id, null, null from campaign_account").await;
    launch(&scene.store, scene.workspace_id, "second", Launch::default()).await.unwrap();
    assert_eq!(scene.number("select vtime from flow where weight = 3").await, 777);
    // Nor does it get ahead by having been paused.
    control::pause(&scene.store, scene.workspace_id, "second").await.unwrap();
    scene.sql("update flow set vtime = 9999 where runnable").await;
    control::resume(&scene.store, scene.workspace_id, "second").await.unwrap();
    assert_eq!(scene.number("select vtime from flow where weight = 3").await, 9999);
}
