//! What can go wrong at the database.

/// Result of a store function.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed store function.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused or was not reached.
    #[error("database")]
    Sql(#[from] sqlx::Error),
    /// Migrations failed.
    #[error("database migration")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The database was migrated by a newer program.
    #[error("the database has schema version {found}, this program knows up to {known}: install the newer fanfare")]
    NewerSchema {
        /// Version found in the database.
        found: i64,
        /// Newest version this program has.
        known: i64,
    },
    /// The database was migrated by another line of the program.
    #[error(
        "migration {version} of the database is not the one this program has: use the fanfare that made it, or a new database"
    )]
    ForeignSchema {
        /// The first version that differs.
        version: i64,
    },
    /// The address of the database cannot be used.
    #[error("cannot use the database {url}: {reason}")]
    Unreachable {
        /// The address without its password.
        url: String,
        /// What went wrong, and what to do.
        reason: String,
    },
    /// The embedded server could not be run.
    #[error("embedded database")]
    Embedded(#[from] crate::embedded::Error),
    /// The installation's key is missing or wrong.
    #[error("key: {0}")]
    Key(String),
    /// Something named does not exist.
    #[error("no {what} {name:?} in this workspace{}", nearest(.near))]
    NotFound {
        /// Kind of thing: list, campaign, ….
        what: &'static str,
        /// The name asked for.
        name: String,
        /// Names that exist, nearest first.
        near: Vec<String>,
    },
    /// No such tenant.
    #[error("no workspace {name:?}: {}", founded_by(.near))]
    NoWorkspace {
        /// The name asked for.
        name: String,
        /// Names that exist, nearest first.
        near: Vec<String>,
    },
    /// An expression names what does not exist.
    #[error(transparent)]
    Segment(#[from] fanfare_domain::segment::SegmentError),
    /// Something named exists already, or is in the way.
    #[error("{0}")]
    Conflict(String),
    /// The worker was declared dead: it must stop sending and start anew.
    #[error("this worker was declared dead by the fleet")]
    Fenced,
    /// A mutation touched another number of rows than it must: the database was changed underneath.
    #[error("{query}: {found} rows affected instead of {expected}")]
    Affected {
        /// The function that mutated.
        query: &'static str,
        /// Rows it had to affect.
        expected: u64,
        /// Rows it did affect.
        found: u64,
    },
    /// A stored value that the program does not know.
    #[error("stored value out of range: {0}")]
    Corrupt(String),
}

fn nearest(near: &[String]) -> String {
    match near {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(", ")),
    }
}

fn founded_by(near: &[String]) -> String {
    match near {
        [] => "the first fanfare import, account add or template add in it makes it".to_owned(),
        names => format!("did you mean {}?", names.iter().map(|n| format!("{n:?}")).collect::<Vec<_>>().join(", ")),
    }
}

impl Error {
    /// Whether the same transaction may succeed when run again: a serialisation failure, a deadlock, a
    /// connection that was lost, a server that is short of something, starting, or a standby for now.
    pub fn is_transient(&self) -> bool {
        let Self::Sql(e) = self else { return false };
        match e {
            sqlx::Error::Database(d) => d.code().is_some_and(|code| {
                let class = code.get(..2).unwrap_or_default();
                matches!(class, "08" | "53" | "57" | "58")
                    || matches!(&*code, "25006" | "25P02" | "40001" | "40P01" | "55P03")
            }),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_) => true,
            _ => false,
        }
    }
}

/// Holds that a mutation touched exactly `expected` rows.
///
/// # Errors
/// [`Error::Affected`] when it did not.
pub fn ensure_affected(query: &'static str, found: u64, expected: u64) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::Affected { query, expected, found }) }
}
