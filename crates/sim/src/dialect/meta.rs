//! The WhatsApp Cloud API: `POST /{version}/{phone_number_id}/messages`.
//!
//! Its traps: throttling is HTTP 400; what an error means is said by its code alone; `to` needs its plus;
//! there is neither a key nor a look-up; who has not written within a day may be sent templates only.
//!
//! Source: Meta, Cloud API reference: messages, error codes (2026-03).

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use uuid::Uuid;

use super::{Dialect, Message, Read, Refusal, Trouble, json, templates, text};
use crate::provider::Answer;
use crate::receipts::{Post, Receipt, Target};
use crate::wire::Parts;

pub(super) struct Meta;

const MEDIA_TYPES: [&str; 4] = ["image", "video", "audio", "document"];
/// How every id of a file begins.
const MEDIA: &str = "1037";
/// The business account of every number.
const BUSINESS: &str = "102290129340398";
/// Templates in a page of their list.
const PAGE: usize = 4;
const TYPES: [&str; 9] =
    ["text", "image", "video", "audio", "document", "location", "contacts", "interactive", "template"];

impl Dialect for Meta {
    fn base(&self) -> &'static str {
        ""
    }

    fn read<'a>(&self, parts: &Parts<'a>) -> Read<'a> {
        let path: Vec<&str> = parts.path().trim_matches('/').split('/').collect();
        match (parts.method, path.as_slice()) {
            ("POST", [version, number, "messages"]) if version.starts_with('v') && is_number(number) => {}
            ("GET", [version, number]) if version.starts_with('v') && is_number(number) => {
                let entities = json!([
                    { "entity_type": "PHONE_NUMBER", "id": number, "can_send_message": "AVAILABLE" },
                    { "entity_type": "WABA", "id": BUSINESS, "can_send_message": "AVAILABLE" },
                ]);
                let number = json!({
                    "display_phone_number": "+1 555 0100", "quality_rating": "GREEN", "id": number,
                    "health_status": { "can_send_message": "AVAILABLE", "entities": entities },
                });
                return Read::Other(Answer::new("200 OK", number.to_string()));
            }
            ("POST", [_, number, "media"]) if is_number(number) => return kept(parts.body),
            ("GET", [_, BUSINESS, "message_templates"]) => return Read::Other(listed(parts.query())),
            _ => return Read::Malformed("Unsupported request"),
        }
        let Some(body) = json(parts) else { return Read::Malformed("Invalid JSON") };
        let kind = text(&body, "/type").unwrap_or_default();
        if text(&body, "/messaging_product").as_deref() != Some("whatsapp") {
            return Read::Malformed("The parameter messaging_product is required");
        }
        if !TYPES.contains(&kind.as_str()) || body.get(&kind).is_none() {
            return Read::Malformed("The parameter type is not one of the types, or its object is missing");
        }
        if !files_known(&kind, &body[&kind]) {
            return Read::Malformed("Param image['id'] is not a valid whatsapp business account media attachment ID");
        }
        match text(&body, "/to") {
            Some(to) if to.starts_with('+') => {
                let reference = text(&body, "/biz_opaque_callback_data");
                let said = body[&kind].to_string();
                let id = reference.as_ref().map_or_else(|| Message::named(&[&to, &said]), |r| Message::named(&[r]));
                Read::Message(Message { id, to: to.into(), text: None, reference, free_form: kind != "template" })
            }
            // A real one would write to a number in the business's own country.
            Some(_) => Read::Malformed("The parameter to has no plus"),
            None => Read::Malformed("The parameter to is required"),
        }
    }

    fn provider_id(&self, index: usize) -> String {
        format!("wamid.SIM{:08}", index + 1)
    }

    fn accepted(&self, provider_id: &str, message: &Message<'_>) -> Answer {
        let body = json!({
            "messaging_product": "whatsapp",
            "contacts": [{ "input": message.to, "wa_id": message.to.trim_start_matches('+') }],
            "messages": [{ "id": provider_id }],
        });
        Answer::new("200 OK", body.to_string())
    }

    fn receipt(&self, r: &Receipt, at_us: i64, _: &Target, key: &str) -> Option<Post> {
        let status = json!({
            "id": r.provider_id, "status": r.status.as_str(), "timestamp": (at_us / 1_000_000).to_string(),
            "recipient_id": r.to.trim_start_matches('+'), "biz_opaque_callback_data": r.reference,
        });
        let value = json!({
            "messaging_product": "whatsapp", "statuses": [status],
            "metadata": { "display_phone_number": "15550100", "phone_number_id": "106540352242922" },
        });
        let change = json!({ "field": "messages", "value": value });
        let body = json!({ "object": "whatsapp_business_account", "entry": [{ "id": "WABA", "changes": [change] }] });
        let post = Post::json(&body);
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?;
        mac.update(post.body.as_bytes());
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        Some(Post { signature: Some(("x-hub-signature-256", signature)), ..post })
    }

    fn template_refused(&self, why: Trouble) -> Answer {
        match why {
            Trouble::Missing => failure("404 Not Found", 132_001, "Template name does not exist in the translation"),
            Trouble::Paused => failure("400 Bad Request", 132_015, "Template is paused"),
            Trouble::Parameters => failure("400 Bad Request", 132_000, "Number of parameters does not match"),
        }
    }

    fn refusal(&self, why: Refusal) -> Answer {
        let (status, code, message) = match why {
            Refusal::Credential => ("401 Unauthorized", 190, "Error validating access token"),
            Refusal::Malformed(why) => ("400 Bad Request", 100, why),
            // Throttling is 400 here, and no Retry-After is said.
            Refusal::TooFast(_) => ("400 Bad Request", 130_429, "Rate limit hit"),
            Refusal::Unavailable(_) => ("503 Service Unavailable", 131_016, "Service unavailable"),
            Refusal::Recipient => ("400 Bad Request", 131_026, "Message undeliverable"),
            Refusal::Window => ("400 Bad Request", 131_047, "Re-engagement message"),
            // A proxy in front of the API knows no codes.
            Refusal::Broken => return Answer::new("500 Internal Server Error", "<html>oops</html>"),
        };
        failure(status, code, message)
    }
}

