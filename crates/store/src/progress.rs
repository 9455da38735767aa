//! Where a run stands: the conservation law as one statement, so that it holds at every instant.

use chrono::{DateTime, Utc};
use fanfare_domain::state::{PausedReason, RunState};
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result};

/// The account of a run.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Progress {
    /// When this was so, by the database's clock.
    pub now: DateTime<Utc>,
    /// The run.
    pub run_id: i64,
    /// Its campaign.
    pub campaign: String,
    /// Stored state.
    state: i16,
    /// Stored reason.
    paused_reason: Option<i16>,
    /// The provider's code, where its answer paused the run.
    pub paused_detail: Option<String>,
    /// Why its account sends nothing, if it is stopped.
    pub account_stopped: Option<String>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was to begin.
    pub scheduled_for: DateTime<Utc>,
    /// When its last message was decided.
    pub finished_at: Option<DateTime<Utc>>,
    /// Whether the audience is complete.
    pub expanded: bool,
    /// Contacts of the list at launch.
    pub planned: i64,
    /// Messages of the audience so far.
    pub total: i64,
    /// Not yet claimed, or handed back.
    pub queued: i64,
    /// Held by workers.
    pub leased: i64,
    /// Waiting for another attempt.
    pub retrying: i64,
    /// Accepted.
    pub sent: i64,
    /// Refused for good, or out of attempts.
    pub failed: i64,
    /// Not sent: suppressed after the audience was frozen.
    pub suppressed: i64,
    /// Not sent: too late.
    pub expired: i64,
    /// Not sent: cancelled.
    pub cancelled: i64,
    /// In doubt.
    pub unknown: i64,
    /// Micro-credits charged.
    pub cost: i64,
    /// Reported as delivered, or as read.
    pub delivered: i64,
    /// Reported as read.
    pub read: i64,
    /// Accepted, and reported as failed.
    pub undelivered: i64,
    /// Answered by their recipients.
    pub replied: i64,
    /// Contacts left out when the audience was frozen: no address for the channel.
    pub left_out_no_address: i64,
    /// Left out: the same mailbox as another contact.
    pub left_out_duplicate: i64,
    /// Left out: suppressed.
    pub left_out_suppressed: i64,
    /// Left out: a variable is missing.
    pub left_out_missing: i64,
    /// The account's slot distance now, µs; 0 = no cap.
    pub period_us: i64,
    /// Most sends of the account in 24 hours; 0 = no cap.
    pub day_cap: i64,
    /// Whether the sends of the last 24 hours have come to that.
    pub day_cap_reached: bool,
    /// How often in a row the account's provider was found down; 0 while it answers.
    pub account_failures: i16,
    /// When the account's next slot is, if that is to come.
    pub account_next: Option<DateTime<Utc>>,
    /// Worker processes of the fleet that are alive.
    pub workers: i64,
    /// The time of a run that has not started is past.
    pub overdue: bool,
}

impl Progress {
    /// State of the run.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a number that is no state.
    pub fn state(&self) -> Result<RunState> {
        RunState::from_i16(self.state).ok_or_else(|| Error::Corrupt(format!("run state {}", self.state)))
    }

    /// Why it is paused.
    pub fn paused_reason(&self) -> Option<PausedReason> {
        self.paused_reason.and_then(PausedReason::from_i16)
    }

    /// Messages not yet in a final class. Those in doubt count as decided: only a person, or the
    /// provider, can say more.
    pub fn open(&self) -> i64 {
        self.queued + self.leased + self.retrying
    }

    /// What the conservation law says is 0.
    pub fn imbalance(&self) -> i64 {
        let classes = [
            self.sent,
            self.failed,
            self.suppressed,
            self.expired,
            self.cancelled,
            self.unknown,
            self.retrying,
            self.leased,
            self.queued,
        ];
        self.total - classes.iter().sum::<i64>()
    }
}

