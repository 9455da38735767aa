//! Options of the accounts that a campaign goes through.

use std::collections::HashSet;

use clap::Args;
use fanfare_domain::state::Sharing;
use fanfare_store::campaigns::{Campaign, CampaignAccount, Through};

use crate::output::Usage;
use crate::parse;

#[derive(Debug, Args)]
pub struct ThroughArgs {
    /// Through which account; repeat it for several, which then send together, the fastest most
    #[arg(long = "account", value_name = "ACCOUNT")]
    accounts: Vec<String>,
    /// Divide it by shares, one for each account, e.g. --share main=3 --share other=1
    #[arg(long = "share", value_name = "ACCOUNT=N", value_parser = parse::share, conflicts_with = "in_order")]
    shares: Vec<(String, i32)>,
    /// Prefer the accounts in the order given: a later one sends only what the earlier ones cannot, since
    /// they are stopped, down, or at the end of their day
    #[arg(long)]
    in_order: bool,
    /// The address that an account sends from for this campaign [default: the account's own]
    #[arg(long = "sender", value_name = "ACCOUNT=ADDRESS", value_parser = parse::sender)]
    senders: Vec<(String, String)>,
}

impl ThroughArgs {
    /// The accounts with what was said of each; `None` without any.
    ///
    /// # Errors
    /// When something is said of an account that is not named, or twice, or of some only.
    pub fn given(&self) -> Result<Option<(Vec<Through<'_>>, Sharing)>, Usage> {
        fn of<'v, T>(all: &'v [(String, T)], account: &str) -> Option<&'v T> {
            all.iter().find(|(name, _)| name == account).map(|(_, value)| value)
        }
        let named = self.shares.iter().map(|(name, _)| name).chain(self.senders.iter().map(|(name, _)| name));
        if let Some(stranger) = named.into_iter().find(|name| !self.accounts.contains(name)) {
            return Err(Usage(format!("--account {stranger:?} is not given: name each account with --account first")));
        }
        for named in [
            self.shares.iter().map(|(name, _)| name).collect(),
            self.senders.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        ] {
            let mut seen = HashSet::new();
            if let Some(twice) = named.into_iter().find(|name| !seen.insert(*name)) {
                return Err(Usage(format!("account {twice:?} is given two shares or two senders: give one of each")));
            }
        }
        let share = |account: &String| of(&self.shares, account).copied();
        if let (false, Some(without)) = (self.shares.is_empty(), self.accounts.iter().find(|a| share(a).is_none())) {
            return Err(Usage(format!(
                "account {without:?} has no share: give every account one, --share {without}=N"
            )));
        }
        let sharing = match (self.in_order, self.shares.is_empty()) {
            (true, _) => Sharing::InOrder,
            (false, false) => Sharing::Shares,
            (false, true) => Sharing::Together,
        };
        let sender = |account: &String| of(&self.senders, account).map(String::as_str);
        let through = self.accounts.iter().map(|a| Through { account: a, share: share(a), sender: sender(a) });
        Ok((!self.accounts.is_empty()).then(|| (through.collect(), sharing)))
    }
}

/// `accounts main (3 of 4), other (1 of 4), by shares; weight 1, at most 50/s`.
pub fn through(c: &Campaign) -> String {
    let all: i32 = c.accounts.iter().filter_map(|a| a.share).sum();
    let each = |a: &CampaignAccount| {
        let share = a.share.map(|share| format!(" ({share} of {all})")).unwrap_or_default();
        let sender = a.sender.as_ref().map(|sender| format!(" from {sender}")).unwrap_or_default();
        format!("{}{share}{sender}", a.name)
    };
    let names = c.accounts.iter().map(each).collect::<Vec<_>>().join(", ");
    let rate = c.rate.map(|rate| format!(", at most {rate}")).unwrap_or_default();
    let of_each = match (c.accounts.len(), c.sharing) {
        (1, _) => format!("account {names}, weight {}", c.weight),
        (_, Sharing::Together) => format!("accounts {names}, together; weight {}", c.weight),
        (_, Sharing::Shares) => format!("accounts {names}, by shares; weight {}", c.weight),
        (_, Sharing::InOrder) => format!("accounts {names}, in this order; weight {}", c.weight),
    };
    of_each + &rate
}
