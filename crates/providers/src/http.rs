//! The generic provider: any server that takes a message as JSON.
//!
//! `POST {url}` with `Idempotency-Key: {id}`, `Authorization: Bearer {secret}` if the account has a
//! secret, and the body
//!
//! ```json
//! {"id": "0190…", "to": "+213555123456", "from": null, "channel": "sms", "template": null,
//!  "text": "Hello", "params": [], "campaign": "spring", "run": "7340861934"}
//! ```
//!
//! `id` is the same at every attempt. `run` is a string, because JavaScript cannot hold its 63 bits. An
//! e-mail with a subject has `"subject"`; a template approved at the provider has its name in
//! `"template"`, its values in `"params"`, `"text": null`, and `"language"` if it has languages. Any other
//! content stands in `"content"` with its `"type"`, as in a template's content file.
//!
//! | answer | outcome |
//! |---|---|
//! | 2xx with `{"id": …}`, a string or a number | sent |
//! | other 2xx, 408, 409, 5xx but 503, no answer once connected | unknown |
//! | 429 | throttled, Retry-After obeyed |
//! | 503 | transient, Retry-After obeyed |
//! | 3xx, 401, 402, 403, 407; 404, 405, 410 without a code of [`RECIPIENT_CODES`] | configuration |
//! | other 4xx with a code of [`RECIPIENT_CODES`] | permanent, recipient |
//! | other 4xx | permanent, content |
//! | no connection | unreachable |
//!
//! 409 says that a request with the same key is still in flight. Redirects are not followed: they would
//! carry the token elsewhere. The code of a failure is read from `{"error": {"code": …}}` or
//! `{"code": …}`; a message beside it is ignored, since it may quote the text or the address.
//!
//! The client: measured on 2 cores against a server without latency in another process (250-byte bodies,
//! 64 in flight; µs of CPU in the sending process per request, on one thread / on two): reqwest 12.9 / 20.5,
//! hyper-util's pooled client 8.1 / 11.5, hyper's connection with a task each 6.8 / 8.6, and polled by the
//! sender as here 7.1 / 8.9 (this whole module 8.7 / 9.8). A hand-written client took 4.8 / 5.0, and would
//! have had to learn everything that hyper knows about foreign servers.

use bytes::Bytes;
use fanfare_domain::clock::Clock;
use fanfare_domain::content::{Content, Feature, Naming};
use fanfare_domain::limits::PROVIDER_ID_BYTES_MAX;
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Answer, Failure, FailureKind};
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method, Request, Uri};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::config::Settings;
use crate::connection::{Outgoing, Reply};
use crate::endpoint::Endpoint;
use crate::kind::{Doubt, Keys, Kind, Receipts};
use crate::retry_after::retry_after;
use crate::sender::Origin;
use crate::{Client, ConfigError, MayStart, Provider};

/// What it is and can.
pub static KIND: Kind = Kind {
    name: "http",
    service: "any server that takes a message as JSON",
    // The server decides: what it cannot carry it refuses as content.
    carries: &[
        (Channel::Whatsapp, Feature::BY_LINK),
        (Channel::Sms, Feature::BY_LINK),
        (Channel::Email, Feature::BY_LINK),
    ],
    refuses: &[(Feature::File, LINKS), (Feature::TemplateFile, LINKS)],
    secret: None,
    base_url: None,
    settings: &[],
    caps: &[],
    keys: Keys::Said,
    doubt: Doubt::Policy,
    receipts: Receipts::Webhook,
    no_deliveries: None,
    echoes: true,
    names_hook: false,
    window: false,
    text_chars_max: &[],
    naming: Naming::LanguageIfAny,
    origin: Origin::Registered,
    offers: &[],
};

/// Codes that blame the recipient, whatever their case; any other code of a 4xx blames the content.
pub const RECIPIENT_CODES: &[&str] = &[
    "blocked_recipient",
    "invalid_address",
    "invalid_email",
    "invalid_number",
    "invalid_phone",
    "invalid_recipient",
    "not_on_channel",
    "opted_out",
    "recipient_not_found",
    "unknown_recipient",
    "unreachable",
    "unsubscribed",
];

const LINKS: &str = "the server is given links: give a url instead of a file";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const AGENT: HeaderValue = HeaderValue::from_static("fanfare");
/// What the fields around the text of a message come to, generously.
const BODY_BYTES_AROUND: usize = 320;
/// A longer code is taken for prose.
const CODE_BYTES_MAX: usize = 48;
/// A code with more digits is taken for a phone number.
const CODE_DIGITS_MAX: usize = 7;

/// An account at a generic provider.
#[derive(Debug)]
pub struct Http {
    endpoint: Endpoint,
    path: Uri,
    headers: HeaderMap,
    clock: Clock,
}

#[derive(Serialize)]
struct Body<'a> {
    id: Uuid,
    to: &'a str,
    from: Option<&'a str>,
    channel: &'static str,
    template: Option<&'a str>,
    text: Option<&'a str>,
    params: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a Content>,
    campaign: &'a str,
    #[serde(serialize_with = "as_text")]
    run: i64,
}

fn as_text<S: serde::Serializer>(n: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(n)
}

