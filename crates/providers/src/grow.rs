//! 1app Grow: templates and one-time codes by WhatsApp, SMS, e-mail.
//!
//! `POST /messages/{whatsapp | whatsapp/otp | sms | sms/otp | email}` with a bearer token and
//! `Idempotency-Key: {id}`. A send is synchronous: 201 with `status` `sent`, or 422 with `status` `failed`.
//! A key that was seen gets its first record back, so a message in doubt is settled by a repeat. The
//! record is never replaced: a failed one stays under its key, so a message with one is not tried again
//! whatever the reason, and where that lies in the workspace its run is paused.
//!
//! A repeat's status code is not documented: what its record says counts. `queued` is a documented status
//! of a record, though no send is: Grow has the message then, and what becomes of it is asked for by
//! `GET /messages/{id}` until the record says `sent` or `failed`. Of a message that was `sent` at once there
//! is nothing more to be told, so that it is not asked for. E-mails have an HTML part only: a text becomes
//! one, and the text beside an HTML document is not sent.
//!
//! Source: 1app Grow REST API v1: idempotency, transactional messaging, message status, send response
//! format, errors.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use fanfare_domain::content::{Content, Feature, Naming};
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Action, Answer, Failure, FailureKind};
use fanfare_domain::receipt::ReceiptKind;
use hyper::header::HeaderName;
use serde_json::{Value, json};

use crate::caller::{Call, Caller, kept, provider_id};
use crate::codes::Codes;
use crate::config::Settings;
use crate::connection::Reply;
use crate::endpoint::NoAnswer;
use crate::kind::{Doubt, Keys, Kind, Offer, Receipts, Setting};
use crate::meta::body::without_null;
use crate::sender::Origin;
use crate::{Asked, Client, ConfigError, MayStart, Polled, Provider};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const ONE_TIME: &str = "a one-time code is content of type code, which names its template";
const FILLED: &str = "a template has values for its body only";

static CODES: LazyLock<Codes> = LazyLock::new(|| Codes::parse(include_str!("../codes/grow.txt")));

/// What it is and can.
pub static KIND: Kind = Kind {
    name: "grow",
    service: "1app Grow v1",
    carries: &[
        (Channel::Whatsapp, &[Feature::Code, Feature::Template]),
        (Channel::Sms, &[Feature::Text, Feature::Code]),
        (Channel::Email, &[Feature::Text, Feature::Html]),
    ],
    refuses: &[
        (Feature::TemplateCode, ONE_TIME),
        (Feature::TemplateHeader, FILLED),
        (Feature::TemplateMedia, FILLED),
        (Feature::TemplateUrl, FILLED),
        (Feature::TemplateQuickReply, FILLED),
        (Feature::TemplateCopyCode, FILLED),
        (Feature::TemplateFlow, FILLED),
        (Feature::TemplateCatalog, FILLED),
        (Feature::TemplateOffer, FILLED),
        (Feature::TemplateCarousel, FILLED),
        (Feature::TemplateProductCarousel, FILLED),
    ],
    secret: Some("an API token with read and write"),
    base_url: Some("https://grow.1app.online/api/v1"),
    settings: &[Setting {
        key: "whatsapp_number_id",
        what: "id of the number that sends by WhatsApp, unless the account has a sender",
        required: false,
    }],
    caps: &["300/min"],
    keys: Keys::Honoured,
    doubt: Doubt::Repeat,
    receipts: Receipts::Poll,
    no_deliveries: Some("its records end with sent or failed"),
    echoes: false,
    names_hook: false,
    window: true,
    text_chars_max: &[(Channel::Sms, 320)],
    naming: Naming::LanguageIfAny,
    origin: Origin::Registered,
    offers: &[Offer::Check],
};

/// An account at Grow.
#[derive(Debug)]
pub struct Grow {
    caller: Caller,
    number_id: Option<u64>,
}

