//! The life of a campaign as a person leads it: approval, a first part, what follows, and what is refused.

use fanfare_sim::{Config, Control, Faults};
use serde_json::Value;

use crate::program::{Home, Provider, SECRET, eventually};

fn config() -> Config {
    Config { secret: Some(SECRET.into()), ..Config::default() }
}

fn words(value: &Value, key: &str) -> Vec<String> {
    value.as_array().unwrap().iter().map(|v| v[key].as_str().unwrap_or("–").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_launched_as_it_was_approved() {
    let (home, provider) = (Home::new().await, Provider::start(config()));
    home.campaign(&provider.handle.url(), 20, &[], &[]);
    home.ok(&["workspace", "set", "--review", "on"]);
    let said = home.fails(1, &["campaign", "launch", "c"]);
    assert!(said.contains("not approved") && said.contains("fanfare campaign submit c"), "{said}");
    let said = home.fails(1, &["campaign", "approve", "c"]);
    assert!(said.contains("is a draft"), "{said}");
    home.ok(&["campaign", "submit", "c"]);
    home.fails(1, &["campaign", "refuse", "c", "--comment", " "]);
    home.ok(&["campaign", "refuse", "c", "--comment", "say who we are"]);
    let said = home.fails(1, &["campaign", "approve", "c"]);
    assert!(said.contains("was refused"), "{said}");
    home.ok(&["campaign", "submit", "c"]);
    assert_eq!(home.json(&["campaign", "approve", "c"])["says"], "t v1");
    // A new version was never approved.
    home.ok(&["template", "add", "t", "--channel", "sms", "--body", "We are Acme. Hello"]);
    let said = home.fails(1, &["campaign", "launch", "c"]);
    assert!(said.contains("says t v2, and t v1 was approved"), "{said}");
    home.ok(&["campaign", "submit", "c"]);
    home.ok(&["campaign", "approve", "c"]);
    home.ok(&["campaign", "launch", "c"]);
    let _up = home.role(&["up"]);
    home.json(&["campaign", "watch", "c"]);
    let history = home.json(&["campaign", "history", "c"])["transitions"].take();
    let expected = ["draft", "review", "refused", "review", "approved", "review", "approved", "running", "finished"];
    assert_eq!(words(&history, "to"), expected, "{history:#}");
    assert_eq!(history[2]["reason"], "say who we are");
    assert_eq!(history[8]["by"], "scheduler");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_has_a_rate_of_its_own() {
    let (home, provider) = (Home::new().await, Provider::start(config()));
    home.campaign(&provider.handle.url(), 60, &["--cap", "500/s"], &["--rate", "2/s"]);
    let plan = home.json(&["campaign", "plan", "c"]);
    assert_eq!((&plan["rate"], &plan["seconds"]), (&"2/s".into(), &30.0.into()), "{plan:#}");
    assert!(home.ok(&["campaign", "plan", "c"]).contains("at most 2/s"));
    home.ok(&["campaign", "launch", "c"]);
    let said = home.ok(&["campaign", "status", "c"]);
    assert!(said.contains("at most 2/s"), "{said}");
    let _up = home.role(&["up"]);
    provider.wait_accepted(2);
    let said = home.ok(&["campaign", "set", "c", "--rate", "3000/min"]);
    assert!(said.contains("at most 3000/min") && said.contains("at once for the run"), "{said}");
    assert_eq!(home.status()["rate"], "3000/min");
    let none = home.json(&["campaign", "set", "c", "--rate", "none"]);
    assert_eq!((&none["rate"], &none["runs_changed"]), (&Value::Null, &1.into()), "{none:#}");
    assert_eq!(home.json(&["campaign", "watch", "c"])["sent"], 60);
    let history = home.json(&["campaign", "history", "c"])["transitions"].take();
    assert_eq!(words(&history, "reason"), ["–", "–", "rate 3000/min", "rate none", "–"], "{history:#}");
    home.assert_audit();
    home.ok(&["campaign", "create", "hi", "--triggered", "--template", "t", "--account", "a"]);
    let said = home.fails(1, &["campaign", "set", "hi", "--rate", "5/s"]);
    assert!(said.contains("sent at once") && said.contains("--cap"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_goes_first_the_rest_follows_and_a_step_after_them() {
    let (home, provider) = (Home::new().await, Provider::start(config()));
    home.ok(&["template", "add", "b", "--channel", "sms", "--body", "Other words"]);
    home.ok(&["template", "add", "again", "--channel", "sms", "--body", "Did you see?"]);
    let parts = ["--variant", "b=2", "--first", "60", "--hold-if-failed", "50%", "--winner-by", "delivered"];
    home.campaign(&provider.handle.url(), 300, &["--price", "100"], &parts);
    home.ok(&["credits", "topup", "1000000"]);
    let step = ["campaign", "follow-up", "add", "c", "remind", "--template", "again", "--to", "not-delivered"];
    home.ok(&[&step[..], &["--after", "1s"]].concat());
    let plan = home.json(&["campaign", "plan", "c"]);
    assert_eq!(plan["first"]["messages"], 60, "{plan:#}");
    home.ok(&["campaign", "launch", "c"]);
    let _up = home.role(&["up"]);
    eventually("the rest and two reminders are over", || {
        let runs = home.json(&["campaign", "runs", "c"])["runs"].take();
        words(&runs, "kind").len() == 4 && words(&runs, "state").iter().all(|state| state == "finished")
    });
    let runs = home.json(&["campaign", "runs", "c"])["runs"].take();
    let mut kinds = words(&runs, "kind");
    kinds.sort();
    assert_eq!(kinds, ["follow_up", "follow_up", "launch", "rest"], "{runs:#}");
    let of = |kind: &str| {
        let all = runs.as_array().unwrap().iter().filter(|run| run["kind"] == kind);
        all.map(|run| run["total"].as_i64().unwrap()).sum::<i64>()
    };
    // Nothing was reported as delivered: the reminders go to all.
    assert_eq!((of("launch"), of("rest"), of("follow_up")), (60, 240, 300), "{runs:#}");
    let first = runs[0]["run"].as_str().unwrap();
    let report = home.json(&["campaign", "report", "c", "--run", first]);
    assert_eq!((&report["messages"]["forecast"], &report["messages"]["fact"]), (&60.into(), &60.into()), "{report:#}");
    assert_eq!((&report["cost"]["forecast"], &report["cost"]["fact"]), (&6000.into(), &6000.into()), "{report:#}");
    let sent: Vec<i64> = report["variants"].as_array().unwrap().iter().map(|v| v["sent"].as_i64().unwrap()).collect();
    assert!(sent.len() == 2 && sent[0] > 5 && sent[1] > sent[0] && sent[0] + sent[1] == 60, "{report:#}");
    assert!(home.ok(&["campaign", "report", "c", "--run", first]).contains("b v1"));
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn those_whom_it_failed_to_reach_are_sent_it_once_more() {
    let faults = Faults::default().with("recipient=0.3".parse().unwrap()).unwrap();
    let (home, provider) = (Home::new().await, Provider::start(Config { faults, seed: 3, ..config() }));
    home.campaign(&provider.handle.url(), 100, &[], &[]);
    let said = home.fails(1, &["campaign", "resend", "c", "--state", "failed"]);
    assert!(said.contains("was never launched"), "{said}");
    home.ok(&["campaign", "launch", "c"]);
    let _up = home.role(&["up"]);
    let first = home.json(&["campaign", "watch", "c"]);
    let failed = first["failed"].as_i64().unwrap();
    assert!(failed > 10, "seed 3: {first:#}");
    provider.handle.control(Control { faults: Some(Faults::default()), ..Control::default() }).await;
    let resent = home.json(&["campaign", "resend", "c", "--state", "failed,undelivered"]);
    assert_eq!(resent["parent"], first["run"]);
    let second = home.json(&["campaign", "watch", "c"]);
    assert_eq!((second["sent"].as_i64(), second["total"].as_i64()), (Some(failed), Some(failed)), "{second:#}");
    let run = first["run"].as_str().unwrap();
    home.ok(&["campaign", "resend", "c", "--state", "failed", "--run", run]);
    assert_eq!(home.json(&["campaign", "watch", "c"])["total"], 0, "all of them were reached");
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_with_what_to_do() {
    let (home, provider) = (Home::new().await, Provider::start(config()));
    home.campaign(&provider.handle.url(), 5, &[], &[]);
    let create = ["campaign", "create", "x", "--template", "t", "--list", "l", "--account", "a"];
    let step = ["campaign", "follow-up", "add", "c"];
    let step = |more: &[&'static str]| [&step[..], more].concat();
    for (code, args, what) in [
        (2, [&create[..], &["--variant", "b=0"]].concat(), "expected 1 to 1000"),
        (2, [&create[..], &["--variant", "t=2"]].concat(), "name another template to try"),
        (1, [&create[..], &["--variant", "b=1"]].concat(), "no template \"b\""),
        (2, [&create[..], &["--first", "100%"]].concat(), "more than 0 and less than 100"),
        (2, [&create[..], &["--rest-after", "1h"]].concat(), "--first"),
        (2, [&create[..], &["--first", "5%", "--winner-by", "read"]].concat(), "--variant"),
        (1, step(&["s", "--template", "t", "--to", "unread", "--after", "1d", "--of", "s"]), "would follow itself"),
        (1, step(&["s", "--template", "t", "--to", "unread", "--after", "1d", "--of", "z"]), "no step \"z\""),
        (2, step(&["s", "--template", "t", "--to", "opened", "--after", "1d"]), "nothing that may become of a message"),
        (1, vec!["campaign", "set", "c", "--account", "b"], "no account \"b\""),
        (2, vec!["campaign", "set", "c"], "nothing to change"),
        (1, vec!["campaign", "resend", "c", "--state", "failed", "--run", "7"], "has no run 7"),
    ] {
        let said = home.fails(code, &args);
        assert!(said.contains(what), "{args:?}: {said}");
    }
    let steps = home.json(&["campaign", "follow-up", "ls", "c"])["steps"].take();
    assert_eq!(steps.as_array().unwrap().len(), 0, "{steps:#}");
}
