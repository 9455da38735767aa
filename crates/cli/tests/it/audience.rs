//! Whom a campaign reaches, as people say and see it: lists, expressions, consent, suppressions, one contact.

use serde_json::{Value, json};

use crate::program::Home;

/// An installation with three lists: `people` of six, `vip` of two of them and a stranger, `staff` of one.
async fn home() -> Home {
    let home = Home::new().await;
    let row =
        |i: u32| format!("+21355500000{i},m{i}@x.dz,Ali {i},{},{}\n", ["Oran", "Blida"][i as usize % 2], 20 + i * 5);
    let file = |name: &str, rows: &[u32]| {
        home.file(name, format!("phone,email,name,city,age\n{}", rows.iter().map(|i| row(*i)).collect::<String>()))
    };
    home.ok(&["import", &file("people.csv", &[1, 2, 3, 4, 5, 6]), "--list", "people"]);
    home.ok(&[
        "import",
        &file("vip.csv", &[2, 3, 9]),
        "--list",
        "vip",
        "--tag",
        "VIP",
        "--consent",
        "yes",
        "--source",
        "fair",
    ]);
    home.ok(&["import", &file("staff.csv", &[4]), "--list", "staff"]);
    home.ok(&["account", "add", "a", "--url", "http://127.0.0.1:9", "--secret", "s"]);
    home.ok(&["account", "add", "b", "--url", "http://127.0.0.1:9", "--secret", "s"]);
    home.ok(&["template", "add", "t", "--channel", "sms", "--body", "Hello {{ name }}"]);
    home
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_is_counted_planned_and_refused_with_its_place() {
    let home = home().await;
    let count = |args: &[&str]| home.json(&[&["list", "count"], args].concat())["count"].clone();
    assert_eq!(count(&["people", "vip"]), 7);
    assert_eq!(count(&["people", "vip", "--minus", "staff"]), 6);
    assert_eq!(count(&["people", "--segment", "city = Oran and age >= 30 or source = people.csv and age = 25"]), 4);
    // The contact of the first list counts: there 2 and 3 have no tag.
    assert_eq!(
        (count(&["people", "vip", "--segment", "tag = vip"]), count(&["vip", "people", "--segment", "tag = vip"])),
        (json!(1), json!(3))
    );
    let said = home.ok(&["list", "count", "people", "vip", "--minus", "staff", "--segment", "consent = yes"]);
    assert!(said.contains("outside the segment") && said.contains("on a list left out"), "{said}");
    for (code, segment, expected) in [
        (2, "city = ", "character 8: the end where a value was expected\n  city = \n         ^"),
        (1, "ctiy = Oran", "character 1: no attribute \"ctiy\": did you mean city?"),
        (1, "read in sprung", "character 9: no campaign \"sprung\""),
    ] {
        let said = home.fails(code, &["list", "count", "people", "--segment", segment]);
        assert!(said.contains(expected), "{said}");
    }

    let create = ["campaign", "create", "c", "--template", "t", "--account", "a", "--list", "people", "--list", "vip"];
    let said = home.fails(1, &[&create[..], &["--segment", "shoe_size > 40"]].concat());
    assert!(said.contains("there are age, city"), "{said}");
    let made =
        home.json(&[&create[..], &["--minus", "staff", "--segment", "age > 25", "--category", "utility"]].concat());
    assert_eq!((&made["lists"], &made["minus"]), (&json!(["people", "vip"]), &json!(["staff"])));
    assert_eq!((&made["segment"], &made["category"]), (&json!("age > 25"), &json!("utility")));
    let plan = home.json(&["campaign", "plan", "c"]);
    assert_eq!((&plan["audience"], &plan["recipients"]), (&json!(7), &json!(5)));
    assert_eq!((&plan["excluded"]["minus"], &plan["excluded"]["outside"]), (&json!(1), &json!(1)));
    let said = home.ok(&["campaign", "plan", "c"]);
    assert!(said.contains("people, vip but not staff, 7 contacts") && said.contains("where age > 25"), "{said}");
    let said = home.fails(
        2,
        &["campaign", "create", "d", "--template", "t", "--account", "a", "--triggered", "--segment", "age > 1"],
    );
    assert!(said.contains("leave --minus and --segment out"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_the_workspace_are_set_and_shown_in_the_plan() {
    let home = home().await;
    home.ok(&["campaign", "create", "c", "--template", "t", "--account", "a", "--list", "people", "--list", "vip"]);
    assert!(home.ok(&["campaign", "plan", "c"]).contains("marketing; consent is assumed"));
    for bad in [["--cap", "0/7d"], ["--cap", "3"], ["--cap", "3/10m"], ["--consent", "maybe"]] {
        home.fails(2, &[&["workspace", "set"], &bad[..]].concat());
    }
    home.fails(2, &["workspace", "set"]);
    let set = home.json(&["workspace", "set", "--consent", "required", "--cap", "3/7d"]);
    assert_eq!((&set["consent"], &set["cap"]), (&json!("required"), &json!({"messages": 3, "hours": 168})));
    let plan = home.json(&["campaign", "plan", "c"]);
    assert_eq!((&plan["recipients"], &plan["excluded"]["no_consent"]), (&json!(1), &json!(6)));
    let said = home.ok(&["campaign", "plan", "c"]);
    assert!(
        said.contains("6 not opted in") && said.contains("at most 3 marketing messages to a contact in 7 days"),
        "{said}"
    );
    home.ok(&["contact", "set", "+213555000001", "--consent", "yes"]);
    assert_eq!(home.json(&["campaign", "plan", "c"])["recipients"], 2);
    assert_eq!(home.json(&["workspace", "set", "--cap", "none"])["cap"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_cloned_merged_and_exported() {
    let home = home().await;
    let cloned = home.json(&["list", "clone", "people", "oran", "--segment", "city = Oran"]);
    assert_eq!((&cloned["added"], &cloned["known"]), (&json!(3), &json!(0)));
    let said = home.fails(1, &["list", "clone", "people", "oran"]);
    assert!(said.contains("fanfare list merge people --into oran"), "{said}");
    let merged = home.json(&["list", "merge", "vip", "people", "--into", "oran", "--minus", "staff"]);
    assert_eq!((&merged["added"], &merged["known"]), (&json!(4), &json!(2)));
    home.fails(2, &["list", "merge", "oran", "--into", "oran"]);
    let csv = home.ok(&["list", "export", "vip", "people", "--segment", "tag = vip or age = 25"]);
    let mut lines = csv.lines();
    assert_eq!(lines.next().unwrap(), "phone,email,name,country,language,tags,consent,source,age,city");
    assert_eq!(lines.next().unwrap(), "+213555000001,m1@x.dz,Ali 1,DZ,,,,people.csv,25,Blida");
    assert_eq!(lines.next().unwrap(), "+213555000002,m2@x.dz,Ali 2,DZ,,vip,yes,fair,30,Oran");
    // What was written is read again, tags, consent and source with it.
    let file = home.file("again.csv", csv.as_bytes());
    assert_eq!(home.json(&["import", &file, "--list", "copy"])["imported"], 4);
    assert_eq!(
        home.json(&["list", "count", "copy", "--segment", "tag = vip and consent = yes and source = fair"])["count"],
        3
    );
    // An import into a list that was filled from others finds its contacts.
    let file = home.file("more.csv", "phone,name\n+213555000002,Other\n+213555000008,New\n");
    assert_eq!(home.json(&["import", &file, "--list", "oran"])["imported"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn suppressions_go_from_one_file_to_the_next() {
    let home = home().await;
    home.ok(&["list", "suppress", "+213555000001", "--reason", "asked by phone"]);
    home.ok(&["list", "suppress", "+213555000002", "--account", "b"]);
    home.ok(&["contact", "erase", "+213555000006"]);
    let said = home.fails(1, &["list", "suppress", "+213555000003", "--account", "c"]);
    assert!(said.contains("no account \"c\""), "{said}");
    let csv = home.ok(&["list", "suppressed", "--csv"]);
    assert!(csv.contains("+213555000001,,person,fanfare list suppress: asked by phone,"), "{csv}");
    assert!(
        csv.contains("+213555000002,b,person,") && csv.contains("erased:") && !csv.contains("+213555000006"),
        "{csv}"
    );
    let file = home.file("out.csv", &csv);
    let again = home.json(&["list", "suppress", "--file", &file]);
    assert_eq!((&again["suppressed"], &again["known"]), (&json!(0), &json!(4)));
    for (csv, expected) in
        [("phone\n+213555000003\n12\n", "nothing was taken"), ("name\nAli\n", "has no column address, phone, email")]
    {
        let file = home.file("bad.csv", csv);
        let said = home.fails(1, &["list", "suppress", "--file", &file]);
        assert!(said.contains(expected), "{said}");
    }
    let file = home.file("partner.csv", "email,reason\nm3@x.dz,complained\n");
    assert_eq!(home.json(&["list", "suppress", "--file", &file])["suppressed"], 1);
    let all = home.json(&["list", "suppressed"]);
    let one = all["suppressed"].as_array().unwrap().iter().find(|s| s["address"] == "m3@x.dz").unwrap().clone();
    assert_eq!((&one["reason"], &one["origin"], &one["account"]), (&json!("list"), &json!("complained"), &Value::Null));
    // Through account a only, b's suppression says nothing.
    for (account, left) in [("a", 4), ("b", 3)] {
        home.ok(&["campaign", "create", account, "--template", "t", "--account", account, "--list", "people"]);
        assert_eq!(home.json(&["campaign", "plan", account])["recipients"], left);
    }
    home.ok(&["list", "unsuppress", "+213555000002", "--account", "b"]);
    home.fails(1, &["list", "unsuppress", "+213555000002"]);
    assert_eq!(home.json(&["campaign", "plan", "b"])["recipients"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_is_shown_changed_and_erased() {
    let home = home().await;
    let show = || home.json(&["contact", "show", "0555000002", "--country", "DZ"]);
    assert_eq!(show()["contacts"].as_array().unwrap().len(), 2);
    home.fails(2, &["contact", "set", "+213555000002"]);
    let set = [
        "contact",
        "set",
        "+213555000002",
        "--list",
        "people",
        "--tag",
        "Gold",
        "--attribute",
        "age=31",
        "--unset",
        "city",
    ];
    assert_eq!(home.json(&set)["lists"], 1);
    home.ok(&["contact", "set", "+213555000002", "--tag", "new", "--untag", "gold", "--language", "fr"]);
    let known = show();
    let people = known["contacts"].as_array().unwrap().iter().find(|c| c["list"] == "people").unwrap();
    assert_eq!(
        (&people["tags"], &people["attributes"], &people["language"]),
        (&json!(["new"]), &json!({"age": 31}), &json!("fr"))
    );
    assert!(home.ok(&["contact", "show", "m2@x.dz"]).contains("known since"));
    let said = home.fails(1, &["contact", "show", "+213555000777"]);
    assert!(said.contains("no contact \"+213555000777\""), "{said}");

    let erased = home.json(&["contact", "erase", "+213555000002"]);
    assert_eq!((&erased["contacts"], &erased["addresses"]), (&json!(2), &json!(2)));
    let known = show();
    assert_eq!((known["contacts"].as_array().unwrap().len(), &known["suppressed"][0]["reason"]), (0, &json!("erased")));
    // The file brings it back; it is counted as suppressed, and no campaign writes to it.
    let file = home.file("back.csv", "phone\n+213555000002\n");
    assert_eq!(home.json(&["import", &file, "--list", "people"])["suppressed"], 1);
    home.ok(&[
        "campaign",
        "create",
        "c",
        "--template",
        "t",
        "--account",
        "a",
        "--list",
        "people",
        "--on-missing",
        "default",
    ]);
    assert_eq!(home.json(&["campaign", "plan", "c"])["excluded"]["suppressed"], 1);
    let said =
        home.fails(1, &["message", "send", "--account", "a", "--to", "+213555000002", "--text", "x", "--key", "k"]);
    assert!(said.contains("is suppressed"), "{said}");
}
