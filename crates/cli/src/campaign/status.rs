//! Where a run stands.

use chrono::{DateTime, Utc};
use fanfare_domain::forecast::forecast;
use fanfare_domain::pace::Pace;
use fanfare_domain::state::{Closed, PausedReason, RunState};
use fanfare_store::campaigns::{self, Campaign};
use fanfare_store::hours::{self, Opening};
use fanfare_store::progress::{self, Progress};
use fanfare_store::{PgConnection, deliveries};
use serde::Serialize;

use super::{run_of, schedule, stuck};
use crate::context::Context;
use crate::output::{Output, count, credits, duration, fields, id, on_terminal, paint, when};

/// The status of a run. Scripts rely on the keys up to `eta_seconds`. The counts from `queued` to
/// `unknown` add up to `total` at every instant.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    pub id: String,
    pub run: String,
    pub state: RunState,
    pub total: i64,
    pub queued: i64,
    pub leased: i64,
    pub retrying: i64,
    pub sent: i64,
    pub failed: i64,
    pub suppressed: i64,
    pub expired: i64,
    pub cancelled: i64,
    pub unknown: i64,
    /// Micro-credits charged.
    pub cost: i64,
    /// Answers a second: over the last seconds, or of a run that is over, on average.
    pub rate_per_second: f64,
    /// Seconds to go; none when that cannot be told.
    pub eta_seconds: Option<f64>,
    pub campaign: String,
    pub accounts: Vec<AccountStatus>,
    pub paused_reason: Option<PausedReason>,
    /// Why nothing is sent although there is something to send, and what to do about it.
    pub stuck: Option<String>,
    /// Which window opens next, while none is open.
    pub opens: Option<Opening>,
    /// Of those sent, what was reported since: delivered (or read), read, failed after all, answered.
    pub delivered: i64,
    pub read: i64,
    pub undelivered: i64,
    pub replied: i64,
    /// Contacts of the list at the launch; of a resend or a follow-up those it is for, once they are known.
    pub planned: Option<i64>,
    /// Whether the audience is complete: `total` grows until then.
    pub expanded: bool,
    pub left_out: LeftOut,
    pub scheduled_for: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// Where an account of the run stands.
#[derive(Debug, Clone, Serialize)]
pub struct AccountStatus {
    pub account: String,
    /// Why it sends nothing at all.
    pub stopped: Option<String>,
    /// Why it sends nothing of this run although that runs.
    pub closed: Option<Closed>,
    /// Accepted through it; only where it is asked for and there are several.
    pub sent: Option<i64>,
}

/// Contacts that were left out when the audience was frozen.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LeftOut {
    pub no_address: i64,
    pub duplicate: i64,
    pub suppressed: i64,
    pub missing: i64,
    pub reached: i64,
    pub minus: i64,
    pub outside: i64,
    pub no_consent: i64,
    pub capped: i64,
    /// Of the other part of the campaign.
    pub other_part: i64,
    /// On no list of it any more.
    pub gone: i64,
    /// They have answered.
    pub answered: i64,
}

impl LeftOut {
    pub fn sum(self) -> i64 {
        let Self { no_address, duplicate, suppressed, missing, reached, minus, outside, no_consent, capped, .. } = self;
        let contacts = no_address + duplicate + suppressed + missing + reached + minus + outside + no_consent + capped;
        contacts + self.other_part + self.gone + self.answered
    }
}

