//! Files of ours: their bytes, a few of them in memory for the whole process, and what an account's provider
//! calls them, one name for the fleet.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use fanfare_domain::content::StoredFile;
use fanfare_domain::limits::{FILES_REMEMBERED_BYTES_MAX, UPLOAD_REUSED, UPLOADS_MAX};
use fanfare_domain::outcome::{Failure, FailureKind};
use fanfare_providers::files::{Fetched, Files, gone};
use fanfare_providers::tokens::Fetch;
use fanfare_store::media::{self, Hash};
use fanfare_store::{Error, Store};
use tokio::sync::Semaphore;

/// Bytes of files, those used last at the end. Locked while one is read, so that none is read twice.
#[derive(Default)]
pub struct Remembered(tokio::sync::Mutex<Vec<((i32, Hash), Bytes)>>);

impl Remembered {
    /// The bytes of a file; `None` if it is not kept.
    async fn get(&self, store: &Store, workspace_id: i32, sha256: Hash) -> Result<Option<Bytes>, Error> {
        let mut all = self.0.lock().await;
        let key = (workspace_id, sha256);
        if let Some(at) = all.iter().position(|(known, _)| *known == key) {
            let found = all.remove(at);
            all.push(found.clone());
            return Ok(Some(found.1));
        }
        let mut c = store.pool.acquire().await?;
        let Some(bytes) = media::bytes(&mut c, workspace_id, sha256).await?.map(Bytes::from) else { return Ok(None) };
        all.push((key, bytes.clone()));
        // The one that was asked for stays, however large.
        while all.len() > 1 && all.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > FILES_REMEMBERED_BYTES_MAX {
            all.remove(0);
        }
        Ok(Some(bytes))
    }
}

/// The files of one account. This process remembers the provider's names, and asks the database when it has
/// none: another process may have handed the file over already.
pub struct FleetFiles {
    store: Store,
    key: (i32, i64),
    remembered: Arc<Remembered>,
    known: Mutex<HashMap<String, (String, DateTime<Utc>)>>,
    /// Held by whoever asks the database or hands a file over.
    asking: tokio::sync::Mutex<()>,
}

impl fmt::Debug for FleetFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FleetFiles({})", self.key.1)
    }
}

