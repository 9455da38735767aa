//! Campaigns: what to say, to whom, through which account, under which policies.

mod create;
mod edit;

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_domain::cap::Cap;
use fanfare_domain::message::Channel;
use fanfare_domain::segment::Segment;
use fanfare_domain::state::{Approval, CampaignKind, Category, OnMissing, OnUnknown, Sharing};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};

use crate::arms::CampaignArm;
use crate::first_part::FirstPart;
use crate::nearest::nearest;
use crate::runs::RunArm;
use crate::{Error, Result, templates};

pub use create::{NewCampaign, Through, create, segment};
pub use edit::{set_accounts, set_approval, set_policies, set_rate};

/// An account of a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignAccount {
    /// The account.
    #[serde(skip_serializing)]
    pub account_id: i64,
    /// Its name.
    #[serde(rename = "account")]
    pub name: String,
    /// Its part of the messages, where the campaign is divided by shares.
    pub share: Option<i32>,
    /// The address it sends from for this campaign, unless the account's own.
    pub sender: Option<String>,
}

/// A campaign.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// Its id.
    pub campaign_id: i64,
    /// What the commands name.
    pub name: String,
    /// How it comes by its messages.
    pub kind: CampaignKind,
    /// Its template.
    pub template_id: i64,
    /// Name of the template.
    pub template: String,
    /// The template's newest version.
    pub template_version: i32,
    /// The templates that it tries against each other, itself the first; empty where it has one.
    pub arms: Vec<CampaignArm>,
    /// Of one that goes to a few first: how many, and when the rest follows.
    pub first_part: Option<FirstPart>,
    /// The templates of its follow-ups with their newest versions, in the order of the steps.
    pub follow_ups: Vec<(String, i32)>,
    /// Whether it may be launched, where that has to be approved.
    pub approval: Approval,
    /// What was approved.
    pub approved_says: Option<String>,
    /// A run of it is paused once more of its messages failed than this, in thousandths.
    pub fails_at_permille: Option<i32>,
    /// The template's channel.
    pub channel: Channel,
    /// What goes to those who may not be sent the template's words.
    pub fallback: Option<Fallback>,
    /// Its list; 0 where messages come one by one.
    pub list_id: i64,
    /// Name of the list; empty where there is none.
    pub list: String,
    /// The lists beside it: more of those it goes to, then those it leaves out.
    pub more_lists: Vec<CampaignList>,
    /// Which contacts of the lists are meant; `None` = all.
    pub audience: Option<Segment>,
    /// What it is for.
    pub category: Category,
    /// Its accounts, in their order; at least one.
    pub accounts: Vec<CampaignAccount>,
    /// How they divide it.
    pub sharing: Sharing,
    /// Its share of each account beside other campaigns.
    pub weight: i32,
    /// What each of its runs sends in the mean, over all of its accounts; `None` = as much as these let it.
    pub rate: Option<Cap>,
    /// When a recipient lacks a variable.
    pub on_missing: OnMissing,
    /// What becomes of a message in doubt at a provider without idempotency keys.
    pub on_unknown: OnUnknown,
    /// Seconds from the launch after which what is unsent expires.
    pub expires_after_s: Option<i64>,
    /// Whether a contact whom an earlier run has reached, or may still reach, is left out.
    pub once_per_contact: bool,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

impl Campaign {
    /// Its lists, or those that it leaves out.
    pub fn list_ids(&self, minus: bool) -> Vec<i64> {
        let first = Some(self.list_id).filter(|id| !minus && *id > 0);
        let more = self.more_lists.iter().filter(|list| list.minus == minus).map(|list| list.list_id);
        first.into_iter().chain(more).collect()
    }

    /// The names of its lists, or of those that it leaves out, with commas between them.
    pub fn list_names(&self, minus: bool) -> String {
        let first = Some(self.list.as_str()).filter(|name| !minus && !name.is_empty());
        let more = self.more_lists.iter().filter(|list| list.minus == minus).map(|list| list.name.as_str());
        first.into_iter().chain(more).collect::<Vec<_>>().join(", ")
    }

    /// What a run of it says now.
    pub fn arms(&self) -> Vec<RunArm> {
        let only = RunArm { template_id: self.template_id, version: self.template_version, weight: 1 };
        if self.arms.is_empty() { vec![only] } else { self.arms.iter().map(CampaignArm::of_run).collect() }
    }

