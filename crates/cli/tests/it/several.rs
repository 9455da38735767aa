//! One campaign through several accounts, as a person meets it.

use fanfare_sim::Config;
use serde_json::Value;

use crate::program::{Home, Provider, SECRET, eventually};

fn config() -> Config {
    Config { secret: Some(SECRET.into()), honour_keys: false, ..Config::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_goes_on_through_the_next_account_and_says_so() {
    let (home, first, second) = (Home::new().await, Provider::start(config()), Provider::start(config()));
    home.campaign(&first.handle.url(), 200, &["--cap", "60/d", "--price", "1000"], &[]);
    let url = second.handle.url();
    home.ok(&["account", "add", "b", "--url", &url, "--secret", SECRET, "--price", "3000"]);
    home.ok(&["credits", "topup", "1000000"]);
    let create = ["campaign", "create", "both", "--template", "t", "--list", "l", "--account", "a", "--account", "b"];
    let made = home.json(&[&create[..], &["--in-order", "--sender", "b=Other"]].concat());
    assert_eq!((&made["sharing"], &made["accounts"][1]["sender"]), (&"in_order".into(), &"Other".into()), "{made:#}");
    let plan = home.json(&["campaign", "plan", "both"]);
    let lines = plan["accounts"].as_array().unwrap();
    let messages: Vec<_> = lines.iter().map(|line| line["messages"].as_i64().unwrap()).collect();
    assert_eq!((messages, plan["cost"].as_i64()), (vec![60, 140], Some(60 * 1000 + 140 * 3000)), "{plan:#}");
    assert_eq!(plan["cost_at_most"].as_i64(), Some(600_000), "{plan:#}");
    assert!(home.ok(&["campaign", "plan", "both"]).contains("a 60, b from Other 140, in this order"));
    home.ok(&["campaign", "launch", "both"]);
    let _up = home.role(&["up"]);
    let done = home.json(&["campaign", "watch", "both"]);
    assert_eq!((&done["sent"], &done["cost"]), (&200.into(), &480_000.into()), "{done:#}");
    let status = home.json(&["campaign", "status", "both"]);
    let sent: Vec<&Value> = status["accounts"].as_array().unwrap().iter().map(|a| &a["sent"]).collect();
    assert_eq!(sent, [60, 140], "{status:#}");
    assert!(home.ok(&["campaign", "status", "both"]).contains("a 60, b 140"));
    assert_eq!((first.handle.stats().accepted, second.handle.stats().accepted), (60, 140));
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_by_the_day_are_set_shown_and_taken_away() {
    let (home, provider) = (Home::new().await, Provider::start(config()));
    home.campaign(&provider.handle.url(), 50, &["--recipients-per-day", "30", "--warm-up", "20x2"], &[]);
    let shown = home.json(&["account", "show", "a"]);
    assert_eq!((&shown["recipients_per_day"], &shown["warm_up"]), (&30.into(), &"20x2".into()), "{shown:#}");
    let plan = home.json(&["campaign", "plan", "c"]);
    assert_eq!(plan["seconds"].as_f64(), Some(86_400.0), "20 on the first day, 30 on the second: {plan:#}");
    home.ok(&["campaign", "launch", "c"]);
    let _up = home.role(&["up"]);
    eventually("the first day is over", || home.status()["sent"] == 20 && home.status()["stuck"].is_string());
    assert!(home.status()["stuck"].as_str().unwrap().contains("in 24 hours"));
    home.ok(&["account", "set", "a", "--warm-up", "none"]);
    eventually("the tier is full", || home.status()["sent"] == 30);
    let shown = home.json(&["account", "set", "a", "--recipients-per-day", "none"]);
    assert_eq!((&shown["recipients_per_day"], &shown["warm_up"]), (&Value::Null, &Value::Null), "{shown:#}");
    assert_eq!(home.json(&["campaign", "watch", "c"])["sent"], 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_together_is_bad_usage() {
    let home = Home::embedded();
    let create = ["campaign", "create", "c", "--template", "t", "--list", "l", "--account", "a", "--account", "b"];
    let cases: [(&[&str], &str); 8] = [
        (&["--share", "a=3"], "account \"b\" has no share"),
        (&["--share", "c=3"], "--account \"c\" is not given"),
        (&["--share", "a=0", "--share", "b=1"], "N from 1 to 1000"),
        (&["--share", "a"], "ACCOUNT=N"),
        (&["--share", "a=1", "--share", "b=1", "--share", "a=2"], "two shares"),
        (&["--share", "a=1", "--share", "b=1", "--in-order"], "cannot be used with"),
        (&["--sender", "a"], "ACCOUNT=ADDRESS"),
        (&["--sender", "x=1"], "--account \"x\" is not given"),
    ];
    for (more, expected) in cases {
        let said = home.fails(2, &[&create, more].concat());
        assert!(said.contains(expected), "{more:?}: {said}");
    }
    for (limit, expected) in [(["--warm-up", "500"], "500x1.5"), (["--recipients-per-day", "0"], "zero")] {
        let said = home.fails(2, &[&["account", "add", "a", "--url", "http://127.0.0.1:9/"], &limit[..]].concat());
        assert!(said.contains(expected), "{limit:?}: {said}");
    }
    assert!(!home.path("postgres").exists(), "bad usage touched the database");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_an_account_cannot_send_from_is_bad_usage() {
    let home = Home::new().await;
    let token = ["--secret", SECRET];
    let add = |more: &[&'static str]| [&["account", "add"], more, &token[..]].concat();
    for (account, expected) in [
        (
            &["m", "--kind", "meta", "--set", "phone_number_id=1", "--sender", "+15551234567"][..],
            "has no sender beside",
        ),
        (
            &["s", "--kind", "smtp", "--url", "smtp://127.0.0.1:1", "--set", "tls=none", "--sender", "shop"],
            "no e-mail address",
        ),
    ] {
        let said = home.fails(2, &add(account));
        assert!(said.contains(expected), "{said}");
    }
    let twilio = ["t", "--kind", "twilio", "--set", "account_sid=AC5", "--set", "messaging_service_sid=MG1"];
    home.ok(&add(&twilio));
    home.ok(&["import", &home.file("c.csv", "phone\n0770000001\n"), "--list", "l", "--country", "DZ"]);
    home.ok(&["template", "add", "t", "--channel", "sms", "--body", "Hello"]);
    let create = ["campaign", "create", "c", "--template", "t", "--list", "l", "--account", "t"];
    let said = home.fails(2, &[&create[..], &["--sender", "t=+15551234567"]].concat());
    assert!(said.contains("messaging_service_sid chooses the sender"), "{said}");
    home.ok(&create);
}
