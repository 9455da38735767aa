//! Does the drain slow down when much is queued?

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::fleet::{Fleet, rounded};

/// How long each drain is watched.
const WATCHED: Duration = Duration::from_secs(10);

pub async fn run(program: &Path, divide: u64) -> anyhow::Result<Value> {
    let (shallow, deep) = (100_000 / divide, 10_000_000 / divide);
    // Interleaved, so that a machine that slows down does not speak for one of them.
    let mut rates = [vec![], vec![]];
    for _ in 0..2 {
        for (which, queued) in [shallow, deep].into_iter().enumerate() {
            rates[which].push(rate(program, queued).await?);
        }
    }
    let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
    Ok(json!({
        "shallow_queued": shallow,
        "shallow_rate": rounded(mean(&rates[0])),
        "deep_queued": deep,
        "deep_rate": rounded(mean(&rates[1])),
        "deep_to_shallow": rounded(mean(&rates[1]) / mean(&rates[0])),
        "deep_to_shallow_target": 0.95,
    }))
}

/// Messages per second out of a queue of `queued`, over as long as it lasts but at most `WATCHED`.
async fn rate(program: &Path, queued: u64) -> anyhow::Result<f64> {
    let fleet = Fleet::new(program).await?;
    let (_sim, port) = fleet.sim(&["--latency", "0ms"]).await?;
    fleet.campaign(port, 1_000, &["--price", "5000", "--idempotent", "true"], &[]).await?;
    fleet.run(&["campaign", "launch", "bench"])?;
    let mut scheduler = fleet.start(&["scheduler"])?;
    fleet.until("expand", Duration::from_secs(60), |s| s["expanded"] == json!(true)).await?;
    scheduler.stop()?;
    deepen(&fleet, queued).await?;
    let _worker = fleet.start(&["worker"])?;
    fleet.serving().await?;
    tokio::time::sleep(WATCHED).await;
    let (sent, seconds): (i64, f64) = sqlx::query_as(
        // The first and the last half second are left out: starting up, and running dry.
        "with t as (select min(at) + interval '0.5 s' as lo, max(at) - interval '0.5 s' as hi from outcome)
         select count(*), extract(epoch from max(t.hi) - min(t.lo))::float8 from outcome o, t where o.at between t.lo and t.hi",
    )
    .fetch_one(&fleet.store.pool)
    .await?;
    ensure!(sent > 0 && seconds > 0.5, "{sent} sent in {seconds} s");
    Ok(sent as f64 / seconds)
}

/// Fills the run up to `queued` recipients by copies of its first thousand, in segments as expand makes
/// them: importing ten million contacts would measure the importer.
pub async fn deepen(fleet: &Fleet, queued: u64) -> anyhow::Result<()> {
    let mut c = fleet.store.pool.acquire().await?;
    for sql in [
        "insert into recipient (workspace_id, seq, run_id, units, variant, address, country, params)
         select r.workspace_id, s, r.run_id, r.units, r.variant, r.address, r.country, r.params
         from generate_series(1000, $1 - 1) s join recipient r on r.seq = s % 1000
         where r.run_id = (select run_id from run where kind = 1)",
        "insert into segment select workspace_id, run_id, s, s * 100000 + 1000, least((s + 1) * 100000 + 1000, $1), s * 100000 + 1000,
           'deep ' || s, 0, 0, 0, 0
         from segment, generate_series(1, ($1 - 1000) / 100000) s
         where segment_no = 0 and run_id = (select run_id from run where kind = 1)",
        "insert into segment select workspace_id, run_id, 1000000, 1000, least(101000, $1), 1000, 'deep', 0, 0, 0, 0
         from segment where segment_no = 0 and $1 > 1000 and run_id = (select run_id from run where kind = 1)",
        "analyze recipient",
        "checkpoint",
    ] {
        let query = sqlx::query(sql);
        if sql.contains("$1") { query.bind(queued as i32).execute(&mut *c).await? } else { query.execute(&mut *c).await? };
    }
    Ok(())
}
