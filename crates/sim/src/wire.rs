//! The wire format, read anew: HTTP/1.1 with `httparse`, and the message in the body.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Instant;

use bytes::{Buf as _, BytesMut};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::arrival;

/// Longest request head, bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest request body, bytes.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
const HEADERS_MAX: usize = 64;

/// Reads the requests of one connection.
#[derive(Debug)]
pub(crate) struct Reader {
    buffer: BytesMut,
    /// When the first bytes of the next request arrived.
    arrived: Instant,
}

/// One request, whole, in the reader's buffer.
#[derive(Debug)]
pub(crate) struct Request {
    /// When its first bytes arrived.
    pub arrived: Instant,
    /// Whether the client wants the connection closed after the answer.
    pub last: bool,
    method: Range<usize>,
    target: Range<usize>,
    bearer: Option<Range<usize>>,
    key: Option<Range<usize>>,
    body: Range<usize>,
}

/// Why no request could be read.
#[derive(Debug)]
pub(crate) enum NoRequest {
    /// The connection is over.
    Closed,
    /// What came is no request that this server reads.
    Malformed(&'static str),
}

impl Reader {
    /// Of a new connection.
    pub fn new() -> Self {
        Self { buffer: BytesMut::new(), arrived: Instant::now() }
    }

    /// Reads the next request whole. It stays in the buffer until [`Reader::done`].
    ///
    /// # Errors
    /// [`NoRequest`] if there is none.
    pub async fn next(&mut self, stream: &TcpStream) -> Result<Request, NoRequest> {
        loop {
            if let Some(request) = self.parse()? {
                return Ok(request);
            }
            let is_first = self.buffer.is_empty();
            match arrival::read(stream, &mut self.buffer).await {
                Ok((0, _)) | Err(_) => return Err(NoRequest::Closed),
                Ok((_, at)) if is_first => self.arrived = at,
                Ok(_) => {}
            }
        }
    }

    fn parse(&self) -> Result<Option<Request>, NoRequest> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Request::new(&mut headers);
        let head_bytes = match head.parse(&self.buffer) {
            Ok(httparse::Status::Complete(bytes)) => bytes,
            Ok(httparse::Status::Partial) if self.buffer.len() <= HEAD_BYTES_MAX => return Ok(None),
            Ok(httparse::Status::Partial) => return Err(NoRequest::Malformed("head too long")),
            Err(_) => return Err(NoRequest::Malformed("not HTTP/1.1")),
        };
        let (Some(method), Some(target)) = (head.method, head.path) else {
            return Err(NoRequest::Malformed("not HTTP/1.1"));
        };
        let mut request = Request {
            arrived: self.arrived,
            last: head.version == Some(0),
            method: self.range(method.as_bytes()),
            target: self.range(target.as_bytes()),
            bearer: None,
            key: None,
            body: head_bytes..head_bytes,
        };
        for header in head.headers.iter() {
            self.note(header, &mut request)?;
        }
        Ok((self.buffer.len() >= request.body.end).then_some(request))
    }

    fn note(&self, header: &httparse::Header<'_>, request: &mut Request) -> Result<(), NoRequest> {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            let length = std::str::from_utf8(header.value).ok().and_then(|v| v.parse::<usize>().ok());
            match length {
                Some(length) if length <= BODY_BYTES_MAX => request.body.end = request.body.start + length,
                _ => return Err(NoRequest::Malformed("content-length")),
            }
        } else if is("authorization") {
            request.bearer = header.value.strip_prefix(b"Bearer ").map(|token| self.range(token));
        } else if is("idempotency-key") {
            request.key = Some(self.range(header.value));
        } else if is("connection") {
            request.last |= header.value.eq_ignore_ascii_case(b"close");
        } else if is("transfer-encoding") {
            return Err(NoRequest::Malformed("a body without content-length"));
        }
        Ok(())
    }

    /// Where a part of the buffer lies in it.
    fn range(&self, part: &[u8]) -> Range<usize> {
        let start = part.as_ptr() as usize - self.buffer.as_ptr() as usize;
        start..start + part.len()
    }

    fn text(&self, range: &Range<usize>) -> &str {
        std::str::from_utf8(&self.buffer[range.clone()]).unwrap_or_default()
    }

    /// Method and target.
    pub fn line(&self, request: &Request) -> (&str, &str) {
        (self.text(&request.method), self.text(&request.target))
    }

    /// The bearer token.
    pub fn bearer(&self, request: &Request) -> Option<&str> {
        request.bearer.as_ref().map(|range| self.text(range))
    }

    /// The idempotency key.
    pub fn key(&self, request: &Request) -> Option<&str> {
        request.key.as_ref().map(|range| self.text(range))
    }

    /// The body.
    pub fn body(&self, request: &Request) -> &[u8] {
        &self.buffer[request.body.clone()]
    }

    /// Forgets a request that has been dealt with.
    pub fn done(&mut self, request: &Request) {
        self.buffer.advance(request.body.end);
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

/// A message, as a provider reads it. Fields it does not know are refused: the format is agreed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message<'a> {
    /// Its id, which is also the idempotency key.
    pub id: Uuid,
    /// Its address.
    #[serde(borrow)]
    pub to: Cow<'a, str>,
    #[serde(borrow)]
    channel: Cow<'a, str>,
    text: Option<IgnoredAny>,
    template: Option<IgnoredAny>,
    #[serde(rename = "params")]
    _params: Vec<IgnoredAny>,
    #[serde(rename = "from")]
    _from: Option<IgnoredAny>,
    #[serde(default, rename = "subject")]
    _subject: Option<IgnoredAny>,
    #[serde(default, rename = "language")]
    _language: Option<IgnoredAny>,
    #[serde(borrow, rename = "campaign")]
    _campaign: Cow<'a, str>,
    #[serde(borrow, rename = "run")]
    _run: Cow<'a, str>,
}

impl<'a> Message<'a> {
    /// Reads the message of a request.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn read(body: &'a [u8], key: Option<&str>) -> Result<Self, &'static str> {
        let message: Self = serde_json::from_slice(body).map_err(|_| "the body is not a message")?;
        let kinds = ["whatsapp", "sms", "email"];
        if key.and_then(|k| Uuid::parse_str(k).ok()) != Some(message.id) {
            Err("the idempotency key is not the message's id")
        } else if !kinds.contains(&&*message.channel) || message.to.is_empty() {
            Err("channel or address")
        } else if message.text.is_some() == message.template.is_some() {
            Err("a message has either a text or a template")
        } else {
            Ok(message)
        }
    }
}