    /// What would be said now: its templates with their versions, each once. Approval holds for that.
    pub fn says(&self) -> String {
        let main = (self.template.as_str(), self.template_version);
        let arms = self.arms.iter().skip(1).map(|arm| (arm.template.as_str(), arm.version));
        let fallback = self.fallback.iter().map(|f| (f.name.as_str(), f.version));
        let follow_ups = self.follow_ups.iter().map(|(name, version)| (name.as_str(), *version));
        let mut all: Vec<(&str, i32)> = Vec::new();
        for said in std::iter::once(main).chain(arms).chain(fallback).chain(follow_ups) {
            if !all.contains(&said) {
                all.push(said);
            }
        }
        all.iter().map(|(name, version)| format!("{name} v{version}")).collect::<Vec<_>>().join(", ")
    }

    /// When what is unsent expires of a run that starts at `start`; `None` = never.
    pub fn expires_at(&self, start: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.expires_after_s.and_then(TimeDelta::try_seconds).and_then(|after| start.checked_add_signed(after))
    }
}

/// A list of a campaign beside its first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CampaignList {
    /// The list.
    pub list_id: i64,
    /// Its name.
    pub name: String,
    /// Whether its contacts are left out.
    pub minus: bool,
}

/// The fallback of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// The template.
    pub template_id: i64,
    /// Its name.
    pub name: String,
    /// Its newest version.
    pub version: i32,
}

#[derive(FromRow)]
struct Row {
    campaign_id: i64,
    name: String,
    kind: i16,
    template_id: i64,
    template: String,
    template_version: i32,
    #[sqlx(json)]
    arms: Vec<CampaignArm>,
    #[sqlx(json(nullable))]
    first_part: Option<FirstPart>,
    #[sqlx(json)]
    follow_ups: Vec<(String, i32)>,
    approval: i16,
    approved_says: Option<String>,
    fails_at_permille: Option<i32>,
    channel: i16,
    fallback_id: Option<i64>,
    fallback: Option<String>,
    fallback_version: Option<i32>,
    list_id: i64,
    list: String,
    #[sqlx(json)]
    more_lists: Vec<CampaignList>,
    audience: Option<String>,
    category: i16,
    #[sqlx(json)]
    accounts: Vec<CampaignAccount>,
    sharing: i16,
    weight: i32,
    rate_count: Option<i32>,
    rate_per_us: Option<i64>,
    on_missing: i16,
    on_unknown: i16,
    expires_after_s: Option<i64>,
    once_per_contact: bool,
    created_at: DateTime<Utc>,
}

impl Row {
    fn campaign(self) -> Result<Campaign> {
        let corrupt = |what, n| Error::Corrupt(format!("{what} {n} of campaign {}", self.campaign_id));
        Ok(Campaign {
            channel: templates::channel(self.channel)?,
            fallback: match (self.fallback_id, self.fallback, self.fallback_version) {
                (Some(template_id), Some(name), Some(version)) => Some(Fallback { template_id, name, version }),
                _ => None,
            },
            on_missing: OnMissing::from_i16(self.on_missing).ok_or_else(|| corrupt("on_missing", self.on_missing))?,
            on_unknown: OnUnknown::from_i16(self.on_unknown).ok_or_else(|| corrupt("on_unknown", self.on_unknown))?,
            kind: CampaignKind::from_i16(self.kind).ok_or_else(|| corrupt("kind", self.kind))?,
            campaign_id: self.campaign_id,
            name: self.name,
            template_id: self.template_id,
            template: self.template,
            template_version: self.template_version,
            arms: self.arms,
            first_part: self.first_part,
            follow_ups: self.follow_ups,
            approval: Approval::from_i16(self.approval).ok_or_else(|| corrupt("approval", self.approval))?,
            approved_says: self.approved_says,
            fails_at_permille: self.fails_at_permille,
            list_id: self.list_id,
            list: self.list,
            more_lists: self.more_lists,
            audience: self.audience.as_deref().map(segment).transpose()?,
            category: Category::from_i16(self.category).ok_or_else(|| corrupt("category", self.category))?,
            sharing: Sharing::from_i16(self.sharing).ok_or_else(|| corrupt("sharing", self.sharing))?,
            accounts: self.accounts,
            weight: self.weight,
            rate: self.rate_count.zip(self.rate_per_us).map(|(n, per_us)| Cap { count: n.into(), per_us }),
            expires_after_s: self.expires_after_s,
            once_per_contact: self.once_per_contact,
            created_at: self.created_at,
        })
    }
}

