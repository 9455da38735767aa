//! What remains of an erased address: a hash under the installation's key.
//!
//! Phones can be guessed, all of them; without the key nobody learns from the hash whose it is, and with it
//! we know an erased address again when it comes back.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What every erased address begins with: no phone and no e-mail does.
pub const ERASED: &str = "erased:";
/// The first word behind them, by its bytes: [`ERASED`] up to here are the erased addresses.
pub const ERASED_END: &str = "erased;";
/// Says what the derived key is for.
const PURPOSE: &[u8] = b"fanfare: erased addresses";
/// Hex digits that are kept: 128 bits.
const DIGITS: usize = 32;
/// Block of SHA-256, bytes.
const BLOCK: usize = 64;

/// The key of the hashes. It has no `Debug` and is never printed.
#[derive(Clone)]
pub struct Pepper([u8; 32]);

impl Pepper {
    /// From the installation's key.
    pub(crate) fn derive(key: &[u8; 32]) -> Self {
        Self(mac(key, PURPOSE))
    }

    /// What remains of an address of the workspace.
    pub fn hash(&self, workspace_id: i32, address: &str) -> String {
        let digest = hex::encode(mac(&self.0, format!("{workspace_id}:{address}").as_bytes()));
        format!("{ERASED}{}", &digest[..DIGITS])
    }

    /// The key as it goes into the inner and into the outer hash (RFC 2104, section 2), for SQL.
    pub(crate) fn pads(&self) -> (Vec<u8>, Vec<u8>) {
        let pad = |with: u8| {
            let mut block = [with; BLOCK];
            block.iter_mut().zip(self.0).for_each(|(byte, key)| *byte ^= key);
            block.to_vec()
        };
        (pad(0x36), pad(0x5c))
    }
}

/// SQL that computes [`Pepper::hash`] of the text `address` from the two pads and the workspace.
pub(crate) fn hash_sql(address: &str, inner: &str, outer: &str, workspace: &str) -> String {
    format!(
        "('{ERASED}' || left(encode(sha256({outer} || sha256({inner} || \
         convert_to({workspace}::text || ':' || {address}, 'UTF8'))), 'hex'), {DIGITS}))"
    )
}

fn mac(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    // A key of any length is one.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of 32 bytes is taken");
    mac.update(text);
    mac.finalize().into_bytes().into()
}
