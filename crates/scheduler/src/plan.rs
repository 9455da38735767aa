//! The dry run of a launch: what it would send, what that costs, how long it takes, what stands in its way.

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_domain::content::Feature;
use fanfare_domain::forecast::{Forecast, forecast};
use fanfare_domain::limits::RECIPIENTS_MAX;
use fanfare_domain::message::Channel;
use fanfare_domain::price::Prices;
use fanfare_domain::state::{OnMissing, RunState, Sharing};
use fanfare_domain::template::variable_name;
use fanfare_domain::window;
use fanfare_providers::Kind;
use fanfare_store::accounts::{self, Account};
use fanfare_store::campaigns::{self, Campaign, CampaignAccount};
use fanfare_store::credits::{self, Credit};
use fanfare_store::nearest::nearest;
use fanfare_store::runs::Standing;
use fanfare_store::{PgConnection, Store, audience as store_audience, imports, prices, runs};
use serde::Serialize;

use crate::approved::fitness;
use crate::audience::Audience;
use crate::preview::Sample;
use crate::tally::Tally;
use crate::window::{Said, WindowLine};
use crate::{Problem, Result};

/// What a launch would do now.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The campaign.
    pub campaign: String,
    /// Its list.
    pub list: String,
    /// Its accounts, in their order.
    pub accounts: Vec<AccountLine>,
    /// How they divide it.
    pub sharing: Sharing,
    /// Its template.
    pub template: String,
    /// The version that would be sent.
    pub template_version: i32,
    /// Its fallback.
    pub fallback: Option<String>,
    /// The version of the fallback that would be sent.
    pub fallback_version: Option<i32>,
    /// By which channel.
    pub channel: Channel,
    /// What is done with a recipient who lacks a variable.
    pub on_missing: OnMissing,
    /// Contacts of the list.
    pub audience: i64,
    /// Contacts that are written to: one message each.
    pub recipients: i64,
    /// Contacts that are not.
    pub excluded: Excluded,
    /// Who may be sent the template's own words, where only those may who wrote lately.
    pub window: Option<WindowLine>,
    /// Variables that contacts lack, and how many lack them.
    pub missing: Vec<MissingVariable>,
    /// The first contacts whom the template does not work for: a text becomes too long, say.
    pub unfit: Vec<UnfitRow>,
    /// SMS segments; messages on other channels.
    pub segments: i64,
    /// Messages by country of the recipient.
    pub countries: Vec<CountryLine>,
    /// Micro-credits in all, as the accounts are expected to divide it.
    pub cost: i64,
    /// Micro-credits if each message went through the account that is dearest for it.
    pub cost_at_most: i64,
    /// What there is to pay it with.
    pub credit: CreditLine,
    /// How long sending takes at the accounts' limits; `None` without a limit.
    pub seconds: Option<f64>,
    /// When it would be done if launched now.
    pub finishes_at: Option<DateTime<Utc>>,
    /// What three recipients would read: the first, one in the middle, the last.
    pub samples: Vec<Sample>,
    /// What a launch would be refused for.
    pub refusals: Vec<Problem>,
    /// What does not hinder a launch and should be known.
    pub warnings: Vec<Problem>,
}

/// What is expected of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountLine {
    /// Its name.
    pub account: String,
    /// The address it sends from for this campaign, unless its own.
    pub sender: Option<String>,
    /// Its part, where the campaign is divided by shares.
    pub share: Option<i32>,
    /// Messages.
    pub messages: i64,
    /// Micro-credits.
    pub cost: i64,
    /// The dearest message through it, micro-credits: what a claim reserves for each.
    pub dearest: i64,
}

/// Contacts that are not written to, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Excluded {
    /// No address for the channel.
    pub no_address: i64,
    /// The mailbox of another contact too.
    pub duplicate: i64,
    /// Suppressed.
    pub suppressed: i64,
    /// A variable is missing, or the text does not fit the contact's values.
    pub missing: i64,
}

/// A variable that contacts lack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingVariable {
    /// Its name.
    pub variable: String,
    /// How many lack it.
    pub recipients: i64,
}

/// A contact whom the template does not work for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnfitRow {
    /// The file it came from.
    pub file: Option<String>,
    /// Its row there, from 1 after the header.
    pub row: i32,
    /// What is the matter: the part, its length, and the limit, if that is it.
    pub why: String,
}

/// What goes to a country.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CountryLine {
    /// ISO 3166 alpha-2; `None` = unknown.
    pub country: Option<String>,
    /// Messages.
    pub messages: i64,
    /// SMS segments; messages on other channels.
    pub segments: i64,
    /// Micro-credits.
    pub cost: i64,
}

impl CountryLine {
    pub(crate) fn new(country: &str) -> Self {
        let country = (!country.is_empty()).then(|| country.to_owned());
        Self { country, messages: 0, segments: 0, cost: 0 }
    }
}

