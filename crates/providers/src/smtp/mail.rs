//! An e-mail as it goes over the wire.
//!
//! Its Message-ID is the message's id at the sender's domain, the same at every attempt: a receiver may fold
//! two of them. lettre words headers and parts; lines end with CRLF and are doubly dotted here.
//!
//! Source: RFC 5322 (headers), RFC 5321 §4.5.2 (transparency), RFC 8058 (one-click unsubscription).

use std::time::SystemTime;

use bytes::Bytes;
use fanfare_domain::content::{Attachment, Content};
use fanfare_domain::message::OutMessage;
use fanfare_domain::outcome::{Failure, FailureKind};
use lettre::Address;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment as Part, Body, Mailbox, Message, MultiPart, SinglePart};

const LIST_UNSUBSCRIBE: HeaderName = HeaderName::new_from_ascii_str("List-Unsubscribe");
const LIST_UNSUBSCRIBE_POST: HeaderName = HeaderName::new_from_ascii_str("List-Unsubscribe-Post");

/// An e-mail, and its envelope.
pub(super) struct Mail {
    pub from: String,
    pub to: String,
    /// Whether an address is not ASCII.
    pub international: bool,
    /// Without angle brackets.
    pub message_id: String,
    /// Its bytes, ready for DATA but for the final dot.
    pub data: Vec<u8>,
}

/// The mailbox that an e-mail can be sent from.
///
/// # Errors
/// Why it can not.
pub(crate) fn sender(text: &str) -> Result<Mailbox, &'static str> {
    let from: Mailbox = text.parse().map_err(|_| "the sender is no e-mail address")?;
    let plain = from.email.domain().is_ascii() && is_plain(from.email.as_ref());
    if plain { Ok(from) } else { Err("the sender's address is not plain") }
}

/// Makes the e-mail of a message, with the bytes of its `files`; `unsubscribe` holds `{id}` where its reference
/// belongs.
pub(super) fn compose(
    message: &OutMessage,
    unsubscribe: Option<&str>,
    files: &[Bytes],
    now: SystemTime,
) -> Result<Mail, Failure> {
    let refuse = |kind, detail| Failure::new(kind, detail);
    let sender = message.from.as_deref();
    let sender = sender.ok_or_else(|| refuse(FailureKind::Configuration, "the account has no sender"))?;
    let from = self::sender(sender).map_err(|why| refuse(FailureKind::Configuration, why))?;
    let to: Address = message.to.parse().map_err(|_| refuse(FailureKind::PermanentRecipient, "not an address"))?;
    let (from_address, to_address) = (from.email.to_string(), to.to_string());
    if !is_plain(&to_address) {
        return Err(refuse(FailureKind::PermanentRecipient, "not a plain address"));
    }
    let message_id = format!("{}@{}", message.id, from.email.domain());
    let mut builder =
        Message::builder().from(from).to(Mailbox::new(None, to)).date(now).message_id(Some(format!("<{message_id}>")));
    if let Some(url) = unsubscribe {
        let url = format!("<{}>", url.replace("{id}", &message.reference()));
        let click = "List-Unsubscribe=One-Click".to_owned();
        // As they are: an address that is folded or encoded leads nowhere.
        builder = builder
            .raw_header(HeaderValue::dangerous_new_pre_encoded(LIST_UNSUBSCRIBE, url.clone(), url))
            .raw_header(HeaderValue::dangerous_new_pre_encoded(LIST_UNSUBSCRIBE_POST, click.clone(), click));
    }
    let part = |kind, text: &String| SinglePart::builder().header(kind).body(text.clone());
    let mail = match &message.content {
        Content::Text { subject, body } => {
            let subject = one_line(subject.as_deref().unwrap_or_default());
            builder.subject(subject).singlepart(part(ContentType::TEXT_PLAIN, body))
        }
        Content::Html { subject, html, body, attachments } => {
            let builder = builder.subject(one_line(subject));
            let html = part(ContentType::TEXT_HTML, html);
            let both = body.as_ref().map(|body| {
                let both = MultiPart::alternative().boundary(format!("={}", message.id.simple()));
                both.singlepart(part(ContentType::TEXT_PLAIN, body)).singlepart(html.clone())
            });
            match (both, attachments.is_empty()) {
                (None, true) => builder.singlepart(html),
                (Some(both), true) => builder.multipart(both),
                (both, false) => {
                    let mixed = MultiPart::mixed().boundary(format!("=m{}", message.id.simple()));
                    let said = match both {
                        Some(both) => mixed.multipart(both),
                        None => mixed.singlepart(html),
                    };
                    builder.multipart(attached(said, attachments, files)?)
                }
            }
        }
        // No account is planned with any other.
        _ => return Err(refuse(FailureKind::PermanentContent, "neither text nor HTML")),
    };
    let mail = mail.map_err(|_| refuse(FailureKind::PermanentContent, "not an e-mail"))?;
    let international = !from_address.is_ascii() || !to_address.is_ascii();
    let data = transparent(&mail.formatted());
    Ok(Mail { from: from_address, to: to_address, international, message_id, data })
}

/// The same with its files behind it.
fn attached(mut mail: MultiPart, attachments: &[Attachment], files: &[Bytes]) -> Result<MultiPart, Failure> {
    for (Attachment { file }, bytes) in attachments.iter().zip(files) {
        let kind = ContentType::parse(&file.mime)
            .map_err(|_| Failure::new(FailureKind::PermanentContent, "attachment of no type"))?;
        // Whatever its bytes are: as a text its line ends would be changed on the way.
        let body = Body::new_with_encoding(bytes.to_vec(), ContentTransferEncoding::Base64)
            .map_err(|_| Failure::new(FailureKind::PermanentContent, "attachment not encoded"))?;
        mail = mail.singlepart(Part::new(one_line(&file.name)).body(body, kind));
    }
    Ok(mail)
}

/// Whether an address can stand between angle brackets.
fn is_plain(address: &str) -> bool {
    !address.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>'))
}

/// A header's text without line breaks.
fn one_line(text: &str) -> String {
    text.split(char::is_control).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Lines that end with CRLF, the last one too, each dot at a line's start doubled. A lone CR or LF becomes a
/// line's end: servers that take it for one must find no other message behind it.
fn transparent(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    let mut at_start = true;
    let mut rest = bytes.iter().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'\r' | b'\n' => {
                if *byte == b'\r' {
                    rest.next_if(|next| **next == b'\n');
                }
                out.extend_from_slice(b"\r\n");
                at_start = true;
            }
            other => {
                if at_start && *other == b'.' {
                    out.push(b'.');
                }
                out.push(*other);
                at_start = false;
            }
        }
    }
    if !at_start {
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_can_end_the_message() {
        let seen = |text: &str| String::from_utf8(transparent(text.as_bytes())).unwrap();
        assert_eq!(seen("a\r\n.\r\nb"), "a\r\n..\r\nb\r\n");
        assert_eq!(seen(".a\n.\nb\r.\r\n"), "..a\r\n..\r\nb\r\n..\r\n");
        assert_eq!(seen("a.\r\n\r\n"), "a.\r\n\r\n");
        assert_eq!(seen(""), "");
        assert_eq!(one_line("Hi\r\nBcc: x@example.com\u{0}"), "Hi Bcc: x@example.com");
    }
}