impl Status {
    /// Of `p`; `rate` is what is measured of a running run, answers a second.
    pub fn of(campaign: &Campaign, p: &Progress, rate: f64) -> anyhow::Result<Self> {
        let state = p.state()?;
        let mut status = Self {
            id: id(campaign.campaign_id),
            run: id(p.run_id),
            state,
            total: p.total,
            queued: p.queued,
            leased: p.leased,
            retrying: p.retrying,
            sent: p.sent,
            failed: p.failed,
            suppressed: p.suppressed,
            expired: p.expired,
            cancelled: p.cancelled,
            unknown: p.unknown,
            cost: p.cost,
            rate_per_second: 0.0,
            eta_seconds: None,
            campaign: campaign.name.clone(),
            accounts: p
                .accounts
                .iter()
                .map(|a| AccountStatus {
                    account: a.name.clone(),
                    stopped: a.stopped.clone(),
                    closed: a.closed(),
                    sent: None,
                })
                .collect(),
            paused_reason: p.paused_reason(),
            stuck: None,
            opens: None,
            delivered: p.delivered,
            read: p.read,
            undelivered: p.undelivered,
            replied: p.replied,
            planned: p.planned,
            expanded: p.expanded,
            left_out: LeftOut {
                no_address: p.left_out_no_address,
                duplicate: p.left_out_duplicate,
                suppressed: p.left_out_suppressed,
                missing: p.left_out_missing,
                reached: p.left_out_reached,
                minus: p.left_out_minus,
                outside: p.left_out_outside,
                no_consent: p.left_out_no_consent,
                capped: p.left_out_capped,
                other_part: p.left_out_other_part,
                gone: p.left_out_gone,
                answered: p.left_out_answered,
            },
            scheduled_for: p.scheduled_for,
            started_at: p.started_at,
            finished_at: p.finished_at,
        };
        status.stuck = stuck::why(&status, p);
        match (state, p.started_at, p.finished_at) {
            (RunState::Finished | RunState::Cancelled, Some(from), Some(to)) => {
                let seconds = (to - from).as_seconds_f64().max(0.001);
                status.rate_per_second = rounded((p.sent + p.failed) as f64 / seconds);
                status.eta_seconds = Some(0.0);
            }
            (RunState::Running, ..) => {
                status.rate_per_second = rounded(rate);
                status.eta_seconds = status.eta(rate, campaign, p).map(rounded);
            }
            _ => {}
        }
        Ok(status)
    }

    /// Messages that are not decided yet, with those that are yet to be expanded as far as that can be told.
    pub fn to_do(&self) -> i64 {
        let unexpanded = match self.planned {
            Some(planned) if !self.expanded => (planned - self.left_out.sum() - self.total).max(0),
            _ => 0,
        };
        self.queued + self.leased + self.retrying + unexpanded
    }

    /// Whether nobody can tell yet how many messages there will be.
    pub fn is_vague(&self) -> bool {
        !self.expanded && self.planned.is_none()
    }

    /// Never less than the limits of the accounts that can send allow.
    fn eta(&self, rate: f64, campaign: &Campaign, p: &Progress) -> Option<f64> {
        let to_do = self.to_do();
        if self.is_vague() {
            return None;
        }
        if to_do == 0 {
            return Some(0.0);
        }
        if self.stuck.is_some() {
            return None;
        }
        let able =
            p.accounts.iter().zip(&campaign.accounts).filter(|(a, _)| a.stopped.is_none() && a.closed().is_none());
        let paces: Vec<(Pace, i32)> = able
            .map(|(a, c)| {
                let (period_us, day_cap, recipient_cap) = (a.period_us, a.day_cap, a.recipient_cap);
                (Pace { period_us, day_cap, recipient_cap, ..Pace::default() }, c.share.unwrap_or(1))
            })
            .collect();
        if paces.is_empty() {
            return None;
        }
        let at_best = forecast(campaign.sharing, &paces, to_do.unsigned_abs()).seconds.unwrap_or(0.0);
        match (rate > 0.0, at_best > 0.0) {
            (true, _) => Some(at_best.max(to_do as f64 / rate)),
            (false, true) => Some(at_best),
            (false, false) => None,
        }
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state, RunState::Finished | RunState::Cancelled)
    }

    /// The state, with the reason where it has one.
    pub fn state_in_words(&self) -> String {
        match (self.state, self.paused_reason) {
            (RunState::Paused, Some(PausedReason::Credit)) => "paused, out of credit".to_owned(),
            (RunState::Paused, Some(PausedReason::Provider)) => "paused by its provider".to_owned(),
            (state, _) => state.to_string(),
        }
    }
}

fn rounded(n: f64) -> f64 {
    (n * 10.0).round() / 10.0
}

/// Reads the status of a run.
pub async fn read(c: &mut PgConnection, workspace_id: i32, campaign: &Campaign, run_id: i64) -> anyhow::Result<Status> {
    let p = progress::progress(c, workspace_id, run_id).await?;
    let rate = match p.state()? {
        RunState::Running => deliveries::rate_lately(c, workspace_id, run_id).await?,
        _ => 0.0,
    };
    let mut status = Status::of(campaign, &p, rate)?;
    if status.state == RunState::Running && status.leased == 0 {
        status.opens = hours::next_opening(c, workspace_id, run_id, p.now).await?;
        if let Some(opening) = &status.opens {
            status.eta_seconds = None;
            status.stuck.get_or_insert_with(|| stuck::outside_hours(opening));
        }
    }
    Ok(status)
}

