//! From a contact file to a balanced account of every message, on the embedded default, as the README
//! tells it: each line a process of its own.

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Home, SECRET, eventually, fixture, object};

/// Keys that scripts rely on.
const STATUS_KEYS: &[&str] = &[
    "id",
    "run",
    "state",
    "total",
    "queued",
    "leased",
    "retrying",
    "sent",
    "failed",
    "suppressed",
    "expired",
    "cancelled",
    "unknown",
    "cost",
    "rate_per_second",
    "eta_seconds",
];
const CLASSES: &[&str] =
    &["queued", "leased", "retrying", "sent", "failed", "suppressed", "expired", "cancelled", "unknown"];

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn numbers(value: &Value, keys: &[&str]) -> i64 {
    keys.iter().map(|key| value[key].as_i64().unwrap_or_else(|| panic!("no number {key} in {value}"))).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_way() {
    let home = Home::embedded();
    let sim = home.role(&["sim", "--listen", "127.0.0.1:0", "--latency", "5ms", "--fault", "recipient=0.2", "--json"]);
    let url = object(&sim.ready)["url"].as_str().unwrap().to_owned();

    let account = ["account", "add", "demo", "--kind", "http", "--url", &url, "--secret", SECRET];
    home.ok(&[&account[..], &["--cap", "500/s", "--idempotent", "true", "--price", "5000"]].concat());
    home.ok(&["credits", "topup", "1000000000"]);
    let rejects = home.path("rejects.csv");
    let csv = fixture("contacts.csv");
    let import = ["import", &csv, "--list", "spring", "--country", "DZ", "--rejects", rejects.to_str().unwrap()];
    let imported = home.json(&import);
    let parts = ["imported", "updated", "unchanged", "duplicates", "rejected"];
    assert_eq!(numbers(&imported, &["rows"]), numbers(&imported, &parts), "{imported}");
    assert!(numbers(&imported, &["imported"]) > 0 && numbers(&imported, &["rejected"]) > 0, "{imported}");
    assert!(imported["seconds"].is_f64() && numbers(&imported, &["peak_rss_bytes"]) > 0);
    let reject = &imported["rejects"][0];
    assert!(reject["row"].is_u64() && reject["column"].is_string() && reject["value"].is_string(), "{reject}");
    assert!(!reject["reason"].as_str().unwrap().is_empty());
    assert!(rejects.exists());

    home.ok(&["template", "add", "hello", "--channel", "sms", "--body", r#"Hello {{ name | default("friend") }}"#]);
    let create = ["campaign", "create", "spring", "--template", "hello", "--list", "spring", "--account", "demo"];
    home.ok(&create);
    let plan = home.json(&["campaign", "plan", "spring"]);
    assert_eq!(plan["refusals"], serde_json::json!([]));
    home.ok(&["campaign", "launch", "spring"]);

    let mut scheduler = home.role(&["scheduler"]);
    let mut workers = [home.role(&["worker"]), home.role(&["worker"])];
    assert!(workers.iter().chain([&scheduler]).all(|role| role.ready == "ready"));
    let watched = home.json(&["campaign", "watch", "spring"]);
    assert_eq!(watched["state"], "finished");
    let status = home.json(&["campaign", "status", "spring"]);
    for key in STATUS_KEYS {
        assert!(status.get(key).is_some(), "no {key} in {status}");
    }
    assert!(status["id"].is_string() && status["run"].is_string(), "JavaScript cannot hold them as numbers");
    assert_eq!(status["total"], plan["recipients"]);
    assert_eq!(numbers(&status, &["total"]), numbers(&status, CLASSES), "{status}");

    let all = lines(&home.ok(&["campaign", "recipients", "spring", "--json-lines"]));
    let mut found: BTreeMap<&str, i64> = BTreeMap::new();
    for recipient in &all {
        *found.entry(recipient["state"].as_str().unwrap()).or_default() += 1;
    }
    for class in CLASSES {
        assert_eq!(found.get(class).copied().unwrap_or(0), numbers(&status, &[class]), "{class}");
    }
    let failed = lines(&home.ok(&["campaign", "recipients", "spring", "--state", "failed", "--json-lines"]));
    assert_eq!(failed.len() as i64, numbers(&status, &["failed"]));
    let csv = home.ok(&["campaign", "export", "spring"]);
    assert_eq!(csv.lines().count(), all.len() + 1);
    let exported = lines(&home.ok(&["list", "export", "spring", "--json-lines"]));
    assert_eq!(exported.len() as i64, numbers(&imported, &["imported"]));

    let audit = home.json(&["audit"]);
    assert_eq!(audit["ok"], true);
    assert!(audit["checks"].as_array().unwrap().iter().all(|c| c["name"].is_string() && c["detail"].is_string()));
    let credit = home.json(&["credits", "balance"]);
    assert_eq!(numbers(&credit, &["balance"]), 1_000_000_000 - numbers(&status, &["cost"]));

    assert_eq!(home.json(&["db", "stop"])["stopped"], true);
    for role in workers.iter_mut().chain([&mut scheduler]) {
        assert_eq!(role.wait(), Some(0), "a role whose database was stopped on purpose ends");
    }
    assert_eq!(home.json(&["db", "status"])["running"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn up_is_everything_in_one_process_and_leaves_no_server_behind() {
    let home = Home::embedded();
    let mut up = home.role(&["up"]);
    assert_eq!(up.ready, "ready");
    assert_eq!(home.json(&["db", "status"])["running"], true);
    home.ok(&["list", "ls"]);
    up.signal(Signal::TERM);
    assert_eq!(up.wait(), Some(0));
    assert_eq!(home.json(&["db", "status"])["running"], false, "the last one to leave stops it");
    home.fails(1, &["campaign", "status", "none"]);
    let is_down = || home.json(&["db", "status"])["running"] == false;
    eventually("a command that failed leaves no server behind", is_down);
}
