//! What is expected of each account.

use fanfare_domain::forecast::Forecast;
use fanfare_store::campaigns::{Campaign, CampaignAccount};

use super::lines::AccountLine;
use crate::tally::Tally;

/// The shares of the campaign's accounts, 1 where it has none.
pub(super) fn shares(campaign: &Campaign) -> impl Iterator<Item = i32> {
    campaign.accounts.iter().map(|account| account.share.unwrap_or(1))
}

/// What is expected of each account.
pub(super) fn account_lines(campaign: &Campaign, tally: &Tally<'_>, expected: &Forecast) -> Vec<AccountLine> {
    let line = |(i, account): (usize, &CampaignAccount)| {
        let messages = expected.messages[i].cast_signed();
        let cost = of_part(tally.costs[i], messages, tally.recipients);
        let CampaignAccount { name, sender, share, .. } = account.clone();
        AccountLine { account: name, sender, share, messages, cost, dearest: tally.dearest[i] }
    };
    campaign.accounts.iter().enumerate().map(line).collect()
}

/// What costs that much through each account comes to as they are expected to divide it.
pub(super) fn blend(costs: &[i64], expected: &Forecast) -> i64 {
    let all: u64 = expected.messages.iter().sum();
    let parts = costs.iter().zip(&expected.messages);
    parts.map(|(cost, messages)| of_part(*cost, messages.cast_signed(), all.cast_signed())).sum()
}

/// `cost` of `all`, for `part` of them.
fn of_part(cost: i64, part: i64, all: i64) -> i64 {
    if all == 0 { 0 } else { (i128::from(cost) * i128::from(part) / i128::from(all)) as i64 }
}
