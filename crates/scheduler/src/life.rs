//! What people decide about a campaign beside its runs: whether it may be launched, and what changes while it runs.

use fanfare_domain::state::{Approval, Sharing};
use fanfare_store::campaigns::{self, Campaign, Through};
use fanfare_store::hours::{self, Written};
use fanfare_store::tx::run_tx;
use fanfare_store::{Store, flows, runs, transitions};

use crate::{Error, Result};

/// What a person says of a campaign that is to be approved.
#[derive(Debug, Clone, Copy)]
pub enum Verdict<'a> {
    /// It is ready to be looked at.
    Submit,
    /// It may be launched as it is now.
    Approve,
    /// It may not, and why.
    Refuse(&'a str),
}

/// Moves a campaign on its way to approval.
///
/// # Errors
/// [`Error::State`] when its state does not allow that, by name; else when it does not exist or the database fails.
pub async fn judge(store: &Store, workspace_id: i32, name: &str, verdict: Verdict<'_>) -> Result<Campaign> {
    run_tx("judge campaign", || try_judge(store, workspace_id, name, verdict)).await?.map_err(Error::State)
}

async fn try_judge(
    store: &Store,
    workspace_id: i32,
    name: &str,
    verdict: Verdict<'_>,
) -> fanfare_store::Result<std::result::Result<Campaign, String>> {
    use Approval::{Approved, Draft, Refused, Review};
    let mut tx = store.pool.begin().await?;
    let id = campaigns::get(&mut tx, workspace_id, name).await?.campaign_id;
    campaigns::lock(&mut tx, workspace_id, id).await?;
    let campaign = campaigns::get(&mut tx, workspace_id, name).await?;
    let stale = campaign.approved_says.as_ref().is_some_and(|says| *says != campaign.says());
    let next = match (verdict, campaign.approval) {
        (Verdict::Submit, Draft | Refused) => Ok((Review, None)),
        (Verdict::Submit, Approved) if stale => Ok((Review, Some("says something else than was approved"))),
        (Verdict::Submit, Review) => Err("is in review already: fanfare campaign approve, or refuse"),
        (Verdict::Submit, Approved) => Err("is approved already"),
        (Verdict::Approve, Review) => Ok((Approved, None)),
        (Verdict::Refuse(why), Review) => Ok((Refused, Some(why))),
        (_, Draft) => Err("is a draft: fanfare campaign submit first"),
        (_, Refused) => Err("was refused: change it, then fanfare campaign submit"),
        (Verdict::Approve, Approved) => Err("is approved already"),
        (Verdict::Refuse(_), Approved) => Err("is approved already; to stop what runs, fanfare campaign cancel"),
    };
    let (to, why) = match next {
        Err(why) => return Ok(Err(format!("campaign {name:?} {why}"))),
        Ok(next) => next,
    };
    campaigns::set_approval(&mut tx, workspace_id, &campaign, to, (&store.actor, why)).await?;
    let campaign = campaigns::get(&mut tx, workspace_id, name).await?;
    tx.commit().await?;
    Ok(Ok(campaign))
}

/// What is to change of a campaign, and at once of its runs that are not over. What is said, and to whom, is frozen
/// in each run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Edit<'a> {
    /// Its share of each account beside other campaigns.
    pub weight: Option<i32>,
    /// Its accounts, and how they divide it. An account that it had keeps its sender.
    pub through: Option<(&'a [Through<'a>], Sharing)>,
    /// A run is paused once more failed than this, in thousandths; 0 = never.
    pub fails_at_permille: Option<i32>,
    /// Hours of the day in which nothing is sent; `Some(None)` = none.
    pub quiet: Option<Option<&'a str>>,
    /// Windows in which something is; `Some(None)` = any time.
    pub hours: Option<Option<&'a str>>,
}

impl Edit<'_> {
    /// What is changed, for the history.
    fn in_words(&self) -> String {
        let accounts = self.through.map(|(through, sharing)| {
            let each = through.iter().map(|t| t.account).collect::<Vec<_>>().join(", ");
            format!("accounts {each} ({sharing})")
        });
        let all = [
            self.weight.map(|n| format!("weight {n}")),
            accounts,
            self.fails_at_permille.map(|n| format!("paused if {} % failed", f64::from(n) / 10.0)),
            self.quiet.map(|quiet| format!("quiet hours {}", quiet.unwrap_or("none"))),
            self.hours.map(|hours| format!("windows {}", hours.unwrap_or("none"))),
        ];
        all.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

/// A campaign that was changed.
#[derive(Debug, Clone)]
pub struct Edited {
    /// As it is now.
    pub campaign: Campaign,
    /// How many runs of it are not over.
    pub runs: usize,
    /// When it may write to people, beside what the workspace says.
    pub written: Written,
    /// Runs that began without windows and have some now: see [`crate::hours::Applied`].
    pub undivided: usize,
}

/// Changes a campaign and its runs that are not over.
///
/// # Errors
/// When it, or an account, does not exist, an account is named twice, its hours never open, or the database fails;
/// nothing is changed then.
pub async fn edit(store: &Store, workspace_id: i32, name: &str, edit: Edit<'_>) -> Result<Edited> {
    let mut edited = run_tx("edit campaign", || try_edit(store, workspace_id, name, edit)).await?;
    if edit.quiet.is_some() || edit.hours.is_some() {
        let applied = crate::hours::apply(store, workspace_id, Some(edited.campaign.campaign_id)).await?;
        edited.undivided = applied.undivided;
    }
    Ok(edited)
}

async fn try_edit(store: &Store, workspace_id: i32, name: &str, edit: Edit<'_>) -> fanfare_store::Result<Edited> {
    let mut tx = store.pool.begin().await?;
    let id = campaigns::get(&mut tx, workspace_id, name).await?.campaign_id;
    campaigns::lock(&mut tx, workspace_id, id).await?;
    campaigns::set_policies(&mut tx, workspace_id, id, edit.weight, edit.fails_at_permille).await?;
    if let Some((through, sharing)) = edit.through {
        campaigns::set_accounts(&mut tx, workspace_id, id, through, sharing).await?;
    }
    let written = hours::change_campaign(&mut tx, (workspace_id, id), edit.quiet, edit.hours).await?;
    let open = runs::unfinished(&mut tx, workspace_id, id).await?;
    for run in &open {
        flows::lock(&mut tx, workspace_id, run.run_id).await?;
        if let Some(weight) = edit.weight {
            flows::weigh(&mut tx, workspace_id, run.run_id, weight).await?;
        }
        if edit.through.is_some() {
            flows::divert(&mut tx, workspace_id, run.run_id).await?;
        }
    }
    let campaign = campaigns::get(&mut tx, workspace_id, name).await?;
    transitions::noted(&mut tx, (workspace_id, id), &store.actor, &edit.in_words()).await?;
    tx.commit().await?;
    tracing::info!(workspace_id, campaign_id = id, runs = open.len(), "campaign changed");
    Ok(Edited { campaign, runs: open.len(), written, undivided: 0 })
}
