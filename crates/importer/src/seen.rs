//! Which addresses of a file have been met, in memory that does not grow: a Bloom filter. "No" is certain,
//! "yes" means that the database must be asked.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use fanfare_domain::limits::IMPORT_SEEN_BYTES;

/// Bits that one address sets.
const PROBES: u64 = 4;

/// Addresses met.
pub(crate) struct Seen {
    bits: Vec<u64>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self { bits: vec![0; IMPORT_SEEN_BYTES / size_of::<u64>()] }
    }

    /// Adds an address; false if it was certainly not there.
    pub(crate) fn insert(&mut self, address: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        address.hash(&mut hasher);
        let hash = hasher.finish();
        // Two halves of one hash make as many as needed (Kirsch and Mitzenmacher, 2008).
        let (first, step) = (hash & u64::from(u32::MAX), (hash >> 32) | 1);
        let places = self.bits.len() as u64 * u64::from(u64::BITS);
        let mut met = true;
        for i in 0..PROBES {
            let place = first.wrapping_add(step.wrapping_mul(i)) % places;
            let (word, bit) = ((place / u64::from(u64::BITS)) as usize, 1 << (place % u64::from(u64::BITS)));
            met &= self.bits[word] & bit != 0;
            self.bits[word] |= bit;
        }
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_met_is_known_and_little_else() {
        let mut seen = Seen::new();
        let wrong = (0..1_000_000).filter(|i| seen.insert(&format!("+213{i:09}"))).count();
        assert!(wrong < 200, "{wrong} of a million");
        assert!((0..1_000_000).step_by(997).all(|i| seen.insert(&format!("+213{i:09}"))));
    }
}
