//! OneSystem: events by name. What stands in them the documents do not say, so ids and phones are looked
//! for where such interfaces have them.
//!
//! Source: OneSystem (WaveX) API, webhooks: the list of events.

use fanfare_domain::receipt::{About, Inbound, Receipt, ReceiptKind, Words};
use serde_json::Value;

use super::{Deaf, Heard, News, Posted, id, json, phone, text};

pub(super) fn hear(posted: Posted<'_>) -> Result<Heard, Deaf> {
    let body = json(posted)?;
    let event = text(&body, "/event").or_else(|| text(&body, "/type")).ok_or(Deaf::Malformed("event is missing"))?;
    let data = body.get("data").or_else(|| body.get("payload")).unwrap_or(&body);
    let mut news = News::default();
    let kind = match event.as_str() {
        "message.sent" => Some(ReceiptKind::Sent),
        "message.delivered" => Some(ReceiptKind::Delivered),
        "message.read" => Some(ReceiptKind::Read),
        "message.failed" => Some(ReceiptKind::Failed),
        _ => None,
    };
    let found = ["/id", "/message_id", "/message/id"].iter().find_map(|p| id(data, p));
    if let (Some(kind), Some(id)) = (kind, &found) {
        news.receipts.push(Receipt { about: About::ProviderId(id.clone()), kind, at: None, detail: None });
    }
    if event == "message.received" {
        news.inbound.extend(received(posted.words, data, found));
    }
    Ok(Heard::News(news))
}

fn received(words: &Words, data: &Value, id: Option<String>) -> Option<Inbound> {
    let from = ["/from", "/phone", "/message/from"].iter().find_map(|p| text(data, p))?;
    let said = ["/message", "/body", "/text", "/message/body"].iter().find_map(|p| text(data, p)).unwrap_or_default();
    Some(Inbound {
        provider_id: id?,
        address: phone(from.split('@').next()?)?,
        at: None,
        meaning: words.meaning(&said),
        about: None,
        answer: (ReceiptKind::Replied, None),
    })
}
