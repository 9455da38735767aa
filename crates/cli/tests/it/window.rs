//! The 24-hour window as a user meets it.

use fanfare_sim::{Config, Kind};
use serde_json::json;

use crate::program::{Home, Provider, SECRET, contacts_csv};

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_written_gets_the_fallback_or_is_shown_as_refused() {
    let config = Config { kind: Kind::OneMsg, secret: Some(SECRET.to_owned()), ..Config::default() };
    let (home, provider) = (Home::new().await, Provider::start(config));
    home.ok(&["credits", "topup", "10000000"]);
    let url = provider.handle.url();
    let settings = ["--set", "instance_id=SIM1", "--price", "5000"];
    home.ok(&[&["account", "add", "a", "--kind", "one_msg", "--url", &url, "--secret", SECRET][..], &settings].concat());
    let add = ["template", "add", "--channel", "whatsapp"];
    home.ok(&[&add[..], &["own", "--body", "Hello {{ name }}"]].concat());
    home.ok(&[&add[..], &["approved", "--provider-template", "en=spring", "--param", "{{ name }}"]].concat());
    home.ok(&["import", &home.file("c.csv", contacts_csv(20)), "--list", "l", "--country", "DZ"]);
    let create = |name| ["campaign", "create", name, "--template", "own", "--list", "l", "--account", "a"];
    home.ok(&create("without"));
    let with = home.json(&[&create("c")[..], &["--fallback", "approved"]].concat());
    assert_eq!(with["fallback"], "approved");

    let plan = home.json(&["campaign", "plan", "c"]);
    assert_eq!(plan["window"], json!({ "open": 0, "fallback": 20, "refused": 0 }));
    assert!(!plan["warnings"].to_string().contains("24 hours"), "{plan:#}");
    let shown = home.ok(&["campaign", "plan", "c"]);
    assert!(shown.contains("0 wrote within 24 hours, 20 did not and get approved v1"), "{shown}");
    let shown = home.ok(&["campaign", "plan", "without"]);
    assert!(shown.contains("20 did not and are sent nothing") && shown.contains("--fallback"), "{shown}");

    let _up = home.role(&["up"]);
    home.ok(&["campaign", "launch", "c"]);
    let done = home.json(&["campaign", "watch", "c"]);
    assert_eq!((&done["sent"], &done["cost"]), (&20.into(), &(20 * 5000).into()), "{done:#}");
    home.ok(&["campaign", "launch", "without"]);
    let done = home.json(&["campaign", "watch", "without"]);
    assert_eq!((&done["failed"], &done["cost"]), (&20.into(), &0.into()), "{done:#}");
    let failed = home.ok(&["campaign", "recipients", "without", "--state", "failed"]);
    assert_eq!(failed.matches("window closed").count(), 20, "{failed}");
    let seen = provider.handle.stats();
    assert_eq!((seen.requests, seen.accepted, seen.outside_window), (20, 20, 0));
    home.assert_audit();
}
