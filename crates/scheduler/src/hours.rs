//! Moves the windows of segments on: where one is shut, to the next one in its zone.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use fanfare_domain::hours::Window;
use fanfare_domain::limits::HOURS_MARGIN;
use fanfare_domain::zone;
use fanfare_store::hours::{self, Rules, Shut};
use fanfare_store::tx::run_tx;
use fanfare_store::{Error, Result, Store, one_off};

/// Moves every segment whose window is shut to its next one, in every workspace. Says how many were moved. Hours that
/// nobody has given to a run, since it began while they were set or whoever set them is gone, hold from now on.
///
/// # Errors
/// When the database fails; what was moved before is.
pub async fn roll_shut(store: &Store) -> Result<i64> {
    let without = hours::without(&mut *store.pool.acquire().await?, None, None).await?;
    begin(store, &without).await?;
    let shut = hours::shut(&mut *store.pool.acquire().await?, store.clock.now()).await?;
    let moved = roll(store, &shut, true).await?;
    // What was under way when its window closed waits by now.
    one_off::put_off(&mut *store.pool.acquire().await?, store.clock.now()).await?;
    Ok(moved)
}

/// What became of runs when hours were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Segments that got another window.
    pub moved: i64,
    /// Runs to a list that began without windows. Whoever was in them by then is not divided by zones any more:
    /// they all count as in the campaign's zone.
    pub undivided: usize,
}

/// Gives the segments of the workspace's running campaigns, or of one, the windows of the rules as they are now:
/// to be called after these were changed.
///
/// # Errors
/// When the database fails; what was moved before is.
pub async fn apply(store: &Store, workspace_id: i32, campaign_id: Option<i64>) -> Result<Applied> {
    let mut c = store.pool.acquire().await?;
    let without = hours::without(&mut c, Some(workspace_id), campaign_id).await?;
    begin(store, &without).await?;
    // Whoever has read the hours of before commits first, or reads them anew.
    for run_id in hours::with(&mut c, workspace_id, campaign_id).await? {
        run_tx("pass windows", || hours::pass(&store.pool, workspace_id, run_id)).await?;
    }
    let zones = hours::zones(&mut c, workspace_id, campaign_id).await?;
    drop(c);
    let undivided = without.iter().filter(|(_, _, live)| !live).count();
    Ok(Applied { moved: roll(store, &zones, false).await?, undivided })
}

async fn begin(store: &Store, runs: &[(i32, i64, bool)]) -> Result<()> {
    for (workspace_id, run_id, _) in runs {
        let begin = || hours::begin(&store.pool, *workspace_id, *run_id, store.clock.now());
        run_tx("begin windows", begin).await?;
    }
    Ok(())
}

async fn roll(store: &Store, all: &[Shut], shut_only: bool) -> Result<i64> {
    let now = store.clock.now();
    let mut known: HashMap<(i32, i64), Rules> = HashMap::new();
    let mut moved = 0;
    for shut in all {
        let key = (shut.workspace_id, shut.campaign_id);
        let rules = match known.get(&key) {
            Some(rules) => rules,
            None => {
                let mut c = store.pool.acquire().await?;
                known.entry(key).or_insert(hours::of_campaign(&mut c, key.0, key.1).await?)
            }
        };
        let window = window(rules, shut, if shut_only { now + HOURS_MARGIN } else { now })?;
        let when = (now, !shut_only);
        moved += run_tx("roll windows", || hours::roll(&store.pool, shut, window, when)).await?;
    }
    if moved > 0 {
        tracing::info!(segments = moved, "windows moved on");
    }
    Ok(moved)
}

/// The window that is open from `from` on, or the next.
fn window(rules: &Rules, shut: &Shut, from: DateTime<Utc>) -> Result<Window> {
    let zone = match &shut.zone {
        Some(name) => zone::parse(name).map_err(|e| Error::Corrupt(format!("segments of run {}: {e}", shut.run_id)))?,
        None => rules.zone,
    };
    Ok(rules.window_or_wait(zone, from))
}
