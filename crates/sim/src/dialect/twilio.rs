//! Twilio Messaging: `POST /2010-04-01/Accounts/{sid}/Messages.json`, and the list at the same path.
//!
//! A message that names a StatusCallback has its receipts posted there, and nowhere else.
//!
//! Its traps: forms instead of JSON, a plus that must be encoded, no key, no Retry-After, a message that is
//! listed without a date of sending while it waits, and 5xx of which nobody can say whether it was taken.
//!
//! Source: Twilio, Messaging API: Message resource, error dictionary (2026-04).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;

use super::{Dialect, Listed, Message, Read, Refusal};
use crate::provider::Answer;
use crate::receipts::{Post, Receipt, Target};
use crate::wire::Parts;

pub(super) struct Twilio;

/// Most messages in a page of the list.
const PAGE: usize = 50;
const BODY_CHARS_MAX: usize = 1600;

impl Dialect for Twilio {
    fn base(&self) -> &'static str {
        ""
    }

    fn credential<'a>(&self, parts: &Parts<'a>) -> Option<Cow<'a, str>> {
        let basic = STANDARD.decode(parts.authorization?.strip_prefix("Basic ")?).ok()?;
        let (_, secret) = String::from_utf8(basic).ok()?.split_once(':').map(|(u, s)| (u.to_owned(), s.to_owned()))?;
        Some(Cow::Owned(secret))
    }

    fn read<'a>(&self, parts: &Parts<'a>) -> Read<'a> {
        let path: Vec<&str> = parts.path().trim_matches('/').split('/').collect();
        match (parts.method, path.as_slice()) {
            ("POST", ["2010-04-01", "Accounts", _, "Messages.json"]) => message(parts.body),
            ("GET", ["2010-04-01", "Accounts", _, "Messages.json"]) => {
                match field(&form(parts.query().as_bytes()), "To") {
                    Some(to) => Read::ListTo(to),
                    None => Read::Other(self.listed(&[])),
                }
            }
            ("GET", ["2010-04-01", "Accounts", account, "Balance.json"]) => {
                let body = json!({ "account_sid": account, "balance": "12.34", "currency": "USD" });
                Read::Other(Answer::new("200 OK", body.to_string()))
            }
            ("GET", ["2010-04-01", "Accounts", account]) if account.ends_with(".json") => {
                let body = json!({ "friendly_name": "Simulated", "status": "active", "type": "Full" });
                Read::Other(Answer::new("200 OK", body.to_string()))
            }
            _ => Read::Malformed("20404 The requested resource was not found"),
        }
    }

    fn provider_id(&self, index: usize) -> String {
        format!("SM{:032x}", index + 1)
    }

    fn accepted(&self, provider_id: &str, message: &Message<'_>) -> Answer {
        let text = message.text.as_deref().unwrap_or_default();
        Answer::new("201 Created", resource(provider_id, &message.to, text, None).to_string())
    }

    fn refusal(&self, why: Refusal) -> Answer {
        let (status, code, message) = match why {
            Refusal::Credential => ("401 Unauthorized", "20003", "Authenticate"),
            Refusal::Malformed(why) => {
                let (code, message) = why.split_once(' ').unwrap_or(("20001", why));
                ("400 Bad Request", code, message)
            }
            Refusal::TooFast(_) => ("429 Too Many Requests", "20429", "Too many requests"),
            Refusal::Unavailable(_) => ("503 Service Unavailable", "20503", "Service unavailable"),
            // Nothing is free-form here, so no window is ever closed.
            Refusal::Recipient | Refusal::Window => {
                ("400 Bad Request", "21211", "The 'To' number is not a valid phone number")
            }
            Refusal::Broken => ("500 Internal Server Error", "20500", "An internal server error has occurred"),
        };
        let (number, status_number): (u32, u32) = (code.parse().unwrap_or(0), status[..3].parse().unwrap_or(0));
        let info = format!("https://www.twilio.com/docs/errors/{code}");
        let body = json!({ "code": number, "message": message, "more_info": info, "status": status_number });
        Answer::new(status, body.to_string())
    }

    fn receipt(&self, r: &Receipt, _: i64, to: &Target, key: &str) -> Option<Post> {
        // In the order of their names, as they are signed.
        let fields =
            [("MessageSid", r.provider_id.as_str()), ("MessageStatus", r.status.as_str()), ("To", r.to.as_str())];
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).ok()?;
        mac.update(to.url().as_bytes());
        fields.iter().for_each(|(name, value)| {
            mac.update(name.as_bytes());
            mac.update(value.as_bytes());
        });
        let signature = Some(("x-twilio-signature", STANDARD.encode(mac.finalize().into_bytes())));
        Some(Post { content_type: "application/x-www-form-urlencoded", signature, body })
    }

    fn callback(&self, reference: &str) -> Option<Target> {
        reference.parse().ok()
    }

    fn listed(&self, found: &[Listed]) -> Answer {
        let newest_first = found.iter().rev().take(PAGE);
        let messages: Vec<Value> =
            newest_first.map(|m| resource(&m.provider_id, &m.to, &m.text, Some(m.at_us))).collect();
        let next = (found.len() > PAGE).then_some("/2010-04-01/Accounts/AC/Messages.json?Page=1");
        let body = json!({ "messages": messages, "next_page_uri": next, "page": 0, "page_size": PAGE });
        Answer::new("200 OK", body.to_string())
    }
}

