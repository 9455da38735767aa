//! 1MSG.IO: the WhatsApp API through a channel there.
//!
//! `POST /{instance_id}/{method}?token={token}`, a method for each kind of message. (The prose asks for the
//! token in a header as well; the SDK sends none.) It has no idempotency key, and its history is off by
//! default; acknowledgements come by webhook and name its own id. Success is `{"sent": true, "id": …}`,
//! which means queued at the gateway. Failures mostly come with HTTP 200 too, as `{"sent": false}` with a
//! text; with a `jobId` the message waits there and may go out yet. What a text means stands in
//! `codes/one_msg.txt`; a text that says nothing we know leaves the message in doubt.
//!
//! Source: 1MSG.IO, WhatsApp Business API documentation 2.39; its SDK's notes on failures (2026-08).

mod body;

use std::sync::{Arc, LazyLock};

use fanfare_domain::content::{Feature, Listed, Naming};
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Answer, Failure, FailureKind};
use serde_json::Value;

use crate::caller::{Call, Caller, kept, provider_id, yes_or_no};
use crate::codes::Codes;
use crate::config::Settings;
use crate::connection::Reply;
use crate::files::{Files, carried};
use crate::kind::{Doubt, Keys, Kind, Offer, Receipts, Setting};
use crate::meta::{listed, passed_on};
use crate::sender::Origin;
use crate::{Client, ConfigError, MayStart, Provider};

static CODES: LazyLock<Codes> = LazyLock::new(|| Codes::parse(include_str!("../codes/one_msg.txt")));

/// Where an answer says what failed.
const TEXTS: &[&str] = &["/message", "/description", "/error", "/error/message", "/error/code"];

/// What it is and can.
pub static KIND: Kind = Kind {
    name: "one_msg",
    service: "1MSG.IO 2.39",
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
            Feature::Buttons,
            Feature::List,
            Feature::Product,
            Feature::Products,
            Feature::Flow,
            Feature::LocationRequest,
            Feature::Template,
            Feature::TemplateHeader,
            Feature::TemplateMedia,
            Feature::TemplateUrl,
            Feature::TemplateQuickReply,
            Feature::TemplateCopyCode,
            Feature::TemplateFlow,
            Feature::TemplateCatalog,
            Feature::TemplateCode,
            Feature::TemplateOffer,
            Feature::TemplateCarousel,
            Feature::TemplateProductCarousel,
            Feature::File,
        ],
    )],
    refuses: &[
        (Feature::CtaUrl, "it has no method for a button that opens a page: use a template with a link"),
        (Feature::TemplateFile, "its templates take pictures by their link: give a url instead of a file"),
        (Feature::Code, "a one-time code is sent as an authentication template: give the template a code"),
    ],
    secret: Some("the channel's token"),
    base_url: Some("https://api.1msg.io"),
    settings: &[
        Setting { key: "instance_id", what: "id of the channel", required: true },
        Setting {
            key: "namespace",
            what: "namespace of the templates, as its list of templates shows",
            required: false,
        },
    ],
    caps: &[],
    keys: Keys::Ignored,
    doubt: Doubt::Policy,
    receipts: Receipts::Webhook,
    no_deliveries: None,
    echoes: false,
    names_hook: false,
    window: true,
    text_chars_max: &[],
    naming: Naming::Language,
    origin: Origin::Settings,
    offers: &[Offer::Check, Offer::Templates],
};

/// A channel at 1MSG.IO.
#[derive(Debug)]
pub struct OneMsg {
    caller: Caller,
    files: Arc<dyn Files>,
    /// `/{instance_id}`
    instance: String,
    namespace: Option<String>,
}

impl OneMsg {
    /// From settings and token.
    ///
    /// # Errors
    /// [`ConfigError`] names what cannot be used.
    pub(crate) fn open(settings: &Settings, secret: &str, client: &Client) -> Result<Self, ConfigError> {
        let instance = settings.plain("instance_id")?.unwrap_or_default();
        let caller = Caller::new(&settings.url()?, client)?.with_secret_query("token", secret);
        let namespace = settings.get("namespace").map(str::to_owned);
        Ok(Self { caller, files: client.files(), instance: format!("/{instance}"), namespace })
    }

