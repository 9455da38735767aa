//! What can go wrong with the embedded server.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Result of a function of the embedded server.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The embedded server could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host has no server to run.
    #[error(
        "no PostgreSQL server (14 or newer) found in $FANFARE_PG_BIN, pg_config, PATH or the usual places. Install one:\n  \
         Debian, Ubuntu: apt-get install postgresql\n  \
         Fedora, RHEL:   dnf install postgresql-server\n  \
         Alpine:         apk add postgresql\n  \
         Arch:           pacman -S postgresql\n  \
         macOS:          brew install postgresql@17\n\
         or name a database: --database-url postgres://user:password@host:5432/name"
    )]
    NoServer,
    /// The data directory belongs to a major version that the host does not have.
    #[error(
        "{data} was made by PostgreSQL {wanted}, found only {found}: install PostgreSQL {wanted}, or dump with it and restore"
    )]
    WrongMajor {
        /// The data directory.
        data: PathBuf,
        /// Its major version.
        wanted: u32,
        /// The servers that were found.
        found: String,
    },
    /// As root: there is nobody to run the server as.
    #[error(
        "PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`: use another user or --database-url"
    )]
    NoAccount,
    /// As root: the server's user cannot reach its data.
    #[error(
        "{closed} is closed to other users, and PostgreSQL, which does not run as root, must reach {root}: \
         choose another --data-dir, for example /var/lib/fanfare"
    )]
    Closed {
        /// The closed directory.
        closed: PathBuf,
        /// Where the server's data is to be.
        root: PathBuf,
    },
    /// The directory is somebody else's.
    #[error("{0} belongs to another user: choose another --data-dir")]
    Foreign(PathBuf),
    /// The data directory holds something else.
    #[error("{0} is not empty and holds no database: choose another --data-dir")]
    NotEmpty(PathBuf),
    /// `initdb` failed.
    #[error("initdb failed: {0}")]
    Init(String),
    /// The server ended while it started.
    #[error("PostgreSQL did not start; the end of {log}:\n{tail}")]
    NotStarted {
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// The server runs but took too long to become ready.
    #[error("PostgreSQL was not ready after {} s; see {log}", .after.as_secs())]
    NotReady {
        /// How long it was waited for.
        after: Duration,
        /// Its log.
        log: PathBuf,
    },
    /// The server did not stop.
    #[error("PostgreSQL (process {pid}) has not stopped after {} s", .after.as_secs())]
    NotStopped {
        /// Its process id.
        pid: i32,
        /// How long it was waited for.
        after: Duration,
    },
    /// Another process holds the lock under which servers are started and stopped.
    #[error("another process has been starting or stopping this database for {} s: {lock}", .after.as_secs())]
    Busy {
        /// The lock's file.
        lock: PathBuf,
        /// How long it was waited for.
        after: Duration,
    },
    /// Somebody stopped the server on purpose.
    #[error("the database was stopped with `fanfare db stop`")]
    Stopped,
    /// The data directory was removed while the server ran.
    #[error("the database in {0} was removed")]
    Gone(PathBuf),
    /// The server refused the connection.
    #[error("cannot connect")]
    Connect(#[from] sqlx::Error),
    /// The operating system refused something.
    #[error("{what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Says of an IO error what was tried on which file.
pub(super) fn io_at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { what, path: path.to_owned(), source }
}
