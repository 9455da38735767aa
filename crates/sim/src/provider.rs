//! How the simulated provider reacts to a request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use fanfare_domain::clock::Clock;
use fanfare_domain::rng::Rng;

use crate::cap::Allowed;
use crate::dialect::{Dialect, Listed, Message, Read, Refusal};
use crate::judge::{Judge, Stats};
use crate::ledger::{Ledger, Page};
use crate::receipts::{Outbox, Receipt, Target};
use crate::wire::{Reader, Request};
use crate::{Config, Fault, Faults};

/// What happens on the wire after a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// An answer.
    Answer(Answer),
    /// The same, its body in pieces over [`SLOW_BODY`].
    Trickle(Answer),
    /// The connection is reset, before anything else.
    ResetAtOnce,
    /// The connection is reset where the answer would have come.
    Reset,
    /// Nothing.
    Silence,
}

/// Status, JSON body, and what Retry-After says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: &'static str,
    pub body: String,
    pub retry_after_s: Option<i64>,
}

/// How long a slow body takes.
pub(crate) const SLOW_BODY: Duration = Duration::from_secs(1);
/// How long after a recipient wrote they may be sent anything, µs.
const WINDOW_US: i64 = 24 * 3600 * 1_000_000;
/// What Retry-After asks for when a fault sends it, s.
const RETRY_AFTER_S: i64 = 1;

impl Answer {
    pub fn new(status: &'static str, body: impl Into<String>) -> Self {
        Self { status, body: body.into(), retry_after_s: None }
    }

    /// The same, to be tried again after so many seconds.
    pub fn after(self, seconds: i64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }
}

/// The provider, shared by all connections.
pub(crate) struct Provider {
    config: Config,
    pub dialect: &'static dyn Dialect,
    rng: Rng,
    started: Instant,
    started_us: i64,
    settings: RwLock<Settings>,
    judge: Mutex<Judge>,
    ledger: Mutex<Ledger>,
    allowed: Mutex<HashMap<u32, Allowed>>,
    /// When each recipient last wrote, µs since the Unix epoch.
    wrote_us: Mutex<HashMap<String, i64>>,
    outbox: Outbox,
}

/// What can be changed while running.
pub(crate) struct Settings {
    pub latency: Duration,
    pub faults: Faults,
    pub receipts_to: Option<Target>,
    /// The only secret that is let in.
    pub secret: Option<String>,
}

