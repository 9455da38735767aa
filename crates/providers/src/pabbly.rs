//! Pabbly Chatflow: WhatsApp.
//!
//! `POST /messages` with an API key; `type` and `interactiveType` say what kind of message it is. It has no
//! idempotency key, no look-up and no receipts. Success is said in several ways (`status: "success"`,
//! `success: true`, `success: "true"`) and proved by Meta's message id alone, which stands in one of two
//! places. Errors are `{"success": false, "error": text}`, and Meta's codes may stand in the text. A 5xx is
//! documented as "retry with backoff"; here it leaves the message in doubt.
//!
//! Source: Pabbly Chatflow API reference v1 (2026).

mod body;

use std::sync::LazyLock;

use fanfare_domain::content::{Feature, Listed, Naming};
use fanfare_domain::limits::LIST_PAGES_MAX;
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Action, Answer, Failure, FailureKind};
use serde_json::Value;

use crate::caller::{Call, Caller, kept, provider_id, yes_or_no};
use crate::codes::Codes;
use crate::config::Settings;
use crate::connection::Reply;
use crate::kind::{Doubt, Keys, Kind, Offer, Receipts};
use crate::meta::{listed, passed_on};
use crate::sender::Origin;
use crate::{Client, ConfigError, MayStart, Provider};

static CODES: LazyLock<Codes> = LazyLock::new(|| Codes::parse(include_str!("../codes/pabbly.txt")));

/// Templates in a page of their list.
const PAGE: usize = 50;
/// Where an answer says what failed.
const TEXTS: &[&str] = &[
    "/error",
    "/message",
    "/error/code",
    "/error/message",
    "/data/metaResponse/error/code",
    "/data/metaResponse/error/message",
];

const LINKS: &str = "it fetches files itself: give a url instead of a file";

/// What it is and can.
pub static KIND: Kind = Kind {
    name: "pabbly",
    service: "Pabbly Chatflow v1",
    carries: &[(
        Channel::Whatsapp,
        &[
            Feature::Text,
            Feature::Image,
            Feature::Video,
            Feature::Audio,
            Feature::Document,
            Feature::List,
            Feature::CtaUrl,
            Feature::Product,
            Feature::Products,
            Feature::LocationRequest,
            Feature::Template,
            Feature::TemplateHeader,
            Feature::TemplateMedia,
            Feature::TemplateUrl,
            Feature::TemplateQuickReply,
            Feature::TemplateCopyCode,
            Feature::TemplateCode,
            Feature::TemplateOffer,
            Feature::TemplateCarousel,
        ],
    )],
    refuses: &[
        (Feature::Buttons, "it has no reply buttons outside templates: use a template with quick replies"),
        (Feature::Flow, "it has no forms"),
        (Feature::File, LINKS),
        (Feature::TemplateFile, LINKS),
        (Feature::Code, "a one-time code is sent as an authentication template: give the template a code"),
        (Feature::TemplateFlow, "its templates take nothing for a form"),
        (Feature::TemplateCatalog, "its templates take nothing for a catalogue"),
        (Feature::TemplateProductCarousel, "the cards of its carousels hold a picture or a film"),
    ],
    secret: Some("the API key"),
    base_url: Some("https://chatflow.pabbly.com/api/v1"),
    settings: &[],
    caps: &[],
    keys: Keys::Ignored,
    doubt: Doubt::Policy,
    receipts: Receipts::None,
    no_deliveries: Some("its documents have neither a webhook nor a call for it"),
    echoes: false,
    names_hook: false,
    window: true,
    text_chars_max: &[],
    naming: Naming::Name,
    origin: Origin::Settings,
    offers: &[Offer::Check, Offer::Templates],
};

/// An account at Pabbly Chatflow.
#[derive(Debug)]
pub struct Pabbly {
    caller: Caller,
}

impl Pabbly {
    /// From settings and key.
    ///
    /// # Errors
    /// [`ConfigError`] names what cannot be used.
    pub(crate) fn open(settings: &Settings, secret: &str, client: &Client) -> Result<Self, ConfigError> {
        Ok(Self { caller: Caller::new(&settings.url()?, client)?.authorized("Bearer", secret)? })
    }

