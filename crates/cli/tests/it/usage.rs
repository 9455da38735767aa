//! Exit codes and standard output: what scripts rely on.

use crate::program::{Home, object};

#[tokio::test(flavor = "multi_thread")]
async fn bad_usage_is_exit_code_2_and_says_what_was_expected() {
    let home = Home::embedded();
    let add = ["account", "add", "a", "--url", "http://127.0.0.1:9/"];
    let create = ["campaign", "create", "c", "--template", "t", "--list", "l", "--account", "a"];
    let with = |base: &[&'static str], more: &[&'static str]| [base, more].concat();
    let cases: [(Vec<&str>, &str); 21] = [
        (vec!["nonsense"], "unrecognized subcommand"),
        (vec!["import", "x.csv"], "--list"),
        (vec!["import", "x.csv", "--list", "l", "--map", "phone"], "FIELD=COLUMN"),
        (vec!["import", "x.csv", "--list", "l", "--on-duplicate", "guess"], "skip, overwrite, merge"),
        (with(&add, &["--cap", "0/s"]), "lets nothing through"),
        (with(&add, &["--cap", "80"]), "80/s"),
        (with(&add, &["--price", "XX=1"]), "no country code"),
        (with(&create, &["--on-missing", "guess"]), "refuse, skip, default"),
        (with(&create, &["--expires-after", "soon"]), "24h"),
        (with(&create, &["--rate", "50"]), "50/s, 3000/min or 500/h"),
        (with(&create, &["--rate", "0/s"]), "lets nothing through"),
        (with(&create, &["--rate", "2000000/s"]), "above 1000000/s"),
        (with(&create, &["--rate", "none"]), "50/s"),
        (vec!["campaign", "set", "c", "--rate", "fast"], "none takes it back"),
        (
            vec!["campaign", "create", "c", "--template", "t", "--account", "a", "--triggered", "--rate", "5/s"],
            "leave --rate out",
        ),
        (vec!["campaign", "launch", "c", "--at", "2026-12-01T09:00"], "2026-12-01T09:00+01:00"),
        (vec!["campaign", "recipients", "c", "--state", "lost"], "queued, leased"),
        (vec!["credits", "topup", "1.5"], "1000000 = one credit"),
        (vec!["import", "x.csv", "--list", "l", "--country", "Algeria"], "did you mean DZ"),
        (vec!["import", "x.csv", "--list", "l", "--encoding", "klingon"], "windows-1256"),
        (vec!["credits", "topup", "0"], "not between 1 and"),
    ];
    for (args, expected) in cases {
        let said = home.fails(2, &args);
        assert!(said.contains(expected), "fanfare {args:?}: {said}");
    }
    assert!(!home.path("postgres").exists(), "bad usage touched the database");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_one_json_object_too() {
    let home = Home::new().await;
    let done = home.run(&["campaign", "status", "c", "--json"]);
    assert_eq!(done.code, 1);
    let said = object(&done.out);
    assert!(said["error"].as_str().unwrap().contains("no campaign \"c\""), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_are_empty_say_how_to_begin() {
    let home = Home::new().await;
    for (group, next) in [
        ("list", "fanfare import"),
        ("template", "fanfare template add"),
        ("account", "fanfare account add"),
        ("campaign", "fanfare campaign create"),
    ] {
        let said = home.ok(&[group, "ls"]);
        assert!(said.contains(next), "{said}");
        let empty = home.json(&[group, "ls"]);
        assert!(empty.as_object().unwrap().values().all(|v| v.as_array().is_some_and(Vec::is_empty)), "{empty}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_may_stop_reading() {
    let home = Home::new().await;
    let file = home.file("many.csv", crate::program::contacts_csv(20_000));
    home.ok(&["import", &file, "--list", "l", "--country", "DZ"]);
    let mut child = home.command(&["list", "export", "l"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_provider_says_what_it_is() {
    let home = Home::new().await;
    let kinds = home.json(&["account", "kinds"]);
    let names: Vec<&str> = kinds["kinds"].as_array().unwrap().iter().map(|k| k["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 9, "{names:?}");
    for name in names {
        let said = home.ok(&["account", "kinds", name]);
        assert!(said.contains("carries") && said.contains("in doubt"), "{said}");
    }
    let said = home.fails(2, &["account", "add", "wa", "--kind", "meta", "--secret", "s"]);
    assert!(said.contains("--set phone_number_id="), "{said}");
    let said = home.fails(2, &["account", "add", "wa", "--kind", "meta", "--secret", "s", "--idempotent", "true"]);
    assert!(said.contains("has no idempotency keys"), "{said}");
    // Nobody listens there: that is no word of the provider's.
    let url = ["--url", "http://127.0.0.1:9", "--set", "phone_number_id=1"];
    home.ok(&[&["account", "add", "wa", "--kind", "meta", "--secret", "s"], &url[..]].concat());
    let said = home.fails(1, &["account", "check", "wa"]);
    assert!(said.contains("could not be checked") && said.contains("connection refused"), "{said}");
    assert_eq!(home.json(&["account", "show", "wa"])["caps"], serde_json::json!(["80/s"]));
}
