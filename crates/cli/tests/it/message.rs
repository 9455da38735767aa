//! Messages that come one by one: sent at once, once for each key, refused before anything is written.

use chrono::TimeDelta;
use fanfare_sim::Config;
use serde_json::Value;

use crate::hours::clock;
use crate::program::{Home, Provider, SECRET, eventually};

const TO: &str = "+213770123456";

/// An installation with an account, a template and credit; nothing runs.
async fn home() -> (Home, Provider) {
    let (home, provider) =
        (Home::new().await, Provider::start(Config { secret: Some(SECRET.to_owned()), ..Config::default() }));
    let url = provider.handle.url();
    home.ok(&["account", "add", "a", "--url", &url, "--secret", SECRET, "--price", "5000", "--idempotent", "true"]);
    home.ok(&["template", "add", "t", "--channel", "sms", "--body", "Hello {{ name }}, order {{ order }}"]);
    home.ok(&["credits", "topup", "1000000"]);
    (home, provider)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_answered_with_its_result_and_its_key_again_with_the_same() {
    let (home, provider) = home().await;
    let code =
        ["message", "send", "--account", "a", "--to", TO, "--text", "Your code is 482910", "--key", "verify-9912"];
    let accepted = home.json(&code);
    assert_eq!((&accepted["state"], &accepted["repeated"]), (&"queued".into(), &false.into()), "no worker yet");
    let _up = home.role(&["up"]);
    let again = home.json(&code);
    assert_eq!((&again["id"], &again["state"], &again["repeated"]), (&accepted["id"], &"sent".into(), &true.into()));
    let id = again["id"].as_str().unwrap();
    let shown = home.json(&["message", "show", id]);
    assert_eq!((&shown["state"], &shown["address"], &shown["cost"]), (&"sent".into(), &TO.into(), &5000.into()));
    assert!(home.ok(&["message", "show", id]).contains(TO));
    for (args, expected) in [
        (["--to", TO, "--text", "Your code is 111111"], "other content"),
        (["--to", "+213770123457", "--text", "Your code is 482910"], "another recipient"),
    ] {
        let args = [&["message", "send", "--account", "a", "--key", "verify-9912"][..], &args[..]].concat();
        let said = home.fails(1, &args);
        assert!(said.contains(expected) && said.contains(id), "{said}");
    }
    let said = home.ok(&[
        "message",
        "send",
        "--account",
        "a",
        "--to",
        TO,
        "--template",
        "t",
        "--param",
        "name=Ali",
        "--param",
        "order=17",
    ]);
    assert!(said.contains("sent, as "), "{said}");
    assert_eq!(provider.handle.stats().accepted_messages, 2);
    for listing in ["campaign", "template"] {
        let all = home.json(&[listing, "ls"]).to_string();
        assert!(!all.contains("\" "), "what nobody has named is shown to nobody: {all}");
    }
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_triggered_campaign_is_live_until_it_is_stopped() {
    let (home, provider) = home().await;
    let made = home.json(&["campaign", "create", "welcome", "--triggered", "--template", "t", "--account", "a"]);
    assert_eq!(made["kind"], "triggered");
    let _up = home.role(&["up"]);
    let enrol = |key: &str| {
        let args =
            ["campaign", "enrol", "welcome", "--to", TO, "--params", r#"{"name":"Ali","order":17}"#, "--key", key];
        home.json(&args)
    };
    let first = enrol("order-17");
    assert_eq!((&first["state"], &first["campaign"]), (&"sent".into(), &"welcome".into()));
    assert_eq!(enrol("order-17")["id"], first["id"]);
    assert_ne!(enrol("order-18")["id"], first["id"]);
    let status = home.json(&["campaign", "status", "welcome"]);
    assert_eq!((&status["state"], &status["total"], &status["sent"]), (&"running".into(), &2.into(), &2.into()));
    let listed = home.ok(&["campaign", "export", "welcome"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    let said = home.fails(1, &["campaign", "launch", "welcome"]);
    assert!(said.contains("live already"), "{said}");
    home.ok(&["campaign", "stop", "welcome"]);
    let said = home.fails(1, &["campaign", "enrol", "welcome", "--to", TO, "--param", "name=A", "--param", "order=1"]);
    assert!(said.contains("was stopped") && said.contains("campaign launch welcome"), "{said}");
    assert_eq!(enrol("order-17")["repeated"], true, "what was sent is known all the same");
    eventually("the run ends", || home.json(&["campaign", "status", "welcome"])["state"] == "finished");
    home.ok(&["campaign", "launch", "welcome"]);
    assert_eq!(enrol("order-19")["state"], "sent");
    assert_eq!(provider.handle.stats().accepted_messages, 3);
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_refused_before_anything_is_written() {
    let (home, _provider) = home().await;
    home.ok(&["campaign", "create", "welcome", "--triggered", "--template", "t", "--account", "a"]);
    home.ok(&["template", "add", "plain", "--channel", "sms", "--body", "Hello"]);
    home.ok(&["import", &home.file("l.csv", "phone\n+213770000001\n"), "--list", "l"]);
    home.ok(&["campaign", "create", "c", "--template", "plain", "--list", "l", "--account", "a"]);
    home.ok(&["list", "suppress", "+213770999999"]);
    let long = "x".repeat(60_000);
    let send = |more: &[&'static str]| [&["message", "send", "--account", "a"], more].concat();
    let cases: Vec<(Vec<&str>, &str)> = vec![
        (vec!["message", "send", "--account", "b", "--to", TO, "--text", "x"], "did you mean a?"),
        (send(&["--to", TO, "--template", "tt"]), "did you mean t"),
        (send(&["--to", "0770123456", "--text", "x"]), "no country code"),
        (send(&["--to", "amina", "--text", "x"]), "not a phone number"),
        (send(&["--to", "a@", "--text", "x", "--channel", "email"]), "amina@example.org"),
        (send(&["--to", "a@b.dz", "--text", "x"]), "subject"),
        (send(&["--to", TO, "--template", "t", "--param", "name=Ali"]), "--param order="),
        (send(&["--to", "+213770999999", "--text", "x"]), "unsuppress"),
        (send(&["--to", TO, "--text", "x", "--key", " "]), "order-17"),
        (vec!["message", "send", "--account", "a", "--to", TO, "--text", &long], "too long"),
        (vec!["campaign", "enrol", "c", "--to", TO], "--triggered"),
        (vec!["campaign", "enrol", "nobody", "--to", TO], "no campaign"),
        (vec!["campaign", "stop", "c"], "--triggered"),
        (vec!["campaign", "plan", "welcome"], "campaign enrol welcome"),
        (vec!["message", "show", "00000000-0000-0000-0000-000000000000"], "not the id"),
    ];
    for (args, expected) in cases {
        let said = home.fails(1, &args);
        assert!(said.contains(expected), "fanfare {args:?}: {said}");
    }
    for (args, expected) in [
        (send(&["--to", TO]), "--text"),
        (send(&["--to", TO, "--text", "x", "--param", "name"]), "NAME=VALUE"),
        (send(&["--to", TO, "--text", "x", "--params", "[1]"]), "JSON object"),
        (send(&["--to", TO, "--text", "x", "--param", "a=1", "--param", "a=2"]), "given twice"),
        (send(&["--to", TO, "--text", "x", "--wait", "soon"]), "span of time"),
        (vec!["campaign", "create", "d", "--triggered", "--template", "t", "--list", "l", "--account", "a"], "--list"),
    ] {
        let said = home.fails(2, &args);
        assert!(said.contains(expected), "fanfare {args:?}: {said}");
    }
    home.ok(&["account", "set", "a", "--price", "2000000"]);
    let said = home.fails(1, &send(&["--to", TO, "--text", "x"]));
    assert!(said.contains("credits topup"), "{said}");
    let audit = home.json(&["audit"]);
    assert_eq!(audit["ok"], true, "{audit:#}");
    assert!(audit["checks"][0]["detail"].as_str().unwrap().starts_with("0 messages"), "{audit:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_says_what_its_template_says_now_at_the_prices_of_now() {
    let (home, _provider) = home().await;
    let _up = home.role(&["up"]);
    let send = || -> Value {
        home.json(&[
            "message",
            "send",
            "--account",
            "a",
            "--to",
            TO,
            "--template",
            "t",
            "--param",
            "name=A",
            "--param",
            "order=1",
        ])
    };
    let first = send();
    assert_eq!(send()["run"], first["run"], "nothing has changed");
    home.ok(&["template", "add", "t", "--channel", "sms", "--body", "Dear {{ name }}, order {{ order }}"]);
    let newer = send();
    assert_ne!(newer["run"], first["run"]);
    home.ok(&["account", "set", "a", "--price", "7000"]);
    let dearer = send();
    assert_eq!((&newer["cost"], &dearer["cost"]), (&5000.into(), &7000.into()));
    eventually("the runs before it end", || {
        home.json(&["audit"])["ok"] == true
            && home.json(&["message", "show", first["id"].as_str().unwrap()])["state"] == "sent"
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_says_until_when_it_waits_and_is_not_sent_late() {
    let (home, provider) = home().await;
    let _up = home.role(&["up"]);
    // Algeria is an hour ahead of UTC, and it is night there for another hour.
    let quiet = format!("{}-{}", clock(-TimeDelta::hours(1)), clock(TimeDelta::hours(2)));
    let create = ["campaign", "create", "news", "--triggered", "--template", "t", "--account", "a"];
    let night = ["--category", "marketing", "--quiet", &quiet, "--expires-after", "7d"];
    let made = home.json(&[&create[..], &night].concat());
    assert_eq!((&made["times"]["quiet"], &made["expires_after_seconds"]), (&quiet.into(), &604_800.into()));

    // Nobody sits out the wait.
    let enrol = ["campaign", "enrol", "news", "--to", TO, "--param", "name=A", "--param", "order=1", "--wait", "1h"];
    let waits = home.json(&[&enrol[..], &["--key", "one"]].concat());
    assert_eq!((&waits["state"], &waits["opens"]["zone"]), (&"queued".into(), &"Africa/Algiers".into()), "{waits:#}");
    assert!(waits["opens"]["opens_at"].is_string() && waits["expires_at"].is_string(), "{waits:#}");
    let id = waits["id"].as_str().unwrap();
    let said = home.ok(&["message", "show", id]);
    assert!(said.contains("queued; waits for") && said.contains("in Africa/Algiers; expires at"), "{said}");
    let said = home.ok(&[&enrol[..], &["--key", "one", "--expires-after", "1s"]].concat());
    assert!(said.contains("this key was used before") && said.contains("waits for"), "{said}");
    assert_eq!(home.json(&["message", "show", id])["opens"], waits["opens"]);

    let late = home.json(&[&enrol[..], &["--expires-after", "1s"]].concat());
    let late = late["id"].as_str().unwrap();
    eventually("it is too late", || home.json(&["message", "show", late])["state"] == "expired");
    // A code is sent at any hour.
    let code = ["message", "send", "--account", "a", "--to", TO, "--text", "Your code is 1", "--expires-after", "10m"];
    let sent = home.json(&code);
    assert_eq!((&sent["state"], &sent["opens"]), (&"sent".into(), &Value::Null), "{sent:#}");
    assert!(sent["expires_at"].is_string(), "{sent:#}");
    assert_eq!(provider.handle.stats().accepted_messages, 1);

    home.ok(&["campaign", "set", "news", "--quiet", "none"]);
    eventually("what waited is sent", || home.json(&["message", "show", id])["state"] == "sent");
    let shown = home.json(&["message", "show", id]);
    assert_eq!((&shown["opens"], provider.handle.stats().accepted_messages), (&Value::Null, 2));
    home.assert_audit();
}
