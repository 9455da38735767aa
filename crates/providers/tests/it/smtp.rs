//! The mail server's side of the line, by script. `fixtures/providers/smtp/` holds
//!
//! - `account.json`: settings, secret and sender of the account (see `simulated`);
//! - `answers.json`: a reply at a stage, and what it means;
//! - `requests.json`: what is said, and the exact e-mail that says it, but for its date.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fanfare_domain::clock::Clock;
use fanfare_domain::content::Content;
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Answer, FailureKind};
use fanfare_providers::smtp::CONNECTIONS_MAX;
use fanfare_providers::{Adapter, Client, Provider as _, open};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::files::OneFile;
use crate::kinds::Outcome;
use crate::peer::{self, failed, listen};
use crate::tls::{acceptor, trusting_us};

/// What a server says at each stage; `None` closes the connection.
type Script = BTreeMap<&'static str, Option<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerCase {
    source: String,
    stage: String,
    reply: Option<String>,
    outcome: Outcome,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestCase {
    source: String,
    #[serde(default)]
    settings: BTreeMap<String, String>,
    from: String,
    to: String,
    content: Content,
    commands: Vec<String>,
    mail: Vec<String>,
}

fn read<T: DeserializeOwned>(name: &str) -> T {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/providers/smtp").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn script(changes: &[(&'static str, Option<&str>)]) -> Script {
    let usual = [
        ("connect", "220 mail.example.com ESMTP"),
        ("ehlo", "250-mail.example.com\r\n250-AUTH PLAIN LOGIN\r\n250-SIZE 1000000\r\n250 ENHANCEDSTATUSCODES"),
        ("starttls", "220 2.0.0 Ready"),
        ("auth", "235 2.7.0 Ok"),
        ("mail", "250 2.1.0 Ok"),
        ("rcpt", "250 2.1.5 Ok"),
        ("data", "354 Go on"),
        ("end", "250 2.0.0 Ok: queued"),
        ("rset", "250 2.0.0 Ok"),
    ];
    let all = usual.iter().map(|(stage, reply)| (*stage, Some(*reply))).chain(changes.iter().copied());
    all.map(|(stage, reply)| (stage, reply.map(str::to_owned))).collect()
}

/// Talks to one client by a script until one of them ends it; what the client said.
async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin, script: &Script, greet: bool) -> Vec<String> {
    let mut stream = BufReader::new(stream);
    let mut said: Vec<String> = Vec::new();
    let mut next = greet.then_some("connect");
    loop {
        if let Some(stage) = next {
            let Some(reply) = &script[stage] else { return said };
            if stream.write_all(format!("{reply}\r\n").as_bytes()).await.is_err() || reply.starts_with("421") {
                return said;
            }
            if stage == "data" && reply.starts_with("354") && !receive(&mut stream, &mut said).await {
                return said;
            }
            if stage == "data" && reply.starts_with("354") {
                next = Some("end");
                continue;
            }
            if stage == "starttls" {
                return said;
            }
        }
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return said;
        }
        let line = line.strip_suffix("\r\n").unwrap().to_owned();
        let verb = line.split([' ', ':']).next().unwrap().to_lowercase();
        said.push(line);
        let stage = script.keys().find(|stage| **stage == verb);
        next = Some(*stage.unwrap_or_else(|| panic!("{said:?}")));
    }
}

/// Reads an e-mail up to its final dot.
async fn receive(stream: &mut (impl tokio::io::AsyncBufRead + Unpin), said: &mut Vec<String>) -> bool {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return false;
        }
        said.push(line.strip_suffix("\r\n").unwrap().to_owned());
        if line == ".\r\n" {
            return true;
        }
    }
}

fn hasty() -> Client {
    Client::new(Clock::system()).with_timeouts(Duration::from_secs(5), Duration::from_millis(300))
}

/// An account at a listener without TLS.
fn account(listener: &TcpListener, more: &[(&str, &str)], client: &Client) -> Adapter {
    let mut settings = json!({ "url": format!("smtp://{}", listener.local_addr().unwrap()), "tls": "none" });
    settings["hello"] = "shop.example.com".into();
    more.iter().for_each(|(key, value)| settings[*key] = (*value).into());
    open("smtp", &settings, Some("s3cret"), &client.clone().with_files(Arc::new(OneFile::known()))).unwrap()
}

