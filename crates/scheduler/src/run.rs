//! Making a run that no person launches: its audience is not examined beforehand, but counted by the expand.

use fanfare_domain::cohort::Member;
use fanfare_domain::price::Prices;
use fanfare_domain::state::{PausedReason, RunKind, RunState};
use fanfare_store::campaigns::{Campaign, Fallback};
use fanfare_store::runs::{self, NewRun, NewRunAccount, RunArm};
use fanfare_store::{PgConnection, Result, Store, accounts, arms, flows, prices};

use crate::window::Said;

/// What is particular about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Particulars<'a> {
    pub kind: RunKind,
    pub actor: &'a str,
    pub arms: &'a [RunArm],
    pub parent_run_id: i64,
    pub step: Option<i16>,
    pub cohort: &'a [Member],
    pub part: Option<(i64, i64)>,
    pub planned: i64,
    pub held: Option<PausedReason>,
}

/// The campaign with the version of its fallback that a run of it froze: whoever says that run's words goes on with
/// that one, too.
///
/// # Errors
/// When the database fails.
pub(crate) async fn as_frozen(
    c: &mut PgConnection,
    workspace_id: i32,
    campaign: Campaign,
    run_id: i64,
) -> Result<Campaign> {
    let version = arms::fallback_of_run(c, workspace_id, run_id).await?;
    let fallback = campaign.fallback.zip(version).map(|(head, version)| Fallback { version, ..head });
    Ok(Campaign { fallback, ..campaign })
}

/// Inserts the run, which starts now, in the caller's transaction. What a message of it may cost is found by the
/// expand, with each segment.
///
/// # Errors
/// [`fanfare_store::Error::Conflict`] when there is such a run already; else when the database fails.
pub(crate) async fn begin(
    c: &mut PgConnection,
    store: &Store,
    workspace_id: i32,
    campaign: &Campaign,
    particulars: Particulars<'_>,
) -> Result<i64> {
    let (mut through, mut account_prices): (Vec<_>, Vec<Prices>) = (Vec::new(), Vec::new());
    for account in &campaign.accounts {
        through.push(accounts::by_id(c, workspace_id, account.account_id).await?);
        account_prices.push(prices::load(c, workspace_id, account.account_id).await?);
    }
    let said = Said::read(c, workspace_id, campaign, particulars.arms, &through).await?;
    let accounts = campaign.accounts.iter().zip(&account_prices).map(|(account, prices)| NewRunAccount {
        account_id: account.account_id,
        share: account.share,
        sender: account.sender.as_deref(),
        prices,
        reserve_each: 0,
    });
    let accounts: Vec<NewRunAccount<'_>> = accounts.collect();
    let run = NewRun {
        kind: particulars.kind,
        parent_run_id: Some(particulars.parent_run_id),
        step: particulars.step,
        arms: particulars.arms,
        cohort: particulars.cohort,
        part: particulars.part,
        held: particulars.held,
        planned: particulars.planned,
        accounts: &accounts,
        variables: &said.variables,
        ..NewRun::of(campaign, store.ids.next(), particulars.actor, store.clock.now())
    };
    runs::insert(c, workspace_id, &run).await?;
    Ok(run.run_id)
}

/// Inserts a run that is cancelled before it began, so that there is none of its kind after its parent.
///
/// # Errors
/// As [`begin`].
pub(crate) async fn begin_cancelled(
    c: &mut PgConnection,
    store: &Store,
    workspace_id: i32,
    campaign: &Campaign,
    particulars: Particulars<'_>,
) -> Result<i64> {
    let run_id = begin(c, store, workspace_id, campaign, particulars).await?;
    flows::forget(c, workspace_id, run_id).await?;
    let run = runs::standing(c, workspace_id, run_id).await?;
    let (to, by, now) = (RunState::Cancelled, &*store.actor, store.clock.now());
    runs::change_state(c, workspace_id, run, to, None, by, now).await?;
    Ok(run_id)
}
