//! Arms: the templates that a campaign tries against each other.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::runs::RunArm;
use crate::{Error, Result, templates};

/// A template that a campaign tries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignArm {
    /// The template.
    #[serde(skip_serializing)]
    pub template_id: i64,
    /// Its name.
    pub template: String,
    /// Its newest version.
    pub version: i32,
    /// Its part of the recipients beside the others' weights.
    pub weight: i32,
}

impl CampaignArm {
    /// As a run of now would say it.
    pub fn of_run(&self) -> RunArm {
        RunArm { template_id: self.template_id, version: self.version, weight: self.weight }
    }
}

/// Adds the arms of a new campaign whose template is `main`.
///
/// # Errors
/// [`Error::NotFound`] for an unknown template; [`Error::Conflict`] when one is named twice or is for another
/// channel; else when the database fails.
pub(crate) async fn add(
    c: &mut PgConnection,
    (workspace_id, campaign_id): (i32, i64),
    main: &templates::Head,
    arms: &[(&str, i32)],
) -> Result<()> {
    for (arm, (name, weight)) in (0_i16..).zip(arms) {
        let template = templates::get(c, workspace_id, name).await?;
        if template.channel != main.channel {
            return Err(Error::Conflict(format!(
                "template {name:?} is for {}, and {:?} for {}: give templates of one channel",
                template.channel, main.name, main.channel
            )));
        }
        let done = sqlx::query(
            "-- arms: add
             insert into campaign_arm (workspace_id, campaign_id, arm, template_id, weight) values ($1, $2, $3, $4, $5)
             on conflict (workspace_id, campaign_id, template_id) do nothing",
        )
        .bind(workspace_id)
        .bind(campaign_id)
        .bind(arm)
        .bind(template.template_id)
        .bind(weight)
        .execute(&mut *c)
        .await?;
        if done.rows_affected() == 0 {
            return Err(Error::Conflict(format!("template {name:?} is named twice: name it once")));
        }
    }
    Ok(())
}

/// What a run says, as it was frozen.
///
/// # Errors
/// When the database fails.
pub async fn of_run(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<Vec<RunArm>> {
    Ok(sqlx::query_as(
        "-- arms: of run
         select template_id, template_version as version, weight from run_arm
         where workspace_id = $1 and run_id = $2 order by arm",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_all(c)
    .await?)
}

/// The version of the campaign's fallback that a run froze, if there is one.
///
/// # Errors
/// When the database fails.
pub async fn fallback_of_run(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<Option<i32>> {
    let version = sqlx::query_scalar(
        "-- arms: fallback of run\n select fallback_version from run where workspace_id = $1 and run_id = $2",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_one(c)
    .await?;
    Ok(version)
}

/// Names and versions of the templates that a run says, in the order of its arms.
///
/// # Errors
/// When the database fails.
pub async fn names(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<Vec<(String, i32)>> {
    Ok(sqlx::query_as(
        "-- arms: names
         select t.name, a.template_version from run_arm a
         join template t on t.workspace_id = a.workspace_id and t.template_id = a.template_id
         where a.workspace_id = $1 and a.run_id = $2 order by a.arm",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_all(c)
    .await?)
}
