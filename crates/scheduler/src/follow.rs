//! Follow-ups: what comes after a run, to those of its recipients for whom it is meant when it is due.

use fanfare_domain::state::{PausedReason, RunKind};
use fanfare_store::campaigns::Campaign;
use fanfare_store::follow_ups::{self, DueStep};
use fanfare_store::transitions::SCHEDULER;
use fanfare_store::tx::run_tx;
use fanfare_store::{Error, PgConnection, Result, Store, campaigns, deliveries, workspaces};

use crate::plan::unapproved;
use crate::run::{Particulars, begin, begin_cancelled};

/// Begins every step whose time has come. Two schedulers never begin the same one.
///
/// # Errors
/// When the database fails.
pub async fn begin_due(store: &Store) -> Result<()> {
    let due = follow_ups::due(&mut *store.pool.acquire().await?, store.clock.now()).await?;
    for step in due {
        match run_tx("begin follow-up", || begin_one(store, &step)).await {
            Ok(Some(run_id)) => {
                tracing::info!(run_id, parent = step.parent_run_id, step = step.step, "a follow-up begins");
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(parent = step.parent_run_id, step = step.step, ?error, "cannot begin a follow-up");
            }
        }
    }
    Ok(())
}

async fn begin_one(store: &Store, step: &DueStep) -> Result<Option<i64>> {
    let mut tx = store.pool.begin().await?;
    let campaign = campaigns::get(&mut tx, step.workspace_id, &step.campaign).await?;
    campaigns::lock(&mut tx, step.workspace_id, campaign.campaign_id).await?;
    // It waits until somebody has approved what it says.
    if workspaces::rules(&mut tx, step.workspace_id).await?.review && unapproved(&campaign).is_some() {
        return Ok(None);
    }
    let particulars = Particulars {
        kind: RunKind::FollowUp,
        actor: SCHEDULER,
        arms: &[step.says],
        parent_run_id: step.parent_run_id,
        step: Some(step.step),
        cohort: &step.cohort,
        part: None,
        planned: deliveries::total(&mut tx, step.workspace_id, step.parent_run_id).await?.into(),
        held: None,
    };
    match begin(&mut tx, store, step.workspace_id, &campaign, particulars).await {
        // Another scheduler was quicker.
        Err(Error::Conflict(_)) => Ok(None),
        Err(error) => Err(error),
        Ok(run_id) => {
            tx.commit().await?;
            Ok(Some(run_id))
        }
    }
}

/// Writes down that the runs of a campaign that are over, whose lock the caller holds, are followed by no step more: by
/// steps that are cancelled before they began. Gives their runs.
///
/// # Errors
/// When the database fails.
pub(crate) async fn forgo(
    c: &mut PgConnection,
    store: &Store,
    workspace_id: i32,
    campaign: &Campaign,
) -> Result<Vec<i64>> {
    let mut runs = Vec::new();
    for step in follow_ups::awaited(c, (workspace_id, campaign.campaign_id)).await? {
        let particulars = Particulars {
            kind: RunKind::FollowUp,
            actor: &store.actor,
            arms: &[step.says],
            parent_run_id: step.parent_run_id,
            step: Some(step.step),
            cohort: &step.cohort,
            part: None,
            planned: 0,
            held: Some(PausedReason::Person),
        };
        runs.push(begin_cancelled(c, store, workspace_id, campaign, particulars).await?);
    }
    Ok(runs)
}
