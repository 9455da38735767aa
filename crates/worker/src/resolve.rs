//! From an answer to the message's fate, and to what the account must do.

use std::time::Duration;

use chrono::{DateTime, Utc};
use fanfare_domain::outcome::{Action, Answer, Class, Failure, FailureKind};
use fanfare_domain::retry::{RETRY_AFTER_MAX, attempts_max, backoff, look_up_wait};
use fanfare_domain::rng::Rng;
use fanfare_domain::state::OnUnknown;
use fanfare_providers::Finding;
use fanfare_store::queue::Fate;

/// What is known of the message beside the answer.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Number of this attempt, from 1.
    pub attempt: i16,
    /// An earlier attempt may have been accepted.
    pub in_doubt: bool,
    /// The provider drops repeats of a key.
    pub idempotent: bool,
    /// The provider can be asked what it took.
    pub looks_up: bool,
    /// What was said are words of our own, and there are approved ones to say instead.
    pub falls_back: bool,
    /// What the campaign wants for messages in doubt.
    pub on_unknown: OnUnknown,
    /// Price of the message, micro-credits, at most what is reserved.
    pub price: i64,
}

/// What the account must do about an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Sign {
    /// It works.
    Healthy,
    /// It answers too slowly or not at all: many of these in a row open the circuit.
    Ailing,
    /// It asks for less, and perhaps says how long.
    Throttled(Option<Duration>),
    /// It refuses us altogether: stop, for this reason.
    Refused(String),
}

/// The fate of a message after `answer`, the class of its outcome, and the sign for the account.
pub fn resolve(answer: &Answer, case: Case, rng: &Rng) -> (Fate, Class, Sign) {
    let failure = match answer {
        Answer::Sent { .. } => return (Fate::Final { cost: case.price }, Class::Sent, Sign::Healthy),
        Answer::Failed(failure) => failure,
        Answer::NotStarted => return (Fate::Returned, Class::Transient, Sign::Healthy),
    };
    // Certainly not accepted, and welcome in other words: the next attempt says those.
    let refused = failure.kind == FailureKind::PermanentContent && failure.action == Some(Action::Fallback);
    let spent = case.attempt >= attempts_max(FailureKind::Transient);
    if refused && case.falls_back && !case.in_doubt && !spent {
        return (Fate::Retry(Duration::ZERO), Class::Transient, Sign::Healthy);
    }
    let class = match failure.kind {
        FailureKind::PermanentRecipient => Class::PermanentRecipient,
        FailureKind::PermanentContent => Class::PermanentContent,
        FailureKind::Throttled | FailureKind::Later => Class::Throttled,
        FailureKind::Transient | FailureKind::Unreachable | FailureKind::Configuration => Class::Transient,
        FailureKind::Unknown => Class::Unknown,
    };
    (fate(failure, case, rng), class, sign(failure))
}

fn fate(failure: &Failure, case: Case, rng: &Rng) -> Fate {
    let wait = || backoff(case.attempt, failure.retry_after, rng);
    let spent = case.attempt >= attempts_max(failure.kind);
    match failure.kind {
        FailureKind::Unreachable | FailureKind::Configuration => Fate::Returned,
        // A refusal says nothing of an earlier attempt, unless the provider would have known its key.
        FailureKind::PermanentRecipient | FailureKind::PermanentContent => match case.in_doubt && !case.idempotent {
            true => Fate::Unknown(None),
            false => Fate::Final { cost: 0 },
        },
        FailureKind::Throttled | FailureKind::Later | FailureKind::Transient => match (case.in_doubt, spent) {
            (false, false) => Fate::Retry(wait()),
            (false, true) => Fate::Final { cost: 0 },
            (true, false) if !case.looks_up => Fate::Unknown(Some(wait())),
            (true, false) => doubtful(case, case.attempt, rng),
            (true, true) => Fate::Unknown(None),
        },
        FailureKind::Unknown if case.looks_up => doubtful(case, 0, rng),
        FailureKind::Unknown => {
            let repeat = case.idempotent || case.on_unknown == OnUnknown::Resend;
            Fate::Unknown((repeat && !spent).then(wait))
        }
    }
}

/// A message in doubt at a provider that can be asked: it is, for as long as an answer may come.
fn doubtful(case: Case, unsure: i16, rng: &Rng) -> Fate {
    let spent = case.attempt >= attempts_max(FailureKind::Unknown);
    Fate::Unknown((!spent).then(|| look_up_wait(unsure, rng)))
}

/// The same for what a look-up found.
pub fn looked_up(finding: &Finding, case: Case, rng: &Rng) -> (Fate, Class, Sign) {
    match finding {
        Finding::Sent { .. } => (Fate::Final { cost: case.price }, Class::Sent, Sign::Healthy),
        // Now it certainly was not accepted, and goes on as any other.
        Finding::Absent => (Fate::Retry(Duration::ZERO), Class::Transient, Sign::Healthy),
        Finding::Unsure(_) => (doubtful(case, case.attempt, rng), Class::Unknown, Sign::Healthy),
        Finding::Failed(failure) => (doubtful(case, case.attempt, rng), Class::Unknown, sign(failure)),
        Finding::NotStarted => (Fate::Returned, Class::Unknown, Sign::Healthy),
    }
}

fn sign(failure: &Failure) -> Sign {
    match failure.kind {
        FailureKind::PermanentRecipient | FailureKind::PermanentContent | FailureKind::Later => Sign::Healthy,
        FailureKind::Throttled => Sign::Throttled(failure.retry_after.map(|wait| wait.min(RETRY_AFTER_MAX))),
        FailureKind::Transient | FailureKind::Unreachable | FailureKind::Unknown => Sign::Ailing,
        FailureKind::Configuration => Sign::Refused(failure.detail.clone()),
    }
}

