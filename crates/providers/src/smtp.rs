//! E-mail by any submission server.
//!
//! `smtp://host:587` with STARTTLS, `smtps://host:465` encrypted from the start; `tls=none` for a relay on
//! this machine. Each message is a transaction of its own (MAIL, RCPT, DATA), so that each stage's reply
//! blames what it is about (`codes/smtp.txt`). Nothing was accepted before the final dot; a connection lost
//! behind it leaves the message in doubt, and no server can be asked. There are no keys: the Message-ID is
//! stable over attempts, and a receiver may fold two of one.
//!
//! A server allows few connections, so at most [`CONNECTIONS_MAX`] are open at a time, and they are used again.
//! One that turns out to have been closed is replaced, since MAIL hands over nothing of a message.
//!
//! Source: RFC 6409 (submission), RFC 5321, RFC 8314 (ports and TLS).

pub(crate) mod mail;
mod reply;
mod session;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanfare_domain::clock::Clock;
use fanfare_domain::content::{Feature, Naming};
use fanfare_domain::limits::CONNECTION_IDLE_MAX;
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Answer, Failure, FailureKind};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::caller::kept;
use crate::config::Settings;
use crate::endpoint::{dial_tcp, server_name};
use crate::kind::{Doubt, Keys, Kind, Offer, Receipts, Setting};
use crate::sender::Origin;
use crate::{Client, ConfigError, MayStart, Provider};

use crate::files::{Files, carried};
use mail::Mail;
use session::{Ended, Login, Session, Tls};

/// Most connections of an account in one process.
pub const CONNECTIONS_MAX: usize = 8;

const PORT_START_TLS: u16 = 587;
const PORT_TLS: u16 = 465;
const PORT_PLAIN: u16 = 25;

/// What it is and can.
pub static KIND: Kind = Kind {
    name: "smtp",
    service: "any mail submission server (SMTP)",
    carries: &[(Channel::Email, &[Feature::Text, Feature::Html, Feature::File])],
    refuses: &[
        (Feature::Template, "a mail server knows no templates: write the e-mail"),
        (Feature::Image, "an e-mail shows it in its HTML, by a link, or has it attached"),
        (Feature::Document, "an e-mail has it attached: write it as html with attachments"),
    ],
    secret: Some("the user's password; none without a user"),
    base_url: None,
    settings: &[
        Setting { key: "user", what: "who signs in; without it nobody does", required: false },
        Setting { key: "hello", what: "name that EHLO gives, this machine's address unless given", required: false },
        Setting { key: "tls", what: "none for a relay on this machine that has no TLS", required: false },
        Setting {
            key: "unsubscribe_url",
            what: "where one click unsubscribes, {id} standing for the message's reference: https://…{id}…",
            required: false,
        },
    ],
    // The server decides.
    caps: &[],
    keys: Keys::Ignored,
    doubt: Doubt::Policy,
    // A bounce is an e-mail to the sender.
    receipts: Receipts::None,
    no_deliveries: Some("mail servers report by mail, which is not read"),
    echoes: false,
    names_hook: false,
    window: false,
    text_chars_max: &[],
    naming: Naming::Name,
    origin: Origin::Email,
    offers: &[Offer::Check],
};

/// An account at a mail server.
pub struct Smtp {
    files: Arc<dyn Files>,
    host: Host<String>,
    port: u16,
    tls: Tls,
    hello: Option<String>,
    login: Option<Login>,
    unsubscribe: Option<String>,
    connect_timeout: Duration,
    request_timeout: Duration,
    clock: Clock,
    places: Semaphore,
    /// Used last in, first out: the longest idle at the front.
    idle: Mutex<Vec<(Session, Instant)>>,
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Smtp({}:{})", self.host, self.port)
    }
}

impl Smtp {
    /// From settings, and the password if there is a user.
    ///
    /// # Errors
    /// [`ConfigError`] names what cannot be used.
    pub(crate) fn open(settings: &Settings, secret: Option<&str>, client: &Client) -> Result<Self, ConfigError> {
        let expected = "an smtp or smtps URL with a host, for example smtp://mail.example.com:587";
        let url = settings.url_of(&["smtp", "smtps"], expected, "--url smtp://mail.example.com:587")?;
        let refuse = || ConfigError::Field { field: "url", found: url.to_string(), expected };
        let host = host(&url).ok_or_else(refuse)?;
        let connector = || {
            let name = server_name(&host).ok_or_else(refuse)?;
            Ok::<_, ConfigError>((TlsConnector::from(client.tls()?), name))
        };
        let (tls, port) = match (url.scheme(), settings.get("tls")) {
            ("smtps", None) => (connector().map(|(tls, name)| Tls::Implicit(tls, name))?, PORT_TLS),
            ("smtp", None) => (connector().map(|(tls, name)| Tls::Start(tls, name))?, PORT_START_TLS),
            ("smtp", Some("none")) if is_loopback(&host) => (Tls::None, PORT_PLAIN),
            (_, Some(other)) => {
                let expected = "none, for an smtp URL of this machine, such as smtp://127.0.0.1:25; else leave it out";
                return Err(ConfigError::Field { field: "tls", found: other.to_owned(), expected });
            }
            _ => return Err(refuse()),
        };
        Ok(Self {
            files: client.files(),
            port: url.port().unwrap_or(port),
            tls,
            hello: settings.plain("hello")?.map(str::to_owned),
            login: login(settings, secret)?,
            unsubscribe: unsubscribe(settings)?,
            connect_timeout: client.connect_timeout,
            request_timeout: client.request_timeout,
            clock: client.clock.clone(),
            places: Semaphore::new(CONNECTIONS_MAX),
            idle: Mutex::default(),
            host,
        })
    }