pub async fn run(context: &Context, name: &str, run_id: Option<i64>, output: Output) -> anyhow::Result<()> {
    let mut c = context.store.pool.acquire().await?;
    let campaign = campaigns::get(&mut c, context.workspace_id, name).await?;
    if run_id.is_none()
        && progress::newest_run(&mut c, context.workspace_id, campaign.campaign_id).await?.is_none()
        && let Some((value, text)) = schedule::waiting(&mut c, context.workspace_id, &campaign).await?
    {
        return output.result(&value, |_| text);
    }
    let (campaign, run_id) = run_of(&mut c, context.workspace_id, name, run_id).await?;
    let mut status = read(&mut c, context.workspace_id, &campaign, run_id).await?;
    if status.accounts.len() > 1 {
        let sent = progress::sent_by_account(&mut c, context.workspace_id, run_id).await?;
        for account in &mut status.accounts {
            let through = sent.iter().find(|(name, _)| *name == account.account);
            account.sent = Some(through.map_or(0, |(_, sent)| *sent));
        }
    }
    output.result(&status, render)
}

/// Every class that is not empty, and how it goes on.
pub fn render(s: &Status) -> String {
    let colour = match s.state {
        RunState::Finished => "32;1",
        RunState::Running | RunState::Scheduled => "36;1",
        RunState::Paused | RunState::Cancelling | RunState::Cancelled => "33;1",
    };
    let state = paint(&s.state_in_words(), colour, on_terminal());
    let time = match (s.started_at, s.finished_at) {
        (None, _) => format!("starts {}", when(s.scheduled_for)),
        (Some(from), Some(to)) => format!("{}, took {}", when(from), duration((to - from).as_seconds_f64())),
        (Some(from), None) => format!("since {}", when(from)),
    };
    let left = s.left_out;
    let left_out = [
        ("on a list left out", left.minus),
        ("outside the segment", left.outside),
        ("without address", left.no_address),
        ("twice in the list", left.duplicate),
        ("suppressed", left.suppressed),
        ("not opted in", left.no_consent),
        ("at the cap by contact", left.capped),
        ("variable missing", left.missing),
        ("reached by an earlier run", left.reached),
        ("of the other part", left.other_part),
        ("on no list any more", left.gone),
        ("answered", left.answered),
    ];
    let to_go = match s.eta_seconds {
        Some(eta) if !s.is_over() => format!("{} a second, {} to go", s.rate_per_second, duration(eta)),
        _ => format!("{} a second", s.rate_per_second),
    };
    let head = [
        ("campaign", s.campaign.clone()),
        ("run", s.run.clone()),
        ("state", state),
        ("stuck", s.stuck.clone().unwrap_or_default()),
        ("time", time),
    ];
    let reported =
        [("delivered", s.delivered), ("read", s.read), ("failed after all", s.undelivered), ("answered", s.replied)];
    let tail = [
        ("through", through(s)),
        ("reported", nonzero(&reported)),
        ("left out", nonzero(&left_out)),
        ("cost", format!("{} credits", credits(s.cost))),
        ("rate", to_go),
    ];
    let growing = if s.expanded { "" } else { " so far" };
    let rows =
        head.into_iter().chain([("total", format!("{}{growing}", count(s.total)))]).chain(classes(s)).chain(tail);
    fields(rows)
}

fn classes(s: &Status) -> Vec<(&'static str, String)> {
    let all = [
        ("  queued", s.queued),
        ("  leased", s.leased),
        ("  retrying", s.retrying),
        ("  sent", s.sent),
        ("  failed", s.failed),
        ("  suppressed", s.suppressed),
        ("  expired", s.expired),
        ("  cancelled", s.cancelled),
        ("  unknown", s.unknown),
    ];
    let width = count(s.total).len();
    all.into_iter().filter(|(_, n)| *n != 0).map(|(label, n)| (label, format!("{:>width$}", count(n)))).collect()
}

/// What went through which of several accounts.
fn through(s: &Status) -> String {
    let each = |a: &AccountStatus| {
        let sent = a.sent.map(|sent| format!(" {}", count(sent))).unwrap_or_default();
        let why = match (&a.stopped, a.closed) {
            (Some(_), _) => " (stopped)",
            (None, Some(Closed::Credit)) => " (out of credit)",
            (None, Some(Closed::Provider)) => " (closed by its provider)",
            (None, Some(Closed::Person)) => " (taken out)",
            (None, None) => "",
        };
        format!("{}{sent}{why}", a.account)
    };
    if s.accounts.len() > 1 { s.accounts.iter().map(each).collect::<Vec<_>>().join(", ") } else { String::new() }
}

fn nonzero(counts: &[(&str, i64)]) -> String {
    let some = counts.iter().filter(|(_, n)| *n != 0);
    some.map(|(label, n)| format!("{} {label}", count(*n))).collect::<Vec<_>>().join(", ")
}
