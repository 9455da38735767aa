//! The WhatsApp Cloud API.
//!
//! `POST /{version}/{phone_number_id}/messages` with a system user's token. It has no idempotency key and
//! no look-up; `biz_opaque_callback_data` carries our reference, which every status of the message echoes,
//! so a message in doubt is settled by its receipt. Success means accepted, not delivered. What an error
//! means is told by `error.code` alone (`codes/meta.txt`).
//!
//! Source: Meta, Cloud API reference: messages, media, error codes (2026-03).

pub(crate) mod body;
pub(crate) mod listed;
mod passed_on;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use fanfare_domain::content::{Feature, Listed, Naming, StoredFile};
use fanfare_domain::limits::LIST_PAGES_MAX;
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Answer, Failure, FailureKind};
use serde_json::Value;

use crate::caller::{Call, Caller, kept, provider_id};
use crate::codes::Codes;
use crate::config::Settings;
use crate::connection::Reply;
use crate::endpoint::NoAnswer;
use crate::files::{Files, not_uploaded};
use crate::kind::{Doubt, Keys, Kind, Offer, Receipts, Setting};
use crate::sender::Origin;
use crate::{Client, ConfigError, MayStart, Provider};

pub(crate) use passed_on::passed_on;

/// The version of the Graph API that is called unless the account names one.
const VERSION: &str = "v24.0";
/// Templates in a page of their list.
const PAGE: &str = "100";

static CODES: LazyLock<Codes> = LazyLock::new(|| Codes::parse(include_str!("../codes/meta.txt")));

/// What it is and can.
pub static KIND: Kind = Kind {
    name: "meta",
    service: "WhatsApp Cloud API",
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
            Feature::CtaUrl,
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
            Feature::TemplateFile,
        ],
    )],
    refuses: &[(Feature::Code, "a one-time code is sent as an authentication template: give the template a code")],
    secret: Some("a system user's access token"),
    base_url: Some("https://graph.facebook.com"),
    settings: &[
        Setting { key: "phone_number_id", what: "id of the number that sends", required: true },
        Setting { key: "version", what: "version of the Graph API, v24.0 unless given", required: false },
    ],
    caps: &["80/s"],
    keys: Keys::Ignored,
    doubt: Doubt::Receipt,
    receipts: Receipts::Webhook,
    no_deliveries: None,
    // Statuses name our reference; replies and buttons only the id of the message that they answer.
    echoes: false,
    names_hook: false,
    window: true,
    text_chars_max: &[],
    naming: Naming::Language,
    origin: Origin::Settings,
    offers: &[Offer::Check, Offer::Templates, Offer::MediaUpload],
};

/// An account at the Cloud API.
#[derive(Debug)]
pub struct Meta {
    caller: Caller,
    files: Arc<dyn Files>,
    /// `/{version}`
    version: String,
    /// `/{version}/{phone_number_id}`
    number: String,
}

impl Meta {
    /// From settings and token.
    ///
    /// # Errors
    /// [`ConfigError`] names what cannot be used.
    pub(crate) fn open(settings: &Settings, secret: &str, client: &Client) -> Result<Self, ConfigError> {
        let number = settings.plain("phone_number_id")?.unwrap_or_default();
        let version = settings.plain("version")?.unwrap_or(VERSION);
        let caller = Caller::new(&settings.url()?, client)?.authorized("Bearer", secret)?;
        Ok(Self {
            caller,
            files: client.files(),
            version: format!("/{version}"),
            number: format!("/{version}/{number}"),
        })
    }

    /// Asks for something that sends nothing.
    async fn ask(&self, path: String) -> Result<Value, Failure> {
        let reply = self.caller.call(Call::list(path), &|| true).await?;
        let body = reply.json();
        match body.as_ref().and_then(|body| body.get("error")) {
            Some(error) => Err(self.failure(&reply, error, 1)),
            None if !reply.status.is_success() => Err(self.caller.by_status(&reply)),
            None => body.ok_or_else(|| Failure::new(FailureKind::Unknown, "200 without JSON")),
        }
    }

    /// Hands over the files that a message waits for. That was this slot's request: the message takes another.
    async fn make_known(&self, files: &[&StoredFile], may_start: MayStart<'_>) -> Answer {
        // Whoever hands a file over may keep others waiting until their slots have passed.
        let late = AtomicBool::new(false);
        for file in files.iter().filter(|file| self.files.known(file).is_none()) {
            if !may_start() {
                return Answer::NotStarted;
            }
            if let Err(failure) = self.files.id(file, Box::pin(self.upload(file, may_start, &late))).await {
                return if late.load(Ordering::Relaxed) { Answer::NotStarted } else { Answer::Failed(failure) };
            }
        }
        Answer::NotStarted
    }

    /// Hands over a file: its id, good for 30 days. Says if it was too `late` for that.
    async fn upload(&self, file: &StoredFile, may_start: MayStart<'_>, late: &AtomicBool) -> Result<String, Failure> {
        let bytes = self.files.bytes(file).await?;
        if !may_start() {
            late.store(true, Ordering::Relaxed);
            return Err(NoAnswer::NotStarted.into());
        }
        let fields = [("messaging_product", "whatsapp"), ("type", file.mime.as_str())];
        let call = Call::upload(format!("{}/media", self.number), &fields, file, &bytes);
        let reply = self.caller.call(call, may_start).await.map_err(|none| {
            late.store(none == NoAnswer::NotStarted, Ordering::Relaxed);
            not_uploaded(none.into())
        })?;
        let body = reply.json().unwrap_or_default();
        let failure = match body.get("error") {
            Some(error) => self.failure(&reply, error, 1),
            None if !reply.status.is_success() => self.caller.by_status(&reply),
            None => match provider_id(&body, "/id").and_then(kept) {
                Some(id) => return Ok(id),
                None => Failure::new(FailureKind::Unknown, "200 without an id"),
            },
        };
        Err(not_uploaded(failure))
    }

