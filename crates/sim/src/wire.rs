//! The wire format, read anew: HTTP/1.1 with `httparse`, and the message in the body.

use std::ops::Range;
use std::time::Instant;

use bytes::{Buf as _, BytesMut};
use tokio::net::TcpStream;

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
    authorization: Option<Range<usize>>,
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
            authorization: None,
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
            request.authorization = Some(self.range(header.value));
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

    /// All that an interface reads of a request.
    pub fn parts(&self, request: &Request) -> Parts<'_> {
        let (method, target) = self.line(request);
        let text = |range: &Option<Range<usize>>| range.as_ref().map(|range| self.text(range));
        Parts {
            method,
            target,
            authorization: text(&request.authorization),
            key: text(&request.key),
            body: self.body(request),
        }
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

/// A request, as an interface reads it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    pub authorization: Option<&'a str>,
    /// The Idempotency-Key.
    pub key: Option<&'a str>,
    pub body: &'a [u8],
}

impl<'a> Parts<'a> {
    /// The bearer token.
    pub fn bearer(&self) -> Option<&'a str> {
        self.authorization?.strip_prefix("Bearer ")
    }

    /// The target without its query.
    pub fn path(&self) -> &'a str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query, or nothing.
    pub fn query(&self) -> &'a str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}
