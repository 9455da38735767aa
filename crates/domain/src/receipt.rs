//! What is heard of a message after its acceptance, and what recipients write back.

mod words;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use words::{Words, normal};

/// Which message a report speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// By what of ours the provider echoes.
    Message {
        /// The run.
        run_id: i64,
        /// The message.
        seq: i32,
    },
    /// By the provider's own id.
    ProviderId(String),
}

/// A report of what became of a message, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Which message.
    pub about: About,
    /// What became of it.
    pub kind: ReceiptKind,
    /// When, if the provider says so.
    pub at: Option<DateTime<Utc>>,
    /// Its code of a failure, or the payload of a button.
    pub detail: Option<String>,
}

/// A message from a recipient, as a provider hands it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// The provider's id of it, or something made of its content: it counts once.
    pub provider_id: String,
    /// Who wrote: phone in E.164, or e-mail in lower case.
    pub address: String,
    /// When, if the provider says so.
    pub at: Option<DateTime<Utc>>,
    /// What they mean.
    pub meaning: Meaning,
    /// The message that it answers, if that is said.
    pub about: Option<About>,
    /// What the answer counts as, and the payload of a button.
    pub answer: (ReceiptKind, Option<String>),
}

/// What a provider, or the recipient, reports of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(i16)]
pub enum ReceiptKind {
    /// It left the provider.
    Sent = 1,
    /// It is on the recipient's device.
    Delivered = 2,
    /// The recipient has seen it; so it was delivered.
    Read = 3,
    /// It was accepted, and could not be delivered.
    Failed = 4,
    /// The recipient confirmed.
    Confirmed = 5,
    /// The recipient cancelled.
    Cancelled = 6,
    /// The recipient pressed something else.
    Interacted = 7,
    /// The recipient answered.
    Replied = 8,
}

impl ReceiptKind {
    /// The stored number.
    pub fn as_i16(self) -> i16 {
        self as i16
    }

    /// The kind of a stored number.
    pub fn from_i16(n: i16) -> Option<Self> {
        use ReceiptKind::*;
        [Sent, Delivered, Read, Failed, Confirmed, Cancelled, Interacted, Replied].into_iter().find(|k| *k as i16 == n)
    }

    /// As programs read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
            Self::Interacted => "interacted",
            Self::Replied => "replied",
        }
    }

    /// Whether it comes from the recipient.
    pub fn is_answer(self) -> bool {
        self >= Self::Confirmed
    }
}

/// What a pressed button means: by what its maker called it, since its label is for people.
pub fn of_button(payload: &str) -> ReceiptKind {
    let payload = payload.to_lowercase();
    match () {
        () if payload.starts_with("confirm") => ReceiptKind::Confirmed,
        () if payload.starts_with("cancel") => ReceiptKind::Cancelled,
        () => ReceiptKind::Interacted,
    }
}

/// What a recipient means by what they wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(i16)]
pub enum Meaning {
    /// Something to be read by a person.
    Reply = 1,
    /// A button.
    Button = 2,
    /// Nothing more shall be sent.
    OptOut = 3,
    /// They want to hear from us again.
    OptIn = 4,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_stored_and_read_back() {
        let all: Vec<_> = (1..=8).map(|n| ReceiptKind::from_i16(n).unwrap()).collect();
        assert!(
            all.iter().all(|k| ReceiptKind::from_i16(k.as_i16()) == Some(*k)) && ReceiptKind::from_i16(9).is_none()
        );
        assert_eq!(all.iter().filter(|k| k.is_answer()).count(), 4);
    }
}
