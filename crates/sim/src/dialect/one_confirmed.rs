//! 1Confirmed: `POST /api/v1/login`, `POST /api/v1/messages`, `POST /api/v1/confirmation/listeners`.
//!
//! Its traps: a token has to be fetched, and a login with a second factor (here any e-mail that begins
//! with `2fa`) succeeds without one; some refusals are HTTP 200; an address has no plus; there is neither
//! a key nor a look-up; nothing is reported but confirmations, one by everybody who reads. What stands in them
//! is not documented: here it is the message's id, and the contact as the list shows it. The token of a
//! login is here `jwt-` and the password.
//!
//! Source: 1Confirmed API documentation.

use std::borrow::Cow;

use serde_json::json;

use super::{Dialect, Message, Read, Refusal, Trouble, json, text};
use crate::provider::Answer;
use crate::receipts::{Post, Receipt, Status, Target};
use crate::wire::Parts;

pub(super) struct OneConfirmed;

const LOGIN: &str = "/api/v1/login";

impl Dialect for OneConfirmed {
    fn base(&self) -> &'static str {
        "/api/v1"
    }

    /// The password, or the token that it brought.
    fn credential<'a>(&self, parts: &Parts<'a>) -> Option<Cow<'a, str>> {
        if parts.path() == LOGIN {
            return text(&json(parts)?, "/password").map(Cow::Owned);
        }
        let token = parts.bearer()?;
        Some(Cow::Borrowed(token.strip_prefix("jwt-").unwrap_or(token)))
    }

    fn read<'a>(&self, parts: &Parts<'a>) -> Read<'a> {
        match (parts.method, parts.path()) {
            ("POST", LOGIN) => {
                let body = json(parts).unwrap_or_default();
                let (email, password) = (text(&body, "/email"), text(&body, "/password"));
                let (Some(email), Some(password)) = (email, password) else { return Read::Malformed("email") };
                return Read::Other(logged_in(&email, &password));
            }
            ("GET", "/api/v1/credits") => {
                let credit = json!({ "success": true, "data": { "id": 1, "credit": 150 }, "message": "Credit" });
                return Read::Other(Answer::new("200 OK", credit.to_string()));
            }
            ("POST", "/api/v1/confirmation/listeners") => {
                let Some(url) = json(parts).as_ref().and_then(|body| text(body, "/target_url")) else {
                    return Read::Malformed("target_url");
                };
                let data = json!({ "target_url": url, "active": 1, "updated_at": "2026-04-12 01:00:00" });
                let listener = json!({ "success": true, "data": data, "message": "Success" });
                return Read::Other(Answer::new("200 OK", listener.to_string()));
            }
            ("GET", "/api/v1/languages") => {
                return found(json!([{ "id": 1, "language": "Français" }, { "id": 3, "language": "English" }]));
            }
            ("GET", "/api/v1/categories") => {
                return found(json!([{ "id": 1, "name": "Marketing" }, { "id": 2, "name": "Transactional" }]));
            }
            ("GET", "/api/v1/templates") => {
                let template = |id: u32, name: &str, variables: &str, has_file: bool| {
                    json!({
                        "id": id, "name": name, "display_name": name.replace('_', " "), "variables": variables,
                        "has_file": has_file, "has_flow_form": false, "is_carousel": false, "category_id": 1,
                    })
                };
                let name = r#"[{"name":"Client Name","variable":"name"}]"#;
                return match parts.query().split('&').find_map(|pair| pair.strip_prefix("language_id=")) {
                    Some("3") => found(json!([
                        template(12, "welcome_message", name, false),
                        template(13, "invoice", name, true)
                    ])),
                    Some(_) => found(json!([template(14, "bienvenue", "[]", false)])),
                    None => Read::Malformed("language_id"),
                };
            }
            ("POST", "/api/v1/messages") => {}
            _ => return Read::Other(Answer::new("404 Not Found", r#"{"message":"Not found"}"#)),
        }
        let Some(body) = json(parts) else { return Read::Malformed("template_id") };
        if !body["template_id"].is_u64() {
            return Read::Malformed("template_id");
        }
        if text(&body, "/name").is_none() {
            return Read::Malformed("name");
        }
        match text(&body, "/phone") {
            Some(to) if to.bytes().all(|b| b.is_ascii_digit()) => {
                let said = format!("{} {}", body["template_id"], body["data"]);
                Read::Message(Message {
                    id: Message::named(&[&to, &said]),
                    to: to.into(),
                    text: None,
                    reference: None,
                    free_form: false,
                })
            }
            _ => Read::Malformed("phone"),
        }
    }

    fn receipt(&self, r: &Receipt, _: i64, _: &Target, _: &str) -> Option<Post> {
        if r.status != Status::Read {
            return None;
        }
        let contact = json!({ "id": 1024, "phone": r.to, "confirmed": true, "canceled": false });
        Some(Post::json(&json!({ "message_id": r.provider_id, "contact": contact })))
    }

    fn provider_id(&self, index: usize) -> String {
        format!("wamid.SIM{:08}", index + 1)
    }

    fn accepted(&self, provider_id: &str, message: &Message<'_>) -> Answer {
        let body = json!({
            "data": {
                "messaging_product": "whatsapp",
                "contacts": [{ "input": message.to, "wa_id": message.to }],
                "messages": [{ "id": provider_id }],
            },
            "message": "Message has been sent successfully",
        });
        Answer::new("200 OK", body.to_string())
    }

    fn template_refused(&self, why: Trouble) -> Answer {
        self.refusal(Refusal::Malformed(match why {
            Trouble::Missing | Trouble::Paused => "template_id",
            Trouble::Parameters => "data",
        }))
    }

    fn refusal(&self, why: Refusal) -> Answer {
        let invalid = |field: &str| {
            let body = json!({ "message": "The given data was invalid.", "errors": { field: ["It is invalid."] } });
            Answer::new("422 Unprocessable Entity", body.to_string())
        };
        match why {
            Refusal::Credential => Answer::new("401 Unauthorized", r#"{"message":"Unauthenticated."}"#),
            Refusal::Malformed(field) => invalid(field),
            // Nothing is free-form here, so no window is ever closed.
            Refusal::Recipient | Refusal::Window => invalid("phone"),
            Refusal::TooFast(None) => Answer::new("429 Too Many Requests", r#"{"message":"Too Many Attempts."}"#),
            Refusal::TooFast(Some(seconds)) => {
                Answer::new("429 Too Many Requests", r#"{"message":"Too Many Attempts."}"#).after(seconds)
            }
            Refusal::Unavailable(_) => Answer::new("503 Service Unavailable", r#"{"message":"Service Unavailable"}"#),
            Refusal::Broken => Answer::new("500 Internal Server Error", r#"{"message":"Server Error"}"#),
        }
    }
}

/// What was asked for.
fn found<'a>(data: serde_json::Value) -> Read<'a> {
    let body = json!({ "success": true, "data": data, "message": "Retrieved" });
    Read::Other(Answer::new("200 OK", body.to_string()))
}

fn logged_in(email: &str, password: &str) -> Answer {
    let body = if email.starts_with("2fa") {
        let what = "Two-Factor Authentication is enabled. Please provide your 2FA code.";
        json!({ "success": true, "data": { "user_id": 1, "two_factor_verified": true }, "message": what })
    } else {
        let data = json!({ "id": 1, "email": email, "two_factor_enabled": false, "token": format!("jwt-{password}") });
        json!({ "success": true, "data": data, "message": "User Retrieved Successfully" })
    };
    Answer::new("200 OK", body.to_string())
}
