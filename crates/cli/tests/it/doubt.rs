//! Messages in doubt, and what a person may decide about them.

use fanfare_sim::{Config, Control, Faults};
use serde_json::Value;

use crate::program::{Home, Provider, SECRET};

/// The ids of the campaign's messages in doubt.
fn doubtful(home: &Home) -> Vec<String> {
    let lines = home.ok(&["campaign", "recipients", "c", "--state", "unknown", "--json-lines"]);
    lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_decides_about_messages_in_doubt() {
    let faults = Faults::default().with("reset-accepted=0.1".parse().unwrap()).unwrap();
    let config = Config { secret: Some(SECRET.to_owned()), honour_keys: false, faults, seed: 5, ..Config::default() };
    let (home, provider) = (Home::new().await, Provider::start(config));
    home.ok(&["credits", "topup", "10000000"]);
    home.campaign(&provider.handle.url(), 100, &["--price", "5000"], &[]);
    home.ok(&["campaign", "launch", "c"]);
    let _up = home.role(&["up"]);
    let done = home.json(&["campaign", "watch", "c"]);
    let unknown = done["unknown"].as_u64().unwrap();
    assert!(unknown >= 3, "seed 5: {done:#}");
    provider.handle.control(Control { faults: Some(Faults::default()), ..Control::default() }).await;

    let ids = doubtful(&home);
    assert_eq!(ids.len() as u64, unknown);
    home.ok(&["campaign", "resolve", &ids[0], "--hold"]);
    home.ok(&["campaign", "resolve", &ids[1], "--write-off"]);
    home.assert_audit();
    home.ok(&["campaign", "resolve", &ids[2], "--resend"]);
    let again = home.json(&["campaign", "watch", "c"]);
    assert_eq!(again["sent"].as_u64().unwrap(), done["sent"].as_u64().unwrap() + 1, "{again:#}");
    assert_eq!((&again["state"], again["unknown"].as_u64().unwrap()), (&"finished".into(), unknown - 1), "{again:#}");
    assert_eq!(again["cost"].as_i64().unwrap(), done["cost"].as_i64().unwrap() + 2 * 5000, "{again:#}");
    assert_eq!(provider.handle.stats().accepted_twice, 1, "the risk was taken for one message");
    home.assert_audit();

    let said = home.fails(1, &["campaign", "resolve", &ids[2], "--resend"]);
    assert!(said.contains("is not in doubt"), "{said}");
    let said = home.fails(1, &["campaign", "resolve", "5f0c1f0e-6b0d-5a64-9a0e-0b8a3c1d2e4f", "--hold"]);
    assert!(said.contains("is not the id of a message of this workspace"), "{said}");
    home.fails(2, &["campaign", "resolve", &ids[0]]);
    // Another run of the campaign came after it: this one goes on all the same.
    let run = done["run"].as_str().unwrap();
    home.ok(&["campaign", "launch", "c", "--again"]);
    home.ok(&["campaign", "resolve", &ids[0], "--resend"]);
    let first = home.json(&["campaign", "watch", "c", "--run", run]);
    assert_eq!(first["sent"].as_u64().unwrap(), done["sent"].as_u64().unwrap() + 2, "{first:#}");
    assert_eq!(first["run"], done["run"], "{first:#}");
    home.json(&["campaign", "watch", "c"]);
    home.assert_audit();
}
