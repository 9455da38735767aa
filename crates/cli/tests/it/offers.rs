//! What an account's provider is asked beside sending, as a person asks it.

use fanfare_sim::Config;

use crate::program::{Home, Provider, SECRET};

/// An account `a` of this kind at a simulator of it.
fn account(home: &Home, kind: &str, more: &[&str]) -> Provider {
    let config = Config { kind: kind.parse().unwrap(), secret: Some(SECRET.to_owned()), ..Config::default() };
    let provider = Provider::start(config);
    let url = provider.handle.url();
    let add = ["account", "add", "a", "--kind", kind, "--url", &url, "--secret", SECRET];
    home.ok(&[&add, more].concat());
    provider
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_templates_is_shown_kept_and_planned_against() {
    let home = Home::new().await;
    let _provider = account(&home, "meta", &["--set", "phone_number_id=106540352242922"]);
    let file = home.file("people.csv", "phone,name\n0770000001,Ann\n");
    home.ok(&["import", &file, "--list", "l", "--country", "DZ"]);
    let add = ["template", "add", "t", "--channel", "whatsapp", "--provider-template"];
    home.ok(&[&add[..], &["en-us=spring_sale", "--param", "{{ name }}"]].concat());
    home.ok(&["campaign", "create", "c", "--template", "t", "--list", "l", "--account", "a"]);
    let note = home.json(&["campaign", "plan", "c"])["warnings"][0]["remedy"].as_str().unwrap().to_owned();
    assert!(note.contains("fanfare account templates a"), "{note}");

    let listed = home.json(&["account", "templates", "a"])["templates"].clone();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["spring_sale", "spring_sale", "order_update", "old_offer", "bad_offer", "login_code"]);
    assert_eq!((&listed[3]["status"], &listed[3]["usable"]), (&"paused".into(), &false.into()));
    let shown = home.ok(&["account", "templates", "a"]);
    let order = shown.lines().find(|line| line.starts_with("order_update")).unwrap();
    let cells: Vec<&str> = order.split_whitespace().collect();
    assert_eq!(cells, ["order_update", "en_US", "approved", "utility", "image", "1", "0:quick_reply", "1:url"]);

    for refusing in ["plan", "launch"] {
        let said = home.run(&["campaign", refusing, "c"]);
        let said = format!("{}{}", said.out, said.err);
        assert!(said.contains("body takes 2 parameters") && said.contains("1 are given"), "{refusing}: {said}");
    }
    home.ok(&[&add[..], &["en-us=spring_sale", "--param", "{{ name }}", "--param", "5 %"]].concat());
    let plan = home.json(&["campaign", "plan", "c"]);
    assert_eq!((&plan["refusals"], &plan["warnings"]), (&serde_json::json!([]), &serde_json::json!([])), "{plan:#}");

    home.ok(&["account", "set", "a", "--secret", "wrong"]);
    let said = home.fails(1, &["account", "templates", "a"]);
    assert!(said.contains("its provider said 190") && said.contains("fanfare account check a"), "{said}");
    let said = home.fails(1, &["account", "balance", "a"]);
    assert!(said.contains("of kind meta") && said.contains("one_confirmed, twilio"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_is_shown_and_silence_is_no_balance() {
    let home = Home::new().await;
    let provider = account(&home, "twilio", &["--set", "account_sid=AC1"]);
    let balance = home.json(&["account", "balance", "a"]);
    assert_eq!((&balance["amount"], &balance["unit"]), (&"12.34".into(), &"USD".into()));
    assert!(home.ok(&["account", "balance", "a"]).contains("12.34 USD"));
    drop(provider);
    let said = home.fails(1, &["account", "balance", "a"]);
    assert!(said.contains("gave no clear answer") && said.contains("connection refused"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_is_looked_for_where_the_provider_can() {
    let home = Home::new().await;
    let _provider = account(&home, "one_system", &["--set", "session_id=3"]);
    let asked = |phone: &str| home.json(&["account", "contact", "a", "--to", phone, "--country", "DZ"]);
    let (even, odd) = (asked("0770 00 00 02"), asked("+213770000001"));
    assert_eq!((&even["phone"], &even["reachable"]), (&"+213770000002".into(), &true.into()));
    assert_eq!(odd["reachable"], false);
    let said = home.fails(2, &["account", "contact", "a", "--to", "0770000001"]);
    assert!(said.contains("no country code"), "{said}");
    let templates = home.json(&["account", "templates", "a"])["templates"].clone();
    assert_eq!((&templates[0]["name"], &templates[0]["title"]), (&"5".into(), &"hello".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_beside_its_content_is_looked_at_kept_once_and_sent() {
    let home = Home::new().await;
    let provider = account(&home, "meta", &["--set", "phone_number_id=106540352242922"]);
    let file = home.file("people.csv", "phone,name\n0770000001,Ann\n0770000002,Bob\n");
    home.ok(&["import", &file, "--list", "l", "--country", "DZ"]);
    home.file("offer.jpg", b"\xff\xd8\xff\xe0 a picture");
    home.file("offer.pdf", b"%PDF-1.7 a document");
    home.file("large.png", [b"\x89PNG\r\n\x1a\n".as_slice(), &vec![0; 5 * 1024 * 1024]].concat());
    let content = |name: &str| {
        // A template may be sent to those who have not written.
        let header = format!(r#"{{"type": "image", "file": "{name}"}}"#);
        let content = r#"{"type": "template", "name": "offer", "language": "en", "params": ["{{ name }}"], "header": "#;
        home.file("content.json", format!("{content}{header}}}"))
    };
    let add =
        |content: &str| ["template", "add", "t", "--channel", "whatsapp", "--content", content].map(str::to_owned);
    for (name, expected) in [
        ("none.jpg", "cannot open"),
        ("offer.pdf", "is application/pdf, which is no image: expected image/jpeg, image/png"),
        ("large.png", "has more than 5242880 bytes"),
        ("people.csv", "is text/plain"),
    ] {
        let args = add(&content(name));
        let said = home.fails(1, &args.each_ref().map(String::as_str));
        assert!(said.contains(expected) && said.contains(name), "{name}: {said}");
    }
    let args = add(&content("offer.jpg"));
    for _ in 0..2 {
        let template = home.json(&args.each_ref().map(String::as_str));
        let kept = &template["variants"][0]["content"]["header"]["file"];
        assert_eq!(
            (&kept["mime"], &kept["name"], &kept["bytes"]),
            (&"image/jpeg".into(), &"offer.jpg".into(), &14.into())
        );
    }
    // From here on the template has all it needs.
    std::fs::remove_file(home.path("offer.jpg")).unwrap();
    home.ok(&["account", "add", "links", "--kind", "pabbly", "--secret", SECRET]);
    home.ok(&["campaign", "create", "d", "--template", "t", "--list", "l", "--account", "links"]);
    let said = home.run(&["campaign", "plan", "d"]);
    assert!(said.code == 1 && said.out.contains("it fetches files itself: give a url instead of a file"), "{said:?}");
    home.ok(&["campaign", "create", "c", "--template", "t", "--list", "l", "--account", "a"]);
    home.ok(&["campaign", "launch", "c"]);
    let _up = home.role(&["up"]);
    let status = home.json(&["campaign", "watch", "c"]);
    assert_eq!((&status["state"], &status["sent"]), (&"finished".into(), &2.into()), "{status:#}");
    assert_eq!(provider.handle.stats().requests, 3, "two messages, and their file once");
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_has_its_files_attached() {
    let home = Home::new().await;
    let mail = ["--set", "tls=none", "--set", "user=shop", "--sender", "Shop <shop@example.com>"];
    let provider = account(&home, "smtp", &mail);
    let file = home.file("people.csv", "email,name\nann@example.org,Ann\nbob@example.org,Bob\n");
    home.ok(&["import", &file, "--list", "l"]);
    home.file("offer.pdf", [b"%PDF-1.7\n.\n".as_slice(), &vec![0xe9; 90_000]].concat());
    let content =
        r#"{"type": "html", "subject": "For {{ name }}", "html": "<p>Hi</p>", "attachments": [{"file": "offer.pdf"}]}"#;
    let content = home.file("content.json", content);
    let template = home.json(&["template", "add", "t", "--channel", "email", "--content", &content]);
    let kept = &template["variants"][0]["content"]["attachments"][0]["file"];
    assert_eq!((&kept["mime"], &kept["bytes"]), (&"application/pdf".into(), &90_011.into()));
    home.ok(&["campaign", "create", "c", "--template", "t", "--list", "l", "--account", "a"]);
    home.ok(&["campaign", "launch", "c"]);
    let _up = home.role(&["up"]);
    let status = home.json(&["campaign", "watch", "c"]);
    assert_eq!((&status["state"], &status["sent"]), (&"finished".into(), &2.into()), "{status:#}");
    assert_eq!((provider.handle.stats().accepted, provider.handle.stats().accepted_twice), (2, 0));
}
