//! Calls to an interface of many paths: the connections, the headers that all calls share, and what the
//! network's failures and a bare status mean.

use std::fmt;

use bytes::Bytes;
use fanfare_domain::clock::Clock;
use fanfare_domain::content::StoredFile;
use fanfare_domain::limits::{LIST_PAGE_BYTES_MAX, UPLOAD_TIMEOUT};
use fanfare_domain::outcome::{Answer, Failure, FailureKind};
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method, Request, Uri};
use serde_json::Value;
use url::Url;

use crate::connection::{AnswerMax, Reply, Within};
use crate::endpoint::{Endpoint, NoAnswer};
use crate::retry_after::retry_after;
use crate::{Client, ConfigError, MayStart};

const AGENT: HeaderValue = HeaderValue::from_static("fanfare");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// The interface of a provider.
#[derive(Debug)]
pub(crate) struct Caller {
    endpoint: Endpoint,
    /// Path of the base URL, without the slash at its end.
    prefix: String,
    headers: HeaderMap,
    secret_query: Option<Hidden>,
    pub clock: Clock,
}

/// Something that is shown to nobody.
#[derive(Clone)]
pub(crate) struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// One call.
pub(crate) struct Call {
    pub method: Method,
    /// Behind the base URL, with its slash, and its query if it has one.
    pub path: String,
    pub payload: Payload,
    /// For this call only.
    pub headers: Vec<(HeaderName, String)>,
    /// Whether its answer is a page of a list, which may be long.
    pub lists: bool,
}

pub(crate) enum Payload {
    Nothing,
    Json(Vec<u8>),
    Form(String),
    /// A file among the fields of a form, under this content type.
    File(String, Vec<u8>),
}

impl Call {
    fn new(method: Method, path: impl Into<String>, payload: Payload) -> Self {
        Self { method, path: path.into(), payload, headers: Vec::new(), lists: false }
    }

    /// A GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, Payload::Nothing)
    }

    /// A GET of a page of a list.
    pub fn list(path: impl Into<String>) -> Self {
        Self { lists: true, ..Self::get(path) }
    }

    /// A POST of JSON.
    pub fn post(path: impl Into<String>, body: &impl serde::Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("our bodies are JSON, and memory takes any write");
        Self::new(Method::POST, path, Payload::Json(body))
    }

    /// A POST of a form.
    pub fn form(path: impl Into<String>, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Self::new(Method::POST, path, Payload::Form(body))
    }

    /// A POST of a form with texts and a file, in parts (RFC 7578).
    pub fn upload(path: impl Into<String>, fields: &[(&str, &str)], file: &StoredFile, bytes: &[u8]) -> Self {
        // No file holds its own hash.
        let boundary = format!("fanfare-{}", &file.sha256);
        let mut body = Vec::with_capacity(bytes.len() + 1024);
        for (name, value) in fields {
            let part = format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend_from_slice(part.as_bytes());
        }
        let plain = |c: char| if c.is_control() || c == '"' || c == '\\' { '_' } else { c };
        let (name, mime): (String, _) = (file.name.chars().map(plain).collect(), &file.mime);
        let head = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\ncontent-type: {mime}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        Self::new(Method::POST, path, Payload::File(format!("multipart/form-data; boundary={boundary}"), body))
    }

    /// The same with a header.
    pub fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Caller {
    /// Of the interface at `base`.
    pub fn new(base: &Url, client: &Client) -> Result<Self, ConfigError> {
        let endpoint = Endpoint::new(base, client)?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, endpoint.authority.clone());
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT, JSON);
        let prefix = base.path().trim_end_matches('/').to_owned();
        Ok(Self { endpoint, prefix, headers, secret_query: None, clock: client.clock.clone() })
    }

    /// The same with `Authorization: {scheme} {token}` on every call.
    pub fn authorized(mut self, scheme: &str, token: &str) -> Result<Self, ConfigError> {
        let mut value = HeaderValue::try_from(format!("{scheme} {token}")).map_err(|_| ConfigError::Secret)?;
        value.set_sensitive(true);
        self.headers.insert(AUTHORIZATION, value);
        Ok(self)
    }

    /// The same with `{name}={secret}` in the query of every call.
    pub fn with_secret_query(mut self, name: &str, secret: &str) -> Self {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair(name, secret).finish();
        self.secret_query = Some(Hidden(query));
        self
    }

    /// Makes a call once, and reads the answer.
    pub async fn call(&self, call: Call, may_start: MayStart<'_>) -> Result<Reply, NoAnswer> {
        let mut headers = self.headers.clone();
        let is_file = matches!(call.payload, Payload::File(..));
        let (body, kind) = match call.payload {
            Payload::Nothing => (Bytes::new(), None),
            Payload::Json(json) => (Bytes::from(json), Some(JSON)),
            Payload::Form(form) => (Bytes::from(form), Some(FORM)),
            Payload::File(kind, body) => (Bytes::from(body), HeaderValue::try_from(kind).ok()),
        };
        headers.extend(kind.map(|kind| (CONTENT_TYPE, kind)));
        for (name, value) in call.headers {
            let mut value = HeaderValue::try_from(value).map_err(|_| NoAnswer::Unreachable("header refused"))?;
            value.set_sensitive(name == AUTHORIZATION);
            headers.insert(name, value);
        }
        let mut request = Request::new(Full::new(body));
        *request.uri_mut() = self.target(&call.path)?;
        *request.method_mut() = call.method;
        *request.headers_mut() = headers;
        if is_file {
            request.extensions_mut().insert(Within(UPLOAD_TIMEOUT));
        }
        if call.lists {
            request.extensions_mut().insert(AnswerMax(LIST_PAGE_BYTES_MAX));
        }
        self.endpoint.exchange(request, may_start).await
    }

    fn target(&self, path: &str) -> Result<Uri, NoAnswer> {
        let mut target = format!("{}{path}", self.prefix);
        if let Some(Hidden(query)) = &self.secret_query {
            target.push(if path.contains('?') { '&' } else { '?' });
            target.push_str(query);
        }
        Uri::try_from(target).map_err(|_| NoAnswer::Unreachable("path refused"))
    }

    /// What a status means of which the provider's own words say nothing more: nothing that would be sent
    /// again by it may have been accepted.
    pub fn by_status(&self, reply: &Reply) -> Failure {
        let status = reply.status.as_u16();
        let kind = match status {
            429 => FailureKind::Throttled,
            408 | 409 => FailureKind::Unknown,
            300..400 | 401 | 402 | 403 | 407 => FailureKind::Configuration,
            400..500 => FailureKind::PermanentContent,
            _ => FailureKind::Unknown,
        };
        Failure::new(kind, status.to_string()).after(self.retry_after(reply))
    }

    /// How long the server asks us to wait.
    pub fn retry_after(&self, reply: &Reply) -> Option<std::time::Duration> {
        retry_after(&reply.headers, self.clock.now())
    }
}

