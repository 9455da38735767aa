//! 1MSG: acknowledgements and messages. Nothing is signed: the secret in the address is all there is.
//!
//! Source: 1MSG.IO 2.39, webhook; the words of an ack come from the vendor's own client.

use fanfare_domain::receipt::{About, Inbound, Receipt, ReceiptKind, Words};
use serde_json::Value;

use super::{Deaf, Heard, News, Posted, each, id, json, phone, text, unix};

pub(super) fn hear(posted: Posted<'_>) -> Result<Heard, Deaf> {
    let body = json(posted)?;
    let receipts = each(&body, "ack").filter_map(ack).collect();
    let inbound = each(&body, "messages").filter_map(|m| message(posted.words, m)).collect();
    Ok(Heard::News(News { receipts, inbound }))
}

fn ack(ack: &Value) -> Option<Receipt> {
    let kind = match text(ack, "/status")?.as_str() {
        "sent" => ReceiptKind::Sent,
        "delivered" => ReceiptKind::Delivered,
        "viewed" | "read" => ReceiptKind::Read,
        "failed" | "error" => ReceiptKind::Failed,
        _ => return None,
    };
    Some(Receipt { about: About::ProviderId(id(ack, "/id")?), kind, at: unix(ack, "/timestamp"), detail: None })
}

fn message(words: &Words, message: &Value) -> Option<Inbound> {
    let own = |key: &str| message.get(key).is_some_and(|v| v.as_bool() == Some(true) || v.as_i64() == Some(1));
    if own("fromMe") || own("self") {
        return None;
    }
    let from = text(message, "/author").or_else(|| text(message, "/chatId"))?;
    let meaning = words.meaning(&text(message, "/body").unwrap_or_default());
    Some(Inbound {
        provider_id: id(message, "/id")?,
        address: phone(from.split('@').next()?)?,
        at: unix(message, "/time"),
        meaning,
        about: id(message, "/quotedMsgId").map(About::ProviderId),
        answer: (ReceiptKind::Replied, None),
    })
}
