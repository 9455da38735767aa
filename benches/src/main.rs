//! Measures Fanfare, each figure beside its baseline in the same run, and prints one JSON object.
//!
//! Everything is run as a user would: the release binary, real processes, the embedded database with
//! its durable settings, the simulator on loopback.

mod bare;
mod crash;
mod depth;
mod drain;
mod expand;
mod files;
mod fleet;
mod forecast;
mod import;
mod limit;
mod meter;
mod pause;
mod storm;
mod urgent;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use serde_json::{Map, Value};

#[derive(Debug, Parser)]
#[command(name = "fanfare-benches")]
struct Cli {
    /// The fanfare program to measure
    #[arg(long, global = true, default_value = "target/release/fanfare")]
    fanfare: PathBuf,
    /// Divide every size by this, to try the benches out
    #[arg(long, global = true, default_value_t = 1)]
    divide: u64,
    #[command(subcommand)]
    bench: Option<Bench>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Bench {
    /// 1M rows of CSV against \copy; 500k rows of xlsx
    Import,
    /// 1M recipients against INSERT … SELECT
    Expand,
    /// 200k messages against the bare HTTP client
    Drain,
    /// The drain with 10M queued against 100k queued
    Depth,
    /// 4 workers at 500/s for 60 s, also with one killed half-way
    Limit,
    /// 30k messages, a worker killed every 300 ms, the database killed once; keys honoured and not
    Crash,
    /// 100k messages with heavy faults, audited every 100 ms
    Conservation,
    /// 100k receipts, a third of them repeats, all out of order, while 20k messages are sent
    Storm,
    /// Five campaigns: what their plans foretell beside what comes of them
    Forecast,
    /// 50k messages paused, changed and resumed at 20 moments: pause to last send
    Pause,
    /// Messages that come one by one beside 1M queued ones at the cap, 80/s and 1000/s: how soon they are sent
    Urgent,
    /// The bare HTTP client, as a process of its own (used by drain)
    #[command(hide = true)]
    Bare {
        /// Port of the simulator
        port: u16,
        /// Messages to send
        messages: u64,
    },
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let all = [
        Bench::Import,
        Bench::Expand,
        Bench::Drain,
        Bench::Depth,
        Bench::Limit,
        Bench::Crash,
        Bench::Conservation,
        Bench::Storm,
        Bench::Forecast,
        Bench::Pause,
        Bench::Urgent,
    ];
    let mut report = Map::new();
    for bench in cli.bench.map_or(all.to_vec(), |one| vec![one]) {
        report.insert(name(bench).to_owned(), runtime.block_on(run(bench, &cli))?);
    }
    #[allow(clippy::print_stdout, reason = "the report is what this program is for")]
    {
        println!("{}", serde_json::to_string_pretty(&Value::Object(report))?);
    }
    Ok(())
}

async fn run(bench: Bench, cli: &Cli) -> anyhow::Result<Value> {
    eprintln!("measuring {} …", name(bench));
    let (program, divide) = (cli.fanfare.as_path(), cli.divide.max(1));
    match bench {
        Bench::Import => import::run(program, divide).await,
        Bench::Expand => expand::run(program, divide).await,
        Bench::Drain => drain::run(program, divide).await,
        Bench::Depth => depth::run(program, divide).await,
        Bench::Limit => limit::run(program, divide).await,
        Bench::Crash => crash::run(program, divide).await,
        Bench::Conservation => crash::conservation(program, divide).await,
        Bench::Storm => storm::run(program, divide).await,
        Bench::Forecast => forecast::run(program, divide).await,
        Bench::Pause => pause::run(program, divide).await,
        Bench::Urgent => urgent::run(program, divide).await,
        Bench::Bare { port, messages } => bare::run(port, messages).await,
    }
}

fn name(bench: Bench) -> &'static str {
    match bench {
        Bench::Import => "import",
        Bench::Expand => "expand",
        Bench::Drain => "drain",
        Bench::Depth => "depth",
        Bench::Limit => "limit",
        Bench::Crash => "crash",
        Bench::Conservation => "conservation",
        Bench::Storm => "storm",
        Bench::Forecast => "forecast",
        Bench::Pause => "pause",
        Bench::Urgent => "urgent",
        Bench::Bare { .. } => "bare",
    }
}
