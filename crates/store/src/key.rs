//! The installation's key: where it is looked for, and whether it is the one this database knows.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use fanfare_domain::rng::Rng;
use sqlx::PgConnection;

use crate::accounts::{self, Sealed};
use crate::open::Config;
use crate::seal::Seal;
use crate::{Error, Result};

/// What the canary says, and whose it is.
const WORD: &str = "fanfare";
const OWNER: &str = "this database";

/// The way out when a key is lost for good.
const LOST: &str = "If it is lost for good: fanfare db rekey forgets the secrets and adopts the present key";

/// A key that was looked for.
pub(crate) struct Key {
    /// `None` when there is no key file.
    seal: Option<Seal>,
    place: Place,
}

enum Place {
    Environment,
    File(PathBuf),
}

/// An account whose secret was forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// Name of its workspace.
    pub workspace: String,
    /// Its name.
    pub account: String,
}

impl Key {
    /// The key that `config` names. A key file is read, and never made here.
    ///
    /// # Errors
    /// [`Error::Key`] when there is a key that cannot be read.
    pub(crate) fn find(config: &Config) -> Result<Self> {
        if let Some(key) = &config.key {
            return Ok(Self { seal: Some(Seal::from_base64(key)?), place: Place::Environment });
        }
        make_home(&config.home)?;
        let path = config.home.join("key");
        let seal = if path.exists() { Some(Seal::from_file(&path)?) } else { None };
        Ok(Self { seal, place: Place::File(path) })
    }

    /// The seal, once it is certain that this database knows it, or knows none yet: then it is adopted.
    ///
    /// # Errors
    /// [`Error::Key`] when the database knows another one; else when the database fails.
    pub(crate) async fn checked(self, c: &mut PgConnection, now: DateTime<Utc>, rng: &Rng) -> Result<Seal> {
        let seal = match (canary(c).await?, &self.seal) {
            (Some(_), Some(seal)) => seal.clone(),
            (Some(_), None) => self.made_since()?,
            (None, given) => {
                // A database from before the canary: its secrets tell.
                let secrets = accounts::sealed(c).await?;
                let opens = |seal: &Seal| secrets.iter().all(|secret| secret.opens(seal));
                if !given.as_ref().map_or(secrets.is_empty(), opens) {
                    return Err(self.refusal());
                }
                let seal = self.or_made(rng)?;
                adopt(c, &seal, now, rng).await?;
                seal
            }
        };
        // Of two programs that adopt their keys at once, one has won.
        match canary(c).await? {
            Some(sealed) if seal.open(&sealed, OWNER).is_ok() => Ok(seal),
            _ => Err(self.refusal()),
        }
    }

    /// Makes this the database's key, and forgets the secrets that it does not open; says whose. Their
    /// accounts are stopped. Nothing changes under the key that the database knows.
    ///
    /// # Errors
    /// When the key file cannot be made or the database fails; nothing is forgotten then.
    pub(crate) async fn impose(self, c: &mut PgConnection, now: DateTime<Utc>, rng: &Rng) -> Result<Vec<Forgotten>> {
        let seal = self.or_made(rng)?;
        let mut tx = sqlx::Connection::begin(c).await?;
        sqlx::query("-- impose\n delete from seal_canary").execute(&mut *tx).await?;
        adopt(&mut tx, &seal, now, rng).await?;
        let mut forgotten = Vec::new();
        for secret in accounts::sealed(&mut tx).await? {
            if !secret.opens(&seal) {
                accounts::forget_secret(&mut tx, &secret).await?;
                let Sealed { workspace, account, .. } = secret;
                forgotten.push(Forgotten { workspace, account });
            }
        }
        tx.commit().await?;
        Ok(forgotten)
    }

    /// The seal of a file that was missing, and that another program has made before it sealed the canary.
    fn made_since(&self) -> Result<Seal> {
        match &self.place {
            Place::File(path) if path.exists() => Seal::from_file(path),
            _ => Err(self.refusal()),
        }
    }

    /// The seal; of a missing file, a new one.
    fn or_made(&self, rng: &Rng) -> Result<Seal> {
        match (&self.seal, &self.place) {
            (Some(seal), _) => Ok(seal.clone()),
            (None, Place::File(path)) => Seal::from_new_file(path, rng),
            (None, Place::Environment) => Err(self.refusal()),
        }
    }

    fn refusal(&self) -> Error {
        let why = match (&self.place, &self.seal) {
            (Place::Environment, _) => {
                "FANFARE_KEY is not the key that this database's secrets are sealed under: set the one that is".into()
            }
            (Place::File(path), Some(_)) => format!(
                "{} is not the key that this database's secrets are sealed under: restore the file, or set FANFARE_KEY",
                path.display()
            ),
            (Place::File(path), None) => format!(
                "{} is missing, and this database's secrets are sealed under a key: restore the file, or set FANFARE_KEY",
                path.display()
            ),
        };
        Error::Key(format!("{why}. {LOST}"))
    }
}

/// Closed to others, whoever makes something in it first.
fn make_home(home: &Path) -> Result<()> {
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(home) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::Key(format!("cannot make {}: {e}", home.display())))
        }
        _ => Ok(()),
    }
}

async fn canary(c: &mut PgConnection) -> Result<Option<Vec<u8>>> {
    let sealed = sqlx::query_scalar("-- canary\n select sealed from seal_canary").fetch_optional(c).await?;
    Ok(sealed)
}

/// Seals the canary, unless there is one.
async fn adopt(c: &mut PgConnection, seal: &Seal, now: DateTime<Utc>, rng: &Rng) -> Result<()> {
    sqlx::query("-- adopt\n insert into seal_canary (sealed, sealed_at) values ($1, $2) on conflict do nothing")
        .bind(seal.seal(WORD, OWNER, rng))
        .bind(now)
        .execute(c)
        .await?;
    Ok(())
}
