//! `fanfare demo`: the whole main job, from contact files to a balanced account of every message, with a
//! provider that fails now and then and a worker that is killed on the way.

mod books;
mod contacts;
mod fleet;
mod provider;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use fanfare_domain::cap::Cap;
use fanfare_domain::clock::Clock;
use fanfare_domain::message::Channel;
use fanfare_domain::price::Prices;
use fanfare_domain::state::RunState;
use fanfare_domain::template::Template;
use fanfare_importer::{Options, Source};
use fanfare_providers::Kind;
use fanfare_providers::kind::Keys;
use fanfare_scheduler::control;
use fanfare_scheduler::launch::{Launch, launch};
use fanfare_scheduler::plan;
use fanfare_sim::{Chance, Config, Fault, Faults, Handle, Sim};
use fanfare_store::accounts::{self, Limits, NewAccount};
use fanfare_store::campaigns::{self, Campaign, NewCampaign, Through};
use fanfare_store::{credits, runs, templates, workers, workspaces};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::account;
use crate::campaign::plan as plan_view;
use crate::campaign::status::{self, Status};
use crate::context::{Context, Global};
use crate::import::{self, Imported};
use crate::output::{Output, bold, count, dim};
use books::Books;
use fleet::Fleet;
use show::Show;

/// What every name of the demo's is; its workspace has the time behind it.
const WORKSPACE: &str = "fanfare-demo-";
const LIST: &str = "everybody";
const ACCOUNT: &str = "simulator";
const TEMPLATE: &str = "spring";
const CAMPAIGN: &str = "spring";
const SECRET: &str = "demo-secret";
/// Micro-credits for a segment, and for one to France.
const PRICE: i64 = 5_000;
const PRICE_FR: i64 = 12_000;
/// Time from a request to the simulator's answer.
const LATENCY: Duration = Duration::from_millis(20);
/// How often the run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// When so much of the run is decided, the worker is killed; that long it stays dead.
const KILL_AT: f64 = 0.3;
const DEAD_FOR: Duration = Duration::from_secs(1);
/// When nothing has changed for this long, the demo has failed: longer than the wait for a look-up.
const STILL_MAX: Duration = Duration::from_secs(400);

#[derive(Debug, Args)]
pub struct Demo {
    /// Which provider is simulated: see fanfare account kinds
    #[arg(long, default_value = "http", value_parser = account::kind, value_name = "KIND")]
    provider: &'static Kind,
    /// How many contacts [default: 10000; 2000 with --provider]
    #[arg(long, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    recipients: Option<u32>,
    /// The account's limit
    #[arg(long, default_value = "2000/s", value_name = "COUNT/UNIT")]
    cap: Cap,
    /// How many worker processes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    workers: u8,
    /// How often the provider fails
    #[arg(long, default_value = "light", value_parser = ["none", "light", "heavy"])]
    faults: String,
    /// Seed of contacts and faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Demo {
    fn recipients(&self) -> u32 {
        self.recipients.unwrap_or(if self.provider.name == "http" { 10_000 } else { 2_000 })
    }

    /// Whether repeats of a key are dropped: the generic server of the demo does that.
    fn keys(&self) -> bool {
        matches!(self.provider.keys, Keys::Honoured | Keys::Said)
    }
}

