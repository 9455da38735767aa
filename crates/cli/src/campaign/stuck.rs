//! Why a run does not move: the question that an operator is called for.

use chrono::TimeDelta;
use fanfare_domain::state::{Closed, PausedReason, RunState};
use fanfare_store::hours::Opening;
use fanfare_store::progress::{AccountProgress, Progress};

use super::plan::waves::local;
use super::status::Status;
use crate::output::when;

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
        (RunState::Paused, Some(PausedReason::Failures | PausedReason::FirstPart | PausedReason::Late)) => {
            let why = p.paused_detail.as_deref().unwrap_or("too much failed");
            Some(format!("held: {why}; look into it, then fanfare campaign resume {0}, or cancel {0}", s.campaign))
        }
        (RunState::Paused, _) => Some(format!("paused; it goes on after fanfare campaign resume {}", s.campaign)),
        (RunState::Scheduled, _) if p.overdue => Some(
            "its time has come, and no scheduler has started it: fanfare scheduler, or all in one, fanfare up"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Nobody may be written to now.
pub fn outside_hours(next: &Opening) -> String {
    let there = next.zone.as_ref().map(|zone| format!(", {} there", local(zone, Some(next.opens_at))));
    let zone = next.zone.as_deref().unwrap_or("its zone");
    format!(
        "everybody left is outside their hours; it goes on at {} in {zone}{}",
        when(next.opens_at),
        there.unwrap_or_default()
    )
}

fn running(s: &Status, p: &Progress) -> Option<String> {
    let held: Option<Vec<String>> = p.accounts.iter().map(|account| held(account, s, p)).collect();
    // While one account of several goes on, so does the run.
    let held = held?;
    if p.workers == 0 && p.accounts.iter().any(|a| a.stopped.is_none()) {
        return Some("no worker is running: fanfare worker, or all in one, fanfare up".to_owned());
    }
    Some(held.join("; "))
}

/// Why an account sends nothing of the run. The gravest reason first: each hides those below it.
fn held(a: &AccountProgress, s: &Status, p: &Progress) -> Option<String> {
    let account = &a.name;
    if let Some(reason) = &a.stopped {
        return Some(format!(
            "account {account} is stopped: {reason}; put it right, then fanfare account resume {account}"
        ));
    }
    match (a.closed(), a.closed_detail.as_deref().unwrap_or("no code")) {
        (Some(Closed::Credit), _) => {
            return Some(format!("the credit does not pay for a message of account {account}"));
        }
        (Some(Closed::Provider), code) => {
            return Some(format!(
                "the provider of account {account} refuses what the campaign says: {code}; put it right, then fanfare campaign resume {}",
                s.campaign
            ));
        }
        (Some(Closed::Person), _) => {
            return Some(format!(
                "account {account} was taken out; what only it may repeat waits until it is put back with fanfare campaign set {}",
                s.campaign
            ));
        }
        (None, _) => {}
    }
    if p.workers == 0 {
        return Some(String::new());
    }
    // Something is on its way, or about to be.
    let next = a.next.filter(|at| *at > p.now + WAIT_SHOWN_MIN);
    let then =
        next.map_or("it is asked again within seconds".to_owned(), |at| format!("it is asked again at {}", when(at)));
    if a.failures > 0 {
        return Some(format!("the provider of account {account} is down, no message is lost by it; {then}"));
    }
    if s.leased > 0 {
        return None;
    }
    if a.day_room.is_some_and(|room| room <= 0) {
        return Some(format!(
            "account {account} has sent what its limits let through in 24 hours; it goes on as the oldest hour leaves them"
        ));
    }
    next.map(|at| {
        format!("account {account} sends its next message at {}, by its caps or as its provider asked", when(at))
    })
}
