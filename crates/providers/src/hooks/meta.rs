//! WhatsApp Cloud API: statuses and messages, signed with the app secret.
//!
//! Source: Meta, Cloud API webhooks: payload reference, verification requests, signatures (2026-03).

use fanfare_domain::message::OutMessage;
use fanfare_domain::receipt::{About, Inbound, Meaning, Receipt, ReceiptKind, Words};
use serde_json::Value;
use url::form_urlencoded;

use super::{Deaf, Heard, News, Posted, detail, each, id, json, meaning, phone, signed_sha256, text, unix};

pub(super) fn hear(posted: Posted<'_>) -> Result<Heard, Deaf> {
    if posted.is_get {
        return challenge(posted);
    }
    let key = posted.key.ok_or(Deaf::NoKey)?;
    let header = posted.headers.get("x-hub-signature-256").and_then(|h| h.to_str().ok()).unwrap_or_default();
    let signature = header.strip_prefix("sha256=").ok_or(Deaf::Forged)?;
    if !signed_sha256(key, posted.body, signature) {
        return Err(Deaf::Forged);
    }
    let body = json(posted)?;
    let mut news = News::default();
    for change in each(&body, "entry").flat_map(|entry| each(entry, "changes")) {
        let Some(value) = change.get("value") else { continue };
        news.receipts.extend(each(value, "statuses").filter_map(status));
        news.inbound.extend(each(value, "messages").filter_map(|m| message(posted.words, m)));
        news.inbound.extend(each(value, "user_preferences").filter_map(preference));
    }
    Ok(Heard::News(news))
}

/// The question that is asked when the hook is set up; the secret of the address is the token too.
fn challenge(posted: Posted<'_>) -> Result<Heard, Deaf> {
    let field = |name: &str| {
        form_urlencoded::parse(posted.query.as_bytes()).find(|(key, _)| key == name).map(|(_, v)| v.into_owned())
    };
    match (field("hub.mode").as_deref(), field("hub.verify_token"), field("hub.challenge")) {
        (Some("subscribe"), Some(token), Some(challenge)) if token == posted.secret => Ok(Heard::Challenge(challenge)),
        (Some("subscribe"), ..) => Err(Deaf::Forged),
        _ => Err(Deaf::Malformed("hub.mode, hub.verify_token and hub.challenge are expected")),
    }
}

fn status(status: &Value) -> Option<Receipt> {
    let kind = match text(status, "/status")?.as_str() {
        "sent" => ReceiptKind::Sent,
        "delivered" => ReceiptKind::Delivered,
        "read" | "played" => ReceiptKind::Read,
        "failed" => ReceiptKind::Failed,
        _ => return None,
    };
    let reference = text(status, "/biz_opaque_callback_data").and_then(|r| OutMessage::referred(&r));
    let about = match reference {
        Some((run_id, seq)) => About::Message { run_id, seq },
        None => About::ProviderId(id(status, "/id")?),
    };
    Some(Receipt { about, kind, at: unix(status, "/timestamp"), detail: detail(text(status, "/errors/0/code")) })
}

fn message(words: &Words, message: &Value) -> Option<Inbound> {
    let said = ["/text/body", "/button/text", "/interactive/button_reply/title", "/interactive/list_reply/title"];
    let said = said.iter().find_map(|p| text(message, p)).unwrap_or_default();
    let payload = ["/button/payload", "/interactive/button_reply/id", "/interactive/list_reply/id"];
    let button = detail(payload.iter().find_map(|p| text(message, p)));
    let (meaning, kind) = meaning(words, &said, button.as_deref());
    Some(Inbound {
        provider_id: id(message, "/id")?,
        address: phone(&text(message, "/from")?)?,
        at: unix(message, "/timestamp"),
        meaning,
        about: id(message, "/context/id").map(About::ProviderId),
        answer: (kind, button),
    })
}

/// The recipient's choice about marketing, made in the app.
fn preference(preference: &Value) -> Option<Inbound> {
    let meaning = match (text(preference, "/category")?.as_str(), text(preference, "/value")?.as_str()) {
        ("marketing_messages", "stop") => Meaning::OptOut,
        ("marketing_messages", "resume") => Meaning::OptIn,
        _ => return None,
    };
    let (from, at) = (text(preference, "/wa_id")?, text(preference, "/timestamp")?);
    Some(Inbound {
        // A preference has no id: who chose, what and when is one choice.
        provider_id: format!("preference {from} {} {at}", meaning as i16),
        address: phone(&from)?,
        at: unix(preference, "/timestamp"),
        meaning,
        about: None,
        answer: (ReceiptKind::Interacted, None),
    })
}
