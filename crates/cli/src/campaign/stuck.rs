//! Why a run does not move: the question that an operator is called for.

use chrono::TimeDelta;
use fanfare_domain::state::{PausedReason, RunState};
use fanfare_store::progress::Progress;

use super::status::Status;
use crate::output::{count, when};

/// A slot this near is no reason to worry.
const WAIT_SHOWN_MIN: TimeDelta = TimeDelta::seconds(5);

/// Why nothing is sent although there is something to send, and what to do about it.
pub fn why(s: &Status, p: &Progress) -> Option<String> {
    match (s.state, s.paused_reason) {
        (RunState::Running, _) if s.to_do() > 0 => running(s, p),
        (RunState::Paused, Some(PausedReason::Credit)) => {
            Some("out of credit; it goes on after fanfare credits topup MICRO".to_owned())
        }
        (RunState::Paused, Some(PausedReason::Provider)) => {
            let code = p.paused_detail.as_deref().unwrap_or("no code");
            Some(format!(
                "paused by its provider, which said {code}; put it right, then fanfare campaign resume {}",
                s.campaign
            ))
        }
        (RunState::Paused, _) => Some(format!("paused; it goes on after fanfare campaign resume {}", s.campaign)),
        (RunState::Scheduled, _) if p.overdue => Some(
            "its time has come, and no scheduler has started it: fanfare scheduler, or all in one, fanfare up"
                .to_owned(),
        ),
        _ => None,
    }
}

/// The gravest reason first: each hides those below it.
fn running(s: &Status, p: &Progress) -> Option<String> {
    let account = &s.account;
    if let Some(reason) = &s.account_stopped {
        return Some(format!(
            "account {account} is stopped: {reason}; put it right, then fanfare account resume {account}"
        ));
    }
    if p.workers == 0 {
        return Some("no worker is running: fanfare worker, or all in one, fanfare up".to_owned());
    }
    // Something is on its way, or about to be.
    let next = p.account_next.filter(|at| *at > p.now + WAIT_SHOWN_MIN);
    let then =
        next.map_or("it is asked again within seconds".to_owned(), |at| format!("it is asked again at {}", when(at)));
    if p.account_failures > 0 {
        return Some(format!("the provider of account {account} is down, no message is lost by it; {then}"));
    }
    if s.leased > 0 {
        return None;
    }
    if p.day_cap_reached {
        let cap = count(p.day_cap);
        return Some(format!(
            "account {account} has sent its {cap} of 24 hours; it goes on as the oldest hour leaves them"
        ));
    }
    next.map(|at| {
        format!("account {account} sends its next message at {}, by its caps or as its provider asked", when(at))
    })
}
