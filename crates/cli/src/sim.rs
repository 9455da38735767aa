//! `fanfare sim`: a provider on loopback, with faults, that judges what it was sent.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use fanfare_sim::{Chance, Config, ConfigError, Faults, Sim, Status, Target};
use serde_json::json;

use crate::logs;
use crate::output::Output;
use crate::roles::stop_on_signals;

#[derive(Debug, Args)]
pub struct Options {
    /// Which provider it is: http, meta, …
    #[arg(long, default_value = "http")]
    kind: fanfare_sim::Kind,
    /// Address for messages, on loopback; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "HOST:PORT")]
    listen: SocketAddr,
    /// Address for statistics and control, which an outage leaves alone [default: a free port]
    #[arg(long, value_name = "HOST:PORT")]
    control: Option<SocketAddr>,
    /// Time from a request to its answer
    #[arg(long, default_value = "0", value_name = "TIME", value_parser = fanfare_sim::duration)]
    latency: Duration,
    /// How often it fails: none, light (2 % of requests) or heavy (19 %)
    #[arg(long, default_value = "none", value_parser = preset)]
    faults: Faults,
    /// One fault and how often, e.g. 429=0.02 or reset-accepted=0.1; repeat it for several
    #[arg(long = "fault", value_name = "KIND=PROBABILITY")]
    more: Vec<Chance>,
    /// Whether a message is accepted once only per Idempotency-Key
    #[arg(long, value_name = "true|false", default_value_t = true, action = clap::ArgAction::Set)]
    idempotent: bool,
    /// The only bearer token that is let in [default: every one]
    #[arg(long, value_name = "TOKEN")]
    secret: Option<String>,
    /// What an account sends above this is answered with 429, e.g. 500/s
    #[arg(long, value_name = "COUNT/UNIT")]
    cap: Option<fanfare_sim::Cap>,
    /// A window in which requests are counted; repeat it for several [default: 1s and 60s]
    #[arg(long = "window", value_name = "TIME", value_parser = fanfare_sim::duration)]
    windows: Vec<Duration>,
    /// Take anything for everybody, also where only those who wrote within a day may be sent more than templates
    #[arg(long)]
    open_window: bool,
    /// Where delivery receipts are posted
    #[arg(long, value_name = "URL")]
    receipts_to: Option<Target>,
    /// Which receipts each message has: sent, delivered, read; repeat it for several [default: delivered]
    #[arg(long = "receipt", value_name = "STATUS")]
    receipts: Vec<Status>,
    /// What posts are signed with, where the provider signs
    #[arg(long, value_name = "KEY")]
    hook_key: Option<String>,
    /// Seed of the faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One of the presets.
pub fn preset(name: &str) -> Result<Faults, ConfigError> {
    Faults::preset(name)
}

impl Options {
    fn config(&self) -> anyhow::Result<Config> {
        let mut config = Config {
            kind: self.kind,
            latency: self.latency,
            faults: self.more.iter().try_fold(self.faults.clone(), |faults, chance| faults.with(*chance))?,
            honour_keys: self.idempotent,
            secret: self.secret.clone(),
            cap: self.cap,
            seed: self.seed,
            open_window: self.open_window,
            receipts_to: self.receipts_to.clone(),
            hook_key: self.hook_key.clone(),
            control: self.control,
            ..Config::default()
        };
        if !self.receipts.is_empty() {
            config.receipts.clone_from(&self.receipts);
        }
        if !self.windows.is_empty() {
            config.windows.clone_from(&self.windows);
        }
        let addresses = [Some(self.listen), self.control];
        match addresses.into_iter().flatten().find(|a| !a.ip().is_loopback()) {
            Some(open) => {
                bail!("{open} is open to other machines: the simulator listens on loopback only, e.g. 127.0.0.1")
            }
            None => Ok(config),
        }
    }
}

/// Serves until it is told to stop; prints `ready` when it does.
pub async fn run(options: &Options, output: Output) -> anyhow::Result<ExitCode> {
    logs::init(output.json, "warn");
    let sim = Sim::bind(options.config()?, options.listen)?;
    let control = sim.handle().control_address();
    let stop = stop_on_signals()?;
    let (url, stats) = (sim.handle().url(), format!("http://{control}/stats"));
    output.result(&json!({ "ready": true, "url": url, "stats": stats }), |_| "ready".to_owned())?;
    if !output.json {
        eprintln!("messages are taken at {url}, statistics are at {stats}");
    }
    sim.serve(stop.cancelled()).await;
    Ok(ExitCode::SUCCESS)
}
