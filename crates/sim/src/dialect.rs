//! The interfaces that a simulator can speak: one module each, written from the provider's documents and
//! without a look at the adapters.

mod grow;
mod http;
mod meta;
mod one_confirmed;
mod one_msg;
mod one_system;
mod pabbly;
mod smtp;
mod templates;
mod twilio;

use std::borrow::Cow;
use std::str::FromStr;

use serde_json::Value;
use uuid::Uuid;

use crate::ConfigError;
use crate::provider::Answer;
use crate::receipts::{Post, Receipt, Target};
use crate::wire::Parts;

/// An interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// The generic one.
    #[default]
    Http,
    /// 1Confirmed.
    OneConfirmed,
    /// 1app Grow.
    Grow,
    /// OneSystem.
    OneSystem,
    /// 1MSG.IO.
    OneMsg,
    /// Pabbly Chatflow.
    Pabbly,
    /// WhatsApp Cloud API.
    Meta,
    /// Twilio Messaging.
    Twilio,
    /// A mail server.
    Smtp,
}

impl Kind {
    /// All of them, by name.
    pub const ALL: &[(&str, Self)] = &[
        ("http", Self::Http),
        ("one_confirmed", Self::OneConfirmed),
        ("one_msg", Self::OneMsg),
        ("pabbly", Self::Pabbly),
        ("grow", Self::Grow),
        ("one_system", Self::OneSystem),
        ("meta", Self::Meta),
        ("twilio", Self::Twilio),
        ("smtp", Self::Smtp),
    ];

    pub(crate) fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::Http => &http::Http,
            Self::OneConfirmed => &one_confirmed::OneConfirmed,
            Self::Grow => &grow::Grow,
            Self::OneSystem => &one_system::OneSystem,
            Self::OneMsg => &one_msg::OneMsg,
            Self::Pabbly => &pabbly::Pabbly,
            Self::Meta => &meta::Meta,
            Self::Twilio => &twilio::Twilio,
            Self::Smtp => &smtp::Smtp,
        }
    }
}

impl FromStr for Kind {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        let known = || Self::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let found = Self::ALL.iter().find(|(n, _)| *n == name).map(|(_, kind)| *kind);
        found.ok_or_else(|| ConfigError::new("kind", name, format!("one of {}", known())))
    }
}

/// How an interface reads requests and words its answers.
pub(crate) trait Dialect: Sync {
    /// Scheme of the base URL: what is spoken at the messages' port.
    fn scheme(&self) -> &'static str {
        "http"
    }

    /// Path of the base URL.
    fn base(&self) -> &'static str;

    /// Whether a request to the messages' port is the interface's own; the rest are questions to the judge.
    fn is_own(&self, _method: &str, target: &str) -> bool {
        !["/stats", "/accepted", "/control", "/reset"].iter().any(|own| target.starts_with(own))
    }

    /// The credential of a request: each is an account of its own.
    fn credential<'a>(&self, parts: &Parts<'a>) -> Option<Cow<'a, str>> {
        parts.bearer().map(Cow::Borrowed)
    }

    /// Whether a repeated idempotency key gets the first result.
    fn honours_keys(&self) -> bool {
        false
    }

    /// What a request wants.
    fn read<'a>(&self, parts: &Parts<'a>) -> Read<'a>;

    /// The id given to the acceptance with this index.
    fn provider_id(&self, index: usize) -> String {
        format!("sim-{}", index + 1)
    }

    /// How an acceptance is worded.
    fn accepted(&self, provider_id: &str, message: &Message<'_>) -> Answer;

    /// How a refusal is worded.
    fn refusal(&self, why: Refusal) -> Answer;

    /// How a refusal of a template is worded; of an interface without templates, like any other.
    fn template_refused(&self, _why: Trouble) -> Answer {
        self.refusal(Refusal::Malformed("template"))
    }

    /// How a receipt is worded; `None` of an interface that posts none.
    fn receipt(&self, _receipt: &Receipt, _at_us: i64, _to: &Target, _key: &str) -> Option<Post> {
        None
    }

    /// Where a message with this reference has its receipts posted, if it says so itself.
    fn callback(&self, _reference: &str) -> Option<Target> {
        None
    }

    /// What is said when something breaks after an acceptance.
    fn accepted_broken(&self) -> Answer {
        self.refusal(Refusal::Broken)
    }

    /// The answer to a question: what was accepted that it asks for.
    fn listed(&self, _found: &[Listed]) -> Answer {
        self.refusal(Refusal::Malformed("no such call"))
    }
}

/// What a request wants.
pub(crate) enum Read<'a> {
    /// To send a message.
    Message(Message<'a>),
    /// To know what was accepted for this address.
    ListTo(String),
    /// To know what became of the acceptance with this index.
    Record(usize),
    /// Something else, with its answer.
    Other(Answer),
    /// Nothing that the interface knows; says what is wrong.
    Malformed(&'static str),
}

/// A message, as the interface reads it.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    /// By which the judge knows it: our id or reference where the interface carries one, else made of what
    /// is said to whom.
    pub id: Uuid,
    /// Its address.
    pub to: Cow<'a, str>,
    /// What a list of messages shows of it, where there is such a list.
    pub text: Option<String>,
    /// What of the sender's the interface echoes in its receipts, or has them posted by.
    pub reference: Option<String>,
    /// Whether it may be sent only to those who wrote within a day.
    pub free_form: bool,
}

impl Message<'_> {
    /// The id of a message whose interface carries none of ours.
    pub fn named(parts: &[&str]) -> Uuid {
        Uuid::new_v5(&Uuid::NAMESPACE_OID, parts.join("\u{1f}").as_bytes())
    }
}

/// An acceptance, as a list of messages shows it.
#[derive(Debug)]
pub(crate) struct Listed {
    pub id: Uuid,
    pub provider_id: String,
    pub to: String,
    pub text: String,
    pub at_us: i64,
    /// Whether the record is behind what has happened.
    pub late: bool,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Another credential is expected.
    Credential,
    /// It cannot be read; says why.
    Malformed(&'static str),
    /// Too fast; perhaps after so many seconds.
    TooFast(Option<i64>),
    /// Try later, after so many seconds.
    Unavailable(i64),
    /// The recipient cannot be reached.
    Recipient,
    /// The recipient has not written within a day, and what is said is free-form.
    Window,
    /// Something broke.
    Broken,
}

/// What is the matter with a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// There is none of this name and language.
    Missing,
    /// It was paused for its quality.
    Paused,
    /// It takes another number of parameters.
    Parameters,
}

/// The body as JSON.
pub(crate) fn json(parts: &Parts<'_>) -> Option<Value> {
    serde_json::from_slice(parts.body).ok()
}

/// A text at a JSON pointer; numbers are written out.
pub(crate) fn text(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
