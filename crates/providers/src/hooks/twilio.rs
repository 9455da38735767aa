//! Twilio: status callbacks and incoming messages, as signed forms.
//!
//! Source: Twilio, Messaging webhooks, status callbacks, webhook security (2026-04).

use std::collections::BTreeMap;

use fanfare_domain::limits::PROVIDER_ID_BYTES_MAX;
use fanfare_domain::message::OutMessage;
use fanfare_domain::receipt::{About, Inbound, Meaning, Receipt, ReceiptKind};
use url::form_urlencoded;

use super::{Deaf, Heard, News, Posted, detail, phone, signed_sha1};

/// What we add to a callback's address to be told which message it speaks of.
const REFERENCE: &str = "ref";

pub(super) fn hear(posted: Posted<'_>) -> Result<Heard, Deaf> {
    let form: BTreeMap<String, String> = form_urlencoded::parse(posted.body).into_owned().collect();
    let key = posted.key.or(posted.account_secret).ok_or(Deaf::NoKey)?;
    let signature = posted.headers.get("x-twilio-signature").and_then(|h| h.to_str().ok()).ok_or(Deaf::Forged)?;
    // The address, then every field by name, each with its value.
    let mut text = posted.url.to_owned();
    form.iter().for_each(|(key, value)| text.extend([key.as_str(), value.as_str()]));
    if !signed_sha1(key, &text, signature) {
        return Err(Deaf::Forged);
    }
    let sound = |v: &&String| !v.is_empty() && v.len() <= PROVIDER_ID_BYTES_MAX && !v.contains('\0');
    let field = |name: &str| form.get(name).filter(sound).cloned();
    let sid = field("MessageSid").or_else(|| field("SmsSid")).ok_or(Deaf::Malformed("MessageSid is missing"))?;
    let mut news = News::default();
    if let (Some(from), Some(body)) = (field("From"), form.get("Body")) {
        let meaning = match field("OptOutType").as_deref() {
            Some("STOP") => Meaning::OptOut,
            Some("START") => Meaning::OptIn,
            _ => posted.words.meaning(body),
        };
        let address = phone(&from).ok_or(Deaf::Malformed("From is not a phone"))?;
        let answer = (ReceiptKind::Replied, None);
        news.inbound.push(Inbound { provider_id: sid, address, at: None, meaning, about: None, answer });
        return Ok(Heard::News(news));
    }
    let kind = match field("MessageStatus").or_else(|| field("SmsStatus")).as_deref() {
        Some("sent") => ReceiptKind::Sent,
        Some("delivered") => ReceiptKind::Delivered,
        Some("read") => ReceiptKind::Read,
        Some("undelivered" | "failed") => ReceiptKind::Failed,
        _ => return Ok(Heard::News(news)),
    };
    let reference = form_urlencoded::parse(posted.query.as_bytes()).find(|(key, _)| key == REFERENCE);
    let about = match reference.and_then(|(_, r)| OutMessage::referred(&r)) {
        Some((run_id, seq)) => About::Message { run_id, seq },
        None => About::ProviderId(sid),
    };
    news.receipts.push(Receipt { about, kind, at: None, detail: detail(field("ErrorCode")) });
    Ok(Heard::News(news))
}
