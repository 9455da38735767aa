//! What is handed to a provider.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::content::Content;

/// How a message reaches a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// WhatsApp.
    Whatsapp = 1,
    /// SMS.
    Sms = 2,
    /// E-mail.
    Email = 3,
}

impl Channel {
    /// The channel of a stored number.
    pub fn from_i16(n: i16) -> Option<Self> {
        [Self::Whatsapp, Self::Sms, Self::Email].into_iter().find(|c| *c as i16 == n)
    }

    /// As written on the command line and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whatsapp => "whatsapp",
            Self::Sms => "sms",
            Self::Email => "email",
        }
    }

    /// Whether its addresses are phones (else e-mails).
    pub fn by_phone(self) -> bool {
        self != Self::Email
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Channel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Whatsapp, Self::Sms, Self::Email]
            .into_iter()
            .find(|c| c.as_str() == text)
            .ok_or_else(|| format!("channel {text:?} is none of whatsapp, sms, email"))
    }
}

/// One message, complete: what an adapter turns into a request.
#[derive(Debug, Clone, PartialEq)]
pub struct OutMessage {
    /// The same at every attempt; the idempotency key.
    pub id: Uuid,
    /// Phone in E.164, or e-mail.
    pub to: String,
    /// The sender, where the account names one.
    pub from: Option<String>,
    /// By which channel.
    pub channel: Channel,
    /// What is said.
    pub content: Content,
    /// Name of the campaign, for the provider's own reports.
    pub campaign: String,
    /// The run.
    pub run_id: i64,
    /// Its number in the run.
    pub seq: i32,
    /// Number of this attempt, from 1.
    pub attempt: i16,
}

impl OutMessage {
    /// What a provider's receipt can name it by, where the provider echoes something of ours: run and seq.
    pub fn reference(&self) -> String {
        format!("{}.{}", self.run_id, self.seq)
    }

    /// Run and seq of a reference.
    pub fn referred(reference: &str) -> Option<(i64, i32)> {
        let (run_id, seq) = reference.split_once('.')?;
        Some((run_id.parse().ok()?, seq.parse().ok().filter(|seq| *seq >= 0)?))
    }
}
