//! The roles of the fleet: processes that run until they are told to stop.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use fanfare_api::Server;
use fanfare_store::{Store, embedded};
use tokio_util::sync::CancellationToken;

use crate::context::{Global, STOPPED_AT_ONCE, Signals};
use crate::logs;
use crate::output::Output;

/// Where a server listens.
#[derive(Debug, Args)]
pub struct Listen {
    /// Address for posts of providers and for GET /health; port 0 takes a free one
    #[arg(long, env = "FANFARE_LISTEN", default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    listen: SocketAddr,
}

/// Everything in one process.
pub async fn up(global: &Global, listen: &Listen, output: Output) -> anyhow::Result<ExitCode> {
    role(global, output, Parts { worker: true, scheduler: true, listen: Some(listen.listen) }).await
}

/// The server that providers post to.
pub async fn serve(global: &Global, listen: &Listen, output: Output) -> anyhow::Result<ExitCode> {
    role(global, output, Parts { worker: false, scheduler: false, listen: Some(listen.listen) }).await
}

/// A worker.
pub async fn worker(global: &Global, output: Output) -> anyhow::Result<ExitCode> {
    role(global, output, Parts { worker: true, scheduler: false, listen: None }).await
}

/// A scheduler.
pub async fn scheduler(global: &Global, output: Output) -> anyhow::Result<ExitCode> {
    role(global, output, Parts { worker: false, scheduler: true, listen: None }).await
}

#[derive(Clone, Copy)]
struct Parts {
    worker: bool,
    scheduler: bool,
    listen: Option<SocketAddr>,
}

async fn role(global: &Global, output: Output, parts: Parts) -> anyhow::Result<ExitCode> {
    // The pool speaks of each connection that an outage costs; the roles say it once.
    logs::init(output.json, "info,sqlx=error");
    let stop = stop_on_signals()?;
    let server = match parts.listen {
        Some(address) => Some(Server::bind(address).await?),
        None => None,
    };
    let store = global.open_role().await?;
    if let Some(server) = &server {
        tracing::info!(address = %server.address(), "taking posts of providers");
    }
    let done = run(&store, parts, server, stop, move || {
        // A closed standard output does not keep a role from serving.
        let _ = output.line("ready");
    })
    .await;
    let closed = store.close().await;
    done?;
    closed?;
    Ok(ExitCode::SUCCESS)
}

async fn run(
    store: &Store,
    parts: Parts,
    server: Option<Server>,
    stop: CancellationToken,
    ready: impl FnOnce(),
) -> anyhow::Result<()> {
    // The database is kept alive until the parts have written everything down.
    let over = CancellationToken::new();
    let work = async {
        let done = work(store, parts, server, &stop, ready).await;
        over.cancel();
        done
    };
    let alive = async {
        let kept = store.keep_alive(over.cancelled()).await;
        // Stopped on purpose by somebody: end too.
        stop.cancel();
        kept
    };
    let (done, kept) = tokio::join!(work, alive);
    done?;
    match kept {
        // Somebody did it on purpose: no failure, after which a supervisor would start it again.
        Err(fanfare_store::Error::Embedded(embedded::Error::Stopped)) => {
            tracing::info!("the database was stopped with fanfare db stop: ending");
            Ok(())
        }
        kept => Ok(kept?),
    }
}

/// Runs the parts until `stop`. One that ends before ends the others.
async fn work(
    store: &Store,
    parts: Parts,
    server: Option<Server>,
    stop: &CancellationToken,
    ready: impl FnOnce(),
) -> anyhow::Result<()> {
    let serving = server.map(|server| {
        let (store, stop) = (store.clone(), stop.clone());
        tokio::spawn(async move {
            let _others = stop.clone().drop_guard();
            server.run(store, stop).await
        })
    });
    let scheduling = parts.scheduler.then(|| {
        let (store, stop) = (store.clone(), stop.clone());
        tokio::spawn(async move { fanfare_scheduler::tick::run(store, stop, || ()).await })
    });
    let done = if parts.worker {
        fanfare_worker::run(store.clone(), &host(), stop.clone(), ready).await.context("worker")
    } else {
        ready();
        stop.cancelled().await;
        Ok(())
    };
    stop.cancel();
    if let Some(scheduling) = scheduling {
        scheduling.await.context("the scheduler panicked")?;
    }
    if let Some(serving) = serving {
        serving.await.context("the server panicked")??;
    }
    done
}

/// A token that the first SIGTERM or SIGINT cancels; the second signal ends the process at once.
pub fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let first = stop.clone();
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("stopping: what is in flight is finished, the rest handed back; once more stops at once");
        first.cancel();
        signals.next().await;
        std::process::exit(STOPPED_AT_ONCE);
    });
    Ok(stop)
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
