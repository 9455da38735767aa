//! Settings that cannot be used are refused with the field, its value and what was expected.

use std::error::Error as _;

use fanfare_domain::clock::Clock;
use fanfare_domain::content::Feature;
use fanfare_domain::message::Channel;
use fanfare_providers::kind::Keys;
use fanfare_providers::{Client, KINDS, open};
use serde_json::{Value, json};

/// What `account add` would print.
fn refusal(kind: &str, settings: &Value, secret: Option<&str>) -> String {
    let error = open(kind, settings, secret, &Client::new(Clock::system())).unwrap_err();
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[tokio::test]
async fn each_known_kind_opens() {
    for kind in KINDS {
        let url = if kind.name == "smtp" { "smtp://[::1]:2525" } else { "http://[::1]:8080/send?x=1" };
        let mut settings = json!({ "url": url });
        kind.settings.iter().filter(|s| s.required).for_each(|s| settings[s.key] = "5".into());
        open(kind.name, &settings, Some("s3cret"), &Client::new(Clock::system())).unwrap();
    }
}

/// A repeat under the same key must say the same; what a window lets through changes with time.
#[test]
fn no_kind_with_keys_or_look_ups_has_words_that_a_window_forbids() {
    for kind in KINDS.iter().filter(|kind| kind.has_window(Channel::Whatsapp)) {
        // In the order of the features, a code and templates come last.
        let own = Feature::ALL.iter().filter(|f| **f < Feature::Code);
        let says_own = own.filter(|f| kind.carries(Channel::Whatsapp, **f)).count() > 0;
        assert!(!says_own || kind.keys == Keys::Ignored && !kind.looks_up(), "{}", kind.name);
    }
}

#[test]
fn an_unknown_kind_is_refused_with_the_known_ones() {
    let refusal = refusal("carrier-pigeon", &json!({}), None);
    assert!(refusal.starts_with(r#"kind "carrier-pigeon" is none of http, "#), "{refusal}");
}

#[test]
fn a_url_that_is_none_is_refused() {
    let expected = "expected an http or https URL with a host, for example https://example.com/send";
    for url in ["", "example.com/send", "localhost:7070", "ftp://example.com", "http://", "mailto:a@b.c", "file:///x"] {
        assert_eq!(refusal("http", &json!({ "url": url }), None), format!("url {url:?}: {expected}"));
    }
}

#[test]
fn a_password_in_the_url_is_refused_and_not_shown() {
    let refusal = refusal("http", &json!({ "url": "https://me:hunter2@example.com/send" }), None);
    assert!(refusal.starts_with(r#"url "https://example.com/send": expected a URL without user"#), "{refusal}");
}

#[test]
fn settings_of_another_shape_are_refused() {
    let check = |settings: Value, expected: &str| {
        let refusal = refusal("http", &settings, None);
        assert!(refusal.contains(expected), "{refusal}");
    };
    check(json!({}), "needs a URL");
    check(json!({ "url": 5 }), "invalid type: integer `5`, expected a string");
    check(json!({ "url": "http://example.com", "uri": "" }), r#"has no setting "uri": it has url"#);
    check(json!("http://example.com"), "expected a map");
}

#[test]
fn what_a_kind_cannot_do_without_is_named() {
    assert_eq!(
        refusal("meta", &json!({}), Some("t")),
        "an account of kind meta needs phone_number_id: id of the number that sends, as in --set phone_number_id=…"
    );
    let settings = json!({ "phone_number_id": "106" });
    let said = refusal("meta", &settings, None);
    assert!(said.starts_with("an account of kind meta needs a secret: a system user's access token"), "{said}");
    let said = refusal("meta", &json!({ "phone_number_id": "../1/messages?x=" }), Some("t"));
    assert!(said.starts_with("phone_number_id \"../1/messages?x=\": expected letters"), "{said}");
    let said = refusal("one_system", &json!({ "session_id": "3/../4" }), Some("t"));
    assert_eq!(said, "session_id \"3/../4\": expected digits");
}

#[test]
fn a_secret_that_fits_no_header_is_refused_and_not_shown() {
    let refusal = refusal("http", &json!({ "url": "http://example.com" }), Some("s3cret\r\nx: y"));
    assert!(refusal.starts_with("the secret cannot be sent"), "{refusal}");
    assert!(!refusal.contains("s3cret"));
}

#[test]
fn an_adapter_does_not_show_its_secret() {
    let client = Client::new(Clock::system());
    for kind in KINDS {
        let mut settings = match kind.name {
            "smtp" => json!({ "url": "smtps://example.com", "user": "shop" }),
            _ => json!({ "url": "http://example.com" }),
        };
        kind.settings.iter().filter(|s| s.required).for_each(|s| settings[s.key] = "5".into());
        let adapter = open(kind.name, &settings, Some("hunter2"), &client).unwrap();
        assert!(!format!("{adapter:?}").contains("hunter2"), "{}", kind.name);
    }
}
