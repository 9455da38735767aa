//! Importing against `\copy` of the same rows into a table with a primary key.

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::files;
use crate::fleet::{Fleet, number, rounded};

pub async fn run(program: &Path, divide: u64) -> anyhow::Result<Value> {
    let (rows, sheet_rows) = (1_000_000 / divide, 500_000 / divide);
    let fleet = Fleet::new(program).await?;
    let (csv, xlsx) = (fleet.dir().join("rows.csv"), fleet.dir().join("rows.xlsx"));
    files::csv(&csv, rows)?;
    files::xlsx(&xlsx, sheet_rows as u32)?;

    let baseline = copy(&fleet, &csv).await?;
    let imported = fleet.run(&["import", &csv.to_string_lossy(), "--list", "csv", "--country", "DZ"])?;
    ensure!(imported["imported"] == json!(rows), "not all rows imported: {imported}");
    let sheet = fleet.run(&["import", &xlsx.to_string_lossy(), "--list", "xlsx", "--country", "DZ"])?;
    ensure!(sheet["imported"] == json!(sheet_rows), "not all rows imported: {sheet}");
    Ok(json!({
        "csv_rows": rows,
        "csv_seconds": rounded(number(&imported, "seconds")),
        "copy_seconds": rounded(baseline),
        "csv_to_copy": rounded(number(&imported, "seconds") / baseline),
        "csv_to_copy_target": 2.0,
        "csv_peak_rss_mib": rounded(number(&imported, "peak_rss_bytes") / 1048576.0),
        "csv_peak_rss_mib_target": 64,
        "xlsx_rows": sheet_rows,
        "xlsx_seconds": rounded(number(&sheet, "seconds")),
        "xlsx_peak_rss_mib": rounded(number(&sheet, "peak_rss_bytes") / 1048576.0),
        "xlsx_peak_rss_mib_target": 256,
    }))
}

/// Seconds that the server takes to copy the file into a table with a primary key.
async fn copy(fleet: &Fleet, file: &Path) -> anyhow::Result<f64> {
    let mut c = fleet.store.pool.acquire().await?;
    sqlx::query("create table baseline (phone text primary key, name text, city text, amount int)")
        .execute(&mut *c)
        .await?;
    let began = Instant::now();
    let mut sink = c.copy_in_raw("copy baseline from stdin (format csv, header)").await?;
    sink.read_from(tokio::fs::File::open(file).await?).await?;
    sink.finish().await?;
    Ok(began.elapsed().as_secs_f64())
}
