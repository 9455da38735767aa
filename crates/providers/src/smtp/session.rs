//! A conversation with a server.
//!
//! It is held here and not by lettre's connection, which does not say whether the final dot had been written
//! when a connection broke, and that is what tells a message in doubt from one certainly not accepted.
//!
//! Source: RFC 5321 §3, §4.1 (commands), RFC 3207 (STARTTLS), RFC 4954 and RFC 4616 (AUTH PLAIN).

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanfare_domain::outcome::{Failure, FailureKind};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;

use super::mail::Mail;
use super::reply::{Reply, Stage};
use crate::connection::{Stream, io_name};
use crate::endpoint::tls_name;

/// Longest line of a reply that is read: RFC 5321 allows 512, and servers are talkative.
const LINE_BYTES_MAX: u64 = 4096;
/// Most lines of a reply.
const LINES_MAX: usize = 128;

/// How a connection is encrypted.
pub(super) enum Tls {
    None,
    /// From its first byte.
    Implicit(TlsConnector, ServerName<'static>),
    /// After STARTTLS, without which nothing is said.
    Start(TlsConnector, ServerName<'static>),
}

/// Who signs in.
pub(super) struct Login {
    pub user: String,
    pub password: String,
}

/// A conversation, behind EHLO and AUTH.
pub(super) struct Session {
    stream: BufReader<Stream>,
    offers: Offers,
    /// A transaction was begun and not accepted: RSET comes before the next.
    dirty: bool,
    /// The server, or a failure, has ended it.
    over: bool,
}

/// What EHLO offers.
#[derive(Debug, Default)]
struct Offers {
    starttls: bool,
    plain: bool,
    login: bool,
    size: bool,
    international: bool,
}

/// How a transaction ended.
pub(super) enum Ended {
    /// The message was accepted.
    Accepted,
    /// It failed.
    Failed(Failure),
    /// The conversation was over before it began.
    Stale(Failure),
}

/// Why a stage was not passed.
enum Stop {
    Replied(Reply),
    Lost(&'static str),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Lost(io_name(&error))
    }
}

impl Session {
    /// Begins a conversation.
    pub async fn begin(tcp: TcpStream, tls: &Tls, hello: &str, login: Option<&Login>) -> Result<Self, Failure> {
        let stream: Stream = match tls {
            Tls::Implicit(connector, name) => encrypted(tcp, connector, name).await?,
            Tls::None | Tls::Start(..) => Either::Left(tcp),
        };
        let mut session = Self::over(stream);
        session.expect(None, |reply| reply.code == 220).await.map_err(|stop| stop.failure(Stage::Connect))?;
        session.hello(hello).await?;
        if let Tls::Start(connector, name) = tls {
            session = session.start_tls(connector, name).await?;
            session.hello(hello).await?;
        }
        if let Some(login) = login {
            session.sign_in(login).await?;
        }
        Ok(session)
    }

    fn over(stream: Stream) -> Self {
        Self { stream: BufReader::new(stream), offers: Offers::default(), dirty: false, over: false }
    }

    async fn hello(&mut self, name: &str) -> Result<(), Failure> {
        let reply = self.expect(Some(&format!("EHLO {name}")), Reply::is_positive).await;
        self.offers = Offers::of(&reply.map_err(|stop| stop.failure(Stage::Connect))?);
        Ok(())
    }

    async fn start_tls(mut self, connector: &TlsConnector, name: &ServerName<'static>) -> Result<Self, Failure> {
        if !self.offers.starttls {
            return Err(Failure::new(FailureKind::Configuration, "no STARTTLS offered"));
        }
        let reply = self.expect(Some("STARTTLS"), |reply| reply.code == 220).await;
        reply.map_err(|stop| stop.failure(Stage::Connect))?;
        // What came before the handshake was not the server's word.
        if !self.stream.buffer().is_empty() {
            return Err(Failure::new(FailureKind::Configuration, "data before the TLS handshake"));
        }
        match self.stream.into_inner() {
            Either::Left(tcp) => Ok(Self::over(encrypted(tcp, connector, name).await?)),
            // Encrypted already; it is not asked for then.
            encrypted => Ok(Self::over(encrypted)),
        }
    }

    async fn sign_in(&mut self, login: &Login) -> Result<(), Failure> {
        let Login { user, password } = login;
        let done = if self.offers.plain {
            let token = STANDARD.encode(format!("\0{user}\0{password}"));
            self.expect(Some(&format!("AUTH PLAIN {token}")), Reply::is_positive).await
        } else if self.offers.login {
            self.sign_in_by_steps(user, password).await
        } else {
            return Err(Failure::new(FailureKind::Configuration, "neither AUTH PLAIN nor LOGIN offered"));
        };
        done.map(|_| ()).map_err(|stop| stop.failure(Stage::Auth))
    }

    async fn sign_in_by_steps(&mut self, user: &str, password: &str) -> Result<Reply, Stop> {
        self.expect(Some("AUTH LOGIN"), |reply| reply.code == 334).await?;
        self.expect(Some(&STANDARD.encode(user)), |reply| reply.code == 334).await?;
        self.expect(Some(&STANDARD.encode(password)), Reply::is_positive).await
    }

    /// Whether another transaction may follow.
    pub fn is_reusable(&self) -> bool {
        !self.over
    }

    /// Whether addresses beyond ASCII are understood.
    pub fn is_international(&self) -> bool {
        self.offers.international
    }

    /// Sends one e-mail, all within `limit`.
    pub async fn transact(&mut self, mail: &Mail, limit: Duration) -> Ended {
        let mut stage = Stage::Mail;
        let ended = timeout(limit, self.stages(mail, &mut stage)).await;
        let (stop, late) = match ended {
            Ok(Ok(())) => return Ended::Accepted,
            Ok(Err(stop)) => (stop, false),
            Err(_) => (Stop::Lost("timeout"), true),
        };
        // 421 announces the end; whatever was promised out of turn is not built on.
        let closes = match &stop {
            Stop::Lost(_) => true,
            Stop::Replied(reply) => reply.code == 421 || reply.code < 400,
        };
        self.over |= closes;
        match stage {
            // After a time-out there is no time left for another.
            Stage::Mail if closes && !late => Ended::Stale(stop.failure(stage)),
            _ => Ended::Failed(stop.failure(stage)),
        }
    }

    async fn stages(&mut self, mail: &Mail, stage: &mut Stage) -> Result<(), Stop> {
        if std::mem::replace(&mut self.dirty, true) {
            let reset = self.expect(Some("RSET"), Reply::is_positive).await;
            reset.map_err(|_| Stop::Lost("not reset"))?;
        }
        let mut from = format!("MAIL FROM:<{}>", mail.from);
        if self.offers.size {
            from += &format!(" SIZE={}", mail.data.len());
        }
        if mail.international {
            from += " SMTPUTF8";
        }
        self.expect(Some(&from), Reply::is_positive).await?;
        *stage = Stage::Rcpt;
        self.expect(Some(&format!("RCPT TO:<{}>", mail.to)), Reply::is_positive).await?;
        *stage = Stage::Data;
        self.expect(Some("DATA"), |reply| reply.code == 354).await?;
        // Should it break off in here, the server has no whole message: it must not deliver it.
        let body = async {
            self.stream.write_all(&mail.data).await?;
            self.stream.flush().await
        };
        body.await.inspect_err(|_| self.over = true)?;
        *stage = Stage::End;
        self.expect(Some("."), Reply::is_positive).await?;
        self.dirty = false;
        Ok(())
    }

    /// Says a line, if there is one to say, and reads a reply that is hoped for.
    async fn expect(&mut self, line: Option<&str>, hoped: impl Fn(&Reply) -> bool) -> Result<Reply, Stop> {
        if let Some(line) = line {
            self.stream.write_all(format!("{line}\r\n").as_bytes()).await?;
            self.stream.flush().await?;
        }
        let reply = self.reply().await?;
        if hoped(&reply) { Ok(reply) } else { Err(Stop::Replied(reply)) }
    }

    async fn reply(&mut self) -> Result<Reply, Stop> {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            (&mut self.stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
            if !line.ends_with(b"\n") {
                return Err(Stop::Lost(if line.is_empty() { "connection closed" } else { "malformed answer" }));
            }
            let line = String::from_utf8_lossy(&line);
            let (code, more, text) = Reply::line(&line).ok_or(Stop::Lost("malformed answer"))?;
            lines.push(text.to_owned());
            match more {
                false => return Ok(Reply { code, lines }),
                true if lines.len() == LINES_MAX => return Err(Stop::Lost("malformed answer")),
                true => {}
            }
        }
    }
}

impl Stop {
    /// What it means at a stage: nothing was accepted before the final dot was written.
    fn failure(&self, stage: Stage) -> Failure {
        let (how, name) = match self {
            Self::Replied(reply) => return reply.failure(stage),
            Self::Lost(how) => (how, stage.name()),
        };
        let kind = match stage {
            Stage::Connect | Stage::Auth => FailureKind::Unreachable,
            Stage::Mail | Stage::Rcpt | Stage::Data => FailureKind::Transient,
            Stage::End => FailureKind::Unknown,
        };
        Failure::new(kind, format!("{name} {how}"))
    }
}

impl Offers {
    fn of(reply: &Reply) -> Self {
        let mut offers = Self::default();
        for line in reply.lines.iter().skip(1) {
            let line = line.to_ascii_uppercase();
            let mut words = line.split([' ', '=']);
            match words.next().unwrap_or_default() {
                "STARTTLS" => offers.starttls = true,
                "SIZE" => offers.size = true,
                "SMTPUTF8" => offers.international = true,
                "AUTH" => words.for_each(|word| {
                    offers.plain |= word == "PLAIN";
                    offers.login |= word == "LOGIN";
                }),
                _ => {}
            }
        }
        offers
    }
}

async fn encrypted(tcp: TcpStream, connector: &TlsConnector, name: &ServerName<'static>) -> Result<Stream, Failure> {
    let tls = connector.connect(name.clone(), tcp).await;
    let tls = tls.map_err(|error| Failure::new(FailureKind::Unreachable, tls_name(&error)))?;
    Ok(Either::Right(Box::new(tls)))
}
