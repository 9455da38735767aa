//! Pausing, resuming, cancelling: one short transaction each, for all runs of a campaign that are not over. The
//! flows of a run are locked first, then the run, as the claim does. Workers see the flows' new epochs and drop what they hold.

use fanfare_domain::state::{PausedReason, RunState};
use fanfare_store::error::ensure_affected;
use fanfare_store::runs::{self, Standing};
use fanfare_store::tx::run_tx;
use fanfare_store::{PgConnection, Store, campaigns, credits, flows, schedules};
use serde::Serialize;

use crate::{Error, Result, rest};

/// What became of a campaign's runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// The campaign.
    pub campaign: String,
    /// The newest of the runs that were changed; `None` where only a schedule was ended.
    pub run_id: Option<i64>,
    /// Its new state.
    pub state: RunState,
    /// All runs that were changed.
    pub runs: Vec<i64>,
}

/// Sends nothing more of the campaign's run until it is resumed. A run that waits for credit is held
/// back by the person from then on: a top-up alone does not let it go on.
///
/// # Errors
/// [`Error::State`] when it is not running; else when the campaign does not exist or the database fails.
pub async fn pause(store: &Store, workspace_id: i32, campaign: &str) -> Result<Changed> {
    change(store, workspace_id, (campaign, false), async |c, run| {
        match (run.state, run.paused_reason) {
            (RunState::Running, _) | (RunState::Paused, Some(PausedReason::Credit | PausedReason::Provider)) => {}
            (RunState::Paused, _) => return refuse(campaign, "is paused already"),
            (state, _) => return refuse(campaign, not_running(state)),
        }
        flows::close(c, workspace_id, run.run_id).await?;
        Ok(Ok((RunState::Paused, Some(PausedReason::Person))))
    })
    .await
}

/// Lets the campaign's paused run go on, or one that runs through the accounts that were closed to it, too.
///
/// # Errors
/// [`Error::State`] when neither is so, or waits for credit and there is none; else when the
/// campaign does not exist or the database fails.
pub async fn resume(store: &Store, workspace_id: i32, campaign: &str) -> Result<Changed> {
    change(store, workspace_id, (campaign, false), async |c, run| {
        match run.state {
            RunState::Paused => {}
            // What only a closed account may repeat or look up would wait for ever.
            RunState::Running if flows::any_closed(c, workspace_id, run.run_id).await? => {}
            RunState::Running => return refuse(campaign, "is running already"),
            state => return refuse(campaign, not_running(state)),
        }
        let needs = flows::least_reserve(c, workspace_id, run.run_id).await?;
        if run.paused_reason == Some(PausedReason::Credit)
            && credits::balance(c, workspace_id).await?.available() < needs
        {
            let what =
                format!("is out of credit: a message needs {needs} micro-credits, top up with fanfare credits topup");
            return refuse(campaign, what);
        }
        runs::forgive(c, workspace_id, run.run_id).await?;
        flows::open(c, workspace_id, run.run_id).await?;
        Ok(Ok((RunState::Running, None)))
    })
    .await
}

/// Sends nothing more of the campaign's run, ever. What is in flight is settled; what waits counts as
/// cancelled once the scheduler has swept it. A run that has not started is cancelled at once. The campaign's
/// schedule ends with it, also while it has no run; a rest that is yet to come is made, and cancelled.
///
/// # Errors
/// [`Error::State`] when it is over, being cancelled or past its expiry, and has no schedule to end; else when the
/// campaign does not exist or the database fails.
pub async fn cancel(store: &Store, workspace_id: i32, campaign: &str) -> Result<Changed> {
    rest::begin_held(store, workspace_id, campaign).await?;
    change(store, workspace_id, (campaign, true), async |c, run| match run.state {
        RunState::Scheduled => {
            flows::forget(c, workspace_id, run.run_id).await?;
            Ok(Ok((RunState::Cancelled, None)))
        }
        // Else some of its unsent messages would count as expired, and some as cancelled.
        RunState::Running | RunState::Paused if run.expired => {
            refuse(campaign, "is past its expiry: what is unsent is not sent any more")
        }
        RunState::Running | RunState::Paused => {
            flows::close(c, workspace_id, run.run_id).await?;
            Ok(Ok((RunState::Cancelling, None)))
        }
        state => refuse(campaign, not_running(state)),
    })
    .await
}

