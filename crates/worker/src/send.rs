//! Sending one batch: every message at its slot, after a look at the epoch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare_domain::id::message_id;
use fanfare_domain::message::OutMessage;
use fanfare_domain::outcome::{Action, Answer, Class, Failure, FailureKind};
use fanfare_domain::template::Fallback;
use fanfare_domain::window;
use fanfare_providers::{Finding, Provider as _};
use fanfare_store::queue::{BY_RECEIPT, Fate, Lane, Lease, Message, Settlement};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::account::Account;
use crate::board::{Gate, Watch};
use crate::flush::Note;
use crate::resolve::{Case, looked_up, resolve, too_late, unsent};
use crate::runs::Run;
use crate::slots::{Slot, Slots};
use crate::steer::{Seen, Wish};
use crate::urgent::{Giver, Owed};

/// How often a batch that is unsure looks again.
const UNSURE_LOOK: Duration = Duration::from_millis(10);

/// A lease with everything needed to send it: the task that apalis hands to [`spawned`].
pub struct Batch {
    pub account: Arc<Account>,
    pub run: Arc<Run>,
    pub lease: Lease,
    pub messages: Vec<Message>,
    pub pace: Pace,
    pub watch: Watch,
    pub stop: CancellationToken,
}

/// When the messages of a batch may start.
pub enum Pace {
    /// At once: neither the account nor the run has a limit.
    Free,
    /// At slots of its own.
    Own(Slots),
    /// At slots that bulk gives away.
    Owed(Owed),
}

/// How far a batch is with its own slots.
#[derive(Default)]
struct Spent {
    /// Slots that have come.
    slots: usize,
    /// Of these, given away: as many messages are left without one at the end.
    given: usize,
}

/// What is kept of an answer, or of a look-up.
#[derive(Debug, Default, PartialEq)]
struct Told {
    provider_id: Option<String>,
    detail: Option<String>,
    action: Option<Action>,
    queued: bool,
}

impl From<Failure> for Told {
    fn from(failure: Failure) -> Self {
        let Failure { detail, action, .. } = failure;
        // In these words the store finds what the provider said of the window.
        let detail = if action == Some(Action::Fallback) { format!("{}: {detail}", window::CLOSED) } else { detail };
        Self { detail: Some(detail), action, ..Self::default() }
    }
}

impl From<Answer> for Told {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Sent { provider_id } => Self { provider_id, ..Self::default() },
            Answer::Queued { provider_id } => Self { provider_id: Some(provider_id), queued: true, ..Self::default() },
            Answer::Failed(failure) => failure.into(),
            Answer::NotStarted => Self::default(),
        }
    }
}

impl From<Finding> for Told {
    fn from(finding: Finding) -> Self {
        let said = |detail: &str| Self { detail: Some(detail.to_owned()), ..Self::default() };
        match finding {
            Finding::Sent { provider_id } => Self { provider_id, ..said("look-up: found") },
            Finding::Absent => said("look-up: not there"),
            Finding::Unsure(why) => said(&format!("look-up: {why}")),
            Finding::Failed(failure) => Self { detail: Some(format!("look-up: {}", failure.detail)), ..failure.into() },
            Finding::NotStarted => Self::default(),
        }
    }
}

/// What the next message of a batch may do.
enum Turn<'a> {
    /// In this slot, if there is a cap.
    Start(SemaphorePermit<'a>, Option<Slot>),
    /// The batch is over: the rest goes back.
    Over,
}

/// In whose words a message is said.
#[derive(Clone, Copy)]
enum Words<'a> {
    /// In those of the run's template.
    Own,
    /// In those of its fallback, since the window is closed.
    Fallback(&'a Fallback),
}

/// Sends a batch in a task of its own: apalis polls all that it runs on one thread. Should it panic, this
/// life of the worker ends, and the batch is reclaimed.
pub async fn spawned(next: Batch) {
    let stop = next.stop.clone();
    if let Err(error) = tokio::spawn(batch(next)).await {
        tracing::error!(%error, "a batch panicked");
        stop.cancel();
    }
}

/// Sends the messages of a batch and notes what became of each; ends when all are settled.
async fn batch(batch: Batch) {
    let giver = batch.giver();
    let (mut flight, mut spent) = (FuturesUnordered::new(), Spent::default());
    let mut over = false;
    for position in 0..batch.messages.len() {
        let turn = if over { Turn::Over } else { batch.turn(giver.as_ref(), &mut spent, &mut flight).await };
        match turn {
            Turn::Start(permit, slot) => flight.push(batch.attempt(Place { position, slot }, permit)),
            Turn::Over => {
                over = true;
                let swapped = position + spent.given >= batch.messages.len();
                batch.note(Settlement { swapped, ..batch.unstarted(position) });
            }
        }
    }
    drop(giver);
    while flight.next().await.is_some() {}
}

/// A message of a batch, and the slot that it has.
#[derive(Clone, Copy)]
struct Place {
    position: usize,
    slot: Option<Slot>,
}

impl Place {
    fn missed(self) -> bool {
        self.slot.is_some_and(|slot| slot.missed(Instant::now()))
    }
}

