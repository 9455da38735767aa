//! Where a conversation has a window: what goes to whom, and what a launch should be told of it.

use std::convert::Infallible;

use fanfare_domain::content::{Approved, Feature};
use fanfare_domain::message::Channel;
use fanfare_domain::template::{Arms, Fallback};
use fanfare_providers::Kind;
use fanfare_store::accounts::Account;
use fanfare_store::campaigns::Campaign;
use fanfare_store::runs::RunArm;
use fanfare_store::{Error, PgConnection, Result, templates};
use serde::Serialize;

use crate::Problem;
use crate::approved::measured;
use crate::plan::Plan;

/// What a launch of a campaign would say.
pub(crate) struct Said {
    pub says: Arms,
    pub fallback: Option<Fallback>,
    /// The variables of both.
    pub variables: Vec<String>,
    /// Why the fallback is none.
    pub refusal: Option<Problem>,
    features: Vec<Feature>,
    approved: Vec<Approved>,
    channel: Channel,
}

impl Said {
    /// These templates, and the newest version of the campaign's fallback.
    pub async fn read(
        c: &mut PgConnection,
        workspace_id: i32,
        campaign: &Campaign,
        arms: &[RunArm],
        through: &[Account],
    ) -> Result<Self> {
        let says = templates::arms(c, workspace_id, campaign.campaign_id, arms).await?;
        let Ok(says) = says.try_map(|template| Ok::<_, Infallible>(measured(template, through)));
        let mut said = Self {
            features: says.features(),
            approved: says.approved(),
            variables: says.variables().to_vec(),
            fallback: None,
            refusal: None,
            channel: campaign.channel,
            says,
        };
        if let Some(head) = &campaign.fallback {
            let fallback = templates::compile(c, workspace_id, head.template_id, head.version).await?;
            let fallback = measured(fallback, through);
            let corrupt = |e| Error::Corrupt(format!("the templates of campaign {:?}: {e}", campaign.name));
            // It was approved when the campaign was created, and may have a newer version.
            said.refusal = fallback.has_free_form().then(|| {
                let problem = format!("fallback {:?} says words of its own in version {}", head.name, head.version);
                let remedy = "add a version of it with --provider-template, which the provider has approved";
                Problem::new(problem, remedy)
            });
            said.features.extend(fallback.features());
            said.approved.extend(fallback.approved());
            said.variables = Fallback::variables(said.says.variables(), &fallback);
            said.fallback = Some(Fallback::ordered_as(fallback, &said.variables).map_err(corrupt)?);
            said.says = said.says.ordered_as(&said.variables).map_err(corrupt)?;
        }
        Ok(said)
    }

    /// The templates of a provider that it names.
    pub fn approved(&self) -> &[Approved] {
        &self.approved
    }

    /// What a provider must carry to send any of it, each once.
    pub fn features(&self) -> Vec<Feature> {
        let mut features = self.features.clone();
        features.sort();
        features.dedup();
        features
    }

    /// The accounts that may say some of it only to those who wrote to them lately.
    pub fn windowed(&self, accounts: &[Account]) -> Vec<i64> {
        let has_window = |account: &&Account| Kind::named(&account.kind).is_some_and(|k| k.has_window(self.channel));
        let windowed = accounts.iter().filter(|_| self.says.has_free_form()).filter(has_window);
        windowed.map(|account| account.account_id).collect()
    }
}

/// The recipients of words of our own, by whether they wrote to the account lately. It is looked at anew
/// when each is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WindowLine {
    /// They did, and may be sent these words.
    pub open: i64,
    /// They did not, and get the fallback.
    pub fallback: i64,
    /// They did not, and are sent nothing.
    pub refused: i64,
}

impl WindowLine {
    pub(crate) fn new(open: i64, closed: i64, has_fallback: bool) -> Self {
        let (fallback, refused) = if has_fallback { (closed, 0) } else { (0, closed) };
        Self { open, fallback, refused }
    }
}

impl Plan {
    /// `account "a"`, or `accounts "a", "b"`.
    fn account_names(&self) -> String {
        let names: Vec<String> = self.accounts.iter().map(|line| format!("{:?}", line.account)).collect();
        format!("account{} {}", if names.len() > 1 { "s" } else { "" }, names.join(", "))
    }

    pub(crate) fn note_window(&mut self) {
        match (self.window, &self.fallback) {
            (Some(WindowLine { refused: refused @ 1.., .. }), _) => {
                let problem = format!(
                    "{refused} recipients have not written to {} within 24 hours and are sent nothing",
                    self.account_names()
                );
                let remedy = "create the campaign with --fallback and an approved template, which they get instead";
                self.warnings.push(Problem::new(problem, remedy));
            }
            (None, Some(fallback)) => {
                let problem = format!("fallback {fallback:?} goes to nobody");
                let remedy = "this account may send the template to everybody at any time";
                self.warnings.push(Problem::new(problem, remedy));
            }
            _ => {}
        }
    }
}
