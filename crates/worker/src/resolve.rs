//! From an answer to the message's fate, and to what the account must do.

use std::time::Duration;

use chrono::{DateTime, Utc};
use fanfare_domain::outcome::{Answer, Class, Failure, FailureKind};
use fanfare_domain::retry::{RETRY_AFTER_MAX, attempts_max, backoff};
use fanfare_domain::rng::Rng;
use fanfare_domain::state::OnUnknown;
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
            (true, false) => Fate::Unknown(Some(wait())),
            (true, true) => Fate::Unknown(None),
        },
        FailureKind::Unknown => {
            let repeat = case.idempotent || case.on_unknown == OnUnknown::Resend;
            Fate::Unknown((repeat && !spent).then(wait))
        }
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
        Case { attempt: 1, in_doubt: false, idempotent: false, on_unknown: OnUnknown::Hold, price: 7 }
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
    fn only_certain_failures_are_retried_and_only_so_often() {
        assert!(matches!(fate_of(FailureKind::Transient, case()), Fate::Retry(_)));
        assert_eq!(fate_of(FailureKind::Transient, Case { attempt: 8, ..case() }), Fate::Final { cost: 0 });
        assert_eq!(fate_of(FailureKind::Unreachable, Case { attempt: 90, ..case() }), Fate::Returned);
        assert_eq!(fate_of(FailureKind::Configuration, case()), Fate::Returned);
        let sent = Answer::Sent { provider_id: None };
        assert_eq!(resolve(&sent, case(), &Rng::seeded(1)), (Fate::Final { cost: 7 }, Class::Sent, Sign::Healthy));
    }
}
