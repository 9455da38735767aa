//! Prices, in integer micro-credits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The prices of an account: by country, with `""` for every other country.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Prices(pub BTreeMap<String, i64>);

impl Prices {
    /// Micro-credits for `units` (segments of an SMS, else 1) to `country`; 0 where no price is set.
    pub fn of(&self, country: Option<&str>, units: i16) -> i64 {
        let each = country.and_then(|c| self.0.get(c)).or_else(|| self.0.get("")).copied().unwrap_or(0);
        each.saturating_mul(i64::from(units))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_country_decides_and_units_multiply() {
        let prices = Prices([(String::new(), 5000), ("FR".to_owned(), 12_000)].into());
        assert_eq!(prices.of(Some("FR"), 2), 24_000);
        assert_eq!(prices.of(Some("DZ"), 1), 5000);
        assert_eq!(prices.of(None, 3), 15_000);
        assert_eq!(Prices::default().of(Some("FR"), 1), 0);
    }
}
