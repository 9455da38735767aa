//! Whether messages come one by one.

use clap::Args;
use fanfare_domain::state::CampaignKind;

#[derive(Debug, Args)]
pub struct Trigger {
    /// Its messages come one by one with campaign enrol, ahead of all bulk, from now on until it is stopped
    #[arg(long, conflicts_with_all = ["list", "local_date"])]
    pub triggered: bool,
}

impl Trigger {
    /// How the campaign comes by its messages.
    pub fn kind(&self) -> CampaignKind {
        if self.triggered { CampaignKind::Triggered } else { CampaignKind::Broadcast }
    }
}
