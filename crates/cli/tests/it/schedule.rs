//! Schedules as scripts and people meet them.

use serde_json::json;

use crate::program::Home;

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_is_in_the_zone_and_in_utc_and_tells_of_daylight_saving() {
    let home = Home::new().await;
    let from = ["--from", "2026-03-01T00:00:00Z", "--count", "3"];
    let preview = |more: &[&str]| home.json(&[&["schedule", "preview"], more].concat());

    let cron = preview(&[&["--cron", "30 9 * * mon-fri", "--zone", "Africa/Algiers"], &from[..]].concat());
    assert_eq!(cron["instants"], json!(["2026-03-02T08:30:00Z", "2026-03-03T08:30:00Z", "2026-03-04T08:30:00Z"]));
    assert_eq!(cron["local"][0], "2026-03-02T09:30:00+01:00");
    let words = preview(&["--words", "every Monday 09:00", "--zone", "Europe/Paris"]);
    assert_eq!(words["instants"].as_array().unwrap().len(), 10);

    let paris = ["--cron", "30 2 * * *", "--zone", "Europe/Paris", "--count", "2", "--from"];
    let spring = preview(&[&paris[..], &["2026-03-28T12:00:00Z"]].concat());
    assert_eq!(spring["instants"], json!(["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]));
    assert_eq!(spring["notes"][0]["kind"], "skipped");
    let said = home.ok(&[&["schedule", "preview"], &paris[..], &["2026-10-24T12:00:00Z"]].concat());
    assert!(said.contains("EUROPE/PARIS") && said.contains("UTC"), "{said}");
    assert!(said.contains("Sun 2026-10-25 02:30 +02:00") && said.contains("Sun 2026-10-25 00:30"), "{said}");
    assert!(said.contains("02:30 comes twice that day: the first of the two"), "{said}");
    let said = home.ok(&["schedule", "preview", "--words", "monthly on the last day"]);
    assert!(said.contains("no time of day is given"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_that_cannot_be_are_refused_with_what_to_do() {
    let home = Home::new().await;
    home.campaign("http://127.0.0.1:9/send", 3, &[], &[]);
    let create = ["campaign", "create", "weekly", "--template", "t", "--list", "l", "--account", "a"];
    let cases: [(&[&str], &[&str]); 15] = [
        (&["--cron", "0 0 30 2 *"], &["never comes", "another day or month"]),
        (&["--cron", "61 * * * *"], &["minute", "0 to 59"]),
        (&["--cron", "* * * *"], &["4 fields", "expected five"]),
        (&["--words", "every fortnight"], &["fortnight"]),
        (&["--cron", "0 9 * * 1", "--zone", "Europe/Pari"], &["no time zone", "did you mean Europe/Paris"]),
        (&["--cron", "0 9 * * 1", "--start", "2020-01-01T00:00Z"], &["--start", "is past"]),
        (
            &["--cron", "0 9 * * 1", "--start", "2090-01-02T00:00Z", "--end", "2090-01-01T00:00Z"],
            &["--end", "is not after its start"],
        ),
        (&["--cron", "0 9 * * 1", "--end", "2020-01-01T00:00Z"], &["--end", "is not after now"]),
        (
            &["--cron", "0 9 1 1 *", "--start", "2090-02-01T00:00Z", "--end", "2090-03-01T00:00Z"],
            &["does not come until its end"],
        ),
        (&["--cron", "0 9 * * 1", "--missed", "sometimes"], &["none of skip, run-once, run-each"]),
        (&["--cron", "0 9 * * 1", "--words", "daily"], &["cannot be used with"]),
        (&["--words", "every 2 seconds"], &["at most 1000 runs", "--runs N"]),
        (&["--at", "2020-01-01T00:00Z"], &["is past: give a time to come"]),
        (&["--at-local", "2026-02-30T09:00"], &["no local time", "2026-12-01T09:00"]),
        (&["--end", "2090-01-01T00:00Z"], &["--cron"]),
    ];
    for (options, expected) in cases {
        let said = home.fails(2, &[&create[..], options].concat());
        assert!(expected.iter().all(|e| said.contains(e)), "{options:?}: {said}");
    }
    assert_eq!(home.json(&["campaign", "ls"])["campaigns"].as_array().unwrap().len(), 1, "nothing is half-written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_with_a_schedule_says_when_it_comes() {
    let home = Home::new().await;
    home.campaign("http://127.0.0.1:9/send", 3, &[], &[]);
    let what = ["campaign", "create", "weekly", "--template", "t", "--list", "l", "--account", "a"];
    let when = ["--cron", "0 9 * * 1", "--zone", "Europe/Paris", "--start", "2090-01-01T00:00", "--runs", "5"];
    let how = ["--missed", "run-once", "--overlap", "skip", "--once-per-contact"];
    let made = home.json(&[&what[..], &when[..], &how[..]].concat());
    // A Monday; in winter.
    assert_eq!((&made["next_at"], &made["once_per_contact"]), (&json!("2090-01-02T08:00:00Z"), &json!(true)));

    let shown = home.json(&["campaign", "schedule", "weekly"]);
    assert_eq!(shown["schedule"]["state"], "active");
    assert_eq!(shown["schedule"]["expression"], "0 9 * * 1");
    assert_eq!(shown["next"]["instants"].as_array().unwrap().len(), 5);
    let status = home.json(&["campaign", "status", "weekly"]);
    assert_eq!((&status["state"], &status["run"]), (&json!("scheduled"), &json!(null)));
    let launched = home.json(&["campaign", "launch", "weekly"]);
    assert_eq!((&launched["state"], &launched["recipients"]), (&json!("scheduled"), &json!(3)));
    assert!(home.ok(&["campaign", "schedule", "weekly"]).contains("Mon 2090-01-02 09:00 +01:00"));

    home.ok(&["campaign", "schedule", "weekly", "--pause"]);
    assert_eq!(home.json(&["campaign", "status", "weekly"])["state"], "paused");
    home.ok(&["campaign", "schedule", "weekly", "--resume"]);
    let other = ["campaign", "reschedule", "weekly", "--words", "every Tuesday 10:00", "--start", "2090-01-01T00:00"];
    assert_eq!(home.json(&other)["next_at"], "2090-01-03T09:00:00Z", "by the clocks of before");
    let history = home.json(&["campaign", "history", "weekly"]);
    let said: Vec<&str> =
        history["transitions"].as_array().unwrap().iter().filter_map(|t| t["reason"].as_str()).collect();
    let tuesday = "its schedule is every Tuesday 10:00, by the clocks of Europe/Paris";
    assert_eq!(said, ["its schedule is paused", "its schedule is active", tuesday]);
    assert!(home.fails(2, &["campaign", "reschedule", "weekly"]).contains("when? give --cron"));
    home.ok(&["campaign", "schedule", "weekly", "--end"]);
    assert!(home.fails(1, &["campaign", "schedule", "weekly", "--resume"]).contains("no tick to come"));
    let said = home.fails(1, &["campaign", "schedule", "c"]);
    assert!(said.contains("has no schedule") && said.contains("fanfare campaign launch c"), "{said}");

    let once = ["--at-local", "2090-07-01T09:00", "--zone", "Europe/Paris", "--latest-start", "15m"];
    let what = ["campaign", "create", "summer", "--template", "t", "--list", "l", "--account", "a"];
    assert_eq!(home.json(&[&what[..], &once[..]].concat())["next_at"], "2090-07-01T07:00:00Z");
}
