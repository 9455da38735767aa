//! Steering an account by the signs in its answers: slow it down, open or close its circuit, stop it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fanfare_domain::outcome::Action;
use fanfare_store::flows::Refused;
use fanfare_store::suppressions::{self, Reason};
use fanfare_store::{PgConnection, Store, accounts, flows, queue};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::resolve::Sign;

/// So many ailing answers in a row open the circuit.
const AILING_MAX: u32 = 12;
/// Answers are counted in stretches this long.
const STRETCH: Duration = Duration::from_secs(1);
/// From this many throttled answers in a stretch on, the account may slow down.
const THROTTLED_MIN: u32 = 3;
/// It does when more than one in so many is throttled: a stray 429 delays its message only.
const THROTTLED_SHARE: u32 = 20;
/// How long a throttled account waits when the provider does not say.
const THROTTLE_WAIT: Duration = Duration::from_millis(200);

/// A sign, and the lease it came from.
#[derive(Debug)]
pub struct Seen {
    pub run_id: i64,
    pub epoch: i32,
    pub probe: bool,
    pub sign: Sign,
    /// What the answer asks for beyond its message.
    pub wish: Option<Wish>,
}

/// Something an answer asks for, about whom, and in which words.
#[derive(Debug)]
pub struct Wish {
    pub action: Action,
    pub address: String,
    /// The provider's code.
    pub detail: String,
}

/// What the fleet is to do about an account.
#[derive(Debug, PartialEq)]
pub enum Decision {
    /// It answers again.
    CloseCircuit,
    /// It does not answer.
    OpenCircuit,
    /// It asked for less.
    Throttle { wait: Duration, slow: bool },
    /// It refuses us.
    Stop(String),
    /// Its answer asks for something of its own.
    Grant,
}

/// Counts signs where they arise, and passes on those that need a decision of the fleet.
#[derive(Debug)]
pub struct Signs {
    tally: Mutex<Tally>,
    decisions: mpsc::UnboundedSender<(Seen, Decision)>,
}

/// Answers of the current stretch.
#[derive(Debug)]
struct Tally {
    began: Instant,
    answered: u32,
    throttled: u32,
    ailing_in_a_row: u32,
}

impl Tally {
    fn new() -> Self {
        Self { began: Instant::now(), answered: 0, throttled: 0, ailing_in_a_row: 0 }
    }

    fn note(&mut self, sign: &Sign, probe: bool, now: Instant) -> Option<Decision> {
        if now.duration_since(self.began) > STRETCH {
            *self = Self { began: now, answered: 0, throttled: 0, ..*self };
        }
        self.answered += 1;
        match sign {
            Sign::Healthy => {
                self.ailing_in_a_row = 0;
                probe.then_some(Decision::CloseCircuit)
            }
            Sign::Ailing => {
                self.ailing_in_a_row += 1;
                if !probe && self.ailing_in_a_row < AILING_MAX {
                    return None;
                }
                self.ailing_in_a_row = 0;
                Some(Decision::OpenCircuit)
            }
            Sign::Throttled(wait) => {
                self.throttled += 1;
                let slow = self.throttled >= THROTTLED_MIN && self.throttled * THROTTLED_SHARE > self.answered;
                let decide = slow || wait.is_some() || probe;
                decide.then(|| Decision::Throttle { wait: wait.unwrap_or(THROTTLE_WAIT), slow })
            }
            Sign::Refused(reason) => Some(Decision::Stop(reason.clone())),
        }
    }
}

impl Signs {
    pub fn new() -> (Self, mpsc::UnboundedReceiver<(Seen, Decision)>) {
        let (decisions, seen) = mpsc::unbounded_channel();
        (Self { tally: Mutex::new(Tally::new()), decisions }, seen)
    }

    /// Takes note of one answer's sign.
    pub fn note(&self, seen: Seen) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let decision = tally.note(&seen.sign, seen.probe, Instant::now());
        drop(tally);
        // One that carries a wish is passed on for that alone, if for nothing else.
        let decision = decision.or(seen.wish.is_some().then_some(Decision::Grant));
        if let Some(decision) = decision {
            // The receiver is gone only when the worker ends.
            let _ = self.decisions.send((seen, decision));
        }
    }
}

/// Carries the decisions about one account to the database.
pub struct Steering {
    pub store: Store,
    pub account: accounts::Account,
    pub seen: mpsc::UnboundedReceiver<(Seen, Decision)>,
    /// Cancelled when the provider refuses us: the account is to be opened anew.
    pub ended: CancellationToken,
    /// No more signs will come.
    pub drain: CancellationToken,
}

