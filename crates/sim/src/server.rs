//! The sockets: two ports, a loop for each connection, and an outage that closes one of the ports.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Config;
use crate::arrival;
use crate::control::Handle;
use crate::provider::{Answer, Provider, Reaction, SLOW_BODY};
use crate::receipts::{Outbox, Receipt, post_all};
use crate::smtp;
use crate::wire::{NoRequest, Reader};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;
/// Wait after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// Most pieces of a slow body.
const SLOW_PIECES_MAX: usize = 10;
/// A client that waits for ever in a silence is reset after this.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// A simulator with its ports open: connections wait until it serves.
pub struct Sim {
    handle: Handle,
    port: Port,
    listener: TcpListener,
    control: TcpListener,
    outbox: Outbox,
    receipts: mpsc::Receiver<Receipt>,
}

impl Sim {
    /// Opens the ports, port 0 meaning any free one. Belongs in a tokio runtime; it costs least in one
    /// with a single thread.
    ///
    /// # Errors
    /// [`BindError`] if an address cannot be listened on.
    pub fn bind(config: Config, listen: SocketAddr) -> Result<Self, BindError> {
        let port = Port::hold(listen).map_err(|source| BindError { address: listen, source })?;
        let listener = port.listen().map_err(|source| BindError { address: port.address, source })?;
        let beside = config.control.unwrap_or(SocketAddr::new(listen.ip(), 0));
        let control = Port::hold(beside).and_then(|p| p.listen());
        let control = control.map_err(|source| BindError { address: beside, source })?;
        let control_address = control.local_addr().map_err(|source| BindError { address: beside, source })?;

        let (outbox, receipts) = Outbox::new();
        let handle = Handle {
            provider: Arc::new(Provider::new(config, outbox.clone())),
            address: port.address,
            control_address,
            outage: Arc::new(watch::Sender::new(false)),
            is_down: Arc::new(watch::Sender::new(false)),
        };
        Ok(Self { handle, port, listener, control, outbox, receipts })
    }

    /// For steering it and asking it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until `shutdown` is ready, then closes everything.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let Self { handle, port, listener, control, outbox, receipts } = self;
        let posting = post_all(outbox, receipts, handle.provider.clone());
        tokio::select! {
            () = shutdown => {}
            () = serve_messages(&handle, &port, listener) => {}
            () = accept_until(std::future::pending(), control, &handle, true) => {}
            () = posting => {}
        }
    }
}

/// A port that stays ours while nobody listens on it.
struct Port {
    address: SocketAddr,
    /// Bound and never listening. Without it the kernel may give the port to another program during an
    /// outage, or draw it as the source of a client's connection, which then connects to itself.
    _holder: Option<TcpSocket>,
}

impl Port {
    fn hold(address: SocketAddr) -> io::Result<Self> {
        let holder = bound(address)?;
        let address = holder.local_addr()?;
        // Only Linux lets a second socket of ours bind beside it, as long as one of them does not listen.
        Ok(Self { address, _holder: cfg!(target_os = "linux").then_some(holder) })
    }

