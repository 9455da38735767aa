//! Dividing an audience by chance that everybody can compute: the same address falls to the same part, however
//! often and by whomever it is asked.

use sha2::{Digest as _, Sha256};

/// What is divided. Divisions for different purposes have nothing to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Who belongs to the first part of a campaign, and who to the rest.
    Part,
    /// Who gets which variant.
    Arm,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Part => "part",
            Self::Arm => "arm",
        }
    }
}

/// Where an address stands in a campaign, evenly between 0 and 2³² − 1: the first four bytes, most significant
/// first, of SHA-256 over `CAMPAIGN_ID:PURPOSE:ADDRESS`.
pub fn point(campaign_id: i64, purpose: Purpose, address: &str) -> u32 {
    let hash = Sha256::digest(format!("{campaign_id}:{}:{address}", purpose.as_str()));
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// Which of the parts with these weights holds a point; 0 where there is no weight at all.
pub fn part(point: u32, weights: impl Iterator<Item = i32> + Clone) -> usize {
    let all: u64 = weights.clone().map(|w| u64::from(w.unsigned_abs())).sum();
    // Below `all`.
    let mut at = (u64::from(point) * all) >> 32;
    for (i, weight) in weights.enumerate() {
        let weight = u64::from(weight.unsigned_abs());
        if at < weight {
            return i;
        }
        at -= weight;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: u32 = 0x24d7_91e6;

    #[test]
    fn anybody_can_compute_where_an_address_stands() {
        // printf '7:part:+213555000001' | sha256sum
        assert_eq!(point(7, Purpose::Part, "+213555000001"), EXPECTED);
        assert_ne!(point(7, Purpose::Arm, "+213555000001"), EXPECTED);
        assert_ne!(point(8, Purpose::Part, "+213555000001"), EXPECTED);
    }

    #[test]
    fn parts_are_as_large_as_their_weights() {
        let weights = [3, 1, 6];
        let mut sizes = [0; 3];
        for i in 0..20_000 {
            sizes[part(point(1, Purpose::Arm, &format!("+2135{i:08}")), weights.into_iter())] += 1;
        }
        for (size, weight) in sizes.into_iter().zip(weights) {
            assert!((size - weight * 2_000).abs() < 300, "{sizes:?}");
        }
        assert_eq!(part(u32::MAX, weights.into_iter()), 2);
        assert_eq!(part(0, weights.into_iter()), 0);
    }
}
