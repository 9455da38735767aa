//! The other end of the line: a bare socket that shows what arrived.

use std::collections::BTreeMap;
use std::time::Duration;

use fanfare_domain::clock::Clock;
use fanfare_domain::content::Content;
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Answer, Failure, FailureKind};
use fanfare_providers::{Adapter, Client, open};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpListener;

/// A request as it came over the wire.
#[derive(Debug)]
pub struct Request {
    /// `POST /send HTTP/1.1`.
    pub line: String,
    /// By lower-case name; each may come once only.
    pub headers: BTreeMap<String, String>,
    /// As many bytes as content-length says.
    pub body: Vec<u8>,
}

/// Reads one whole request; `None` if the client closed instead.
pub async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let mut headers = BTreeMap::new();
    for header in lines {
        let (name, value) = header.split_once(": ").unwrap();
        assert!(headers.insert(name.to_lowercase(), value.to_owned()).is_none(), "{name} twice");
    }
    let length = headers.get("content-length").map_or(0, |length: &String| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    Some(Request { line, headers, body })
}

/// A listener on a free port, and the address to give to an account.
pub async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/send", listener.local_addr().unwrap());
    (listener, url)
}

/// A generic account at this address.
pub fn account(url: &str) -> Adapter {
    account_with(url, &Client::new(Clock::system()))
}

/// A generic account at this address that gives up on an answer soon.
pub fn hasty_account(url: &str) -> Adapter {
    let client = Client::new(Clock::system()).with_timeouts(Duration::from_secs(5), Duration::from_millis(100));
    account_with(url, &client)
}

/// A generic account at this address with this client.
pub fn account_with(url: &str, client: &Client) -> Adapter {
    open("http", &json!({ "url": url }), Some("s3cret"), client).unwrap()
}

/// Some message.
pub fn message() -> OutMessage {
    OutMessage {
        id: "5f0c1f0e-6b0d-5a64-9a0e-0b8a3c1d2e4f".parse().unwrap(),
        to: "+213555123456".into(),
        from: None,
        channel: Channel::Sms,
        content: Content::Text { subject: None, body: "Hello".into() },
        campaign: "spring".into(),
        run_id: 1,
        seq: 0,
        attempt: 1,
    }
}

/// An answer as it goes over the wire.
pub fn answer(status: u16, headers: &BTreeMap<String, String>, body: &str) -> String {
    let mut text = format!("HTTP/1.1 {status} Canned\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if status != 204 {
        text += &format!("content-length: {}\r\n", body.len());
    }
    text + "\r\n" + body
}

/// The answer of an accepting server.
pub fn accepted(id: &str) -> String {
    let body = format!(r#"{{"id":"{id}"}}"#);
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// What the adapter says of an accepted message.
pub fn sent(id: &str) -> Answer {
    Answer::Sent { provider_id: Some(id.into()) }
}

/// What the adapter says of a failed one.
pub fn failed(kind: FailureKind, detail: &str) -> Answer {
    Answer::Failed(Failure::new(kind, detail))
}
