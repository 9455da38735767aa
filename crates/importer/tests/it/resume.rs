//! Imports that are killed, run twice, or run at once.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use fanfare_importer::{ImportError, Options, Position, Progress, Quiet, Source, Stage, import};
use fanfare_store::Store;
use fanfare_store::contacts::OnDuplicate;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::{mpsc, oneshot};

use crate::support::{Scene, many, options, shown, with};

/// Says when this many rows are committed.
struct After(i64, mpsc::UnboundedSender<()>);

impl Progress for After {
    fn at(&mut self, position: Position) {
        if position.rows as i64 >= self.0 {
            let _ = self.1.send(());
        }
    }
}

/// Runs an import until `rows` rows are committed, and drops it there. Its connections are its own, as a
/// program's are that is killed: one may be left in the midst of a transaction.
async fn killed(scene: &Scene, path: &Path, options: Options, rows: i64) {
    let shared = scene.store();
    let own = PgPoolOptions::new().connect_lazy_with(shared.pool.connect_options().as_ref().clone());
    let store = Store::from_pool(own, shared.seal.clone());
    let (sender, mut committed) = mpsc::unbounded_channel();
    let mut progress = After(rows, sender);
    tokio::select! {
        biased;
        _ = committed.recv() => {}
        done = import(&store, scene.workspace_id, Source::Path(path.to_owned()), options, &mut progress) => panic!("{done:?}"),
    }
}

/// The bytes that loading has done with, as they were told.
#[derive(Default)]
struct Told(Vec<u64>, u64);

impl Progress for Told {
    fn at(&mut self, position: Position) {
        if position.stage == Stage::Loading {
            self.0.push(position.bytes);
            self.1 = position.bytes_total;
        }
    }
}

