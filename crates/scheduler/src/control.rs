//! Pausing, resuming, cancelling: one short transaction for each run of a campaign that is not over. The flows of a
//! run are locked first, then the run, as the claim does; those of two runs never at once, since a claim takes them in
//! another order. Workers see the flows' new epochs and drop what they hold.

use fanfare_domain::state::{PausedReason, RunState};
use fanfare_store::error::ensure_affected;
use fanfare_store::runs::{self, Standing};
use fanfare_store::tx::run_tx;
use fanfare_store::{PgConnection, Store, campaigns, credits, flows, schedules};
use serde::Serialize;

use crate::{Error, Result, follow, rest};

/// What became of a campaign's runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// The campaign.
    pub campaign: String,
    /// The newest of the runs that were changed; `None` when no run was, only what would have made further ones.
    pub run_id: Option<i64>,
    /// Its new state.
    pub state: Option<RunState>,
    /// All runs that were changed.
    pub runs: Vec<i64>,
    /// Whether its schedule was ended.
    pub schedule_ended: bool,
}

/// Sends nothing more of the campaign's run until it is resumed. A run that waits for credit is held
/// back by the person from then on: a top-up alone does not let it go on.
///
/// # Errors
/// [`Error::State`] when it is not running; else when the campaign does not exist or the database fails.
pub async fn pause(store: &Store, workspace_id: i32, campaign: &str) -> Result<Changed> {
    change(store, workspace_id, campaign, async |c, run| {
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

/// Lets the campaign's paused run go on, or one that runs through the accounts that were closed to it, too. A rest
/// that is held for its first part goes on only where nothing else is paused: it asks for a look of its own.
///
/// # Errors
/// [`Error::State`] when neither is so, or waits for credit and there is none; else when the
/// campaign does not exist or the database fails.
pub async fn resume(store: &Store, workspace_id: i32, campaign: &str) -> Result<Changed> {
    let mut c = store.pool.acquire().await.map_err(fanfare_store::Error::from)?;
    let id = campaigns::get(&mut c, workspace_id, campaign).await?.campaign_id;
    let open = runs::unfinished(&mut c, workspace_id, id).await?;
    drop(c);
    let is_held = |run: &Standing| run.paused_reason == Some(PausedReason::FirstPart);
    let others = open.iter().any(|run| run.state == RunState::Paused && !is_held(run));
    change(store, workspace_id, campaign, async |c, run| {
        match run.state {
            RunState::Paused if others && is_held(&run) => {
                return refuse(campaign, "has a rest that is held: resume once more to let it go, too");
            }
            RunState::Paused if run.paused_reason == Some(PausedReason::Late) => {
                runs::let_go(c, workspace_id, run.run_id, store.clock.now()).await?;
                return Ok(Ok((RunState::Scheduled, None)));
            }
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

/// Sends nothing more of the campaign, ever. What is in flight is settled; what waits counts as cancelled once the
/// scheduler has swept it. A run that has not started is cancelled at once, and so are the rest and the steps that
/// runs which are over have yet to be followed by. The campaign's schedule ends.
///
/// # Errors
/// [`Error::State`] when there is nothing to cancel, or it is past its expiry; else when the campaign does not
/// exist or the database fails.
pub async fn cancel(store: &Store, workspace_id: i32, campaign: &str) -> Result<Changed> {
    // First what makes runs: none appears behind those that are cancelled.
    let (schedule_ended, forgone) = run_tx("forgo", || forgo(store, workspace_id, campaign)).await?;
    let cancelled = change(store, workspace_id, campaign, async |c, run| match run.state {
        RunState::Scheduled => forget(c, workspace_id, run.run_id).await,
        RunState::Paused if run.paused_reason == Some(PausedReason::Late) => forget(c, workspace_id, run.run_id).await,
        // Else some of its unsent messages would count as expired, and some as cancelled.
        RunState::Running | RunState::Paused if run.is_expired(store.clock.now()) => {
            refuse(campaign, "is past its expiry: what is unsent is not sent any more")
        }
        RunState::Running | RunState::Paused => {
            flows::close(c, workspace_id, run.run_id).await?;
            Ok(Ok((RunState::Cancelling, None)))
        }
        state => refuse(campaign, not_running(state)),
    })
    .await;
    match cancelled {
        Ok(changed) => {
            let runs = forgone.into_iter().chain(changed.runs).collect();
            Ok(Changed { runs, schedule_ended, ..changed })
        }
        Err(Error::State(_)) if schedule_ended || !forgone.is_empty() => Ok(Changed {
            campaign: campaign.to_owned(),
            run_id: forgone.last().copied(),
            state: forgone.last().map(|_| RunState::Cancelled),
            runs: forgone,
            schedule_ended,
        }),
        Err(error) => Err(error),
    }
}

/// Cancels a run that has not started.
async fn forget(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> fanfare_store::Result<Verdict> {
    flows::forget(c, workspace_id, run_id).await?;
    Ok(Ok((RunState::Cancelled, None)))
}

/// Ends the schedule of a campaign, and cancels what its runs have yet to be followed by. Says whether it had a
/// schedule, and the runs of the latter.
async fn forgo(store: &Store, workspace_id: i32, campaign: &str) -> fanfare_store::Result<(bool, Vec<i64>)> {
    let mut tx = store.pool.begin().await?;
    let campaign = campaigns::get(&mut tx, workspace_id, campaign).await?;
    let campaign_id = campaign.campaign_id;
    // In the order of a tick, whose run is seen then.
    schedules::lock(&mut tx, workspace_id, campaign_id).await?;
    campaigns::lock(&mut tx, workspace_id, campaign_id).await?;
    let ended = schedules::end(&mut tx, workspace_id, campaign_id, store.clock.now()).await?;
    let mut forgone = rest::forgo(&mut tx, store, workspace_id, &campaign).await?;
    forgone.extend(follow::forgo(&mut tx, store, workspace_id, &campaign).await?);
    tx.commit().await?;
    Ok((ended, forgone))
}

/// A new state with its reason, or why there is none.
type Verdict = std::result::Result<(RunState, Option<PausedReason>), String>;

/// Locks each of the campaign's runs that are not over, one after another, has `act` choose its next state, and
/// notes it. What none of them allows is refused, in the words for the newest.
async fn change(
    store: &Store,
    workspace_id: i32,
    campaign: &str,
    act: impl AsyncFn(&mut PgConnection, Standing) -> fanfare_store::Result<Verdict>,
) -> Result<Changed> {
    let (mut runs, mut newest) = (Vec::new(), None);
    let mut refusal = format!("campaign {campaign:?} was never launched: fanfare campaign launch {campaign}");
    for run_id in standing(store, workspace_id, campaign).await? {
        match run_tx("change run", || change_one(store, (workspace_id, run_id), &act)).await? {
            Err(why) => refusal = why,
            Ok(state) => {
                tracing::info!(workspace_id, run_id, %state, "run changed");
                runs.push(run_id);
                newest = Some((run_id, state));
            }
        }
    }
    let Some((run_id, state)) = newest else { return Err(Error::State(refusal)) };
    let campaign = campaign.to_owned();
    Ok(Changed { campaign, run_id: Some(run_id), state: Some(state), runs, schedule_ended: false })
}

/// The runs of a campaign that are not over, the oldest first; the newest one where all are.
async fn standing(store: &Store, workspace_id: i32, campaign: &str) -> fanfare_store::Result<Vec<i64>> {
    let mut c = store.pool.acquire().await?;
    let id = campaigns::get(&mut c, workspace_id, campaign).await?.campaign_id;
    let mut seen = runs::unfinished(&mut c, workspace_id, id).await?;
    if seen.is_empty() {
        seen.extend(runs::newest(&mut c, workspace_id, id).await?);
    }
    Ok(seen.into_iter().map(|run| run.run_id).collect())
}

async fn change_one(
    store: &Store,
    (workspace_id, run_id): (i32, i64),
    act: &impl AsyncFn(&mut PgConnection, Standing) -> fanfare_store::Result<Verdict>,
) -> fanfare_store::Result<std::result::Result<RunState, String>> {
    let mut tx = store.pool.begin().await?;
    flows::lock(&mut tx, workspace_id, run_id).await?;
    // What was seen before the lock may be past.
    let run = runs::standing(&mut tx, workspace_id, run_id).await?;
    let (state, reason) = match act(&mut tx, run).await? {
        Err(why) => return Ok(Err(why)),
        Ok(next) => next,
    };
    let (by, now) = (&*store.actor, store.clock.now());
    let done = runs::change_state(&mut tx, workspace_id, run, state, reason, by, now).await?;
    ensure_affected("change_state", u64::from(done), 1)?;
    tx.commit().await?;
    Ok(Ok(state))
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
