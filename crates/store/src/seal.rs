//! Secrets at rest: XChaCha20-Poly1305 under the installation's key.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use fanfare_domain::rng::Rng;

use crate::{Error, Result};

const NONCE_BYTES: usize = 24;

/// The installation's key. It has no `Debug` and is never printed.
#[derive(Clone)]
pub struct Seal(XChaCha20Poly1305);

impl Seal {
    /// From 32 bytes in base64 (`FANFARE_KEY`).
    ///
    /// # Errors
    /// [`Error::Key`] when it is not that.
    pub fn from_base64(key: &str) -> Result<Self> {
        let bytes = STANDARD.decode(key.trim()).ok().filter(|b| b.len() == 32).ok_or_else(|| {
            Error::Key("not 32 bytes in base64; make one with: head -c 32 /dev/urandom | base64".into())
        })?;
        Ok(Self(XChaCha20Poly1305::new(bytes.as_slice().into())))
    }

    /// From a key file, which is made, readable by its owner only, if it does not exist.
    ///
    /// # Errors
    /// [`Error::Key`] when the file cannot be made or read, is open to others, or holds no key.
    pub fn from_file(path: &Path, rng: &Rng) -> Result<Self> {
        let shown = path.display();
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        match made {
            Ok(mut file) => {
                let mut key = [0; 32];
                rng.fill(&mut key);
                file.write_all(STANDARD.encode(key).as_bytes())
                    .and_then(|()| file.sync_all())
                    .map_err(|e| Error::Key(format!("cannot write {shown}: {e}")))?;
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::Key(format!("cannot make {shown}: {e}"))),
        }
        let mode = fs::metadata(path).map_err(|e| Error::Key(format!("{shown}: {e}")))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Error::Key(format!("{shown} is open to other users: chmod 600 {shown}")));
        }
        let text = fs::read_to_string(path).map_err(|e| Error::Key(format!("cannot read {shown}: {e}")))?;
        Self::from_base64(&text).map_err(|_| Error::Key(format!("{shown} does not hold 32 bytes in base64")))
    }

    /// Seals `secret`; only the same key and the same `owner` open it again.
    pub fn seal(&self, secret: &str, owner: &str, rng: &Rng) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill(&mut nonce);
        let payload = Payload { msg: secret.as_bytes(), aad: owner.as_bytes() };
        // Encryption fails only for messages above 256 GiB.
        let sealed = self.0.encrypt(XNonce::from_slice(&nonce), payload).expect("a secret fits into memory");
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
        let (nonce, body) = sealed.split_at_checked(NONCE_BYTES).ok_or_else(wrong)?;
        let payload = Payload { msg: body, aad: owner.as_bytes() };
        let plain = self.0.decrypt(XNonce::from_slice(nonce), payload).map_err(|_| wrong())?;
        String::from_utf8(plain).map_err(|_| wrong())
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
        let dir = std::env::temp_dir().join(format!("fanfare-seal-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("key");
        let rng = Rng::from_os();
        let sealed = Seal::from_file(&path, &rng).unwrap().seal("x", "o", &rng);
        assert_eq!(Seal::from_file(&path, &rng).unwrap().open(&sealed, "o").unwrap(), "x");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Seal::from_file(&path, &rng), Err(Error::Key(e)) if e.contains("chmod 600")));
        fs::remove_dir_all(&dir).unwrap();
    }
}
