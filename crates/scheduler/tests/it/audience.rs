//! Whom a campaign of several lists, an expression and rules reaches: the plan and the frozen audience say the
//! same, and every contact is in one of their numbers.

use std::collections::BTreeSet;

use fanfare_domain::segment::Segment;
use fanfare_domain::state::{Category, Consent};
use fanfare_scheduler::expand::{Expanded, expand_next};
use fanfare_scheduler::launch::{Launch, launch};
use fanfare_scheduler::plan::{Excluded, plan};
use fanfare_store::campaigns::{NewCampaign, Through};
use fanfare_store::workspaces::{Cap, Rules};
use fanfare_store::{Error, campaigns, workspaces};

use crate::scene::{Person, Scene, Setting, body, person};

/// A scene with lists that overlap: `people` has contacts 0 to 19, `more` 10 to 29, `stop` 5 and 25.
async fn lists() -> Scene {
    let people: Vec<Person> = Vec::new();
    let scene = Scene::set(Setting::default(), &people).await;
    scene
        .sql(
            "insert into list select 1, l.list_id + n, m.name, now() from list l, (values (1, 'more'), (2, 'stop')) m (n, name);
             insert into contact (workspace_id, list_id, import_id, row_no, address, name, attributes, consent)
             select 1, l.list_id, 1, i, '+2135550000' || lpad(i::text, 2, '0'), l.name || i,
                    jsonb_build_object('city', case when i % 4 = 0 then 'Oran' else 'Blida' end), (i % 3 = 0)::int
             from list l, generate_series(0, 29) i
             where l.name = 'people' and i < 20 or l.name = 'more' and i >= 10 or l.name = 'stop' and i in (5, 25);
             insert into suppression values (1, '+213555000001', 2, 'test', now())",
        )
        .await;
    scene
}

async fn create(scene: &Scene, name: &str, segment: Option<&str>, category: Category) -> Result<(), Error> {
    let segment: Option<Segment> = segment.map(|text| text.parse().unwrap());
    let through = [Through::account("demo")];
    let new = NewCampaign {
        more_lists: &["more".to_owned()],
        minus: &["stop".to_owned()],
        audience: segment.as_ref(),
        category,
        ..NewCampaign::of(name, "hello", "people", &through)
    };
    campaigns::create(&scene.store, scene.workspace_id, new).await.map(drop)
}

/// Launches the campaign and gives the last two digits of whom it is frozen for.
async fn freeze(scene: &Scene, name: &str) -> BTreeSet<String> {
    let run_id = launch(&scene.store, scene.workspace_id, name, Launch::default()).await.unwrap().run_id;
    while expand_next(&scene.store, scene.workspace_id, run_id).await.unwrap() == Expanded::More {}
    let addresses: Vec<String> = sqlx::query_scalar("select right(address, 2) from recipient where run_id = $1")
        .bind(run_id)
        .fetch_all(&scene.store.pool)
        .await
        .unwrap();
    let set: BTreeSet<String> = addresses.iter().cloned().collect();
    assert_eq!(set.len(), addresses.len(), "an address is written to twice");
    set
}

