//! Which addresses of a file have been met, in memory that does not grow: a Bloom filter. "No" is certain,
//! "yes" means that the database must be asked.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use fanfare_domain::limits::IMPORT_SEEN_BYTES;

/// Bits that one address sets.
const PROBES: u32 = 4;
/// Words of one cache line: all bits of an address lie in one, since a look into memory costs more than all
/// the rest of a row.
const LINE_WORDS: usize = 8;
/// Bits of the hash that choose one of the 512 bits of a line.
const PROBE_BITS: u32 = 9;

/// Addresses met.
pub(crate) struct Seen {
    lines: Vec<[u64; LINE_WORDS]>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self { lines: vec![[0; LINE_WORDS]; IMPORT_SEEN_BYTES / size_of::<[u64; LINE_WORDS]>()] }
    }

    /// Adds an address; false if it was certainly not there.
    pub(crate) fn insert(&mut self, address: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        address.hash(&mut hasher);
        let hash = hasher.finish();
        let lines = self.lines.len() as u64;
        // The high half chooses the line, and the low bits the places in it.
        let line = &mut self.lines[(((hash >> 32) * lines) >> 32) as usize];
        let mut met = true;
        for i in 0..PROBES {
            let place = (hash >> (i * PROBE_BITS)) as usize % (LINE_WORDS * u64::BITS as usize);
            let (word, bit) = (place / u64::BITS as usize, 1 << (place % u64::BITS as usize));
            met &= line[word] & bit != 0;
            line[word] |= bit;
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
