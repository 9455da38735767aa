//! Workers and the database killed in mid-campaign: nothing is lost, nothing is sent twice, and what is in
//! doubt is shown. The full size is `fanfare-benches crash`.

use std::collections::HashSet;
use std::time::Duration;

use fanfare_domain::rng::Rng;
use fanfare_sim::Config;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::program::{Home, Provider, Role, SECRET};

const MESSAGES: usize = 3000;
const SEED: u64 = 1;

/// What the database holds of the messages in this state: their addresses.
fn listed(home: &Home, state: &str) -> HashSet<String> {
    let lines = home.ok(&["campaign", "recipients", "c", "--state", state, "--json-lines"]);
    let address = |line: &str| serde_json::from_str::<Value>(line).unwrap()["address"].as_str().unwrap().to_owned();
    lines.lines().map(address).collect()
}

/// The addresses whose messages the provider accepted.
fn accepted(provider: &Provider) -> HashSet<String> {
    let mut addresses = HashSet::new();
    let mut after = 0;
    loop {
        let page = provider.handle.accepted(after);
        if page.next == after {
            return addresses;
        }
        after = page.next;
        addresses.extend(page.accepted.into_iter().map(|a| a.to));
    }
}

/// Drains a campaign while one of three workers, by chance, is killed every 300 ms and the server once.
async fn killed(honour_keys: bool) -> (Home, Provider) {
    let config = Config {
        secret: Some(SECRET.to_owned()),
        latency: Duration::from_millis(20),
        honour_keys,
        ..Config::default()
    };
    let (home, provider) = (Home::embedded(), Provider::start(config));
    let account = ["--cap", "500/s", "--idempotent", &honour_keys.to_string()];
    home.campaign(&provider.handle.url(), MESSAGES, &account, &[]);
    home.ok(&["campaign", "launch", "c"]);
    let _scheduler = home.role(&["scheduler"]);
    let mut workers: Vec<Role> = (0..3).map(|_| home.role(&["worker"])).collect();
    let rng = Rng::seeded(SEED);
    let mut kills = 0;
    while provider.handle.stats().requests < MESSAGES as u64 * 2 / 3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let victim = rng.below(workers.len() as u64) as usize;
        drop(workers.swap_remove(victim));
        kills += 1;
        if kills == 4 {
            let server = home.json(&["db", "status"])["pid"].as_i64().unwrap();
            kill_process(Pid::from_raw(server as i32).unwrap(), Signal::KILL).unwrap();
        }
        workers.push(home.role(&["worker"]));
    }
    assert!(kills >= 4, "the server was not killed");
    let status = home.json(&["campaign", "watch", "c"]);
    assert_eq!(status["state"], "finished", "seed {SEED}: {status:#}");
    let decided = status["sent"].as_u64().unwrap() + status["unknown"].as_u64().unwrap();
    assert_eq!(decided, MESSAGES as u64, "seed {SEED}: {status:#}");
    assert_eq!(provider.handle.stats().accepted_twice, 0, "seed {SEED}: {status:#}");
    home.assert_audit();
    (home, provider)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_keys_honoured_every_message_is_sent_once() {
    let (home, provider) = killed(true).await;
    assert_eq!(home.status()["unknown"], 0);
    assert_eq!(provider.handle.stats().accepted_messages, MESSAGES as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_every_message_in_doubt_is_shown() {
    let (home, provider) = killed(false).await;
    let (sent, unknown) = (listed(&home, "sent"), listed(&home, "unknown"));
    assert_eq!(sent.len() + unknown.len(), MESSAGES);
    let accepted = accepted(&provider);
    assert!(sent.iter().all(|address| accepted.contains(address)), "seed {SEED}: sent, and not accepted");
    assert!(accepted.iter().all(|a| sent.contains(a) || unknown.contains(a)), "seed {SEED}: accepted, and not shown");
}