impl Batch {
    /// A batch of bulk gives slots to urgent messages. The answer to a probe is waited for: it is none's to
    /// take. Nor is a slot that only the run's own pace asks for.
    fn giver(&self) -> Option<Giver> {
        match &self.pace {
            Pace::Own(slots) if self.lease.lane == Lane::Bulk && !self.lease.probe && !self.lease.paced => {
                Some(self.account.exchange.begin(self.lease.id, *slots, self.lease.len()))
            }
            _ => None,
        }
    }

    /// Waits for the turn of the next message, driving what is in flight meanwhile.
    async fn turn<F: Future<Output = ()>>(
        &self,
        giver: Option<&Giver>,
        spent: &mut Spent,
        flight: &mut FuturesUnordered<F>,
    ) -> Turn<'_> {
        loop {
            let slot = match &self.pace {
                Pace::Free => None,
                Pace::Own(_) if spent.slots == self.messages.len() => return Turn::Over,
                Pace::Own(slots) => {
                    spent.slots += 1;
                    Some(slots.slot(spent.slots - 1))
                }
                Pace::Owed(owed) => match driving(flight, owed.slot(), &self.stop).await {
                    Some(Some(slot)) => Some(slot),
                    Some(None) | None => return Turn::Over,
                },
            };
            let wait = slot.map_or(Duration::ZERO, |slot| slot.at.saturating_duration_since(Instant::now()));
            if !wait.is_zero() && driving(flight, sleep(wait), &self.stop).await.is_none() {
                return Turn::Over;
            }
            if !self.opens(flight).await {
                return Turn::Over;
            }
            let given = giver.zip(slot).is_some_and(|(giver, slot)| giver.offer(slot));
            spent.given += usize::from(given);
            if !given {
                return self.start(slot, flight).await;
            }
        }
    }

    /// Waits until something may start; false if nothing more may.
    async fn opens<F: Future<Output = ()>>(&self, flight: &mut FuturesUnordered<F>) -> bool {
        while !self.stop.is_cancelled() {
            match self.watch.gate() {
                Gate::Shut => return false,
                Gate::Open => return true,
                Gate::Unsure => {
                    if driving(flight, sleep(UNSURE_LOOK), &self.stop).await.is_none() {
                        return false;
                    }
                }
            }
        }
        false
    }

    async fn start<F: Future<Output = ()>>(&self, slot: Option<Slot>, flight: &mut FuturesUnordered<F>) -> Turn<'_> {
        loop {
            let permit = permit(flight, &self.account.in_flight).await;
            // Time has passed if there was none free.
            if self.watch.gate() == Gate::Open {
                return Turn::Start(permit, slot);
            }
            drop(permit);
            if !self.opens(flight).await {
                return Turn::Over;
            }
        }
    }

    /// One attempt; its place in flight is given back at the end.
    async fn attempt(&self, place: Place, _permit: SemaphorePermit<'_>) {
        let position = place.position;
        // Its slot is lost, and never made up, or its window closed; the next message may still be in time.
        if place.missed() || self.is_closed(position) {
            return self.hand_back(position);
        }
        let message = &self.messages[position];
        if message.accepted {
            let (fate, detail) = (Fate::Final { cost: self.case(position).price }, Some(BY_RECEIPT.to_owned()));
            return self.note(Settlement { detail, ..Settlement::of(&self.lease, position, fate, Class::Sent) });
        }
        let too_late = too_late(self.run.info.expires_at, message.expires_at, self.account.store.clock.now());
        // To ask what became of a message is no message.
        let asks = self.case(position).asks();
        let words = if asks { Some(Words::Own) } else { self.words(message) };
        let (class, detail) = match (message.suppressed && !asks, too_late && !asks, words) {
            (false, false, Some(words)) => return self.request(place, words).await,
            (false, false, None) => (Class::PermanentRecipient, Some(window::CLOSED.to_owned())),
            (true, ..) => (Class::Suppressed, None),
            (false, true, _) => (Class::Expired, None),
        };
        let (fate, class) = unsent(self.lease.in_doubt(position), class);
        self.note(Settlement { detail, ..Settlement::of(&self.lease, position, fate, class) });
    }

    /// Whether the run's own words for a message may be said only to those who wrote lately.
    fn is_bound(&self, message: &Message) -> bool {
        self.run.window && self.run.says.is_free_form(message.variant)
    }

    /// In which words a message may be said now, if in any.
    ///
    /// A message in doubt may so be repeated in other words than before, by a campaign's policy or a person's
    /// decision. Where repeats go by a key they would have to be the same: no such provider carries words of
    /// our own within a window.
    fn words(&self, message: &Message) -> Option<Words<'_>> {
        if !self.is_bound(message) || window::is_open(message.heard_at, self.account.store.clock.now()) {
            return Some(Words::Own);
        }
        self.run.fallback.as_ref().map(Words::Fallback)
    }

    /// Renders, sends or looks up, resolves, notes.
    async fn request(&self, place: Place, words: Words<'_>) {
        let (began, position) = (Instant::now(), place.position);
        let may_start = || self.may_start(place);
        let bound = matches!(words, Words::Own) && self.is_bound(&self.messages[position]);
        let case = Case { falls_back: bound && self.run.fallback.is_some(), ..self.case(position) };
        let rng = &self.account.store.rng;
        let ((fate, class, sign), told) = match self.compose(position, words) {
            Ok(out) if case.asks() => {
                let since = self.run.info.started_at;
                let finding = self.account.adapter.look_up(&out, since, &may_start).await;
                (looked_up(&finding, case, rng), Told::from(finding))
            }
            composed => {
                let answer = match composed {
                    Ok(out) => self.account.adapter.send(&out, &may_start).await,
                    Err(failure) => Answer::Failed(failure),
                };
                (resolve(&answer, case, rng), Told::from(answer))
            }
        };
        if fate == Fate::Returned && told == Told::default() {
            return self.hand_back(position);
        }
        let latency_ms = i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX);
        let (run_id, epoch, probe) = (self.lease.run_id, self.lease.epoch, self.lease.probe);
        let Told { provider_id, detail, action, queued } = told;
        let wish = action.filter(|action| *action != Action::Fallback).map(|action| Wish {
            action,
            address: self.messages[position].address.clone(),
            detail: detail.clone().unwrap_or_default(),
        });
        self.account.signs.note(Seen { run_id, epoch, probe, sign, wish });
        let settlement = Settlement::of(&self.lease, position, fate, class);
        self.note(Settlement { latency_ms, provider_id, detail, queued, ..settlement });
    }

    fn case(&self, position: usize) -> Case {
        let (info, message) = (&self.run.info, &self.messages[position]);
        Case {
            attempt: self.lease.attempts_before(position) + 1,
            in_doubt: self.lease.in_doubt(position),
            idempotent: self.account.idempotent,
            looks_up: self.account.looks_up,
            falls_back: false,
            waits_for_echo: self.account.waits_for_echo,
            on_unknown: info.on_unknown,
            price: info.prices.of(message.country.as_deref(), message.units).min(self.lease.reserve_each),
        }
    }

    /// Whether its slot has not passed, its window not closed, and the run not been stopped, while a connection was dialled.
    fn may_start(&self, place: Place) -> bool {
        !place.missed()
            && !self.is_closed(place.position)
            && !self.stop.is_cancelled()
            && self.watch.gate() == Gate::Open
    }

    /// Whether the window of a message has closed since it was claimed.
    fn is_closed(&self, position: usize) -> bool {
        self.messages[position].closes_at.is_some_and(|at| at <= self.account.store.clock.now())
    }

    fn compose(&self, position: usize, words: Words<'_>) -> Result<OutMessage, Failure> {
        let message = &self.messages[position];
        let params = message.params.as_ref().map(|p| p.0.as_slice()).unwrap_or_default();
        let content = match words {
            Words::Own => self.run.says.render(message.variant, params),
            Words::Fallback(fallback) => fallback.render(params),
        };
        let content = content.map_err(|_| Failure::new(FailureKind::PermanentContent, "template does not render"))?;
        Ok(OutMessage {
            id: message_id(self.account.workspace_id, self.lease.run_id, message.seq),
            to: message.address.clone(),
            from: self.run.info.sender.clone().or_else(|| self.account.sender.clone()),
            channel: self.run.info.channel,
            content,
            campaign: self.run.info.campaign.clone(),
            run_id: self.lease.run_id,
            seq: message.seq,
            attempt: self.lease.attempts_before(position) + 1,
        })
    }

    /// Notes that the message at `position` was not started.
    fn hand_back(&self, position: usize) {
        self.note(self.unstarted(position));
    }

    fn unstarted(&self, position: usize) -> Settlement {
        Settlement::of(&self.lease, position, Fate::Returned, Class::Transient)
    }

    fn note(&self, settlement: Settlement) {
        let at_us = self.account.store.clock.now_us();
        self.account.note(Note::Settled(Settlement { at_us, ..settlement }));
    }
}

/// Waits for something while driving what is in flight; `None` when told to stop.
async fn driving<F: Future<Output = ()>, T>(
    flight: &mut FuturesUnordered<F>,
    awaited: impl Future<Output = T>,
    stop: &CancellationToken,
) -> Option<T> {
    tokio::pin!(awaited);
    loop {
        tokio::select! {
            biased;
            reached = &mut awaited => return Some(reached),
            () = stop.cancelled() => return None,
            Some(()) = flight.next(), if !flight.is_empty() => {}
        }
    }
}

/// A place among the requests in flight, driving them while waiting for it.
async fn permit<'a, F: Future<Output = ()>>(
    flight: &mut FuturesUnordered<F>,
    places: &'a Semaphore,
) -> SemaphorePermit<'a> {
    if let Ok(permit) = places.try_acquire() {
        return permit;
    }
    let acquire = places.acquire();
    tokio::pin!(acquire);
    loop {
        tokio::select! {
            // The semaphore is never closed.
            permit = &mut acquire => return permit.expect("open for as long as the account is"),
            Some(()) = flight.next(), if !flight.is_empty() => {}
        }
    }
}
