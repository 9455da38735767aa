//! The dry run of a launch: what it would send, what that costs, how long it takes, what stands in its way.

mod expected;
mod lines;
mod notes;
mod obstacles;

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_domain::forecast::forecast;
use fanfare_domain::price::Prices;
use fanfare_domain::state::{CampaignKind, RunState, ScheduleForm};
use fanfare_domain::window;
use fanfare_store::accounts::{self, Account};
use fanfare_store::campaigns::{self, Campaign};
use fanfare_store::credits::{self, Credit};
use fanfare_store::runs::{RunArm, Standing};
use fanfare_store::{PgConnection, Store, audience as store_audience, imports, prices, runs, schedules};

use crate::approved::fitness;
use crate::audience::Audience;
use crate::first::First;
use crate::tally::Tally;
use crate::window::Said;
use crate::{Error, Problem, Result};
use expected::{account_lines, blend, shares};
pub(crate) use obstacles::{cheap_refusals, stopped, unapproved};

pub use lines::{AccountLine, CountryLine, CreditLine, Excluded, FirstLine, MissingVariable, Plan, UnfitRow};

/// What is read before the contacts are.
pub(crate) struct Prepared {
    pub workspace_id: i32,
    pub campaign: Campaign,
    /// What it says.
    pub arms: Vec<RunArm>,
    /// Its accounts, in their order, with their prices beside them.
    pub accounts: Vec<Account>,
    pub prices: Vec<Prices>,
    pub variables: Vec<String>,
    pub size: i64,
    /// The accounts that may say the template's own words only to those who wrote to them lately.
    heard_by: Vec<i64>,
    credit: Credit,
    audience: Audience,
    /// What stands in the way, as far as it is known without reading the contacts.
    pub refusals: Vec<Problem>,
    /// What should be known, as far as that.
    hints: Vec<Problem>,
}

/// Plans the launch of a campaign, for those who mean to send it `again` if it was sent before. `progress`
/// is told contacts read and contacts in all.
///
/// # Errors
/// When the campaign does not exist or the database fails. What stands in the way of a launch is no
/// error: it is in [`Plan::refusals`].
pub async fn plan(
    store: &Store,
    workspace_id: i32,
    campaign: &str,
    again: bool,
    mut progress: impl FnMut(i64, i64) + Send,
) -> Result<Plan> {
    let mut c = store.pool.acquire().await.map_err(fanfare_store::Error::from)?;
    let mut prepared = prepare(&mut c, workspace_id, campaign).await?;
    let schedule = schedules::get(&mut c, workspace_id, prepared.campaign.campaign_id).await?;
    // What a schedule runs again and again was meant to be.
    let again = again || schedule.is_some_and(|schedule| schedule.form != ScheduleForm::Once);
    let standing = runs::newest(&mut c, workspace_id, prepared.campaign.campaign_id).await?;
    prepared.refusals.extend(standing.and_then(|standing| before(campaign, standing, again)));
    Ok(examine(&mut c, prepared, store.clock.now(), &mut progress).await?.0)
}

/// What the campaign's newest run has against another: that it is not over, for a campaign has one unfinished
/// run at most; or that it began to send, for nobody is to get the same twice by a slip.
pub(crate) fn before(campaign: &str, standing: Standing, again: bool) -> Option<Problem> {
    let over = matches!(standing.state, RunState::Finished | RunState::Cancelled);
    let state = standing.state;
    match (over, standing.started_at) {
        (false, _) => Some(Problem::new(
            format!("campaign {campaign:?} has a run that is {state}"),
            "wait for its end, or cancel it, before launching it again",
        )),
        (true, Some(at)) if !again => Some(Problem::new(
            format!(
                "campaign {campaign:?} was launched before: its run of {} is {state}",
                at.format("%Y-%m-%d %H:%M UTC")
            ),
            "to send it to the whole list once more, give --again",
        )),
        (true, _) => None,
    }
}

/// Reads what a plan needs beside the contacts.
pub(crate) async fn prepare(c: &mut PgConnection, workspace_id: i32, campaign: &str) -> Result<Prepared> {
    let campaign = campaigns::get(c, workspace_id, campaign).await?;
    if campaign.kind != CampaignKind::Broadcast {
        let name = &campaign.name;
        return Err(Error::State(format!(
            "campaign {name:?} has no audience to plan: its messages come one by one, fanfare campaign enrol {name} --to …"
        )));
    }
    let (mut through, mut account_prices) = (Vec::new(), Vec::new());
    for account in &campaign.accounts {
        through.push(accounts::by_id(c, workspace_id, account.account_id).await?);
        account_prices.push(prices::load(c, workspace_id, account.account_id).await?);
    }
    let size = store_audience::size(c, workspace_id, campaign.list_id).await?;
    let arms = campaign.arms();
    let said = Said::read(c, workspace_id, &campaign, &arms, &through).await?;
    let mut refusals = cheap_refusals(&campaign, &through, &said.features(), size);
    refusals.extend(said.refusal.clone());
    if campaigns::need_review(c, workspace_id).await? {
        refusals.extend(unapproved(&campaign));
    }
    let mut hints = Vec::new();
    for account in &through {
        let fitness = fitness(c, account, said.approved()).await?;
        refusals.extend(fitness.refusals);
        hints.extend(fitness.hints);
    }
    Ok(Prepared {
        workspace_id,
        prices: account_prices,
        heard_by: said.windowed(&through),
        variables: said.variables,
        credit: credits::balance(c, workspace_id).await?,
        refusals,
        hints,
        audience: Audience::new(said.says, campaign.on_missing)
            .with_fallback(said.fallback)
            .with_first(campaign.first_part.map(|part| First::new(campaign.campaign_id, part))),
        arms,
        campaign,
        accounts: through,
        size,
    })
}

