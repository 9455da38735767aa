//! From an answer to the message's fate, and to what the account must do.

use std::time::Duration;

use chrono::{DateTime, Utc};
use fanfare_domain::limits::ECHO_WAIT;
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
    /// A receipt may name it, and settle it.
    pub waits_for_echo: bool,
    /// What the campaign wants for messages in doubt.
    pub on_unknown: OnUnknown,
    /// Price of the message, micro-credits, at most what is reserved.
    pub price: i64,
}

impl Case {
    /// Whether what is to be done about it now is to ask the provider, rather than to send it. Once the
    /// look-ups are used up, a campaign that takes the risk has it sent once more.
    pub fn asks(&self) -> bool {
        let resent = self.on_unknown == OnUnknown::Resend && self.attempt == attempts_max(FailureKind::Unknown) + 1;
        self.in_doubt && self.looks_up && !resent
    }

    /// Whether it may be sent again although it may have been accepted.
    fn may_repeat(&self) -> bool {
        self.idempotent || self.on_unknown == OnUnknown::Resend
    }
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
        Answer::Sent { .. } | Answer::Queued { .. } => {
            return (Fate::Final { cost: case.price }, Class::Sent, Sign::Healthy);
        }
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
            (true, false) if case.looks_up => doubtful(case, case.attempt, rng),
            (true, false) => Fate::Unknown(case.may_repeat().then(wait)),
            (true, true) => Fate::Unknown(None),
        },
        FailureKind::Unknown if case.looks_up => doubtful(case, 0, rng),
        FailureKind::Unknown => {
            let for_echo = if case.waits_for_echo && !case.idempotent { ECHO_WAIT } else { Duration::ZERO };
            Fate::Unknown((case.may_repeat() && !spent).then(|| wait().max(for_echo)))
        }
    }
}

/// A message in doubt at a provider that can be asked: it is, for as long as an answer may come. Then the
/// campaign's policy counts: it is sent once more, and asked for as often again, or waits for whoever decides.
fn doubtful(case: Case, unsure: i16, rng: &Rng) -> Fate {
    let most = attempts_max(FailureKind::Unknown);
    Fate::Unknown(match case.attempt {
        // After so many failures it is in doubt only now, and nothing was asked: no policy has it sent blindly.
        last if last == most && !case.in_doubt => {
            (case.on_unknown != OnUnknown::Resend).then(|| look_up_wait(unsure, rng))
        }
        last if last == most => (case.on_unknown == OnUnknown::Resend).then_some(Duration::ZERO),
        last if last >= 2 * most => None,
        _ => Some(look_up_wait(unsure % most, rng)),
    })
}

