//! What a plan says of the 24-hour window, and what a launch freezes for it.

use fanfare_domain::message::Channel;
use fanfare_domain::state::OnMissing;
use fanfare_domain::template::{Template, Text, Variant};
use fanfare_scheduler::launch::{Launch, launch};
use fanfare_scheduler::plan::{MissingVariable, Plan};
use fanfare_scheduler::resend::resend;
use fanfare_scheduler::rest;
use fanfare_scheduler::window::WindowLine;
use fanfare_store::templates;
use serde_json::json;

use crate::scene::{CAMPAIGN, Person, Scene, Setting, approved, body, person};

/// Four people: one wrote an hour ago, one in the last minute of a window, one the day before, one never.
async fn scene(setting: Setting) -> Scene {
    let people = [
        Person { name: Some("Ali"), language: Some("fr-ca"), ..person("+213555000001") },
        Person { name: Some("Lina"), ..person("+213555000002") },
        Person { name: Some("Omar"), attributes: Some(json!({ "Code": "X1" })), ..person("+213555000003") },
        Person {
            name: Some("Sami"),
            language: Some("fr"),
            attributes: Some(json!({ "Code": "X2" })),
            ..person("+213555000004")
        },
    ];
    let scene = Scene::set(Setting { channel: Channel::Whatsapp, ..setting }, &people).await;
    scene.sql("update account set kind = 'meta'").await;
    for (address, ago) in [("1", "1 hour"), ("2", "23 hours 59 minutes 30 seconds"), ("3", "25 hours")] {
        let sql = "insert into conversation select workspace_id, account_id";
        scene.sql(format!("{sql}, '+21355500000{address}', now() - interval '{ago}' from account")).await;
    }
    // What another account heard opens no window here.
    scene
        .sql("insert into conversation select workspace_id, account_id + 1, '+213555000004', now() from account")
        .await;
    scene
}

