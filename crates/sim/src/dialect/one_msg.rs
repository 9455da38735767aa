//! 1MSG.IO: `POST /{instance}/{method}?token=…`.
//!
//! Its traps: the token stands in the query; the phone is a number; most failures are HTTP 200 with
//! `sent:false`; so is the answer for a message that waits in the queue and goes out later, which has a
//! `jobId`; ids come in three forms; there is neither a key nor a look-up; who
//! has not written within a day may be sent templates only.
//!
//! Source: 1MSG.IO, WhatsApp Business API documentation 2.39; its SDK's notes on failures (2026-08).

use std::borrow::Cow;

use serde_json::{Value, json};
use url::form_urlencoded;

use super::{Dialect, Message, Read, Refusal, Trouble, json, templates, text};
use crate::provider::Answer;
use crate::receipts::{Post, Receipt, Status, Target};
use crate::wire::Parts;

pub(super) struct OneMsg;

/// The send methods, and the fields that each must have.
const METHODS: [(&str, &[&str]); 10] = [
    ("sendTemplate", &["template", "language"]),
    ("sendMessage", &["body"]),
    ("sendFile", &["body", "filename"]),
    ("sendButton", &["body", "sections"]),
    ("sendList", &["body", "action", "sections"]),
    ("sendLocation", &["lat", "lng"]),
    ("sendContact", &["contacts"]),
    ("sendLocationRequest", &["body"]),
    ("sendProduct", &["action"]),
    ("sendFlow", &["body", "flowId", "flowToken", "flowCta"]),
];

