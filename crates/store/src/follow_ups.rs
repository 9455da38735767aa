//! Follow-ups: what comes after a run of a campaign, to those of its recipients for whom it is meant.

use chrono::{DateTime, Utc};
use fanfare_domain::cohort::Member;
use fanfare_domain::state::CampaignKind;
use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use crate::campaigns::Campaign;
use crate::nearest::nearest;
use crate::runs::RunArm;
use crate::{Error, Result, Store, templates};

/// A step to be added.
#[derive(Debug, Clone, Copy)]
pub struct NewFollowUp<'a> {
    /// What the commands will call it.
    pub name: &'a str,
    /// Name of the step that it follows; `None` = the campaign's own runs.
    pub of: Option<&'a str>,
    /// Name of its template.
    pub template: &'a str,
    /// Seconds after the end of the run that it follows.
    pub after_s: i64,
    /// To whom: those for whom any of it holds.
    pub cohort: &'a [Member],
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FollowUp {
    /// Counts from 1.
    pub step: i16,
    /// What the commands call it.
    pub name: String,
    /// Name of the step that it follows; `None` = the campaign's own runs.
    pub of: Option<String>,
    /// Name of its template.
    pub template: String,
    /// Seconds after the end of the run that it follows.
    pub after_s: i64,
    /// To whom.
    pub cohort: Vec<Member>,
}

