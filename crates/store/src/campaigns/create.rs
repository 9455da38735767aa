//! Creating campaigns.

use std::collections::HashSet;

use fanfare_domain::limits::CAMPAIGN_LISTS_MAX;
use fanfare_domain::segment::Segment;
use fanfare_domain::state::{Approval, CampaignKind, Category, OnMissing, OnUnknown, Sharing};
use sqlx::PgConnection;

use super::{Campaign, get};
use crate::first_part::{self, FirstPart};
use crate::hours::{self, NewHours};
use crate::schedules::{self, NewSchedule};
use crate::{Error, Result, Store, accounts, arms, lists, segments, templates, transitions};

/// A campaign to be created.
#[derive(Debug, Clone, Copy)]
pub struct NewCampaign<'a> {
    /// What the commands will name.
    pub name: &'a str,
    /// How it comes by its messages.
    pub kind: CampaignKind,
    /// Name of its template.
    pub template: &'a str,
    /// Name of the approved template for those who may not be sent the other's words.
    pub fallback: Option<&'a str>,
    /// Name of its list; of no meaning where messages come one by one.
    pub list: &'a str,
    /// Names of more lists. Of an address on several of them, the contact of the first counts.
    pub more_lists: &'a [String],
    /// Names of lists whose contacts are left out.
    pub minus: &'a [String],
    /// Which contacts of the lists are meant; `None` = all.
    pub audience: Option<&'a Segment>,
    /// What it is for.
    pub category: Category,
    /// Its accounts, in their order.
    pub accounts: &'a [Through<'a>],
    /// How they divide it.
    pub sharing: Sharing,
    /// Its share of each account beside other campaigns, 1 to 1000.
    pub weight: i32,
    /// When a recipient lacks a variable.
    pub on_missing: OnMissing,
    /// What becomes of a message in doubt at a provider without idempotency keys.
    pub on_unknown: OnUnknown,
    /// Seconds from the launch after which what is unsent expires; `None` = never.
    pub expires_after_s: Option<i64>,
    /// When it runs by itself.
    pub schedule: Option<NewSchedule<'a>>,
    /// Whether a contact whom an earlier run has reached, or may still reach, is left out.
    pub once_per_contact: bool,
    /// When it may write to people.
    pub hours: NewHours<'a>,
    /// Templates and weights that are tried against each other, `template` the first; empty = that alone.
    pub arms: &'a [(&'a str, i32)],
    /// How many it goes to first, and when the rest follows.
    pub first_part: Option<FirstPart>,
    /// A run of it is paused once more of its messages failed than this, in thousandths.
    pub fails_at_permille: Option<i32>,
}

impl<'a> NewCampaign<'a> {
    /// A campaign with every policy as it is by default.
    pub fn of(name: &'a str, template: &'a str, list: &'a str, accounts: &'a [Through<'a>]) -> Self {
        Self {
            name,
            kind: CampaignKind::Broadcast,
            template,
            fallback: None,
            list,
            more_lists: &[],
            minus: &[],
            audience: None,
            category: Category::Marketing,
            accounts,
            sharing: Sharing::Together,
            weight: 1,
            on_missing: OnMissing::Refuse,
            on_unknown: OnUnknown::Hold,
            expires_after_s: None,
            schedule: None,
            once_per_contact: false,
            hours: NewHours::default(),
            arms: &[],
            first_part: None,
            fails_at_permille: None,
        }
    }
}

/// An account that a campaign is to go through.
#[derive(Debug, Clone, Copy)]
pub struct Through<'a> {
    /// Name of the account.
    pub account: &'a str,
    /// Its part of the messages, 1 to 1000, where the campaign is divided by shares.
    pub share: Option<i32>,
    /// The address it sends from, unless the account's own.
    pub sender: Option<&'a str>,
}

impl<'a> Through<'a> {
    /// This account, with nothing said of it.
    pub fn account(account: &'a str) -> Self {
        Self { account, share: None, sender: None }
    }
}

/// An expression as it is kept.
///
/// # Errors
/// [`Error::Corrupt`] when it is none.
pub fn segment(text: &str) -> Result<Segment> {
    text.parse().map_err(|e| Error::Corrupt(format!("expression {text:?}: {e}")))
}

