//! Providers: each turns a message into a request and the answer into an outcome.
//!
//! An adapter sends a message *once*. Whether and when it is sent again is the worker's decision, by the
//! [`FailureKind`](fanfare_domain::outcome::FailureKind) of the answer, so an adapter never repeats a
//! request of which a byte may have left this machine, and follows no redirect.
//!
//! **Architecture invariant:** adapters keep no state about messages and know nothing of the database.

mod client;
mod config;
mod connection;
mod endpoint;
pub mod http;
mod retry_after;

use fanfare_domain::message::OutMessage;
use fanfare_domain::outcome::Answer;
use serde_json::Value;

pub use client::Client;
pub use config::ConfigError;

/// What every provider can do.
pub trait Provider: Send + Sync {
    /// Sends a message once and says what became of it. It takes no longer than the client's two
    /// time-outs; dropping the future closes the connection, after which the message is in doubt.
    /// `may_start` is asked when a connection is there, right before the first byte: dialling takes time.
    fn send(&self, message: &OutMessage, may_start: MayStart<'_>) -> impl Future<Output = Answer> + Send;
}

/// Whether a request may still start now.
pub type MayStart<'a> = &'a (dyn Fn() -> bool + Sync);

/// The kinds of account there are: what [`open`] knows.
pub const KINDS: &[&str] = &[http::KIND];

/// An account's provider, ready to send. One for each account and process: it holds the connections.
#[derive(Debug)]
pub enum Adapter {
    /// The generic provider.
    Http(http::Http),
}

impl Provider for Adapter {
    async fn send(&self, message: &OutMessage, may_start: MayStart<'_>) -> Answer {
        match self {
            Self::Http(http) => http.send(message, may_start).await,
        }
    }
}

/// Makes the adapter of an account from what is stored about it. Opens no connection.
///
/// # Errors
/// [`ConfigError`] names the field that cannot be used and what was expected in it.
pub fn open(kind: &str, settings: &Value, secret: Option<&str>, client: &Client) -> Result<Adapter, ConfigError> {
    match kind {
        http::KIND => http::Http::open(settings, secret, client).map(Adapter::Http),
        _ => Err(ConfigError::Kind(kind.to_owned())),
    }
}
