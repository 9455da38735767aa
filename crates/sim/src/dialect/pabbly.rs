//! Pabbly Chatflow: `POST /api/v1/messages`.
//!
//! Its traps: the recipient is a number; the same kind of message names its parts in its own way; success is
//! said in three ways, and the id stands in two places; Meta's codes come inside a text; there is neither a
//! key nor a look-up nor a receipt. Of the day within which recipients must have written it says nothing, yet
//! Meta's rule holds.
//!
//! Source: Pabbly Chatflow API reference v1 (2026).

use serde_json::{Value, json};

use super::{Dialect, Message, Read, Refusal, Trouble, json, templates, text};
use crate::provider::Answer;
use crate::wire::Parts;

pub(super) struct Pabbly;

/// Most templates in a page of their list.
const PAGE_MAX: usize = 4;
/// The kinds of message, and what each must have.
const TYPES: [(&str, &[&str]); 6] = [
    ("text", &["/message"]),
    ("image", &["/link"]),
    ("video", &["/link"]),
    ("audio", &["/link"]),
    ("document", &["/link"]),
    ("template", &["/templateName"]),
];

/// The kinds of interactive message, and what each must have.
const INTERACTIVE: [(&str, &[&str]); 7] = [
    ("single_product", &["/bodyText", "/action/catalogId", "/action/productRetailerId"]),
    (
        "product_list",
        &["/header", "/body", "/action/catalogId", "/sections/0/title", "/sections/0/products/0/productRetailerId"],
    ),
    ("catalog_message", &["/bodyText"]),
    ("list", &["/bodyText", "/buttonText", "/sections/0/title", "/sections/0/rows/0/title"]),
    ("cta_url", &["/message", "/buttons/0/title", "/buttons/0/url"]),
    ("address_message", &["/bodyText", "/isoCountryCode"]),
    ("location_request_message", &["/bodyText"]),
];

impl Dialect for Pabbly {
    fn base(&self) -> &'static str {
        "/api/v1"
    }

    fn read<'a>(&self, parts: &Parts<'a>) -> Read<'a> {
        if parts.bearer().is_none_or(str::is_empty) {
            return Read::Other(self.refusal(Refusal::Credential));
        }
        match (parts.method, parts.path()) {
            ("POST", "/api/v1/messages") => {}
            ("GET", "/api/v1/templates") => return Read::Other(listed(parts.query())),
            _ => return Read::Other(failure("404 Not Found", "The resource does not exist")),
        }
        let Some(body) = json(parts) else { return Read::Malformed("The body is not JSON") };
        let Some(to) = body.get("to").and_then(Value::as_u64).filter(|to| *to > 0) else {
            return Read::Malformed("to is required and must be an integer");
        };
        if let Some(why) = wrong(&body) {
            return Read::Malformed(why);
        }
        let to = format!("+{to}");
        let id = Message::named(&[&to, &body.to_string()]);
        let free_form = text(&body, "/type").as_deref() != Some("template");
        Read::Message(Message { id, to: to.into(), text: None, reference: None, free_form })
    }

    fn provider_id(&self, index: usize) -> String {
        format!("wamid.SIM{:08}", index + 1)
    }

    fn accepted(&self, provider_id: &str, message: &Message<'_>) -> Answer {
        let to = message.to.trim_start_matches('+');
        let messages = json!([{ "id": provider_id, "message_status": "accepted" }]);
        let contacts = json!([{ "input": to, "wa_id": to }]);
        let nested = json!({
            "to": to,
            "chatId": "67923764346bcdc800000000",
            "metaResponse": {
                "messaging_product": "whatsapp", "contacts": contacts, "messages": messages, "status": 200,
            },
        });
        let body = match provider_id.as_bytes().last() {
            Some(b'0'..=b'4') => json!({ "status": "success", "message": "Message sent", "data": nested }),
            Some(b'5'..=b'7') => json!({ "success": true, "message": "Message sent", "data": nested }),
            _ => {
                let data = json!({
                    "messaging_product": "whatsapp", "contacts": contacts, "messages": messages, "code": 200,
                });
                json!({ "success": "true", "data": data })
            }
        };
        Answer::new("200 OK", body.to_string())
    }

    fn template_refused(&self, why: Trouble) -> Answer {
        match why {
            Trouble::Missing => failure("404 Not Found", "The template does not exist"),
            Trouble::Paused => failure("400 Bad Request", "(#132015) Template is paused"),
            Trouble::Parameters => failure("400 Bad Request", "(#132000) Number of parameters does not match"),
        }
    }

    fn refusal(&self, why: Refusal) -> Answer {
        match why {
            Refusal::Credential => failure("401 Unauthorized", "Invalid API credentials"),
            Refusal::Malformed(why) => failure("400 Bad Request", why),
            Refusal::TooFast(_) => failure("429 Too Many Requests", "Too many requests"),
            Refusal::Unavailable(_) => failure("503 Service Unavailable", "Try again later"),
            Refusal::Recipient => failure("400 Bad Request", "(#131026) Message undeliverable"),
            Refusal::Window => failure("400 Bad Request", "(#131047) Re-engagement message"),
            Refusal::Broken => failure("500 Internal Server Error", "Something went wrong"),
        }
    }
}

fn failure(status: &'static str, error: &str) -> Answer {
    Answer::new(status, json!({ "success": false, "error": error }).to_string())
}

/// A page of the templates.
fn listed(query: &str) -> Answer {
    let asked = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.parse::<usize>().ok());
    // Few, so that whoever reads one page misses some.
    let (limit, number) = (asked("limit=").unwrap_or(50).clamp(1, PAGE_MAX), asked("page=").unwrap_or(1).max(1));
    let all = templates::all();
    let from = ((number - 1) * limit).min(all.len());
    let to = (from + limit).min(all.len());
    let pagination = json!({
        "totalTemplates": all.len(), "totalPages": all.len().div_ceil(limit), "currentPage": number, "limit": limit,
        "hasNextPage": to < all.len(), "hasPrevPage": from > 0,
    });
    let data = json!({ "templates": all[from..to], "pagination": pagination });
    let body = json!({ "status": "success", "message": "Templates fetched successfully", "data": data });
    Answer::new("200 OK", body.to_string())
}

/// What is wrong with a message.
fn wrong(body: &Value) -> Option<&'static str> {
    let Some(kind) = text(body, "/type") else { return Some("type is required") };
    let (kinds, kind): (&[(&str, &[&str])], String) = match kind.as_str() {
        "interactive" => (&INTERACTIVE, text(body, "/interactiveType").unwrap_or_default()),
        _ => (&TYPES, kind),
    };
    let Some((_, required)) = kinds.iter().find(|(name, _)| *name == kind) else {
        return Some("There is no such type of message");
    };
    if required.iter().any(|pointer| text(body, pointer).is_none()) {
        return Some("A required field is missing");
    }
    let lists = ["bodyParams", "headerParams", "urlVariables", "quickReplies"];
    if lists.iter().any(|list| body.get(list).is_some_and(|value| !value.is_array())) {
        return Some("Parameters must be arrays");
    }
    let cards = |list: &str| body.get(list).map(|cards| cards.as_array().map_or(0, Vec::len));
    match (cards("carouselBodies"), cards("carouselFileData")) {
        (None, None) => None,
        (Some(bodies), Some(files)) if bodies == files && (2..=10).contains(&files) => None,
        _ => Some("A carousel has 2 to 10 cards, each with a body and a file"),
    }
}
