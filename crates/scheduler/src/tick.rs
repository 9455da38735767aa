//! The scheduler process: two loops, so that a long expand never delays a reclaim.

use fanfare_domain::limits::{FORGET_EVERY, PROGRESS_SHARDS, RECLAIM_EVERY, SCHEDULE_EVERY};
use fanfare_store::{Result, Store, finish, one_off, queue, receipts};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::expand::{self, Expanded};
use crate::{fire, follow, guard, hours, live, rest};

/// Runs a scheduler until `stop`. Any number may run: each thing happens once. `ready` is called when
/// it serves.
pub async fn run(store: Store, stop: CancellationToken, ready: impl FnOnce()) {
    ready();
    tokio::join!(expanding(&store, &stop), closing(&store, &stop));
}

/// Fires the ticks that are due, starts runs whose time has come, and expands: a segment of each run in turn, so that a large
/// audience does not keep the next campaign waiting.
async fn expanding(store: &Store, stop: &CancellationToken) {
    let mut tick = interval(SCHEDULE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let mut more = true;
        while more && !stop.is_cancelled() {
            more = match expand_once(store).await {
                Ok(more) => {
                    failing = false;
                    more
                }
                Err(error) => {
                    // Once for each outage, not five times a second.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(?error, "expanding failed, trying again");
                    }
                    false
                }
            };
        }
    }
}

/// The ticks that are due, and one segment of every run that needs one; says whether any needs another.
async fn expand_once(store: &Store) -> Result<bool> {
    fire::fire_due(store).await?;
    let mut more = false;
    for (workspace_id, run_id) in expand::due(store).await? {
        match expand::expand_next(store, workspace_id, run_id).await {
            Ok(expanded) => more |= expanded == Expanded::More,
            // One broken run must not keep the others from sending.
            Err(error) => tracing::error!(run_id, ?error, "cannot expand"),
        }
    }
    Ok(more)
}

/// Buries dead workers, sweeps what is cancelled or too late, writes off, finishes.
async fn closing(store: &Store, stop: &CancellationToken) {
    let mut tick = interval(SCHEDULE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    let mut reclaimed: Option<Instant> = None;
    let mut forgot: Option<Instant> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if reclaimed.is_none_or(|at| at.elapsed() >= RECLAIM_EVERY) {
            reclaimed = Some(Instant::now());
            if let Err(error) = reclaim_all(store).await {
                tracing::warn!(?error, "reclaiming failed, trying again");
            }
            match receipts::match_early(store).await {
                Ok(0) => {}
                Ok(matched) => tracing::debug!(matched, "early receipts taken"),
                Err(error) => tracing::warn!(?error, "matching receipts failed, trying again"),
            }
            if let Err(error) = hours::roll_shut(store).await {
                tracing::warn!(?error, "moving windows on failed, trying again");
            }
            match expire(store).await {
                Ok(0) => {}
                Ok(expired) => tracing::info!(expired, "messages have waited for too long"),
                Err(error) => tracing::warn!(?error, "counting what has expired failed, trying again"),
            }
        }
        if forgot.is_none_or(|at| at.elapsed() >= FORGET_EVERY) {
            forgot = Some(Instant::now());
            if let Err(error) = queue::forget_contacted(&store.pool).await {
                tracing::warn!(?error, "forgetting failed, trying again");
            }
            if let Err(error) = live::stop_idle(store).await {
                tracing::warn!(?error, "stopping idle runs failed, trying again");
            }
        }
        if let Err(error) = follow_on(store).await
            && !failing
        {
            tracing::warn!(?error, "what follows a run cannot begin, trying again");
        }
        match close_once(store).await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(?error, "closing runs failed, trying again");
            }
            Err(_) => {}
        }
    }
}

/// Begins what follows runs that are over, and pauses those of which too much fails.
///
/// # Errors
/// When the database fails.
pub async fn follow_on(store: &Store) -> Result<()> {
    rest::begin_due(store).await?;
    follow::begin_due(store).await?;
    guard::pause_failing(store).await
}

/// Buries every dead worker.
///
/// # Errors
/// When the database fails.
pub async fn reclaim_all(store: &Store) -> Result<()> {
    while let Some((worker_id, parked)) = queue::reclaim(&store.pool, &store.ids, shard(store)).await? {
        for p in &parked {
            tracing::warn!(worker_id, run_id = p.run_id, messages = p.parked, "messages of a dead worker are in doubt");
        }
        tracing::info!(worker_id, "buried a dead worker");
    }
    Ok(())
}

/// Counts those messages as expired that came one by one and have waited for too long; says how many these were.
///
/// # Errors
/// When the database fails.
pub async fn expire(store: &Store) -> Result<i64> {
    one_off::expire(&mut *store.pool.acquire().await?, store.clock.now(), shard(store)).await
}

/// One look at every run that may have to be swept, written off or finished.
///
/// # Errors
/// When the database fails.
pub async fn close_once(store: &Store) -> Result<()> {
    let mut c = store.pool.acquire().await?;
    let runs = finish::closing(&mut c, store.clock.now()).await?;
    drop(c);
    let mut failed = Ok(());
    for run in runs {
        // One run that fails must not keep the others from their end.
        if let Err(error) = close(store, run).await {
            failed = Err(error);
        }
    }
    failed
}

async fn close(store: &Store, run: finish::Closing) -> Result<()> {
    if run.cancelling || run.expired {
        let swept = finish::sweep(&store.pool, run, shard(store)).await?;
        if swept > 0 {
            tracing::info!(run_id = run.run_id, swept, cancelled = run.cancelling, "swept");
        }
    }
    if run.writes_off {
        queue::write_off(&store.pool, &store.ids, run.workspace_id, run.run_id, shard(store)).await?;
    }
    if finish::finish(&store.pool, run.workspace_id, run.run_id, store.clock.now()).await? {
        tracing::info!(run_id = run.run_id, "run finished");
    }
    Ok(())
}

fn shard(store: &Store) -> i16 {
    // Below 16.
    store.rng.below(PROGRESS_SHARDS) as i16
}
