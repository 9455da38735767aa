//! Memory does not grow with the file. Each measurement is a program of its own: this one, run for one of
//! the tests below with a file to import.

use std::process::Command;

use fanfare_store::Store;
use fanfare_store::seal::Seal;
use rust_xlsxwriter::Workbook;

use crate::support::{Scene, many, options};

const FILE: &str = "FANFARE_TEST_IMPORT_FILE";
const URL: &str = "FANFARE_TEST_IMPORT_URL";
const WORKSPACE: &str = "FANFARE_TEST_IMPORT_WORKSPACE";
const PEAK: &str = "peak KiB ";

/// Imports the file that the environment names, and says how much memory that took. Without one it is a
/// test of nothing.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "the program that measures reads it")]
async fn measured() {
    let (Ok(file), Ok(url), Ok(workspace)) = (std::env::var(FILE), std::env::var(URL), std::env::var(WORKSPACE)) else {
        return;
    };
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let store = Store::from_pool(pool, Seal::from_base64(fanfare_testdb::KEY).unwrap());
    let mut quiet = fanfare_importer::Quiet;
    let source = fanfare_importer::Source::named(&file);
    let done = fanfare_importer::import(&store, workspace.parse().unwrap(), source, options(), &mut quiet).await;
    let peak = match &done {
        Ok(summary) => summary.peak_rss_bytes / 1024,
        Err(e) => {
            println!("refused: {e}");
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
            line.trim().trim_end_matches(" kB").parse().unwrap()
        }
    };
    println!("{PEAK}{peak}");
}

/// Most memory that an import of the file takes, MiB; it is `refused` or not.
fn peak_mib(scene: &Scene, file: &std::path::Path, refused: bool) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::measured", "--nocapture"])
        .env(FILE, file)
        .env(URL, &scene.db.url)
        .env(WORKSPACE, scene.workspace_id.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("refused") || refused, "{text}");
    let peak = text.lines().find_map(|line| Some(line.split_once(PEAK)?.1.trim().parse::<u64>().unwrap()));
    peak.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr))) / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_csv_takes_no_more_memory_than_a_short_one() {
    let scene = Scene::new().await;
    let short = peak_mib(&scene, &scene.file("short.csv", many(40_000)), false);
    let long = peak_mib(&scene, &scene.file("long.csv", many(300_000)), false);
    assert_eq!(scene.contacts().await.len(), 300_000);
    assert!(long <= 64 && long <= short + 16, "{short} MiB for 40,000 rows, {long} MiB for 300,000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_workbook_is_streamed() {
    let scene = Scene::new().await;
    let write = |name: &str, rows: u32| {
        let mut book = Workbook::new();
        let sheet = book.add_worksheet_with_constant_memory().unwrap();
        sheet.write_string(0, 0, "phone").unwrap();
        for i in 0..rows {
            sheet.write_number(i + 1, 0, 213_550_000_000.0 + f64::from(i)).unwrap();
            sheet.write_string(i + 1, 1, format!("Name {i}")).unwrap();
        }
        let path = scene.path(name);
        book.save(&path).unwrap();
        path
    };
    let short = peak_mib(&scene, &write("short.xlsx", 5_000), false);
    let long = peak_mib(&scene, &write("long.xlsx", 100_000), false);
    assert_eq!(scene.contacts().await.len(), 100_000);
    assert!(long <= 80 && long <= short + 30, "{short} MiB for 5,000 rows, {long} MiB for 100,000");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_endless_line_is_not_read_into_memory() {
    let scene = Scene::new().await;
    let mut endless = b"phone,note\n0555123456,\"".to_vec();
    endless.resize(200 * 1024 * 1024, b'x');
    let peak = peak_mib(&scene, &scene.file("endless.csv", endless), true);
    assert!(peak <= 48, "{peak} MiB");
    assert!(scene.contacts().await.is_empty());
}
