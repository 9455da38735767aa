//! One pass over the contacts of a list: what a launch would send, and to whom not.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use fanfare_domain::price::Prices;
use fanfare_store::audience::{self as store_audience, Contact, Filter, Source};
use fanfare_store::{PgConnection, Result};

use crate::audience::{Audience, Exclusion};
use crate::plan::{CountryLine, Divided, Excluded};
use crate::preview::Sample;

/// Contacts in one query. Short queries, because a snapshot held for long keeps the database from
/// cleaning up after the queue.
const PAGE_CONTACTS: i64 = 50_000;
/// Contacts between two calls of the progress callback.
const PROGRESS_EVERY: i64 = 10_000;
/// So near to the end of the list, every recipient is rendered as the last sample.
const END_CONTACTS: i64 = 200;

/// Most contacts that a plan names of those whom the template does not work for.
const UNFIT_NAMED_MAX: usize = 5;
/// Accounts, and since when recipients must have written to each.
pub(crate) type Window<'a> = (&'a [i64], DateTime<Utc>);

/// What the pass found.
#[derive(Debug)]
pub(crate) struct Tally<'a> {
    /// Of each account.
    prices: &'a [Prices],
    available: i64,
    expected: i64,
    /// Since when recipients must have written to be sent words of our own, where they must.
    open_since: Option<DateTime<Utc>>,
    /// Contacts of the list.
    pub contacts: i64,
    /// Contacts that are written to.
    pub recipients: i64,
    /// Contacts that are not.
    pub excluded: Excluded,
    /// Of those that lack something: the text does not fit their values.
    pub unfit: i64,
    /// The first of these: import, row, and what is the matter.
    pub unfit_first: Vec<(i64, i32, String)>,
    /// Contacts that lack each variable, by position.
    pub lacking: Vec<i64>,
    /// Sum of the units.
    pub units: i64,
    /// Sum of the costs if all went through each account, micro-credits.
    pub costs: Vec<i64>,
    /// The dearest message through each account, micro-credits.
    pub dearest: Vec<i64>,
    /// Messages that the available credit pays for, in the order of the list, through whichever account is
    /// dearest for each.
    pub covered: i64,
    /// What that costs, micro-credits.
    pub cost_at_most: i64,
    /// By country, with the costs through each account; empty = unknown.
    pub countries: BTreeMap<String, (CountryLine, Vec<i64>)>,
    /// Of those who get words of our own: who wrote lately.
    pub open: i64,
    /// And who did not.
    pub closed: i64,
    /// The first recipient, one from the middle, the last one.
    pub samples: Vec<Sample>,
    last: Option<(i64, Sample)>,
}

