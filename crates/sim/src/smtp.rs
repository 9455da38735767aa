//! A small mail server: EHLO, AUTH PLAIN, MAIL, RCPT, DATA, RSET, NOOP, QUIT.
//!
//! A transaction is a request, which arrives with its MAIL; the judge knows it by its Message-ID. Its fault
//! comes where a mail server has it: no such mailbox at RCPT, unavailable at MAIL, a reset in the midst of
//! the data, all others behind the final dot. An error after acceptance is a connection closed without a
//! reply: a server that refuses what it has taken would be none.
//!
//! It is strict where others are tolerant: lines end with CRLF and hold 998 bytes, and an e-mail has the
//! headers that it must have, so that what an adapter gets wrong is refused.
//!
//! Source: RFC 5321 §3.3, §4.1, §4.5; RFC 5322 §3.6; RFC 4616.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, BytesMut};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::sleep;
use uuid::Uuid;

use crate::Fault;
use crate::arrival;
use crate::dialect::{Message, Refusal};
use crate::provider::{Answer, Provider, Reaction, SLOW_BODY};
use crate::server::{be_silent, reset};

/// Longest line of a command.
const COMMAND_BYTES_MAX: usize = 12 * 1024;
/// Longest line of an e-mail.
const LINE_BYTES_MAX: usize = 998;
/// Longest e-mail.
const MAIL_BYTES_MAX: usize = 10 * 1024 * 1024;
const OFFERS: &str = "250-sim.example\r\n250-AUTH PLAIN\r\n250-SIZE 10485760\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n\
                      250 ENHANCEDSTATUSCODES\r\n";
/// Headers that an e-mail must have, each once.
const HEADERS: [&str; 5] = ["from", "to", "date", "message-id", "subject"];

/// One connection.
struct Conversation<'a> {
    stream: TcpStream,
    buffer: BytesMut,
    /// When the last bytes arrived.
    at: Instant,
    provider: &'a Provider,
    credential: Option<String>,
    envelope: Option<Envelope>,
}

/// A transaction that was begun.
struct Envelope {
    arrived: Instant,
    account: u32,
    fault: Option<Fault>,
    to: Option<String>,
}

/// The connection ends.
enum End {
    /// The client has gone, or is let go.
    Closed,
    Reset,
    Silent,
}

type Goes = Result<(), End>;

/// Serves one connection to its end.
pub(crate) async fn converse(stream: TcpStream, provider: &Provider) {
    let (buffer, at) = (BytesMut::new(), Instant::now());
    let mut conversation = Conversation { stream, buffer, at, provider, credential: None, envelope: None };
    let Err(end) = conversation.run().await;
    match end {
        End::Closed => {}
        End::Reset => reset(conversation.stream),
        End::Silent => be_silent(conversation.stream).await,
    }
}

