//! The worker process: one life after another, each serving every account that has work.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use fanfare_domain::limits::{EPOCH_EVERY, HEARTBEAT_EVERY, WORKER_TTL};
use fanfare_store::workers::BoardRow;
use fanfare_store::{Error as StoreError, Store, workers};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::board::Board;
use crate::files::Remembered;
use crate::polls::Polls;
use crate::serve::{AccountKey, Serve};
use crate::slots::Sighting;
use crate::urgent_loop;

/// Runs a worker until `stop`: then it starts nothing more, finishes what is in flight, and hands the
/// rest back. A worker that the fleet declared dead, for example because the database was away for too
/// long, goes on under another id. `ready` is called once it is registered.
///
/// # Errors
/// When the database refuses what must be written down.
pub async fn run(store: Store, host: &str, stop: CancellationToken, ready: impl FnOnce()) -> Result<(), Error> {
    let mut ready = Some(ready);
    while !stop.is_cancelled() {
        let worker_id = store.ids.next();
        if let Err(error) = workers::register(&store.pool, worker_id, host, WORKER_TTL).await {
            tracing::warn!(?error, "cannot register, trying again");
            tokio::select! { () = stop.cancelled() => {}, () = sleep(HEARTBEAT_EVERY) => {} }
            continue;
        }
        tracing::info!(worker_id, "worker started");
        if let Some(ready) = ready.take() {
            ready();
        }
        live(&store, worker_id, stop.child_token()).await?;
        if let Err(error) = workers::leave(&store.pool, worker_id).await {
            tracing::info!(worker_id, ?error, "could not take leave");
        }
        tracing::info!(worker_id, "worker ended");
    }
    Ok(())
}

/// One life under one id; it ends when `over` is cancelled, by the caller or by the fleet.
async fn live(store: &Store, worker_id: i64, over: CancellationToken) -> Result<(), Error> {
    let (board, wake) = (Arc::new(Board::new()), Arc::new(Notify::new()));
    let files = Arc::new(Remembered::default());
    let (tell, mut told) = mpsc::channel(1);
    let mut around = JoinSet::new();
    around.spawn(heartbeat(store.clone(), worker_id, over.clone()));
    around.spawn(look(store.clone(), worker_id, over.clone(), board.clone(), wake.clone(), tell));
    let (tell_due, due) = watch::channel(HashSet::new());
    around.spawn(urgent_loop::look(store.clone(), board.clone(), tell_due));
    let polls = Polls { store: store.clone(), worker_id, board: board.clone(), over: over.clone() };
    let polling = tokio::spawn(polls.run());
    let mut at_work: HashSet<AccountKey> = HashSet::new();
    let mut accounts = JoinSet::new();
    let mut failed = None;
    loop {
        tokio::select! {
            () = over.cancelled() => break,
            Some(ended) = accounts.join_next(), if !accounts.is_empty() => {
                failed = bury(ended, &mut at_work);
                if failed.is_some() { break }
            }
            Some(with_work) = told.recv() => {
                for key in with_work {
                    if at_work.insert(key) {
                        let (store, board, wake) = (store.clone(), board.clone(), wake.clone());
                        let (due, files, over) = (due.clone(), files.clone(), over.clone());
                        let serve = Serve { store, key, worker_id, board, wake, due, files, over };
                        accounts.spawn(async move { (key, serve.run().await) });
                    }
                }
            }
        }
    }
    // Batches hand back what they have not started; the heart beats until all of it is flushed.
    over.cancel();
    while let Some(ended) = accounts.join_next().await {
        failed = failed.or(bury(ended, &mut at_work));
    }
    if let Err(panicked) = polling.await {
        failed = failed.or(Some(Error::Panicked(panicked)));
    }
    failed.map_or(Ok(()), Err)
}

/// Takes an account that ended off the list; gives its error, if it had one.
fn bury(ended: Result<(AccountKey, Result<(), Error>), JoinError>, at_work: &mut HashSet<AccountKey>) -> Option<Error> {
    match ended {
        Ok((key, result)) => {
            at_work.remove(&key);
            result.err()
        }
        Err(panicked) => Some(Error::Panicked(panicked)),
    }
}

/// Says that the worker is alive, until it is dropped; ends the life if the fleet says otherwise.
async fn heartbeat(store: Store, worker_id: i64, over: CancellationToken) {
    let mut tick = interval(HEARTBEAT_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match timeout(WORKER_TTL, workers::heartbeat(&store.pool, worker_id, WORKER_TTL)).await {
            Ok(Ok(())) => {}
            Ok(Err(StoreError::Fenced)) => {
                tracing::warn!(worker_id, "declared dead by the fleet, starting anew");
                over.cancel();
            }
            Ok(Err(error)) => tracing::warn!(worker_id, ?error, "heartbeat failed"),
            Err(_) => tracing::warn!(worker_id, "heartbeat timed out"),
        }
    }
}

/// Keeps the board up to date, until it is dropped; tells which accounts have work, and rings the bell
/// when a flow became runnable.
async fn look(
    store: Store,
    worker_id: i64,
    over: CancellationToken,
    board: Arc<Board>,
    wake: Arc<Notify>,
    tell: mpsc::Sender<HashSet<AccountKey>>,
) {
    let mut tick = interval(EPOCH_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: HashSet<i64> = HashSet::new();
    let mut blind = false;
    loop {
        tick.tick().await;
        let asked = Instant::now();
        let rows = match look_once(&store, worker_id, &board).await {
            Ok(rows) => rows,
            Err(StoreError::Fenced) => {
                // What it holds is parked already: the board must not look fresh to it.
                over.cancel();
                continue;
            }
            Err(error) => {
                // Once for each outage, not twenty times a second.
                if !std::mem::replace(&mut blind, true) {
                    tracing::warn!(?error, "cannot look at the board; nothing is started until it is seen again");
                }
                continue;
            }
        };
        if std::mem::take(&mut blind) {
            tracing::info!("the board is seen again");
        }
        board.update(asked, &rows);
        let runnable: HashSet<i64> = rows.iter().filter(|r| r.runnable).map(|r| r.run_id).collect();
        if !runnable.is_subset(&before) {
            wake.notify_waiters();
        }
        before = runnable;
        let with_work = rows.iter().filter(|r| r.runnable).map(|r| (r.workspace_id, r.account_id)).collect();
        // A full channel means that the last look is still being dealt with; the next one comes soon.
        let _ = tell.try_send(with_work);
    }
}

async fn look_once(store: &Store, worker_id: i64, board: &Board) -> Result<Vec<BoardRow>, StoreError> {
    let mut c = store.pool.acquire().await?;
    let asked = Instant::now();
    let database_us = workers::clock_us(&mut c).await?;
    board.saw_clock(Sighting { asked, received: Instant::now(), database_us });
    if !workers::is_alive(&mut c, worker_id).await? {
        return Err(StoreError::Fenced);
    }
    workers::board(&mut c).await
}
