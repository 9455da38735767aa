//! A provider's templates in a plan: what it would refuse is refused before the launch.

use fanfare_domain::content::Listed;
use fanfare_domain::message::Channel;
use fanfare_domain::template::{Text, Variant};
use fanfare_scheduler::plan::Plan;
use fanfare_store::account_templates;
use serde_json::{Value, json};

use crate::scene::{Scene, Setting, person};

/// A campaign whose variants name these templates, through an account of this kind.
async fn scene(kind: &str, variants: &[(&str, &str, &[&str])]) -> Scene {
    let variant = |(language, name, params): &(&str, &str, &[&str])| Variant {
        language: (*language).to_owned(),
        text: Text::Approved { name: (*name).to_owned(), params: params.iter().map(|p| (*p).to_owned()).collect() },
        defaults: Default::default(),
    };
    let variants = variants.iter().map(variant).collect();
    let setting = Setting { channel: Channel::Whatsapp, variants, ..Setting::default() };
    let scene = Scene::set(setting, &[person("+213555000001")]).await;
    scene.sql(format!("update account set kind = '{kind}'")).await;
    scene
}

fn listed(name: &str, language: &str, status: &str, header: Value, params: &[&str]) -> Listed {
    let shape = json!({ "header": header, "params": params, "buttons": [], "offer": false, "cards": [] });
    let (title, category) = (None, "marketing".to_owned());
    let (name, language, status) = (name.to_owned(), language.to_owned(), status.to_owned());
    Listed { name, title, language, status, category, shape: serde_json::from_value(shape).unwrap() }
}

async fn keep(scene: &Scene, all: &[Listed]) {
    account_templates::replace(&scene.store, scene.workspace_id, scene.campaign.accounts[0].account_id, all)
        .await
        .unwrap();
}

/// The refusals and the notes of a plan, a line each.
fn said(plan: &Plan) -> (String, String) {
    let lines = |all: &[fanfare_scheduler::Problem]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    (lines(&plan.refusals), lines(&plan.warnings))
}

#[tokio::test]
async fn without_a_list_a_plan_says_so_and_refuses_nothing() {
    let scene = scene("meta", &[("en", "spring_sale", &["x"])]).await;
    let (refused, noted) = said(&scene.plan().await);
    assert_eq!(refused, "");
    assert!(noted.contains("were never listed") && noted.contains("fanfare account templates demo"), "{noted}");
    // An account that has none is another matter than one that was never asked.
    keep(&scene, &[]).await;
    let (refused, noted) = said(&scene.plan().await);
    assert!(refused.contains("has no template \"spring_sale\"") && noted.is_empty(), "{refused} {noted}");
}

#[tokio::test]
async fn a_template_that_names_no_language_is_refused_where_one_is_needed() {
    let scene = scene("meta", &[("", "spring_sale", &["x"])]).await;
    let (refused, _) = said(&scene.plan().await);
    assert!(refused.contains("in a language only") && refused.contains("en=spring_sale"), "{refused}");
    scene.sql("update account set kind = 'grow'").await;
    assert_eq!(said(&scene.plan().await).0, "");
}

#[tokio::test]
async fn what_the_provider_would_refuse_is_refused_with_what_it_takes() {
    let all = || {
        [
            listed("spring_sale", "en_US", "approved", Value::Null, &["1", "2"]),
            listed("spring_sale", "pt_BR", "approved", Value::Null, &["1", "2"]),
            listed("old_offer", "en_US", "paused", Value::Null, &[]),
            listed("picture", "en_US", "approved", json!("image"), &[]),
        ]
    };
    let cases: [(&str, &str, &[&str], &[&str]); 7] = [
        ("en-us", "spring_sale", &["a", "b"], &[]),
        ("pt-br", "spring_sale", &["a", "b"], &[]),
        ("en-us", "spring_sal", &[], &["has no template \"spring_sal\"", "did you mean spring_sale?"]),
        (
            "fr",
            "spring_sale",
            &["a", "b"],
            &["exists in en_US, pt_BR, not in fr", "--provider-template en-us=spring_sale"],
        ),
        ("", "spring_sale", &["a", "b"], &["in a language only, and none is named"]),
        ("en-us", "spring_sale", &["a"], &["body takes 2 parameters, {{1}} {{2}}; 1 are given"]),
        ("en-us", "picture", &[], &["header takes a value of type image, and none is given"]),
    ];
    for (language, name, params, expected) in cases {
        let scene = scene("meta", &[(language, name, params)]).await;
        keep(&scene, &all()).await;
        let (refused, _) = said(&scene.plan().await);
        assert_eq!(refused.is_empty(), expected.is_empty(), "{language} {name}: {refused}");
        for words in expected {
            assert!(refused.contains(words), "{words} in {refused}");
        }
    }
    let scene = scene("meta", &[("en-us", "old_offer", &[])]).await;
    keep(&scene, &all()).await;
    let (refused, _) = said(&scene.plan().await);
    assert!(refused.contains("\"old_offer\" of account \"demo\" is paused"), "{refused}");
    // The provider has taken it up again, as the next list shows.
    keep(&scene, &[listed("old_offer", "en_US", "approved", Value::Null, &[])]).await;
    assert_eq!(said(&scene.plan().await).0, "");
}

#[tokio::test]
async fn each_variant_is_held_against_the_list_as_its_kind_names_templates() {
    let scene = scene("one_confirmed", &[("", "12", &["name={{ name }}"]), ("fr", "14", &["nom={{ name }}"])]).await;
    scene.sql("update contact set name = 'Ali'").await;
    let mut welcome = listed("12", "English", "", Value::Null, &["name"]);
    welcome.title = Some("Welcome".to_owned());
    keep(&scene, &[welcome, listed("14", "Français", "", Value::Null, &["name"])]).await;
    let (refused, _) = said(&scene.plan().await);
    assert_eq!(refused.lines().count(), 1, "{refused}");
    assert!(refused.contains("template \"14\"") && refused.contains("name is missing"), "{refused}");
}

#[tokio::test]
async fn values_too_long_for_an_approved_body_are_named_by_their_row() {
    for (kind, refuses) in [("meta", true), ("one_system", false)] {
        let scene = scene(kind, &[("", "12", &["name={{ name }}"])]).await;
        scene.sql("update contact set name = repeat('x', 1025)").await;
        let (refused, _) = said(&scene.plan().await);
        let expected = "row 0: params: have 1030 characters together: expected at most 1024";
        assert_eq!(refused.contains(expected), refuses, "{kind}: {refused}");
    }
}