impl Conversation<'_> {
    async fn run(&mut self) -> Result<std::convert::Infallible, End> {
        self.say("220 sim.example ESMTP\r\n").await?;
        loop {
            let line = self.line(COMMAND_BYTES_MAX).await?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" => {
                    self.envelope = None;
                    self.say(OFFERS).await?;
                }
                "AUTH" => self.auth(rest).await?,
                "MAIL" => self.mail(rest).await?,
                "RCPT" => self.rcpt(rest).await?,
                "DATA" => self.data().await?,
                "RSET" => {
                    self.envelope = None;
                    self.say("250 2.0.0 Ok\r\n").await?;
                }
                "NOOP" => self.say("250 2.0.0 Ok\r\n").await?,
                "QUIT" => {
                    self.say("221 2.0.0 Bye\r\n").await?;
                    return Err(End::Closed);
                }
                _ => self.say("502 5.5.1 Command not implemented\r\n").await?,
            }
        }
    }

    async fn auth(&mut self, rest: &str) -> Goes {
        let token = rest.strip_prefix("PLAIN ").and_then(|token| STANDARD.decode(token).ok());
        let token = token.and_then(|token| String::from_utf8(token).ok());
        let password = token.as_deref().and_then(|token| token.split('\0').nth(2));
        match password {
            Some(password) if self.provider.lets_in(Some(password)) => {
                self.credential = Some(password.to_owned());
                self.say("235 2.7.0 Authentication successful\r\n").await
            }
            _ => self.refuse(Refusal::Credential).await,
        }
    }

    async fn mail(&mut self, rest: &str) -> Goes {
        if self.envelope.is_some() {
            return self.say("503 5.5.1 Nested MAIL\r\n").await;
        }
        let (arrived, at_us) = (self.at, self.provider.unix_us(self.at));
        let (account, fault) = self.provider.arrived(self.credential.as_deref(), at_us);
        if !self.provider.lets_in(self.credential.as_deref()) {
            self.provider.reject(Refusal::Credential);
            return self.say("530 5.7.0 Authentication required\r\n").await;
        }
        if path(rest, "FROM:").is_none() {
            return self.refuse(Refusal::Malformed("MAIL FROM:<address> is expected")).await;
        }
        if self.provider.over_cap(account, at_us).is_some() {
            return self.say("451 4.7.0 Slow down\r\n").await;
        }
        if fault == Some(Fault::Unavailable) {
            return self.strike(Fault::Unavailable).await;
        }
        self.envelope = Some(Envelope { arrived, account, fault, to: None });
        self.say("250 2.1.0 Ok\r\n").await
    }

    async fn rcpt(&mut self, rest: &str) -> Goes {
        let to = path(rest, "TO:").filter(|to| to.contains('@'));
        match (&mut self.envelope, to) {
            (None, _) => self.say("503 5.5.1 MAIL first\r\n").await,
            (Some(Envelope { to: Some(_), .. }), _) => self.say("452 4.5.3 Too many recipients\r\n").await,
            (Some(_), None) => self.say("553 5.1.3 No address\r\n").await,
            (Some(Envelope { fault: Some(Fault::Recipient), .. }), _) => self.strike(Fault::Recipient).await,
            (Some(envelope), to) => {
                envelope.to = to;
                self.say("250 2.1.5 Ok\r\n").await
            }
        }
    }

    async fn data(&mut self) -> Goes {
        let Some(Envelope { to: Some(_), .. }) = &self.envelope else {
            return self.say("554 5.5.1 No valid recipients\r\n").await;
        };
        self.say("354 End data with <CR><LF>.<CR><LF>\r\n").await?;
        let Some(Envelope { arrived, account, fault, to: Some(to) }) = self.envelope.take() else { return Ok(()) };
        let mut mail = Vec::new();
        let mut why = None;
        loop {
            let line = self.line(MAIL_BYTES_MAX).await?;
            if fault == Some(Fault::Reset) {
                self.provider.strike(Fault::Reset);
                return Err(End::Reset);
            }
            if line == b"." {
                break;
            }
            let line = line.strip_prefix(b".").unwrap_or(&line);
            if line.len() > LINE_BYTES_MAX || line.contains(&b'\r') || line.contains(&b'\n') {
                why = Some("A line is too long or ends oddly");
            }
            mail.extend_from_slice(line);
            mail.extend_from_slice(b"\r\n");
            if mail.len() > MAIL_BYTES_MAX {
                return self.say("552 5.3.4 Too large\r\n").await.and(Err(End::Closed));
            }
        }
        let latency = self.provider.latency();
        if !latency.is_zero() {
            sleep(latency).await;
        }
        let id = match (why, message_id(&mail, &to)) {
            (None, Ok(id)) => id,
            (Some(why), _) | (None, Err(why)) => return self.refuse(Refusal::Malformed(why)).await,
        };
        let message = Message { id, to: to.into(), text: None, reference: None, free_form: false };
        self.settle(&message, account, arrived, fault).await?;
        self.provider.answered(arrived);
        Ok(())
    }

    /// Behind the final dot: an acceptance, or its fault.
    async fn settle(&mut self, message: &Message<'_>, account: u32, arrived: Instant, fault: Option<Fault>) -> Goes {
        match fault {
            Some(fault @ (Fault::Throttle | Fault::ThrottleFor | Fault::Error)) => return self.strike(fault).await,
            Some(fault) if fault.of_template().is_some() => return self.strike(fault).await,
            _ => {}
        }
        let reaction = self.provider.accept(message, account, self.provider.unix_us(arrived), fault);
        match (fault, reaction) {
            (Some(Fault::ErrorAccepted), _) => Err(End::Closed),
            (Some(Fault::Malformed), _) => self.say("2.0.0 Ok\r\n").await,
            (_, Reaction::Answer(answer)) => self.answer(&answer).await,
            (_, Reaction::Trickle(answer)) => {
                self.say(&format!("{}-2.0.0 Ok\r\n", answer.status)).await?;
                sleep(SLOW_BODY).await;
                self.answer(&answer).await
            }
            (_, Reaction::Reset | Reaction::ResetAtOnce) => Err(End::Reset),
            (_, Reaction::Silence) => Err(End::Silent),
        }
    }

    async fn strike(&mut self, fault: Fault) -> Goes {
        match self.provider.strike(fault) {
            Reaction::Answer(answer) => self.answer(&answer).await,
            _ => Err(End::Reset),
        }
    }

    async fn refuse(&mut self, why: Refusal) -> Goes {
        match self.provider.reject(why) {
            Reaction::Answer(answer) => self.answer(&answer).await,
            _ => Err(End::Closed),
        }
    }

    async fn answer(&mut self, answer: &Answer) -> Goes {
        self.say(&format!("{} {}\r\n", answer.status, answer.body)).await?;
        if answer.status == "421" { Err(End::Closed) } else { Ok(()) }
    }

    async fn say(&mut self, reply: &str) -> Goes {
        self.stream.write_all(reply.as_bytes()).await.map_err(|_| End::Closed)
    }

    /// Reads a line without its CRLF.
    async fn line(&mut self, bytes_max: usize) -> Result<Vec<u8>, End> {
        let mut looked = 0;
        loop {
            if let Some(found) = self.buffer[looked..].windows(2).position(|two| two == b"\r\n") {
                let line = self.buffer.split_to(looked + found).to_vec();
                self.buffer.advance(2);
                return Ok(line);
            }
            looked = self.buffer.len().saturating_sub(1);
            if looked > bytes_max {
                return self.say("500 5.5.2 Line too long\r\n").await.and(Err(End::Closed));
            }
            match arrival::read(&self.stream, &mut self.buffer).await {
                Ok((0, _)) | Err(_) => return Err(End::Closed),
                Ok((_, at)) => self.at = at,
            }
        }
    }
}

