//! Finding a message in the list of those to its recipient.
//!
//! The list names no id of ours: a message is known by its text and the time when it was created. So it is
//! there if one with that very text is, created after the first attempt; it is absent only if the list is
//! whole, old enough to have it, and shows nothing that could be it in other words: Twilio may put
//! typographic characters into plain ones, shorten links, and say that an account is on trial.
//!
//! Source: Twilio, Message resource: read multiple Message resources (2026-04).

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::Finding;
use crate::caller::{kept, provider_id};

/// Messages asked for: about as many as an answer may hold that is read whole.
pub(super) const PAGE_SIZE: &str = "40";
/// How far the two clocks may be apart. What was created so little before the first attempt is in doubt.
const CLOCKS_APART: TimeDelta = TimeDelta::minutes(5);
/// How long after the first attempt a list without the message means something: how late it may be is
/// documented nowhere.
const LISTED_AFTER: TimeDelta = TimeDelta::minutes(2);

/// What is looked for.
pub(super) struct Sought<'a> {
    /// Its text, which a picture may lack.
    pub body: &'a str,
    /// Whether it has a picture.
    pub picture: bool,
    /// When it was first attempted.
    pub since: DateTime<Utc>,
}

/// How a listed message compares.
#[derive(Clone, Copy)]
enum Likeness {
    /// It is another one.
    None,
    /// It may be it.
    Perhaps,
    /// It is it.
    Same,
}

impl Sought<'_> {
    /// What a page of the list says.
    pub fn in_page(&self, page: &Value, now: DateTime<Utc>) -> Finding {
        let Some(messages) = page.get("messages").and_then(Value::as_array) else {
            return Finding::Unsure("list not readable");
        };
        let mut newest: Option<(DateTime<Utc>, &Value)> = None;
        let mut perhaps = false;
        for message in messages {
            let Some((likeness, created)) = self.compare(message) else { return Finding::Unsure("entry not readable") };
            match likeness {
                Likeness::Same if newest.is_none_or(|(other, _)| created > other) => newest = Some((created, message)),
                Likeness::Same | Likeness::None => {}
                Likeness::Perhaps => perhaps = true,
            }
        }
        let whole = page.get("next_page_uri").is_some_and(Value::is_null);
        match newest {
            Some((_, message)) => Finding::Sent { provider_id: provider_id(message, "/sid").and_then(kept) },
            None if perhaps => Finding::Unsure("one is alike"),
            None if !whole => Finding::Unsure("more messages than a page"),
            None if now < self.since + LISTED_AFTER => Finding::Unsure("too soon to be listed"),
            None => Finding::Absent,
        }
    }

    /// How an entry compares, and when it was created; `None` if it cannot be read.
    fn compare(&self, message: &Value) -> Option<(Likeness, DateTime<Utc>)> {
        let text = |key: &str| message.get(key).and_then(Value::as_str);
        let created = text("date_created").or_else(|| text("date_sent"))?;
        let created = DateTime::parse_from_rfc2822(created).ok()?.to_utc();
        if text("direction").is_some_and(|d| d == "inbound") || created < self.since - CLOCKS_APART {
            return Some((Likeness::None, created));
        }
        let body = text("body")?;
        let likeness = match body == self.body {
            // Its picture is not listed, and without words nothing else tells one from another.
            true if self.body.is_empty() => Likeness::Perhaps,
            // Times are listed in whole seconds.
            true if created.timestamp() < self.since.timestamp() => Likeness::Perhaps,
            true if self.picture != has_media(message) => Likeness::Perhaps,
            true => Likeness::Same,
            false if letters(body).contains(&letters(self.body)) => Likeness::Perhaps,
            false => Likeness::None,
        };
        Some((likeness, created))
    }
}

fn has_media(message: &Value) -> bool {
    message.get("num_media").and_then(Value::as_str).is_some_and(|n| n != "0")
}

/// What is left of a text whatever is done to it on the way: the letters and digits of its words but links.
fn letters(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| !word.contains(['.', '/']));
    words.flat_map(str::chars).filter(|c| c.is_alphanumeric()).collect()
}