/// A new state with its reason, or why there is none.
type Verdict = std::result::Result<(RunState, Option<PausedReason>), String>;

/// Locks each of the campaign's runs that are not over, has `act` choose its next state, and notes it. What none
/// of them allows is refused, in the words for the newest. With `ends` the campaign's schedule ends, too.
async fn change(
    store: &Store,
    workspace_id: i32,
    campaign: (&str, bool),
    act: impl AsyncFn(&mut PgConnection, Standing) -> fanfare_store::Result<Verdict>,
) -> Result<Changed> {
    let done = run_tx("change run", || try_change(store, workspace_id, campaign, &act)).await?;
    let changed = done.map_err(Error::State)?;
    tracing::info!(workspace_id, runs = ?changed.runs, state = %changed.state, "runs changed");
    Ok(changed)
}

async fn try_change(
    store: &Store,
    workspace_id: i32,
    (campaign, ends): (&str, bool),
    act: &impl AsyncFn(&mut PgConnection, Standing) -> fanfare_store::Result<Verdict>,
) -> fanfare_store::Result<std::result::Result<Changed, String>> {
    let mut tx = store.pool.begin().await?;
    let id = campaigns::get(&mut tx, workspace_id, campaign).await?.campaign_id;
    let mut changed: Option<Changed> = None;
    // Before its runs are looked for: a tick that is being dealt with may make one.
    if ends {
        schedules::lock(&mut tx, workspace_id, id).await?;
        let campaign = campaign.to_owned();
        let ended = Changed { campaign, run_id: None, state: RunState::Cancelled, runs: Vec::new() };
        changed = schedules::end(&mut tx, workspace_id, id, store.clock.now()).await?.then_some(ended);
    }
    let mut seen = runs::unfinished(&mut tx, workspace_id, id).await?;
    if seen.is_empty() {
        seen.extend(runs::newest(&mut tx, workspace_id, id).await?);
    }
    let mut refusal = format!("campaign {campaign:?} was never launched: fanfare campaign launch {campaign}");
    for Standing { run_id, .. } in seen {
        flows::lock(&mut tx, workspace_id, run_id).await?;
        // What was seen before the lock may be past.
        let run = runs::standing(&mut tx, workspace_id, run_id).await?;
        match act(&mut tx, run).await? {
            Err(why) => refusal = why,
            Ok((state, reason)) => {
                let (by, now) = (&*store.actor, store.clock.now());
                let done = runs::change_state(&mut tx, workspace_id, run, state, reason, by, now).await?;
                ensure_affected("change_state", u64::from(done), 1)?;
                let mut runs = changed.map(|c| c.runs).unwrap_or_default();
                runs.push(run_id);
                changed = Some(Changed { campaign: campaign.to_owned(), run_id: Some(run_id), state, runs });
            }
        }
    }
    match changed {
        None => Ok(Err(refusal)),
        Some(changed) => {
            tx.commit().await?;
            Ok(Ok(changed))
        }
    }
}

/// Why a run may not be changed so.
fn refuse(campaign: &str, what: impl AsRef<str>) -> fanfare_store::Result<Verdict> {
    Ok(Err(format!("campaign {campaign:?} {}", what.as_ref())))
}

fn not_running(state: RunState) -> &'static str {
    match state {
        RunState::Scheduled => "has not started yet: cancel it, or wait for its time",
        RunState::Running => "is running",
        RunState::Paused => "is paused",
        RunState::Cancelling => "is being cancelled already",
        RunState::Finished => "is already finished",
        RunState::Cancelled => "is already cancelled",
    }
}
