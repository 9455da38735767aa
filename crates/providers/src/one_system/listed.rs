//! What a session's list of messages says of a message in doubt.
//!
//! The list's form is not documented, so that nothing is made of what cannot be read. A message was sent
//! if its text stands there with a time since; it is absent only if the whole list came and holds nothing
//! at all that was sent to the address since: another text may be ours, shortened or worded otherwise.
//! Only texts are compared.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use fanfare_domain::content::Content;
use serde_json::Value;

use crate::Finding;
use crate::caller::{kept, provider_id};

/// Messages in a page: the documented most.
pub(super) const PAGE: usize = 100;
/// How far two clocks may be apart.
const SKEW: TimeDelta = TimeDelta::minutes(5);
/// How far a time without a zone may be from the same time in UTC.
const ZONE: TimeDelta = TimeDelta::hours(14);
/// Above this a number of seconds since the Unix epoch is one of milliseconds.
const SECONDS_MAX: i64 = 100_000_000_000;

/// What an entry is to the message that is looked for.
enum Entry {
    /// The message itself.
    Found(Option<String>),
    /// Another one.
    Other,
    /// Perhaps it.
    Perhaps(&'static str),
}

/// Looks for a content sent after `since` in the answer of the list.
pub(super) fn find(body: &Value, content: &Content, since: DateTime<Utc>) -> Finding {
    let places = ["", "/data", "/messages", "/data/data", "/data/messages"];
    let Some(entries) = places.iter().find_map(|place| body.pointer(place)?.as_array()) else {
        return Finding::Unsure("the list cannot be read");
    };
    let mut perhaps = None;
    for entry in entries {
        match compare(entry, content, since) {
            Entry::Found(provider_id) => return Finding::Sent { provider_id },
            Entry::Perhaps(why) => perhaps = Some(why),
            Entry::Other => {}
        }
    }
    match perhaps {
        Some(why) => Finding::Unsure(why),
        None if is_whole(body, entries.len()) => Finding::Absent,
        None => Finding::Unsure("the list has more pages"),
    }
}

fn compare(entry: &Value, content: &Content, since: DateTime<Utc>) -> Entry {
    let word = |key: &str| entry.get(key).and_then(Value::as_str);
    if matches!(word("direction"), Some("incoming" | "inbound" | "in" | "received"))
        || ["from_me", "fromMe"].iter().any(|key| entry.get(key) == Some(&Value::Bool(false)))
    {
        return Entry::Other;
    }
    let ours = matches!(content, Content::Text { body, .. } if says(entry, body.trim()));
    // Clocks differ, and seconds are cut.
    let since = since - SKEW;
    match time(entry) {
        None => Entry::Perhaps("the list has a message without a time"),
        Some((_, latest)) if latest < since => Entry::Other,
        Some(_) if !ours => Entry::Perhaps("the list has another message of that time"),
        Some((earliest, _)) if earliest < since => Entry::Perhaps("the list has it at a time that is not certain"),
        Some(_) if word("status") == Some("failed") => Entry::Perhaps("the list has it as failed"),
        Some(_) => Entry::Found(["/id", "/message_id"].iter().find_map(|p| provider_id(entry, p)).and_then(kept)),
    }
}

/// Whether a text stands in an entry, wherever; spaces at its ends are lost on the way.
fn says(entry: &Value, text: &str) -> bool {
    match entry {
        Value::String(word) => word.trim() == text,
        Value::Array(parts) => parts.iter().any(|part| says(part, text)),
        Value::Object(fields) => fields.values().any(|field| says(field, text)),
        _ => false,
    }
}

/// The earliest and the latest moment that an entry's time may be.
fn time(entry: &Value) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let given = ["created_at", "sent_at", "timestamp", "time"].iter().find_map(|key| match entry.get(key)? {
        Value::Null => None,
        given => Some(given),
    })?;
    let exactly = |at: DateTime<Utc>| Some((at, at));
    let Some(text) = given.as_str() else {
        let number = given.as_i64()?;
        let seconds = if number > SECONDS_MAX { number / 1000 } else { number };
        return exactly(DateTime::from_timestamp(seconds, 0)?);
    };
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return exactly(at.to_utc());
    }
    let local = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    let at = local.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())?.and_utc();
    Some((at - ZONE, at + ZONE))
}

/// Whether nothing says that there are more pages.
fn is_whole(body: &Value, entries: usize) -> bool {
    !says_more(body, entries) && entries < PAGE
}

/// Whether a list of so many entries says that there are more.
pub(super) fn says_more(body: &Value, entries: usize) -> bool {
    let number = |key: &str| {
        ["", "/meta", "/data", "/pagination", "/data/pagination"]
            .iter()
            .find_map(|place| body.pointer(place)?.get(key)?.as_u64())
    };
    let next = ["/next_page_url", "/links/next", "/data/next_page_url", "/pagination/next_page_url"];
    next.iter().any(|p| body.pointer(p).is_some_and(|url| !url.is_null()))
        || number("last_page").is_some_and(|last| last > 1)
        || number("total_pages").is_some_and(|pages| pages > 1)
        || number("total").is_some_and(|total| total > entries as u64)
}
