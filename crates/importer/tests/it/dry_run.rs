//! A dry run says what would happen, and nothing happens.

use fanfare_importer::Options;
use fanfare_store::contacts::OnDuplicate;

use crate::support::{LIST, Scene, options, shown, with};

fn dry(options: Options) -> Options {
    Options { dry_run: true, ..options }
}

/// All that is in the tables an import writes to.
async fn everything(scene: &Scene) -> Vec<String> {
    sqlx::query_scalar(
        "select t::text from list t union all select t::text from contact t
         union all select t::text from import t union all select t::text from suppression t order by 1",
    )
    .fetch_all(&scene.store().pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_writes_nothing_and_tells_the_truth() {
    let scene = Scene::new().await;
    let rejects = scene.path("rejects.csv");
    let csv = "phone,name,opt out\n0555123456,Ali,\n0555123457,Zoe,yes\n0555123457,Again,\nx,,\n";
    let path = scene.file("f.csv", csv);
    let with_rejects = Options { rejects: Some(rejects.clone()), ..options() };
    let said = scene.counts(&path, dry(with_rejects.clone())).await;
    assert_eq!(shown(&said), "4: 2 0 0 1 1, 2");
    assert!(everything(&scene).await.is_empty() && !rejects.exists());
    assert_eq!(scene.counts(&path, with_rejects).await, said);

    let second = scene.file("g.csv", "phone,name\n0555123456,Ali\n0555123457,Zoé\n0555123458,New\n");
    for policy in [OnDuplicate::Skip, OnDuplicate::Overwrite, OnDuplicate::Merge] {
        let before = everything(&scene).await;
        let said = scene.counts(&second, dry(with(policy))).await;
        assert_eq!(said.suppressed, 1, "{policy:?}");
        assert_eq!(everything(&scene).await, before, "{policy:?}");
        // Finished imports, too, are told as they would be.
        let again = scene.counts(&path, dry(options())).await;
        assert_eq!(shown(&again), "4: 0 0 2 1 1, 2");
    }
    let said = scene.counts(&second, dry(with(OnDuplicate::Merge))).await;
    assert_eq!(scene.counts(&second, with(OnDuplicate::Merge)).await, said);
    assert_eq!(LIST, "people");
}