/// The files of the demo, removed at its end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays in the installation's own directory, and does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Exit code 1 unless everything balances.
pub async fn run(global: &Global, demo: &Demo, output: Output) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let workspace = format!("{WORKSPACE}{}", Clock::system().now().format("%Y%m%dT%H%M%S"));
    let global = Global { workspace, ..global.clone() };
    let scratch = Scratch(global.config()?.home.join(&global.workspace));
    std::fs::create_dir_all(&scratch.0).with_context(|| format!("cannot make {}", scratch.0.display()))?;
    let books = global
        .with_workspace(true, async |context| play(&global, context, demo, &scratch, began, output).await)
        .await?;
    output.result(&books, books::render)?;
    Ok(if books.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn play(
    global: &Global,
    context: &Context,
    demo: &Demo,
    scratch: &Scratch,
    began: Instant,
    output: Output,
) -> anyhow::Result<Books> {
    clear_stage(context).await?;
    let over = CancellationToken::new();
    let _over = over.clone().drop_guard();
    let sim = simulator(demo)?;
    let handle = sim.handle();
    tokio::spawn(sim.serve(over.clone().cancelled_owned()));
    let what = format!(
        "{} contacts through {} worker processes at {}, by {}, provider faults: {}",
        count(i64::from(demo.recipients())),
        demo.workers,
        demo.cap,
        demo.provider.service,
        demo.faults
    );
    say(output, &format!("{}  {what}\n", bold("Fanfare demo")))?;

    let files = load(context, demo, scratch, output).await?;
    let campaign = define(context, demo, &handle).await?;
    provider::listen(context, demo.provider, &handle, &over).await?;
    let plan = plan::plan(&context.store, context.workspace_id, CAMPAIGN, false, |_, _| {}).await?;
    say(output, &format!("{}\n{}\n", bold("Plan"), plan_view::render(&plan)))?;

    let mut fleet = Fleet::start(global, demo.workers, &scratch.0).await?;
    let launched = launch(&context.store, context.workspace_id, CAMPAIGN, Launch::default()).await?;
    say(output, &bold("Sending"))?;
    let drain = drain(context, demo, &campaign, launched.run_id, &handle, &mut fleet, output).await?;
    ask(context, launched.run_id, &mut fleet, output).await?;
    fleet.stop().await?;
    books::close(context, demo, files, plan, drain, &handle, began).await
}

/// Lets the fleet ask for what the service had only queued, until all of it is told.
async fn ask(context: &Context, run_id: i64, fleet: &mut Fleet, output: Output) -> anyhow::Result<()> {
    let mut moved = (Instant::now(), provider::open_questions(context, run_id).await?);
    if moved.1 > 0 {
        let what = format!("{} messages are only queued there: after a minute it is asked for them", count(moved.1));
        say(output, &dim(&what))?;
    }
    while moved.1 > 0 {
        fleet.check()?;
        tokio::time::sleep(LOOK_EVERY).await;
        let open = provider::open_questions(context, run_id).await?;
        if open != moved.1 {
            moved = (Instant::now(), open);
        } else if moved.0.elapsed() > STILL_MAX {
            bail!("nothing has been told for {} s: {}", STILL_MAX.as_secs(), fleet.logs());
        }
    }
    Ok(())
}

/// Prints for people only.
fn say(output: Output, text: &str) -> anyhow::Result<()> {
    if output.json { Ok(()) } else { output.line(text) }
}

/// The demo's workers would send whatever this installation has under way: earlier demos that were
/// interrupted are cancelled, and anything else is left to the person.
async fn clear_stage(context: &Context) -> anyhow::Result<()> {
    let store = &context.store;
    let mut c = store.pool.acquire().await?;
    let under_way: Vec<i32> =
        workers::board(&mut c).await?.iter().filter(|f| f.runnable).map(|f| f.workspace_id).collect();
    for (workspace_id, name) in workspaces::all(&mut c).await? {
        if !under_way.contains(&workspace_id) {
            continue;
        }
        if !name.starts_with(WORKSPACE) {
            bail!(
                "workspace {name:?} of this installation has campaigns under way, which the demo's workers would send: \
                 wait for their end, or run the demo elsewhere: FANFARE_HOME=$(mktemp -d) fanfare demo"
            );
        }
        let running = [RunState::Running, RunState::Paused];
        for campaign in campaigns::list(&mut c, workspace_id).await? {
            let run = runs::newest(&mut c, workspace_id, campaign.campaign_id).await?;
            if run.is_some_and(|r| running.contains(&r.state)) {
                control::cancel(store, workspace_id, &campaign.name).await?;
            }
        }
    }
    Ok(())
}

fn simulator(demo: &Demo) -> anyhow::Result<Sim> {
    let mut faults = Faults::preset(&demo.faults)?;
    if demo.faults == "light" {
        // One silence would keep everybody waiting for its message.
        faults = faults.with(Chance { fault: Fault::SilenceAccepted, probability: 0.0 })?;
    }
    let config = Config {
        kind: demo.provider.name.parse()?,
        receipts: provider::RECEIPTS.to_vec(),
        hook_key: (demo.provider.name != "twilio").then(|| provider::HOOK_KEY.to_owned()),
        latency: LATENCY,
        faults,
        secret: Some(SECRET.to_owned()),
        windows: vec![Duration::from_micros(demo.cap.per_us.unsigned_abs())],
        seed: demo.seed,
        ..Config::default()
    };
    Ok(Sim::bind(config, ([127, 0, 0, 1], 0).into())?)
}

/// Imports the two fixtures, and a generated file that brings the list up to its size.
async fn load(context: &Context, demo: &Demo, scratch: &Scratch, output: Output) -> anyhow::Result<Vec<Imported>> {
    let mut files = Vec::new();
    let mut contacts = 0;
    for (name, bytes) in contacts::FIXTURES {
        let path = scratch.0.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        files.push(load_one(context, path, output).await?);
        contacts += files.last().map_or(0, |f| f.summary.counts.imported);
    }
    let wanted = i64::from(demo.recipients()) - contacts;
    let path = scratch.0.join("generated.csv");
    contacts::generate(&path, wanted, demo.seed, provider::channel(demo.provider) == Channel::Email)
        .with_context(|| format!("cannot write {}", path.display()))?;
    files.push(load_one(context, path, output).await?);
    say(output, &format!("{}\n{}", bold("Contacts"), contacts::render(&files)))?;
    say(output, "")?;
    Ok(files)
}

async fn load_one(context: &Context, path: PathBuf, output: Output) -> anyhow::Result<Imported> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let options = Options {
        list: LIST.to_owned(),
        country: Some("DZ".parse().expect("Algeria is a country")),
        rejects: Some(path.with_file_name(format!("rejects-{name}.csv"))),
        ..Options::default()
    };
    let imported = import::one(context, Source::Path(path), options, !output.json).await?;
    Ok(Imported { file: name, ..imported })
}

