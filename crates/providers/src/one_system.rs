//! OneSystem (WaveX): WhatsApp through a linked device.
//!
//! `POST /sessions/{id}/messages/{kind}`, and `POST /templates/{id}/send` for a template kept there, whose
//! name is its id and whose parameters are written `variable=value`, or fill the variables `{{1}}`,
//! `{{2}}` and so on. Addresses have no plus. A document has no documented caption: it is sent along all
//! the same.
//!
//! There is neither a key nor a documented answer. A success must say so, by an id or in words, and
//! nothing to the contrary; else the message is in doubt, and is looked up in the session's list
//! (`listed`). 404 of a session is another user's, so that the account stops; of a template it is the
//! content. 403 `security_violation` is a URL that is refused, and no login.
//!
//! Source: OneSystem WhatsApp API v1: endpoints, rate_limits, error_codes, examples.

mod listed;
mod templates;

use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};
use fanfare_domain::content::{Approved, Content, Feature, Listed, Media, Naming};
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Action, Answer, Failure, FailureKind};
use serde_json::{Value, json};

use crate::caller::{Call, Caller, kept, provider_id};
use crate::codes::Codes;
use crate::config::Settings;
use crate::connection::Reply;
use crate::endpoint::NoAnswer;
use crate::files::{Carried, Files, carried};
use crate::kind::{Doubt, Keys, Kind, Offer, Receipts, Setting};
use crate::meta::body::without_null;
use crate::sender::Origin;
use crate::{Client, ConfigError, Finding, MayStart, Provider, variables};

const LINKED: &str = "a linked device sends no buttons, lists, products or forms";
const LOCAL: &str = "a template kept there has variables and its own media, and nothing else to fill";

static CODES: LazyLock<Codes> = LazyLock::new(|| Codes::parse(include_str!("../codes/one_system.txt")));

/// What it is and can.
pub static KIND: Kind = Kind {
    name: "one_system",
    service: "OneSystem WhatsApp API v1 (WaveX)",
    carries: &[(
        Channel::Whatsapp,
        &[
            Feature::Text,
            Feature::Image,
            Feature::Video,
            Feature::Audio,
            Feature::Document,
            Feature::Location,
            Feature::Contact,
            Feature::Template,
            Feature::File,
        ],
    )],
    refuses: &[
        (Feature::Buttons, LINKED),
        (Feature::List, LINKED),
        (Feature::CtaUrl, LINKED),
        (Feature::Product, LINKED),
        (Feature::Products, LINKED),
        (Feature::Flow, LINKED),
        (Feature::LocationRequest, LINKED),
        (Feature::Code, "it has no call for one-time codes: send a text or a template"),
        (Feature::TemplateHeader, LOCAL),
        (Feature::TemplateMedia, LOCAL),
        (Feature::TemplateFile, LOCAL),
        (Feature::TemplateUrl, LOCAL),
        (Feature::TemplateQuickReply, LOCAL),
        (Feature::TemplateCopyCode, LOCAL),
        (Feature::TemplateFlow, LOCAL),
        (Feature::TemplateCatalog, LOCAL),
        (Feature::TemplateCode, LOCAL),
        (Feature::TemplateOffer, LOCAL),
        (Feature::TemplateCarousel, LOCAL),
        (Feature::TemplateProductCarousel, LOCAL),
    ],
    secret: Some("an API token"),
    base_url: Some("https://whatsapp.theonesystemco.com/api/v1"),
    settings: &[Setting { key: "session_id", what: "id of the session that sends", required: true }],
    caps: &["60/min", "1000/h"],
    keys: Keys::Ignored,
    doubt: Doubt::LookUp,
    receipts: Receipts::Webhook,
    no_deliveries: None,
    echoes: false,
    names_hook: false,
    window: false,
    text_chars_max: &[],
    naming: Naming::Either,
    origin: Origin::Settings,
    offers: &[Offer::Check, Offer::ContactCheck, Offer::Templates],
};

/// An account at OneSystem.
#[derive(Debug)]
pub struct OneSystem {
    caller: Caller,
    files: Arc<dyn Files>,
    session: u64,
}

impl OneSystem {
    /// From settings and token.
    ///
    /// # Errors
    /// [`ConfigError`] names what cannot be used.
    pub(crate) fn open(settings: &Settings, secret: &str, client: &Client) -> Result<Self, ConfigError> {
        // Required, so that it is there.
        let session = settings.number("session_id")?.unwrap_or_default();
        let caller = Caller::new(&settings.url()?, client)?.authorized("Bearer", secret)?;
        Ok(Self { caller, files: client.files(), session })
    }

