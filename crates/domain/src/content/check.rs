//! What can be said at all: the limits of WhatsApp's documents, which its resellers pass on.
//!
//! Source: Meta Cloud API, interactive messages, media and message templates (2026-03). A text that
//! still holds variables is measured when it is rendered.

use chrono::DateTime;

use super::link::{self, Follower};
use super::{Approved, Button, Content, Frame, Header, Media, Shown};
use crate::message::Channel;

/// Why a content cannot be sent: which part, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part}: {problem}")]
pub struct Unfit {
    /// The part, as its JSON names it: `buttons[0].title`.
    pub part: String,
    /// What was expected.
    pub problem: String,
}

type Checked = Result<(), Unfit>;

pub(crate) const TEXT_CHARS_MAX: usize = 4096;
pub(crate) const BODY_CHARS_MAX: usize = 1024;
const EDGE_CHARS_MAX: usize = 60;
const BUTTONS_MAX: usize = 3;
const BUTTON_CHARS_MAX: usize = 20;
const ID_CHARS_MAX: usize = 200;
const SECTIONS_MAX: usize = 10;
const ROWS_MAX: usize = 10;
const TITLE_CHARS_MAX: usize = 24;
const DESCRIPTION_CHARS_MAX: usize = 72;
const PRODUCTS_MAX: usize = 30;
const CODE_CHARS_MAX: usize = 15;
const FILENAME_CHARS_MAX: usize = 240;
const CARDS: std::ops::RangeInclusive<usize> = 2..=10;

fn refuse(part: impl Into<String>, problem: impl Into<String>) -> Checked {
    Err(Unfit { part: part.into(), problem: problem.into() })
}