/// What there is to pay with, micro-credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CreditLine {
    /// Top-ups less charges.
    pub balance: i64,
    /// Reserved by what is in flight.
    pub reserved: i64,
    /// What may be spent.
    pub available: i64,
    /// Whether that pays for all.
    pub enough: bool,
    /// For how many messages it pays.
    pub covers: i64,
}

/// What is read before the contacts are.
pub(crate) struct Prepared {
    pub workspace_id: i32,
    pub campaign: Campaign,
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
    let (mut through, mut account_prices) = (Vec::new(), Vec::new());
    for account in &campaign.accounts {
        through.push(accounts::by_id(c, workspace_id, account.account_id).await?);
        account_prices.push(prices::load(c, workspace_id, account.account_id).await?);
    }
    let size = store_audience::size(c, workspace_id, campaign.list_id).await?;
    let said = Said::read(c, workspace_id, &campaign, &through).await?;
    let mut refusals = cheap_refusals(&campaign, &through, &said.features(), size);
    refusals.extend(said.refusal.clone());
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
        audience: Audience::new(said.template, campaign.on_missing).with_fallback(said.fallback),
        campaign,
        accounts: through,
        size,
    })
}

fn cheap_refusals(campaign: &Campaign, accounts: &[Account], features: &[Feature], size: i64) -> Vec<Problem> {
    let mut refusals = Vec::new();
    // While one of them can send, the others are only to be known of.
    if accounts.iter().all(|account| account.stopped_reason.is_some()) {
        refusals.extend(accounts.iter().filter_map(stopped));
    }
    refusals.extend(accounts.iter().flat_map(|account| not_carried(account, campaign.channel, features)));
    let list = &campaign.list;
    if size == 0 {
        let remedy = format!("import contacts into it: fanfare import FILE --list {list}");
        refusals.push(Problem::new(format!("list {list:?} is empty"), remedy));
    }
    if size > RECIPIENTS_MAX {
        let problem = format!("list {list:?} has {size} contacts; a run has at most {RECIPIENTS_MAX}");
        refusals.push(Problem::new(problem, "split the list"));
    }
    refusals
}

fn stopped(account: &Account) -> Option<Problem> {
    let (name, reason) = (&account.name, account.stopped_reason.as_ref()?);
    let remedy = format!("put it right, then fanfare account resume {name}");
    Some(Problem::new(format!("account {name:?} is stopped: {reason}"), remedy))
}

/// What the template says that the account's provider does not carry.
fn not_carried(account: &Account, channel: Channel, features: &[Feature]) -> Vec<Problem> {
    let Account { name, kind, .. } = account;
    let another = || format!("create the campaign with another account, see fanfare account kinds {kind}");
    let Some(kind) = Kind::named(kind) else {
        return vec![Problem::new(
            format!("account {name:?} is of kind {kind}, which this program does not know"),
            another(),
        )];
    };
    if !kind.channels().any(|c| c == channel) {
        return vec![Problem::new(
            format!("account {name:?} of kind {} does not carry {channel}", kind.name),
            another(),
        )];
    }
    let refused = features.iter().filter_map(|feature| Some((feature, kind.refusal(channel, *feature)?)));
    let problem = |(feature, why): (&Feature, &str)| {
        let what = feature.name();
        Problem::new(
            format!("account {name:?} of kind {} does not carry {what} by {channel}: {why}", kind.name),
            another(),
        )
    };
    refused.map(problem).collect()
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
    let mut tally = Tally::take(c, key, &mut prepared.audience, price, (prepared.size, window), progress).await?;
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
        accounts: lines(campaign, &tally, &expected),
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
        window: (!heard_by.is_empty()).then(|| WindowLine::new(tally.open, tally.closed, campaign.fallback.is_some())),
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
    Ok((plan, prepared))
}

fn shares(campaign: &Campaign) -> impl Iterator<Item = i32> {
    campaign.accounts.iter().map(|account| account.share.unwrap_or(1))
}

/// What is expected of each account.
fn lines(campaign: &Campaign, tally: &Tally<'_>, expected: &Forecast) -> Vec<AccountLine> {
    let line = |(i, account): (usize, &CampaignAccount)| {
        let messages = expected.messages[i].cast_signed();
        let cost = of_part(tally.costs[i], messages, tally.recipients);
        let CampaignAccount { name, sender, share, .. } = account.clone();
        AccountLine { account: name, sender, share, messages, cost, dearest: tally.dearest[i] }
    };
    campaign.accounts.iter().enumerate().map(line).collect()
}

/// What costs that much through each account comes to as they are expected to divide it.
fn blend(costs: &[i64], expected: &Forecast) -> i64 {
    let all: u64 = expected.messages.iter().sum();
    let parts = costs.iter().zip(&expected.messages);
    parts.map(|(cost, messages)| of_part(*cost, messages.cast_signed(), all.cast_signed())).sum()
}

/// `cost` of `all`, for `part` of them.
fn of_part(cost: i64, part: i64, all: i64) -> i64 {
    if all == 0 { 0 } else { (i128::from(cost) * i128::from(part) / i128::from(all)) as i64 }
}