    /// The call that sends a message.
    fn request(&self, message: &OutMessage, bytes: Option<&str>) -> Result<Call, Failure> {
        let to = address(message);
        let (kind, body) = match &message.content {
            Content::Text { body, .. } => ("text", json!({ "to": to, "message": body })),
            Content::Image(m) => {
                ("image", json!({ "to": to, "image_url": url(m), "image_base64": bytes, "caption": m.caption }))
            }
            Content::Video(m) => {
                ("video", json!({ "to": to, "video_url": url(m), "video_base64": bytes, "caption": m.caption }))
            }
            Content::Audio(m) => ("audio", json!({ "to": to, "audio_url": url(m), "audio_base64": bytes })),
            Content::Document(m) => {
                let (mime, name) = match &m.file {
                    Some(file) => (Some(file.mime.as_str()), m.filename.as_deref().or(Some(&file.name))),
                    None => (mime_type(m.filename.as_deref().unwrap_or(&m.url)), m.filename.as_deref()),
                };
                let body = json!({
                    "to": to, "document_url": url(m), "document_base64": bytes, "mime_type": mime, "filename": name,
                    "caption": m.caption,
                });
                ("document", body)
            }
            Content::Location { latitude, longitude, name, address } => {
                let parts: Vec<&str> = [name, address].into_iter().flatten().map(String::as_str).collect();
                let description = (!parts.is_empty()).then(|| parts.join(", "));
                let body = json!({
                    "to": to, "latitude": degrees(latitude), "longitude": degrees(longitude),
                    "description": description,
                });
                ("location", body)
            }
            Content::Contact { name, phone, .. } => {
                ("contact", json!({ "to": to, "contact_name": name, "contact_phone": phone.trim_start_matches('+') }))
            }
            Content::Template(approved) => return self.template(to, approved),
            // No account is planned with another.
            _ => return Err(Failure::new(FailureKind::PermanentContent, "not carried")),
        };
        Ok(Call::post(format!("/sessions/{}/messages/{kind}", self.session), &without_null(body)))
    }

    fn template(&self, to: &str, approved: &Approved) -> Result<Call, Failure> {
        // It becomes a part of the path.
        let Ok(id) = approved.name.parse::<u64>() else {
            let failure = Failure::new(FailureKind::PermanentContent, "template name is no id");
            return Err(Failure { action: Some(Action::PauseRun), ..failure });
        };
        let variables = variables::named(&approved.params).unwrap_or_else(|| variables::numbered(&approved.params));
        let body = json!({ "session_id": self.session, "to": to, "variables": variables });
        Ok(Call::post(format!("/templates/{id}/send"), &body))
    }

    fn answer(&self, reply: &Reply, content: &Content) -> Answer {
        if !reply.status.is_success() {
            return Answer::Failed(self.failure(reply, matches!(content, Content::Template(_))));
        }
        let status = reply.status.as_u16();
        let unknown = |what: &str| Answer::Failed(Failure::new(FailureKind::Unknown, format!("{status} {what}")));
        let Some(body) = reply.json() else { return unknown("without JSON") };
        let id = ["/data/message_id", "/message_id", "/data/id", "/id"].iter().find_map(|p| provider_id(&body, p));
        match (said(&body), id) {
            (Said::Failed, _) => unknown("that says it failed"),
            (Said::Nothing, None) => unknown("that says nothing"),
            (_, id) => Answer::Sent { provider_id: id.and_then(kept) },
        }
    }

    /// Asks for something that sends nothing.
    async fn ask(&self, path: String) -> Result<Value, Failure> {
        let reply = self.caller.call(Call::list(path), &|| true).await?;
        if !reply.status.is_success() {
            return Err(self.failure(&reply, false));
        }
        Ok(reply.json().unwrap_or_default())
    }

    /// What an answer that is no success means.
    fn failure(&self, reply: &Reply, of_template: bool) -> Failure {
        let by_status = self.caller.by_status(reply);
        let body = reply.json().unwrap_or_default();
        let code = ["/error/code", "/error", "/code"].iter().find_map(|p| body.pointer(p)?.as_str());
        let text = body.pointer("/error/message").or_else(|| body.get("message")).and_then(Value::as_str);
        let refusal = reply.status.is_client_error() && by_status.kind != FailureKind::Unknown;
        if reply.status.as_u16() == 404 {
            return match of_template {
                true => Failure { action: Some(Action::PauseRun), ..by_status },
                false => Failure::new(FailureKind::Configuration, by_status.detail),
            };
        }
        let errors = ["/errors/to", "/error/details/to", "/details/to"];
        if reply.status.as_u16() == 422 && errors.iter().any(|p| body.pointer(p).is_some()) {
            return Failure::new(FailureKind::PermanentRecipient, "422 to");
        }
        let known = refusal.then(|| CODES.failure(code, text.or(code), 1)).flatten();
        match known {
            // Words that blame the session do not outweigh a status that says how fast it may go.
            Some(known) if by_status.kind != FailureKind::Throttled || known.kind == by_status.kind => {
                let wait = by_status.retry_after.or(known.retry_after);
                known.after(wait)
            }
            _ => by_status,
        }
    }
}

/// What the body of a success says of it.
enum Said {
    Sent,
    Failed,
    Nothing,
}

