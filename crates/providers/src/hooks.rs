//! What providers post to us: receipts of our messages, and messages from recipients.
//!
//! Reading a post is a pure function of it: who posted is proved by a signature over the raw body where the
//! provider signs, and always by the secret in the address, which the caller has checked. What a post says
//! that we have no use for is passed over; what cannot be read at all is refused.

mod http;
mod meta;
mod one_confirmed;
mod one_msg;
mod one_system;
mod twilio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use fanfare_domain::limits::{DETAIL_CHARS_MAX, PROVIDER_ID_BYTES_MAX};
use fanfare_domain::receipt::{Inbound, Meaning, Receipt, ReceiptKind, Words, of_button};
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::HeaderMap;
use serde_json::Value;
use sha1::Sha1;
use sha2::Sha256;

use crate::Kind;

/// A request to a hook.
#[derive(Debug, Clone, Copy)]
pub struct Posted<'a> {
    /// Whether it is a GET, which asks whether we are who we say.
    pub is_get: bool,
    /// The address as the provider has it, with its query.
    pub url: &'a str,
    /// The query.
    pub query: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its raw body.
    pub body: &'a [u8],
    /// The words by which its tenant's recipients opt out, or come back.
    pub words: &'a Words,
    /// The account's tenant: a message of another is none.
    pub workspace_id: i32,
    /// The secret in the address.
    pub secret: &'a str,
    /// The key that the provider signs with, where it has one of its own.
    pub key: Option<&'a str>,
    /// The account's secret, with which other providers sign.
    pub account_secret: Option<&'a str>,
}

/// What a post says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Receipts, and messages from recipients.
    News(News),
    /// A question whether we are who we say: the answer.
    Challenge(String),
}

/// Receipts, and messages from recipients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// What became of our messages.
    pub receipts: Vec<Receipt>,
    /// What recipients wrote.
    pub inbound: Vec<Inbound>,
}

/// Why a post is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Deaf {
    /// It is not signed as the provider signs.
    #[error("the signature does not fit the body")]
    Forged,
    /// The provider signs, and we were not told with what.
    #[error("the provider signs its posts: give the key with fanfare account hook NAME --key-file FILE")]
    NoKey,
    /// It cannot be read; says why.
    #[error("the post cannot be read: {0}")]
    Malformed(&'static str),
    /// The provider posts nothing that we know of.
    #[error("accounts of this kind take no posts")]
    NoHook,
}

/// Reads a post of a provider of this kind.
///
/// # Errors
/// [`Deaf`] says why it is refused; nothing of it counts then.
pub fn hear(kind: &Kind, posted: Posted<'_>) -> Result<Heard, Deaf> {
    match kind.name {
        "http" => http::hear(posted),
        "meta" => meta::hear(posted),
        "one_confirmed" => one_confirmed::hear(posted),
        "one_msg" => one_msg::hear(posted),
        "one_system" => one_system::hear(posted),
        "twilio" => twilio::hear(posted),
        _ => Err(Deaf::NoHook),
    }
}

/// Whether `signature`, in hexadecimal, is HMAC-SHA256 of the body. In constant time.
fn signed_sha256(key: &str, body: &[u8], signature: &str) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else { return false };
    mac.update(body);
    hex::decode(signature).is_ok_and(|signature| mac.verify_slice(&signature).is_ok())
}

/// Whether `signature`, in base64, is HMAC-SHA1 of the text. In constant time.
fn signed_sha1(key: &str, text: &str, signature: &str) -> bool {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key.as_bytes()) else { return false };
    mac.update(text.as_bytes());
    STANDARD.decode(signature).is_ok_and(|signature| mac.verify_slice(&signature).is_ok())
}

fn json(posted: Posted<'_>) -> Result<Value, Deaf> {
    serde_json::from_slice(posted.body).map_err(|_| Deaf::Malformed("the body is not JSON"))
}

/// The elements of a list; of anything else none.
fn each<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// What a recipient means who wrote this, or pressed this button, and what it counts as. A button that
/// confirms or cancels says that, whatever its label: "cancel" alone in a text opts out.
fn meaning(words: &Words, said: &str, button: Option<&str>) -> (Meaning, ReceiptKind) {
    let pressed = button.map(of_button);
    match (words.meaning(said), button.map(|button| words.meaning(button)), pressed) {
        (_, _, Some(kind @ (ReceiptKind::Confirmed | ReceiptKind::Cancelled))) => (Meaning::Button, kind),
        (Meaning::Reply, Some(Meaning::Reply), Some(kind)) => (Meaning::Button, kind),
        (Meaning::Reply, Some(meant), Some(kind)) => (meant, kind),
        (meant, _, Some(kind)) => (meant, kind),
        (meant, _, None) => (meant, ReceiptKind::Replied),
    }
}

/// A text or a number, as a text; not empty.
fn text(value: &Value, pointer: &str) -> Option<String> {
    let text = match value.pointer(pointer)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty() && !text.contains('\0')).then_some(text)
}

/// A provider's id that can be kept.
fn id(value: &Value, pointer: &str) -> Option<String> {
    text(value, pointer).filter(|id| id.len() <= PROVIDER_ID_BYTES_MAX)
}

/// A code or a payload, cut to what is kept.
fn detail(text: Option<String>) -> Option<String> {
    text.map(|text| text.chars().filter(|c| !c.is_control()).take(DETAIL_CHARS_MAX).collect())
}

/// Seconds since the Unix epoch, as a number or a text.
fn unix(value: &Value, pointer: &str) -> Option<DateTime<Utc>> {
    let seconds: i64 = text(value, pointer)?.parse().ok()?;
    // To the end of the year 9999: the database knows no more years than that, and nobody means them.
    (0..=253_402_300_799).contains(&seconds).then(|| DateTime::from_timestamp(seconds, 0))?
}

/// A phone that stands there in digits, in E.164.
fn phone(digits: &str) -> Option<String> {
    let digits = digits.trim_start_matches('+');
    let plain = (5..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| format!("+{digits}"))
}