/// A panic while counting leaves counts that are still counts.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Provider {
    pub fn new(config: Config, outbox: Outbox) -> Self {
        Self {
            dialect: config.kind.dialect(),
            rng: Rng::seeded(config.seed),
            started: Instant::now(),
            started_us: Clock::system().now_us(),
            settings: RwLock::new(Settings {
                latency: config.latency,
                faults: config.faults.clone(),
                receipts_to: config.receipts_to.clone(),
                secret: config.secret.clone(),
            }),
            judge: Mutex::default(),
            ledger: Mutex::default(),
            allowed: Mutex::default(),
            wrote_us: Mutex::default(),
            outbox,
            config,
        }
    }

    /// Decides what happens to a request, and notes it.
    pub fn react(&self, reader: &Reader, request: &Request) -> Reaction {
        let (at_us, parts) = (self.unix_us(request.arrived), reader.parts(request));
        let credential = self.dialect.credential(&parts);
        let (account, fault) = self.arrived(credential.as_deref(), at_us);
        if fault == Some(Fault::Reset) {
            return self.strike(Fault::Reset);
        }
        if !self.lets_in(credential.as_deref()) {
            return self.reject(Refusal::Credential);
        }
        let message = match self.dialect.read(&parts) {
            Read::Message(message) => message,
            Read::ListTo(to) => return self.list(|ledger| ledger.to(&to)),
            Read::Record(index) => return self.record(index, (account, at_us), fault),
            Read::Other(answer) => return Reaction::Answer(answer),
            Read::Malformed(why) => return self.reject(Refusal::Malformed(why)),
        };
        if let Some(wait_us) = self.over_cap(account, at_us) {
            let wait_s = (wait_us + 999_999) / 1_000_000;
            return Reaction::Answer(self.dialect.refusal(Refusal::TooFast(Some(wait_s))));
        }
        match fault {
            Some(
                fault @ (Fault::Throttle | Fault::ThrottleFor | Fault::Error | Fault::Unavailable | Fault::Recipient),
            ) => {
                // Who has accepted a message does not blame its recipient afterwards.
                let accepted = fault == Fault::Recipient && locked(&self.ledger).find(message.id, account).is_some();
                if accepted { self.accept(&message, account, at_us, None) } else { self.strike(fault) }
            }
            Some(fault) if fault.of_template().is_some() => self.strike(fault),
            _ if !self.may_be_said(&message, at_us) => {
                locked(&self.judge).outside_window += 1;
                Reaction::Answer(self.dialect.refusal(Refusal::Window))
            }
            _ => self.accept(&message, account, at_us, fault),
        }
    }

    /// Whether the recipient may be sent this now.
    fn may_be_said(&self, message: &Message<'_>, at_us: i64) -> bool {
        let wrote = |to: &str| locked(&self.wrote_us).get(to).is_some_and(|wrote_us| at_us - wrote_us < WINDOW_US);
        !message.free_form || self.config.open_window || wrote(&message.to)
    }

    /// Notes that a recipient wrote.
    pub fn wrote(&self, address: &str, at_us: i64) {
        let mut all = locked(&self.wrote_us);
        let last_us = all.entry(address.to_owned()).or_insert(at_us);
        *last_us = at_us.max(*last_us);
    }

    /// Accepts a message, or finds it accepted before; `fault` is one that comes after that.
    pub fn accept(&self, message: &Message<'_>, account: u32, at_us: i64, fault: Option<Fault>) -> Reaction {
        let honours = self.config.honour_keys && self.dialect.honours_keys();
        let (index, is_new) = {
            let mut ledger = locked(&self.ledger);
            let before = if honours { ledger.find(message.id, account) } else { None };
            (before.unwrap_or_else(|| ledger.accept(message, account, at_us)), before.is_none())
        };
        let id = self.dialect.provider_id(index);
        if is_new {
            self.post_receipts(message, &id);
        } else {
            locked(&self.judge).repeats_answered += 1;
        }
        if let Some(fault) = fault {
            locked(&self.judge).struck(fault);
        }
        let answer = self.dialect.accepted(&id, message);
        match fault {
            Some(Fault::ErrorAccepted) => Reaction::Answer(self.dialect.accepted_broken()),
            Some(Fault::ResetAccepted) => Reaction::Reset,
            Some(Fault::SilenceAccepted) => Reaction::Silence,
            Some(Fault::SlowBody) => Reaction::Trickle(answer),
            Some(Fault::Malformed) => {
                // Cut in its midst, and said to be whole.
                let half = answer.body.chars().take(answer.body.chars().count() / 2).collect::<String>();
                Reaction::Answer(Answer { body: half, ..answer })
            }
            _ => Reaction::Answer(answer),
        }
    }

    /// A fault that comes instead of an acceptance.
    pub fn strike(&self, fault: Fault) -> Reaction {
        locked(&self.judge).struck(fault);
        if let Some(trouble) = fault.of_template() {
            return Reaction::Answer(self.dialect.template_refused(trouble));
        }
        let why = match fault {
            Fault::Throttle => Refusal::TooFast(None),
            Fault::ThrottleFor => Refusal::TooFast(Some(RETRY_AFTER_S)),
            Fault::Unavailable => Refusal::Unavailable(RETRY_AFTER_S),
            Fault::Recipient => Refusal::Recipient,
            Fault::Error => Refusal::Broken,
            _ => return Reaction::ResetAtOnce,
        };
        Reaction::Answer(self.dialect.refusal(why))
    }

    /// Refuses a request for what it holds.
    pub fn reject(&self, why: Refusal) -> Reaction {
        locked(&self.judge).rejected += 1;
        Reaction::Answer(self.dialect.refusal(why))
    }

    /// Answers a question about what was accepted.
    fn list(&self, find: impl FnOnce(&Ledger) -> Vec<usize>) -> Reaction {
        let ledger = locked(&self.ledger);
        let found: Vec<Listed> = find(&ledger).into_iter().map(|index| ledger.listed(index, self.dialect)).collect();
        drop(ledger);
        locked(&self.judge).questions += 1;
        Reaction::Answer(self.dialect.listed(&found))
    }

    /// Answers what became of one acceptance. Late records are behind what has happened.
    fn record(&self, index: usize, (account, at_us): (u32, i64), fault: Option<Fault>) -> Reaction {
        if self.over_cap(account, at_us).is_some() {
            return Reaction::Answer(self.dialect.refusal(Refusal::TooFast(None)));
        }
        if let Some(fault @ (Fault::Throttle | Fault::ThrottleFor | Fault::Error | Fault::Unavailable)) = fault {
            return self.strike(fault);
        }
        let faults = self.settings.read().unwrap_or_else(PoisonError::into_inner).faults.clone();
        let late = faults.strikes(Fault::ReceiptLate, &self.rng);
        let ledger = locked(&self.ledger);
        let found = (index < ledger.accepted()).then(|| Listed { late, ..ledger.listed(index, self.dialect) });
        drop(ledger);
        let mut judge = locked(&self.judge);
        judge.questions += 1;
        if late {
            judge.struck(Fault::ReceiptLate);
        }
        drop(judge);
        Reaction::Answer(self.dialect.listed(found.as_slice()))
    }

    /// Notes a request of the account with this credential; the account, and the fault that it meets.
    pub fn arrived(&self, credential: Option<&str>, at_us: i64) -> (u32, Option<Fault>) {
        let account = locked(&self.judge).arrived(credential.unwrap_or("-"), at_us);
        (account, self.settings.read().unwrap_or_else(PoisonError::into_inner).faults.draw(&self.rng))
    }

    /// Whether this credential is the expected one.
    pub fn lets_in(&self, credential: Option<&str>) -> bool {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        settings.secret.is_none() || credential == settings.secret.as_deref()
    }

    /// After how many µs there is room for a request that is above the cap.
    pub fn over_cap(&self, account: u32, at_us: i64) -> Option<i64> {
        let cap = self.config.cap?;
        let wait_us = locked(&self.allowed).entry(account).or_default().admit(cap, at_us).err();
        locked(&self.judge).over_cap += u64::from(wait_us.is_some());
        wait_us
    }

    fn post_receipts(&self, message: &Message<'_>, provider_id: &str) {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        let target = message.reference.as_deref().and_then(|reference| self.dialect.callback(reference));
        if settings.receipts_to.is_none() && target.is_none() {
            return;
        }
        for status in &self.config.receipts {
            let twice = settings.faults.strikes(Fault::ReceiptTwice, &self.rng);
            let late = settings.faults.strikes(Fault::ReceiptLate, &self.rng);
            let mut judge = locked(&self.judge);
            if twice {
                judge.struck(Fault::ReceiptTwice);
            }
            if late {
                judge.struck(Fault::ReceiptLate);
            }
            for _ in 0..1 + usize::from(twice) {
                let receipt = Receipt {
                    id: message.id,
                    provider_id: provider_id.to_owned(),
                    reference: message.reference.clone(),
                    target: target.clone(),
                    to: message.to.clone().into_owned(),
                    status: *status,
                    late,
                };
                if !self.outbox.put(receipt) {
                    judge.receipts.failed += 1;
                }
            }
        }
    }

    /// Where receipts go.
    pub fn receipts_to(&self) -> Option<Target> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).receipts_to.clone()
    }

    /// What posts are signed with.
    pub fn hook_key(&self) -> &str {
        self.config.hook_key.as_deref().or(self.config.secret.as_deref()).unwrap_or_default()
    }

    /// Microseconds since the Unix epoch of a moment: the wall clock at the start, and monotonic from there.
    pub fn unix_us(&self, at: Instant) -> i64 {
        let since = at.saturating_duration_since(self.started);
        self.started_us + i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    /// Notes the time from a request, arrived then, to its answer.
    pub fn answered(&self, arrived: Instant) {
        locked(&self.judge).answered(arrived.elapsed());
    }

    /// Notes whether a receipt was taken.
    pub fn receipt_posted(&self, taken: bool) {
        let receipts = &mut locked(&self.judge).receipts;
        *(if taken { &mut receipts.posted } else { &mut receipts.failed }) += 1;
    }

    pub fn latency(&self) -> Duration {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).latency
    }

    /// Changes latency and faults.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn stats(&self) -> Stats {
        locked(&self.judge).stats(&locked(&self.ledger), &self.config.windows)
    }

    pub fn page(&self, after: usize) -> Page {
        locked(&self.ledger).page(after, self.dialect)
    }

    /// Forgets what was seen.
    pub fn reset(&self) {
        *locked(&self.judge) = Judge::default();
        *locked(&self.ledger) = Ledger::default();
        locked(&self.allowed).clear();
    }
}
