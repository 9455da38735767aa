//! Delivery receipts, posted to whoever wants them as the interface words them: at once, or late, or twice,
//! and in no particular order. One that is not answered with 2xx is counted and not posted again.

use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::ConfigError;
use crate::provider::Provider;

/// Most receipts that wait to be posted.
const WAITING_MAX: usize = 100_000;
/// How late a late receipt is.
const LATE: Duration = Duration::from_secs(2);
/// Longest wait for the answer to a receipt.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const HEADERS_MAX: usize = 64;
/// Receipts posted at once.
const POSTERS: usize = 8;

/// Where receipts go: an `http://HOST:PORT/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    authority: String,
    path: String,
}

impl Target {
    /// As it is written.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.authority, self.path)
    }
}

impl FromStr for Target {
    type Err = ConfigError;

    fn from_str(url: &str) -> Result<Self, ConfigError> {
        let refused = || ConfigError::new("URL", url, "http://HOST:PORT/PATH, for example http://127.0.0.1:8080/in");
        let rest = url.strip_prefix("http://").ok_or_else(refused)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = authority.rsplit_once(':').ok_or_else(refused)?;
        let plain = url.bytes().all(|b| b.is_ascii_graphic());
        if host.is_empty() || port.parse::<u16>().is_err() || !plain {
            return Err(refused());
        }
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { authority: authority.to_owned(), path: path.to_owned() })
    }
}

/// What a receipt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It left the provider.
    Sent,
    /// It is on the device.
    Delivered,
    /// It was seen.
    Read,
}

impl Status {
    /// As most interfaces call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }
}

impl FromStr for Status {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        let found = [Self::Sent, Self::Delivered, Self::Read].into_iter().find(|s| s.as_str() == name);
        found.ok_or_else(|| ConfigError::new("receipt", name, "sent, delivered or read"))
    }
}

/// A receipt on its way.
#[derive(Debug, Clone)]
pub(crate) struct Receipt {
    pub id: Uuid,
    pub provider_id: String,
    /// What of the sender's the interface echoes.
    pub reference: Option<String>,
    /// Where it is posted, if its message said so.
    pub target: Option<Target>,
    pub to: String,
    pub status: Status,
    pub late: bool,
}

/// Where receipts wait.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(mpsc::Sender<Receipt>);

impl Outbox {
    pub fn new() -> (Self, mpsc::Receiver<Receipt>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }

    /// False if there is no room, and the receipt is lost.
    pub fn put(&self, receipt: Receipt) -> bool {
        self.0.try_send(receipt).is_ok()
    }
}

/// Posts what comes into the outbox, for ever: several at once, each over a connection of its own.
pub(crate) async fn post_all(outbox: Outbox, mut waiting: mpsc::Receiver<Receipt>, provider: Arc<Provider>) {
    let mut idle: Vec<TcpStream> = Vec::new();
    let mut posting = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(connection) = posting.next(), if !posting.is_empty() => idle.extend(connection),
            Some(receipt) = waiting.recv(), if posting.len() < POSTERS => {
                if receipt.late {
                    put_later(outbox.clone(), receipt, provider.clone());
                } else {
                    posting.push(post_one(idle.pop(), receipt, provider.clone()));
                }
            }
        }
    }
}

fn put_later(outbox: Outbox, receipt: Receipt, provider: Arc<Provider>) {
    tokio::spawn(async move {
        sleep(LATE).await;
        if !outbox.put(Receipt { late: false, ..receipt }) {
            provider.receipt_posted(false);
        }
    });
}

/// Posts one receipt; gives the connection back if it may be used on.
async fn post_one(connection: Option<TcpStream>, receipt: Receipt, provider: Arc<Provider>) -> Option<TcpStream> {
    let at_us = provider.unix_us(Instant::now());
    // Without somebody to tell nothing is put into the outbox.
    let target = receipt.target.clone().or_else(|| provider.receipts_to())?;
    let post = provider.dialect.receipt(&receipt, at_us, &target, provider.hook_key())?;
    let mut connection = connection;
    let posted = timeout(ANSWER_TIMEOUT, send(&target, &mut connection, &post)).await;
    let taken = matches!(posted, Ok(Ok(true)));
    provider.receipt_posted(taken);
    connection.filter(|_| taken)
}

/// A request to whoever wants receipts.
#[derive(Debug)]
pub(crate) struct Post {
    pub content_type: &'static str,
    /// The header of a signature, where the interface signs.
    pub signature: Option<(&'static str, String)>,
    pub body: String,
}

impl Post {
    /// JSON, unsigned.
    pub fn json(body: &serde_json::Value) -> Self {
        Self { content_type: "application/json", signature: None, body: body.to_string() }
    }
}

/// Sends a post; whether it was answered with 2xx.
async fn send(target: &Target, connection: &mut Option<TcpStream>, post: &Post) -> io::Result<bool> {
    let Target { authority, path } = target;
    let Post { content_type, body, .. } = post;
    let signature = post.signature.as_ref().map(|(name, value)| format!("{name}: {value}\r\n")).unwrap_or_default();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: {content_type}\r\n{signature}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(authority).await?;
            stream.set_nodelay(true)?;
            stream
        }
    };
    stream.write_all(request.as_bytes()).await?;
    let (status, is_reusable) = read_answer(&mut stream).await?;
    if is_reusable {
        *connection = Some(stream);
    }
    Ok((200..300).contains(&status))
}

/// Reads an answer to its end if it says where that is; its status, and whether the connection may be used on.
async fn read_answer(stream: &mut TcpStream) -> io::Result<(u16, bool)> {
    let mut buffer = BytesMut::new();
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let parsed = head.parse(&buffer).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        let httparse::Status::Complete(head_bytes) = parsed else { continue };
        let find = |name: &str| head.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value);
        let length = find("content-length").and_then(|v| std::str::from_utf8(v).ok()?.parse::<usize>().ok());
        let closes = find("connection").is_some_and(|v| v.eq_ignore_ascii_case(b"close"));
        let status = head.code.unwrap_or_default();
        match length {
            Some(length) if buffer.len() < head_bytes + length => {}
            Some(_) => return Ok((status, !closes)),
            None => return Ok((status, false)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_plain_http_address() {
        let target: Target = "http://127.0.0.1:8080/in?x=1".parse().unwrap();
        assert_eq!((target.authority.as_str(), target.path.as_str()), ("127.0.0.1:8080", "/in?x=1"));
        assert_eq!("http://localhost:80".parse::<Target>().unwrap().path, "/");
        for bad in ["", "127.0.0.1:80", "https://a:1/", "http://a/", "http://:1/", "http://a:x/", "http://a:1/ b"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
