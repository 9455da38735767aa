//! Runs beside each other: those of a campaign, and those of other campaigns at its accounts.

use chrono::{DateTime, Utc};
use fanfare_domain::state::RunKind;
use sqlx::{FromRow, PgConnection};

use super::{Standing, standing};
use crate::Result;

/// Whether the audience of a run of this kind is not complete.
///
/// # Errors
/// When the database fails.
pub async fn is_expanding(c: &mut PgConnection, workspace_id: i32, campaign_id: i64, kind: RunKind) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "-- is_expanding
         select exists (select from run where workspace_id = $1 and campaign_id = $2 and kind = $3 and state in (2, 3)
                          and expanded_at is null)",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .bind(kind.as_i16())
    .fetch_one(c)
    .await?)
}

/// A run of a campaign, in short.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Where it stands.
    pub standing: Standing,
    /// When its last message was decided.
    pub finished_at: Option<DateTime<Utc>>,
    /// The run whose messages decide who its recipients are.
    pub parent_run_id: Option<i64>,
    /// Of a follow-up: the name of the step.
    pub step: Option<String>,
    /// Its messages so far.
    pub total: i64,
    /// Accepted.
    pub sent: i64,
    /// Why it is paused, in words.
    pub paused_detail: Option<String>,
    /// What was expected of it.
    pub forecast: Option<serde_json::Value>,
}

/// The runs of a campaign, the oldest first.
///
/// # Errors
/// When the database fails.
pub async fn list(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<Vec<Listed>> {
    #[derive(FromRow)]
    struct Row {
        run_id: i64,
        finished_at: Option<DateTime<Utc>>,
        parent_run_id: Option<i64>,
        step: Option<String>,
        total: i64,
        sent: i64,
        paused_detail: Option<String>,
        forecast: Option<serde_json::Value>,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "-- list
         select r.run_id, r.finished_at, r.parent_run_id, f.name as step, r.paused_detail, r.forecast,
                (select coalesce(sum(hi - lo), 0) from segment g
                 where g.workspace_id = r.workspace_id and g.run_id = r.run_id)::bigint as total,
                (select coalesce(sum(sent), 0) from progress p
                 where p.workspace_id = r.workspace_id and p.run_id = r.run_id)::bigint as sent
         from run r
         left join follow_up f on f.workspace_id = r.workspace_id and f.campaign_id = r.campaign_id and f.step = r.step
         where r.workspace_id = $1 and r.campaign_id = $2 order by r.run_id",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .fetch_all(&mut *c)
    .await?;
    let mut runs = Vec::new();
    for row in rows {
        runs.push(Listed {
            standing: standing(c, workspace_id, row.run_id).await?,
            finished_at: row.finished_at,
            parent_run_id: row.parent_run_id,
            step: row.step,
            total: row.total,
            sent: row.sent,
            paused_detail: row.paused_detail,
            forecast: row.forecast,
        });
    }
    Ok(runs)
}

/// What an account has to send for a running run of another campaign.
#[derive(Debug, Clone, Copy, PartialEq, FromRow)]
pub struct Beside {
    /// Bulk messages that are left.
    pub messages: i64,
    /// The run's share of the account.
    pub weight: i32,
    /// How many of them are sent in a second, at most; `None` = as many as the account lets it.
    pub per_second: Option<f64>,
}

/// What an account has still to send for running runs of other campaigns: of a run through several accounts an equal
/// part.
///
/// # Errors
/// When the database fails.
pub async fn beside(
    c: &mut PgConnection,
    (workspace_id, account_id): (i32, i64),
    campaign_id: i64,
) -> Result<Vec<Beside>> {
    Ok(sqlx::query_as(
        "-- beside
         select (greatest(0, s.waiting + case when r.expanded_at is null
                     -- Of a part, about so much of those who are not known yet.
                     then (r.planned - s.seen) * coalesce((r.part_to - r.part_from) / 4294967296.0, 1) else 0 end)
                   / n.accounts)::bigint as messages,
                f.weight, 1000000.0::float8 / (q.period_us * n.accounts) as per_second
         from flow f
         join run r on r.workspace_id = f.workspace_id and r.run_id = f.run_id and r.campaign_id <> $3
         cross join lateral (
           select coalesce(sum(g.hi - g.next_seq), 0) as waiting,
                  coalesce(sum(g.hi - g.lo + g.no_address + g.duplicate + g.suppressed + g.missing + g.reached + g.minus
                    + g.outside + g.no_consent + g.capped + g.other_part + g.gone + g.answered), 0) as seen
           from segment g where g.workspace_id = f.workspace_id and g.run_id = f.run_id) s
         left join run_pace q on q.workspace_id = f.workspace_id and q.run_id = f.run_id
         cross join lateral (
           select count(*) as accounts from flow o
           where o.workspace_id = f.workspace_id and o.run_id = f.run_id and o.runnable) n
         where f.workspace_id = $1 and f.account_id = $2 and f.runnable and f.lane = 1 and r.state = 2",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(campaign_id)
    .fetch_all(c)
    .await?)
}
