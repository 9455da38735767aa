//! Accounts, templates, lists, credits: what they show, and what they never show.

use fanfare_sim::{Config, Kind};

use crate::program::{Home, Provider, SECRET};

const URL: &str = "http://127.0.0.1:9/send";

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_goes_in_by_four_ways_and_never_comes_out() {
    let home = Home::new().await;
    let token = home.file("token", format!("{SECRET}\n"));
    let ways: [(&str, &[&str], &str); 3] = [
        ("argument", &["--secret", SECRET], ""),
        ("file", &["--secret-file", &token], ""),
        ("stdin", &["--secret", "-"], "s3cret\n"),
    ];
    for (name, args, input) in ways {
        let done = home.run_with(&[&["account", "add", name, "--url", URL], args].concat(), input.as_bytes());
        assert_eq!(done.code, 0, "{done:?}");
        assert!(!done.out.contains(SECRET) && !done.err.contains(SECRET), "{done:?}");
    }
    let done = home.command(&["account", "add", "env", "--url", URL]).env("FANFARE_SECRET", SECRET).output().unwrap();
    assert!(done.status.success());
    home.ok(&["account", "add", "without", "--url", URL]);
    let accounts = home.json(&["account", "ls"])["accounts"].clone();
    let has: Vec<_> =
        accounts.as_array().unwrap().iter().map(|a| (a["name"].as_str().unwrap(), a["secret"].as_bool())).collect();
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(has, [("argument", yes), ("env", yes), ("file", yes), ("stdin", yes), ("without", no)]);
    assert!(!accounts.to_string().contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_prices_change_and_the_rest_stays() {
    let home = Home::new().await;
    home.ok(&[
        "account", "add", "a", "--url", URL, "--cap", "80/s", "--cap", "1000/h", "--price", "5000", "--price",
        "fr=12000",
    ]);
    let shown = home.json(&["account", "set", "a", "--cap", "10/s", "--price", "FR=9000"]);
    assert_eq!(shown["caps"], serde_json::json!(["10/s"]));
    assert_eq!(shown["prices"], serde_json::json!({ "": 5000, "FR": 9000 }));
    assert_eq!(home.json(&["account", "set", "a", "--no-cap"])["caps"], serde_json::json!([]));
    let said = home.fails(2, &["account", "set", "a"]);
    assert!(said.contains("--secret <TOKEN>|"), "{said}");
    let said = home.fails(1, &["account", "add", "a", "--url", URL]);
    assert!(said.contains("exists already"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_does_not_open_a_secret_and_says_so() {
    let home = Home::new().await;
    let said = home.command(&["account", "ls"]).env("FANFARE_KEY", "nonsense").output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&said.stderr).contains("not 32 bytes in base64"));
    home.ok(&["account", "add", "a", "--url", URL, "--secret", SECRET]);
    std::fs::write(home.path("key"), "not a key").unwrap();
    let said = home.fails(1, &["account", "ls"]);
    assert!(said.contains("does not hold 32 bytes in base64"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_have_versions_languages_and_previews_of_real_contacts() {
    let home = Home::new().await;
    let add = ["template", "add", "t", "--channel", "sms"];
    home.ok(&[&add[..], &["--body", "Hello"]].concat());
    let texts = ["--body", "Hello {{ name }}", "--body", "FR=Salut {{ name }}", "--default", "name=friend"];
    let second = home.json(&[&add[..], &texts].concat());
    assert_eq!((&second["version"], &second["variables"]), (&2.into(), &serde_json::json!(["name"])));
    assert_eq!(second["variants"][1]["language"], "fr");
    let file = home.file("c.csv", "phone,name,language\n0770000001,Ann,\n0770000002,,fr\n");
    home.ok(&["import", &file, "--list", "l", "--country", "DZ"]);
    let previews = home.json(&["template", "preview", "t", "--list", "l", "--count", "2"])["previews"].clone();
    assert_eq!(previews[0]["sample"]["text"], "Hello Ann");
    assert_eq!(previews[1]["sample"]["text"], "Salut friend");
    let said = home.fails(1, &["template", "preview", "t", "--list", "m"]);
    assert!(said.contains("no list \"m\"") && said.contains("did you mean l?"), "{said}");
    let said = home.fails(1, &["template", "add", "t", "--channel", "email", "--subject", "s", "--body", "b"]);
    assert!(said.contains("is for sms"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn suppressed_addresses_are_read_as_people_write_them() {
    let home = Home::new().await;
    let done = home.json(&["list", "suppress", "0770 00 00 01", "Ann@Example.com", "--country", "DZ"]);
    assert_eq!((&done["suppressed"], &done["known"]), (&2.into(), &0.into()));
    let all = home.json(&["list", "suppressed"])["suppressed"].clone();
    let addresses: Vec<_> = all.as_array().unwrap().iter().map(|s| s["address"].as_str().unwrap()).collect();
    assert_eq!(addresses, ["+213770000001", "ann@example.com"]);
    home.ok(&["list", "unsuppress", "+213770000001"]);
    let said = home.fails(1, &["list", "unsuppress", "+213770000001"]);
    assert!(said.contains("no suppressed address"), "{said}");
    let said = home.fails(1, &["list", "suppress", "0770000001"]);
    assert!(said.contains("no country code"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_opt_out_are_shown_added_removed_and_restored() {
    let home = Home::new().await;
    let words = |means: Option<&str>| -> Vec<String> {
        let all = home.json(&["list", "words"])["words"].clone();
        let of = all.as_array().unwrap().iter().filter(|w| w["means"].as_str() == means);
        of.map(|w| w["word"].as_str().unwrap().to_owned()).collect()
    };
    let has = |means: Option<&str>, word: &str| words(means).iter().any(|w| w == word);
    assert!(has(Some("stop"), "stop") && has(Some("start"), "ابدأ") && words(None).is_empty());
    let added = home.json(&["list", "words", "--add", "  Basta YA! ", "--means", "stop"]);
    assert_eq!((&added["word"], &added["means"]), (&"basta ya".into(), &"stop".into()));
    home.ok(&["list", "words", "--remove", "End"]);
    assert!(has(Some("stop"), "basta ya") && words(None) == ["end"]);
    let said = home.ok(&["list", "words"]);
    assert!(said.contains("basta ya") && said.contains("removed  end"), "{said}");
    home.ok(&["list", "words", "--add", "end", "--means", "stop"]);
    home.ok(&["list", "words", "--remove", "basta ya"]);
    assert!(has(Some("stop"), "end") && words(None).is_empty() && !has(Some("stop"), "basta ya"));
    let said = home.fails(1, &["list", "words", "--remove", "stp"]);
    assert!(said.contains("no word to opt out by \"stp\"") && said.contains("did you mean stop"), "{said}");
    let said = home.fails(1, &["list", "words", "--add", "!", "--means", "start"]);
    assert!(said.contains("expected 1 to 60 letters or digits"), "{said}");
    let said = home.fails(2, &["list", "words", "--add", "ya"]);
    assert!(said.contains("--means"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credits_add_up_in_their_ledger() {
    let home = Home::new().await;
    home.ok(&["credits", "topup", "1500000", "--note", "first"]);
    let credit = home.json(&["credits", "topup", "500000"]);
    assert_eq!((&credit["balance"], &credit["available"]), (&2_000_000.into(), &2_000_000.into()));
    let entries = home.json(&["credits", "ledger"])["entries"].clone();
    assert_eq!(entries.as_array().unwrap().iter().map(|e| e["amount"].as_i64().unwrap()).sum::<i64>(), 2_000_000);
    assert_eq!(entries[1]["note"], "first");
    assert!(entries[0]["id"].is_string(), "JavaScript cannot hold it as a number");
    // What only reads makes no workspace out of a typing error.
    let said = home.fails(1, &["--workspace", "defalt", "credits", "balance"]);
    assert!(said.contains("defalt") && said.contains("default"), "{said}");
    home.ok(&["--workspace", "other", "credits", "topup", "7"]);
    assert_eq!(home.json(&["--workspace", "other", "credits", "balance"])["balance"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_is_entered_at_a_provider_that_has_a_call_for_it() {
    let home = Home::new().await;
    let sim = Provider::start(Config { kind: Kind::OneConfirmed, secret: Some(SECRET.into()), ..Config::default() });
    let add = ["account", "add", "wa", "--kind", "one_confirmed", "--url", &sim.handle.url()];
    home.ok(&[&add[..], &["--secret", SECRET]].concat());
    let hook = ["account", "hook", "wa", "--public-url", "https://fanfare.example.com/"];
    let opened = home.json(&hook);
    assert_eq!(opened["entered"], true);
    assert!(opened["url"].as_str().unwrap().starts_with("https://fanfare.example.com/hooks/"), "{opened}");
    home.ok(&["account", "set", "wa", "--secret", "another"]);
    let said = home.fails(1, &hook);
    assert!(said.contains("refused it: unauthenticated") && said.contains("Run this again"), "{said}");
    home.ok(&["account", "add", "other", "--url", URL]);
    let opened = home.json(&["account", "hook", "other"]);
    assert_eq!((&opened["entered"], &opened["named"]), (&false.into(), &false.into()));
    let said = home.ok(&["account", "kinds", "one_confirmed"]);
    assert!(said.contains("of deliveries nothing: its lists of statuses are of broadcasts"), "{said}");
    home.ok(&["account", "add", "grow", "--kind", "grow", "--secret", SECRET]);
    let said = home.fails(1, &["account", "hook", "grow"]);
    assert!(said.contains("its provider posts nothing"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_each_message_names_is_one_that_its_provider_posts_to() {
    let home = Home::new().await;
    let sid = ["--set", "account_sid=AC5ef8732a3c49700934481addd5ce1659"];
    home.ok(&[&["account", "add", "sms", "--kind", "twilio", "--secret", SECRET], &sid[..]].concat());
    let hook = |url: &'static str| ["account", "hook", "sms", "--public-url", url];
    for (url, found) in [("https://my_host.example.com", "my_host.example.com"), ("ftp://example.com", "")] {
        let said = home.fails(2, &hook(url));
        assert!(said.contains(&format!("public-url {found:?}")) && said.contains("no underscore"), "{said}");
    }
    let opened = home.json(&hook("https://fanfare.example.com"));
    assert_eq!(opened["named"], true);
    let secret = opened["verify_token"].as_str().unwrap();
    for args in [&["account", "show", "sms"][..], &["account", "ls", "--json"]] {
        assert!(!home.ok(args).contains(secret), "kept, and not shown");
    }
}

#[test]
fn what_a_kind_carries_is_said_of_that_kind() {
    let home = Home::embedded();
    for kind in fanfare_providers::KINDS {
        let said = home.ok(&["account", "kinds", kind.name]);
        assert_eq!(said.contains("everything by links"), kind.name == "http", "{said}");
        assert!(said.contains("receipts") && said.contains("in doubt") && said.contains("sender"), "{said}");
    }
}
