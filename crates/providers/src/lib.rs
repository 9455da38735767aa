//! Providers: each turns a message into a request and the answer into an outcome.
//!
//! An adapter sends a message *once*. Whether and when it is sent again is the worker's decision, by the
//! [`FailureKind`](fanfare_domain::outcome::FailureKind) of the answer, so an adapter never repeats a
//! request of which a byte may have left this machine, and follows no redirect.
//!
//! **Architecture invariant:** adapters keep no state about messages and know nothing of the database.

mod caller;
mod client;
mod codes;
mod config;
mod connection;
mod endpoint;
pub mod files;
pub mod grow;
pub mod hooks;
pub mod http;
pub mod kind;
pub mod meta;
pub mod one_confirmed;
pub mod one_msg;
pub mod one_system;
pub mod pabbly;
mod retry_after;
pub mod sender;
pub mod smtp;
pub mod tokens;
pub mod twilio;
mod variables;

use chrono::{DateTime, Utc};
use fanfare_domain::content::Listed;
use fanfare_domain::message::OutMessage;
use fanfare_domain::outcome::{Answer, Failure, FailureKind};
use fanfare_domain::receipt::ReceiptKind;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

pub use client::Client;
pub use config::ConfigError;
pub use kind::Kind;

use config::Settings;

/// What every provider can do.
pub trait Provider: Send + Sync {
    /// Sends a message once and says what became of it. It takes no longer than the client's two
    /// time-outs, and as long again for each token that has to be fetched first; handing over a file that the
    /// message waits for takes longer, and is all that is done then. Dropping the future closes the connection,
    /// after which the message is in doubt.
    /// `may_start` is asked when a connection is there, right before the first byte: dialling takes time.
    fn send(&self, message: &OutMessage, may_start: MayStart<'_>) -> impl Future<Output = Answer> + Send;

    /// Asks the provider what became of a message in doubt, whose first attempt was after `since`. Only
    /// for kinds whose [`kind::Doubt`] is settled so.
    fn look_up(
        &self,
        message: &OutMessage,
        since: DateTime<Utc>,
        may_start: MayStart<'_>,
    ) -> impl Future<Output = Finding> + Send {
        let _ = (message, since, may_start);
        async { Finding::Unsure("no look-up") }
    }

    /// Asks the provider what became of a message that it has accepted. Only for kinds whose
    /// [`kind::Receipts`] have to be asked for.
    fn poll(&self, asked: &Asked, may_start: MayStart<'_>) -> impl Future<Output = Polled> + Send {
        let _ = (asked, may_start);
        async { Polled::Unsure("nothing to ask") }
    }

    /// Has the provider post to this address from now on; whether it has a call for that, or the address has to
    /// be entered there by hand.
    ///
    /// # Errors
    /// The failure, as of a message.
    fn listen(&self, url: &str) -> impl Future<Output = Result<bool, Failure>> + Send {
        let _ = url;
        async { Ok(false) }
    }

    /// Makes a harmless call with the account's credentials, and says what the provider said of it. Only
    /// for kinds that offer it.
    ///
    /// # Errors
    /// The failure, as of a message.
    fn check(&self) -> impl Future<Output = Result<String, Failure>> + Send {
        async { Ok("this kind has no call that would prove its credentials".to_owned()) }
    }

    /// The account's templates as the provider lists them, all pages. Only for kinds that offer it.
    ///
    /// # Errors
    /// The failure, as of a message; also when the list cannot be read whole.
    fn templates(&self) -> impl Future<Output = Result<Vec<Listed>, Failure>> + Send {
        async { Err(no_such_call()) }
    }

    /// What credit is left there. Only for kinds that offer it.
    ///
    /// # Errors
    /// The failure, as of a message.
    fn balance(&self) -> impl Future<Output = Result<Balance, Failure>> + Send {
        async { Err(no_such_call()) }
    }

    /// Whether whoever has this phone (E.164) can be written to there. Only for kinds that offer it.
    ///
    /// # Errors
    /// The failure, as of a message.
    fn contact(&self, phone: &str) -> impl Future<Output = Result<bool, Failure>> + Send {
        let _ = phone;
        async { Err(no_such_call()) }
    }
}

/// What credit is left at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// As the provider writes it.
    pub amount: String,
    /// Of which currency, or `credits`.
    pub unit: String,
}

/// What an adapter says of a call that its kind does not offer.
fn no_such_call() -> Failure {
    Failure::new(FailureKind::Configuration, "no such call")
}

/// What a look-up found.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// The provider took the message.
    Sent {
        /// Its id of it.
        provider_id: Option<String>,
    },
    /// The provider took no such message, and would know by now.
    Absent,
    /// It cannot be told; says why.
    Unsure(&'static str),
    /// It could not be asked.
    Failed(Failure),
    /// The time had passed before a connection was there: nothing was asked.
    NotStarted,
}

/// A message that its provider is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The provider's id of it.
    pub provider_id: String,
    /// Ours, under which it was sent.
    pub id: Uuid,
}