impl Http {
    /// From the settings `{"url": …}` and the token.
    ///
    /// # Errors
    /// [`ConfigError`] names what cannot be used.
    pub(crate) fn open(settings: &Settings, secret: Option<&str>, client: &Client) -> Result<Self, ConfigError> {
        let url = settings.url()?;
        let endpoint = Endpoint::new(&url, client)?;
        let path = url[url::Position::BeforePath..url::Position::AfterQuery].parse().map_err(|_| {
            ConfigError::Field { field: "url", found: url.to_string(), expected: "a path of at most 65534 bytes" }
        })?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, endpoint.authority.clone());
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT, JSON);
        headers.insert(CONTENT_TYPE, JSON);
        if let Some(secret) = secret {
            let mut bearer = HeaderValue::try_from(format!("Bearer {secret}")).map_err(|_| ConfigError::Secret)?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        Ok(Self { endpoint, path, headers, clock: client.clock.clone() })
    }

    fn request(&self, message: &OutMessage) -> Outgoing {
        let mut key = [0; Hyphenated::LENGTH];
        let key = message.id.hyphenated().encode_lower(&mut key);
        let mut request = Request::new(Full::new(body(message)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = self.headers.clone();
        let key = HeaderValue::from_str(key).expect("a UUID is hexadecimal digits and hyphens");
        request.headers_mut().insert(IDEMPOTENCY_KEY, key);
        request
    }

    fn answer(&self, reply: &Reply) -> Answer {
        let status = reply.status.as_u16();
        if reply.status.is_success() {
            return accepted(status, reply.body.as_deref());
        }
        let code = reply.body.as_deref().and_then(code);
        let (kind, wait) = match status {
            429 => (FailureKind::Throttled, retry_after(&reply.headers, self.clock.now())),
            503 => (FailureKind::Transient, retry_after(&reply.headers, self.clock.now())),
            _ => (kind_of(status, code.as_deref()), None),
        };
        let detail = code.map_or_else(|| status.to_string(), |code| format!("{status} {code}"));
        Answer::Failed(Failure::new(kind, detail).after(wait))
    }
}

impl Provider for Http {
    async fn send(&self, message: &OutMessage, may_start: MayStart<'_>) -> Answer {
        match self.endpoint.exchange(self.request(message), may_start).await {
            Ok(reply) => self.answer(&reply),
            Err(none) => none.into(),
        }
    }
}

fn body(message: &OutMessage) -> Bytes {
    let (subject, text, template, language, params): (_, _, _, _, &[String]) = match &message.content {
        Content::Text { subject, body } => (subject.as_deref(), Some(body.as_str()), None, None, &[]),
        Content::Template(approved) if approved.is_plain() => {
            let language = Some(approved.language.as_str()).filter(|l| !l.is_empty());
            (None, None, Some(approved.name.as_str()), language, &approved.params)
        }
        _ => (None, None, None, None, &[]),
    };
    let body = Body {
        id: message.id,
        to: &message.to,
        from: message.from.as_deref(),
        channel: message.channel.as_str(),
        template,
        text,
        params,
        subject,
        language,
        content: (text.is_none() && template.is_none()).then_some(&message.content),
        campaign: &message.campaign,
        run: message.run_id,
    };
    let mut bytes = Vec::with_capacity(BODY_BYTES_AROUND + text.map_or(0, str::len));
    serde_json::to_writer(&mut bytes, &body).expect("strings and numbers are JSON, and memory takes any write");
    bytes.into()
}

/// A 2xx is sent only if it says so in the agreed words: anything else may come from a proxy.
fn accepted(status: u16, body: Option<&[u8]>) -> Answer {
    #[derive(Deserialize)]
    struct Accepted {
        id: Id,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Number(serde_json::Number),
    }
    let id = match body.and_then(|body| serde_json::from_slice(body).ok()) {
        Some(Accepted { id: Id::Text(id) }) if !id.is_empty() => id,
        Some(Accepted { id: Id::Number(id) }) => id.to_string(),
        _ => return Answer::Failed(Failure::new(FailureKind::Unknown, format!("{status} without an id"))),
    };
    // The database cannot hold every character, and nobody could look such an id up.
    let usable = id.len() <= PROVIDER_ID_BYTES_MAX && !id.contains(char::is_control);
    Answer::Sent { provider_id: usable.then_some(id) }
}

fn kind_of(status: u16, code: Option<&str>) -> FailureKind {
    let recipient = code.is_some_and(|code| RECIPIENT_CODES.iter().any(|known| known.eq_ignore_ascii_case(code)));
    match status {
        408 | 409 => FailureKind::Unknown,
        300..400 | 401..=403 | 407 => FailureKind::Configuration,
        400..500 if recipient => FailureKind::PermanentRecipient,
        404 | 405 | 410 => FailureKind::Configuration,
        400..500 => FailureKind::PermanentContent,
        _ => FailureKind::Unknown,
    }
}

/// The code in a failure's body, if there is one that can be neither an address nor text.
fn code(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let code = match body.pointer("/error/code").or_else(|| body.get("code"))? {
        Value::String(code) => code.clone(),
        Value::Number(code) => code.to_string(),
        _ => return None,
    };
    let plain = !code.is_empty() && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    let digits = code.bytes().filter(u8::is_ascii_digit).count();
    (plain && code.len() <= CODE_BYTES_MAX && digits <= CODE_DIGITS_MAX).then_some(code)
}
