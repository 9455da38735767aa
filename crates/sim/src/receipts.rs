//! Delivery receipts, posted to whoever wants them: each acceptance is delivered at once, or late, or twice.
//!
//! `POST {target}` with `{"id": …, "provider_id": …, "status": "delivered", "at_us": …}`. One connection,
//! one receipt after the other; one that is not answered with 2xx is counted and not posted again.

use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use serde::Serialize;
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

/// Where receipts go: an `http://HOST:PORT/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    authority: String,
    path: String,
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

/// A receipt on its way.
#[derive(Debug)]
pub(crate) struct Receipt {
    pub id: Uuid,
    pub provider_id: String,
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

/// Posts what comes into the outbox, for ever.
pub(crate) async fn post_all(
    target: Target,
    outbox: Outbox,
    mut waiting: mpsc::Receiver<Receipt>,
    provider: Arc<Provider>,
) {
    let mut connection = None;
    while let Some(receipt) = waiting.recv().await {
        if receipt.late {
            let (outbox, provider) = (outbox.clone(), provider.clone());
            tokio::spawn(async move {
                sleep(LATE).await;
                if !outbox.put(Receipt { late: false, ..receipt }) {
                    provider.receipt_posted(false);
                }
            });
            continue;
        }
        let at_us = provider.unix_us(Instant::now());
        let posted = timeout(ANSWER_TIMEOUT, post(&target, &mut connection, &receipt, at_us)).await;
        let taken = matches!(posted, Ok(Ok(true)));
        if !taken {
            connection = None;
        }
        provider.receipt_posted(taken);
    }
}

#[derive(Serialize)]
struct Body<'a> {
    id: Uuid,
    provider_id: &'a str,
    status: &'static str,
    at_us: i64,
}

/// Posts one receipt; whether it was answered with 2xx.
async fn post(target: &Target, connection: &mut Option<TcpStream>, receipt: &Receipt, at_us: i64) -> io::Result<bool> {
    let body = Body { id: receipt.id, provider_id: &receipt.provider_id, status: "delivered", at_us };
    let body = serde_json::to_string(&body)?;
    let Target { authority, path } = target;
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
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