fn said(body: &Value) -> Said {
    let failed = |value: &Value| {
        let word = |key: &str| value.get(key).and_then(Value::as_str);
        let error = value.get("error").is_some_and(|error| !error.is_null() && error != false);
        value.get("success") == Some(&Value::Bool(false))
            || error
            || word("status").is_some_and(|w| matches!(w, "failed" | "fail" | "error"))
    };
    let sent = |value: &Value| {
        let status = value.get("status").and_then(Value::as_str);
        value.get("success") == Some(&Value::Bool(true)) || matches!(status, Some("sent" | "queued" | "success"))
    };
    let parts = [Some(body), body.get("data")];
    let any = |test: &dyn Fn(&Value) -> bool| parts.iter().flatten().any(|value| test(value));
    match (any(&failed), any(&sent)) {
        (true, _) => Said::Failed,
        (false, true) => Said::Sent,
        (false, false) => Said::Nothing,
    }
}

/// Whether the answer of a contact check says that the number is on WhatsApp. Its form is not documented: it
/// counts if it says one thing only.
fn is_there(body: &Value) -> Option<bool> {
    let words = ["exists", "registered", "is_registered", "on_whatsapp", "is_on_whatsapp", "valid", "is_valid"];
    let parts = [Some(body), body.get("data")].into_iter().flatten();
    let said: Vec<bool> = parts.flat_map(|part| words.iter().filter_map(|word| part.get(word)?.as_bool())).collect();
    let first = *said.first()?;
    said.iter().all(|word| *word == first).then_some(first)
}

/// The address of a file, unless it is one of ours.
fn url(media: &Media) -> Option<&str> {
    Some(media.url.as_str()).filter(|url| !url.is_empty())
}

/// An address as its examples write it: digits alone.
fn address(message: &OutMessage) -> &str {
    message.to.trim_start_matches('+')
}

/// A number, which was checked when the content was.
fn degrees(text: &str) -> Value {
    text.trim().parse::<f64>().map_or_else(|_| text.into(), Value::from)
}

/// The type of a file by the end of its name, for those that are sent every day.
fn mime_type(name: &str) -> Option<&'static str> {
    let path = name.split(['?', '#']).next().unwrap_or(name);
    Some(match path.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
        "pdf" => "application/pdf",
        "csv" => "text/csv",
        "txt" => "text/plain",
        "zip" => "application/zip",
        "doc" => "application/msword",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xls" => "application/vnd.ms-excel",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "ppt" => "application/vnd.ms-powerpoint",
        "pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        _ => return None,
    })
}

impl Provider for OneSystem {
    async fn send(&self, message: &OutMessage, may_start: MayStart<'_>) -> Answer {
        let carried = match carried(&*self.files, message, may_start).await {
            Ok(carried) => carried,
            Err(answer) => return answer,
        };
        let bytes = carried.as_ref().map(Carried::base64);
        let call = match self.request(message, bytes.as_deref()) {
            Ok(call) => call,
            Err(failure) => return Answer::Failed(failure),
        };
        match self.caller.call(call, may_start).await {
            Ok(reply) => self.answer(&reply, &message.content),
            Err(none) => none.into(),
        }
    }

    async fn look_up(&self, message: &OutMessage, since: DateTime<Utc>, may_start: MayStart<'_>) -> Finding {
        let path = format!("/sessions/{}/messages?to={}&per_page={}", self.session, address(message), listed::PAGE);
        let reply = match self.caller.call(Call::get(path), may_start).await {
            Ok(reply) => reply,
            Err(NoAnswer::NotStarted) => return Finding::NotStarted,
            Err(none) => return Finding::Failed(none.into()),
        };
        if !reply.status.is_success() {
            return Finding::Failed(self.failure(&reply, false));
        }
        match reply.json() {
            Some(body) => listed::find(&body, &message.content, since),
            None => Finding::Unsure("the list cannot be read"),
        }
    }

    async fn check(&self) -> Result<String, Failure> {
        let body = self.ask(format!("/sessions/{}/status", self.session)).await?;
        let found = ["/data/status", "/status", "/data/state", "/state"].iter().find_map(|p| body.pointer(p)?.as_str());
        Ok(format!("session {}: {}", self.session, found.unwrap_or("its state is not said")))
    }

    async fn contact(&self, phone: &str) -> Result<bool, Failure> {
        let digits = phone.trim_start_matches('+');
        let path = format!("/contacts/{digits}/check?session_id={}", self.session);
        let reply = self.caller.call(Call::get(path), &|| true).await?;
        match reply.status.as_u16() {
            // Of the number, or of the session.
            404 => return Err(Failure::new(FailureKind::Unknown, "404")),
            _ if !reply.status.is_success() => return Err(self.failure(&reply, false)),
            _ => {}
        }
        is_there(&reply.json().unwrap_or_default())
            .ok_or_else(|| Failure::new(FailureKind::Unknown, "200 that says neither yes nor no"))
    }

    async fn templates(&self) -> Result<Vec<Listed>, Failure> {
        let body = self.ask("/templates".to_owned()).await?;
        templates::templates(&body).map_err(|why| Failure::new(FailureKind::Unknown, why))
    }
}