/// A file with faulty rows and repeats, in more than four batches.
fn dirty() -> String {
    let mut csv = many(45_000);
    for i in 0..200 {
        csv.push_str(&format!("1234,bad {i},\n+2135550000{:03},again {i},Alger\n", i * 7919 % 1000));
    }
    csv
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_import_goes_on_to_the_same_end() {
    let scene = Scene::new().await;
    for policy in [OnDuplicate::Skip, OnDuplicate::Merge] {
        let path = scene.file("f.csv", dirty());
        let options = Options { rejects: Some(scene.path("rejects.csv")), ..with(policy) };
        let whole = scene.import(&path, options.clone()).await.unwrap();
        let (expect, rejects) = (scene.lines().await, fs::read_to_string(scene.path("rejects.csv")).unwrap());
        scene.clear().await;
        fs::remove_file(scene.path("rejects.csv")).unwrap();

        for rows in [1, 20_001] {
            killed(&scene, &path, options.clone(), rows).await;
            let at = scene.count("select rows from import where state = 1").await;
            assert!(at >= rows && at < whole.counts.rows, "{at}");
            assert!(!scene.path("rejects.csv").exists(), "half a rejects file");
        }
        let resumed = scene.import(&path, options.clone()).await.unwrap();
        assert_eq!(resumed.counts, whole.counts, "{policy:?}");
        assert_eq!(resumed.rejects, whole.rejects);
        assert_eq!(scene.lines().await, expect);
        assert_eq!(fs::read_to_string(scene.path("rejects.csv")).unwrap(), rejects);
        scene.clear().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_cut_off_leaves_nothing() {
    let scene = Scene::new().await;
    let path = scene.file("f.csv", dirty());
    killed(&scene, &path, options(), 1).await;
    let at = scene.count("select rows from import").await;
    let before = scene.count("select count(*) from contact").await;

    // The next batch has copied its contacts in, and waits for the checkpoint: there it loses its server.
    let mut guard = scene.store().pool.begin().await.unwrap();
    sqlx::query("select 1 from import for update").execute(&mut *guard).await.unwrap();
    let cut_off = async {
        loop {
            let cut: bool = sqlx::query_scalar(
                "select coalesce(bool_or(pg_terminate_backend(pid)), false) from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock' and query like '-- lock%'",
            )
            .fetch_one(&scene.store().pool)
            .await
            .unwrap();
            if cut {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (failed, ()) = tokio::join!(scene.import(&path, options()), cut_off);
    assert!(matches!(failed, Err(ImportError::Store(_))), "{failed:?}");
    guard.rollback().await.unwrap();
    assert_eq!(scene.count("select rows from import").await, at);
    assert_eq!(scene.count("select count(*) from contact").await, before);

    let counts = scene.counts(&path, options()).await;
    assert_eq!(counts.rows, 45_400);
    assert_eq!(scene.count("select count(*) from contact").await, counts.imported);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_import_again_changes_nothing() {
    let scene = Scene::new().await;
    let options = Options { rejects: Some(scene.path("rejects.csv")), ..with(OnDuplicate::Overwrite) };
    let path = scene.file("f.csv", "phone,name\n0555123456,Ali\n0555123457,Zoe\n0555123457,Zoé\nx,\n");
    assert_eq!(shown(&scene.counts(&path, options.clone()).await), "4: 2 0 0 1 1, 0");
    let (lines, rejects) = (scene.lines().await, fs::read(scene.path("rejects.csv")).unwrap());
    fs::remove_file(scene.path("rejects.csv")).unwrap();
    // Under another name it is the same file.
    let renamed = scene.file("g.csv", fs::read(&path).unwrap());
    let again = scene.import(&renamed, options.clone()).await.unwrap();
    assert_eq!(shown(&again.counts), "4: 0 0 2 1 1, 0");
    assert_eq!(again.rejects.len(), 1);
    assert_eq!((scene.lines().await, fs::read(scene.path("rejects.csv")).unwrap()), (lines.clone(), rejects));
    assert_eq!(scene.count("select count(*) from import").await, 1);
    // Other options make another import, which finds everything there.
    assert_eq!(shown(&scene.counts(&path, with(OnDuplicate::Merge)).await), "4: 0 1 1 1 1, 0");
    assert_eq!(scene.count("select count(*) from import").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_with_the_same_file_do_not_mix() {
    let scene = Scene::new().await;
    let path = scene.file("f.csv", many(50_000));
    let (a, b, c) =
        tokio::join!(scene.import(&path, options()), scene.import(&path, options()), scene.import(&path, options()));
    let results = [a, b, c];
    let won = results.iter().filter(|r| r.is_ok()).count();
    assert!(won >= 1, "{results:?}");
    for lost in results.iter().filter_map(|r| r.as_ref().err()) {
        assert!(lost.to_string().starts_with("another program is importing the same file into this list"), "{lost}");
    }
    let again = scene.counts(&path, options()).await;
    assert_eq!(shown(&again), "50000: 0 0 50000 0 0, 0");
    assert_eq!(scene.count("select count(*) from contact").await, 50_000);
    assert_eq!(scene.count("select imported from import").await, 50_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_files_at_once_share_a_list() {
    let scene = Scene::new().await;
    // Each has 25,000 numbers; neighbours share 10,000 of them, in opposite order.
    let part = |from: usize, backwards: bool| {
        let mut rows: Vec<String> = (from..from + 25_000).map(|i| format!("+21355{i:07},n {i}\n")).collect();
        if backwards {
            rows.reverse();
        }
        format!("phone,name\n{}", rows.concat())
    };
    let paths = [
        scene.file("a.csv", part(0, false)),
        scene.file("b.csv", part(15_000, true)),
        scene.file("c.csv", part(30_000, false)),
    ];
    let (a, b, c) = tokio::join!(
        scene.import(&paths[0], with(OnDuplicate::Merge)),
        scene.import(&paths[1], with(OnDuplicate::Merge)),
        scene.import(&paths[2], with(OnDuplicate::Merge)),
    );
    let counts = [a, b, c].map(|r| r.unwrap().counts);
    assert_eq!(counts.iter().map(|c| c.imported).sum::<i64>(), 55_000, "{counts:?}");
    assert_eq!(counts.iter().map(|c| c.unchanged).sum::<i64>(), 20_000, "{counts:?}");
    assert_eq!(scene.count("select count(*) from contact").await, 55_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_comes_again_after_another_is_imported_anew() {
    let scene = Scene::new().await;
    let a = scene.file("a.csv", "phone,name\n0555123456,Ali\n0555123457,Zoe\n");
    let b = scene.file("b.csv", "phone,name\n0555123456,Other\n");
    let (overwrite, dry) = (with(OnDuplicate::Overwrite), Options { dry_run: true, ..with(OnDuplicate::Overwrite) });
    assert_eq!(shown(&scene.counts(&a, overwrite.clone()).await), "2: 2 0 0 0 0, 0");
    let first = scene.lines().await;
    assert_eq!(shown(&scene.counts(&b, overwrite.clone()).await), "1: 0 1 0 0 0, 0");
    assert_eq!(shown(&scene.counts(&a, dry.clone()).await), "2: 0 1 1 0 0, 0");
    assert_eq!(shown(&scene.counts(&a, overwrite.clone()).await), "2: 0 1 1 0 0, 0");
    assert_eq!(scene.lines().await, first);
    // Nothing came between: these are one import.
    assert_eq!(shown(&scene.counts(&a, overwrite).await), "2: 0 0 2 0 0, 0");
    assert_eq!(scene.count("select count(*) from import").await, 3);
    assert_eq!(scene.lines().await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_comes_again_after_half_of_another_is_imported_anew() {
    let scene = Scene::new().await;
    let a = scene.file("a.csv", many(5));
    let b = scene.file("b.csv", many(45_000).replace("Name", "Other"));
    scene.counts(&a, with(OnDuplicate::Overwrite)).await;
    let first = scene.lines().await;
    killed(&scene, &b, with(OnDuplicate::Overwrite), 1).await;
    assert_eq!(shown(&scene.counts(&a, with(OnDuplicate::Overwrite)).await), "5: 0 5 0 0 0, 0");
    let now = scene.lines().await;
    assert!(first.iter().all(|line| now.contains(line)), "{first:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_in_already_move_the_progress_too() {
    let scene = Scene::new().await;
    let path = scene.file("f.csv", many(60_000));
    scene.counts(&path, options()).await;
    let mut told = Told::default();
    scene.import_watched(Source::Path(path), options(), &mut told).await.unwrap();
    let Told(bytes, total) = told;
    assert!(bytes.iter().any(|b| (1..total).contains(b)), "{bytes:?} of {total}");
    assert_eq!(bytes.last(), Some(&total));
}

/// A stream without an end, which says when nobody reads it any more.
struct Endless(Option<oneshot::Sender<()>>);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        std::thread::sleep(Duration::from_millis(1));
        buffer[0] = b'x';
        Ok(1)
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        // The test may be over.
        let _ = self.0.take().map(|left| left.send(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_ends_when_the_import_is_dropped() {
    let scene = Scene::new().await;
    let (sender, left) = oneshot::channel();
    let source = Source::Stream(Box::new(Endless(Some(sender))), "endless".into());
    let mut quiet = Quiet;
    let reading = scene.import_watched(source, options(), &mut quiet);
    assert!(tokio::time::timeout(Duration::from_millis(50), reading).await.is_err());
    tokio::time::timeout(Duration::from_secs(10), left).await.expect("it is still read").unwrap();
}