/// The same for what a look-up found.
pub fn looked_up(finding: &Finding, case: Case, rng: &Rng) -> (Fate, Class, Sign) {
    match finding {
        Finding::Sent { .. } => (Fate::Final { cost: case.price }, Class::Sent, Sign::Healthy),
        // Now it certainly was not accepted, and goes on as any other.
        Finding::Absent => (Fate::Retry(Duration::ZERO), Class::Transient, Sign::Healthy),
        // The first attempt was the message itself.
        Finding::Unsure(_) => (doubtful(case, case.attempt - 1, rng), Class::Unknown, Sign::Healthy),
        // It was not even asked: that says nothing of how long its list lags.
        Finding::Failed(failure) => (doubtful(case, 0, rng), Class::Unknown, sign(failure)),
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

/// Whether it is too late now for a message that expires at `of_message`, of a run that does at `of_run`.
pub fn too_late(of_run: Option<DateTime<Utc>>, of_message: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    of_run.into_iter().chain(of_message).any(|at| at <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Case {
        let on_unknown = OnUnknown::Hold;
        Case {
            attempt: 1,
            in_doubt: false,
            idempotent: false,
            looks_up: false,
            waits_for_echo: false,
            falls_back: false,
            on_unknown,
            price: 7,
        }
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
    fn a_look_up_that_failed_is_made_again_as_soon_as_the_first_one_was() {
        let wait_s = |finding, attempt| {
            let case = Case { looks_up: true, in_doubt: true, attempt, ..case() };
            let (fate, ..) = looked_up(&finding, case, &Rng::seeded(1));
            let Fate::Unknown(Some(wait)) = fate else { panic!("{fate:?}") };
            wait.as_secs()
        };
        let failed = || Finding::Failed(Failure::new(FailureKind::Transient, "503"));
        for attempt in [2, 3, 6] {
            assert!((120..=150).contains(&wait_s(failed(), attempt)), "after attempt {attempt}");
        }
        // What was asked and told nothing is asked less and less often: the message itself was attempt 1.
        assert!((240..=300).contains(&wait_s(Finding::Unsure("x"), 2)));
        assert!((480..=600).contains(&wait_s(Finding::Unsure("x"), 3)));
    }

    /// What follows a message that may have been accepted.
    #[derive(Debug, PartialEq)]
    enum Next {
        Sends {
            after_s: u64,
        },
        Asks,
        /// For a person, or for the write-off.
        Waits,
    }

    fn next(case: Case) -> Next {
        let Fate::Unknown(wait) = fate_of(FailureKind::Unknown, case) else { panic!("{case:?}") };
        let then = Case { attempt: case.attempt + 1, in_doubt: true, ..case };
        match wait {
            None => Next::Waits,
            Some(_) if then.asks() => Next::Asks,
            // Its jitter is less than the least wait.
            Some(wait) => Next::Sends { after_s: if wait < ECHO_WAIT { 0 } else { ECHO_WAIT.as_secs() } },
        }
    }

    #[test]
    fn the_policy_counts_once_nothing_else_can_settle_a_doubt() {
        use OnUnknown::{Hold, Resend, WriteOff};
        let plain = case();
        let keyed = Case { idempotent: true, ..plain };
        let echo = Case { waits_for_echo: true, ..plain };
        let listed = Case { looks_up: true, ..plain };
        let told_nothing = Case { in_doubt: true, ..listed };
        let (soon, later) = (Next::Sends { after_s: 0 }, Next::Sends { after_s: 300 });
        let table = [
            // Who settles it, attempt, then with the policies hold, write-off and resend.
            ("nothing", plain, 1, [&Next::Waits, &Next::Waits, &soon]),
            ("nothing", plain, 8, [&Next::Waits, &Next::Waits, &Next::Waits]),
            ("its key", keyed, 1, [&soon, &soon, &soon]),
            ("its receipt", echo, 1, [&Next::Waits, &Next::Waits, &later]),
            ("its receipt", echo, 7, [&Next::Waits, &Next::Waits, &later]),
            ("look-ups", listed, 1, [&Next::Asks, &Next::Asks, &Next::Asks]),
            ("look-ups", listed, 7, [&Next::Asks, &Next::Asks, &Next::Asks]),
            ("no look-up any more", told_nothing, 8, [&Next::Waits, &Next::Waits, &soon]),
            ("look-ups, of which none was made yet", listed, 8, [&Next::Asks, &Next::Asks, &Next::Waits]),
            ("look-ups of what was sent again", listed, 9, [&Next::Asks, &Next::Asks, &Next::Asks]),
            ("nothing any more", listed, 16, [&Next::Waits, &Next::Waits, &Next::Waits]),
        ];
        for (settles, case, attempt, expected) in table {
            for (on_unknown, expected) in [Hold, WriteOff, Resend].into_iter().zip(expected) {
                let seen = next(Case { attempt, on_unknown, ..case });
                assert_eq!(&seen, expected, "{settles}, attempt {attempt}, {on_unknown}");
            }
        }
    }

    #[test]
    fn nothing_in_doubt_is_sent_again_where_the_campaign_holds_it() {
        use FailureKind::*;
        let every =
            [PermanentRecipient, PermanentContent, Configuration, Throttled, Later, Transient, Unreachable, Unknown];
        for (kind, attempt) in every.into_iter().flat_map(|kind| (1..=60).map(move |attempt| (kind, attempt))) {
            for (in_doubt, looks_up) in [(false, false), (false, true), (true, false), (true, true)] {
                let case = Case { attempt, in_doubt, looks_up, ..case() };
                let then = Case { attempt: attempt + 1, in_doubt: true, ..case };
                let again = match fate_of(kind, case) {
                    Fate::Unknown(wait) => wait.is_some() && !then.asks(),
                    // As it was: in doubt it had to be asked for.
                    Fate::Returned => false,
                    Fate::Retry(_) | Fate::Final { .. } => in_doubt,
                };
                assert!(!again, "{kind:?}: {case:?}");
            }
        }
    }

    #[test]
    fn doubt_outlives_later_failures() {
        let doubtful = Case { in_doubt: true, attempt: 2, on_unknown: OnUnknown::Resend, ..case() };
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
