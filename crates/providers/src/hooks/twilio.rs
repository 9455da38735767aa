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

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use fanfare_domain::receipt::Words;
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use hyper::HeaderMap;
    use sha1::Sha1;

    use super::*;

    const URL: &str = "https://fanfare.example.com/hooks/1/s3cret";
    const STATUS: &str = "MessageSid=SM1&MessageStatus=delivered&To=%2B213555123456";

    /// Hears a status callback signed over `signed`, which came to `url`.
    fn heard(url: &str, signed: &str) -> Result<Heard, Deaf> {
        let mut mac = Hmac::<Sha1>::new_from_slice(b"t0ken").unwrap();
        mac.update(signed.as_bytes());
        mac.update(b"MessageSidSM1MessageStatusdeliveredTo+213555123456");
        let mut headers = HeaderMap::new();
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        headers.insert("x-twilio-signature", signature.parse().unwrap());
        hear(Posted {
            is_get: false,
            url,
            query: url.split_once('?').map_or("", |(_, query)| query),
            headers: &headers,
            body: STATUS.as_bytes(),
            workspace_id: 1,
            words: &Words::default(),
            secret: "s3cret",
            key: None,
            account_secret: Some("t0ken"),
        })
    }

    fn about(heard: Result<Heard, Deaf>) -> Option<About> {
        match heard.unwrap() {
            Heard::News(mut news) => news.receipts.pop().map(|receipt| receipt.about),
            Heard::Challenge(_) => None,
        }
    }

    #[test]
    fn the_query_names_the_message_and_is_signed_with_the_address() {
        let url = format!("{URL}?ref=7340861934283749120.17");
        let message = About::Message { run_id: 7_340_861_934_283_749_120, seq: 17 };
        assert_eq!(about(heard(&url, &url)), Some(message));
        assert_eq!(about(heard(URL, URL)), Some(About::ProviderId("SM1".to_owned())), "as entered in the console");
        let other = format!("{URL}?ref=7340861934283749120.18");
        assert_eq!(heard(&other, &url), Err(Deaf::Forged), "another message than was signed");
        assert_eq!(heard(&url, URL), Err(Deaf::Forged), "the address without its query");
    }

    /// The example of Twilio's own documents, whose address has a query.
    #[test]
    fn the_documented_signature_is_taken() {
        let text = "https://mycompany.com/myapp.php?foo=1&bar=2CallSidCA1234567890ABCDECaller+14158675309Digits1234\
                    From+14158675309To+18005551212";
        assert!(signed_sha1("12345", text, "RSOYDt4T1cUTdK1PDd93/VVr8B8="));
    }
}
