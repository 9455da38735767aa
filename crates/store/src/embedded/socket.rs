//! The private unix socket that the server listens on.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::account::Account;
use super::error::{Error, Result, io_at};

/// Only names the socket's file: no TCP port is opened.
pub(super) const PORT: u16 = 5432;
/// A socket's path has room for 104 bytes on some systems, and `/.s.PGSQL.5432` and a zero follow.
const DIR_BYTES_MAX: usize = 85;

/// Makes the directory of the socket of `root`: inside it, or, where that path is too long for a
/// socket, a directory under /tmp that is named by the path's hash and belongs to us.
pub(super) fn make_dir(root: &Path, account: Account) -> Result<PathBuf> {
    let dir = dir_of(root);
    match fs::DirBuilder::new().mode(0o700).create(&dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(io_at("make", &dir)(e)),
        _ => {}
    }
    let meta = fs::symlink_metadata(&dir).map_err(io_at("look at", &dir))?;
    if !meta.is_dir() || !account.is(meta.uid()) {
        return Err(Error::Foreign(dir));
    }
    account.own(&dir)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).map_err(io_at("close", &dir))?;
    Ok(dir)
}

/// Every process that uses `root` finds the same directory, whatever its environment.
pub(super) fn dir_of(root: &Path) -> PathBuf {
    let inside = root.join("sock");
    if inside.as_os_str().len() <= DIR_BYTES_MAX {
        return inside;
    }
    let hash = Sha256::digest(root.as_os_str().as_bytes());
    let name: String = hash.iter().take(8).map(|b| format!("{b:02x}")).collect();
    Path::new("/tmp").join(format!("fanfare-{name}"))
}

/// A connection URL for `database` on the socket in `dir`, understood by libpq as well.
pub(super) fn url(dir: &Path, user: &str, database: &str) -> String {
    let mut host = String::new();
    for &byte in dir.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            host.push(char::from(byte));
        } else {
            host.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("postgres://{user}@localhost:{PORT}/{database}?host={host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_falls_back_to_a_short_one_of_its_own() {
        let long = |c: &str| PathBuf::from("/").join(c.repeat(90));
        assert_eq!(dir_of(Path::new("/data")), Path::new("/data/sock"));
        assert!(dir_of(&long("a")).as_os_str().len() < DIR_BYTES_MAX);
        assert_ne!(dir_of(&long("a")), dir_of(&long("b")));
    }

    #[test]
    fn a_url_survives_odd_paths() {
        let url = url(Path::new("/a b/ü&?#%/sock"), "postgres", "fanfare");
        assert_eq!(url, "postgres://postgres@localhost:5432/fanfare?host=/a%20b/%C3%BC%26%3F%23%25/sock");
    }
}