    /// The business account that the number belongs to: templates are its.
    async fn business(&self) -> Result<String, Failure> {
        let body = self.ask(format!("{}?fields=health_status", self.number)).await?;
        let entities = body.pointer("/health_status/entities").and_then(Value::as_array);
        let business = entities.into_iter().flatten().find(|entity| entity["entity_type"] == "WABA");
        let id = business.and_then(|business| provider_id(business, "/id"));
        // It becomes a part of the path.
        id.filter(|id| id.bytes().all(|b| b.is_ascii_digit()))
            .ok_or_else(|| Failure::new(FailureKind::Unknown, "200 without a business account"))
    }

    fn answer(&self, reply: &Reply, attempt: i16) -> Answer {
        let body = reply.json();
        let error = body.as_ref().and_then(|b| b.get("error"));
        match (reply.status.is_success(), body.as_ref(), error) {
            (true, Some(body), None) => match provider_id(body, "/messages/0/id") {
                Some(id) => Answer::Sent { provider_id: kept(id) },
                None => Answer::Failed(Failure::new(FailureKind::Unknown, "200 without an id")),
            },
            (_, _, Some(error)) => Answer::Failed(self.failure(reply, error, attempt)),
            (true, None, _) => Answer::Failed(Failure::new(FailureKind::Unknown, "200 without JSON")),
            (false, _, None) => Answer::Failed(self.caller.by_status(reply)),
        }
    }

    /// What a Graph error means.
    fn failure(&self, reply: &Reply, error: &Value, attempt: i16) -> Failure {
        let code = error.get("code").and_then(Value::as_i64).map(|c| c.to_string());
        let known = CODES.failure(code.as_deref(), None, attempt);
        let failure = known.unwrap_or_else(|| {
            let kind = self.caller.by_status(reply).kind;
            // Throttling and doubt are said by codes that we know; a new one is not tried again.
            let kind = if kind == FailureKind::Throttled { FailureKind::PermanentContent } else { kind };
            Failure::new(kind, code.unwrap_or_else(|| reply.status.as_u16().to_string()))
        });
        let wait = self.caller.retry_after(reply).or(failure.retry_after);
        failure.after(wait)
    }
}

impl Provider for Meta {
    async fn send(&self, message: &OutMessage, may_start: MayStart<'_>) -> Answer {
        let files = message.content.files();
        let mut ids = body::Ids::new();
        for file in &files {
            let Some(id) = self.files.known(file) else { return self.make_known(&files, may_start).await };
            ids.insert(file.sha256.clone(), id);
        }
        let call = Call::post(format!("{}/messages", self.number), &body::message(message, &ids));
        let reply = match self.caller.call(call, may_start).await {
            Ok(reply) => reply,
            Err(none) => return none.into(),
        };
        match self.answer(&reply, message.attempt) {
            Answer::Failed(failure) if !ids.is_empty() && blames_file(&reply) => {
                for file in files {
                    if let Some(id) = ids.get(&file.sha256) {
                        self.files.forget(file, id).await;
                    }
                }
                // It was refused, and the next attempt brings the file along anew.
                Answer::Failed(Failure::new(FailureKind::Transient, failure.detail))
            }
            answer => answer,
        }
    }

    async fn check(&self) -> Result<String, Failure> {
        let body = self.ask(format!("{}?fields=display_phone_number,quality_rating,throughput", self.number)).await?;
        let word = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or("not said").to_owned();
        Ok(format!("number {}, quality {}", word("display_phone_number"), word("quality_rating")))
    }

    async fn templates(&self) -> Result<Vec<Listed>, Failure> {
        let path = format!("{}/{}/message_templates", self.version, self.business().await?);
        let (mut all, mut after) = (Vec::new(), String::new());
        for _ in 0..LIST_PAGES_MAX {
            let page = self.ask(page_of(&path, &after)).await?;
            let unread = || Failure::new(FailureKind::Unknown, "the list cannot be read");
            for entry in page.get("data").and_then(Value::as_array).ok_or_else(unread)? {
                all.push(listed::listed(entry).ok_or_else(unread)?);
            }
            // There is an address of the next page as long as there is one, and its cursor beside it.
            match (page.pointer("/paging/next"), page.pointer("/paging/cursors/after").and_then(Value::as_str)) {
                (Some(_), Some(cursor)) if cursor != after => after = cursor.to_owned(),
                (None | Some(Value::Null), _) => return Ok(all),
                _ => return Err(unread()),
            }
        }
        Err(Failure::new(FailureKind::Unknown, "the list has too many pages"))
    }
}

/// Whether an answer says that a file is not there: by a code of media, or of a parameter that is none.
fn blames_file(reply: &Reply) -> bool {
    let body = reply.json().unwrap_or_default();
    let details = body.pointer("/error/error_data/details").and_then(Value::as_str).unwrap_or_default();
    match body.pointer("/error/code").and_then(Value::as_i64) {
        Some(131_052 | 131_053) => true,
        Some(100) => details.contains("media attachment ID"),
        _ => false,
    }
}

/// The path of the page of templates behind a cursor.
fn page_of(path: &str, after: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("fields", "name,language,status,category,components").append_pair("limit", PAGE);
    if !after.is_empty() {
        query.append_pair("after", after);
    }
    format!("{path}?{}", query.finish())
}
