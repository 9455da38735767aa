//! Launching: refuses what the plan refuses, then freezes what the run is made of.

use chrono::{DateTime, Utc};
use fanfare_domain::price::Prices;
use fanfare_domain::state::RunState;
use fanfare_store::campaigns::CampaignAccount;
use fanfare_store::runs::{self, NewRun, NewRunAccount};
use fanfare_store::tx::run_tx;
use fanfare_store::{Store, campaigns, schedules, transitions};
use serde::Serialize;

use crate::plan::{AccountLine, Plan, Prepared, before, examine, prepare};
use crate::{Error, Result};

/// How to launch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Launch {
    /// When the run starts; `None` = now.
    pub at: Option<DateTime<Utc>>,
    /// Whether a campaign that was sent before is meant to be sent once more.
    pub again: bool,
}

/// A launched run.
#[derive(Debug, Clone, Serialize)]
pub struct RunInfo {
    /// Its id.
    pub run_id: i64,
    /// Its campaign.
    pub campaign: String,
    /// `running`, or `scheduled`.
    pub state: RunState,
    /// When it starts, or has started.
    pub scheduled_for: DateTime<Utc>,
    /// What the check before it found.
    pub plan: Plan,
}

/// Launches a campaign: now, or at a time in the future.
///
/// The whole list is checked first, as [`crate::plan`] does; the run exists, and its first segment is
/// due, from the moment this returns. The template's version, its variables and the prices are frozen
/// here; the audience is by [`crate::expand`], for a scheduled run when its time has come. A campaign that waits
/// for its single start waits no more: this run takes its place, and its schedule is over.
///
/// # Errors
/// [`Error::Refused`] with everything that stands in the way; [`fanfare_store::Error::Conflict`] when
/// the campaign has an unfinished run, or was sent before and this is not meant to be `again`;
/// [`Error::State`] when `at` is past; else when the campaign does not exist or the database fails.
pub async fn launch(store: &Store, workspace_id: i32, campaign: &str, how: Launch) -> Result<RunInfo> {
    let now = store.clock.now();
    if let Some(at) = how.at.filter(|at| *at <= now) {
        return Err(Error::State(format!("{at} is past: give a time to come, or leave --at out to launch now")));
    }
    let mut c = store.pool.acquire().await.map_err(fanfare_store::Error::from)?;
    let mut prepared = prepare(&mut c, store, workspace_id, campaign).await?;
    if how.at.is_some() && prepared.times.local.is_some() {
        let why = "it starts by its recipients' clocks: leave --at out, and it is sent at its local time";
        return Err(Error::State(format!("campaign {campaign:?} cannot be launched at a time: {why}")));
    }
    prepared.starts_at = how.at;
    let standing = runs::newest(&mut c, workspace_id, prepared.campaign.campaign_id).await?;
    if let Some(problem) = standing.and_then(|standing| before(campaign, standing, how.again)) {
        return Err(fanfare_store::Error::Conflict(problem.to_string()).into());
    }
    if !prepared.refusals.is_empty() {
        return Err(Error::Refused(prepared.refusals));
    }
    let (plan, prepared) = examine(&mut c, prepared, now, &mut |_, _| {}).await?;
    drop(c);
    if !plan.refusals.is_empty() {
        return Err(Error::Refused(plan.refusals));
    }
    let accounts = accounts(&prepared, &plan);
    let at = how.at.or((plan.starts_at > now).then_some(plan.starts_at));
    let run = insert(store, &prepared, &plan, &accounts, Launch { at, ..how }).await?;
    let (run_id, scheduled_for) = (run.run_id, run.scheduled_for);
    tracing::info!(workspace_id, run_id, contacts = plan.audience, recipients = plan.recipients, %scheduled_for, "launched");
    let state = if run.starts_now { RunState::Running } else { RunState::Scheduled };
    Ok(RunInfo { run_id, campaign: campaign.to_owned(), state, scheduled_for, plan })
}

/// The accounts as they are frozen in the run.
fn accounts<'a>(prepared: &'a Prepared, plan: &Plan) -> Vec<NewRunAccount<'a>> {
    let with_prices = prepared.campaign.accounts.iter().zip(&prepared.prices).zip(&plan.accounts);
    let account = |((account, prices), line): ((&'a CampaignAccount, &'a Prices), &AccountLine)| NewRunAccount {
        account_id: account.account_id,
        share: account.share,
        sender: account.sender.as_deref(),
        prices,
        reserve_each: line.dearest,
    };
    with_prices.map(account).collect()
}

async fn insert<'a>(
    store: &'a Store,
    prepared: &'a Prepared,
    plan: &Plan,
    accounts: &'a [NewRunAccount<'a>],
    Launch { at, again }: Launch,
) -> Result<NewRun<'a>> {
    let campaign = &prepared.campaign;
    // The check may have taken a while: the run starts, and its expiry counts, from now.
    let now = store.clock.now();
    let starts_now = at.is_none_or(|at| at <= now);
    let run = NewRun {
        accounts,
        scheduled_for: at.unwrap_or(now),
        starts_now,
        arms: &prepared.arms,
        variables: &prepared.variables,
        planned: plan.audience,
        part: plan.part(),
        forecast: Some(plan.forecast()),
        expires_at: campaign.expires_at(now).filter(|_| starts_now),
        ..NewRun::of(campaign, store.ids.next(), &store.actor, now)
    };
    run_tx("launch", || async {
        let mut tx = store.pool.begin().await?;
        schedules::lock(&mut tx, prepared.workspace_id, campaign.campaign_id).await?;
        campaigns::lock(&mut tx, prepared.workspace_id, campaign.campaign_id).await?;
        let standing = runs::newest(&mut tx, prepared.workspace_id, campaign.campaign_id).await?;
        if let Some(problem) = standing.and_then(|standing| before(&campaign.name, standing, again)) {
            return Err(fanfare_store::Error::Conflict(problem.to_string()));
        }
        runs::insert(&mut tx, prepared.workspace_id, &run).await?;
        let key = (prepared.workspace_id, campaign.campaign_id);
        if schedules::stand_in(&mut tx, key.0, key.1, run.run_id, now).await? {
            transitions::noted(&mut tx, key, &store.actor, "its schedule is ended: launched in its place").await?;
            tracing::info!(workspace_id = prepared.workspace_id, run_id = run.run_id, "it stands for the single start");
        }
        Ok(tx.commit().await?)
    })
    .await?;
    Ok(run)
}
