//! `fanfare import` as the command line has it: several files, standard input, rejects, rehearsals.

use crate::program::Home;

const GOOD: &str = "phone,name\n0770000001,Ann\n0770000002,Bob\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_put_right_and_imported_again() {
    let home = Home::new().await;
    let file = home.file("c.csv", format!("{GOOD}0770,Cy\nn/a,Di\n"));
    let import = ["import", &file, "--list", "l", "--country", "DZ", "--rejects", "bad.csv"];
    let said = home.ok(&import);
    assert!(said.contains("row 3") && said.contains("fanfare import bad.csv --list l"), "{said}");
    let rejects = std::fs::read_to_string(home.path("bad.csv")).unwrap();
    let mended = rejects.replace("0770,", "0770000003,").replace("n/a", "0770000004");
    assert_ne!(rejects, mended);
    std::fs::write(home.path("bad.csv"), mended).unwrap();
    let again = home.json(&["import", "bad.csv", "--list", "l", "--country", "DZ"]);
    assert_eq!((&again["imported"], &again["rejected"]), (&2.into(), &0.into()), "{again}");
    assert_eq!(home.ok(&["list", "export", "l"]).lines().count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_files_have_an_account_each_and_one_together() {
    let home = Home::new().await;
    let one = home.file("one.csv", GOOD);
    let two = home.file("two.csv", "phone;name\n0770000002;Bob\n0770000003;Cy\nx;Di\n");
    let both = home.json(&["import", &one, &two, "--list", "l", "--country", "DZ", "--rejects", "bad.csv"]);
    assert_eq!((&both["rows"], &both["imported"], &both["rejected"]), (&5.into(), &3.into(), &1.into()), "{both}");
    assert_eq!((&both["files"][0]["rows"], &both["files"][1]["rows"]), (&2.into(), &3.into()));
    assert!(home.path("bad-two.csv.csv").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_is_a_file_too_and_a_rehearsal_writes_nothing() {
    let home = Home::new().await;
    let import = ["import", "-", "--list", "l", "--country", "DZ", "--json"];
    let done = home.run_with(&[&import[..], &["--dry-run"]].concat(), GOOD.as_bytes());
    assert!(done.code == 0 && done.out.contains("\"imported\":2"), "{done:?}");
    home.fails(1, &["list", "export", "l"]);
    let done = home.run_with(&import, GOOD.as_bytes());
    assert!(done.code == 0 && done.out.contains("\"imported\":2"), "{done:?}");
    assert_eq!(home.ok(&["list", "export", "l"]).lines().count(), 3);
    let done = home.run_with(&import, GOOD.as_bytes());
    assert!(done.code == 0 && done.err.is_empty(), "{done:?}");
    assert_eq!(home.ok(&["list", "export", "l"]).lines().count(), 3, "twice the same changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_can_be_imported() {
    let home = Home::new().await;
    let file = home.file("c.csv", "phone,email,name,langue,Ville,Age\n0770000001,ann@example.com,Ann,fr,\"Oran, DZ\",41\n,bob@example.com,Bob,,,\n");
    home.ok(&["import", &file, "--list", "l", "--country", "DZ"]);
    let out = home.ok(&["list", "export", "l"]);
    let copy = home.file("copy.csv", &out);
    let imported = home.json(&["import", &copy, "--list", "m"]);
    assert_eq!(imported["imported"], 2, "{imported}");
    assert_eq!(home.ok(&["list", "export", "m", "--json-lines"]), home.ok(&["list", "export", "l", "--json-lines"]));
}
