//! Secrets at rest: XChaCha20-Poly1305 under the installation's key.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use fanfare_domain::rng::Rng;
use tempfile::NamedTempFile;

use crate::pepper::Pepper;
use crate::{Error, Result};

const NONCE_BYTES: usize = 24;

/// The installation's key. It has no `Debug` and is never printed.
#[derive(Clone)]
pub struct Seal {
    cipher: XChaCha20Poly1305,
    pepper: Pepper,
}

impl Seal {
    /// From 32 bytes in base64 (`FANFARE_KEY`).
    ///
    /// # Errors
    /// [`Error::Key`] when it is not that.
    pub fn from_base64(key: &str) -> Result<Self> {
        let bytes: [u8; 32] = STANDARD.decode(key.trim()).ok().and_then(|b| b.try_into().ok()).ok_or_else(|| {
            Error::Key("not 32 bytes in base64; make one with: head -c 32 /dev/urandom | base64".into())
        })?;
        Ok(Self { cipher: XChaCha20Poly1305::new(&bytes.into()), pepper: Pepper::derive(&bytes) })
    }

    /// The key under which erased addresses are hashed.
    pub fn pepper(&self) -> &Pepper {
        &self.pepper
    }

    /// From a key file.
    ///
    /// # Errors
    /// [`Error::Key`] when the file cannot be read, is open to others, or holds no key.
    pub fn from_file(path: &Path) -> Result<Self> {
        let shown = path.display();
        let mode = fs::metadata(path).map_err(|e| Error::Key(format!("{shown}: {e}")))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Error::Key(format!("{shown} is open to other users: chmod 600 {shown}")));
        }
        let text = fs::read_to_string(path).map_err(|e| Error::Key(format!("cannot read {shown}: {e}")))?;
        Self::from_base64(&text).map_err(|_| Error::Key(format!("{shown} does not hold 32 bytes in base64")))
    }

    /// From a key file, which is made, readable by its owner only, if it does not exist.
    ///
    /// # Errors
    /// [`Error::Key`] when the file cannot be made; else as [`Seal::from_file`].
    pub fn from_new_file(path: &Path, rng: &Rng) -> Result<Self> {
        make_key(path, rng).map_err(|e| Error::Key(format!("cannot make {}: {e}", path.display())))?;
        Self::from_file(path)
    }

    /// Seals `secret`; only the same key and the same `owner` open it again.
    pub fn seal(&self, secret: &str, owner: &str, rng: &Rng) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill(&mut nonce);
        let payload = Payload { msg: secret.as_bytes(), aad: owner.as_bytes() };
        // Encryption fails only for messages above 256 GiB.
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload).expect("a secret fits into memory");
        [nonce.as_slice(), &sealed].concat()
    }

    /// Opens what [`Seal::seal`] made for `owner`.
    ///
    /// # Errors
    /// [`Error::Key`] when the key, the owner or the bytes are not the same.
    pub fn open(&self, sealed: &[u8], owner: &str) -> Result<String> {
        let wrong = || {
            Error::Key(format!(
                "cannot open the secret of {owner}: it was sealed under another key. Set FANFARE_KEY or restore the key file, or set the secret anew"
            ))
        };
        let (nonce, body) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(wrong)?;
        let payload = Payload { msg: body, aad: owner.as_bytes() };
        let plain = self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| wrong())?;
        String::from_utf8(plain).map_err(|_| wrong())
    }
}

/// Makes a key file. It appears whole; of two programs that make it at once, one wins.
fn make_key(path: &Path, rng: &Rng) -> io::Result<()> {
    let mut key = [0; 32];
    rng.fill(&mut key);
    // Readable by its owner only, as all temporary files.
    let mut file = NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(STANDARD.encode(key).as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop).map_err(|e| e.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(byte: u8) -> Seal {
        Seal::from_base64(&STANDARD.encode([byte; 32])).unwrap()
    }

    #[test]
    fn a_secret_opens_under_its_key_and_owner_only() {
        let rng = Rng::seeded(1);
        let sealed = seal(1).seal("s3cret", "1/demo", &rng);
        assert_eq!(seal(1).open(&sealed, "1/demo").unwrap(), "s3cret");
        assert!(seal(2).open(&sealed, "1/demo").is_err());
        assert!(seal(1).open(&sealed, "1/other").is_err());
        assert!(seal(1).open(&sealed[..10], "1/demo").is_err());
        assert!(!sealed.windows(6).any(|w| w == b"s3cret"));
    }

    #[test]
    fn a_key_file_is_private_and_stays_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let rng = Rng::from_os();
        assert!(matches!(Seal::from_file(&path), Err(Error::Key(e)) if e.contains("No such file")));
        let sealed = Seal::from_new_file(&path, &rng).unwrap().seal("x", "o", &rng);
        assert_eq!(Seal::from_file(&path).unwrap().open(&sealed, "o").unwrap(), "x");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Seal::from_file(&path), Err(Error::Key(e)) if e.contains("chmod 600")));
    }

    #[test]
    fn programs_that_make_the_key_file_at_once_have_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rng) = (dir.path().join("key"), Rng::from_os());
        let made = || {
            let seal = Seal::from_new_file(&path, &rng).unwrap();
            seal.seal("x", "o", &rng)
        };
        let sealed: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(made)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let seal = Seal::from_file(&path).unwrap();
        assert!(sealed.iter().all(|bytes| seal.open(bytes, "o").is_ok()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "something was left beside the key");
    }
}