/// A form that sends a message.
fn message<'a>(body: &[u8]) -> Read<'a> {
    let form = form(body);
    let (to, text, media) = (field(&form, "To"), field(&form, "Body"), field(&form, "MediaUrl"));
    let senders = [field(&form, "From"), field(&form, "MessagingServiceSid")];
    let Some(to) = to else { return Read::Malformed("21604 A 'To' phone number is required") };
    if !to.strip_prefix('+').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit())) {
        return Read::Malformed("21211 The 'To' number is not a valid phone number");
    }
    if senders.iter().flatten().count() != 1 {
        return Read::Malformed("21603 A 'From' phone number is required");
    }
    match (text.as_deref(), &media) {
        (None, None) => return Read::Malformed("21602 Message body is required"),
        (Some(text), _) if text.chars().count() > BODY_CHARS_MAX => {
            return Read::Malformed("21617 The message body exceeds the 1600 character limit");
        }
        _ => {}
    }
    let text = text.unwrap_or_default();
    let id = Message::named(&[&to, &text, media.as_deref().unwrap_or_default()]);
    // What the list shows of it: how many pictures, in one digit, and the text.
    let listed = format!("{}{text}", u8::from(media.is_some()));
    let callback = field(&form, "StatusCallback");
    if callback.as_deref().is_some_and(|url| host_of(url).is_none_or(|host| host.contains('_'))) {
        return Read::Malformed("21609 The 'StatusCallback' URL is not valid");
    }
    Read::Message(Message { id, to: to.into(), text: Some(listed), reference: callback, free_form: false })
}

fn host_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    rest.split(['/', ':', '?']).next().filter(|host| !host.is_empty())
}

/// A Message resource; one just created has no date here.
fn resource(sid: &str, to: &str, text: &str, at_us: Option<i64>) -> Value {
    let (pictures, body) = text.split_at_checked(1).unwrap_or(("0", ""));
    let created = at_us.and_then(DateTime::from_timestamp_micros).map(|at| at.to_rfc2822());
    json!({
        "sid": sid, "to": to, "from": null, "body": body, "status": "accepted", "direction": "outbound-api",
        "num_media": pictures, "num_segments": "0", "error_code": null, "error_message": null,
        "date_created": created, "date_sent": null,
    })
}

fn field(form: &[(String, String)], name: &str) -> Option<String> {
    form.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.clone())
}

/// The fields of a form or a query.
fn form(bytes: &[u8]) -> Vec<(String, String)> {
    let pairs = bytes.split(|b| *b == b'&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let cut = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
            (decoded(&pair[..cut]), decoded(pair.get(cut + 1..).unwrap_or_default()))
        })
        .collect()
}

fn decoded(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = hex.filter(|_| *byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(match (byte, escaped) {
            (_, Some(escaped)) => escaped,
            (b'+', None) => b' ',
            (other, None) => *other,
        });
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_browsers_write_them() {
        let read = form(b"To=%2B213&Body=5%25+off%0A%D9%85&x=100%&empty=");
        let read: Vec<(&str, &str)> = read.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(read, [("To", "+213"), ("Body", "5% off\nم"), ("x", "100%"), ("empty", "")]);
    }
}