    /// Sends an e-mail over a connection that is kept, or a new one.
    async fn deliver(&self, mail: &Mail, may_start: MayStart<'_>) -> Answer {
        // Waiting for a place takes time, as dialling does, and leaves that at least half of theirs.
        let until = Instant::now() + self.connect_timeout;
        let Ok(Ok(_place)) = timeout(self.connect_timeout / 2, self.places.acquire()).await else {
            return Answer::NotStarted;
        };
        while let Some(session) = self.take_idle() {
            if let Ok(answer) = self.over(session, mail, may_start).await {
                return answer;
            }
        }
        let session = match self.dial(until).await {
            Ok(session) => session,
            Err(failure) => return Answer::Failed(failure),
        };
        self.over(session, mail, may_start).await.unwrap_or_else(Answer::Failed)
    }

    /// Sends an e-mail over a connection.
    ///
    /// # Errors
    /// The failure by which the connection was over before the e-mail was begun: another one may do.
    async fn over(&self, mut session: Session, mail: &Mail, may_start: MayStart<'_>) -> Result<Answer, Failure> {
        if !may_start() {
            self.keep(session);
            return Ok(Answer::NotStarted);
        }
        if mail.international && !session.is_international() {
            self.keep(session);
            return Ok(Answer::Failed(Failure::new(FailureKind::PermanentRecipient, "no SMTPUTF8 offered")));
        }
        let ended = session.transact(mail, self.request_timeout).await;
        if session.is_reusable() {
            self.keep(session);
        }
        match ended {
            Ended::Accepted => Ok(Answer::Sent { provider_id: kept(mail.message_id.clone()) }),
            Ended::Failed(failure) => Ok(Answer::Failed(failure)),
            Ended::Stale(failure) => Err(failure),
        }
    }

    /// Opens a connection and signs in.
    async fn dial(&self, until: Instant) -> Result<Session, Failure> {
        let dialled = async {
            let tcp = dial_tcp(&self.host, self.port, self.connect_timeout).await;
            let tcp = tcp.map_err(|how| Failure::new(FailureKind::Unreachable, how))?;
            let hello = self.hello.clone().unwrap_or_else(|| literal(&tcp));
            Session::begin(tcp, &self.tls, &hello, self.login.as_ref()).await
        };
        let late = |_| Err(Failure::new(FailureKind::Unreachable, "connect timeout"));
        timeout_at(until, dialled).await.unwrap_or_else(late)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Session, Instant)>> {
        // A panic elsewhere leaves a list of connections that is still one.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_idle(&self) -> Option<Session> {
        let mut idle = self.idle();
        idle.retain(|(_, since)| since.elapsed() < CONNECTION_IDLE_MAX);
        idle.pop().map(|(session, _)| session)
    }

    fn keep(&self, session: Session) {
        self.idle().push((session, Instant::now()));
    }
}

impl Provider for Smtp {
    async fn send(&self, message: &OutMessage, may_start: MayStart<'_>) -> Answer {
        let carried = match carried(&*self.files, message, may_start).await {
            Ok(carried) => carried,
            Err(answer) => return answer,
        };
        let files = carried.as_ref().map_or(&[][..], |carried| &carried.files);
        match mail::compose(message, self.unsubscribe.as_deref(), files, self.clock.now().into()) {
            Ok(mail) => self.deliver(&mail, may_start).await,
            Err(failure) => Answer::Failed(failure),
        }
    }

    async fn check(&self) -> Result<String, Failure> {
        let session = self.dial(Instant::now() + self.connect_timeout).await?;
        self.keep(session);
        Ok(if self.login.is_some() { "signed in" } else { "connected; nobody signs in" }.to_owned())
    }
}

/// The host, an address being one: URLs tell names from addresses for http only.
fn host(url: &Url) -> Option<Host<String>> {
    match url.host()? {
        Host::Domain(name) => match name.parse() {
            Ok(ip) => Some(Host::Ipv4(ip)),
            Err(_) => Some(Host::Domain(name.to_owned())),
        },
        ip => Some(ip.to_owned()),
    }
}

fn is_loopback(host: &Host<String>) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

fn login(settings: &Settings, secret: Option<&str>) -> Result<Option<Login>, ConfigError> {
    let Some(user) = settings.get("user") else { return Ok(None) };
    let missing = || {
        let example = "--secret-file FILE, or --secret -".to_owned();
        ConfigError::Missing { kind: KIND.name, key: "a secret", what: "the user's password", example }
    };
    let password = secret.ok_or_else(missing)?;
    Ok(Some(Login { user: user.to_owned(), password: password.to_owned() }))
}

fn unsubscribe(settings: &Settings) -> Result<Option<String>, ConfigError> {
    let Some(url) = settings.get("unsubscribe_url") else { return Ok(None) };
    let plain = url.bytes().all(|b| b.is_ascii_graphic() && b != b'<' && b != b'>') && url.contains("{id}");
    let https = Url::parse(&url.replace("{id}", "1")).is_ok_and(|url| url.scheme() == "https" && url.has_host());
    if !(plain && https) {
        let expected = "an https URL with {id} in it, for example https://example.com/u?m={id}";
        return Err(ConfigError::Field { field: "unsubscribe_url", found: url.to_owned(), expected });
    }
    Ok(Some(url.to_owned()))
}

/// The address of our end, as EHLO gives it where there is no name (RFC 5321 §4.1.3).
fn literal(tcp: &TcpStream) -> String {
    match tcp.local_addr().map(|address| address.ip()) {
        Ok(IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
        Ok(IpAddr::V4(ip)) => format!("[{ip}]"),
        Err(_) => "[127.0.0.1]".to_owned(),
    }
}
