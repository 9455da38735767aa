//! Quiet hours and windows from the command line: set, planned, waited for, and refused where they are none.

use chrono::{TimeDelta, Utc};
use fanfare_domain::clock::Clock;
use fanfare_sim::Config;

use crate::program::{Home, Provider, SECRET, eventually};

fn provider() -> Provider {
    Provider::start(Config { secret: Some(SECRET.to_owned()), ..Config::default() })
}

/// The time of day in UTC, so much after now.
pub fn clock(after: TimeDelta) -> String {
    let now: chrono::DateTime<Utc> = Clock::system().now();
    (now + after).format("%H:%M").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_are_kept_from_the_workspace_to_the_status() {
    let (home, provider) = (Home::new().await, provider());
    let quiet = format!("{}-{}", clock(-TimeDelta::hours(2)), clock(TimeDelta::hours(2)));
    // Algeria is an hour ahead of UTC: the contacts' zone is what counts, so this is noon there.
    let set = home.json(&["workspace", "set", "--quiet", "22:00-06:00", "--zone", "africa/algiers"]);
    assert_eq!(set["zone"], "Africa/Algiers");
    assert_eq!(set["hours"][0]["quiet"], "22:00-06:00");
    home.ok(&["workspace", "set", "--hours", "sat-sun 10:00-12:00", "--category", "utility"]);
    let shown = home.ok(&["workspace", "show"]);
    assert!(shown.contains("not 22:00-06:00 (all but transactional)") && shown.contains("(utility only)"), "{shown}");
    home.ok(&["workspace", "set", "--quiet", "none"]);
    home.ok(&["workspace", "set", "--hours", "none", "--category", "utility"]);
    assert_eq!(home.json(&["workspace", "show"])["hours"], serde_json::json!([]));

    let local = |text: &str| {
        let hour: u32 = text[..2].parse().unwrap();
        format!("{:02}{}", (hour + 1) % 24, &text[2..])
    };
    let quiet: Vec<String> = quiet.split('-').map(local).collect();
    home.campaign(&provider.handle.url(), 30, &["--idempotent", "true"], &["--quiet", &quiet.join("-")]);
    let plan = home.json(&["campaign", "plan", "c"]);
    let wave = &plan["waves"][0];
    assert_eq!((&wave["zone"], &wave["recipients"]), (&"Africa/Algiers".into(), &30.into()), "{plan:#}");
    assert_eq!((&plan["hours"]["outside"], &plan["hours"]["by_number"]), (&30.into(), &30.into()));
    assert!(wave["starts_at"].as_str() > plan["starts_at"].as_str(), "{plan:#}");
    let said = home.ok(&["campaign", "plan", "c"]);
    assert!(said.contains("nobody may be written to before their window opens"), "{said}");
    assert!(said.contains("STARTS THERE"), "{said}");

    home.ok(&["campaign", "launch", "c"]);
    let _up = home.role(&["up"]);
    eventually("the audience is frozen", || home.status()["expanded"] == true);
    let status = home.status();
    assert_eq!((&status["queued"], &status["opens"]["zone"]), (&30.into(), &"Africa/Algiers".into()), "{status:#}");
    let stuck = status["stuck"].as_str().unwrap();
    assert!(stuck.contains("everybody left is outside their hours; it goes on at"), "{stuck}");
    assert_eq!(provider.handle.stats().requests, 0);
    // The hours of what runs may be changed, and then it goes on.
    let set = home.json(&["campaign", "set", "c", "--quiet", "none"]);
    assert_eq!((&set["quiet"], &set["undivided"]), (&serde_json::Value::Null, &0.into()), "{set:#}");
    eventually("all are sent", || home.status()["state"] == "finished");
    assert_eq!(provider.handle.stats().accepted, 30);
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_and_zones_that_are_none_are_refused_with_what_to_write() {
    let (home, provider) = (Home::new().await, provider());
    home.campaign(&provider.handle.url(), 1, &["--idempotent", "true"], &[]);
    home.ok(&["workspace", "set", "--quiet", "21:00-08:00"]);
    let create = ["campaign", "create", "d", "--template", "t", "--list", "l", "--account", "a"];
    let table: [(i32, &[&str], &str); 10] = [
        (2, &["--zone", "Europe/Pariss"], "did you mean Europe/Paris"),
        (2, &["--zone", "Mars/Olympus"], "for example Europe/Paris"),
        (2, &["--quiet", "21-8"], "09:00-18:00"),
        (2, &["--quiet", "08:00-08:00"], "never opens"),
        (2, &["--hours", "mon-fry 09:00-18:00"], "mon-fry"),
        (2, &["--local-date", "2026-02-30", "--local-time", "09:00"], "2026-12-01"),
        (2, &["--local-date", "2099-01-01"], "--local-time"),
        (2, &["--local-date", "2099-01-01", "--local-time", "09:00", "--cron", "0 9 * * 1"], "--cron"),
        (1, &["--local-date", "2020-01-01", "--local-time", "09:00"], "past all over the world"),
        (1, &["--hours", "22:00-23:00"], "no minute in common"),
    ];
    for (code, options, part) in table {
        let said = home.fails(code, &[&create[..], options].concat());
        assert!(said.contains(part), "{options:?}: {said}");
    }
    let triggered = ["campaign", "create", "d", "--template", "t", "--account", "a", "--triggered"];
    let said = home.fails(2, &[&triggered[..], &["--local-date", "2099-01-01", "--local-time", "09:00"]].concat());
    assert!(said.contains("--local-date"), "{said}");
    let said = home.fails(1, &[&triggered[..], &["--category", "marketing", "--hours", "22:00-23:00"]].concat());
    assert!(said.contains("no minute in common"), "{said}");
    let said = home.fails(2, &["workspace", "set", "--hours", "22:00-23:00"]);
    assert!(said.contains("lies within the quiet hours 21:00-08:00"), "{said}");
    let said = home.fails(2, &["workspace", "set", "--quiet", "21:00-08:00", "--category", "transactional"]);
    assert!(said.contains("at any hour"), "{said}");
    let said = home.fails(2, &["workspace", "set"]);
    assert!(said.contains("say what is to change"), "{said}");
    assert_eq!(home.json(&["campaign", "ls"])["campaigns"].as_array().unwrap().len(), 1, "nothing was created");
    assert_eq!(home.json(&["workspace", "show"])["hours"].as_array().unwrap().len(), 1);
}