/// Whether a text is to be rendered still.
fn open(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// A text of 1 to `max` characters.
fn text(part: &str, text: &str, max: usize) -> Checked {
    let chars = text.chars().count();
    match (open(text), text.trim().is_empty()) {
        (true, _) => Ok(()),
        (_, true) => refuse(part, format!("is empty: expected 1 to {max} characters")),
        _ if chars > max => refuse(part, format!("has {chars} characters: expected at most {max}")),
        _ => Ok(()),
    }
}

fn optional(part: &str, given: Option<&str>, max: usize) -> Checked {
    given.map_or(Ok(()), |given| text(part, given, max))
}

fn count(part: &str, found: usize, expected: std::ops::RangeInclusive<usize>) -> Checked {
    if expected.contains(&found) {
        return Ok(());
    }
    refuse(part, format!("has {found}: expected {} to {}", expected.start(), expected.end()))
}

/// An address that whoever follows it can reach.
fn link(part: &str, given: &str, follower: Follower) -> Checked {
    match link::problem(given, follower) {
        Some(why) if !open(given) => refuse(part, why),
        _ => Ok(()),
    }
}

impl Content {
    /// Checks it for a channel.
    ///
    /// # Errors
    /// [`Unfit`] names the first part that cannot be sent.
    pub fn check(&self, channel: Channel) -> Checked {
        let allowed = match (channel, self) {
            (Channel::Whatsapp, Self::Html { .. }) => false,
            (Channel::Whatsapp, _) => true,
            (Channel::Sms, Self::Text { .. } | Self::Code { .. } | Self::Template(_) | Self::Image(_)) => true,
            (Channel::Email, Self::Text { .. } | Self::Html { .. } | Self::Template(_)) => true,
            (Channel::Sms | Channel::Email, _) => false,
        };
        if !allowed {
            return refuse("type", format!("cannot be sent by {channel}"));
        }
        self.parts(channel)
    }

    fn parts(&self, channel: Channel) -> Checked {
        match self {
            Self::Text { subject, body } => {
                if (channel == Channel::Email) != subject.is_some() {
                    return refuse("subject", "an e-mail has one, other messages have none");
                }
                let most = if channel == Channel::Whatsapp { TEXT_CHARS_MAX } else { usize::MAX };
                optional("subject", subject.as_deref(), usize::MAX)?;
                text("body", body, most)
            }
            Self::Html { subject, html, body, attachments } => {
                text("subject", subject, usize::MAX)?;
                text("html", html, usize::MAX)?;
                optional("body", body.as_deref(), usize::MAX)?;
                // Together they must fit what one may have.
                let bytes = attachments.iter().map(|attached| attached.file.bytes).sum();
                Shown::Attachment.problem("", bytes).map_or(Ok(()), |why| refuse("attachments", why))
            }
            Self::Image(media) => file(media, Shown::Image),
            Self::Video(media) => file(media, Shown::Video),
            Self::Audio(media) => file(media, Shown::Audio),
            Self::Document(media) => file(media, Shown::Document),
            Self::Location { latitude, longitude, .. } => {
                degrees("latitude", latitude, 90.0)?;
                degrees("longitude", longitude, 180.0)
            }
            Self::Contact { name, phone, .. } => {
                text("name", name, BODY_CHARS_MAX)?;
                text("phone", phone, TITLE_CHARS_MAX)
            }
            Self::Buttons { frame: f, buttons } => {
                frame(f, BODY_CHARS_MAX)?;
                count("buttons", buttons.len(), 1..=BUTTONS_MAX)?;
                each(buttons, "buttons", |part, b| {
                    text(&format!("{part}.id"), &b.id, ID_CHARS_MAX)?;
                    text(&format!("{part}.title"), &b.title, BUTTON_CHARS_MAX)
                })
            }
            Self::List { frame: f, button, sections } => {
                frame(f, TEXT_CHARS_MAX)?;
                text("button", button, BUTTON_CHARS_MAX)?;
                count("sections", sections.len(), 1..=SECTIONS_MAX)?;
                count("rows of all sections", sections.iter().map(|s| s.rows.len()).sum(), 1..=ROWS_MAX)?;
                each(sections, "sections", |part, section| {
                    text(&format!("{part}.title"), &section.title, TITLE_CHARS_MAX)?;
                    each(&section.rows, &format!("{part}.rows"), |part, row| {
                        text(&format!("{part}.id"), &row.id, ID_CHARS_MAX)?;
                        text(&format!("{part}.title"), &row.title, TITLE_CHARS_MAX)?;
                        optional(&format!("{part}.description"), row.description.as_deref(), DESCRIPTION_CHARS_MAX)
                    })
                })
            }
            Self::CtaUrl { frame: f, button, url } => {
                frame(f, BODY_CHARS_MAX)?;
                text("button", button, BUTTON_CHARS_MAX)?;
                link("url", url, Follower::Recipient)
            }
            Self::Product { frame: f, catalog_id, product_id } => {
                frame(f, BODY_CHARS_MAX)?;
                text("catalog_id", catalog_id, ID_CHARS_MAX)?;
                text("product_id", product_id, ID_CHARS_MAX)
            }
            Self::Products { frame: f, catalog_id, sections } => {
                frame(f, BODY_CHARS_MAX)?;
                optional("header", Some(f.header.as_deref().unwrap_or_default()), EDGE_CHARS_MAX)?;
                text("catalog_id", catalog_id, ID_CHARS_MAX)?;
                count("sections", sections.len(), 1..=SECTIONS_MAX)?;
                count("products of all sections", sections.iter().map(|s| s.product_ids.len()).sum(), 1..=PRODUCTS_MAX)
            }
            Self::Flow { frame: f, flow_id, flow_token, button, .. } => {
                frame(f, BODY_CHARS_MAX)?;
                text("flow_id", flow_id, ID_CHARS_MAX)?;
                text("flow_token", flow_token, ID_CHARS_MAX)?;
                text("button", button, BUTTON_CHARS_MAX)
            }
            Self::LocationRequest { body } => text("body", body, BODY_CHARS_MAX),
            Self::Code { code, .. } => text("code", code, CODE_CHARS_MAX),
            Self::Template(template) => approved(template),
        }
    }
}

fn each<T>(items: &[T], of: &str, check: impl Fn(&str, &T) -> Checked) -> Checked {
    items.iter().enumerate().try_for_each(|(i, item)| check(&format!("{of}[{i}]"), item))
}

fn frame(frame: &Frame, body_max: usize) -> Checked {
    optional("header", frame.header.as_deref(), EDGE_CHARS_MAX)?;
    text("body", &frame.body, body_max)?;
    optional("footer", frame.footer.as_deref(), EDGE_CHARS_MAX)
}

fn file(media: &Media, shown: Shown) -> Checked {
    source("", media, shown)?;
    optional("filename", media.filename.as_deref(), FILENAME_CHARS_MAX)?;
    match (&media.caption, shown) {
        (Some(_), Shown::Audio) => refuse("caption", "a sound has none: leave it out"),
        (caption, _) => optional("caption", caption.as_deref(), BODY_CHARS_MAX),
    }
}

/// Where it comes from: an address, or a file of ours.
fn source(place: &str, media: &Media, shown: Shown) -> Checked {
    match (&media.file, media.url.is_empty()) {
        (Some(file), true) => match shown.problem(&file.mime, file.bytes) {
            Some(why) => refuse(format!("{place}file"), why),
            None => Ok(()),
        },
        (None, _) => link(&format!("{place}url"), &media.url, Follower::Provider),
        (Some(_), false) => refuse(format!("{place}file"), "stands beside a url: give one of them"),
    }
}

fn degrees(part: &str, given: &str, max: f64) -> Checked {
    let fits = open(given) || given.trim().parse::<f64>().is_ok_and(|d| d.abs() <= max);
    if fits { Ok(()) } else { refuse(part, format!("expected decimal degrees from -{max} to {max}")) }
}

fn approved(template: &Approved) -> Checked {
    text("name", &template.name, 512)?;
    template.header.as_ref().map_or(Ok(()), |h| header("header", h))?;
    each(&template.buttons, "buttons", button)?;
    optional("code", template.code.as_deref(), CODE_CHARS_MAX)?;
    if let Some(offer) = &template.offer
        && !open(&offer.ends_at)
        && DateTime::parse_from_rfc3339(&offer.ends_at).is_err()
    {
        return refuse("offer.ends_at", "expected a time such as 2026-12-01T09:00:00+01:00");
    }
    if template.cards.is_empty() {
        return Ok(());
    }
    count("cards", template.cards.len(), CARDS)?;
    each(&template.cards, "cards", |part, card| {
        header(&format!("{part}.header"), &card.header)?;
        each(&card.buttons, &format!("{part}.buttons"), button)
    })
}

fn header(part: &str, header: &Header) -> Checked {
    match header {
        Header::Text { text: given } => text(&format!("{part}.text"), given, EDGE_CHARS_MAX),
        Header::Image(media) => source(&format!("{part}."), media, Shown::Image),
        Header::Video(media) => source(&format!("{part}."), media, Shown::Video),
        Header::Document(media) => source(&format!("{part}."), media, Shown::Document),
        Header::Product { catalog_id, product_id } => {
            text(&format!("{part}.catalog_id"), catalog_id, ID_CHARS_MAX)?;
            text(&format!("{part}.product_id"), product_id, ID_CHARS_MAX)
        }
    }
}

fn button(part: &str, button: &Button) -> Checked {
    match button {
        Button::Url { text: given, .. } => text(&format!("{part}.text"), given, 2000),
        Button::QuickReply { payload, .. } => text(&format!("{part}.payload"), payload, ID_CHARS_MAX),
        Button::CopyCode { code, .. } => text(&format!("{part}.code"), code, CODE_CHARS_MAX),
        Button::Flow { flow_token, .. } => text(&format!("{part}.flow_token"), flow_token, ID_CHARS_MAX),
        Button::Catalog { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(content: serde_json::Value, expect: &str) {
        let parsed: Content = serde_json::from_value(content.clone()).unwrap();
        let said = parsed.check(Channel::Whatsapp).map_or_else(|e| e.to_string(), |()| "fine".to_owned());
        assert_eq!(said, expect, "{content}");
    }

    #[test]
    fn what_cannot_be_sent_is_named() {
        check(json!({"type": "image", "url": "https://example.com/a.jpg", "caption": "Hi"}), "fine");
        check(json!({"type": "image", "url": "{{ picture }}"}), "fine");
        check(
            json!({"type": "video", "url": "http://[::ffff:10.0.0.1]/a"}),
            "url: lies in a private network: the provider cannot fetch it",
        );
        check(json!({"type": "document", "url": "ftp://example.com/a"}), "url: expected https or http");
        check(
            json!({"type": "audio", "url": "https://example.com/a", "caption": "x"}),
            "caption: a sound has none: leave it out",
        );
        check(
            json!({"type": "buttons", "body": "Come?", "buttons": [{"id": "y", "title": "x".repeat(21)}]}),
            "buttons[0].title: has 21 characters: expected at most 20",
        );
        check(json!({"type": "buttons", "body": " ", "buttons": []}), "body: is empty: expected 1 to 1024 characters");
        check(
            json!({"type": "location", "latitude": "91", "longitude": "3"}),
            "latitude: expected decimal degrees from -90 to 90",
        );
        check(
            json!({"type": "template", "name": "t", "cards": [{"header": {"type": "image", "url": "https://a.b/c"}}]}),
            "cards: has 1: expected 2 to 10",
        );
        check(
            json!({"type": "template", "name": "t", "offer": {"ends_at": "tomorrow"}}),
            "offer.ends_at: expected a time such as 2026-12-01T09:00:00+01:00",
        );
        let html = Content::Html { subject: "s".into(), html: "<p>".into(), body: None, attachments: Vec::new() };
        assert_eq!(html.check(Channel::Sms).unwrap_err().to_string(), "type: cannot be sent by sms");
    }
}