fn missing(variables: &[String], lacking: &[i64]) -> Vec<MissingVariable> {
    let pairs = variables.iter().zip(lacking).filter(|(_, n)| **n > 0);
    pairs.map(|(variable, n)| MissingVariable { variable: variable.clone(), recipients: *n }).collect()
}

impl Plan {
    fn note_unknown(&mut self, unknown: &[String], attributes: &[String], contacts: i64) {
        if contacts == 0 {
            return;
        }
        for variable in unknown {
            let names = attributes.iter().map(|a| variable_name(a));
            let names = names.chain(fanfare_domain::template::CONTACT_VARIABLES.iter().map(|v| (*v).to_owned()));
            let known = attributes.iter().map(|a| variable_name(a)).collect::<Vec<_>>().join(", ");
            let problem = format!("no contact of list {:?} has the variable {variable:?}", self.list);
            let near = nearest(variable, names);
            let remedy = match (near.is_empty(), known.is_empty()) {
                (false, _) => format!("did you mean {}?", near.join(", ")),
                (true, false) => format!("besides name and address, its contacts have {known}"),
                (true, true) => "import it with the contacts, as a column of the file".to_owned(),
            };
            // Whoever chose the default has chosen it for everybody.
            match self.on_missing {
                OnMissing::Default => self.warnings.push(Problem::new(problem, remedy)),
                OnMissing::Refuse | OnMissing::Skip => self.refusals.push(Problem::new(problem, remedy)),
            }
        }
    }

    fn note_missing(&mut self) {
        for MissingVariable { variable, recipients } in self.missing.clone() {
            let problem = format!("{recipients} recipients lack {variable:?}");
            let in_template = format!("write {{{{ {variable} | default(\"…\") }}}} in the template");
            match self.on_missing {
                OnMissing::Refuse => {
                    let remedy = format!(
                        "choose --on-missing skip to leave them out or --on-missing default to send without it, or {in_template}"
                    );
                    self.refusals.push(Problem::new(problem, remedy));
                }
                OnMissing::Skip => {
                    self.warnings
                        .push(Problem::new(format!("{problem} and are left out"), format!("or {in_template}")));
                }
                OnMissing::Default => {
                    let problem = format!("{problem} and get nothing in its place");
                    self.warnings.push(Problem::new(problem, format!("or {in_template}")));
                }
            }
        }
        if self.audience > 0 && self.recipients == 0 && self.refusals.is_empty() {
            let Excluded { no_address, duplicate, suppressed, missing } = self.excluded;
            let problem = format!(
                "nobody of list {:?} is written to: {no_address} without address for {}, {duplicate} duplicates, {suppressed} suppressed, {missing} lack a variable",
                self.list, self.channel
            );
            self.refusals.push(Problem::new(problem, "choose another list or channel"));
        }
    }

    fn note_unfit(&mut self, unfit: i64) {
        if unfit == 0 {
            return;
        }
        let named = self.unfit.iter().map(|row| match &row.file {
            Some(file) => format!("row {} of {file}: {}", row.row, row.why),
            None => format!("row {}: {}", row.row, row.why),
        });
        let mut named = named.collect::<Vec<_>>().join("; ");
        if unfit > self.unfit.len() as i64 {
            named.push_str("; …");
        }
        let problem = format!("the template does not work for {unfit} contacts: {named}");
        match self.on_missing {
            OnMissing::Skip => self.warnings.push(Problem::new(problem, "they are left out")),
            OnMissing::Refuse | OnMissing::Default => {
                let remedy = "correct the template, or choose --on-missing skip to leave them out";
                self.refusals.push(Problem::new(problem, remedy));
            }
        }
    }

    fn note_credit(&mut self) {
        let CreditLine { available, enough, covers, .. } = self.credit;
        if enough {
            return;
        }
        let lacking = self.cost_at_most - available;
        let remedy = format!("fanfare credits topup {lacking}");
        // The cheapest account may still pay for a message.
        let dearest = self.accounts.iter().map(|line| line.dearest).min().unwrap_or(0);
        if available < dearest {
            let problem = format!("{available} micro-credits are left; a message costs up to {dearest}");
            self.refusals.push(Problem::new(problem, remedy));
        } else {
            let problem = format!("the credit covers {covers} of {} messages", self.recipients);
            let remedy = format!("{remedy}, or the run pauses there until a top-up");
            self.warnings.push(Problem::new(problem, remedy));
        }
    }

    fn note_expiry(&mut self, expires_after_s: Option<i64>) {
        if let (Some(limit), Some(seconds)) = (expires_after_s, self.seconds)
            && seconds > limit as f64
        {
            let problem = format!("messages expire after {limit} s, and sending takes {seconds:.0} s");
            self.warnings.push(Problem::new(problem, "raise the account's cap, or give the campaign more time"));
        }
    }
}
