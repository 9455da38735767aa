//! Campaigns whose messages come one by one: they are live from their creation until they are stopped.

use fanfare_domain::limits::LIVE_IDLE;
use fanfare_domain::price::Prices;
use fanfare_domain::state::{CampaignKind, PausedReason, RunKind, RunState};
use fanfare_store::accounts::Account;
use fanfare_store::campaigns::Campaign;
use fanfare_store::one_off::{self, Live, Standing};
use fanfare_store::runs::{self, NewRun, NewRunAccount};
use fanfare_store::tx::run_tx;
use fanfare_store::{PgConnection, Store, accounts, campaigns, flows, prices, workspaces};

use crate::approved::fitness;
use crate::plan::{cheap_refusals, unapproved};
use crate::window::Said;
use crate::{Error, Result};

/// What a live run of a campaign would be made of now.
struct Prepared {
    campaign: Campaign,
    said: Said,
    prices: Vec<Prices>,
}

/// Makes a campaign live: from now on messages may be entered, in the words that its template has now. False
/// when it is live already.
///
/// # Errors
/// [`Error::Refused`] with everything that stands in the way; [`Error::State`] for a campaign that goes to a
/// list; else when it does not exist or the database fails.
pub async fn open(store: &Store, workspace_id: i32, campaign: &str) -> Result<bool> {
    let mut c = store.pool.acquire().await.map_err(fanfare_store::Error::from)?;
    let campaign = campaigns::get(&mut c, workspace_id, campaign).await?;
    if campaign.kind == CampaignKind::Broadcast {
        return Err(not_triggered(&campaign.name));
    }
    let prepared = prepare(&mut c, workspace_id, campaign).await?;
    drop(c);
    Ok(insert(store, workspace_id, &prepared).await?)
}

/// Takes no more messages into a campaign. What was entered is sent, and then its run ends; gives that.
///
/// # Errors
/// [`Error::State`] when it is not live; else when it does not exist or the database fails.
pub async fn stop(store: &Store, workspace_id: i32, campaign: &str) -> Result<i64> {
    let stopped = run_tx("stop", || async {
        let mut tx = store.pool.begin().await?;
        let found = campaigns::get(&mut tx, workspace_id, campaign).await?;
        let live = one_off::live(&mut tx, workspace_id, found.campaign_id).await?;
        let run_id = live.as_ref().map(|live| live.run_id);
        let done = match run_id {
            Some(run_id) => one_off::stop(&mut tx, workspace_id, run_id).await?,
            None => false,
        };
        tx.commit().await?;
        Ok((found.kind, run_id.filter(|_| done)))
    })
    .await?;
    match stopped {
        (CampaignKind::Broadcast, _) => Err(not_triggered(campaign)),
        (_, None) => Err(Error::State(format!("campaign {campaign:?} is not live: it takes no messages already"))),
        (_, Some(run_id)) => {
            tracing::info!(workspace_id, run_id, "live run stopped");
            Ok(run_id)
        }
    }
}

/// Stops the live runs that nobody has named and of which nothing was under way for a while. The next message opens
/// another.
///
/// # Errors
/// When the database fails.
pub async fn stop_idle(store: &Store) -> fanfare_store::Result<()> {
    for (workspace_id, run_id) in one_off::stop_idle(&store.pool, store.clock.now() - LIVE_IDLE).await? {
        tracing::info!(workspace_id, run_id, "live run stopped: nothing comes");
    }
    Ok(())
}

pub(crate) fn not_triggered(campaign: &str) -> Error {
    Error::State(format!(
        "campaign {campaign:?} goes to a list: fanfare campaign launch {campaign}; messages come one by one in a \
         campaign created with --triggered"
    ))
}

/// The live run of a campaign of nobody's name, opened anew where its template or its prices have changed.
pub(crate) async fn current(store: &Store, workspace_id: i32, campaign: Campaign) -> Result<Live> {
    let mut c = store.pool.acquire().await.map_err(fanfare_store::Error::from)?;
    let (id, name) = (campaign.campaign_id, campaign.name.clone());
    let found = one_off::live(&mut c, workspace_id, id).await?;
    let mut outdated = None;
    if let Some(live) = found {
        if live.standing()? == Standing::Paused(PausedReason::Provider) {
            go_on(store, workspace_id, live.run_id).await?;
            return Ok(one_off::live(&mut c, workspace_id, id).await?.unwrap_or(live));
        }
        let paused = matches!(live.standing()?, Standing::Paused(_));
        if paused || live.standing()? == Standing::Open && is_current(&mut c, workspace_id, &campaign, &live).await? {
            return Ok(live);
        }
        outdated = Some(live.run_id);
    }
    let prepared = prepare(&mut c, workspace_id, campaign).await?;
    if let Some(run_id) = outdated {
        one_off::stop(&mut c, workspace_id, run_id).await?;
    }
    drop(c);
    insert(store, workspace_id, &prepared).await?;
    let mut c = store.pool.acquire().await.map_err(fanfare_store::Error::from)?;
    one_off::live(&mut c, workspace_id, id)
        .await?
        .ok_or_else(|| Error::State(format!("the live run of {name:?} is gone: try again")))
}

