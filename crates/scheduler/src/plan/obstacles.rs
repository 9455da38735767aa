//! What stands in the way of a launch, as far as it is known without reading the contacts.

use fanfare_domain::content::Feature;
use fanfare_domain::limits::RECIPIENTS_MAX;
use fanfare_domain::message::Channel;
use fanfare_domain::state::Approval;
use fanfare_providers::Kind;
use fanfare_store::accounts::Account;
use fanfare_store::campaigns::Campaign;

use crate::Problem;

/// What is wrong with the accounts, the template for them, and the size of the list.
pub(crate) fn cheap_refusals(
    campaign: &Campaign,
    accounts: &[Account],
    features: &[Feature],
    size: i64,
) -> Vec<Problem> {
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

/// That the campaign is not approved as it is now, if it is not.
pub(crate) fn unapproved(campaign: &Campaign) -> Option<Problem> {
    let Campaign { name, approval, approved_says, .. } = campaign;
    let says = campaign.says();
    match (approval, approved_says) {
        (Approval::Approved, Some(approved)) if *approved == says => None,
        (Approval::Approved, approved) => {
            let approved = approved.as_deref().unwrap_or("nothing");
            let problem = format!("campaign {name:?} says {says}, and {approved} was approved");
            Some(Problem::new(problem, format!("have it approved anew: fanfare campaign submit {name}")))
        }
        (Approval::Review, _) => {
            let remedy = format!("somebody approves it with fanfare campaign approve {name}");
            Some(Problem::new(format!("campaign {name:?} is in review"), remedy))
        }
        (state, _) => {
            let problem = format!("campaign {name:?} is not approved, which this workspace asks for: it is {state}");
            Some(Problem::new(problem, format!("fanfare campaign submit {name}")))
        }
    }
}

/// That a run of the campaign said, or falls back on, what is not approved, if that is so: approval holds for the
/// versions that were named when it was given, whatever there is since. `said` are names and versions.
pub(crate) fn unapproved_since(campaign: &Campaign, said: Vec<(String, i32)>) -> Option<Problem> {
    let (Approval::Approved, Some(approved)) = (campaign.approval, &campaign.approved_says) else {
        return unapproved(campaign);
    };
    let fallback = campaign.fallback.iter().map(|f| (f.name.clone(), f.version));
    let mut words = said.into_iter().chain(fallback).map(|(name, version)| format!("{name} v{version}"));
    let other = words.find(|word| approved.split(", ").all(|approved| approved != word))?;
    let problem = format!("the run of campaign {:?} said {other}, and {approved} was approved since", campaign.name);
    Some(Problem::new(
        problem,
        "give those who are left what was approved: fanfare campaign follow-up add, or a new campaign",
    ))
}

/// That the account is stopped, if it is.
pub(crate) fn stopped(account: &Account) -> Option<Problem> {
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