/// What a provider says of a message that it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Polled {
    /// What became of it in the end.
    Ended {
        /// Sent, or failed.
        kind: ReceiptKind,
        /// When, if that is said.
        at: Option<DateTime<Utc>>,
        /// The provider's code of a failure.
        detail: Option<String>,
    },
    /// Nothing yet.
    Pending,
    /// It cannot be told; says why.
    Unsure(&'static str),
    /// It could not be asked.
    Failed(Failure),
    /// The time had passed before a connection was there: nothing was asked.
    NotStarted,
}

/// Whether a request may still start now.
pub type MayStart<'a> = &'a (dyn Fn() -> bool + Sync);

/// The kinds of account there are: what [`open`] knows.
pub static KINDS: &[&Kind] = &[
    &http::KIND,
    &one_confirmed::KIND,
    &one_msg::KIND,
    &pabbly::KIND,
    &grow::KIND,
    &one_system::KIND,
    &meta::KIND,
    &twilio::KIND,
    &smtp::KIND,
];

/// An account's provider, ready to send. One for each account and process: it holds the connections.
#[derive(Debug)]
pub enum Adapter {
    /// The generic provider.
    Http(http::Http),
    /// 1Confirmed.
    OneConfirmed(one_confirmed::OneConfirmed),
    /// 1app Grow.
    Grow(grow::Grow),
    /// OneSystem.
    OneSystem(one_system::OneSystem),
    /// 1MSG.IO.
    OneMsg(one_msg::OneMsg),
    /// Pabbly Chatflow.
    Pabbly(pabbly::Pabbly),
    /// The WhatsApp Cloud API.
    Meta(meta::Meta),
    /// Twilio Messaging.
    Twilio(twilio::Twilio),
    /// Any mail server.
    Smtp(smtp::Smtp),
}

/// Hands a call on to whichever adapter it is.
macro_rules! each {
    ($adapter:expr, $provider:ident => $call:expr) => {
        match $adapter {
            Adapter::Http($provider) => $call,
            Adapter::OneConfirmed($provider) => $call,
            Adapter::Grow($provider) => $call,
            Adapter::OneSystem($provider) => $call,
            Adapter::OneMsg($provider) => $call,
            Adapter::Pabbly($provider) => $call,
            Adapter::Meta($provider) => $call,
            Adapter::Twilio($provider) => $call,
            Adapter::Smtp($provider) => $call,
        }
    };
}

impl Provider for Adapter {
    async fn send(&self, message: &OutMessage, may_start: MayStart<'_>) -> Answer {
        each!(self, provider => provider.send(message, may_start).await)
    }

    async fn look_up(&self, message: &OutMessage, since: DateTime<Utc>, may_start: MayStart<'_>) -> Finding {
        each!(self, provider => provider.look_up(message, since, may_start).await)
    }

    async fn poll(&self, asked: &Asked, may_start: MayStart<'_>) -> Polled {
        each!(self, provider => provider.poll(asked, may_start).await)
    }

    async fn listen(&self, url: &str) -> Result<bool, Failure> {
        each!(self, provider => provider.listen(url).await)
    }

    async fn check(&self) -> Result<String, Failure> {
        each!(self, provider => provider.check().await)
    }

    async fn templates(&self) -> Result<Vec<Listed>, Failure> {
        each!(self, provider => provider.templates().await)
    }

    async fn balance(&self) -> Result<Balance, Failure> {
        each!(self, provider => provider.balance().await)
    }

    async fn contact(&self, phone: &str) -> Result<bool, Failure> {
        each!(self, provider => provider.contact(phone).await)
    }
}

/// Makes the adapter of an account from what is stored about it. Opens no connection.
///
/// # Errors
/// [`ConfigError`] names the field that cannot be used and what was expected in it.
pub fn open(kind: &str, settings: &Value, secret: Option<&str>, client: &Client) -> Result<Adapter, ConfigError> {
    let kind = Kind::named(kind).ok_or_else(|| ConfigError::Kind(kind.to_owned()))?;
    let settings = Settings::read(kind, settings)?;
    let needed = || {
        let what = kind.secret.unwrap_or("its secret");
        let example = "--secret-file FILE, or --secret -".to_owned();
        secret.ok_or(ConfigError::Missing { kind: kind.name, key: "a secret", what, example })
    };
    Ok(match kind.name {
        "http" => Adapter::Http(http::Http::open(&settings, secret, client)?),
        "one_confirmed" => Adapter::OneConfirmed(one_confirmed::OneConfirmed::open(&settings, needed()?, client)?),
        "grow" => Adapter::Grow(grow::Grow::open(&settings, needed()?, client)?),
        "one_system" => Adapter::OneSystem(one_system::OneSystem::open(&settings, needed()?, client)?),
        "one_msg" => Adapter::OneMsg(one_msg::OneMsg::open(&settings, needed()?, client)?),
        "pabbly" => Adapter::Pabbly(pabbly::Pabbly::open(&settings, needed()?, client)?),
        "meta" => Adapter::Meta(meta::Meta::open(&settings, needed()?, client)?),
        "twilio" => Adapter::Twilio(twilio::Twilio::open(&settings, needed()?, client)?),
        "smtp" => Adapter::Smtp(smtp::Smtp::open(&settings, secret, client)?),
        other => return Err(ConfigError::Kind(other.to_owned())),
    })
}