impl Steering {
    /// Decides until drained. A decision that fails is dropped: the next answer brings the same sign.
    pub async fn run(mut self) {
        loop {
            let seen = tokio::select! {
                seen = self.seen.recv() => seen,
                () = self.drain.cancelled() => None,
            };
            let Some((seen, decision)) = seen else { return };
            if let Err(error) = self.carry_out(&seen, decision).await {
                tracing::warn!(account_id = self.account.account_id, ?error, "steering the account failed");
            }
        }
    }

    /// Does what an answer asks for. A repeat does nothing.
    async fn grant(&self, c: &mut PgConnection, run_id: i64, wish: &Wish) -> fanfare_store::Result<()> {
        let workspace_id = self.account.workspace_id;
        match wish.action {
            Action::PauseRun => {
                let (account_id, code) = (self.account.account_id, &wish.detail);
                match flows::close_by_provider(c, (workspace_id, account_id, run_id), code).await? {
                    Refused::Paused => tracing::error!(run_id, code, "run paused: its provider refuses what it says"),
                    Refused::Closed => {
                        tracing::error!(run_id, account_id, code, "account closed to the run: it refuses what it says");
                    }
                    Refused::Already => {}
                }
            }
            Action::Suppress => {
                let origin = format!("provider: {}", wish.detail);
                let address = [(wish.address.clone(), origin)];
                suppressions::add(c, workspace_id, &address, Reason::Recipient, self.store.clock.now()).await?;
            }
            // Of its message alone.
            Action::Fallback => {}
        }
        Ok(())
    }

    async fn carry_out(&self, seen: &Seen, decision: Decision) -> fanfare_store::Result<()> {
        let (workspace_id, account_id) = (self.account.workspace_id, self.account.account_id);
        let mut c = self.store.pool.acquire().await?;
        if let Some(wish) = &seen.wish {
            self.grant(&mut c, seen.run_id, wish).await?;
        }
        match decision {
            Decision::Grant => {}
            Decision::CloseCircuit => {
                queue::circuit_close(&mut c, workspace_id, account_id).await?;
                tracing::info!(account_id, "circuit closed: the account answers again");
            }
            Decision::OpenCircuit => {
                if queue::circuit_open(&mut c, workspace_id, account_id, seen.run_id, seen.epoch).await? {
                    tracing::warn!(account_id, "circuit opened: the account does not answer");
                }
            }
            Decision::Throttle { wait, slow } => {
                let (run_id, epoch) = (seen.run_id, seen.epoch);
                if queue::throttle(&mut c, workspace_id, account_id, run_id, epoch, (wait, slow)).await? {
                    tracing::warn!(account_id, wait_ms = wait.as_millis() as u64, slow, "throttled: the account waits");
                }
                if seen.probe {
                    queue::circuit_close(&mut c, workspace_id, account_id).await?;
                }
            }
            Decision::Stop(reason) => {
                // Under new settings the refusal of the old ones says nothing.
                let now = accounts::by_id(&mut c, workspace_id, account_id).await?;
                if now.speaks_as(&self.account) {
                    accounts::stop(&mut c, workspace_id, account_id, &reason).await?;
                    tracing::error!(account_id, reason, "account stopped: its provider refuses it");
                }
                self.ended.cancel();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_429_slows_nothing_and_many_do() {
        let mut tally = Tally::new();
        let now = Instant::now();
        for i in 1..500 {
            let sign = if i % 50 == 0 { Sign::Throttled(None) } else { Sign::Healthy };
            assert_eq!(tally.note(&sign, false, now), None, "one in fifty");
        }
        let asked = Duration::from_secs(7);
        let obeyed = tally.note(&Sign::Throttled(Some(asked)), false, now);
        assert_eq!(obeyed, Some(Decision::Throttle { wait: asked, slow: false }));
        let many: Vec<_> = (0..40).filter_map(|_| tally.note(&Sign::Throttled(None), false, now)).collect();
        assert!(many.iter().any(|d| matches!(d, Decision::Throttle { slow: true, .. })), "{many:?}");
    }

    #[test]
    fn the_circuit_opens_on_failures_in_a_row_only() {
        let mut tally = Tally::new();
        let now = Instant::now();
        for i in 0..100 {
            let sign = if i % 10 == 9 { Sign::Healthy } else { Sign::Ailing };
            assert_eq!(tally.note(&sign, false, now), None);
        }
        let opened = (0..AILING_MAX).filter_map(|_| tally.note(&Sign::Ailing, false, now)).next();
        assert_eq!(opened, Some(Decision::OpenCircuit));
        assert_eq!(tally.note(&Sign::Ailing, true, now), Some(Decision::OpenCircuit), "a failed probe");
        assert_eq!(tally.note(&Sign::Healthy, true, now), Some(Decision::CloseCircuit), "an answered one");
    }
}