fn message() -> OutMessage {
    OutMessage {
        to: "amina@example.org".into(),
        from: Some("Shop <shop@example.com>".into()),
        channel: Channel::Email,
        content: Content::Text { subject: Some("Spring".into()), body: "Hello Amina".into() },
        run_id: 7_340_861_934_283_749_120,
        seq: 17,
        ..peer::message()
    }
}

fn sent() -> Answer {
    Answer::Sent { provider_id: Some("5f0c1f0e-6b0d-5a64-9a0e-0b8a3c1d2e4f@example.com".into()) }
}

#[tokio::test]
async fn each_reply_means_one_thing() {
    for case in read::<Vec<AnswerCase>>("answers.json") {
        let what = format!("{}: {} {:?}", case.source, case.stage, case.reply);
        let (listener, _) = listen().await;
        let adapter = account(&listener, &[("user", "shop")], &hasty());
        let mut script = script(&[]);
        let stage = script.keys().find(|stage| **stage == case.stage).copied().unwrap();
        script.insert(stage, case.reply);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                talk(stream, &script, true).await;
            }
        });
        assert_eq!(adapter.send(&message(), &|| true).await, Answer::from(case.outcome), "{what}");
    }
}

#[tokio::test]
async fn each_content_makes_its_email() {
    for case in read::<Vec<RequestCase>>("requests.json") {
        let (listener, _) = listen().await;
        let more: Vec<(&str, &str)> = case.settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let adapter = account(&listener, &more, &hasty());
        let message = OutMessage { from: Some(case.from), to: case.to, content: case.content, ..message() };
        message.content.check(Channel::Email).unwrap();
        let serve = async {
            let offers = "250-mail.example.com\r\n250-auth=PLAIN\r\n250-SMTPUTF8\r\n250 SIZE";
            talk(listener.accept().await.unwrap().0, &script(&[("ehlo", Some(offers))]), true).await
        };
        let send = async move {
            let answer = adapter.send(&message, &|| true).await;
            assert!(matches!(answer, Answer::Sent { .. }), "{answer:?}");
        };
        let (said, ()) = tokio::join!(serve, send);
        let cut = said.iter().position(|line| line == "DATA").unwrap() + 1;
        let mail: Vec<&String> = said[cut..].iter().filter(|line| !line.starts_with("Date: ")).collect();
        assert_eq!(mail.len() + 1, said[cut..].len(), "{}: a date", case.source);
        let commands: Vec<String> = said[..cut].iter().map(|line| without_size(line)).collect();
        assert_eq!(commands, case.commands, "{}", case.source);
        assert_eq!(mail, case.mail.iter().collect::<Vec<_>>(), "{}", case.source);
    }
}

