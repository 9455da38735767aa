//! 1app Grow v1: `POST /api/v1/messages/…`.
//!
//! Its traps: 422 is a bad request as well as a failed send, which alone has an id; a repeated key gets
//! the first record back; what to wait stands in the body. One message in eight is answered as `queued`,
//! and one in four of those fails: `GET /api/v1/messages/{id}` tells, or, late, that it is queued still.
//!
//! Source: 1app Grow REST API v1.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Dialect, Listed, Message, Read, Refusal, json, text};
use crate::provider::Answer;
use crate::wire::Parts;

pub(super) struct Grow;

const RECORDS: &str = "/api/v1/messages/";
/// Longest SMS, characters.
const SMS_CHARS_MAX: usize = 320;
/// One record in so many is queued at first, and one in so many fails after that.
const QUEUED: u64 = 8;
const FAILED: u64 = 32;
/// Longest one-time code, characters.
const CODE_CHARS_MAX: usize = 15;

impl Dialect for Grow {
    fn base(&self) -> &'static str {
        "/api/v1"
    }

    fn honours_keys(&self) -> bool {
        true
    }

    fn read<'a>(&self, parts: &Parts<'a>) -> Read<'a> {
        let needed: &[&str] = match (parts.method, parts.path()) {
            ("POST", "/api/v1/messages/whatsapp") => &["/template"],
            ("POST", "/api/v1/messages/whatsapp/otp" | "/api/v1/messages/sms/otp") => &["/code"],
            ("POST", "/api/v1/messages/sms") => &["/body"],
            ("POST", "/api/v1/messages/email") => &["/subject", "/html"],
            ("GET", "/api/v1/whatsapp-numbers") => {
                let numbers = json!({ "data": [{ "id": 1, "phone": "+2348012345678" }] });
                return Read::Other(Answer::new("200 OK", numbers.to_string()));
            }
            ("GET", path) if path.starts_with(RECORDS) => {
                let id: Option<usize> = path.strip_prefix(RECORDS).and_then(|id| id.parse().ok());
                return Read::Record(id.unwrap_or(0).wrapping_sub(1));
            }
            _ => return Read::Other(Answer::new("404 Not Found", r#"{"error":"Resource not found."}"#)),
        };
        let Some(body) = json(parts) else { return Read::Malformed("body") };
        let Some(to) = text(&body, "/to") else { return Read::Malformed("to") };
        if parts.path().ends_with("/email") != to.contains('@') || to.starts_with('+') == to.contains('@') {
            return Read::Malformed("to");
        }
        if needed.iter().any(|field| text(&body, field).is_none()) {
            return Read::Malformed("required");
        }
        let longer = |field, most| text(&body, field).is_some_and(|text| text.chars().count() > most);
        if longer("/code", CODE_CHARS_MAX) || parts.path().ends_with("/sms") && longer("/body", SMS_CHARS_MAX) {
            return Read::Malformed("length");
        }
        if body.get("from").is_some() && body.get("whatsapp_number_id").is_some() {
            return Read::Malformed("from");
        }
        let key = parts.key.map(str::to_owned).or_else(|| text(&body, "/idempotency_key"));
        let id = key.map(|key| Uuid::parse_str(&key).unwrap_or_else(|_| Message::named(&[&key])));
        let said = || Message::named(&[parts.path(), &body.to_string()]);
        Read::Message(Message {
            id: id.unwrap_or_else(said),
            to: to.into(),
            text: None,
            reference: None,
            free_form: false,
        })
    }

    fn provider_id(&self, index: usize) -> String {
        (index + 1).to_string()
    }

    fn accepted(&self, provider_id: &str, message: &Message<'_>) -> Answer {
        let id: u64 = provider_id.parse().unwrap_or_default();
        let status = if id.is_multiple_of(QUEUED) { "queued" } else { "sent" };
        Answer::new("201 Created", record(id, &message.to, status).to_string())
    }

    fn listed(&self, found: &[Listed]) -> Answer {
        let Some(found) = found.first() else {
            return Answer::new("404 Not Found", r#"{"error":"Resource not found."}"#);
        };
        let id: u64 = found.provider_id.parse().unwrap_or_default();
        let status = match found.late {
            true if id.is_multiple_of(QUEUED) => "queued",
            _ if id.is_multiple_of(FAILED) => "failed",
            _ => "sent",
        };
        let mut record = record(id, &found.to, status);
        record["idempotency_key"] = found.id.to_string().into();
        record["error"] = (status == "failed").then(|| format!("(#131026) {} cannot be reached", found.to)).into();
        Answer::new("200 OK", record.to_string())
    }

    fn refusal(&self, why: Refusal) -> Answer {
        let (status, body) = match why {
            Refusal::Credential => (
                "401 Unauthorized",
                json!({ "error": "Authentication required. Provide a valid API token: Authorization: Bearer {token}" }),
            ),
            Refusal::Malformed(field) => (
                "422 Unprocessable Entity",
                json!({ "error": "The given data was invalid.", "errors": { field: ["The field is invalid."] } }),
            ),
            Refusal::TooFast(seconds) => (
                "429 Too Many Requests",
                match seconds {
                    Some(seconds) => json!({ "error": "Too many requests.", "retry_after_seconds": seconds }),
                    None => json!({ "error": "Too many requests." }),
                },
            ),
            // Nothing is free-form here, so no window is ever closed.
            Refusal::Recipient | Refusal::Window => (
                "422 Unprocessable Entity",
                json!({ "error": "The given data was invalid.", "errors": { "to": ["The to field is invalid."] } }),
            ),
            Refusal::Unavailable(seconds) => {
                return Answer::new("503 Service Unavailable", r#"{"error":"Service unavailable."}"#).after(seconds);
            }
            Refusal::Broken => ("500 Internal Server Error", json!({ "error": "Server error." })),
        };
        Answer::new(status, body.to_string())
    }
}

fn record(id: u64, to: &str, status: &str) -> Value {
    let channel = if to.contains('@') { "email" } else { "whatsapp" };
    let mut record = json!({ "id": id, "channel": channel, "to": to, "status": status });
    if status == "sent" {
        record["provider_message_id"] = format!("wamid.SIM{id}").into();
        record["sent_at"] = "2026-06-05T12:00:00+00:00".into();
    }
    record
}
