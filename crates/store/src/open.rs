//! Opening the database.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fanfare_domain::clock::Clock;
use fanfare_domain::id::Ids;
use fanfare_domain::rng::Rng;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::embedded::{self, Embedded, Place};
use crate::key::{Forgotten, Key};
use crate::seal::Seal;
use crate::{Error, Result, migrate, remote};

/// Longest wait for a connection of the pool: long enough for a killed server to recover.
const ACQUIRE_WAIT: Duration = Duration::from_secs(30);
/// Longest wait at the end for connections that are still in use.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// How often a long-running role looks whether the embedded server lives.
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// What the operator said about the database.
#[derive(Clone, Default)]
pub struct Config {
    /// A PostgreSQL elsewhere; none = the embedded default.
    pub database_url: Option<String>,
    /// The installation's directory: the key, and the embedded server unless `data_dir` says otherwise.
    pub home: PathBuf,
    /// Directory of the embedded server; none = `postgres` in `home`.
    pub data_dir: Option<PathBuf>,
    /// The installation's key, 32 bytes in base64; none = the file `key` in `home`.
    pub key: Option<String>,
    /// Most connections of the pool; 0 counts as 1.
    pub max_connections: u32,
}

impl Config {
    /// Where the embedded server lies.
    pub fn place(&self) -> Place {
        let root = self.data_dir.clone().unwrap_or_else(|| self.home.join("postgres"));
        Place { root, home: Some(self.home.clone()), durable: true }
    }
}

/// The open database, and what its statements need beside it. Clones share everything.
#[derive(Clone)]
pub struct Store {
    /// The connections.
    pub pool: PgPool,
    /// The time of day.
    pub clock: Clock,
    /// New ids.
    pub ids: Ids,
    /// Randomness.
    pub rng: Rng,
    /// Secrets at rest.
    pub seal: Seal,
    /// Who acts: what is recorded of what a person does.
    pub actor: Arc<str>,
    embedded: Option<Arc<Embedded>>,
}

impl Store {
    /// Opens the database, starts the embedded one if none is named, brings its schema up to date, and
    /// makes sure of the key.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Embedded`], [`Error::Key`], [`Error::NewerSchema`], or a
    /// migration that failed.
    pub async fn open(config: Config) -> Result<Self> {
        let key = Key::find(&config)?;
        let mut base = Base::connect(&config).await?;
        let seal = match migrate::to_newest(&mut base.connection).await {
            Ok(()) => key.checked(&mut base.connection, Clock::system().now(), &Rng::from_os()).await,
            Err(e) => Err(e),
        };
        let (embedded, options, seal) = base.ready(seal).await?;
        Ok(Self { embedded, ..Self::from_pool(pool(options, config.max_connections), seal) })
    }

    /// For when the key is lost for good: the database takes the present one (a new one where the key
    /// file is missing), and forgets every secret that it does not open; says whose.
    ///
    /// # Errors
    /// As [`Store::open`], a wrong key aside.
    pub async fn rekey(config: Config) -> Result<Vec<Forgotten>> {
        let key = Key::find(&config)?;
        let mut base = Base::connect(&config).await?;
        let forgotten = match migrate::to_newest(&mut base.connection).await {
            Ok(()) => key.impose(&mut base.connection, Clock::system().now(), &Rng::from_os()).await,
            Err(e) => Err(e),
        };
        let (embedded, _, forgotten) = base.ready(forgotten).await?;
        if let Some(embedded) = embedded {
            embedded.release().await?;
        }
        Ok(forgotten)
    }

    /// A store over connections to a database whose schema is up to date.
    pub fn from_pool(pool: PgPool, seal: Seal) -> Self {
        let (clock, rng) = (Clock::system(), Rng::from_os());
        let ids = Ids::new(clock.clone(), rng.clone());
        Self { pool, clock, ids, rng, seal, actor: "unknown".into(), embedded: None }
    }

    /// The URL of the embedded server, if that is what is open.
    pub fn embedded_url(&self) -> Option<&str> {
        self.embedded.as_deref().map(Embedded::url)
    }

    /// Keeps the embedded server alive until `stop` is done: one that died is started again. Every
    /// role that runs for long awaits this beside its work. Only waits for `stop` if the database is
    /// elsewhere.
    ///
    /// # Errors
    /// [`embedded::Error::Stopped`] when somebody stopped the server on purpose, and
    /// [`embedded::Error::Gone`] when its data was removed.
    pub async fn keep_alive(&self, stop: impl Future<Output = ()>) -> Result<()> {
        let Some(embedded) = &self.embedded else {
            stop.await;
            return Ok(());
        };
        let watch = async {
            loop {
                tokio::time::sleep(ALIVE_EVERY).await;
                match embedded.revive().await {
                    Err(e @ (embedded::Error::Stopped | embedded::Error::Gone(_))) => return e,
                    Err(e) => tracing::error!(error = &e as &dyn std::error::Error, "the embedded database is down"),
                    Ok(()) => {}
                }
            }
        };
        tokio::select! {
            () = stop => Ok(()),
            e = watch => Err(e.into()),
        }
    }

    /// Closes the connections and leaves the embedded server, which the last process stops.
    ///
    /// # Errors
    /// When the embedded server does not stop.
    pub async fn close(self) -> Result<()> {
        if tokio::time::timeout(CLOSE_WAIT, self.pool.close()).await.is_err() {
            tracing::warn!("connections to the database are still in use at the end");
        }
        if let Some(embedded) = &self.embedded {
            embedded.release().await?;
        }
        Ok(())
    }
}

/// The server, reached.
struct Base {
    embedded: Option<Arc<Embedded>>,
    options: PgConnectOptions,
    connection: PgConnection,
}

impl Base {
    async fn connect(config: &Config) -> Result<Self> {
        match &config.database_url {
            Some(url) => {
                let (options, connection) = remote::connect(url).await?;
                Ok(Self { embedded: None, options, connection })
            }
            None => {
                let (embedded, connection) = Embedded::ensure(&config.place()).await?;
                let options = embedded.options().clone();
                Ok(Self { embedded: Some(Arc::new(embedded)), options, connection })
            }
        }
    }

    /// Ends the first connection, whatever came of its work: after a failure it still holds a lock. After
    /// a failure the embedded server is left, too.
    async fn ready<T>(self, done: Result<T>) -> Result<(Option<Arc<Embedded>>, PgConnectOptions, T)> {
        let closed = self.connection.close().await;
        match done.and_then(|done| closed.map(|()| done).map_err(Error::from)) {
            Ok(done) => Ok((self.embedded, self.options, done)),
            Err(e) => {
                if let Some(embedded) = &self.embedded {
                    embedded.release().await?;
                }
                Err(e)
            }
        }
    }
}

fn pool(options: PgConnectOptions, max_connections: u32) -> PgPool {
    // The program's log says what it does; the database's own log can say how.
    let options = options.application_name("fanfare").disable_statement_logging();
    PgPoolOptions::new()
        .max_connections(max_connections.max(1))
        .acquire_timeout(ACQUIRE_WAIT)
        .test_before_acquire(false)
        .connect_lazy_with(options)
}
