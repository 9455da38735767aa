//! One connection to a provider, and one exchange over it.
//!
//! The protocol is hyper's low-level HTTP/1 connection, polled by the very task that waits for the
//! answer. So there is no task for each connection, and whoever stops waiting closes the socket.
//!
//! What hyper promises, and what the classes of outcome rest on: a request comes back out of
//! `try_send_request` only if it was still queued, before its first byte was put into the connection's
//! buffer (`client/dispatch.rs`). And each round of the connection reads before it writes
//! (`proto/h1/dispatch.rs`, `poll_loop`), so that a close that came while idle is seen first.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use fanfare_domain::limits::ANSWER_BYTES_MAX;
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::client::conn::{TrySendError, http1};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

pub(crate) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;
pub(crate) type Outgoing = Request<Full<Bytes>>;

/// An extension of a request whose answer may be longer than [`ANSWER_BYTES_MAX`]: up to so many bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnswerMax(pub usize);

type Protocol = http1::Connection<TokioIo<Stream>, Full<Bytes>>;

/// An extension of a request that may take longer than others, as handing over a file does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Within(pub Duration);

/// What a provider answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Absent if it broke off, or is longer than [`ANSWER_BYTES_MAX`] or what the request allowed.
    pub body: Option<Bytes>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Lost {
    /// Not a byte of the request was written: here it is again.
    Unsent(Box<Outgoing>),
    /// The provider may have it. Says how the connection failed.
    InDoubt(&'static str),
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// None once the connection is over.
    protocol: Option<Protocol>,
}

impl Connection {
    /// Speaks HTTP/1.1 over a stream. Writes nothing yet.
    pub async fn over(stream: Stream) -> Result<Self, hyper::Error> {
        let (sender, protocol) =
            http1::Builder::new().max_buf_size(ANSWER_BYTES_MAX).handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, protocol: Some(protocol) })
    }

    /// Whether another exchange may follow.
    pub fn is_reusable(&self) -> bool {
        self.protocol.is_some() && self.sender.is_ready()
    }

    /// Sends a request and reads the answer, all within `limit`.
    pub async fn exchange(&mut self, request: Outgoing, limit: Duration) -> Result<Reply, Lost> {
        let mut head = None;
        let allowed = request.extensions().get().map(|Within(time)| *time);
        let bytes_max = request.extensions().get().map_or(ANSWER_BYTES_MAX, |AnswerMax(bytes)| *bytes);
        let answer = async {
            let response = self.sender.try_send_request(request).await?;
            let (parts, body) = response.into_parts();
            head = Some(parts);
            let whole = Limited::new(body, bytes_max).collect().await;
            Ok::<_, TrySendError<Outgoing>>(whole.ok().map(Collected::to_bytes))
        };
        let limit = allowed.unwrap_or(limit);
        let outcome = timeout(limit, driven(&mut self.protocol, answer)).await;
        match (outcome, head) {
            (Ok(Ok(body)), Some(head)) => Ok(Reply { status: head.status, headers: head.headers, body }),
            // The status came, the body did not.
            (_, Some(head)) => Ok(Reply { status: head.status, headers: head.headers, body: None }),
            (Ok(Err(mut lost)), None) => Err(match lost.take_message() {
                Some(request) => Lost::Unsent(Box::new(request)),
                None => Lost::InDoubt(name_of(&lost.into_error())),
            }),
            (Ok(Ok(_)) | Err(_), None) => Err(Lost::InDoubt("timeout")),
        }
    }
}

/// Waits for `answer` while moving the connection that it depends on.
async fn driven<T>(protocol: &mut Option<Protocol>, answer: impl Future<Output = T>) -> T {
    let mut answer = pin!(answer);
    poll_fn(|cx| {
        // First the request is queued, then the connection moves, then the answer may be there.
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        let Some(connection) = protocol else { return Poll::Pending };
        if Pin::new(connection).poll(cx).is_ready() {
            // What went wrong, if anything, reaches the answer by its own channel.
            *protocol = None;
        }
        answer.as_mut().poll(cx)
    })
    .await
}

/// A short name for what happened to a connection: no addresses, few different ones.
fn name_of(error: &hyper::Error) -> &'static str {
    if error.is_parse() {
        return "malformed answer";
    }
    if error.is_incomplete_message() {
        return "connection closed";
    }
    match error.source().and_then(|e| e.downcast_ref::<io::Error>()) {
        Some(e) => io_name(e),
        None => "connection failed",
    }
}

/// A short name for a failure of a socket.
pub(crate) fn io_name(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            "connection reset"
        }
        io::ErrorKind::UnexpectedEof => "connection closed",
        io::ErrorKind::TimedOut => "timeout",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no route",
        _ => "connection failed",
    }
}
