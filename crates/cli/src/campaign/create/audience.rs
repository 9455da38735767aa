//! To whom a campaign goes, and what it is for.

use clap::Args;
use fanfare_domain::segment::Segment;
use fanfare_domain::state::{CampaignKind, Category};
use fanfare_store::campaigns::Campaign;

use crate::parse;

#[derive(Debug, Args)]
pub struct Audience {
    /// To whom; repeat it for several lists: of an address on several of them, the contact of the first counts
    #[arg(id = "list", long = "list", value_name = "LIST", required_unless_present = "triggered")]
    lists: Vec<String>,
    /// A list whose contacts are left out; repeat it for several
    #[arg(long = "minus", value_name = "LIST")]
    pub minus: Vec<String>,
    /// Which contacts of the lists are meant [default: all], e.g. "country = DZ and tag in (vip, gold) and
    /// not read in spring within 30 days"; see fanfare list count --help
    #[arg(long, value_name = "EXPRESSION", value_parser = parse::segment)]
    pub segment: Option<Segment>,
    /// What it is for: consent and the cap by contact hold for marketing [default: marketing; of a triggered
    /// campaign transactional]
    #[arg(long, value_name = "marketing|transactional|utility")]
    category: Option<Category>,
}

impl Audience {
    /// What a campaign of this kind is for.
    pub fn category(&self, kind: CampaignKind) -> Category {
        self.category.unwrap_or(match kind {
            CampaignKind::Broadcast => Category::Marketing,
            CampaignKind::Triggered | CampaignKind::Single => Category::Transactional,
        })
    }

    /// Whether it says more than a list.
    pub fn chooses(&self) -> bool {
        !self.minus.is_empty() || self.segment.is_some() || self.lists.len() > 1
    }

    /// The first list, and the others.
    pub fn lists(&self) -> (&str, &[String]) {
        // None of a triggered campaign.
        self.lists.split_first().map_or(("", &[]), |(first, more)| (first.as_str(), more))
    }
}

/// `lists a, b but not c, where country = DZ`.
pub fn in_words(c: &Campaign) -> String {
    let (lists, minus) = (c.list_names(false), c.list_names(true));
    let several = if c.list_ids(false).len() > 1 { "lists" } else { "list" };
    let minus = if minus.is_empty() { String::new() } else { format!(" but not {minus}") };
    let segment = c.audience.as_ref().map(|segment| format!(", where {segment}")).unwrap_or_default();
    format!("{several} {lists}{minus}{segment}")
}