impl Grow {
    /// From settings and token.
    ///
    /// # Errors
    /// [`ConfigError`] names what cannot be used.
    pub(crate) fn open(settings: &Settings, secret: &str, client: &Client) -> Result<Self, ConfigError> {
        let caller = Caller::new(&settings.url()?, client)?.authorized("Bearer", secret)?;
        Ok(Self { caller, number_id: settings.number("whatsapp_number_id")? })
    }

    /// Path and body of a message.
    fn request(&self, m: &OutMessage) -> (&'static str, Value) {
        let to = &m.to;
        let number_id = self.number_id.filter(|_| m.from.is_none());
        match (m.channel, &m.content) {
            (Channel::Whatsapp, Content::Code { code, template, language, .. }) => (
                "/messages/whatsapp/otp",
                without_null(json!({
                    "to": to, "code": code, "template": template, "language": language,
                    "from": m.from, "whatsapp_number_id": number_id,
                })),
            ),
            (Channel::Sms, Content::Code { code, body, .. }) => {
                ("/messages/sms/otp", without_null(json!({ "to": to, "code": code, "message": body })))
            }
            (_, Content::Template(approved)) => {
                let language = Some(&approved.language).filter(|l| !l.is_empty());
                let variables = Some(&approved.params).filter(|p| !p.is_empty());
                let body = without_null(json!({
                    "to": to, "template": approved.name, "language": language, "variables": variables,
                    "from": m.from, "whatsapp_number_id": number_id,
                }));
                ("/messages/whatsapp", body)
            }
            (Channel::Email, Content::Text { subject, body }) => {
                ("/messages/email", json!({ "to": to, "subject": subject, "html": html(body) }))
            }
            (_, Content::Html { subject, html, .. }) => {
                ("/messages/email", json!({ "to": to, "subject": subject, "html": html }))
            }
            (_, Content::Text { body, .. }) => ("/messages/sms", json!({ "to": to, "body": body })),
            // No account is planned with another: refused there for want of a text.
            _ => ("/messages/sms", json!({ "to": to })),
        }
    }

    fn answer(&self, reply: &Reply) -> Answer {
        let (status, body) = (reply.status.as_u16(), reply.json().unwrap_or_default());
        // A repeat may come as a resource, which would be wrapped.
        let record = body.get("data").filter(|data| data.is_object()).unwrap_or(&body);
        let unknown = |detail: String| Answer::Failed(Failure::new(FailureKind::Unknown, detail));
        match (reply.status.is_success(), record.get("status").and_then(Value::as_str)) {
            (true, Some("sent")) => Answer::Sent { provider_id: provider_id(record, "/id").and_then(kept) },
            (true, Some("queued")) => match provider_id(record, "/id").and_then(kept) {
                Some(provider_id) => Answer::Queued { provider_id },
                // A repeat of the key tells it.
                None => unknown(format!("{status} queued")),
            },
            (true, Some("failed")) => Answer::Failed(refused(status, record)),
            (true, _) => unknown(format!("{status} without a status")),
            (false, _) => Answer::Failed(self.failure(reply, record)),
        }
    }

    /// What an answer that is no success means.
    fn failure(&self, reply: &Reply, body: &Value) -> Failure {
        let by_status = self.caller.by_status(reply);
        match (reply.status.as_u16(), by_status.kind) {
            (_, FailureKind::Throttled) => {
                let said = body.get("retry_after_seconds").and_then(Value::as_u64).map(Duration::from_secs);
                let wait = by_status.retry_after.or(said);
                by_status.after(wait)
            }
            (404 | 405, _) => Failure::new(FailureKind::Configuration, by_status.detail),
            (status @ 400..500, FailureKind::PermanentContent) => refused(status, body),
            _ => by_status,
        }
    }
}

