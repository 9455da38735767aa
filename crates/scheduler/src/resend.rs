//! Sending once more to some of a run's recipients, by what became of their messages.

use fanfare_domain::cohort::Member;
use fanfare_domain::state::RunKind;
use fanfare_store::tx::run_tx;
use fanfare_store::{Store, arms, campaigns, deliveries, runs, workspaces};
use serde::Serialize;

use crate::plan::unapproved_since;
use crate::run::{Particulars, as_frozen, begin};
use crate::{Error, Result};

/// A resend that was launched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resent {
    /// Its run.
    pub run_id: i64,
    /// The run whose recipients it goes to.
    pub parent_run_id: i64,
    /// To which of them.
    pub cohort: Vec<Member>,
}

/// Sends the campaign once more to those recipients of a run (the newest, unless `run_id` names one) for whom any
/// of `cohort` holds. Who is in flight is in no cohort, and whom another resend of that run reaches is left out. It
/// says what the run said, in the versions that the run froze.
///
/// # Errors
/// [`Error::State`] when there is no such run, it has not begun or is a live one, or what it said is not what is
/// approved; else when the campaign does not exist or the database fails.
pub async fn resend(
    store: &Store,
    workspace_id: i32,
    campaign: &str,
    run_id: Option<i64>,
    cohort: &[Member],
) -> Result<Resent> {
    let done = run_tx("resend", || try_resend(store, workspace_id, campaign, run_id, cohort)).await?;
    let resent = done.map_err(Error::State)?;
    tracing::info!(workspace_id, run_id = resent.run_id, parent = resent.parent_run_id, "resend launched");
    Ok(resent)
}

async fn try_resend(
    store: &Store,
    workspace_id: i32,
    name: &str,
    run_id: Option<i64>,
    cohort: &[Member],
) -> fanfare_store::Result<std::result::Result<Resent, String>> {
    let mut tx = store.pool.begin().await?;
    let campaign = campaigns::get(&mut tx, workspace_id, name).await?;
    // One at a time, so that each sees whom the others reach.
    campaigns::lock(&mut tx, workspace_id, campaign.campaign_id).await?;
    let parent = match run_id {
        Some(run_id) => runs::of_campaign(&mut tx, workspace_id, campaign.campaign_id, run_id).await?,
        None => runs::newest(&mut tx, workspace_id, campaign.campaign_id).await?,
    };
    let Some(parent) = parent else {
        return Ok(Err(match run_id {
            Some(run_id) => format!("campaign {name:?} has no run {run_id}: fanfare campaign runs {name} lists them"),
            None => format!("campaign {name:?} was never launched: fanfare campaign launch {name}"),
        }));
    };
    if parent.kind == RunKind::Live {
        let what = format!("the messages of campaign {name:?} come one by one, and no list has their recipients");
        return Ok(Err(format!("{what}: send one again with fanfare campaign enrol {name} --to …")));
    }
    let campaign = as_frozen(&mut tx, workspace_id, campaign, parent.run_id).await?;
    if workspaces::rules(&mut tx, workspace_id).await?.review {
        let said = arms::names(&mut tx, workspace_id, parent.run_id).await?;
        if let Some(problem) = unapproved_since(&campaign, said) {
            return Ok(Err(problem.to_string()));
        }
    }
    if parent.started_at.is_none() {
        return Ok(Err(format!("the run of campaign {name:?} has not started yet: there is nothing to send again")));
    }
    for kind in [RunKind::Resend, parent.kind] {
        if runs::is_expanding(&mut tx, workspace_id, campaign.campaign_id, kind).await? {
            let kind = kind.as_str().replace('_', "-");
            let problem = format!("a {kind} of campaign {name:?} is being put together");
            return Ok(Err(format!("{problem}: try again in a moment, when it is known whom it reaches")));
        }
    }
    let arms = arms::of_run(&mut tx, workspace_id, parent.run_id).await?;
    let particulars = Particulars {
        kind: RunKind::Resend,
        actor: &store.actor,
        arms: &arms,
        parent_run_id: parent.run_id,
        step: None,
        cohort,
        part: None,
        planned: deliveries::total(&mut tx, workspace_id, parent.run_id).await?.into(),
        held: None,
    };
    let run_id = begin(&mut tx, store, workspace_id, &campaign, particulars).await?;
    tx.commit().await?;
    Ok(Ok(Resent { run_id, parent_run_id: parent.run_id, cohort: cohort.to_vec() }))
}