impl<'a> Tally<'a> {
    /// Reads all contacts of the list. With a `window` those are the accounts and the time since when their
    /// conversations must have been heard of. The recipients are `divided` by their clocks, if asked for.
    /// `progress` is told contacts read and contacts in all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take(
        c: &mut PgConnection,
        (workspace_id, lists, filter): (i32, &[i64], &Filter),
        audience: &mut Audience,
        (prices, available): (&'a [Prices], i64),
        (expected, window): (i64, Option<Window<'_>>),
        mut divided: Option<&mut Divided>,
        progress: &mut (dyn FnMut(i64, i64) + Send),
    ) -> Result<Self> {
        let mut tally = Self::new(audience.says().variables().len(), prices, available, expected);
        tally.open_since = window.map(|(_, since)| since);
        let mut source =
            Source { heard_by: window.map_or(&[], |(by, _)| by), ..audience.source(workspace_id, lists, filter) };
        source.attributes |= divided.is_some();
        let mut after = String::new();
        loop {
            let start = tally.contacts;
            store_audience::each_contact(c, source, &after.clone(), PAGE_CONTACTS, |contact| {
                let before = tally.recipients;
                tally.add(audience, &contact);
                if let Some(divided) = divided.as_deref_mut().filter(|_| tally.recipients > before) {
                    divided.add(&contact, tally.contacts);
                }
                if tally.contacts - start == PAGE_CONTACTS {
                    contact.address.clone_into(&mut after);
                }
                if tally.contacts % PROGRESS_EVERY == 0 {
                    progress(tally.contacts, expected.max(tally.contacts));
                }
                ControlFlow::Continue(())
            })
            .await?;
            if tally.contacts - start < PAGE_CONTACTS {
                progress(tally.contacts, tally.contacts);
                tally.keep_last();
                return Ok(tally);
            }
        }
    }

    fn new(variables: usize, prices: &'a [Prices], available: i64, expected: i64) -> Self {
        Self {
            prices,
            available,
            expected,
            open_since: None,
            contacts: 0,
            recipients: 0,
            excluded: Excluded::default(),
            unfit: 0,
            unfit_first: Vec::new(),
            lacking: vec![0; variables],
            units: 0,
            costs: vec![0; prices.len()],
            dearest: vec![0; prices.len()],
            covered: 0,
            cost_at_most: 0,
            countries: BTreeMap::new(),
            open: 0,
            closed: 0,
            samples: Vec::new(),
            last: None,
        }
    }

    fn add(&mut self, audience: &mut Audience, contact: &Contact<'_>) {
        self.contacts += 1;
        let judged = audience.judge(contact);
        for position in audience.lacking() {
            self.lacking[*position] += 1;
        }
        let recipient = match judged {
            Ok(recipient) => recipient,
            Err(Exclusion::Minus) => return self.excluded.minus += 1,
            Err(Exclusion::Outside) => return self.excluded.outside += 1,
            Err(Exclusion::NoConsent) => return self.excluded.no_consent += 1,
            Err(Exclusion::Capped) => return self.excluded.capped += 1,
            Err(Exclusion::NoAddress) => return self.excluded.no_address += 1,
            Err(Exclusion::Duplicate) => return self.excluded.duplicate += 1,
            Err(Exclusion::Suppressed) => return self.excluded.suppressed += 1,
            Err(Exclusion::Reached) => return self.excluded.reached += 1,
            Err(Exclusion::Missing) => return self.excluded.missing += 1,
            Err(Exclusion::Unfit(why)) => {
                self.unfit += 1;
                if self.unfit_first.len() < UNFIT_NAMED_MAX {
                    self.unfit_first.push((contact.import_id, contact.row_no, why.to_string()));
                }
                return self.excluded.missing += 1;
            }
        };
        self.recipients += 1;
        if let Some(since) = self.open_since.filter(|_| audience.says().is_free_form(recipient.variant)) {
            *(if contact.heard_at.is_some_and(|at| at > since) { &mut self.open } else { &mut self.closed }) += 1;
        }
        self.units += i64::from(recipient.units);
        let country = recipient.country.unwrap_or_default();
        if !self.countries.contains_key(country) {
            let costs = vec![0; self.prices.len()];
            self.countries.insert(country.to_owned(), (CountryLine::new(country), costs));
        }
        let mut highest = 0;
        if let Some((line, costs)) = self.countries.get_mut(country) {
            line.messages += 1;
            line.segments += i64::from(recipient.units);
            for (i, prices) in self.prices.iter().enumerate() {
                let cost = prices.of(recipient.country, recipient.units);
                costs[i] = costs[i].saturating_add(cost);
                self.costs[i] = self.costs[i].saturating_add(cost);
                self.dearest[i] = self.dearest[i].max(cost);
                highest = highest.max(cost);
            }
        }
        self.cost_at_most = self.cost_at_most.saturating_add(highest);
        self.covered += i64::from(self.cost_at_most <= self.available);
        self.sample(audience, recipient.address, recipient.variant);
    }

    fn sample(&mut self, audience: &Audience, address: &str, variant: i16) {
        let middle = self.samples.len() == 1 && self.contacts * 2 >= self.expected;
        let ending = self.contacts > self.expected - END_CONTACTS;
        if self.samples.is_empty() || middle || ending {
            let Ok(content) = audience.says().render(variant, audience.values()) else { return };
            let sample = Sample::new(audience.says(), address, variant, content);
            if self.samples.is_empty() || middle {
                self.samples.push(sample.clone());
            }
            self.last = Some((self.recipients, sample));
        }
    }

    /// Adds the last sample, unless it is there already.
    fn keep_last(&mut self) {
        if let Some((_, last)) = self.last.take()
            && self.samples.last() != Some(&last)
        {
            self.samples.push(last);
        }
    }
}
