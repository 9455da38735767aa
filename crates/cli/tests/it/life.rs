//! The life of a run: pauses, cancels, credit, stopped accounts, graceful stops, starts at a time.

use std::time::Duration;

use chrono::TimeDelta;
use fanfare_domain::clock::Clock;
use fanfare_sim::{Config, Faults};
use rustix::process::Signal;

use crate::program::{Home, Provider, SECRET, eventually};

fn config() -> Config {
    Config { secret: Some(SECRET.to_owned()), latency: Duration::from_millis(5), ..Config::default() }
}

/// Holds that each of `total` messages was sent, and accepted once.
fn assert_all_sent(home: &Home, provider: &Provider, total: u64) {
    let status = home.json(&["campaign", "watch", "c"]);
    assert_eq!((&status["state"], &status["sent"]), (&"finished".into(), &total.into()), "{status:#}");
    let stats = provider.handle.stats();
    assert_eq!((stats.accepted, stats.accepted_twice), (total, 0), "{stats:#?}");
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_stops_the_sending_and_a_resume_finishes_it() {
    let (home, provider) = (Home::new().await, Provider::start(config()));
    home.campaign(&provider.handle.url(), 600, &["--idempotent", "true", "--cap", "200/s"], &[]);
    home.ok(&["campaign", "launch", "c"]);
    let _up = home.role(&["up"]);
    provider.wait_accepted(100);
    home.ok(&["campaign", "pause", "c"]);
    let paused = home.status();
    assert_eq!((&paused["state"], &paused["paused_reason"]), (&"paused".into(), &"person".into()));
    eventually("what was leased is settled or handed back", || home.status()["leased"] == 0);
    let before = provider.handle.stats().requests;
    // As long as half of the messages would take.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(provider.handle.stats().requests, before, "sent while paused");
    let said = home.fails(1, &["campaign", "pause", "c"]);
    assert!(said.contains("paused already"), "{said}");
    home.ok(&["campaign", "resume", "c"]);
    assert_all_sent(&home, &provider, 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_sends_nothing_more_and_keeps_what_was_sent() {
    let (home, provider) = (Home::new().await, Provider::start(config()));
    home.campaign(&provider.handle.url(), 600, &["--idempotent", "true", "--cap", "200/s"], &[]);
    home.ok(&["campaign", "launch", "c"]);
    let _up = home.role(&["up"]);
    provider.wait_accepted(100);
    home.ok(&["campaign", "cancel", "c"]);
    let status = home.json(&["campaign", "watch", "c"]);
    let (sent, cancelled) = (status["sent"].as_u64().unwrap(), status["cancelled"].as_u64().unwrap());
    assert_eq!((&status["state"], sent + cancelled), (&"cancelled".into(), 600), "{status:#}");
    assert_eq!(provider.handle.stats().accepted, sent);
    let listed = home.ok(&["campaign", "recipients", "c", "--state", "cancelled", "--json-lines"]);
    assert_eq!(listed.lines().count() as u64, cancelled);
    home.assert_audit();
    let said = home.fails(1, &["campaign", "cancel", "c"]);
    assert!(said.contains("already cancelled"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_out_of_credit_pauses_and_goes_on_after_a_top_up() {
    let (home, provider) = (Home::new().await, Provider::start(config()));
    home.ok(&["credits", "topup", "100000"]);
    home.campaign(&provider.handle.url(), 50, &["--idempotent", "true", "--price", "5000"], &[]);
    let launched = home.json(&["campaign", "launch", "c"]);
    assert!(launched["warnings"][0]["problem"].as_str().unwrap().contains("covers 20 of 50"), "{launched}");
    let _up = home.role(&["up"]);
    eventually("the credit is spent", || home.status()["paused_reason"] == "credit");
    let status = home.status();
    assert_eq!((&status["sent"], &status["cost"]), (&20.into(), &100_000.into()), "{status:#}");
    assert!(home.ok(&["campaign", "status", "c"]).contains("fanfare credits topup"));
    let said = home.fails(1, &["campaign", "resume", "c"]);
    assert!(said.contains("out of credit"), "{said}");
    home.ok(&["credits", "topup", "150000"]);
    assert_all_sent(&home, &provider, 50);
    assert_eq!(home.json(&["credits", "balance"])["balance"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_a_wrong_token_stops_and_goes_on_with_the_right_one() {
    let (home, provider) = (Home::new().await, Provider::start(config()));
    home.campaign(&provider.handle.url(), 50, &["--idempotent", "true"], &[]);
    home.ok(&["account", "set", "a", "--secret", "wrong"]);
    home.ok(&["campaign", "launch", "c"]);
    let _up = home.role(&["up"]);
    eventually("the account stops", || home.status()["accounts"][0]["stopped"].is_string());
    assert!(home.status()["accounts"][0]["stopped"].as_str().unwrap().contains("401"));
    assert!(home.ok(&["campaign", "status", "c"]).contains("fanfare account resume a"));
    assert_eq!(home.status()["failed"], 0, "no message fails for what the account did wrong");
    home.ok(&["account", "set", "a", "--secret", SECRET]);
    assert_eq!(home.json(&["account", "resume", "a"])["resumed"], true);
    assert_all_sent(&home, &provider, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_hands_back_what_it_has_not_sent() {
    // Without idempotency keys: a message that is sent twice is accepted twice.
    let (home, provider) = (Home::new().await, Provider::start(Config { honour_keys: false, ..config() }));
    home.campaign(&provider.handle.url(), 1500, &["--cap", "500/s"], &[]);
    home.ok(&["campaign", "launch", "c"]);
    let _scheduler = home.role(&["scheduler"]);
    let (mut first, _second) = (home.role(&["worker"]), home.role(&["worker"]));
    provider.wait_accepted(300);
    first.signal(Signal::TERM);
    assert_eq!(first.wait(), Some(0));
    assert_all_sent(&home, &provider, 1500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_at_a_time_waits_for_it() {
    let (home, provider) = (Home::new().await, Provider::start(config()));
    home.campaign(&provider.handle.url(), 20, &["--idempotent", "true"], &[]);
    let said = home.fails(1, &["campaign", "launch", "c", "--at", "2020-01-01T09:00+01:00"]);
    assert!(said.contains("is past"), "{said}");
    let at = Clock::system().now() + TimeDelta::seconds(3);
    let at = at.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string();
    assert_eq!(home.json(&["campaign", "launch", "c", "--at", &at])["state"], "scheduled");
    let _up = home.role(&["up"]);
    let waiting = home.status();
    assert!(waiting["state"] == "running" || provider.handle.stats().requests == 0, "{waiting:#}");
    assert_all_sent(&home, &provider, 20);
    let (status, planned) = (home.status(), chrono::DateTime::parse_from_rfc3339(&at).unwrap());
    let started = chrono::DateTime::parse_from_rfc3339(status["started_at"].as_str().unwrap()).unwrap();
    assert!(started >= planned, "started at {started}, planned for {planned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_run_sends_nothing_more() {
    let (home, provider) = (Home::new().await, Provider::start(config()));
    home.campaign(&provider.handle.url(), 600, &["--idempotent", "true", "--cap", "100/s"], &["--expires-after", "2s"]);
    home.ok(&["campaign", "launch", "c"]);
    let _up = home.role(&["up"]);
    let status = home.json(&["campaign", "watch", "c"]);
    let (sent, expired) = (status["sent"].as_u64().unwrap(), status["expired"].as_u64().unwrap());
    assert_eq!((&status["state"], sent + expired), (&"finished".into(), 600), "{status:#}");
    assert!(expired > 0);
    let listed = home.ok(&["campaign", "recipients", "c", "--state", "expired", "--json-lines"]);
    assert_eq!(listed.lines().count() as u64, expired);
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_where_the_run_stands_and_what_it_waits_for() {
    let (home, provider) = (Home::new().await, Provider::start(config()));
    home.campaign(&provider.handle.url(), 30, &["--idempotent", "true"], &[]);
    for command in ["watch", "status", "recipients", "export"] {
        let said = home.fails(1, &["campaign", command, "c"]);
        assert!(said.contains("fanfare campaign launch c"), "{command}: {said}");
    }
    home.ok(&["campaign", "launch", "c"]);
    home.ok(&["campaign", "pause", "c"]);
    let (command, said) = (home.command(&["campaign", "watch", "c"]), home.path("said"));
    let watch = watch(command, &said);
    eventually("the watch says what it waits for", || {
        std::fs::read_to_string(&said).unwrap().contains("fanfare campaign resume c")
    });
    let _up = home.role(&["up"]);
    home.ok(&["campaign", "resume", "c"]);
    let output = watch.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.starts_with("paused") && out.contains("finished") && !out.contains('\u{1b}'), "{out}");
}

fn watch(mut command: std::process::Command, said: &std::path::Path) -> std::process::Child {
    let said = std::fs::File::create(said).unwrap();
    command.stdout(std::process::Stdio::piped()).stderr(said).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_accounts_of_one_worker_keep_to_their_own() {
    // Without idempotency keys: a message that is sent twice is accepted twice.
    let faults = Faults::preset("none").unwrap().with("503=0.2".parse().unwrap()).unwrap();
    let (home, provider) = (Home::new().await, Provider::start(Config { honour_keys: false, faults, ..config() }));
    let url = provider.handle.url();
    home.campaign(&url, 100, &["--cap", "40/s"], &[]);
    let names: Vec<String> = (0..9).map(|i| format!("c{i}")).collect();
    for name in &names {
        home.ok(&["account", "add", name, "--url", &url, "--secret", SECRET, "--cap", "40/s"]);
        home.ok(&["campaign", "create", name, "--template", "t", "--list", "l", "--account", name]);
        home.ok(&["campaign", "launch", name]);
    }
    home.ok(&["campaign", "launch", "c"]);
    let _up = home.role(&["up"]);
    for name in names.iter().map(String::as_str).chain(["c"]) {
        let status = home.json(&["campaign", "watch", name]);
        assert_eq!((&status["state"], &status["unknown"]), (&"finished".into(), &0.into()), "{name}: {status:#}");
    }
    assert_eq!(provider.handle.stats().accepted_twice, 0);
    home.assert_audit();
}

/// An operator who asks why nothing moves is told, and no time is promised.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_says_why_nothing_moves() {
    let (home, provider) = (Home::new().await, Provider::start(config()));
    let url = provider.handle.url();
    drop(provider);
    home.campaign(&url, 100, &["--idempotent", "true", "--cap", "50/s"], &[]);
    home.ok(&["campaign", "launch", "c"]);
    let status = home.status();
    assert!(status["stuck"].as_str().unwrap().contains("no worker is running"), "{status:#}");
    assert_eq!(status["eta_seconds"], serde_json::Value::Null, "{status:#}");
    let mut up = home.role(&["up"]);
    let down = |status: &serde_json::Value| status["stuck"].as_str().is_some_and(|why| why.contains("is down"));
    eventually("the provider is found down", || down(&home.status()));
    assert!(home.ok(&["campaign", "status", "c"]).contains("the provider of account a is down"));
    up.signal(Signal::TERM);
    up.wait();
    let said = home.json(&["campaign", "status", "c"]);
    assert!(said["stuck"].as_str().unwrap().contains("no worker"), "{said:#}");
    assert_eq!(said["failed"], 0, "{said:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_cap_that_is_reached_says_so() {
    let (home, provider) = (Home::new().await, Provider::start(config()));
    home.campaign(&provider.handle.url(), 30, &["--idempotent", "true", "--cap", "10/d"], &[]);
    home.ok(&["campaign", "launch", "c"]);
    let _up = home.role(&["up"]);
    provider.wait_accepted(10);
    eventually("the day is used up", || {
        home.status()["stuck"].as_str().is_some_and(|w| w.contains("let through in 24 hours"))
    });
    assert_eq!(home.status()["sent"], 10);
}
