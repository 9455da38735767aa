//! The server of a provider: how to reach it, and the connections that are kept to it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fanfare_domain::limits::{CONNECTION_IDLE_MAX, IN_FLIGHT_MAX};
use hyper::header::HeaderValue;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;
use url::{Host, Url};

use crate::connection::{Connection, Lost, Outgoing, Reply, Stream, io_name};
use crate::{Client, ConfigError, MayStart};

/// Why an exchange brought no answer. Each names how the connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Nothing of the request was written.
    Unreachable(&'static str),
    /// The provider may have got it.
    InDoubt(&'static str),
    /// It was too late to start it.
    NotStarted,
}

/// A server, and the idle connections to it.
pub(crate) struct Endpoint {
    host: Host<String>,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    connect_timeout: Duration,
    request_timeout: Duration,
    /// The value of the Host header.
    pub authority: HeaderValue,
    /// Used last in, first out: the oldest idle at the front.
    idle: Mutex<VecDeque<Idle>>,
}

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({}:{})", self.host, self.port)
    }
}

impl Endpoint {
    /// The server of a URL (which `config::address` has checked).
    pub fn new(url: &Url, client: &Client) -> Result<Self, ConfigError> {
        let refuse = || ConfigError::Field { field: "url", found: url.to_string(), expected: "a host" };
        let host = url.host().ok_or_else(refuse)?.to_owned();
        let port = url.port_or_known_default().ok_or_else(refuse)?;
        let tls = if url.scheme() == "https" {
            Some((TlsConnector::from(client.tls()?), server_name(&host).ok_or_else(refuse)?))
        } else {
            None
        };
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        Ok(Self {
            host,
            port,
            tls,
            connect_timeout: client.connect_timeout,
            request_timeout: client.request_timeout,
            authority: HeaderValue::try_from(authority).map_err(|_| refuse())?,
            idle: Mutex::default(),
        })
    }

    /// Sends a request once and reads the answer. Only a request that has provably not been started
    /// moves on to another connection: that of a connection closed while idle.
    pub async fn exchange(&self, mut request: Outgoing, may_start: MayStart<'_>) -> Result<Reply, NoAnswer> {
        while let Some(connection) = self.take_idle() {
            match self.exchange_over(connection, request).await {
                Ok(reply) => return Ok(reply),
                Err(Lost::InDoubt(how)) => return Err(NoAnswer::InDoubt(how)),
                Err(Lost::Unsent(again)) => request = *again,
            }
        }
        let connection = self.dial().await.map_err(NoAnswer::Unreachable)?;
        if !may_start() {
            self.keep(connection);
            return Err(NoAnswer::NotStarted);
        }
        self.exchange_over(connection, request).await.map_err(|lost| match lost {
            Lost::InDoubt(how) => NoAnswer::InDoubt(how),
            Lost::Unsent(_) => NoAnswer::Unreachable("connection closed"),
        })
    }

    async fn exchange_over(&self, mut connection: Box<Connection>, request: Outgoing) -> Result<Reply, Lost> {
        let reply = connection.exchange(request, self.request_timeout).await?;
        if connection.is_reusable() {
            self.keep(connection);
        }
        Ok(reply)
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        // A panic elsewhere leaves a list of connections that is still one.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_idle(&self) -> Option<Box<Connection>> {
        let mut idle = self.idle();
        match idle.pop_back() {
            Some(last) if last.since.elapsed() < CONNECTION_IDLE_MAX => Some(last.connection),
            // The others have been idle for longer still.
            _ => {
                idle.clear();
                None
            }
        }
    }

    fn keep(&self, connection: Box<Connection>) {
        let now = Instant::now();
        let mut idle = self.idle();
        let stale = |i: &mut Idle| now.duration_since(i.since) >= CONNECTION_IDLE_MAX;
        while idle.pop_front_if(stale).is_some() {}
        if idle.len() < IN_FLIGHT_MAX {
            idle.push_back(Idle { connection, since: now });
        }
    }

    /// Opens a connection within the connect time-out, or says why not.
    async fn dial(&self) -> Result<Box<Connection>, &'static str> {
        let dialled = async {
            let tcp = dial_tcp(&self.host, self.port, self.connect_timeout).await?;
            let stream: Stream = match &self.tls {
                None => Either::Left(tcp),
                Some((connector, name)) => {
                    Either::Right(Box::new(connector.connect(name.clone(), tcp).await.map_err(|e| tls_name(&e))?))
                }
            };
            Connection::over(stream).await.map_err(|_| "connection closed")
        };
        match timeout(self.connect_timeout, dialled).await {
            Ok(dialled) => dialled.map(Box::new),
            Err(_) => Err("connect timeout"),
        }
    }
}

/// Tries the host's addresses in turn, each for its share of the time: one that swallows packets must
/// not hide one that works.
pub(crate) async fn dial_tcp(host: &Host<String>, port: u16, limit: Duration) -> Result<TcpStream, &'static str> {
    let addresses: Vec<SocketAddr> = match host {
        Host::Ipv4(ip) => vec![SocketAddr::from((*ip, port))],
        Host::Ipv6(ip) => vec![SocketAddr::from((*ip, port))],
        Host::Domain(name) => {
            let found = tokio::net::lookup_host((name.as_str(), port)).await;
            found.map_err(|_| "name not resolved")?.collect()
        }
    };
    let mut failed = "name not resolved";
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    for address in addresses {
        match timeout(share, connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(e)) => failed = io_name(&e),
            Err(_) => failed = "connect timeout",
        }
    }
    Err(failed)
}

/// The name that a server's certificate must have.
pub(crate) fn server_name(host: &Host<String>) -> Option<ServerName<'static>> {
    match host {
        Host::Domain(name) => ServerName::try_from(name.clone()).ok(),
        Host::Ipv4(ip) => Some(ServerName::from(*ip)),
        Host::Ipv6(ip) => Some(ServerName::from(*ip)),
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    if stream.local_addr()? == stream.peer_addr()? {
        // TCP connects to itself when nobody listens on a loopback port and that very port is drawn as
        // the source. The request would come back as its own answer, and count as in doubt.
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A short name for a failed handshake.
pub(crate) fn tls_name(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => "certificate refused",
        Some(_) => "TLS failed",
        None => io_name(error),
    }
}
