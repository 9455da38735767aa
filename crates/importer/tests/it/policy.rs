//! What becomes of an address that is met again.

use fanfare_store::contacts::OnDuplicate::{self, Merge, Overwrite, Skip};

use crate::support::{Scene, options, shown, with};

const FIRST: &str = "phone,name,city,plan\n0555123456,Ali,Oran,\n0555123457,Zoe,,pro\n0555123458,Omar,Alger,free\n";
/// One as it is, one that differs, one that adds something and lacks something, one new, one faulty.
const SECOND: &str = "phone,name,city,plan\n0555123458,Omar,Alger,free\n0555123456,Ali B,Oran,\n0555123457,,Blida,\n0555123459,New,,\nx,,,\n";

async fn check(policy: OnDuplicate, counts: &str, expect: [&str; 4]) {
    let scene = Scene::new().await;
    scene.counts(&scene.file("first.csv", FIRST), options()).await;
    let second = scene.file("second.csv", SECOND);
    assert_eq!(shown(&scene.counts(&second, with(policy)).await), counts);
    assert_eq!(scene.lines().await, expect);
    // Once more it changes nothing.
    let again = scene.counts(&second, with(policy)).await;
    assert_eq!((again.imported, again.updated, again.rows, again.rejected), (0, 0, 5, 1));
    assert_eq!(again.unchanged + again.duplicates, 4);
    assert_eq!(scene.lines().await, expect);
}

const OMAR: &str = r#"+213555123458||Omar|DZ||{"city":"Alger","plan":"free"}"#;
const NEW: &str = "+213555123459||New|DZ||";

#[tokio::test(flavor = "multi_thread")]
async fn skip_keeps_what_the_list_has() {
    let expect = [r#"+213555123456||Ali|DZ||{"city":"Oran"}"#, r#"+213555123457||Zoe|DZ||{"plan":"pro"}"#, OMAR, NEW];
    check(Skip, "5: 1 0 1 2 1, 0", expect).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overwrite_takes_what_the_file_has() {
    let expect = [r#"+213555123456||Ali B|DZ||{"city":"Oran"}"#, r#"+213555123457|||DZ||{"city":"Blida"}"#, OMAR, NEW];
    check(Overwrite, "5: 1 2 1 0 1, 0", expect).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn merge_adds_and_never_erases() {
    let expect = [
        r#"+213555123456||Ali B|DZ||{"city":"Oran"}"#,
        r#"+213555123457||Zoe|DZ||{"city":"Blida","plan":"pro"}"#,
        OMAR,
        NEW,
    ];
    check(Merge, "5: 1 2 1 0 1, 0", expect).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_inside_a_file_are_duplicates_by_every_policy() {
    let csv = "phone,name,city\n0555123456,Ali,\n+213555123456,Ben,Oran\n00213555123456,,Alger\n";
    for (policy, expect) in [
        (Skip, "+213555123456||Ali|DZ||"),
        (Overwrite, r#"+213555123456|||DZ||{"city":"Alger"}"#),
        (Merge, r#"+213555123456||Ali|DZ||{"city":"Oran"}"#),
    ] {
        let scene = Scene::new().await;
        let counts = scene.counts(&scene.file("f.csv", csv), with(policy)).await;
        assert_eq!(shown(&counts), "3: 1 0 0 2 0, 0", "{policy:?}");
        assert_eq!(scene.lines().await, [expect], "{policy:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_the_phone_or_else_the_e_mail() {
    let scene = Scene::new().await;
    let csv = "phone,email,name\n0555123456,Ali@Example.com,Ali\n,ALI@example.com,Mail\n,ali@example.com,Again\n";
    assert_eq!(shown(&scene.counts(&scene.file("f.csv", csv), options()).await), "3: 2 0 0 1 0, 0");
    assert_eq!(scene.lines().await, ["+213555123456|ali@example.com|Ali|DZ||", "ali@example.com||Mail|||"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_do_not_share_contacts() {
    let scene = Scene::new().await;
    let path = scene.file("f.csv", FIRST);
    assert_eq!(scene.counts(&path, options()).await.imported, 3);
    let other = fanfare_importer::Options { list: "others".into(), ..options() };
    assert_eq!(scene.counts(&path, other).await.imported, 3);
}
