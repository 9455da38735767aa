//! Where a run stands: the conservation law as one statement, so that it holds at every instant.

use chrono::{DateTime, Utc};
use fanfare_domain::state::{Closed, PausedReason, RunState};
use serde::Deserialize;
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
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was to begin.
    pub scheduled_for: DateTime<Utc>,
    /// When its last message was decided.
    pub finished_at: Option<DateTime<Utc>>,
    /// Whether the audience is complete.
    pub expanded: bool,
    /// Contacts of the list at launch; of a run to some of another's recipients how many these are, once its audience
    /// is complete.
    pub planned: Option<i64>,
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
    /// Contacts left out: another run of the campaign has reached them, or may.
    pub left_out_reached: i64,
    /// Left out: on a list that the campaign leaves out.
    pub left_out_minus: i64,
    /// Left out: the campaign's expression does not hold for it.
    pub left_out_outside: i64,
    /// Left out: not opted in.
    pub left_out_no_consent: i64,
    /// Left out: had as many marketing messages as a contact may.
    pub left_out_capped: i64,
    /// Left out: of the other part of the campaign.
    pub left_out_other_part: i64,
    /// Left out: no list has them any more.
    pub left_out_gone: i64,
    /// Left out: they have answered.
    pub left_out_answered: i64,
    /// Its accounts, in their order.
    #[sqlx(json)]
    pub accounts: Vec<AccountProgress>,
    /// Worker processes of the fleet that are alive.
    pub workers: i64,
    /// The time of a run that has not started is past.
    pub overdue: bool,
}

/// Where an account of a run stands.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AccountProgress {
    /// Its name.
    pub name: String,
    /// Why it sends nothing, if it is stopped.
    pub stopped: Option<String>,
    /// Why it sends nothing of this run although that runs: stored reason.
    closed: Option<i16>,
    /// The provider's code, where its answer closed it to the run.
    pub closed_detail: Option<String>,
    /// Its slot distance now, µs; 0 = no cap.
    pub period_us: i64,
    /// Most sends in 24 hours; 0 = no cap.
    pub day_cap: i64,
    /// Most different recipients in 24 hours; 0 = no cap.
    pub recipient_cap: i64,
    /// How many messages the limits by the day leave it; `None` where it has none.
    pub day_room: Option<i64>,
    /// How often in a row its provider was found down; 0 while it answers.
    pub failures: i16,
    /// When its next slot is, if that is to come.
    pub next: Option<DateTime<Utc>>,
}

impl AccountProgress {
    /// Why it sends nothing of this run although that runs.
    pub fn closed(&self) -> Option<Closed> {
        self.closed.and_then(Closed::from_i16)
    }
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
         select t.now, r.run_id, c.name as campaign, r.state, r.paused_reason, r.paused_detail, r.started_at, r.scheduled_for, r.finished_at, r.expanded_at is not null as expanded,
                case when r.cohort is null then r.planned
                     when r.expanded_at is not null then s.total + s.left_out end as planned,
                s.total, s.queued + w.queued + n.queued as queued, l.leased,
                p.retrying, p.sent, p.failed, p.suppressed, p.expired, p.cancelled, p.unknown, p.cost,
                p.delivered, p.read, p.undelivered, p.replied,
                s.no_address as left_out_no_address, s.duplicate as left_out_duplicate,
                s.suppressed as left_out_suppressed, s.missing as left_out_missing, s.reached as left_out_reached,
                s.minus as left_out_minus,
                s.outside as left_out_outside, s.no_consent as left_out_no_consent, s.capped as left_out_capped,
                s.other_part as left_out_other_part, s.gone as left_out_gone, s.answered as left_out_answered,
                (select jsonb_agg(jsonb_build_object(
                          'name', a.name, 'stopped', a.stopped_reason, 'closed', f.closed, 'closed_detail', f.closed_detail,
                          'period_us', case when ap.slow_permille > 1000 then greatest(ap.period_us, 200) * ap.slow_permille / 1000
                                            else ap.period_us end,
                          'day_cap', ap.day_cap,
                          'recipient_cap', ap.recipient_cap, 'day_room', day_room(ap, t.now_us), 'failures', ap.failures,
                          'next', case when greatest(ap.next_us, ap.closed_until_us) > t.now_us
                                       then to_timestamp(greatest(ap.next_us, ap.closed_until_us) / 1e6) end) order by ra.rank)
                 from run_account ra
                 join account a on a.workspace_id = ra.workspace_id and a.account_id = ra.account_id
                 join account_pace ap on ap.workspace_id = a.workspace_id and ap.account_id = a.account_id
                 left join flow f on f.workspace_id = ra.workspace_id and f.account_id = ra.account_id and f.run_id = ra.run_id
                 where ra.workspace_id = r.workspace_id and ra.run_id = r.run_id) as accounts,
                (select count(*) from worker where alive_until > t.now) as workers,
                r.state = 1 and r.scheduled_for < t.now as overdue
         from (select now, (extract(epoch from now) * 1000000)::bigint as now_us from clock_timestamp() now) t
         cross join run r
         join campaign c on c.workspace_id = r.workspace_id and c.campaign_id = r.campaign_id
         cross join lateral (
           select coalesce(sum(g.hi - g.lo), 0) as total, coalesce(sum(g.hi - g.next_seq), 0) as queued,
                  coalesce(sum(g.no_address), 0) as no_address, coalesce(sum(g.duplicate), 0) as duplicate,
                  coalesce(sum(g.suppressed), 0) as suppressed, coalesce(sum(g.missing), 0) as missing,
                  coalesce(sum(g.reached), 0) as reached,
                  coalesce(sum(g.minus), 0) as minus, coalesce(sum(g.outside), 0) as outside,
                  coalesce(sum(g.no_consent), 0) as no_consent, coalesce(sum(g.capped), 0) as capped,
                  coalesce(sum(g.other_part), 0) as other_part, coalesce(sum(g.gone), 0) as gone,
                  coalesce(sum(g.answered), 0) as answered,
                  coalesce(sum(g.no_address + g.duplicate + g.suppressed + g.missing + g.reached + g.minus + g.outside
                    + g.no_consent + g.capped + g.other_part + g.gone + g.answered), 0) as left_out
           from segment g where g.workspace_id = r.workspace_id and g.run_id = r.run_id) s
         cross join lateral (
           select coalesce(sum(w.hi - w.lo), 0) as queued
           from returned w where w.workspace_id = r.workspace_id and w.run_id = r.run_id) w
         cross join lateral (
           -- What came by itself is in no segment's rest; only live runs have any.
           select count(*) as queued from retry t
           where r.kind = 6 and t.workspace_id = r.workspace_id and t.run_id = r.run_id and t.kind = 3) n
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

/// Messages accepted through each account of a run, by its name. It reads the run's outcomes.
///
/// # Errors
/// When the database fails.
pub async fn sent_by_account(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<Vec<(String, i64)>> {
    let rows = sqlx::query_as(
        "-- sent_by_account
         select a.name, count(*) from (
           select distinct on (o.seq) o.seq, o.account_id from outcome o
           where o.workspace_id = $1 and o.run_id = $2 and o.class = 1 order by o.seq, o.attempt) o
         join account a on a.workspace_id = $1 and a.account_id = o.account_id group by a.name order by a.name",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_all(c)
    .await?;
    Ok(rows)
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