/// The campaign called `name`.
///
/// # Errors
/// [`Error::NotFound`] with the nearest names; else when the database fails.
pub async fn get(c: &mut PgConnection, workspace_id: i32, name: &str) -> Result<Campaign> {
    let rows: Vec<Row> = select(c, workspace_id, Some(name)).await?;
    match rows.into_iter().next() {
        Some(row) => row.campaign(),
        None => {
            let names: Vec<String> = list(c, workspace_id).await?.into_iter().map(|c| c.name).collect();
            Err(Error::NotFound { what: "campaign", name: name.to_owned(), near: nearest(name, names) })
        }
    }
}

/// All campaigns that somebody has named, by name.
///
/// # Errors
/// When the database fails.
pub async fn list(c: &mut PgConnection, workspace_id: i32) -> Result<Vec<Campaign>> {
    let named = select(c, workspace_id, None).await?.into_iter().filter(|r| r.kind != CampaignKind::Single.as_i16());
    named.map(Row::campaign).collect()
}

async fn select(c: &mut PgConnection, workspace_id: i32, name: Option<&str>) -> Result<Vec<Row>> {
    let rows = sqlx::query_as(
        "-- select
         select c.campaign_id, c.name, c.kind, c.template_id, t.name as template, t.version as template_version, t.channel,
                coalesce(c.list_id, 0) as list_id, coalesce(l.name, '') as list, c.audience, c.category,
                (select coalesce(jsonb_agg(jsonb_build_object('list_id', m.list_id, 'name', n.name, 'minus', m.minus)
                                           order by m.minus, m.rank), '[]')
                 from campaign_list m join list n on n.workspace_id = m.workspace_id and n.list_id = m.list_id
                 where m.workspace_id = c.workspace_id and m.campaign_id = c.campaign_id) as more_lists,
                c.sharing, c.weight, c.rate_count, c.rate_per_us, c.on_missing, c.on_unknown, c.expires_after_s, c.once_per_contact, c.created_at,
                c.approval, c.approved_says, c.fails_at_permille,
                (select coalesce(jsonb_agg(jsonb_build_object('template_id', a.template_id, 'template', t.name,
                          'version', t.version, 'weight', a.weight) order by a.arm), '[]')
                 from campaign_arm a join template t on t.workspace_id = a.workspace_id and t.template_id = a.template_id
                 where a.workspace_id = c.workspace_id and a.campaign_id = c.campaign_id) as arms,
                (select to_jsonb(p) from first_part p
                 where p.workspace_id = c.workspace_id and p.campaign_id = c.campaign_id) as first_part,
                (select coalesce(jsonb_agg(jsonb_build_array(t.name, t.version) order by u.step), '[]')
                 from follow_up u join template t on t.workspace_id = u.workspace_id and t.template_id = u.template_id
                 where u.workspace_id = c.workspace_id and u.campaign_id = c.campaign_id) as follow_ups,
                c.fallback_id, f.name as fallback, f.version as fallback_version,
                (select jsonb_agg(jsonb_build_object('account_id', a.account_id, 'account', a.name, 'share', ca.share,
                                                     'sender', ca.sender) order by ca.rank)
                 from campaign_account ca join account a on a.workspace_id = ca.workspace_id and a.account_id = ca.account_id
                 where ca.workspace_id = c.workspace_id and ca.campaign_id = c.campaign_id) as accounts
         from campaign c
         join template t on t.workspace_id = c.workspace_id and t.template_id = c.template_id
         left join template f on f.workspace_id = c.workspace_id and f.template_id = c.fallback_id
         left join list l on l.workspace_id = c.workspace_id and l.list_id = c.list_id
         where c.workspace_id = $1 and ($2::text is null or c.name = $2) order by c.name",
    )
    .bind(workspace_id)
    .bind(name)
    .fetch_all(c)
    .await?;
    Ok(rows)
}

/// Holds the campaign against another launch until the transaction ends, and says its id.
///
/// # Errors
/// When it does not exist or the database fails.
pub async fn lock(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<i64> {
    let id = sqlx::query_scalar(
        "-- lock
         select campaign_id from campaign where workspace_id = $1 and campaign_id = $2 for no key update",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .fetch_one(c)
    .await?;
    Ok(id)
}
