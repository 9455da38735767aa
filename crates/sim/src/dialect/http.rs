//! The generic interface: `POST /send`.

use std::borrow::Cow;

use chrono::DateTime;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use uuid::Uuid;

use super::{Dialect, Message, Read, Refusal};
use crate::provider::Answer;
use crate::receipts::{Post, Receipt, Target};
use crate::wire::Parts;

pub(super) struct Http;

/// A message, as this interface reads it. Fields it does not know are refused: the format is agreed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    /// Its id, which is also the idempotency key.
    id: Uuid,
    #[serde(borrow)]
    to: Cow<'a, str>,
    #[serde(borrow)]
    channel: Cow<'a, str>,
    text: Option<IgnoredAny>,
    template: Option<IgnoredAny>,
    #[serde(default)]
    content: Option<IgnoredAny>,
    #[serde(rename = "params")]
    _params: Vec<IgnoredAny>,
    #[serde(rename = "from")]
    _from: Option<IgnoredAny>,
    #[serde(default, rename = "subject")]
    _subject: Option<IgnoredAny>,
    #[serde(default, rename = "language")]
    _language: Option<IgnoredAny>,
    #[serde(borrow, rename = "campaign")]
    _campaign: Cow<'a, str>,
    #[serde(borrow, rename = "run")]
    _run: Cow<'a, str>,
}

impl Dialect for Http {
    fn base(&self) -> &'static str {
        "/send"
    }

    fn is_own(&self, method: &str, target: &str) -> bool {
        (method, target) == ("POST", "/send")
    }

    fn honours_keys(&self) -> bool {
        true
    }

    fn read<'a>(&self, parts: &Parts<'a>) -> Read<'a> {
        let Ok(body) = serde_json::from_slice::<Body<'a>>(parts.body) else {
            return Read::Malformed("the body is not a message");
        };
        let said = [body.text.is_some(), body.template.is_some(), body.content.is_some()];
        if parts.key.and_then(|k| Uuid::parse_str(k).ok()) != Some(body.id) {
            Read::Malformed("the idempotency key is not the message's id")
        } else if !["whatsapp", "sms", "email"].contains(&&*body.channel) || body.to.is_empty() {
            Read::Malformed("channel or address")
        } else if said.into_iter().filter(|s| *s).count() != 1 {
            Read::Malformed("a message has either a text, a template or a content")
        } else {
            Read::Message(Message { id: body.id, to: body.to, text: None, reference: None, free_form: false })
        }
    }

    fn accepted(&self, provider_id: &str, _: &Message<'_>) -> Answer {
        Answer::new("200 OK", format!(r#"{{"id":"{provider_id}"}}"#))
    }

    fn receipt(&self, r: &Receipt, at_us: i64, _: &Target, _: &str) -> Option<Post> {
        let at = DateTime::from_timestamp_micros(at_us)?.to_rfc3339();
        Some(Post::json(&json!({ "id": r.id, "provider_id": r.provider_id, "status": r.status.as_str(), "at": at })))
    }

    fn refusal(&self, why: Refusal) -> Answer {
        let refused = |status, code: &str, message: &str| {
            Answer::new(status, format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#))
        };
        let too_fast = || refused("429 Too Many Requests", "rate_limited", "slow down");
        match why {
            Refusal::Credential => refused("401 Unauthorized", "bad_token", "another secret is expected"),
            Refusal::Malformed(why) => refused("400 Bad Request", "malformed", why),
            Refusal::TooFast(None) => too_fast(),
            Refusal::TooFast(Some(seconds)) => too_fast().after(seconds),
            Refusal::Unavailable(seconds) => {
                refused("503 Service Unavailable", "unavailable", "try later").after(seconds)
            }
            // Nothing is free-form here, so no window is ever closed.
            Refusal::Recipient | Refusal::Window => {
                refused("400 Bad Request", "invalid_recipient", "no such recipient")
            }
            Refusal::Broken => refused("500 Internal Server Error", "internal", "something broke"),
        }
    }
}