/// Account, credit, template, campaign.
async fn define(context: &Context, demo: &Demo, handle: &Handle) -> anyhow::Result<Campaign> {
    let (store, workspace_id) = (&context.store, context.workspace_id);
    let kind = demo.provider;
    let settings = provider::settings(kind, &handle.url());
    let account = NewAccount {
        name: ACCOUNT,
        kind: kind.name,
        settings: &settings,
        secret: Some(SECRET),
        sender: provider::sender(kind),
        idempotent: demo.keys(),
        looks_up: kind.looks_up(),
        correlates: kind.correlates(),
        waits_for_echo: kind.waits_for_echo(),
        limits: Limits { caps: &[demo.cap], ..Limits::default() },
        prices: &Prices([(String::new(), PRICE), ("FR".to_owned(), PRICE_FR)].into()),
    };
    accounts::add(store, workspace_id, account).await?;
    // The dearest message for everybody, twice.
    let enough = i64::from(demo.recipients()) * PRICE_FR * 2 * 2;
    credits::topup(store, workspace_id, enough, Some("demo")).await?;
    let template = Template::compile(provider::channel(kind), provider::texts(kind))?;
    templates::add(store, workspace_id, TEMPLATE, &template).await?;
    let through = [Through::account(ACCOUNT)];
    let campaign = NewCampaign::of(CAMPAIGN, TEMPLATE, LIST, &through);
    Ok(campaigns::create(store, workspace_id, campaign).await?)
}

/// What happened while sending.
struct Drain {
    status: Status,
    killed: Killed,
}

/// The worker that was killed, and the one that took its place.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Killed {
    pub process: u32,
    pub at_messages: i64,
    pub replaced_by: u32,
}

/// Follows the run to its end; kills a worker on the way, and starts another one.
async fn drain(
    context: &Context,
    demo: &Demo,
    campaign: &Campaign,
    run_id: i64,
    handle: &Handle,
    fleet: &mut Fleet,
    output: Output,
) -> anyhow::Result<Drain> {
    let (store, workspace_id) = (&context.store, context.workspace_id);
    let mut show = Show::new(demo.cap, output);
    let mut killed: Option<(Killed, Instant)> = None;
    let mut moved = (Instant::now(), (0, 0));
    loop {
        let mut c = store.pool.acquire().await?;
        let status = status::read(&mut c, workspace_id, campaign, run_id).await?;
        let credit = credits::balance(&mut c, workspace_id).await?;
        drop(c);
        let decided = status.total - status.queued - status.leased - status.retrying;
        show.update(&status, &handle.stats(), credit)?;
        if status.is_over() {
            show.end();
            return Ok(Drain { status, killed: killed.map(|(k, _)| k).unwrap_or_default() });
        }
        fleet.check()?;
        match &mut killed {
            None if status.expanded && decided as f64 >= KILL_AT * status.total as f64 => {
                let process = fleet.kill_worker().await?;
                show.note(&format!("worker process {process} killed (SIGKILL) after {} messages", count(decided)))?;
                killed = Some((Killed { process, at_messages: decided, replaced_by: 0 }, Instant::now()));
            }
            Some((killed, at)) if killed.replaced_by == 0 && at.elapsed() >= DEAD_FOR => {
                killed.replaced_by = fleet.start_worker().await?;
                let pid = killed.replaced_by;
                show.note(&format!("worker process {pid} takes its place"))?;
                show.note(&dim(provider::fate_of_the_doubtful(demo.provider, demo.keys())))?;
            }
            _ => {}
        }
        if moved.1 != (decided, status.unknown) {
            moved = (Instant::now(), (decided, status.unknown));
        } else if moved.0.elapsed() > STILL_MAX {
            bail!("nothing has moved for {} s: {}", STILL_MAX.as_secs(), fleet.logs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
