//! The dry run of a launch: what it would send, what that costs, how long it takes, what stands in its way.

mod expected;
mod lines;
mod notes;
mod obstacles;
mod waves;

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_domain::forecast::forecast_beside;
use fanfare_domain::price::Prices;
use fanfare_domain::state::{CampaignKind, RunState, ScheduleForm, ScheduleState};
use fanfare_domain::window;
use fanfare_store::accounts::{self, Account};
use fanfare_store::audience::{Filter, Whom};
use fanfare_store::campaigns::{self, Campaign};
use fanfare_store::credits::{self, Credit};
use fanfare_store::hours;
use fanfare_store::runs::{RunArm, Standing};
use fanfare_store::workspaces::Rules;
use fanfare_store::{
    PgConnection, Store, audience as store_audience, imports, prices, runs, schedules, segments, workspaces,
};

use crate::approved::fitness;
use crate::audience::Audience;
use crate::first::First;
use crate::tally::Tally;
use crate::window::Said;
use crate::{Error, Problem, Result};
use expected::{account_lines, blend, loads, shares};
pub(crate) use obstacles::{cheap_refusals, stopped, unapproved, unapproved_since};
use waves::timed;

pub use lines::{AccountLine, CountryLine, CreditLine, Excluded, FirstLine, MissingVariable, Plan, UnfitRow};
pub(crate) use waves::Divided;
pub use waves::{HoursLine, InvalidZone, WaveLine};

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
    lists: Vec<i64>,
    filter: Filter,
    rules: Rules,
    /// The accounts that may say the template's own words only to those who wrote to them lately.
    heard_by: Vec<i64>,
    credit: Credit,
    audience: Audience,
    /// When its recipients may be written to.
    pub times: hours::Rules,
    /// When it would start, if not now.
    pub starts_at: Option<DateTime<Utc>>,
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
    let mut prepared = prepare(&mut c, store, workspace_id, campaign).await?;
    let schedule = schedules::get(&mut c, workspace_id, prepared.campaign.campaign_id).await?;
    // What a schedule runs again and again was meant to be.
    let again = again || schedule.as_ref().is_some_and(|schedule| schedule.form != ScheduleForm::Once);
    let next_at = schedule.filter(|s| s.state == ScheduleState::Active).and_then(|s| s.next_at);
    let now = store.clock.now();
    prepared.starts_at = next_at.filter(|at| *at > now);
    let standing = runs::newest(&mut c, workspace_id, prepared.campaign.campaign_id).await?;
    prepared.refusals.extend(standing.and_then(|standing| before(campaign, standing, again)));
    let plan = examine(&mut c, prepared, now, &mut progress).await?.0;
    Ok(Plan { next_at, ..plan })
}

/// What the campaign's newest run has against another: that it is not over, for a campaign has one unfinished
/// run at most; or that it began to send, for nobody is to get the same twice by a slip.
pub(crate) fn before(campaign: &str, standing: Standing, again: bool) -> Option<Problem> {
    let over = matches!(standing.state, RunState::Finished | RunState::Cancelled);
    let state = standing.state;
    match (over, standing.started_at) {
        (false, None) if state == RunState::Paused => Some(Problem::new(
            format!("campaign {campaign:?} has a run that is paused, since its time was over before it could start"),
            format!("let it start with fanfare campaign resume {campaign}, or cancel it"),
        )),
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
pub(crate) async fn prepare(
    c: &mut PgConnection,
    store: &Store,
    workspace_id: i32,
    campaign: &str,
) -> Result<Prepared> {
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
    let lists = campaign.list_ids(false);
    let size = store_audience::size(c, workspace_id, &lists).await?;
    let arms = campaign.arms();
    let said = Said::read(c, workspace_id, &campaign, &arms, &through).await?;
    let mut refusals = cheap_refusals(&campaign, &through, &said.features(), size);
    refusals.extend(said.refusal.clone());
    let times = hours::of_campaign(c, workspace_id, campaign.campaign_id).await?;
    refusals.extend(waves::never_opens(&times));
    let rules = workspaces::rules(c, workspace_id).await?;
    if rules.review {
        refusals.extend(unapproved(&campaign));
    }
    let (filter, unknown) = filter(c, store, workspace_id, &campaign).await?;
    refusals.extend(unknown);
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
        times,
        starts_at: None,
        refusals,
        hints,
        audience: Audience::new(said.says, campaign.on_missing)
            .with_fallback(said.fallback)
            .with_first(campaign.first_part.map(|part| First::new(campaign.campaign_id, part))),
        arms,
        rules,
        campaign,
        accounts: through,
        size,
        lists,
        filter,
    })
}

