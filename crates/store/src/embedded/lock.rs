//! Locks that processes hold on files; the kernel drops them with the process.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use super::error::{Error, Result, io_at};

const POLL_EVERY: Duration = Duration::from_millis(10);

/// Opens a lock's file, which is made if it does not exist. Reading is enough, so that a file made
/// by root serves the user that the directory belongs to.
pub(super) fn open(path: &Path) -> Result<File> {
    File::open(path)
        .or_else(|_| OpenOptions::new().read(true).append(true).create(true).open(path))
        .map_err(io_at("open", path))
}

/// Waits for the sole possession of `path` for at most `wait`.
pub(super) async fn exclusive(path: &Path, wait: Duration) -> Result<File> {
    let file = open(path)?;
    let begun = Instant::now();
    while !try_exclusive(&file, path)? {
        if begun.elapsed() > wait {
            return Err(Error::Busy { lock: path.to_owned(), after: wait });
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
    Ok(file)
}

/// Takes the sole possession of `file` unless somebody holds it.
pub(super) fn try_exclusive(file: &File, path: &Path) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(io_at("lock", path)(e)),
    }
}
