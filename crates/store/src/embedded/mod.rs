//! The embedded default: a private PostgreSQL that the program starts itself, from the server of the
//! host, in a data directory of its own and on a private unix socket.
//!
//! Any number of processes share it. Each holds a shared lock on `users.lock` while it uses the
//! server, and the last one to leave stops it. Starting and stopping happen under `start.lock`. The
//! kernel drops the locks of a killed process; the server it leaves behind is adopted by the next.
//!
//! ```text
//! root/start.lock  users.lock  stopped      the locks, and the mark of a deliberate stop
//! root/data/  sock/  postgres.log           the server's
//! ```

mod account;
mod binaries;
mod error;
mod lock;
mod postmaster;
mod server;
mod socket;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};

use account::Account;
pub use binaries::OLDEST_MAJOR;
use error::io_at;
pub use error::{Error, Result};
use server::Server;

/// The database inside the server.
const DATABASE: &str = "fanfare";
/// The server's only user.
const SUPERUSER: &str = "postgres";
/// An initdb, a crash recovery or a stop of another process may be under way.
const START_LOCK_WAIT: Duration = Duration::from_secs(120);

/// Where a server's data lies and how it is run.
#[derive(Debug, Clone)]
pub struct Place {
    /// The directory of everything the server has.
    pub root: PathBuf,
    /// The installation's directory, if `root` lies in it: opened to passers-by when root runs us.
    pub home: Option<PathBuf>,
    /// Whether what is committed outlives a crash of the machine. Only tests do without.
    pub durable: bool,
}

/// A running server and this process's claim on it.
#[derive(Debug)]
pub struct Embedded {
    server: Server,
    options: PgConnectOptions,
    url: String,
    /// Locked, shared, until this process leaves.
    users: Mutex<Option<File>>,
}

/// What [`status`] found.
#[derive(Debug, Clone)]
pub struct Status {
    /// Process id of the server, if it runs.
    pub pid: Option<i32>,
    /// Major version of the data, if there is any.
    pub major: Option<u32>,
    /// The connection URL while it runs.
    pub url: String,
    /// The data directory.
    pub data: PathBuf,
    /// The server's log.
    pub log: PathBuf,
}

impl Embedded {
    /// Joins the server at `place`, which is made and started if need be, and connects to it.
    ///
    /// # Errors
    /// When the host has no PostgreSQL, or the directory cannot be used, or the server does not start.
    pub async fn ensure(place: &Place) -> Result<(Self, PgConnection)> {
        let server = server_at(place)?;
        let _start = lock::exclusive(&start_lock(&server.root), START_LOCK_WAIT).await?;
        let socket = socket::dir_of(&server.root);
        let options = PgConnectOptions::new_without_pgpass()
            .socket(&socket)
            .port(socket::PORT)
            .username(SUPERUSER)
            .database(DATABASE)
            .ssl_mode(PgSslMode::Disable);
        let connection = server.bring_up(&options).await?;
        let _ = fs::remove_file(stopped_mark(&server.root));
        let path = users_lock(&server.root);
        let users = lock::open(&path)?;
        users.lock_shared().map_err(io_at("lock", &path))?;
        let url = socket::url(&socket, SUPERUSER, DATABASE);
        Ok((Self { server, options, url, users: Mutex::new(Some(users)) }, connection))
    }

    /// How to connect to it.
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// The same as a URL, which other programs understand too.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Starts the server again if it has died. Cheap while it lives.
    ///
    /// # Errors
    /// [`Error::Stopped`] when somebody stopped it on purpose, [`Error::Gone`] when its data was
    /// removed; else as [`Embedded::ensure`].
    pub async fn revive(&self) -> Result<()> {
        if postmaster::running(&self.server.data).is_some() {
            return Ok(());
        }
        if self.server.major().is_none() {
            return Err(Error::Gone(self.server.data.clone()));
        }
        let _start = lock::exclusive(&start_lock(&self.server.root), START_LOCK_WAIT).await?;
        if stopped_mark(&self.server.root).exists() {
            return Err(Error::Stopped);
        }
        if postmaster::running(&self.server.data).is_none() {
            tracing::warn!("the embedded database has died: starting it again");
            self.server.bring_up(&self.options).await?;
        }
        Ok(())
    }

