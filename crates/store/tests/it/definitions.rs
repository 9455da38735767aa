//! Accounts, templates and campaigns: what is kept of them, and which names are refused.

use std::collections::BTreeMap;

use fanfare_domain::cap::Cap;
use fanfare_domain::content::Content;
use fanfare_domain::message::Channel;
use fanfare_domain::price::Prices;
use fanfare_domain::state::{OnMissing, OnUnknown};
use fanfare_domain::template::{Template, Text, Variant};
use fanfare_store::accounts::{Account, Limits, NewAccount};
use fanfare_store::campaigns::{NewCampaign, Through};
use fanfare_store::{Error, Result, Store, accounts, campaigns, lists, prices, templates, workspaces};
use fanfare_testdb::TestDb;
use serde_json::json;

const WORKSPACE: i32 = 1;

async fn database() -> TestDb {
    let db = TestDb::new().await;
    let mut c = db.store.pool.acquire().await.unwrap();
    assert_eq!(workspaces::ensure(&mut c, "default", db.store.clock.now()).await.unwrap(), WORKSPACE);
    db
}

async fn add(store: &Store, name: &str) -> Result<i64> {
    let new = NewAccount {
        name,
        kind: "http",
        settings: &json!({"url": "http://127.0.0.1:1/"}),
        secret: Some("s3cret"),
        sender: Some("+213555000000"),
        idempotent: true,
        looks_up: false,
        correlates: false,
        waits_for_echo: false,
        limits: Limits { caps: &["500/s".parse().unwrap(), "10000/d".parse().unwrap()], ..Limits::default() },
        prices: &Prices([(String::new(), 5000)].into()),
    };
    accounts::add(store, WORKSPACE, new).await
}

async fn get(store: &Store, name: &str) -> Account {
    accounts::get(&mut store.pool.acquire().await.unwrap(), WORKSPACE, name).await.unwrap()
}

/// Slot distance, daily cap and epoch of the only account.
async fn pace(store: &Store) -> (i64, i64, i32) {
    sqlx::query_as("select period_us, day_cap, epoch from account_pace").fetch_one(&store.pool).await.unwrap()
}

#[tokio::test]
async fn an_account_keeps_its_limits_prices_and_secret() {
    let db = database().await;
    let store = &db.store;
    let id = add(store, "demo").await.unwrap();
    let cap: Cap = "500/s".parse().unwrap();
    assert_eq!(pace(store).await, (cap.period_us(), 10_000, 0));
    let error = add(store, "demo").await.unwrap_err();
    assert!(matches!(&error, Error::Conflict(why) if why.contains("exists already")), "{error}");

    let limits = Limits { caps: &["60/min".parse().unwrap()], ..Limits::default() };
    accounts::set_limits(store, WORKSPACE, "demo", limits).await.unwrap();
    let cap: Cap = "60/min".parse().unwrap();
    assert_eq!(pace(store).await, (cap.period_us(), 0, 1));
    assert_eq!(get(store, "demo").await.caps, [cap]);

    let mut c = store.pool.acquire().await.unwrap();
    accounts::set_price(&mut c, WORKSPACE, "demo", "FR", 9000).await.unwrap();
    accounts::set_price(&mut c, WORKSPACE, "demo", "", 6000).await.unwrap();
    let kept = prices::load(&mut c, WORKSPACE, id).await.unwrap();
    assert_eq!((kept.of(Some("FR"), 1), kept.of(Some("DZ"), 1)), (9000, 6000));
    assert!(accounts::set_price(&mut c, WORKSPACE, "demo", "", -1).await.is_err());

    let secret = |account: &Account| accounts::secret(account, &store.seal).unwrap();
    assert_eq!(secret(&get(store, "demo").await).as_deref(), Some("s3cret"));
    let plain: bool = sqlx::query_scalar("select position('s3cret'::bytea in secret) > 0 from account")
        .fetch_one(&store.pool)
        .await
        .unwrap();
    assert!(!plain);
    accounts::set_secret(store, WORKSPACE, "demo", Some("other")).await.unwrap();
    assert_eq!(secret(&get(store, "demo").await).as_deref(), Some("other"));
    accounts::set_secret(store, WORKSPACE, "demo", None).await.unwrap();
    assert_eq!(secret(&get(store, "demo").await), None);
}

#[tokio::test]
async fn a_stopped_account_drops_its_slots_and_keeps_the_first_reason() {
    let db = database().await;
    let store = &db.store;
    let id = add(store, "demo").await.unwrap();
    let mut c = store.pool.acquire().await.unwrap();
    accounts::stop(&mut c, WORKSPACE, id, "401").await.unwrap();
    accounts::stop(&mut c, WORKSPACE, id, "403").await.unwrap();
    assert_eq!((get(store, "demo").await.stopped_reason.as_deref(), pace(store).await.2), (Some("401"), 2));
    assert!(accounts::stop(&mut c, WORKSPACE, id + 1, "no such account").await.is_err());
    assert!(accounts::resume(&mut c, WORKSPACE, "demo").await.unwrap());
    assert_eq!(get(store, "demo").await.stopped_reason, None);
}