/// Reads the contacts and puts the plan together.
pub(crate) async fn examine(
    c: &mut PgConnection,
    mut prepared: Prepared,
    now: DateTime<Utc>,
    progress: &mut (dyn FnMut(i64, i64) + Send),
) -> Result<(Plan, Prepared)> {
    let campaign = &prepared.campaign;
    let available = prepared.credit.available();
    let key = (prepared.workspace_id, campaign.list_id);
    let price = (prepared.prices.as_slice(), available);
    let heard_by = prepared.heard_by.clone();
    let window = (!heard_by.is_empty()).then(|| (heard_by.as_slice(), window::open_since(now)));
    let reached_in = campaign.once_per_contact.then_some(campaign.campaign_id);
    let mut tally =
        Tally::take(c, key, &mut prepared.audience, price, (prepared.size, window, reached_in), progress).await?;
    let mut unfit = Vec::new();
    for (import_id, row, why) in std::mem::take(&mut tally.unfit_first) {
        unfit.push(UnfitRow { file: imports::file_name(c, prepared.workspace_id, import_id).await?, row, why });
    }
    let attributes = store_audience::attribute_names(c, prepared.workspace_id, campaign.list_id);
    let unknown: Vec<String> = prepared.audience.unseen().map(str::to_owned).collect();
    let attributes = if unknown.is_empty() { Vec::new() } else { attributes.await? };

    let paces: Vec<_> = prepared.accounts.iter().map(Account::pace).zip(shares(campaign)).collect();
    let expected = forecast(campaign.sharing, &paces, tally.recipients.unsigned_abs());
    let (seconds, cost) = (expected.seconds, blend(&tally.costs, &expected));
    let mut plan = Plan {
        campaign: campaign.name.clone(),
        list: campaign.list.clone(),
        accounts: account_lines(campaign, &tally, &expected),
        sharing: campaign.sharing,
        template: campaign.template.clone(),
        template_version: campaign.template_version,
        fallback: campaign.fallback.as_ref().map(|f| f.name.clone()),
        fallback_version: campaign.fallback.as_ref().map(|f| f.version),
        channel: campaign.channel,
        on_missing: campaign.on_missing,
        audience: tally.contacts,
        recipients: tally.recipients,
        excluded: tally.excluded,
        window: (!heard_by.is_empty())
            .then(|| crate::window::WindowLine::new(tally.open, tally.closed, campaign.fallback.is_some())),
        missing: missing(&prepared.variables, &tally.lacking),
        unfit,
        segments: tally.units,
        countries: tally
            .countries
            .into_values()
            .map(|(line, costs)| CountryLine { cost: blend(&costs, &expected), ..line })
            .collect(),
        cost,
        cost_at_most: tally.cost_at_most,
        credit: CreditLine {
            balance: prepared.credit.balance,
            reserved: prepared.credit.reserved,
            available,
            enough: tally.cost_at_most <= available,
            covers: tally.covered,
        },
        seconds,
        finishes_at: seconds.and_then(|s| now.checked_add_signed(TimeDelta::try_milliseconds((s * 1e3) as i64)?)),
        first: prepared.audience.first().map(FirstLine::of),
        samples: tally.samples,
        refusals: prepared.refusals.clone(),
        warnings: prepared
            .accounts
            .iter()
            .filter_map(stopped)
            .filter(|w| !prepared.refusals.contains(w))
            .chain(prepared.hints.iter().cloned())
            .collect(),
    };
    plan.note_unknown(&unknown, &attributes, tally.contacts);
    plan.note_unfit(tally.unfit);
    plan.note_missing();
    plan.note_credit();
    plan.note_window();
    plan.note_expiry(campaign.expires_after_s);
    plan.note_first();
    Ok((plan, prepared))
}

fn missing(variables: &[String], lacking: &[i64]) -> Vec<MissingVariable> {
    let pairs = variables.iter().zip(lacking).filter(|(_, n)| **n > 0);
    pairs.map(|(variable, n)| MissingVariable { variable: variable.clone(), recipients: *n }).collect()
}
