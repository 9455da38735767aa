//! A plain client over a bare socket, and a simulator to talk to.

use std::net::SocketAddr;

use fanfare_sim::{Config, Handle, Sim};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

/// Starts a simulator that serves as long as the test.
pub fn start(config: Config) -> Handle {
    let sim = Sim::bind(config, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let handle = sim.handle();
    tokio::spawn(sim.serve(std::future::pending()));
    handle
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn retry_after(&self) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix("retry-after: "))
    }
}

/// A connection of a client.
pub struct Client(pub TcpStream);

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub async fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads one answer; fails as the connection does.
    pub async fn read(&mut self) -> std::io::Result<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).await?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(Answer { status, head, body: String::from_utf8(body).unwrap() })
    }

    pub async fn get(&mut self, target: &str) -> Answer {
        self.write(&format!("GET {target} HTTP/1.1\r\nhost: sim\r\n\r\n")).await;
        self.read().await.unwrap()
    }

    pub async fn post(&mut self, target: &str, body: &Value) -> Answer {
        let body = body.to_string();
        let length = body.len();
        self.write(&format!("POST {target} HTTP/1.1\r\nhost: sim\r\ncontent-length: {length}\r\n\r\n{body}")).await;
        self.read().await.unwrap()
    }

    /// Sends the message with this number, and reads the answer.
    pub async fn send(&mut self, n: u128) -> std::io::Result<Answer> {
        self.write(&request(n, "s3cret")).await;
        self.read().await
    }
}

/// The body of the message with this number.
pub fn body(n: u128) -> Value {
    json!({
        "id": Uuid::from_u128(n), "to": format!("+2135550{n:05}"), "from": null, "channel": "sms", "template": null,
        "text": "Hello", "params": [], "campaign": "spring", "run": "1"
    })
}

/// The request that sends the message with this number.
pub fn request(n: u128, bearer: &str) -> String {
    request_of(&body(n), &Uuid::from_u128(n).to_string(), bearer)
}

/// The request with this body, key and token.
pub fn request_of(body: &Value, key: &str, bearer: &str) -> String {
    let body = body.to_string();
    format!(
        "POST /send HTTP/1.1\r\nhost: sim\r\nauthorization: Bearer {bearer}\r\nidempotency-key: {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
