//! How long a text of our own may become.

use super::{Compiled, Template, Text};
use crate::content::check::{BODY_CHARS_MAX, TEXT_CHARS_MAX};
use crate::content::{Approved, Unfit};
use crate::message::Channel;

/// Most characters of a template's body with an offer that ends.
const OFFER_BODY_CHARS_MAX: usize = 600;
/// Most characters of the body of a template's card.
const CARD_BODY_CHARS_MAX: usize = 160;

impl Template {
    /// Whether a simple text cannot become too long with these values, whatever its filters make of them: a
    /// character becomes three at most.
    pub(super) fn surely_fits(&self, v: &Compiled, values: &[serde_json::Value]) -> bool {
        let (texts, chars_max) = match &v.source.text {
            Text::Body { body, .. } => (std::slice::from_ref(body), self.text_chars_max),
            Text::Approved { params, .. } if self.approved => (params.as_slice(), BODY_CHARS_MAX),
            // The one has no limit, the other is always rendered.
            Text::Approved { .. } | Text::Rich(_) => return true,
        };
        if chars_max == usize::MAX {
            return true;
        }
        let given = v.used.iter().filter_map(|i| values.get(*i)).map(|value| match value {
            serde_json::Value::String(text) => text.len(),
            other => other.to_string().len(),
        });
        let longest = given.chain(v.source.defaults.values().map(String::len)).max().unwrap_or(0);
        let bytes: usize = texts.iter().map(|text| text.len() + text.matches("{{").count() * 3 * longest).sum();
        bytes <= chars_max
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

/// Whether what fills the bodies of an approved template is no longer than these may be in all.
pub(super) fn values_fit(approved: &Approved) -> Result<(), Unfit> {
    let fit = |part: String, params: &[String], most: usize| {
        let chars: usize = params.iter().map(|param| param.chars().count()).sum();
        let problem = format!("have {chars} characters together: expected at most {most}");
        if chars <= most { Ok(()) } else { Err(Unfit { part, problem }) }
    };
    let most = if approved.offer.is_some() { OFFER_BODY_CHARS_MAX } else { BODY_CHARS_MAX };
    fit("params".to_owned(), &approved.params, most)?;
    let mut cards = approved.cards.iter().enumerate();
    cards.try_for_each(|(i, card)| fit(format!("cards[{i}].params"), &card.params, CARD_BODY_CHARS_MAX))
}
