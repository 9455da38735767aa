//! What a plan says.

use chrono::{DateTime, Utc};
use fanfare_domain::message::Channel;
use fanfare_domain::state::{Category, OnMissing, Sharing};
use fanfare_store::workspaces::Rules;
use serde::Serialize;
use serde_json::json;

use super::waves::{HoursLine, WaveLine};
use crate::Problem;
use crate::first::First;
use crate::preview::Sample;
use crate::window::WindowLine;

/// What a launch would do now.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The campaign.
    pub campaign: String,
    /// Its lists, with commas between them.
    pub list: String,
    /// The lists that it leaves out.
    pub minus: Option<String>,
    /// Which contacts of the lists are meant; `None` = all.
    pub segment: Option<String>,
    /// What it is for.
    pub category: Category,
    /// What the workspace asks of its marketing.
    pub rules: Rules,
    /// Its accounts, in their order.
    pub accounts: Vec<AccountLine>,
    /// How they divide it.
    pub sharing: Sharing,
    /// What it sends in the mean, over all of them, e.g. `50/s`; `None` = as much as they let it.
    pub rate: Option<String>,
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
    /// Contacts of the lists, each address once.
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
    /// How long sending takes at its own rate and the accounts' limits; `None` without a limit.
    pub seconds: Option<f64>,
    /// When it would start: with its schedule's next tick, else if launched now.
    pub starts_at: DateTime<Utc>,
    /// The next tick of its schedule, which nobody has to launch.
    pub next_at: Option<DateTime<Utc>>,
    /// When it would be done; `None` without a limit, or if some would expire before.
    pub finishes_at: Option<DateTime<Utc>>,
    /// By whose clocks, if not all may be sent to at any time.
    pub hours: Option<HoursLine>,
    /// Recipients whose clocks agree, in the order in which they are sent to while all are open.
    pub waves: Vec<WaveLine>,
    /// Who would be written to first, where not all are.
    pub first: Option<FirstLine>,
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
    /// Messages of other campaigns that it has to send meanwhile.
    pub beside: i64,
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
    /// Another run of the campaign has reached it, or may.
    pub reached: i64,
    /// A variable is missing, or the text does not fit the contact's values.
    pub missing: i64,
    /// On a list that is left out.
    pub minus: i64,
    /// The campaign's expression does not hold for it.
    pub outside: i64,
    /// Has not opted in.
    pub no_consent: i64,
    /// Has had as many marketing messages as a contact may.
    pub capped: i64,
}

impl Excluded {
    /// All of them.
    pub fn sum(self) -> i64 {
        let Self { no_address, duplicate, suppressed, reached, missing, minus, outside, no_consent, capped } = self;
        no_address + duplicate + suppressed + reached + missing + minus + outside + no_consent + capped
    }
}

/// A first part, and its rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FirstLine {
    /// Messages of the first part.
    pub messages: i64,
    /// One past the points (`domain::split`) of its recipients.
    #[serde(skip)]
    pub end: i64,
}

impl FirstLine {
    pub(crate) fn of(first: &First) -> Self {
        Self { messages: first.messages(), end: first.end() }
    }
}

impl Plan {
    /// The points of those whom the launch itself goes to; `None` = all.
    pub(crate) fn part(&self) -> Option<(i64, i64)> {
        self.first.map(|first| (0, first.end))
    }

    /// What is expected of the launch itself, to be held beside what comes of it. Of a first part the cost is its
    /// share of the whole, and so is the time, but where windows divide it: then nobody knows.
    pub(crate) fn forecast(&self) -> serde_json::Value {
        let recipients = self.first.map_or(self.recipients, |first| first.messages);
        let part =
            |whole: f64| if self.recipients == 0 { 0.0 } else { whole * recipients as f64 / self.recipients as f64 };
        let seconds = match (&self.hours, self.first) {
            (None, _) => self.seconds.map(part),
            (Some(_), None) => self.finishes_at.map(|at| (at - self.starts_at).as_seconds_f64()),
            (Some(_), Some(_)) => None,
        };
        json!({
            "recipients": recipients,
            "cost": part(self.cost as f64).round() as i64,
            "seconds": seconds,
        })
    }
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