    fn listen(&self) -> io::Result<TcpListener> {
        bound(self.address)?.listen(BACKLOG)
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves the port for messages, save during an outage.
async fn serve_messages(handle: &Handle, port: &Port, mut listener: TcpListener) {
    let mut outage = handle.outage.subscribe();
    loop {
        handle.is_down.send_replace(false);
        // The sender lives in the handle, so that these waits end by a change only.
        accept_until(async { drop(outage.wait_for(|outage| *outage).await) }, listener, handle, false).await;
        handle.is_down.send_replace(true);
        drop(outage.wait_for(|outage| !*outage).await);
        listener = match port.listen() {
            Ok(again) => again,
            Err(error) => {
                tracing::error!(address = %port.address, %error, "cannot listen again after the outage");
                return;
            }
        }
    }
}

/// Accepts connections until `over`, then closes the listener and all of them.
async fn accept_until(over: impl Future<Output = ()>, listener: TcpListener, handle: &Handle, at_control: bool) {
    let mut over = pin!(over);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut over => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_one(stream, handle.clone(), at_control));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: some connection must end first.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Serves one connection to its end.
async fn serve_one(stream: TcpStream, handle: Handle, at_control: bool) {
    // Without it answers are only later.
    let _ = stream.set_nodelay(true);
    arrival::stamp(&stream);
    match handle.provider.dialect.scheme() {
        "smtp" if !at_control => smtp::converse(stream, &handle.provider).await,
        _ => converse(stream, handle, at_control).await,
    }
}

async fn converse(mut stream: TcpStream, handle: Handle, at_control: bool) {
    let provider = &*handle.provider;
    let mut reader = Reader::new();
    let mut out = Vec::with_capacity(256);
    loop {
        let request = match reader.next(&stream).await {
            Ok(request) => request,
            Err(NoRequest::Closed) => return,
            Err(NoRequest::Malformed(why)) => {
                let body = format!(r#"{{"error":{{"code":"malformed","message":"{why}"}}}}"#);
                write(&mut stream, &mut out, &Answer::new("400 Bad Request", body), true).await;
                return;
            }
        };
        let reaction = match reader.line(&request) {
            (method, target) if !at_control && provider.dialect.is_own(method, target) => {
                provider.react(&reader, &request)
            }
            (method, target) => {
                let answer = handle.answer(method, target, reader.body(&request), at_control).await;
                let goes_on = write(&mut stream, &mut out, &answer, request.last).await;
                reader.done(&request);
                if goes_on { continue } else { return }
            }
        };
        let latency = provider.latency();
        if reaction != Reaction::ResetAtOnce && !latency.is_zero() {
            sleep(latency).await;
        }
        let goes_on = match &reaction {
            Reaction::Answer(answer) => write(&mut stream, &mut out, answer, request.last).await,
            Reaction::Trickle(answer) => trickle(&mut stream, &mut out, answer, request.last).await,
            Reaction::ResetAtOnce | Reaction::Reset => return reset(stream),
            Reaction::Silence => return be_silent(stream).await,
        };
        provider.answered(request.arrived);
        reader.done(&request);
        if !goes_on {
            return;
        }
    }
}

/// Writes an answer whole; whether the connection goes on.
async fn write(stream: &mut TcpStream, out: &mut Vec<u8>, answer: &Answer, last: bool) -> bool {
    write_head(out, answer, last);
    out.extend_from_slice(answer.body.as_bytes());
    stream.write_all(out).await.is_ok() && !last
}

/// Writes an answer whose body comes in pieces.
async fn trickle(stream: &mut TcpStream, out: &mut Vec<u8>, answer: &Answer, last: bool) -> bool {
    write_head(out, answer, last);
    if stream.write_all(out).await.is_err() {
        return false;
    }
    let body = answer.body.as_bytes();
    let pieces = body.chunks(body.len().div_ceil(SLOW_PIECES_MAX).max(1));
    let pause = SLOW_BODY / u32::try_from(pieces.len()).unwrap_or(1).max(1);
    for piece in pieces {
        sleep(pause).await;
        if stream.write_all(piece).await.is_err() {
            return false;
        }
    }
    !last
}

/// Puts the head of an answer into `out`, in place of what was there.
fn write_head(out: &mut Vec<u8>, answer: &Answer, last: bool) {
    out.clear();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(answer.status.as_bytes());
    out.extend_from_slice(b"\r\ncontent-type: application/json\r\ncontent-length: ");
    out.extend_from_slice(answer.body.len().to_string().as_bytes());
    if let Some(seconds) = answer.retry_after_s {
        out.extend_from_slice(b"\r\nretry-after: ");
        out.extend_from_slice(seconds.to_string().as_bytes());
    }
    out.extend_from_slice(if last { b"\r\nconnection: close\r\n\r\n" } else { b"\r\n\r\n" });
}

/// Closes a connection with a reset instead of an orderly end.
pub(crate) fn reset(stream: TcpStream) {
    // If it fails the connection is gone already.
    let _ = stream.set_zero_linger();
}

/// Keeps a client waiting until it gives up.
pub(crate) async fn be_silent(mut stream: TcpStream) {
    let mut ignored = [0; 1024];
    let gone = async { while stream.read(&mut ignored).await.is_ok_and(|bytes| bytes > 0) {} };
    if timeout(SILENCE_MAX, gone).await.is_err() {
        reset(stream);
    }
}