/// The size depends on the date's length.
fn without_size(line: &str) -> String {
    line.split(' ').filter(|word| !word.starts_with("SIZE=")).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn messages_in_turn_share_a_connection_and_a_refusal_is_reset() {
    let (listener, _) = listen().await;
    let adapter = account(&listener, &[], &hasty());
    let serve = async {
        let said = talk(listener.accept().await.unwrap().0, &script(&[("rcpt", Some("550 5.1.1 none"))]), true).await;
        said.iter().map(|line| line.split([' ', ':']).next().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let send = async move {
        for _ in 0..2 {
            let refused = failed(FailureKind::PermanentRecipient, "rcpt 550 5.1.1");
            assert_eq!(adapter.send(&message(), &|| true).await, refused);
        }
    };
    assert_eq!(tokio::join!(serve, send).0, "EHLO MAIL RCPT RSET MAIL RCPT");
}

#[tokio::test]
async fn a_connection_closed_while_idle_makes_room_for_another() {
    let (listener, _) = listen().await;
    let adapter = account(&listener, &[], &hasty());
    let usual = script(&[]);
    let serve = async {
        for mail_replies in 1..=3 {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            stream.write_all(b"220 hi\r\n").await.unwrap();
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            match mail_replies {
                // Gone when the second e-mail comes, with and without a word.
                1 | 2 => {
                    stream.write_all(b"250 hi\r\n").await.unwrap();
                    for stage in ["mail", "rcpt", "data"] {
                        stream.read_line(&mut line).await.unwrap();
                        let reply = usual[stage].as_ref().unwrap();
                        stream.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
                    }
                    receive(&mut stream, &mut Vec::new()).await;
                    stream.write_all(b"250 ok\r\n").await.unwrap();
                    if mail_replies == 2 {
                        stream.write_all(b"421 4.4.2 timeout exceeded\r\n").await.unwrap();
                    }
                }
                _ => drop(talk(stream, &script(&[("mail", Some("421 4.3.2 closing"))]), false).await),
            }
        }
    };
    let send = async {
        assert_eq!(adapter.send(&message(), &|| true).await, sent());
        assert_eq!(adapter.send(&message(), &|| true).await, sent());
        let busy = adapter.send(&message(), &|| true).await;
        assert!(matches!(&busy, Answer::Failed(f) if f.kind == FailureKind::Unreachable), "{busy:?}");
    };
    tokio::join!(serve, send);
}

#[tokio::test]
async fn what_breaks_before_the_final_dot_was_certainly_not_accepted() {
    let (listener, _) = listen().await;
    let adapter = account(&listener, &[], &hasty());
    // More than the sockets hold, so that the dot is never written.
    let body = "Hello Amina\r\n".repeat(2_000_000);
    let large = OutMessage { content: Content::Text { subject: Some("s".into()), body }, ..message() };
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        for reply in ["220 hi", "250 hi", "250 ok", "250 ok", "354 go on"] {
            stream.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
            stream.read_line(&mut String::new()).await.unwrap();
        }
        // Held open, and not read.
        stream
    };
    let (_stream, answer) = tokio::join!(serve, adapter.send(&large, &|| true));
    assert_eq!(answer, failed(FailureKind::Transient, "data timeout"));
}

#[tokio::test]
async fn an_email_starts_in_time_and_over_few_connections() {
    let (listener, _) = listen().await;
    let soon = Client::new(Clock::system()).with_timeouts(Duration::from_millis(200), Duration::from_secs(5));
    let adapter = Arc::new(account(&listener, &[], &soon));
    let (tell, mut told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        // Silent once an e-mail is begun.
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"220 hi\r\n250 hi\r\n").await.unwrap();
            tell.send(stream).unwrap();
        }
    });
    assert_eq!(adapter.send(&message(), &|| false).await, Answer::NotStarted);
    let mut flight = JoinSet::new();
    for _ in 0..CONNECTIONS_MAX {
        let adapter = adapter.clone();
        flight.spawn(async move { adapter.send(&message(), &|| true).await });
    }
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        open.push(told.recv().await.unwrap());
    }
    assert_eq!(adapter.send(&message(), &|| true).await, Answer::NotStarted);
    assert!(told.try_recv().is_err(), "one more connection");
}

/// An account that encrypts, at a listener, which is known by name here.
fn encrypting(listener: &TcpListener, scheme: &str) -> Adapter {
    let url = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
    let settings = json!({ "url": url, "user": "shop", "hello": "shop.example.com" });
    open("smtp", &settings, Some("s3cret"), &trusting_us(hasty())).unwrap()
}

#[tokio::test]
async fn the_password_is_said_behind_starttls_only() {
    let (listener, _) = listen().await;
    let adapter = encrypting(&listener, "smtp");
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let bare = script(&[("ehlo", Some("250-mail.example.com\r\n250 STARTTLS"))]);
        assert_eq!(talk(&mut stream, &bare, true).await, ["EHLO shop.example.com", "STARTTLS"]);
        talk(acceptor().accept(stream).await.unwrap(), &script(&[]), false).await
    };
    let send = async move { assert_eq!(adapter.send(&message(), &|| true).await, sent()) };
    let (said, ()) = tokio::join!(serve, send);
    assert_eq!(said[..2], ["EHLO shop.example.com", "AUTH PLAIN AHNob3AAczNjcmV0"]);
}