    /// Gives up this process's claim; stops the server if that was the last one. True if it stopped.
    ///
    /// # Errors
    /// When it does not stop.
    pub async fn release(&self) -> Result<bool> {
        let _start = lock::exclusive(&start_lock(&self.server.root), START_LOCK_WAIT).await?;
        let Some(users) = self.users.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(false) };
        users.unlock().map_err(io_at("unlock", &users_lock(&self.server.root)))?;
        stop_unless_used(&self.server).await
    }
}

/// Stops a server that was left running although nobody uses it. True if it stopped.
///
/// # Errors
/// When it does not stop, or another process has been starting it for long.
pub async fn stop_unused(place: &Place) -> Result<bool> {
    if !place.root.exists() {
        return Ok(false);
    }
    let server = server_at(place)?;
    let _start = lock::exclusive(&start_lock(&server.root), START_LOCK_WAIT).await?;
    stop_unless_used(&server).await
}

/// The caller holds the start lock.
async fn stop_unless_used(server: &Server) -> Result<bool> {
    let path = users_lock(&server.root);
    let Some(pid) = postmaster::running(&server.data) else { return Ok(false) };
    if !lock::try_exclusive(&lock::open(&path)?, &path)? {
        return Ok(false);
    }
    server.stop(pid).await?;
    Ok(true)
}

/// Stops the server at `place` even if others use it: they do not start it again. False if it did not
/// run.
///
/// # Errors
/// When it does not stop, or another process has been starting it for long.
pub async fn stop(place: &Place) -> Result<bool> {
    if !place.root.exists() {
        return Ok(false);
    }
    let server = server_at(place)?;
    let _start = lock::exclusive(&start_lock(&server.root), START_LOCK_WAIT).await?;
    let Some(pid) = postmaster::running(&server.data) else { return Ok(false) };
    let mark = stopped_mark(&server.root);
    fs::write(&mark, "").map_err(io_at("write", &mark))?;
    server.stop(pid).await?;
    Ok(true)
}

/// Looks at the server at `place` without starting it.
pub fn status(place: &Place) -> Status {
    let root = fs::canonicalize(&place.root).unwrap_or_else(|_| place.root.clone());
    let data = root.join("data");
    Status {
        pid: postmaster::running(&data).map(|pid| pid.as_raw_nonzero().get()),
        major: server::major_of(&data),
        url: socket::url(&socket::dir_of(&root), SUPERUSER, DATABASE),
        log: root.join("postgres.log"),
        data,
    }
}

fn start_lock(root: &Path) -> PathBuf {
    root.join("start.lock")
}

fn users_lock(root: &Path) -> PathBuf {
    root.join("users.lock")
}

fn stopped_mark(root: &Path) -> PathBuf {
    root.join("stopped")
}

/// Makes the directory and sees to it that the server's user can use it.
fn server_at(place: &Place) -> Result<Server> {
    make_private(&place.root)?;
    let root = fs::canonicalize(&place.root).map_err(io_at("find", &place.root))?;
    let data = root.join("data");
    let account = Account::of(&data)?;
    let owner = fs::metadata(&root).map_err(io_at("look at", &root))?.uid();
    if !account.is(owner) {
        return Err(Error::Foreign(root));
    }
    account.open_way(&root, place.home.as_deref())?;
    Ok(Server { log: root.join("postgres.log"), root, data, account, durable: place.durable })
}

/// Makes a directory for its owner alone, with those above it.
fn make_private(dir: &Path) -> Result<()> {
    if let Some(parent) = dir.parent()
        && !parent.as_os_str().is_empty()
    {
        fs::create_dir_all(parent).map_err(io_at("make", parent))?;
    }
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(io_at("make", dir)(e)),
        _ => Ok(()),
    }
}