fn said(problems: &[fanfare_scheduler::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn window(plan: &Plan) -> Option<(i64, i64, i64)> {
    plan.window.map(|WindowLine { open, fallback, refused }| (open, fallback, refused))
}

#[tokio::test]
async fn a_rest_and_a_resend_fall_back_on_what_the_first_part_did() {
    let scene = scene(Setting { fallback: vec![approved("en", "{{ name }}")], ..Setting::default() }).await;
    let (store, workspace_id) = (&scene.store, scene.workspace_id);
    let first = launch(store, workspace_id, CAMPAIGN, Launch::default()).await.unwrap().run_id;
    scene
        .sql(
            "insert into first_part (workspace_id, campaign_id, ppm, rest_after_s)
               select workspace_id, campaign_id, 100000, 0 from campaign;
             update run set part_from = 0, part_to = 1, state = 5, finished_at = now(), expanded_at = now();
             delete from flow; delete from expansion",
        )
        .await;
    // Nobody has looked at these words, and they need a value that the first part had none of.
    let other = Template::compile(Channel::Whatsapp, vec![approved("en", "{{ code }}")]).unwrap();
    templates::add(store, workspace_id, "approved", &other).await.unwrap();
    rest::begin_due(store).await.unwrap();
    resend(store, workspace_id, CAMPAIGN, Some(first), &["failed".parse().unwrap()]).await.unwrap();
    let frozen: Vec<(i16, i32, Vec<String>)> =
        sqlx::query_as("select kind, fallback_version, variables from run order by kind")
            .fetch_all(&store.pool)
            .await
            .unwrap();
    assert_eq!(frozen, [1, 4, 5].map(|kind| (kind, 1, vec!["name".to_owned()])));
    scene.expand_all().await;
    assert_eq!(scene.number("select count(*) from recipient where params = '[\"Ali\"]'").await, 1);
}

#[tokio::test]
async fn a_plan_counts_who_may_be_sent_words_of_our_own() {
    let scene = scene(Setting {
        variants: vec![body("", "Hello {{ name }}"), approved("fr", "{{ name }}")],
        ..Setting::default()
    })
    .await;
    let plan = scene.plan().await;
    // The two who read French get what is approved anyway.
    assert_eq!((plan.recipients, window(&plan), said(&plan.refusals)), (4, Some((0, 0, 2)), String::new()));
    assert!(said(&plan.warnings).contains("2 recipients have not written to account \"demo\" within 24 hours"));
    scene.sql("update account set kind = 'one_system'").await;
    let plan = scene.plan().await;
    assert_eq!((window(&plan), said(&plan.warnings).contains("24 hours")), (None, false), "it knows no window");
}

#[tokio::test]
async fn the_fallback_is_frozen_with_its_version_and_what_it_needs() {
    let variants = vec![body("", "Hello {{ name }}")];
    let fallback = vec![approved("en", "{{ code | default('none') }}"), approved("fr", "{{ name }}")];
    let scene = scene(Setting { variants, fallback, ..Setting::default() }).await;
    let plan = scene.plan().await;
    assert_eq!(
        (window(&plan), plan.fallback.as_deref(), plan.fallback_version),
        (Some((1, 3, 0)), Some("approved"), Some(1))
    );
    assert_eq!((said(&plan.refusals), said(&plan.warnings).contains("24 hours")), (String::new(), false));
    let run = launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    assert_eq!(run.plan.recipients, 4);
    let names: Vec<String> =
        sqlx::query_scalar("select variables from run").fetch_one(&scene.store.pool).await.unwrap();
    assert_eq!(names, ["name", "code", "language"]);
    // A newer version is not this run's.
    let newer = Template::compile(Channel::Whatsapp, vec![approved("", "{{ city }}")]).unwrap();
    templates::add(&scene.store, scene.workspace_id, "approved", &newer).await.unwrap();
    scene.expand_all().await;
    let params: Vec<_> = scene.recipients().await.into_iter().map(|r| r.4.unwrap()).collect();
    assert_eq!(
        params,
        [
            json!(["Ali", null, "fr-ca"]),
            json!(["Lina", null, null]),
            json!(["Omar", "X1", null]),
            json!(["Sami", "X2", "fr"])
        ]
    );
    assert_eq!(scene.number("select fallback_version::bigint from run").await, 1);
}

#[tokio::test]
async fn what_the_fallback_lacks_and_cannot_be_sent_stands_in_the_way() {
    let variants = vec![body("", "Hello {{ name }}")];
    let setting = Setting { variants, fallback: vec![approved("", "{{ code }}")], ..Setting::default() };
    let scene = scene(setting).await;
    let plan = scene.plan().await;
    assert_eq!(plan.missing, [MissingVariable { variable: "code".into(), recipients: 2 }]);
    assert!(said(&plan.refusals).contains("2 recipients lack \"code\""), "{}", said(&plan.refusals));
    scene.sql("update campaign set on_missing = 2").await;
    let plan = scene.plan().await;
    assert_eq!((plan.on_missing, plan.recipients, plan.excluded.missing), (OnMissing::Skip, 2, 2));

    let rich =
        json!({ "type": "template", "name": "form", "buttons": [{ "type": "flow", "index": 0, "flow_token": "t" }] });
    let newer = |text: Text| {
        Template::compile(Channel::Whatsapp, vec![Variant { language: String::new(), text, defaults: [].into() }])
    };
    templates::add(&scene.store, scene.workspace_id, "approved", &newer(Text::Rich(rich)).unwrap()).await.unwrap();
    scene.sql("update account set kind = 'pabbly'").await;
    let refusals = said(&scene.plan().await.refusals);
    assert!(refusals.contains("of kind pabbly does not carry template flow button"), "{refusals}");
    let own = newer(Text::Body { subject: None, body: "Hello".into() }).unwrap();
    templates::add(&scene.store, scene.workspace_id, "approved", &own).await.unwrap();
    let refusals = said(&scene.plan().await.refusals);
    assert!(refusals.contains("fallback \"approved\" says words of its own in version 3"), "{refusals}");
}
