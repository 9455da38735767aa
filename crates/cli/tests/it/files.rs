//! `fanfare import` as the command line has it: several files, standard input, rejects, rehearsals.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::program::{Done, Home, eventually, object};

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
async fn files_of_one_name_have_rejects_of_their_own() {
    let home = Home::new().await;
    for (folder, row) in [("a", "x,Ann"), ("b", "y,Bob")] {
        std::fs::create_dir(home.path(folder)).unwrap();
        std::fs::write(home.path(folder).join("c.csv"), format!("{GOOD}{row}\n")).unwrap();
    }
    home.ok(&["import", "a/c.csv", "b/c.csv", "--list", "l", "--country", "DZ", "--rejects", "bad.csv"]);
    let read = |name: &str| std::fs::read_to_string(home.path(name)).unwrap();
    assert!(read("bad-c.csv.csv").contains("x,Ann") && read("bad-c.csv-2.csv").contains("y,Bob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_replace_no_file_that_is_imported() {
    let home = Home::new().await;
    let one = home.file("one.csv", GOOD);
    let two = home.file("bad-one.csv.csv", format!("{GOOD}x,Cy\n"));
    let said = home.fails(2, &["import", &one, &two, "--list", "l", "--rejects", "bad.csv"]);
    assert!(said.contains("the rejects would replace") && said.contains("bad-one.csv.csv"), "{said}");
    assert!(std::fs::read_to_string(&two).unwrap().ends_with("x,Cy\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_advice_for_rejects_repeats_what_the_import_was_told() {
    let home = Home::new().await;
    let file = home.file("c.csv", "Handy Nr;Wer\n0770000001;Ann\nx;Di\n");
    let import =
        ["import", &file, "--list", "l", "--country", "DZ", "--map", "phone=Handy Nr", "--on-duplicate", "merge"];
    let said = home.ok(&[&import[..], &["--rejects", "to do.csv"]].concat());
    let advice = "fanfare import 'to do.csv' --list l --country DZ --on-duplicate merge --map 'phone=Handy Nr'\n";
    assert!(said.contains(advice), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_is_on_record_when_a_later_file_fails() {
    let home = Home::new().await;
    let one = home.file("one.csv", GOOD);
    let args = ["import", &one, "gone.csv", "also.csv", "--list", "l", "--country", "DZ"];
    let done = home.run(&[&args[..], &["--json"]].concat());
    let said = object(&done.out);
    assert_eq!((done.code, &said["imported"], &said["files"][0]["rows"]), (1, &2.into(), &2.into()), "{said}");
    assert!(said["error"].as_str().unwrap().contains("gone.csv: cannot open it"), "{said}");
    let done = home.run(&args);
    assert!(done.err.contains("1 of 3 files are in, from this one on none is"), "{done:?}");
}

/// Interrupted in its midst, an import says what is in, and the same command does the rest.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_import_says_how_far_it_came() {
    let home = Home::new().await;
    let mut text = String::from("phone\n");
    (0..400_000).for_each(|i| text.push_str(&format!("+2137700{i:05}\n")));
    let file = home.file("c.csv", text);
    let mut import = home.command(&["import", &file, "--list", "l"]);
    let child = import.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let contacts = || home.json(&["list", "ls"])["lists"][0]["contacts"].as_i64().unwrap_or(0);
    eventually("the first rows are in", || contacts() > 0);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let done = Done::of(child.wait_with_output().unwrap());
    assert!(done.code == 130 && done.err.contains("rows of c.csv are in; the same command goes on"), "{done:?}");
    let all = home.json(&["import", &file, "--list", "l"]);
    assert_eq!(all["rows"], 400_000, "{all}");
    assert_eq!(home.json(&["list", "ls"])["lists"][0]["contacts"], all["imported"], "{all}");
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
