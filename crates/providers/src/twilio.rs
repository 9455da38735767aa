//! Twilio Messaging: SMS, and MMS with a picture.
//!
//! `POST /2010-04-01/Accounts/{account_sid}/Messages.json`, a form, with Basic authorisation. There is no
//! idempotency key; a message in doubt is looked for in the list of messages to its recipient ([`list`]).
//! What becomes of a message is posted to the address that it names: its hook's, with our reference, which
//! settles a doubt sooner.
//! 201 with a `sid` means accepted; what an error means is told by its `code` (`codes/twilio.txt`).
//!
//! Source: Twilio, Messaging API: Message resource, error dictionary (2026-04).

mod list;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use fanfare_domain::content::{Content, Feature, Naming};
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Answer, Failure, FailureKind};
use serde_json::Value;
use url::Url;

use crate::caller::{Call, Caller, Hidden, kept, provider_id};
use crate::codes::Codes;
use crate::config::Settings;
use crate::connection::Reply;
use crate::endpoint::NoAnswer;
use crate::kind::{Doubt, Keys, Kind, Offer, Receipts, Setting};
use crate::sender::Origin;
use crate::{Balance, Client, ConfigError, Finding, MayStart, Provider};

static CODES: LazyLock<Codes> = LazyLock::new(|| Codes::parse(include_str!("../codes/twilio.txt")));

/// What it is and can.
pub static KIND: Kind = Kind {
    name: "twilio",
    service: "Twilio Messaging",
    carries: &[(Channel::Sms, &[Feature::Text, Feature::Image])],
    refuses: &[
        (Feature::File, "it fetches pictures itself: give a url instead of a file"),
        (Feature::Code, "a one-time code is a text here: write the text"),
        (Feature::Template, "it would word the message itself, and one in doubt is found by its words: write the text"),
    ],
    secret: Some("the auth token, or the secret of the API key that key_sid names"),
    base_url: Some("https://api.twilio.com"),
    settings: &[
        Setting { key: "account_sid", what: "id of the account, AC…", required: true },
        Setting {
            key: "messaging_service_sid",
            what: "the messaging service that sends, MG…; without it the account's sender does",
            required: false,
        },
        Setting { key: "key_sid", what: "id of the API key, SK…, if the secret is one's", required: false },
    ],
    // What a sender may send depends on its country and registration.
    caps: &[],
    keys: Keys::Ignored,
    doubt: Doubt::LookUp,
    receipts: Receipts::Webhook,
    no_deliveries: None,
    echoes: false,
    names_hook: true,
    window: false,
    text_chars_max: &[(Channel::Sms, 1600)],
    naming: Naming::Name,
    origin: Origin::Registered,
    offers: &[Offer::Balance, Offer::Check],
};

/// An account at Twilio.
#[derive(Debug)]
pub struct Twilio {
    caller: Caller,
    /// `/2010-04-01/Accounts/{account_sid}`
    account: String,
    service: Option<String>,
    /// The hook, without our reference.
    callback: Option<Hidden>,
    /// Whether it speaks by an API key, which may not read the account itself.
    by_key: bool,
}

