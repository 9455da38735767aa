//! How sure a share is that was counted.

use serde::Serialize;

/// The normal quantile of 95 %, both sides.
const Z: f64 = 1.959_964;

/// A share with the bounds between which the true one lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// The share that was counted, 0 to 1.
    pub share: f64,
    /// Lower bound.
    pub from: f64,
    /// Upper bound.
    pub to: f64,
}

/// `hits` of `all`, with Wilson's score interval (E. B. Wilson, 1927), which holds for small numbers and for shares
/// near 0 and 1 as well. Of nothing it is anything.
pub fn share(hits: i64, all: i64) -> Share {
    if all <= 0 {
        return Share { share: 0.0, from: 0.0, to: 1.0 };
    }
    let (n, p) = (all as f64, hits as f64 / all as f64);
    let z2 = Z * Z;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Share { share: p, from: (centre - half).max(0.0), to: (centre + half).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_tables() {
        // Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29, by the score method.
        let table =
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)];
        for (hits, all, from, to) in table {
            let found = share(hits, all);
            assert!((found.from - from).abs() < 5e-5 && (found.to - to).abs() < 5e-5, "{hits} of {all}: {found:?}");
        }
        assert_eq!(share(0, 0), Share { share: 0.0, from: 0.0, to: 1.0 });
    }
}