/// Where the run stands.
///
/// # Errors
/// When it does not exist, or the database fails.
pub async fn progress(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<Progress> {
    let row = sqlx::query_as(
        "-- progress
         select t.now, r.run_id, c.name as campaign, r.state, r.paused_reason, r.paused_detail, a.stopped_reason as account_stopped,
                r.started_at, r.scheduled_for, r.finished_at, r.expanded_at is not null as expanded, r.planned,
                s.total, s.queued + w.queued as queued, l.leased,
                p.retrying, p.sent, p.failed, p.suppressed, p.expired, p.cancelled, p.unknown, p.cost,
                p.delivered, p.read, p.undelivered, p.replied,
                s.no_address as left_out_no_address, s.duplicate as left_out_duplicate,
                s.suppressed as left_out_suppressed, s.missing as left_out_missing,
                coalesce(case when ap.slow_permille > 1000 then greatest(ap.period_us, 200) * ap.slow_permille / 1000 else ap.period_us end, 0) as period_us,
                coalesce(ap.day_cap, 0) as day_cap,
                coalesce(ap.day_cap > 0 and ap.day_cap <= (
                  select sum(d) from unnest(ap.day_counts[1:25 - least(25, t.now_us / 3600000000 - ap.day_hour)::int]) d),
                  false) as day_cap_reached,
                coalesce(ap.failures, 0::smallint) as account_failures,
                case when greatest(ap.next_us, ap.closed_until_us) > t.now_us
                     then to_timestamp(greatest(ap.next_us, ap.closed_until_us) / 1e6) end as account_next,
                (select count(*) from worker where alive_until > t.now) as workers,
                r.state = 1 and r.scheduled_for < t.now as overdue
         from (select now, (extract(epoch from now) * 1000000)::bigint as now_us from clock_timestamp() now) t
         cross join run r
         join campaign c on c.workspace_id = r.workspace_id and c.campaign_id = r.campaign_id
         join account a on a.workspace_id = c.workspace_id and a.account_id = c.account_id
         left join account_pace ap on ap.workspace_id = a.workspace_id and ap.account_id = a.account_id
         cross join lateral (
           select coalesce(sum(g.hi - g.lo), 0) as total, coalesce(sum(g.hi - g.next_seq), 0) as queued,
                  coalesce(sum(g.no_address), 0) as no_address, coalesce(sum(g.duplicate), 0) as duplicate,
                  coalesce(sum(g.suppressed), 0) as suppressed, coalesce(sum(g.missing), 0) as missing
           from segment g where g.workspace_id = r.workspace_id and g.run_id = r.run_id) s
         cross join lateral (
           select coalesce(sum(w.hi - w.lo), 0) as queued
           from returned w where w.workspace_id = r.workspace_id and w.run_id = r.run_id) w
         cross join lateral (
           select coalesce(sum(l.open), 0) as leased
           from lease l where l.workspace_id = r.workspace_id and l.run_id = r.run_id) l
         cross join lateral (
           select coalesce(sum(p.retrying), 0)::bigint as retrying, coalesce(sum(p.sent), 0)::bigint as sent,
                  coalesce(sum(p.failed), 0)::bigint as failed, coalesce(sum(p.suppressed), 0)::bigint as suppressed,
                  coalesce(sum(p.expired), 0)::bigint as expired, coalesce(sum(p.cancelled), 0)::bigint as cancelled,
                  coalesce(sum(p.unknown), 0)::bigint as unknown, coalesce(sum(p.cost), 0)::bigint as cost,
                  coalesce(sum(p.delivered), 0)::bigint as delivered, coalesce(sum(p.read), 0)::bigint as read,
                  coalesce(sum(p.undelivered), 0)::bigint as undelivered, coalesce(sum(p.replied), 0)::bigint as replied
           from progress p where p.workspace_id = r.workspace_id and p.run_id = r.run_id) p
         where r.workspace_id = $1 and r.run_id = $2",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_one(c)
    .await?;
    Ok(row)
}

/// The newest run of a campaign.
///
/// # Errors
/// When the database fails.
pub async fn newest_run(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<Option<i64>> {
    let id = sqlx::query_scalar(
        "-- newest_run
         select run_id from run where workspace_id = $1 and campaign_id = $2 order by run_id desc limit 1",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .fetch_optional(c)
    .await?;
    Ok(id)
}
