//! Guards: a run of which too much fails is paused, for a person to look at.

use fanfare_domain::state::{PausedReason, RunState};
use fanfare_store::error::ensure_affected;
use fanfare_store::runs::{self, Failing};
use fanfare_store::transitions::SCHEDULER;
use fanfare_store::tx::run_tx;
use fanfare_store::{Result, Store, flows};

/// Pauses every running run of which more failed than its campaign takes.
///
/// # Errors
/// When the database fails.
pub async fn pause_failing(store: &Store) -> Result<()> {
    let failing = runs::failing(&mut *store.pool.acquire().await?).await?;
    for run in failing {
        if run_tx("pause failing", || pause(store, &run)).await? {
            let Failing { workspace_id, run_id, failed, decided, .. } = run;
            tracing::warn!(workspace_id, run_id, failed, decided, "paused: too much of it fails");
        }
    }
    Ok(())
}

async fn pause(store: &Store, failing: &Failing) -> Result<bool> {
    let Failing { workspace_id, run_id, failed, decided, limit_permille } = *failing;
    let mut tx = store.pool.begin().await?;
    flows::lock(&mut tx, workspace_id, run_id).await?;
    let run = runs::standing(&mut tx, workspace_id, run_id).await?;
    if run.state != RunState::Running {
        return Ok(false);
    }
    flows::close(&mut tx, workspace_id, run_id).await?;
    let (state, reason) = (RunState::Paused, Some(PausedReason::Failures));
    let changed = runs::change_state(&mut tx, workspace_id, run, state, reason, SCHEDULER, store.clock.now()).await?;
    ensure_affected("change_state", u64::from(changed), 1)?;
    let limit = f64::from(limit_permille) / 10.0;
    let why = format!("{failed} of {decided} failed, more than {limit} %");
    runs::say_why(&mut tx, workspace_id, run_id, &why).await?;
    tx.commit().await?;
    Ok(true)
}