    fn answer(&self, reply: &Reply, attempt: i16) -> Answer {
        let body = reply.json();
        let body = body.as_ref();
        let sent = body.and_then(|b| yes_or_no(b.get("sent")?));
        let in_doubt = |what: &str| Answer::Failed(Failure::new(FailureKind::Unknown, what));
        match (reply.status.is_success(), sent) {
            (true, Some(true)) => Answer::Sent { provider_id: body.and_then(|b| provider_id(b, "/id")).and_then(kept) },
            // It waits in a queue that cannot be asked.
            _ if body.is_some_and(|b| b.get("jobId").is_some_and(|job| !job.is_null())) => in_doubt("queued"),
            (false, Some(true)) => in_doubt(reply.status.as_str()),
            (true, None) if body.is_none() => in_doubt("200 without JSON"),
            (true, None) => in_doubt("200 without sent"),
            (_, Some(false) | None) => Answer::Failed(self.failure(reply, attempt)),
        }
    }

    /// Asks for something that sends nothing: the answer's JSON, if it is.
    async fn ask(&self, call: Call) -> Result<Option<Value>, Failure> {
        let reply = self.caller.call(call, &|| true).await?;
        if reply.status.is_success() { Ok(reply.json()) } else { Err(self.failure(&reply, 1)) }
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
            None if status.is_success() => Failure::new(FailureKind::Unknown, "sent false"),
            None => self.caller.by_status(reply),
        };
        let wait = self.caller.retry_after(reply).or(failure.retry_after);
        failure.after(wait)
    }
}

impl Provider for OneMsg {
    async fn send(&self, message: &OutMessage, may_start: MayStart<'_>) -> Answer {
        let carried = match carried(&*self.files, message, may_start).await {
            Ok(carried) => carried,
            Err(answer) => return answer,
        };
        let data = carried.as_ref().zip(message.content.files().first().copied());
        let data = data.map(|(carried, file)| format!("data:{};base64,{}", file.mime, carried.base64()));
        let Some((method, body)) = body::message(message, self.namespace.as_deref(), data) else {
            return Answer::Failed(Failure::new(FailureKind::PermanentContent, "no such message"));
        };
        let call = Call::post(format!("{}/{method}", self.instance), &body);
        match self.caller.call(call, may_start).await {
            Ok(reply) => self.answer(&reply, message.attempt),
            Err(none) => none.into(),
        }
    }

    async fn check(&self) -> Result<String, Failure> {
        let body = self.ask(Call::get(format!("{}/status", self.instance))).await?.unwrap_or_default();
        match body.get("status").and_then(Value::as_str) {
            Some(status @ ("connected" | "connecting")) => Ok(format!("channel {status}")),
            Some(status @ ("disconnected" | "uninitialized")) => Err(Failure::new(FailureKind::Transient, status)),
            Some(status @ "unregistered") => Err(Failure::new(FailureKind::Configuration, status)),
            _ => Err(Failure::new(FailureKind::Unknown, "200 without a status")),
        }
    }
    async fn templates(&self) -> Result<Vec<Listed>, Failure> {
        let body = self.ask(Call::list(format!("{}/templates", self.instance))).await?;
        let unread = |why: &str| Failure::new(FailureKind::Unknown, why);
        let body = body.ok_or_else(|| unread("200 without JSON"))?;
        let entries = body.get("templates").and_then(Value::as_array).ok_or_else(|| unread("200 without a list"))?;
        // No way to ask for a second page is documented.
        if body.get("total").and_then(Value::as_u64).is_some_and(|total| total > entries.len() as u64) {
            return Err(unread("the list is not whole"));
        }
        entries.iter().map(|entry| listed::listed(entry).ok_or_else(|| unread("the list cannot be read"))).collect()
    }
}