/// Adds a step to a campaign. A step follows an earlier one only, so that none follows itself.
///
/// # Errors
/// [`Error::NotFound`] for an unknown template or step, with the nearest names; [`Error::Conflict`] when the name
/// is taken, the step would follow itself, or the template is for another channel; else when the database fails.
pub async fn add(store: &Store, workspace_id: i32, campaign: &Campaign, new: NewFollowUp<'_>) -> Result<FollowUp> {
    let mut tx = store.pool.begin().await?;
    crate::campaigns::lock(&mut tx, workspace_id, campaign.campaign_id).await?;
    let steps = all(&mut tx, workspace_id, campaign.campaign_id).await?;
    if campaign.kind != CampaignKind::Broadcast {
        return Err(Error::Conflict(format!(
            "the messages of campaign {:?} come one by one, and no run of it ends that a step could follow: enrol \
             again, or give the step to a campaign that goes to a list",
            campaign.name
        )));
    }
    let template = templates::get(&mut tx, workspace_id, new.template).await?;
    if template.channel != campaign.channel {
        return Err(Error::Conflict(format!(
            "template {:?} is for {}, and campaign {:?} goes by {}: give a template for that channel",
            new.template, template.channel, campaign.name, campaign.channel
        )));
    }
    if steps.iter().any(|s| s.name == new.name) {
        return Err(Error::Conflict(format!(
            "campaign {:?} has a step {:?} already: choose another name",
            campaign.name, new.name
        )));
    }
    let of_step = match new.of {
        None => 0,
        Some(name) if name == new.name => {
            return Err(Error::Conflict(format!(
                "step {name:?} would follow itself, again and again: let it follow an earlier step, or the campaign"
            )));
        }
        Some(name) => steps.iter().find(|s| s.name == name).map(|s| s.step).ok_or_else(|| {
            let names = steps.iter().map(|s| s.name.clone());
            Error::NotFound { what: "step", name: name.to_owned(), near: nearest(name, names) }
        })?,
    };
    // The number of a step that was removed stays with the runs that it had.
    let step: i16 = sqlx::query_scalar(
        "-- follow_ups: next
         select (greatest((select max(step) from follow_up where workspace_id = $1 and campaign_id = $2),
                          (select max(step) from run where workspace_id = $1 and campaign_id = $2), 0) + 1)::smallint",
    )
    .bind(workspace_id)
    .bind(campaign.campaign_id)
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query(
        "-- follow_ups: add
         insert into follow_up (workspace_id, campaign_id, step, name, of_step, template_id, after_s, cohort, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(workspace_id)
    .bind(campaign.campaign_id)
    .bind(step)
    .bind(new.name)
    .bind(of_step)
    .bind(template.template_id)
    .bind(new.after_s)
    .bind(new.cohort.iter().map(Member::to_string).collect::<Vec<_>>())
    .bind(store.clock.now())
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(FollowUp {
        step,
        name: new.name.to_owned(),
        of: new.of.map(str::to_owned),
        template: template.name,
        after_s: new.after_s,
        cohort: new.cohort.to_vec(),
    })
}

/// Removes a step that nothing follows. Runs of it stay as they are.
///
/// # Errors
/// [`Error::NotFound`] with the nearest names; [`Error::Conflict`] when another step follows it; else when the
/// database fails.
pub async fn remove(store: &Store, workspace_id: i32, campaign: &Campaign, name: &str) -> Result<()> {
    let mut tx = store.pool.begin().await?;
    crate::campaigns::lock(&mut tx, workspace_id, campaign.campaign_id).await?;
    let steps = all(&mut tx, workspace_id, campaign.campaign_id).await?;
    let Some(step) = steps.iter().find(|s| s.name == name) else {
        let near = nearest(name, steps.iter().map(|s| s.name.clone()));
        return Err(Error::NotFound { what: "step", name: name.to_owned(), near });
    };
    if let Some(next) = steps.iter().find(|s| s.of.as_deref() == Some(name)) {
        return Err(Error::Conflict(format!("step {:?} follows {name:?}: remove that one first", next.name)));
    }
    sqlx::query(
        "-- follow_ups: remove\n delete from follow_up where workspace_id = $1 and campaign_id = $2 and step = $3",
    )
    .bind(workspace_id)
    .bind(campaign.campaign_id)
    .bind(step.step)
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// The steps of a campaign, in their order.
///
/// # Errors
/// When the database fails.
pub async fn all(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<Vec<FollowUp>> {
    #[derive(FromRow)]
    struct Row {
        step: i16,
        name: String,
        of: Option<String>,
        template: String,
        after_s: i64,
        cohort: Vec<String>,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "-- follow_ups: all
         select f.step, f.name, o.name as of, t.name as template, f.after_s, f.cohort
         from follow_up f
         join template t on t.workspace_id = f.workspace_id and t.template_id = f.template_id
         left join follow_up o on o.workspace_id = f.workspace_id and o.campaign_id = f.campaign_id and o.step = f.of_step
         where f.workspace_id = $1 and f.campaign_id = $2 order by f.step",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .fetch_all(c)
    .await?;
    let step = |row: Row| {
        let Row { step, name, of, template, after_s, cohort } = row;
        Ok(FollowUp { step, name, of, template, after_s, cohort: members(cohort)? })
    };
    rows.into_iter().map(step).collect()
}

/// A step whose time has come after a run.
#[derive(Debug, Clone)]
pub struct DueStep {
    /// Tenant.
    pub workspace_id: i32,
    /// Name of the campaign.
    pub campaign: String,
    /// Which step.
    pub step: i16,
    /// What it says.
    pub says: RunArm,
    /// The run that it follows.
    pub parent_run_id: i64,
    /// To whom of its recipients.
    pub cohort: Vec<Member>,
}

/// Steps that are due by `now`, in every workspace. A step follows every run of what it follows that was over
/// when it was added or later, a run of the same people again (a resend) not among them.
///
/// # Errors
/// When the database fails.
pub async fn due(c: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<DueStep>> {
    after(c, None, Some(now)).await
}

/// Steps of a campaign that have yet to follow a run which is over.
///
/// # Errors
/// When the database fails.
pub async fn awaited(c: &mut PgConnection, campaign: (i32, i64)) -> Result<Vec<DueStep>> {
    after(c, Some(campaign), None).await
}

async fn after(
    c: &mut PgConnection,
    campaign: Option<(i32, i64)>,
    due_by: Option<DateTime<Utc>>,
) -> Result<Vec<DueStep>> {
    #[derive(FromRow)]
    struct Row {
        workspace_id: i32,
        campaign: String,
        step: i16,
        template_id: i64,
        version: i32,
        parent_run_id: i64,
        cohort: Vec<String>,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "-- follow_ups: after
         select f.workspace_id, c.name as campaign, f.step, f.template_id, t.version, r.run_id as parent_run_id, f.cohort
         from follow_up f
         join campaign c on c.workspace_id = f.workspace_id and c.campaign_id = f.campaign_id
         join template t on t.workspace_id = f.workspace_id and t.template_id = f.template_id
         join run r on r.workspace_id = f.workspace_id and r.campaign_id = f.campaign_id
         where r.state = 5 and r.kind in (1, 2, 3, 5) and coalesce(r.step, 0) = f.of_step
           and ($1 is null or r.finished_at + f.after_s * interval '1 second' <= $1)
           and ($2 is null or f.workspace_id = $2 and f.campaign_id = $3)
           and r.finished_at + f.after_s * interval '1 second' >= f.created_at
           and not exists (select from run x where x.workspace_id = r.workspace_id and x.campaign_id = r.campaign_id
                             and x.parent_run_id = r.run_id and x.kind = 3 and x.step = f.step)
         order by r.run_id, f.step",
    )
    .bind(due_by)
    .bind(campaign.map(|key| key.0))
    .bind(campaign.map(|key| key.1))
    .fetch_all(c)
    .await?;
    let step = |row: Row| {
        Ok(DueStep {
            workspace_id: row.workspace_id,
            campaign: row.campaign,
            step: row.step,
            says: RunArm { template_id: row.template_id, version: row.version, weight: 1 },
            parent_run_id: row.parent_run_id,
            cohort: members(row.cohort)?,
        })
    };
    rows.into_iter().map(step).collect()
}

/// What is stored of a cohort.
pub(crate) fn members(words: Vec<String>) -> Result<Vec<Member>> {
    words.iter().map(|word| word.parse().map_err(Error::Corrupt)).collect()
}
