//! Who has opted out is in the list and is not written to.

use fanfare_store::suppressions::{self, Reason};
use futures::TryStreamExt as _;

use crate::support::{Scene, options, shown};

#[tokio::test(flavor = "multi_thread")]
async fn opting_out_suppresses_every_address_of_the_row() {
    let scene = Scene::new().await;
    let csv = "phone,email,name,Désabonné\n0555123456,a@b.dz,Ali,oui\n0555123457,c@d.dz,Zoe,non\n0555123458,a@b.dz,Omar,\n0555123457,,Late,x\n";
    // Omar shares Ali's mailbox; the last row opts Zoe out, after her own row.
    let counts = scene.counts(&scene.file("f.csv", csv), options()).await;
    assert_eq!(shown(&counts), "4: 3 0 0 1 0, 3");
    let mut c = scene.store().pool.acquire().await.unwrap();
    let all: Vec<_> = suppressions::all(&mut c, scene.workspace_id).try_collect().await.unwrap();
    let shown_all: Vec<_> = all.iter().map(|s| (s.address.as_str(), s.reason)).collect();
    assert_eq!(shown_all, [("+213555123456", Reason::File), ("+213555123457", Reason::File), ("a@b.dz", Reason::File)]);
    assert!(all[0].origin.ends_with("f.csv, row 1"), "{}", all[0].origin);
    assert_eq!(scene.contacts().await.len(), 3);
    drop(c);

    // A later file counts them, and does not lift anything.
    let later = "phone,Désabonné\n0555123456,non\n0555123459,non\n";
    assert_eq!(shown(&scene.counts(&scene.file("g.csv", later), options()).await), "2: 1 0 0 1 0, 1");
    assert_eq!(scene.count("select count(*) from suppression").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn suppressions_are_added_looked_up_and_lifted() {
    let scene = Scene::new().await;
    let mut c = scene.store().pool.acquire().await.unwrap();
    let (ws, now) = (scene.workspace_id, scene.store().clock.now());
    let pepper = scene.store().seal.pepper();
    let by = |address: &str| (address.to_owned(), "support".to_owned());
    assert!(!suppressions::any(&mut c, ws).await.unwrap());
    let added = suppressions::add(&mut c, ws, &[by("+1"), by("x@y.z"), by("+1")], Reason::Person, now).await.unwrap();
    assert_eq!(added, 2);
    assert_eq!(suppressions::add(&mut c, ws, &[by("+1")], Reason::Recipient, now).await.unwrap(), 0);
    assert_eq!(suppressions::among(&mut c, pepper, ws, &["+1", "+2"]).await.unwrap(), ["+1"]);
    suppressions::remove(&mut c, pepper, ws, "+1", None).await.unwrap();
    let e = suppressions::remove(&mut c, pepper, ws, "+1", None).await.unwrap_err();
    assert!(e.to_string().contains(r#"no suppressed address "+1""#), "{e}");
    assert!(suppressions::any(&mut c, ws).await.unwrap());
}