fn digits(which: impl Fn(u32) -> bool) -> BTreeSet<String> {
    (0..30).filter(|i| which(*i)).map(|i| format!("{i:02}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_less_lists_for_whom_an_expression_holds() {
    let scene = lists().await;
    create(&scene, "c", Some("city = Oran or name starts with people"), Category::Marketing).await.unwrap();
    let expected = digits(|i| (i % 4 == 0 || i < 20) && i != 5 && i != 25 && i != 1);
    let plan = plan(&scene.store, scene.workspace_id, "c", false, |_, _| {}).await.unwrap();
    // Ten are on both lists, and count once, as the contact of the first.
    assert_eq!((plan.audience, plan.recipients), (30, expected.len() as i64));
    assert_eq!(
        plan.excluded,
        Excluded { minus: 2, outside: 30 - 2 - 1 - expected.len() as i64, suppressed: 1, ..Excluded::default() }
    );
    assert_eq!(plan.excluded.sum() + plan.recipients, plan.audience);
    assert_eq!((plan.list.as_str(), plan.minus.as_deref()), ("people, more", Some("stop")));
    assert_eq!(freeze(&scene, "c").await, expected);
    let counted: (i32, i32, i32, i32) = sqlx::query_as("select minus, outside, suppressed, hi from segment")
        .fetch_one(&scene.store.pool)
        .await
        .unwrap();
    assert_eq!(counted, (2, plan.excluded.outside as i32, 1, expected.len() as i32));
    let names = "select count(*) from recipient where params ->> 0 like 'more%'";
    assert_eq!(scene.number(names).await, digits(|i| i >= 20 && i % 4 == 0).len() as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_expression_names_must_exist_at_creation_and_at_the_plan() {
    let scene = lists().await;
    for (segment, expected) in [("ctiy = Oran", "did you mean city?"), ("sent in c", "no campaign \"c\"")] {
        let e = create(&scene, "c", Some(segment), Category::Marketing).await.unwrap_err();
        assert!(e.to_string().contains(expected), "{e}");
    }
    assert_eq!(scene.number("select count(*) from campaign where name = 'c'").await, 0);
    create(&scene, "c", Some("city = Oran"), Category::Marketing).await.unwrap();
    scene.sql("update contact set attributes = null").await;
    let plan = plan(&scene.store, scene.workspace_id, "c", false, |_, _| {}).await.unwrap();
    assert!(plan.refusals[0].problem.contains("no attribute \"city\""), "{:?}", plan.refusals);
    let through = [Through::account("demo")];
    let twice = NewCampaign { minus: &["people".to_owned()], ..NewCampaign::of("d", "hello", "people", &through) };
    let e = campaigns::create(&scene.store, scene.workspace_id, twice).await.unwrap_err();
    assert!(e.to_string().contains("\"people\" is named twice"), "{e}");
}

async fn set(scene: &Scene, consent: Consent, cap: Option<Cap>) {
    let mut c = scene.store.pool.acquire().await.unwrap();
    workspaces::set_rules(&mut c, scene.workspace_id, Rules { consent, cap, review: false }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn marketing_goes_to_those_who_opted_in_where_the_workspace_says_so() {
    let scene = lists().await;
    for (name, category) in [("sale", Category::Marketing), ("bill", Category::Transactional)] {
        create(&scene, name, None, category).await.unwrap();
    }
    set(&scene, Consent::Required, None).await;
    let written = |i: u32| i != 5 && i != 25 && i != 1;
    let plan = plan(&scene.store, scene.workspace_id, "sale", false, |_, _| {}).await.unwrap();
    let opted_in = digits(|i| written(i) && i % 3 == 0);
    assert_eq!(plan.recipients, opted_in.len() as i64);
    assert_eq!(plan.excluded.no_consent, digits(|i| written(i) && i % 3 != 0).len() as i64);
    assert!(plan.warnings.iter().any(|w| w.problem.contains("have not opted in")), "{:?}", plan.warnings);
    assert_eq!(freeze(&scene, "sale").await, opted_in);
    assert_eq!(freeze(&scene, "bill").await, digits(written), "what is no marketing needs no consent");
}

/// Two campaigns whose audiences are frozen at the same time, by two schedulers: nobody gets one more than the
/// cap lets them have.
#[tokio::test(flavor = "multi_thread")]
async fn a_cap_by_contact_holds_across_campaigns_that_start_at_once() {
    let scene =
        Scene::set(Setting { variants: vec![body("", "Hello")], ..Setting::default() }, &[person("x@y.z")]).await;
    scene.add_many(20_000).await;
    let through = [Through::account("demo")];
    set(&scene, Consent::Assumed, Some(Cap { messages: 2, hours: 24 })).await;
    let mut runs = Vec::new();
    for name in ["a", "b", "c", "d"] {
        campaigns::create(&scene.store, scene.workspace_id, NewCampaign::of(name, "hello", "people", &through))
            .await
            .unwrap();
        runs.push(launch(&scene.store, scene.workspace_id, name, Launch::default()).await.unwrap().run_id);
    }
    let expand = |run_id| {
        let (store, workspace_id) = (scene.store.clone(), scene.workspace_id);
        tokio::spawn(async move { while expand_next(&store, workspace_id, run_id).await.unwrap() == Expanded::More {} })
    };
    for task in runs.into_iter().map(expand).collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(scene.number("select count(*) from recipient").await, 40_000);
    let most = "select max(n) from (select count(*) as n from recipient group by address) a";
    assert_eq!(scene.number(most).await, 2);
    assert_eq!(scene.number("select sum(capped) from segment").await, 40_000);
}
