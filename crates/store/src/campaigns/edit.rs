//! Changing campaigns: their approval, their policies, their accounts.

use fanfare_domain::cap::Cap;
use fanfare_domain::state::{Approval, CampaignKind, Sharing};
use sqlx::PgConnection;

use super::create::add_account;
use super::{Campaign, Through};
use crate::error::ensure_affected;
use crate::{Error, Result, transitions};

/// Moves the campaign to another state of approval, with what is approved if it is. The caller holds its lock.
///
/// # Errors
/// When the database fails.
pub async fn set_approval(
    c: &mut PgConnection,
    workspace_id: i32,
    campaign: &Campaign,
    to: Approval,
    (actor, reason): (&str, Option<&str>),
) -> Result<()> {
    let says = (to == Approval::Approved).then(|| campaign.says());
    let done = sqlx::query(
        "-- set_approval
         update campaign set approval = $3, approved_says = $4 where workspace_id = $1 and campaign_id = $2",
    )
    .bind(workspace_id)
    .bind(campaign.campaign_id)
    .bind(to.as_i16())
    .bind(&says)
    .execute(&mut *c)
    .await?;
    ensure_affected("set_approval", done.rows_affected(), 1)?;
    let reason = reason.or(says.as_deref());
    transitions::of_campaign(c, (workspace_id, campaign.campaign_id), (Some(campaign.approval), to), actor, reason)
        .await
}

/// Changes policies of a campaign; `None` leaves one as it is. The caller holds its lock.
///
/// # Errors
/// When the database fails.
pub async fn set_policies(
    c: &mut PgConnection,
    workspace_id: i32,
    campaign_id: i64,
    weight: Option<i32>,
    fails_at_permille: Option<i32>,
) -> Result<()> {
    sqlx::query(
        "-- set_policies
         update campaign set weight = coalesce($3, weight),
           fails_at_permille = case when $4::int is null then fails_at_permille else nullif($4, 0) end
         where workspace_id = $1 and campaign_id = $2",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(weight)
    .bind(fails_at_permille)
    .execute(c)
    .await?;
    Ok(())
}

/// Gives a campaign a rate of its own, or none. The caller holds its lock.
///
/// # Errors
/// [`Error::Conflict`] for a rate of one whose messages come one by one; else when the database fails.
pub async fn set_rate(c: &mut PgConnection, workspace_id: i32, campaign: &Campaign, rate: Option<Cap>) -> Result<()> {
    let name = &campaign.name;
    if rate.is_some() && campaign.kind != CampaignKind::Broadcast {
        return Err(Error::Conflict(format!(
            "campaign {name:?} is triggered, and what comes one by one is sent at once: leave --rate out; a limit for \
             all that an account sends is its cap, fanfare account set ACCOUNT --cap 50/s"
        )));
    }
    sqlx::query(
        "-- set_rate
         update campaign set rate_count = $3, rate_per_us = $4 where workspace_id = $1 and campaign_id = $2",
    )
    .bind(workspace_id)
    .bind(campaign.campaign_id)
    .bind(rate.map(|rate| rate.count as i32))
    .bind(rate.map(|rate| rate.per_us))
    .execute(c)
    .await?;
    Ok(())
}

/// Lets a campaign go through other accounts, or through the same in another way. The caller holds its lock.
///
/// # Errors
/// [`Error::NotFound`] for an unknown account; [`Error::Conflict`] for one that is named twice; else when the
/// database fails.
pub async fn set_accounts(
    c: &mut PgConnection,
    workspace_id: i32,
    campaign_id: i64,
    accounts: &[Through<'_>],
    sharing: Sharing,
) -> Result<()> {
    sqlx::query("-- set_accounts: old\n delete from campaign_account where workspace_id = $1 and campaign_id = $2")
        .bind(workspace_id)
        .bind(campaign_id)
        .execute(&mut *c)
        .await?;
    for (rank, through) in (0..).zip(accounts) {
        add_account(c, workspace_id, campaign_id, rank, through).await?;
    }
    sqlx::query("-- set_accounts\n update campaign set sharing = $3 where workspace_id = $1 and campaign_id = $2")
        .bind(workspace_id)
        .bind(campaign_id)
        .bind(sharing.as_i16())
        .execute(c)
        .await?;
    Ok(())
}