impl Reply {
    /// The body as JSON, if it came whole and is.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(self.body.as_deref()?).ok()
    }

    /// What it says of a failure, for an error table to look for fragments in: the texts and numbers at
    /// these pointers, or all of a body that is no JSON.
    pub fn said(&self, pointers: &[&str]) -> String {
        match self.json() {
            Some(body) => {
                let words = pointers.iter().filter_map(|pointer| match body.pointer(pointer)? {
                    Value::String(text) => Some(text.clone()),
                    Value::Number(number) => Some(number.to_string()),
                    _ => None,
                });
                words.collect::<Vec<_>>().join("\n")
            }
            None => String::from_utf8_lossy(self.body.as_deref().unwrap_or_default()).into_owned(),
        }
    }
}

/// Yes or no, which may stand in quotes.
pub(crate) fn yes_or_no(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| value.as_str()?.parse().ok())
}

impl From<NoAnswer> for Answer {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::NotStarted => Self::NotStarted,
            failed => Self::Failed(failed.into()),
        }
    }
}

/// For a call that sends nothing.
impl From<NoAnswer> for Failure {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Unreachable(how) => Self::new(FailureKind::Unreachable, how),
            NoAnswer::InDoubt(how) => Self::new(FailureKind::Unknown, how),
            NoAnswer::NotStarted => Self::new(FailureKind::Unreachable, "too late to start"),
        }
    }
}

/// A message id of a provider as it is kept: a text or a number, found by a JSON pointer.
pub(crate) fn provider_id(body: &Value, pointer: &str) -> Option<String> {
    let id = match body.pointer(pointer)? {
        Value::String(id) => id.clone(),
        Value::Number(id) => id.to_string(),
        _ => return None,
    };
    (!id.is_empty()).then_some(id)
}

/// The id as the database can hold it and somebody could look it up; else none.
pub(crate) fn kept(id: String) -> Option<String> {
    (id.len() <= fanfare_domain::limits::PROVIDER_ID_BYTES_MAX && !id.contains(char::is_control)).then_some(id)
}
