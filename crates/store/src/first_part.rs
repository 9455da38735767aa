//! First parts: a campaign goes to a few first, and to the rest if that went well.

use chrono::{DateTime, Utc};
use fanfare_domain::state::Measure;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};

use crate::Result;

/// How many a campaign goes to first, and when the rest follows. One of `ppm` and `messages` is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstPart {
    /// The first part, in millionths of the recipients.
    pub ppm: Option<i32>,
    /// The first part, as a number of messages.
    pub messages: Option<i32>,
    /// The rest follows so many seconds after the end of the first part.
    pub rest_after_s: i64,
    /// The rest is held if more of the first part failed, in thousandths.
    pub failed_permille: Option<i32>,
    /// The rest is held if more of those reached opted out, in thousandths.
    pub opted_out_permille: Option<i32>,
    /// By what the best of the arms is found, stored as its number.
    measure: Option<i16>,
}

impl FirstPart {
    /// A first part of so many, after which the rest follows at once, whatever became of it.
    pub fn new(ppm: Option<i32>, messages: Option<i32>) -> Self {
        Self { ppm, messages, rest_after_s: 0, failed_permille: None, opted_out_permille: None, measure: None }
    }

    /// The same with the rest for the best of the arms by this measure, or divided like the first part.
    pub fn with_measure(self, measure: Option<Measure>) -> Self {
        Self { measure: measure.map(Measure::as_i16), ..self }
    }

    /// By what the best of the arms is found, which the rest gets; `None` = the rest is divided like the first
    /// part.
    pub fn measure(&self) -> Option<Measure> {
        self.measure.and_then(Measure::from_i16)
    }
}

/// Writes the first part of a new campaign down.
///
/// # Errors
/// When the database fails.
pub(crate) async fn set(c: &mut PgConnection, (workspace_id, campaign_id): (i32, i64), part: FirstPart) -> Result<()> {
    sqlx::query(
        "-- first_part: set
         insert into first_part (workspace_id, campaign_id, ppm, messages, rest_after_s, failed_permille,
           opted_out_permille, measure)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(part.ppm)
    .bind(part.messages)
    .bind(part.rest_after_s)
    .bind(part.failed_permille)
    .bind(part.opted_out_permille)
    .bind(part.measure)
    .execute(c)
    .await?;
    Ok(())
}

/// A first part that is over, and whose rest is due.
#[derive(Debug, Clone, FromRow)]
pub struct DueRest {
    /// Tenant.
    pub workspace_id: i32,
    /// Name of the campaign.
    pub campaign: String,
    /// The run of the first part.
    pub run_id: i64,
    /// One past the points of its recipients.
    pub part_to: i64,
    /// Contacts that it was planned for.
    pub planned: i64,
}

/// First parts whose rest is due by `now`, in every workspace.
///
/// # Errors
/// When the database fails.
pub async fn due(c: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<DueRest>> {
    over(c, None, Some(now)).await
}

/// First parts of a campaign that are over, and whose rest is yet to come.
///
/// # Errors
/// When the database fails.
pub async fn awaited(c: &mut PgConnection, campaign: (i32, i64)) -> Result<Vec<DueRest>> {
    over(c, Some(campaign), None).await
}

async fn over(
    c: &mut PgConnection,
    campaign: Option<(i32, i64)>,
    due_by: Option<DateTime<Utc>>,
) -> Result<Vec<DueRest>> {
    Ok(sqlx::query_as(
        "-- first_part: over
         select r.workspace_id, c.name as campaign, r.run_id, r.part_to, r.planned
         from first_part p
         join campaign c on c.workspace_id = p.workspace_id and c.campaign_id = p.campaign_id
         join run r on r.workspace_id = p.workspace_id and r.campaign_id = p.campaign_id
         where r.kind in (1, 2) and r.part_from = 0 and r.state = 5
           and ($1 is null or p.workspace_id = $1 and p.campaign_id = $2)
           and ($3 is null or r.finished_at + p.rest_after_s * interval '1 second' <= $3)
           and not exists (select from run x where x.workspace_id = r.workspace_id and x.campaign_id = r.campaign_id
                             and x.parent_run_id = r.run_id and x.kind = 5)
         order by r.run_id",
    )
    .bind(campaign.map(|key| key.0))
    .bind(campaign.map(|key| key.1))
    .bind(due_by)
    .fetch_all(c)
    .await?)
}