impl FleetFiles {
    /// Of the account with this workspace and id.
    pub fn new(store: Store, key: (i32, i64), remembered: Arc<Remembered>) -> Self {
        Self { store, key, remembered, known: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, (String, DateTime<Utc>)>> {
        // A panic elsewhere leaves names that are still names.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name that the fleet knows, fetched under the lock of its row if there is none.
    async fn of_fleet(&self, sha256: Hash, upload: Fetch<'_>) -> Result<(String, DateTime<Utc>), Failure> {
        let unread = |error: Error| {
            tracing::warn!(account_id = self.key.1, ?error, "what the provider calls a file cannot be read");
            Failure::new(FailureKind::Unreachable, "file's id not read")
        };
        let (store, key) = (&self.store, self.key);
        let look = async { media::look(&mut *store.pool.acquire().await?, key, sha256, store.clock.now()).await };
        if let Some(known) = look.await.map_err(unread)? {
            return Ok(known);
        }
        // Read before the row is locked: whoever holds one connection must not wait for another.
        self.remembered.get(store, key.0, sha256).await.map_err(unread)?;
        // Nor may these connections be all that there are: beats, looks and flushes need some.
        static PLACES: Semaphore = Semaphore::const_new(UPLOADS_MAX);
        let _place = PLACES.acquire().await.expect("nobody closes it");
        let lock = async {
            let mut tx = store.pool.begin().await?;
            let known = media::lock(&mut tx, key, sha256, store.clock.now()).await?;
            Ok((tx, known))
        };
        let (mut tx, known) = lock.await.map_err(unread)?;
        if let Some(known) = known {
            return Ok(known);
        }
        let id = upload.await?;
        let until = self.store.clock.now() + UPLOAD_REUSED;
        let written = async {
            media::keep(&mut tx, self.key, sha256, (&id, until)).await?;
            tx.commit().await.map_err(Error::from)
        };
        // Unwritten it is still good: the others hand over their own.
        if let Err(error) = written.await {
            tracing::warn!(account_id = self.key.1, ?error, "what the provider calls a file cannot be kept");
        }
        tracing::info!(account_id = self.key.1, "file handed over");
        Ok((id, until))
    }
}

/// The hash of a stored file: it was written by us, as 64 hexadecimal digits.
fn hash(file: &StoredFile) -> Result<Hash, Failure> {
    let mut hash = Hash::default();
    hex::decode_to_slice(&file.sha256, &mut hash).map_err(|_| gone())?;
    Ok(hash)
}

impl Files for FleetFiles {
    fn bytes<'a>(&'a self, file: &'a StoredFile) -> Fetched<'a, Result<Bytes, Failure>> {
        Box::pin(async move {
            match self.remembered.get(&self.store, self.key.0, hash(file)?).await {
                Ok(Some(bytes)) => Ok(bytes),
                Ok(None) => Err(gone()),
                Err(error) => {
                    tracing::warn!(account_id = self.key.1, ?error, "a file cannot be read");
                    Err(Failure::new(FailureKind::Unreachable, "file not read"))
                }
            }
        })
    }

    fn known(&self, file: &StoredFile) -> Option<String> {
        let now = self.store.clock.now();
        self.names().get(&file.sha256).filter(|(_, until)| *until > now).map(|(id, _)| id.clone())
    }

    fn id<'a>(&'a self, file: &'a StoredFile, upload: Fetch<'a>) -> Fetch<'a> {
        Box::pin(async move {
            let _asking = self.asking.lock().await;
            if let Some(id) = self.known(file) {
                return Ok(id);
            }
            let found = self.of_fleet(hash(file)?, upload).await?;
            self.names().insert(file.sha256.clone(), found.clone());
            Ok(found.0)
        })
    }

    fn forget<'a>(&'a self, file: &'a StoredFile, id: &'a str) -> Fetched<'a, ()> {
        Box::pin(async move {
            let ours = {
                let mut names = self.names();
                let ours = names.get(&file.sha256).is_some_and(|(known, _)| known == id);
                if ours {
                    names.remove(&file.sha256);
                }
                ours
            };
            let Ok(sha256) = hash(file) else { return };
            // Many messages may be told so of one name; the first of them says it to the fleet.
            if !ours {
                return;
            }
            let forgotten = async { media::forget(&mut *self.store.pool.acquire().await?, self.key, sha256, id).await };
            match forgotten.await {
                Ok(forgotten) => tracing::info!(account_id = self.key.1, forgotten, "the provider lost a file"),
                Err(error) => tracing::warn!(account_id = self.key.1, ?error, "a file's id cannot be forgotten"),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use fanfare_testdb::TestDb;
    use futures::future::join_all;

    use super::*;
    use crate::many::{Counted, accounts};

    /// A campaign through many accounts has all of them hand over its picture at once.
    #[tokio::test(flavor = "multi_thread")]
    async fn files_that_are_handed_over_leave_connections_for_the_rest() {
        let (db, uploads, remembered) = (TestDb::new().await, Counted::new().await, Arc::new(Remembered::default()));
        let store = &db.store;
        let accounts = accounts(store, "meta").await;
        media::put(store, accounts[0].workspace_id, [7; 32], "image/png", b"picture").await.unwrap();
        let files: Vec<FleetFiles> = accounts
            .iter()
            .map(|a| FleetFiles::new(store.clone(), (a.workspace_id, a.account_id), remembered.clone()))
            .collect();
        let upload = async || {
            uploads.call().await;
            Ok("160".to_owned())
        };
        let of_fleet = files.iter().map(|files| files.of_fleet([7; 32], Box::pin(upload())));
        assert!(join_all(of_fleet).await.into_iter().all(|id| id.unwrap().0 == "160"));
        assert!(uploads.most() <= UPLOADS_MAX);
    }
}