#[tokio::test]
async fn a_server_without_starttls_is_told_nothing() {
    let (listener, _) = listen().await;
    let adapter = encrypting(&listener, "smtp");
    let serve = async { talk(listener.accept().await.unwrap().0, &script(&[]), true).await };
    let send = async move {
        let refused = failed(FailureKind::Configuration, "no STARTTLS offered");
        assert_eq!(adapter.send(&message(), &|| true).await, refused);
    };
    assert_eq!(tokio::join!(serve, send).0, ["EHLO shop.example.com"]);
}

#[tokio::test]
async fn smtps_is_encrypted_from_the_start_and_its_certificate_checked() {
    let (listener, _) = listen().await;
    let adapter = encrypting(&listener, "smtps");
    let serve = async {
        let login = "250-mail.example.com\r\n250 AUTH LOGIN";
        let steps = script(&[("ehlo", Some(login)), ("auth", Some("535 5.7.8 no"))]);
        talk(acceptor().accept(listener.accept().await.unwrap().0).await.unwrap(), &steps, true).await
    };
    let check = async move { assert_eq!(adapter.check().await.unwrap_err().detail, "auth 535 5.7.8") };
    assert_eq!(tokio::join!(serve, check).0[1], "AUTH LOGIN");

    let (listener, _) = listen().await;
    let settings = json!({ "url": format!("smtps://{}", listener.local_addr().unwrap()) });
    let nobody = hasty().trusting(rustls::RootCertStore::empty()).unwrap();
    let adapter = open("smtp", &settings, None, &nobody).unwrap();
    let serve = async { acceptor().accept(listener.accept().await.unwrap().0).await.is_err() };
    let mail = message();
    let (refused, answer) = tokio::join!(serve, adapter.send(&mail, &|| true));
    assert!(refused);
    assert_eq!(answer, failed(FailureKind::Unreachable, "certificate refused"));
}

#[tokio::test]
async fn what_cannot_be_an_email_is_not_begun() {
    let (listener, _) = listen().await;
    let adapter = account(&listener, &[], &hasty());
    let check = async |message: OutMessage, kind, detail: &str| {
        assert_eq!(adapter.send(&message, &|| true).await, failed(kind, detail));
    };
    use FailureKind::{Configuration, PermanentRecipient};
    check(OutMessage { from: None, ..message() }, Configuration, "the account has no sender").await;
    let from = Some("Shop".to_owned());
    check(OutMessage { from, ..message() }, Configuration, "the sender is no e-mail address").await;
    for to in ["amina", "amina@example.org>\r\nRCPT TO:<x@example.org", "a b@example.org", ""] {
        check(OutMessage { to: to.into(), ..message() }, PermanentRecipient, "not an address").await;
    }
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let check = |settings: Value, secret: Option<&str>, expected: &str| {
        let error = open("smtp", &settings, secret, &Client::new(Clock::system())).unwrap_err().to_string();
        assert!(error.contains(expected), "{settings}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    };
    check(json!({}), None, "needs a URL: where its messages are posted to, as in --url smtp://mail.example.com:587");
    check(json!({ "url": "https://example.com" }), None, "expected an smtp or smtps URL with a host");
    check(json!({ "url": "smtp://me:hunter2@example.com" }), None, "a URL without user and password");
    let url = "smtp://example.com";
    check(json!({ "url": url, "user": "shop" }), None, "needs a secret: the user's password");
    check(json!({ "url": url, "tls": "none" }), None, "expected none, for an smtp URL of this machine");
    check(json!({ "url": "smtps://127.0.0.1", "tls": "none" }), None, "tls \"none\"");
    check(json!({ "url": url, "tls": "maybe" }), None, "tls \"maybe\"");
    for bad in
        ["http://example.com/{id}", "https://example.com/u", "https://example.com/{id} x", "https://example.com/{id}>"]
    {
        check(json!({ "url": url, "unsubscribe_url": bad }), None, "an https URL with {id} in it");
    }
    check(json!({ "url": url, "hello": "a\r\nb" }), None, "hello");
    let settings = json!({ "url": url, "user": "shop" });
    let adapter = open("smtp", &settings, Some("hunter2"), &Client::new(Clock::system())).unwrap();
    assert!(!format!("{adapter:?}").contains("hunter2"));
}