/// What a record says of the message that was asked for.
fn told(asked: &Asked, record: &Value) -> Polled {
    if provider_id(record, "/id").as_deref() != Some(&asked.provider_id) {
        return Polled::Unsure("another record");
    }
    // The workspace is whichever its owner has selected: the key tells whose record it is.
    let key = record.get("idempotency_key").and_then(Value::as_str);
    if key.is_some_and(|key| key != asked.id.to_string()) {
        return Polled::Unsure("another message's record");
    }
    let sent_at = || record.get("sent_at")?.as_str()?.parse::<DateTime<Utc>>().ok();
    match record.get("status").and_then(Value::as_str) {
        Some("queued") => Polled::Pending,
        Some("sent") => Polled::Ended { kind: ReceiptKind::Sent, at: sent_at(), detail: None },
        Some("failed") => {
            let known = CODES.failure(None, record.get("error").and_then(Value::as_str), 1);
            let detail = known.map_or_else(|| "failed".to_owned(), |known| known.detail);
            Polled::Ended { kind: ReceiptKind::Failed, at: None, detail: Some(detail) }
        }
        _ => Polled::Unsure("a status that is not known"),
    }
}

/// What a refusal means, of which the words say more than the status.
fn refused(status: u16, body: &Value) -> Failure {
    let error = body.get("error").or_else(|| body.get("message")).and_then(Value::as_str);
    let stored = body.get("status").and_then(Value::as_str) == Some("failed") && provider_id(body, "/id").is_some();
    if let Some(known) = CODES.failure(None, error, 1) {
        return match known.kind {
            FailureKind::Configuration if stored => {
                let failure = Failure::new(FailureKind::PermanentContent, known.detail);
                Failure { action: Some(Action::PauseRun), ..failure }
            }
            _ => known,
        };
    }
    let fields = body.get("errors").and_then(Value::as_object);
    let field = fields.and_then(|fields| fields.keys().next()).filter(|field| is_name(field));
    match (field.map(String::as_str), fields.map_or(0, serde_json::Map::len)) {
        (Some("to"), 1) => Failure::new(FailureKind::PermanentRecipient, format!("{status} to")),
        (Some(field), _) => Failure::new(FailureKind::PermanentContent, format!("{status} {field}")),
        (None, _) if stored => Failure::new(FailureKind::PermanentContent, format!("{status} failed")),
        (None, _) => Failure::new(FailureKind::PermanentContent, status.to_string()),
    }
}

/// Whether it can only be the name of a field.
fn is_name(word: &str) -> bool {
    word.len() <= 40 && word.bytes().all(|b| b.is_ascii_lowercase() || b"_.*".contains(&b))
}

/// A text as an HTML document that shows it.
fn html(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<p>{}</p>", escaped.replace('\n', "<br>\n"))
}

impl Provider for Grow {
    async fn send(&self, message: &OutMessage, may_start: MayStart<'_>) -> Answer {
        let (path, body) = self.request(message);
        let call = Call::post(path, &body).with(IDEMPOTENCY_KEY, message.id.to_string());
        match self.caller.call(call, may_start).await {
            Ok(reply) => self.answer(&reply),
            Err(none) => none.into(),
        }
    }

    async fn poll(&self, asked: &Asked, may_start: MayStart<'_>) -> Polled {
        // It becomes a part of a path.
        if !asked.provider_id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Polled::Unsure("an id that cannot be asked for");
        }
        let reply = match self.caller.call(Call::get(format!("/messages/{}", asked.provider_id)), may_start).await {
            Ok(reply) => reply,
            Err(NoAnswer::NotStarted) => return Polled::NotStarted,
            Err(none) => return Polled::Failed(none.into()),
        };
        let body = reply.json().unwrap_or_default();
        match reply.status.as_u16() {
            200..300 => told(asked, body.get("data").filter(|data| data.is_object()).unwrap_or(&body)),
            // Of another workspace than the one that is selected now.
            404 => Polled::Unsure("no such record"),
            _ => Polled::Failed(self.failure(&reply, &body)),
        }
    }

    async fn check(&self) -> Result<String, Failure> {
        let reply = self.caller.call(Call::get("/whatsapp-numbers"), &|| true).await?;
        let body = reply.json().unwrap_or_default();
        if !reply.status.is_success() {
            return Err(self.failure(&reply, &body));
        }
        // Its shape is not documented.
        let numbers = body.get("data").unwrap_or(&body).as_array().map(Vec::len);
        Ok(numbers.map_or_else(|| "the token is valid".to_owned(), |n| format!("WhatsApp numbers: {n}")))
    }
}