/// Who a message comes from.
enum Sender<'a> {
    Service(&'a str),
    Number(&'a str),
}

impl Twilio {
    /// From settings and auth token or key.
    ///
    /// # Errors
    /// [`ConfigError`] names what cannot be used.
    pub(crate) fn open(settings: &Settings, secret: &str, client: &Client) -> Result<Self, ConfigError> {
        let sid = settings.plain("account_sid")?.unwrap_or_default();
        let key = settings.plain("key_sid")?;
        let basic = STANDARD.encode(format!("{}:{secret}", key.unwrap_or(sid)));
        let caller = Caller::new(&settings.url()?, client)?.authorized("Basic", &basic)?;
        let service = settings.plain("messaging_service_sid")?.map(str::to_owned);
        let callback = client.hook_url().map(callback).transpose()?;
        let account = format!("/2010-04-01/Accounts/{sid}");
        Ok(Self { caller, account, service, callback, by_key: key.is_some() })
    }

    fn sender<'a>(&'a self, message: &'a OutMessage) -> Result<Sender<'a>, Failure> {
        match (&self.service, &message.from) {
            (Some(service), _) => Ok(Sender::Service(service)),
            (None, Some(from)) => Ok(Sender::Number(from)),
            (None, None) => Err(Failure::new(FailureKind::Configuration, "no sender and no messaging_service_sid")),
        }
    }

    fn call(&self, message: &OutMessage) -> Result<Call, Failure> {
        let (body, picture) = said(&message.content)?;
        let mut fields = vec![("To", message.to.as_str())];
        fields.push(match self.sender(message)? {
            Sender::Service(sid) => ("MessagingServiceSid", sid),
            Sender::Number(from) => ("From", from),
        });
        fields.extend(body.map(|body| ("Body", body)));
        fields.extend(picture.map(|url| ("MediaUrl", url)));
        // Digits and a dot, which need no encoding in a query.
        let callback = self.callback.as_ref().map(|Hidden(url)| format!("{url}?ref={}", message.reference()));
        fields.extend(callback.iter().map(|url| ("StatusCallback", url.as_str())));
        Ok(Call::form(format!("{}/Messages.json", self.account), &fields))
    }

    /// Asks for something that sends nothing.
    async fn ask(&self, path: String) -> Result<Value, Failure> {
        let reply = self.caller.call(Call::get(path), &|| true).await?;
        let body = reply.json().unwrap_or_default();
        if reply.status.is_success() { Ok(body) } else { Err(self.failure(&reply, &body, 1)) }
    }

    fn answer(&self, reply: &Reply, attempt: i16) -> Answer {
        let body = reply.json().unwrap_or_default();
        if !reply.status.is_success() {
            return Answer::Failed(self.failure(reply, &body, attempt));
        }
        // Taken down, and given up at once.
        let status = body.get("status").and_then(Value::as_str).unwrap_or_default();
        if let "failed" | "undelivered" | "canceled" = status {
            let code = code(&body, "/error_code");
            let known = CODES.failure(code.as_deref(), None, attempt);
            let refused = || Failure::new(FailureKind::PermanentContent, code.as_deref().unwrap_or(status));
            return Answer::Failed(known.unwrap_or_else(refused));
        }
        match provider_id(&body, "/sid") {
            Some(sid) => Answer::Sent { provider_id: kept(sid) },
            None => {
                Answer::Failed(Failure::new(FailureKind::Unknown, format!("{} without a sid", reply.status.as_u16())))
            }
        }
    }

    /// What an error means: by its code, else by its status.
    fn failure(&self, reply: &Reply, body: &Value, attempt: i16) -> Failure {
        let code = code(body, "/code");
        let known = CODES.failure(code.as_deref(), None, attempt);
        let failure = known.unwrap_or_else(|| {
            let by_status = self.caller.by_status(reply);
            match code {
                None => by_status,
                // Throttling is said by codes that we know; a new one is not tried again.
                Some(code) if by_status.kind == FailureKind::Throttled => {
                    Failure::new(FailureKind::PermanentContent, code)
                }
                Some(code) => Failure::new(by_status.kind, code),
            }
        });
        let wait = self.caller.retry_after(reply).or(failure.retry_after);
        failure.after(wait)
    }

    /// The list of messages to the recipient of one, by its sender. It is not asked for by date: Twilio
    /// knows a date of sending only, which one that waits in its queue has not got yet.
    fn list_of(&self, message: &OutMessage) -> Result<Call, Failure> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("To", &message.to);
        if let Sender::Number(from) = self.sender(message)? {
            query.append_pair("From", from);
        }
        query.append_pair("PageSize", list::PAGE_SIZE);
        Ok(Call::get(format!("{}/Messages.json?{}", self.account, query.finish())))
    }
}