fn text(language: &str, body: &str) -> Variant {
    let text = Text::Body { subject: None, body: body.to_owned() };
    Variant { language: language.to_owned(), text, defaults: [("x".to_owned(), "y".to_owned())].into() }
}

#[tokio::test]
async fn a_template_keeps_every_version() {
    let db = database().await;
    let store = &db.store;
    let compiled = |channel, variants| Template::compile(channel, variants).unwrap();
    let first = compiled(Channel::Sms, vec![text("en", "Hello {{ x }}"), text("fr", "Bonjour {{ x }}")]);
    let text = Text::Approved { name: "order".to_owned(), params: vec!["{{ name }}".to_owned()] };
    let approved = Variant { language: String::new(), text, defaults: BTreeMap::new() };
    let second = compiled(Channel::Sms, vec![approved.clone()]);
    let head = templates::add(store, WORKSPACE, "hello", &first).await.unwrap();
    assert_eq!((head.version, templates::add(store, WORKSPACE, "hello", &second).await.unwrap().version), (1, 2));

    let mut c = store.pool.acquire().await.unwrap();
    for (version, expected) in [(1, &first), (2, &second)] {
        let kept = templates::compile(&mut c, WORKSPACE, head.template_id, version).await.unwrap();
        assert!(kept.variants().eq(expected.variants()), "version {version}");
    }
    let kept = templates::compile(&mut c, WORKSPACE, head.template_id, 1).await.unwrap();
    let said = Content::Text { subject: None, body: "Bonjour y".to_owned() };
    assert_eq!(kept.render(kept.pick(Some("fr")), &[json!(null)]), Ok(said));

    let other = compiled(Channel::Whatsapp, vec![approved]);
    let error = templates::add(store, WORKSPACE, "hello", &other).await.unwrap_err();
    assert!(matches!(&error, Error::Conflict(why) if why.contains("is for sms")), "{error}");
    assert_eq!(templates::get(&mut c, WORKSPACE, "hello").await.unwrap().version, 2);
}

#[tokio::test]
async fn a_campaign_names_things_that_exist() {
    let db = database().await;
    let store = &db.store;
    add(store, "demo").await.unwrap();
    let template = Template::compile(Channel::Sms, vec![text("", "Hello")]).unwrap();
    templates::add(store, WORKSPACE, "hello", &template).await.unwrap();
    let mut c = store.pool.acquire().await.unwrap();
    lists::ensure(&mut c, store, WORKSPACE, "people").await.unwrap();
    let through = [Through::account("demo")];
    let new = NewCampaign {
        weight: 7,
        on_missing: OnMissing::Skip,
        on_unknown: OnUnknown::Resend,
        expires_after_s: Some(60),
        ..NewCampaign::of("spring", "hello", "people", &through)
    };
    for (wrong, what) in [
        (NewCampaign { template: "helo", ..new }, "no template \"helo\" in this workspace; did you mean hello?"),
        (NewCampaign { list: "peple", ..new }, "no list \"peple\" in this workspace; did you mean people?"),
        (
            NewCampaign { accounts: &[Through::account("dem")], ..new },
            "no account \"dem\" in this workspace; did you mean demo?",
        ),
    ] {
        assert_eq!(campaigns::create(store, WORKSPACE, wrong).await.unwrap_err().to_string(), what);
    }
    let approved = || Variant {
        language: String::new(),
        text: Text::Approved { name: "spring".into(), params: vec![] },
        defaults: [].into(),
    };
    for (name, channel) in [("approved", Channel::Sms), ("abroad", Channel::Whatsapp)] {
        templates::add(store, WORKSPACE, name, &Template::compile(channel, vec![approved()]).unwrap()).await.unwrap();
    }
    for (wrong, what) in [
        ("abroad", "fallback \"abroad\" is for whatsapp, and template \"hello\" for sms: give one for sms"),
        ("hello", "fallback \"hello\" says words of its own"),
        ("aproved", "no template \"aproved\" in this workspace; did you mean approved"),
    ] {
        let new = NewCampaign { fallback: Some(wrong), ..new };
        let error = campaigns::create(store, WORKSPACE, new).await.unwrap_err().to_string();
        assert!(error.starts_with(what), "{error}");
    }
    let fallback = NewCampaign { name: "summer", fallback: Some("approved"), ..new };
    let fallback = campaigns::create(store, WORKSPACE, fallback).await.unwrap().fallback.unwrap();
    assert_eq!((fallback.name.as_str(), fallback.version), ("approved", 1));
    let made = campaigns::create(store, WORKSPACE, new).await.unwrap();
    assert_eq!((made.channel, made.weight, made.on_missing), (Channel::Sms, 7, OnMissing::Skip));
    assert_eq!((made.on_unknown, made.expires_after_s), (OnUnknown::Resend, Some(60)));
    let error = campaigns::create(store, WORKSPACE, new).await.unwrap_err();
    assert!(matches!(&error, Error::Conflict(why) if why.contains("exists already")), "{error}");
    let error = campaigns::get(&mut c, WORKSPACE, "sprin").await.unwrap_err().to_string();
    assert!(error.ends_with("did you mean spring?"), "{error}");
    assert_eq!(campaigns::list(&mut c, WORKSPACE).await.unwrap().len(), 2);
}