/// Creates a campaign.
///
/// # Errors
/// [`Error::NotFound`] when template, list or account do not exist; [`Error::Segment`] when an attribute or
/// campaign of the expression does not; [`Error::Conflict`] when the name is taken, a list or account is named
/// twice, or the fallback cannot be one; else when the database fails.
pub async fn create(store: &Store, workspace_id: i32, new: NewCampaign<'_>) -> Result<Campaign> {
    let mut tx = store.pool.begin().await?;
    let template = templates::get(&mut tx, workspace_id, new.template).await?;
    let fallback_id = match new.fallback {
        Some(name) => Some(fallback(&mut tx, workspace_id, name, &template).await?),
        None => None,
    };
    let list_id = match new.kind {
        CampaignKind::Broadcast => Some(lists::get(&mut tx, workspace_id, new.list).await?.list_id),
        CampaignKind::Triggered | CampaignKind::Single => None,
    };
    let (more, minus) = match list_id {
        Some(list_id) => chosen(&mut tx, workspace_id, list_id, &new).await?,
        None => (Vec::new(), Vec::new()),
    };
    let campaign_id = store.ids.next();
    let done = sqlx::query(
        "-- create
         insert into campaign (workspace_id, campaign_id, name, template_id, list_id, sharing, weight,
           on_missing, on_unknown, expires_after_s, created_at, fallback_id, once_per_contact, fails_at_permille, kind,
           audience, category)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         on conflict (workspace_id, name) do nothing",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(new.name)
    .bind(template.template_id)
    .bind(list_id)
    .bind(new.sharing.as_i16())
    .bind(new.weight)
    .bind(new.on_missing.as_i16())
    .bind(new.on_unknown.as_i16())
    .bind(new.expires_after_s)
    .bind(store.clock.now())
    .bind(fallback_id)
    .bind(new.once_per_contact)
    .bind(new.fails_at_permille)
    .bind(new.kind.as_i16())
    .bind(new.audience.map(Segment::text))
    .bind(new.category.as_i16())
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        let name = new.name;
        return Err(Error::Conflict(format!(
            "campaign {name:?} exists already: choose another name, or launch it with fanfare campaign launch {name}"
        )));
    }
    for (is_minus, lists) in [(false, more), (true, minus)] {
        for (rank, list_id) in (0..).zip(lists) {
            add_list(&mut tx, workspace_id, campaign_id, (list_id, rank, is_minus)).await?;
        }
    }
    for (rank, through) in (0..).zip(new.accounts) {
        add_account(&mut tx, workspace_id, campaign_id, rank, through).await?;
    }
    if let Some(schedule) = &new.schedule {
        schedules::put(&mut tx, workspace_id, campaign_id, schedule).await?;
    }
    hours::set_campaign(&mut tx, (workspace_id, campaign_id), new.hours, store.clock.now()).await?;
    arms::add(&mut tx, (workspace_id, campaign_id), &template, new.arms).await?;
    if let Some(part) = new.first_part {
        first_part::set(&mut tx, (workspace_id, campaign_id), part).await?;
    }
    transitions::of_campaign(&mut tx, (workspace_id, campaign_id), (None, Approval::Draft), &store.actor, None).await?;
    let campaign = get(&mut tx, workspace_id, new.name).await?;
    tx.commit().await?;
    tracing::info!(workspace_id, campaign_id = campaign.campaign_id, "campaign created");
    Ok(campaign)
}

/// The lists beside the first, and those to be left out; what the expression names exists.
async fn chosen(
    c: &mut PgConnection,
    workspace_id: i32,
    list_id: i64,
    new: &NewCampaign<'_>,
) -> Result<(Vec<i64>, Vec<i64>)> {
    let (more, minus) = more_lists(c, workspace_id, new).await?;
    if let Some(segment) = new.audience {
        let all: Vec<i64> = [list_id].into_iter().chain(more.iter().copied()).collect();
        segments::check(c, workspace_id, &all, segment).await?;
    }
    Ok((more, minus))
}

/// The lists beside the first, and those to be left out. None is named twice.
async fn more_lists(c: &mut PgConnection, workspace_id: i32, new: &NewCampaign<'_>) -> Result<(Vec<i64>, Vec<i64>)> {
    let mut named = HashSet::from([new.list]);
    let mut found = (Vec::new(), Vec::new());
    for (names, ids) in [(new.more_lists, &mut found.0), (new.minus, &mut found.1)] {
        if names.len() >= CAMPAIGN_LISTS_MAX {
            return Err(Error::Conflict(format!(
                "a campaign has fewer than {CAMPAIGN_LISTS_MAX} more lists: merge them with fanfare list merge"
            )));
        }
        for name in names {
            if !named.insert(name) {
                return Err(Error::Conflict(format!(
                    "list {name:?} is named twice: name it once, to go to it or to leave it out"
                )));
            }
            ids.push(lists::get(c, workspace_id, name).await?.list_id);
        }
    }
    Ok(found)
}

async fn add_list(
    c: &mut PgConnection,
    workspace_id: i32,
    campaign_id: i64,
    (list_id, rank, minus): (i64, i16, bool),
) -> Result<()> {
    sqlx::query(
        "-- create: list
         insert into campaign_list (workspace_id, campaign_id, list_id, rank, minus) values ($1, $2, $3, $4, $5)",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(list_id)
    .bind(rank)
    .bind(minus)
    .execute(c)
    .await?;
    Ok(())
}

pub(super) async fn add_account(
    c: &mut PgConnection,
    workspace_id: i32,
    campaign_id: i64,
    rank: i16,
    through: &Through<'_>,
) -> Result<()> {
    let account = accounts::get(c, workspace_id, through.account).await?;
    let done = sqlx::query(
        "-- create: account
         insert into campaign_account (workspace_id, campaign_id, rank, account_id, share, sender)
         values ($1, $2, $3, $4, $5, $6) on conflict (workspace_id, campaign_id, account_id) do nothing",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(rank)
    .bind(account.account_id)
    .bind(through.share)
    .bind(through.sender)
    .execute(c)
    .await?;
    match done.rows_affected() {
        0 => Err(Error::Conflict(format!("account {:?} is named twice: name it once", through.account))),
        _ => Ok(()),
    }
}

/// The template called `name`, as one that may stand in for `main`.
async fn fallback(c: &mut PgConnection, workspace_id: i32, name: &str, main: &templates::Head) -> Result<i64> {
    let head = templates::get(c, workspace_id, name).await?;
    if head.channel != main.channel {
        let (is, wanted) = (head.channel, main.channel);
        return Err(Error::Conflict(format!(
            "fallback {name:?} is for {is}, and template {:?} for {wanted}: give one for {wanted}",
            main.name
        )));
    }
    let template = templates::compile(c, workspace_id, head.template_id, head.version).await?;
    if template.has_free_form() {
        return Err(Error::Conflict(format!(
            "fallback {name:?} says words of its own, which have to wait for the recipient to write: give a template \
             that the provider has approved, fanfare template add NAME --channel {} --provider-template NAME",
            head.channel
        )));
    }
    Ok(head.template_id)
}
