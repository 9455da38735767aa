//! What is expected of each account.

use fanfare_domain::forecast::{Forecast, Load, Other};
use fanfare_store::campaigns::{Campaign, CampaignAccount};
use fanfare_store::{PgConnection, Result, runs};

use super::lines::AccountLine;
use crate::tally::Tally;

/// The shares of the campaign's accounts, 1 where it has none.
pub(super) fn shares(campaign: &Campaign) -> impl Iterator<Item = i32> {
    campaign.accounts.iter().map(|account| account.share.unwrap_or(1))
}

/// What else its accounts have to send.
pub(super) async fn loads(c: &mut PgConnection, workspace_id: i32, campaign: &Campaign) -> Result<Vec<Load>> {
    let mut loads = Vec::new();
    for account in &campaign.accounts {
        let others = runs::beside(c, (workspace_id, account.account_id), campaign.campaign_id).await?;
        let other = |run: runs::Beside| Other {
            messages: run.messages.unsigned_abs(),
            weight: run.weight,
            per_second: run.per_second,
        };
        loads.push(Load { weight: campaign.weight, others: others.into_iter().map(other).collect() });
    }
    Ok(loads)
}

/// What is expected of each account.
pub(super) fn account_lines(
    campaign: &Campaign,
    tally: &Tally<'_>,
    expected: &Forecast,
    loads: &[Load],
) -> Vec<AccountLine> {
    let line = |(i, account): (usize, &CampaignAccount)| {
        let messages = expected.messages[i].cast_signed();
        let cost = of_part(tally.costs[i], messages, tally.recipients);
        let CampaignAccount { name, sender, share, .. } = account.clone();
        let beside = loads[i].others.iter().map(|other| other.messages.cast_signed()).sum();
        AccountLine { account: name, sender, share, messages, cost, dearest: tally.dearest[i], beside }
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
