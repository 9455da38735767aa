//! A mail server: how it words its replies. What it reads stands in [`crate::smtp`].
//!
//! A reply's code is the status of an answer, its text the body.
//!
//! Source: RFC 5321 §4.2, RFC 3463.

use super::{Dialect, Message, Read, Refusal};
use crate::provider::Answer;
use crate::wire::Parts;

pub(super) struct Smtp;

impl Dialect for Smtp {
    fn scheme(&self) -> &'static str {
        "smtp"
    }

    fn base(&self) -> &'static str {
        ""
    }

    fn read<'a>(&self, _: &Parts<'a>) -> Read<'a> {
        Read::Malformed("a mail server speaks no HTTP")
    }

    fn accepted(&self, provider_id: &str, _: &Message<'_>) -> Answer {
        Answer::new("250", format!("2.0.0 Ok: queued as {provider_id}"))
    }

    fn refusal(&self, why: Refusal) -> Answer {
        match why {
            Refusal::Credential => Answer::new("535", "5.7.8 Authentication credentials invalid"),
            Refusal::Malformed(why) => Answer::new("554", format!("5.6.0 {why}")),
            Refusal::TooFast(None) => Answer::new("451", "4.7.0 Slow down"),
            Refusal::TooFast(Some(_)) => Answer::new("421", "4.7.0 Slow down, closing"),
            Refusal::Unavailable(_) => Answer::new("421", "4.3.2 Not accepting mail now, closing"),
            // Nothing is free-form here, so no window is ever closed.
            Refusal::Recipient | Refusal::Window => Answer::new("550", "5.1.1 No such mailbox"),
            Refusal::Broken => Answer::new("554", "5.3.0 Transaction failed"),
        }
    }
}
