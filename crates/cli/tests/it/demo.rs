//! `fanfare demo`: the whole job, twice in the same installation.

use crate::program::{Home, object};

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_balances_and_can_be_run_again() {
    let home = Home::new().await;
    let demo = ["demo", "--recipients", "400", "--cap", "400/s"];
    let books = home.json(&demo);
    assert_eq!(books["ok"], true, "{books:#}");
    assert_eq!(books["provider"]["accepted_twice"], 0);
    assert!(books["killed"]["process"].as_u64() > Some(0) && books["killed"]["replaced_by"].as_u64() > Some(0));
    assert_eq!(books["files"].as_array().unwrap().len(), 3);

    let again = home.run(&[&demo[..], &["--faults", "none", "--seed", "2"]].concat());
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.out.contains("The books balance") && !again.out.contains('\u{1b}'), "{}", again.out);
    let left: Vec<_> = std::fs::read_dir(home.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["key"], "the demo removes its files");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_does_not_send_what_is_not_its_own() {
    let home = Home::new().await;
    home.campaign("http://127.0.0.1:9/send", 5, &[], &[]);
    home.ok(&["campaign", "launch", "c"]);
    let done = home.run(&["demo", "--recipients", "100", "--json"]);
    assert_eq!(done.code, 1);
    assert!(object(&done.out)["error"].as_str().unwrap().contains("has campaigns under way"), "{done:?}");
}