/// The address in `FROM:<address> …`.
fn path(rest: &str, prefix: &str) -> Option<String> {
    let (name, rest) = rest.split_at_checked(prefix.len())?;
    let address = rest.strip_prefix('<').filter(|_| name.eq_ignore_ascii_case(prefix))?.split_once('>')?.0;
    Some(address.to_owned())
}

/// The judge's id of an e-mail to `to`: its Message-ID, or why it is none.
fn message_id(mail: &[u8], to: &str) -> Result<Uuid, &'static str> {
    let mail = String::from_utf8_lossy(mail);
    let (head, _) = mail.split_once("\r\n\r\n").ok_or("The head has no end")?;
    let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let value = |name: &str| {
        let mut all = head.split("\r\n").filter_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        });
        all.next().filter(|_| all.next().is_none())
    };
    if HEADERS.iter().any(|name| value(name).is_none()) {
        return Err("A header is missing, or there twice");
    }
    if !value("to").is_some_and(|header| header.contains(to)) {
        return Err("The recipient is not in the header");
    }
    let id = value("message-id").and_then(|id| id.strip_prefix('<')?.strip_suffix('>')?.split_once('@'));
    let (local, _) = id.ok_or("The Message-ID is none")?;
    Ok(Uuid::parse_str(local).unwrap_or_else(|_| Message::named(&[local])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_is_known_by_its_message_id() {
        let id = Uuid::from_u128(7);
        let head =
            format!("From: a@b.c\r\nTo: \"A\"\r\n <x@y.z>\r\nDate: d\r\nSubject: s\r\nMessage-Id: <{id}@b.c>\r\n");
        let known = |mail: &str| message_id(mail.as_bytes(), "x@y.z");
        assert_eq!(known(&format!("{head}\r\nHello\r\n")), Ok(id));
        assert_eq!(known(&format!("{head}To: <x@y.z>\r\n\r\nHello\r\n")), Err("A header is missing, or there twice"));
        assert_eq!(known(&head), Err("The head has no end"));
        assert_eq!(path("FROM:<a@b.c> SIZE=7", "FROM:").as_deref(), Some("a@b.c"));
        assert_eq!(path("TO: a@b.c", "TO:"), None);
    }
}