/// Lets a run go on that its provider's answer has paused, and that nobody can name: the next message tells whether
/// the cause is gone.
async fn go_on(store: &Store, workspace_id: i32, run_id: i64) -> fanfare_store::Result<()> {
    run_tx("go on", || async {
        let mut tx = store.pool.begin().await?;
        flows::lock(&mut tx, workspace_id, run_id).await?;
        let run = runs::standing(&mut tx, workspace_id, run_id).await?;
        if run.paused_reason == Some(PausedReason::Provider) {
            flows::open(&mut tx, workspace_id, run_id).await?;
            let (to, by, now) = (RunState::Running, &*store.actor, store.clock.now());
            runs::change_state(&mut tx, workspace_id, run, to, None, by, now).await?;
        }
        Ok(tx.commit().await?)
    })
    .await
}

/// Whether a live run says what its campaign would say now, at the prices of now.
async fn is_current(c: &mut PgConnection, workspace_id: i32, campaign: &Campaign, live: &Live) -> Result<bool> {
    if live.arms != campaign.arms() {
        return Ok(false);
    }
    for account in &live.accounts {
        if prices::load(c, workspace_id, account.account_id).await? != account.prices {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn prepare(c: &mut PgConnection, workspace_id: i32, campaign: Campaign) -> Result<Prepared> {
    let (mut through, mut all_prices): (Vec<Account>, _) = (Vec::new(), Vec::new());
    for account in &campaign.accounts {
        through.push(accounts::by_id(c, workspace_id, account.account_id).await?);
        all_prices.push(prices::load(c, workspace_id, account.account_id).await?);
    }
    let said = Said::read(c, workspace_id, &campaign, &campaign.arms(), &through).await?;
    // Of a list there is nothing to find.
    let mut refusals = cheap_refusals(&campaign, &through, &said.features(), 1);
    refusals.extend(said.refusal.clone());
    // What nobody has named is nobody's to approve.
    if campaign.kind == CampaignKind::Triggered && workspaces::rules(c, workspace_id).await?.review {
        refusals.extend(unapproved(&campaign));
    }
    for account in &through {
        refusals.extend(fitness(c, account, said.approved()).await?.refusals);
    }
    if refusals.is_empty() {
        Ok(Prepared { campaign, said, prices: all_prices })
    } else {
        Err(Error::Refused(refusals))
    }
}

/// Inserts the live run; false when there is one.
async fn insert(store: &Store, workspace_id: i32, prepared: &Prepared) -> fanfare_store::Result<bool> {
    let campaign = &prepared.campaign;
    let accounts: Vec<NewRunAccount<'_>> = (campaign.accounts.iter().zip(&prepared.prices))
        .map(|(account, prices)| NewRunAccount {
            account_id: account.account_id,
            share: account.share,
            sender: account.sender.as_deref(),
            prices,
            // Each message raises it to its own price before it may be claimed.
            reserve_each: 0,
        })
        .collect();
    let arms = campaign.arms();
    run_tx("open", || async {
        let mut tx = store.pool.begin().await?;
        campaigns::lock(&mut tx, workspace_id, campaign.campaign_id).await?;
        let live = one_off::live(&mut tx, workspace_id, campaign.campaign_id).await?;
        if let Some(live) = live
            && live.standing()? != Standing::Stopped
        {
            return Ok(false);
        }
        let run = NewRun {
            kind: RunKind::Live,
            accounts: &accounts,
            arms: &arms,
            variables: &prepared.said.variables,
            // Its messages are not as old as it is.
            expires_at: None,
            ..NewRun::of(campaign, store.ids.next(), &store.actor, store.clock.now())
        };
        runs::insert(&mut tx, workspace_id, &run).await?;
        tx.commit().await?;
        tracing::info!(workspace_id, run_id = run.run_id, "live");
        Ok(true)
    })
    .await
}