impl Provider for Twilio {
    async fn send(&self, message: &OutMessage, may_start: MayStart<'_>) -> Answer {
        let call = match self.call(message) {
            Ok(call) => call,
            Err(failure) => return Answer::Failed(failure),
        };
        match self.caller.call(call, may_start).await {
            Ok(reply) => self.answer(&reply, message.attempt),
            Err(none) => none.into(),
        }
    }

    async fn look_up(&self, message: &OutMessage, since: DateTime<Utc>, may_start: MayStart<'_>) -> Finding {
        let ((body, picture), call) = match (said(&message.content), self.list_of(message)) {
            (Ok(said), Ok(call)) => (said, call),
            (Err(failure), _) | (_, Err(failure)) => return Finding::Failed(failure),
        };
        let reply = match self.caller.call(call, may_start).await {
            Ok(reply) => reply,
            Err(NoAnswer::NotStarted) => return Finding::NotStarted,
            Err(none) => return Finding::Failed(none.into()),
        };
        let page = reply.json().unwrap_or_default();
        if !reply.status.is_success() {
            return Finding::Failed(self.failure(&reply, &page, 1));
        }
        let sought = list::Sought { body: body.unwrap_or_default(), picture: picture.is_some(), since };
        sought.in_page(&page, self.caller.clock.now())
    }

    async fn check(&self) -> Result<String, Failure> {
        let path = match self.by_key {
            true => format!("{}/Messages.json?PageSize=1", self.account),
            false => format!("{}.json", self.account),
        };
        let body = self.ask(path).await?;
        if self.by_key {
            return Ok("the key may read messages".to_owned());
        }
        match body.get("status").and_then(Value::as_str) {
            Some("active") => Ok("account active".to_owned()),
            Some("suspended") => Err(Failure::new(FailureKind::Configuration, "account suspended")),
            Some("closed") => Err(Failure::new(FailureKind::Configuration, "account closed")),
            _ => Err(Failure::new(FailureKind::Unknown, "no account status")),
        }
    }

    async fn balance(&self) -> Result<Balance, Failure> {
        let body = self.ask(format!("{}/Balance.json", self.account)).await?;
        let word = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
        match (word("balance"), word("currency")) {
            (Some(amount), Some(unit)) => Ok(Balance { amount, unit }),
            _ => Err(Failure::new(FailureKind::Unknown, "200 without a balance")),
        }
    }
}

/// The address of a hook, if Twilio posts there. What is shown of one that it does not holds no secret.
fn callback(url: &str) -> Result<Hidden, ConfigError> {
    let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let host = parsed.as_ref().and_then(|url| url.host_str()).unwrap_or_default();
    let plain = parsed.as_ref().is_some_and(|url| url.query().is_none() && url.fragment().is_none());
    if host.is_empty() || host.contains('_') || !plain {
        let expected = "an http or https URL whose host has no underscore, without a query";
        return Err(ConfigError::Field { field: "public-url", found: host.to_owned(), expected });
    }
    Ok(Hidden(url.to_owned()))
}

/// The text of a message, and the address of its picture.
fn said(content: &Content) -> Result<(Option<&str>, Option<&str>), Failure> {
    match content {
        Content::Text { body, .. } => Ok((Some(body), None)),
        Content::Image(picture) => Ok((picture.caption.as_deref(), Some(&picture.url))),
        // No account is planned with any other.
        _ => Err(Failure::new(FailureKind::PermanentContent, "neither text nor picture")),
    }
}

/// A code, a number or a text.
fn code(body: &Value, pointer: &str) -> Option<String> {
    let code = body.pointer(pointer).and_then(|code| code.as_i64().or_else(|| code.as_str()?.parse().ok()));
    code.map(|code| code.to_string())
}