/// A file that is handed over: its id is made of what it is, so that it is known by its looks.
fn kept<'a>(body: &[u8]) -> Read<'a> {
    let holds = |words: &str| body.windows(words.len()).any(|part| part == words.as_bytes());
    if !holds("name=\"messaging_product\"\r\n\r\nwhatsapp") || !holds("name=\"file\"; filename=") {
        return Read::Malformed("The parameter file is required");
    }
    let number = Uuid::new_v5(&Uuid::NAMESPACE_OID, body).as_u64_pair().0 % 1_000_000_000;
    Read::Other(Answer::new("200 OK", json!({ "id": format!("{MEDIA}{number:09}") }).to_string()))
}

/// Whether the files that a message names by ids were given out here.
fn files_known(kind: &str, said: &Value) -> bool {
    let known = |media: &Value| text(media, "/id").is_none_or(|id| id.starts_with(MEDIA));
    let own = !MEDIA_TYPES.contains(&kind) || known(said);
    let within = match said {
        Value::Object(fields) => fields.iter().all(|(key, value)| files_known(key, value)),
        Value::Array(items) => items.iter().all(|item| files_known("", item)),
        _ => true,
    };
    own && within
}

/// A Graph error.
fn failure(status: &'static str, code: u32, message: &str) -> Answer {
    let error = json!({ "error": {
        "message": format!("(#{code}) {message}"), "type": "OAuthException", "code": code,
        "error_data": { "messaging_product": "whatsapp", "details": message }, "fbtrace_id": "Asim",
    }});
    Answer::new(status, error.to_string())
}

/// A page of the templates: few, whatever limit is asked for, so that whoever reads one page misses some.
fn listed(query: &str) -> Answer {
    let after = query.split('&').find_map(|pair| pair.strip_prefix("after=")).and_then(|after| after.parse().ok());
    let from: usize = after.unwrap_or(0);
    let all = templates::all();
    let to = (from + PAGE).min(all.len());
    let mut page = json!({ "data": all.get(from..to).unwrap_or_default(), "paging": { "cursors": { "before": from.to_string(), "after": to.to_string() } } });
    if to < all.len() {
        page["paging"]["next"] = json!(format!("https://graph.facebook.com/{BUSINESS}/message_templates?after={to}"));
    }
    Answer::new("200 OK", page.to_string())
}

fn is_number(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit())
}