impl Dialect for OneMsg {
    fn base(&self) -> &'static str {
        ""
    }

    fn credential<'a>(&self, parts: &Parts<'a>) -> Option<Cow<'a, str>> {
        form_urlencoded::parse(parts.query().as_bytes()).find(|(name, _)| name == "token").map(|(_, token)| token)
    }

    fn read<'a>(&self, parts: &Parts<'a>) -> Read<'a> {
        if self.credential(parts).is_none_or(|token| token.is_empty()) {
            return Read::Other(self.refusal(Refusal::Credential));
        }
        let path: Vec<&str> = parts.path().trim_matches('/').split('/').collect();
        let method = match (parts.method, path.as_slice()) {
            ("POST", [_, method]) => *method,
            ("GET", [_, "status"]) => return Read::Other(Answer::new("200 OK", r#"{"status":"connected"}"#)),
            ("GET", [_, "templates"]) => {
                let all = templates::all();
                let body = json!({ "total": all.len(), "templates": all });
                return Read::Other(Answer::new("200 OK", body.to_string()));
            }
            _ => return Read::Malformed("no such method"),
        };
        let Some((_, required)) = METHODS.iter().find(|(name, _)| *name == method) else {
            return Read::Malformed("no such method");
        };
        let Some(mut body) = json(parts) else { return Read::Malformed("the body is no JSON") };
        if required.iter().any(|field| body.get(field).is_none_or(|f| f.is_null() || *f == "")) {
            return Read::Malformed("a required field is missing");
        }
        if let Some(why) = wrong(method, &body) {
            return Read::Malformed(why);
        }
        let to = match (body.get("phone").and_then(Value::as_u64), body.get("chatId")) {
            (Some(phone), None) => format!("+{phone}"),
            _ => return Read::Malformed("either phone, an integer, or chatId is required"),
        };
        body["phone"] = Value::Null;
        let id = Message::named(&[&to, method, &body.to_string()]);
        Read::Message(Message { id, to: to.into(), text: None, reference: None, free_form: method != "sendTemplate" })
    }

    fn provider_id(&self, index: usize) -> String {
        let number = index + 1;
        match index % 3 {
            0 => format!("gBGGSIM{number:08}"),
            1 => format!("wamid.SIM{number:08}"),
            _ => format!("0XzkSIM{number:08}"),
        }
    }

    fn receipt(&self, r: &Receipt, at_us: i64, _: &Target, _: &str) -> Option<Post> {
        let status = if r.status == Status::Read { "viewed" } else { r.status.as_str() };
        let chat = format!("{}@c.us", r.to.trim_start_matches('+'));
        let ack = json!({ "id": r.provider_id, "chatId": chat, "status": status, "timestamp": at_us / 1_000_000 });
        Some(Post::json(&json!({ "ack": [ack], "instanceId": "SIM1" })))
    }

    fn accepted(&self, provider_id: &str, message: &Message<'_>) -> Answer {
        let body = json!({
            "sent": true,
            "id": provider_id,
            "message": format!("Sent to {}@c.us", message.to.trim_start_matches('+')),
            "description": "Message has been sent to the provider",
        });
        Answer::new("200 OK", body.to_string())
    }

    fn accepted_broken(&self) -> Answer {
        Answer::new("200 OK", r#"{"sent":false,"jobId":"77","message":"Message has been added to the queue"}"#)
    }

    fn template_refused(&self, why: Trouble) -> Answer {
        let message = match why {
            Trouble::Missing => "template is not defined",
            Trouble::Paused => "(#132015) Template is paused",
            Trouble::Parameters => "(#132000) Number of parameters does not match the expected number of params",
        };
        Answer::new("200 OK", json!({ "sent": false, "message": message }).to_string())
    }

    fn refusal(&self, why: Refusal) -> Answer {
        let unsent =
            |status, message: &str| Answer::new(status, json!({ "sent": false, "message": message }).to_string());
        match why {
            Refusal::Credential => Answer::new("401 Unauthorized", r#"{"error":"Wrong token"}"#),
            Refusal::Malformed(why) => unsent("400 Bad Request", why),
            Refusal::TooFast(_) => Answer::new("429 Too Many Requests", "Too many requests"),
            Refusal::Unavailable(_) => Answer::new("503 Service Unavailable", "Service unavailable"),
            Refusal::Recipient => unsent("200 OK", "(#131026) Message undeliverable"),
            Refusal::Window => unsent("200 OK", "Re-engagement message: the dialog window is closed"),
            Refusal::Broken => Answer::new("500 Internal Server Error", "Internal Server Error"),
        }
    }
}

/// What is wrong with the fields of a method.
fn wrong(method: &str, body: &Value) -> Option<&'static str> {
    let many =
        |pointer: &str, most: usize| body.pointer(pointer)?.as_array().map(|all| (1..=most).contains(&all.len()));
    let fits = match method {
        "sendTemplate" => {
            let policy = text(body, "/language/policy").as_deref() == Some("deterministic");
            policy && text(body, "/language/code").is_some() && parts_fit(body.get("params"))
        }
        "sendButton" => many("/sections", 3) == Some(true),
        "sendList" => many("/sections", 10) == Some(true),
        "sendContact" => text(body, "/contacts/0/name/formatted_name").is_some(),
        "sendLocation" => body["lat"].is_string() && body["lng"].is_string(),
        "sendProduct" => {
            let one = text(body, "/action/product_retailer_id").is_some();
            text(body, "/action/catalog_id").is_some() && (one || text(body, "/header").is_some())
        }
        "sendFlow" => body["flowAction"] != "navigate" || text(body, "/flowActionPayload/screen").is_some(),
        _ => true,
    };
    (!fits).then_some("a field has the wrong form")
}

/// Whether the parts of a template are such as there are.
fn parts_fit(params: Option<&Value>) -> bool {
    let Some(params) = params else { return true };
    params.as_array().is_some_and(|parts| {
        parts.iter().all(|part| match part["type"].as_str() {
            Some("header" | "body" | "footer" | "button" | "limited_time_offer") => part["parameters"].is_array(),
            Some("CAROUSEL") => part["cards"].as_array().is_some_and(|cards| (2..=10).contains(&cards.len())),
            _ => false,
        })
    })
}
