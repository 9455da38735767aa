//! How long a text of our own may become.

use super::{Compiled, Template, Text};
use crate::content::Unfit;
use crate::content::check::TEXT_CHARS_MAX;
use crate::message::Channel;

impl Template {
    /// Whether a simple text cannot become too long with these values, whatever its filters make of them: a
    /// character becomes three at most.
    pub(super) fn surely_fits(&self, v: &Compiled, values: &[serde_json::Value]) -> bool {
        let Text::Body { body, .. } = &v.source.text else { return true };
        if self.text_chars_max == usize::MAX {
            return true;
        }
        let given = v.used.iter().filter_map(|i| values.get(*i)).map(|value| match value {
            serde_json::Value::String(text) => text.len(),
            other => other.to_string().len(),
        });
        let longest = given.chain(v.source.defaults.values().map(String::len)).max().unwrap_or(0);
        body.len() + body.matches("{{").count() * 3 * longest <= self.text_chars_max
    }
}

/// Most characters of a text of our own by a channel, whoever the provider is.
pub(super) fn text_chars_max(channel: Channel) -> usize {
    if channel == Channel::Whatsapp { TEXT_CHARS_MAX } else { usize::MAX }
}

/// Whether a text is no longer than that.
pub(super) fn short_enough(body: &str, chars_max: usize) -> Result<(), Unfit> {
    // Counted only where it may matter.
    let chars = if body.len() > chars_max { body.chars().count() } else { 0 };
    if chars <= chars_max {
        return Ok(());
    }
    Err(Unfit { part: "body".to_owned(), problem: format!("has {chars} characters: expected at most {chars_max}") })
}