    fn answer(&self, reply: &Reply, attempt: i16) -> Answer {
        if !reply.status.is_success() {
            return Answer::Failed(self.failure(reply, attempt));
        }
        let in_doubt = |what: &str| Answer::Failed(Failure::new(FailureKind::Unknown, what));
        let Some(body) = reply.json() else { return in_doubt("200 without JSON") };
        let failed_at_meta = ["/data/metaResponse/status", "/data/code"]
            .iter()
            .any(|pointer| body.pointer(pointer).and_then(Value::as_u64).is_some_and(|s| !(200..300).contains(&s)));
        match (succeeded(&body), message_id(&body)) {
            (None | Some(true), Some(id)) if !failed_at_meta => Answer::Sent { provider_id: kept(id) },
            // Meta may have it although something failed.
            (_, Some(_)) => in_doubt("200 with an id and a failure"),
            (Some(true), None) if !failed_at_meta && body.pointer("/data/metaResponse/error").is_none() => {
                in_doubt("200 without an id")
            }
            (None, None) => in_doubt("200 without success"),
            (Some(_), None) => Answer::Failed(self.failure(reply, attempt)),
        }
    }

    /// A page of a list.
    async fn page(&self, path: &str) -> Result<Value, Failure> {
        let reply = self.caller.call(Call::list(path), &|| true).await?;
        if !reply.status.is_success() {
            return Err(self.failure(&reply, 1));
        }
        let body = reply.json().unwrap_or_default();
        if succeeded(&body) != Some(true) {
            return Err(Failure::new(FailureKind::Unknown, "200 without success"));
        }
        Ok(body)
    }

    /// What an answer means that says that nothing was sent.
    fn failure(&self, reply: &Reply, attempt: i16) -> Failure {
        let status = reply.status;
        if status.is_server_error() {
            return self.caller.by_status(reply);
        }
        let text = reply.said(TEXTS);
        let code = (!status.is_success()).then(|| status.as_str());
        let known = passed_on(&text, attempt).or_else(|| CODES.failure(code, Some(&text), attempt));
        let failure = match known {
            Some(failure) => failure,
            None if status.is_success() => Failure::new(FailureKind::Unknown, "success false"),
            None => self.caller.by_status(reply),
        };
        let wait = self.caller.retry_after(reply).or(failure.retry_after);
        failure.after(wait)
    }
}

/// Whether an answer says that it went well.
fn succeeded(body: &Value) -> Option<bool> {
    match body.get("status").and_then(Value::as_str) {
        Some("success") => Some(true),
        Some("error" | "failed" | "fail") => Some(false),
        _ => yes_or_no(body.get("success")?),
    }
}

/// Meta's id of the message.
fn message_id(body: &Value) -> Option<String> {
    provider_id(body, "/data/metaResponse/messages/0/id").or_else(|| provider_id(body, "/data/messages/0/id"))
}

impl Provider for Pabbly {
    async fn send(&self, message: &OutMessage, may_start: MayStart<'_>) -> Answer {
        let body = match body::message(message) {
            Ok(body) => body,
            // The next one would have no place for it either.
            Err(what) => {
                let failure = Failure::new(FailureKind::PermanentContent, what);
                return Answer::Failed(Failure { action: Some(Action::PauseRun), ..failure });
            }
        };
        match self.caller.call(Call::post("/messages", &body), may_start).await {
            Ok(reply) => self.answer(&reply, message.attempt),
            Err(none) => none.into(),
        }
    }

    async fn check(&self) -> Result<String, Failure> {
        let body = self.page("/templates?limit=1").await?;
        let count = body.pointer("/data/pagination/totalTemplates").and_then(Value::as_u64);
        Ok(count.map_or_else(|| "key accepted".to_owned(), |count| format!("key accepted, {count} templates")))
    }

    async fn templates(&self) -> Result<Vec<Listed>, Failure> {
        let unread = || Failure::new(FailureKind::Unknown, "the list cannot be read");
        let mut all = Vec::new();
        for number in 1..=LIST_PAGES_MAX {
            let page = self.page(&format!("/templates?page={number}&limit={PAGE}")).await?;
            for entry in page.pointer("/data/templates").and_then(Value::as_array).ok_or_else(unread)? {
                all.push(listed::listed(entry).ok_or_else(unread)?);
            }
            if page.pointer("/data/pagination/hasNextPage") != Some(&Value::Bool(true)) {
                return Ok(all);
            }
        }
        Err(Failure::new(FailureKind::Unknown, "the list has too many pages"))
    }
}
