//! The roles of the fleet: processes that run until they are told to stop.

use std::process::ExitCode;

use anyhow::Context as _;
use fanfare_store::{Store, embedded};
use tokio_util::sync::CancellationToken;

use crate::context::{Global, STOPPED_AT_ONCE, Signals};
use crate::logs;
use crate::output::Output;

/// Scheduler and worker in one process.
pub async fn up(global: &Global, output: Output) -> anyhow::Result<ExitCode> {
    role(global, output, Parts { worker: true, scheduler: true }).await
}

/// A worker.
pub async fn worker(global: &Global, output: Output) -> anyhow::Result<ExitCode> {
    role(global, output, Parts { worker: true, scheduler: false }).await
}

/// A scheduler.
pub async fn scheduler(global: &Global, output: Output) -> anyhow::Result<ExitCode> {
    role(global, output, Parts { worker: false, scheduler: true }).await
}

struct Parts {
    worker: bool,
    scheduler: bool,
}

async fn role(global: &Global, output: Output, parts: Parts) -> anyhow::Result<ExitCode> {
    // The pool speaks of each connection that an outage costs; the roles say it once.
    logs::init(output.json, "info,sqlx=error");
    let stop = stop_on_signals()?;
    let store = global.open_role().await?;
    let done = serve(&store, parts, stop, move || {
        // A closed standard output does not keep a role from serving.
        let _ = output.line("ready");
    })
    .await;
    let closed = store.close().await;
    done?;
    closed?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(store: &Store, parts: Parts, stop: CancellationToken, ready: impl FnOnce()) -> anyhow::Result<()> {
    // The database is kept alive until the parts have written everything down.
    let over = CancellationToken::new();
    let work = async {
        let done = if parts.worker {
            let scheduling = tokio::spawn({
                let (store, stop) = (store.clone(), stop.clone());
                async move {
                    if parts.scheduler {
                        fanfare_scheduler::tick::run(store, stop, || ()).await;
                    }
                }
            });
            let done = fanfare_worker::run(store.clone(), &host(), stop.clone(), ready).await;
            stop.cancel();
            scheduling.await.context("the scheduler panicked")?;
            done.context("worker")
        } else {
            fanfare_scheduler::tick::run(store.clone(), stop.clone(), ready).await;
            Ok(())
        };
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
