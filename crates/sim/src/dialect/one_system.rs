//! OneSystem (WaveX): `POST /api/v1/sessions/{id}/messages/{kind}`.
//!
//! Its traps: no key, no reference, an address without a plus; what it answers is not documented, and
//! here half of the successes have an id and half say `queued` alone; the list of messages is the only
//! way to know; 403 is a refused URL.
//!
//! Source: OneSystem WhatsApp API v1.

use chrono::DateTime;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{Dialect, Listed, Message, Read, Refusal, Trouble, json, text};
use crate::provider::Answer;
use crate::receipts::{Post, Receipt, Target};
use crate::wire::Parts;

pub(super) struct OneSystem;

/// Most messages in a page.
const PAGE_MAX: usize = 100;

impl Dialect for OneSystem {
    fn base(&self) -> &'static str {
        "/api/v1"
    }

    fn read<'a>(&self, parts: &Parts<'a>) -> Read<'a> {
        let path: Vec<&str> = parts.path().trim_matches('/').split('/').collect();
        let needed: &[&str] = match (parts.method, path.as_slice()) {
            ("GET", ["api", "v1", "sessions", _, "status"]) => {
                return Read::Other(Answer::new("200 OK", r#"{"success":true,"data":{"status":"connected"}}"#));
            }
            ("GET", ["api", "v1", "templates"]) => {
                let templates = json!([
                    { "id": 5, "name": "hello", "content": "Hello {{name}}", "category": "marketing" },
                    { "id": 6, "name": "code", "content": "{{code}} is your code, {{ name }}", "category": "otp" },
                ]);
                return Read::Other(Answer::new("200 OK", json!({ "data": templates, "total": 2 }).to_string()));
            }
            // Who has an even number is there.
            ("GET", ["api", "v1", "contacts", phone, "check"]) if is_digits(phone) => {
                let exists = phone.ends_with(['0', '2', '4', '6', '8']);
                let body = json!({ "success": true, "data": { "phone": phone, "exists": exists } });
                return Read::Other(Answer::new("200 OK", body.to_string()));
            }
            ("GET", ["api", "v1", "sessions", _, "messages"]) => {
                let to = form_urlencoded::parse(parts.query().as_bytes()).find(|(key, _)| key == "to");
                return to.map_or(Read::Malformed("to"), |(_, to)| Read::ListTo(to.into_owned()));
            }
            ("POST", ["api", "v1", "sessions", _, "messages", kind]) => match *kind {
                "text" => &["/message"],
                "image" => &[],
                "video" => &[],
                "audio" => &[],
                "document" => &[],
                "location" => &["/latitude", "/longitude"],
                "contact" => &["/contact_name", "/contact_phone"],
                _ => return Read::Other(not_found()),
            },
            ("POST", ["api", "v1", "templates", id, "send"]) if is_digits(id) => &["/session_id"],
            _ => return Read::Other(not_found()),
        };
        let Some(body) = json(parts) else { return Read::Malformed("body") };
        let Some(to) = text(&body, "/to").filter(|to| is_digits(to)) else { return Read::Malformed("to") };
        let media = path.last().filter(|kind| ["image", "video", "audio", "document"].contains(kind));
        let sources = media.map(|kind| ["url", "base64"].map(|how| text(&body, &format!("/{kind}_{how}")).is_some()));
        let sourced = sources.is_none_or(|[url, bytes]| url != bytes);
        if !sourced || needed.iter().any(|field| text(&body, field).is_none()) {
            return Read::Malformed("required");
        }
        let url = ["/image_url", "/video_url", "/audio_url", "/document_url"].iter().find_map(|p| text(&body, p));
        if url.is_some_and(|url| url.contains("//10.") || url.contains("//localhost")) {
            let refused = json!({ "error": "security_violation", "message": "Restricted URL detected" });
            return Read::Other(Answer::new("403 Forbidden", refused.to_string()));
        }
        let said = text(&body, "/message").unwrap_or_else(|| format!("{} {body}", parts.path()));
        Read::Message(Message {
            id: Message::named(&[&to, &said]),
            to: to.into(),
            text: Some(said),
            reference: None,
            free_form: false,
        })
    }

    fn receipt(&self, r: &Receipt, _: i64, _: &Target, _: &str) -> Option<Post> {
        let event = format!("message.{}", r.status.as_str());
        Some(Post::json(&json!({ "event": event, "data": { "id": r.provider_id, "to": r.to } })))
    }

    fn accepted(&self, provider_id: &str, _: &Message<'_>) -> Answer {
        let body = match provider_id.ends_with(['0', '2', '4', '6', '8']) {
            true => json!({ "success": true, "data": { "id": provider_id, "status": "queued" } }),
            false => json!({ "success": true, "status": "queued" }),
        };
        Answer::new("200 OK", body.to_string())
    }

    fn template_refused(&self, why: Trouble) -> Answer {
        match why {
            Trouble::Missing | Trouble::Paused => not_found(),
            Trouble::Parameters => self.refusal(Refusal::Malformed("variables")),
        }
    }

    fn refusal(&self, why: Refusal) -> Answer {
        let (status, body) = match why {
            Refusal::Credential => ("401 Unauthorized", json!({ "error": "Unauthenticated" })),
            Refusal::Malformed(field) => {
                ("422 Unprocessable Entity", json!({ "error": "validation_failed", "errors": { field: ["invalid"] } }))
            }
            // No reset is said.
            Refusal::TooFast(_) => ("429 Too Many Requests", json!({ "error": "rate_limit_exceeded" })),
            // Nothing is free-form here, so no window is ever closed.
            Refusal::Recipient | Refusal::Window => {
                ("422 Unprocessable Entity", json!({ "error": "validation_failed", "errors": { "to": ["invalid"] } }))
            }
            Refusal::Unavailable(_) => return Answer::new("503 Service Unavailable", "<html>try later</html>"),
            Refusal::Broken => ("500 Internal Server Error", json!({ "error": "server_error", "message": "oops" })),
        };
        Answer::new(status, body.to_string())
    }

    /// Newest first, as one page.
    fn listed(&self, found: &[Listed]) -> Answer {
        let entry = |listed: &Listed| {
            let at = DateTime::from_timestamp_micros(listed.at_us).unwrap_or_default();
            json!({
                "id": listed.provider_id, "to": listed.to, "message": listed.text, "status": "sent",
                "created_at": at.to_rfc3339(),
            })
        };
        let page: Vec<Value> = found.iter().rev().take(PAGE_MAX).map(entry).collect();
        let meta =
            json!({ "per_page": PAGE_MAX, "total": found.len(), "last_page": found.len().div_ceil(PAGE_MAX).max(1) });
        Answer::new("200 OK", json!({ "data": page, "meta": meta }).to_string())
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn not_found() -> Answer {
    Answer::new("404 Not Found", r#"{"error":"not_found"}"#)
}