/// What leaves contacts out; or that the campaign's expression names what is not there any more.
async fn filter(
    c: &mut PgConnection,
    store: &Store,
    workspace_id: i32,
    campaign: &Campaign,
) -> Result<(Filter, Option<Problem>)> {
    let (mut bound, mut problem) = (None, None);
    if let Some(segment) = &campaign.audience {
        match segments::check(c, workspace_id, &campaign.list_ids(false), segment).await {
            Ok(found) => bound = Some(found),
            Err(fanfare_store::Error::Segment(e)) => {
                let remedy = "import what is missing, or create the campaign anew with another --segment";
                problem = Some(Problem::new(format!("segment {:?}, {e}", segment.text()), remedy));
            }
            Err(e) => return Err(e.into()),
        }
    }
    let accounts: Vec<i64> = campaign.accounts.iter().map(|account| account.account_id).collect();
    let whom = Whom {
        minus: &campaign.list_ids(true),
        segment: bound.as_ref(),
        category: campaign.category,
        accounts: &accounts,
        now: store.clock.now(),
    };
    let mut filter = Filter::of(c, store.seal.pepper(), workspace_id, whom).await?;
    // Of no run of its own: all of the campaign's count.
    filter.reached = campaign.once_per_contact.then_some((campaign.campaign_id, 0));
    Ok((filter, problem))
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
    let key = (prepared.workspace_id, prepared.lists.as_slice(), &prepared.filter);
    let price = (prepared.prices.as_slice(), available);
    let heard_by = prepared.heard_by.clone();
    let window = (!heard_by.is_empty()).then(|| (heard_by.as_slice(), window::open_since(now)));
    let from = prepared.starts_at.unwrap_or(now);
    let mut divided = Divided::new(prepared.times.clone(), from);
    let waves = divided.as_mut();
    let mut tally =
        Tally::take(c, key, &mut prepared.audience, price, (prepared.size, window), waves, progress).await?;
    let mut unfit = Vec::new();
    for (import_id, row, why) in std::mem::take(&mut tally.unfit_first) {
        unfit.push(UnfitRow { file: imports::file_name(c, prepared.workspace_id, import_id).await?, row, why });
    }
    let paces: Vec<_> = prepared.accounts.iter().map(Account::pace).zip(shares(campaign)).collect();
    let loads = loads(c, prepared.workspace_id, campaign).await?;
    let recipients = tally.recipients.unsigned_abs();
    let expected = forecast_beside(campaign.sharing, &paces, &loads, recipients).at_most(campaign.rate);
    let (seconds, cost) = (expected.seconds, blend(&tally.costs, &expected));
    let rate = seconds.filter(|s| *s > 0.0).map(|s| tally.recipients as f64 / s);
    let starts = (from, campaign.expires_after_s);
    let timed = timed(c, prepared.workspace_id, divided, rate, starts).await?;
    let unknown: Vec<String> = prepared.audience.unseen().map(str::to_owned).collect();
    let attributes = match unknown.is_empty() {
        true => Vec::new(),
        false => store_audience::attribute_names(c, prepared.workspace_id, &prepared.lists).await?,
    };

    let mut plan = Plan {
        campaign: campaign.name.clone(),
        list: campaign.list_names(false),
        minus: Some(campaign.list_names(true)).filter(|names| !names.is_empty()),
        segment: campaign.audience.as_ref().map(ToString::to_string),
        category: campaign.category,
        rules: prepared.rules,
        accounts: account_lines(campaign, &tally, &expected, &loads),
        sharing: campaign.sharing,
        rate: campaign.rate.map(|rate| rate.to_string()),
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
        starts_at: timed.starts_at,
        next_at: None,
        finishes_at: match timed.hours {
            Some(_) => timed.finishes_at(),
            None => seconds.and_then(|s| from.checked_add_signed(TimeDelta::try_milliseconds((s * 1e3) as i64)?)),
        },
        hours: timed.hours,
        waves: timed.waves,
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
    plan.note_rules();
    plan.note_credit();
    plan.note_window();
    plan.note_hours();
    plan.note_expiry(campaign.expires_after_s);
    plan.note_first();
    Ok((plan, prepared))
}

fn missing(variables: &[String], lacking: &[i64]) -> Vec<MissingVariable> {
    let pairs = variables.iter().zip(lacking).filter(|(_, n)| **n > 0);
    pairs.map(|(variable, n)| MissingVariable { variable: variable.clone(), recipients: *n }).collect()
}
