//! What a provider's answer means: the one classification that everything else builds on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::DETAIL_CHARS_MAX;

/// What became of one attempt, as an adapter sees it.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Accepted by the provider.
    Sent {
        /// The provider's id of the message, if it gave one.
        provider_id: Option<String>,
    },
    /// Accepted, and not sent on yet: what becomes of it has to be asked for by this id.
    Queued {
        /// The provider's id of the message.
        provider_id: String,
    },
    /// Not accepted, or not known to be.
    Failed(Failure),
    /// Its time had passed before a connection was there: nothing was sent, and nothing failed.
    NotStarted,
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What it means.
    pub kind: FailureKind,
    /// The provider's code, or the kind of network failure. Never message text or an address.
    pub detail: String,
    /// How long the provider asks us to wait.
    pub retry_after: Option<Duration>,
    /// What is to be done beside that.
    pub action: Option<Action>,
}

/// What a failure asks for beyond its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Others of the run would meet the same: pause it, with the failure's detail as the reason.
    PauseRun,
    /// The recipient does not want to be written to: suppress the address.
    Suppress,
    /// The recipient has not written lately, so words of our own are refused; an approved template is not.
    Fallback,
}

/// What a failure means for the message and for the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// This recipient can never be reached: the message fails.
    PermanentRecipient,
    /// This content is refused: the message fails.
    PermanentContent,
    /// Credentials or settings are wrong: the account stops, the message goes back unharmed.
    Configuration,
    /// Too fast: the account slows down, the message is tried again.
    Throttled,
    /// Not now for this message, and the account is well: only this one waits.
    Later,
    /// Certainly not accepted, and likely to succeed later.
    Transient,
    /// Nothing of the request left this machine: the message goes back without an attempt spent.
    Unreachable,
    /// May have been accepted: never guessed, never silently repeated.
    Unknown,
}

impl Failure {
    /// A failure with its detail cut to [`DETAIL_CHARS_MAX`].
    pub fn new(kind: FailureKind, detail: impl AsRef<str>) -> Self {
        let detail = detail.as_ref().chars().take(DETAIL_CHARS_MAX).collect();
        Self { kind, detail, retry_after: None, action: None }
    }

    /// The same, to be tried again no sooner than after `wait`.
    pub fn after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }
}

/// The class of a stored outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(i16)]
pub enum Class {
    /// Accepted by the provider.
    Sent = 1,
    /// This recipient can never be reached.
    PermanentRecipient = 2,
    /// This content is refused.
    PermanentContent = 3,
    /// Too fast.
    Throttled = 4,
    /// Certainly not accepted.
    Transient = 5,
    /// May have been accepted.
    Unknown = 6,
    /// Not sent: suppressed.
    Suppressed = 7,
    /// Not sent: too late.
    Expired = 8,
    /// In doubt, and given up on.
    WrittenOff = 9,
}

impl Class {
    /// The stored number.
    pub fn as_i16(self) -> i16 {
        self as i16
    }

    /// The class of a stored number.
    pub fn from_i16(n: i16) -> Option<Self> {
        use Class::*;
        [Sent, PermanentRecipient, PermanentContent, Throttled, Transient, Unknown, Suppressed, Expired, WrittenOff]
            .into_iter()
            .find(|c| c.as_i16() == n)
    }
}