/// The fate of a message that will not be sent although it never failed: it is suppressed, or too late.
/// One in doubt stays in doubt.
pub fn unsent(in_doubt: bool, class: Class) -> (Fate, Class) {
    match in_doubt {
        true => (Fate::Unknown(None), Class::Unknown),
        false => (Fate::Final { cost: 0 }, class),
    }
}

/// Whether a message of a run that ends at `expires_at` is too late now.
pub fn too_late(expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    expires_at.is_some_and(|at| at <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Case {
        let on_unknown = OnUnknown::Hold;
        let (in_doubt, idempotent, looks_up, falls_back) = (false, false, false, false);
        Case { attempt: 1, in_doubt, idempotent, looks_up, falls_back, on_unknown, price: 7 }
    }

    fn failed(kind: FailureKind) -> Answer {
        Answer::Failed(Failure::new(kind, "code"))
    }

    fn fate_of(kind: FailureKind, case: Case) -> Fate {
        resolve(&failed(kind), case, &Rng::seeded(1)).0
    }

    #[test]
    fn an_unknown_is_repeated_only_where_that_is_safe_or_chosen() {
        use FailureKind::Unknown;
        assert_eq!(fate_of(Unknown, case()), Fate::Unknown(None));
        assert_eq!(fate_of(Unknown, Case { on_unknown: OnUnknown::WriteOff, ..case() }), Fate::Unknown(None));
        assert!(matches!(fate_of(Unknown, Case { idempotent: true, ..case() }), Fate::Unknown(Some(_))));
        assert!(matches!(fate_of(Unknown, Case { on_unknown: OnUnknown::Resend, ..case() }), Fate::Unknown(Some(_))));
        assert_eq!(fate_of(Unknown, Case { idempotent: true, attempt: 8, ..case() }), Fate::Unknown(None));
    }

    #[test]
    fn what_can_be_looked_up_is_and_what_was_not_accepted_is_sent_again() {
        let case = Case { looks_up: true, ..case() };
        assert!(matches!(fate_of(FailureKind::Unknown, case), Fate::Unknown(Some(wait)) if wait.as_secs() >= 120));
        let found = |finding, case| looked_up(&finding, case, &Rng::seeded(1)).0;
        let doubtful = Case { in_doubt: true, attempt: 2, ..case };
        assert_eq!(found(Finding::Sent { provider_id: None }, doubtful), Fate::Final { cost: 7 });
        assert_eq!(found(Finding::Absent, doubtful), Fate::Retry(Duration::ZERO));
        assert!(matches!(found(Finding::Unsure("x"), doubtful), Fate::Unknown(Some(_))));
        assert_eq!(found(Finding::Unsure("x"), Case { attempt: 8, ..doubtful }), Fate::Unknown(None));
        let failed = Failure::new(FailureKind::PermanentRecipient, "404");
        assert!(
            matches!(found(Finding::Failed(failed), doubtful), Fate::Unknown(Some(_))),
            "of a look-up, not of a send"
        );
    }

    #[test]
    fn doubt_outlives_later_failures() {
        let doubtful = Case { in_doubt: true, attempt: 2, ..case() };
        assert!(matches!(fate_of(FailureKind::Transient, doubtful), Fate::Unknown(Some(_))));
        assert_eq!(fate_of(FailureKind::Transient, Case { attempt: 8, ..doubtful }), Fate::Unknown(None));
        assert_eq!(fate_of(FailureKind::PermanentRecipient, doubtful), Fate::Unknown(None));
        let keyed = Case { idempotent: true, ..doubtful };
        assert_eq!(fate_of(FailureKind::PermanentRecipient, keyed), Fate::Final { cost: 0 });
        assert_eq!(unsent(true, Class::Expired), (Fate::Unknown(None), Class::Unknown));
    }

    #[test]
    fn what_the_window_forbids_is_said_in_other_words_unless_it_is_in_doubt() {
        let failure = Failure::new(FailureKind::PermanentContent, "131047");
        let closed = Answer::Failed(Failure { action: Some(Action::Fallback), ..failure });
        let fate = |case| resolve(&closed, case, &Rng::seeded(1)).0;
        let able = Case { falls_back: true, ..case() };
        assert_eq!(fate(able), Fate::Retry(Duration::ZERO));
        assert_eq!(fate(case()), Fate::Final { cost: 0 });
        assert_eq!(fate(Case { attempt: 8, ..able }), Fate::Final { cost: 0 });
        assert_eq!(fate(Case { in_doubt: true, attempt: 2, ..able }), Fate::Unknown(None));
        assert_eq!(fate_of(FailureKind::PermanentContent, able), Fate::Final { cost: 0 }, "refused for another reason");
    }

    #[test]
    fn only_certain_failures_are_retried_and_only_so_often() {
        assert!(matches!(fate_of(FailureKind::Transient, case()), Fate::Retry(_)));
        assert_eq!(fate_of(FailureKind::Transient, Case { attempt: 8, ..case() }), Fate::Final { cost: 0 });
        assert_eq!(fate_of(FailureKind::Unreachable, Case { attempt: 90, ..case() }), Fate::Returned);
        assert_eq!(fate_of(FailureKind::Configuration, case()), Fate::Returned);
        let sent = Answer::Sent { provider_id: None };
        assert_eq!(resolve(&sent, case(), &Rng::seeded(1)), (Fate::Final { cost: 7 }, Class::Sent, Sign::Healthy));
    }
}
