//! The zone that a country and a phone number tell.

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono_tz::Tz;

use crate::phone::Region;

const TABLE: &str = include_str!("zones.tsv");

/// What a number tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guess {
    /// The zone.
    pub zone: Tz,
    /// Whether the number tells it; else it is the zone of most people of the country.
    pub sure: bool,
}

/// A country's zones.
struct Country {
    /// Of most people.
    main: Tz,
    /// By the first digits of the number, its plus and its country's code included.
    areas: HashMap<String, Tz>,
    /// Length of the longest such beginning.
    digits_max: usize,
}

static COUNTRIES: LazyLock<HashMap<&'static str, Country>> = LazyLock::new(|| {
    let mut countries: HashMap<&str, Country> = HashMap::new();
    for (country, zone, beginnings) in lines() {
        // A test reads every line.
        let zone: Tz = zone.parse().expect("a zone of the table exists");
        let entry = countries.entry(country);
        let known = entry.or_insert_with(|| Country { main: zone, areas: HashMap::new(), digits_max: 0 });
        for beginning in beginnings {
            let region: Region = country.parse().expect("a country with areas has phones");
            let beginning = format!("+{}{beginning}", region.calling_code());
            known.digits_max = known.digits_max.max(beginning.len());
            known.areas.insert(beginning, zone);
        }
    }
    countries
});

/// Country, zone, and the beginnings of its numbers.
fn lines() -> impl Iterator<Item = (&'static str, &'static str, std::str::Split<'static, char>)> {
    let none = || {
        let mut none = "".split(' ');
        none.next();
        none
    };
    TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(move |line| {
        let mut cells = line.split('\t');
        Some((cells.next()?, cells.next()?, cells.next().map_or_else(none, |cell| cell.split(' '))))
    })
}

/// What the country (ISO 3166 alpha-2) of a contact and its address tell; `None` for a country that is none.
/// An address that is no phone tells no more than the country.
pub fn of_number(country: &str, address: &str) -> Option<Guess> {
    let country = COUNTRIES.get(country)?;
    if country.areas.is_empty() {
        return Some(Guess { zone: country.main, sure: true });
    }
    let longest = country.digits_max.min(address.len());
    // Every country's code has a digit at least.
    let area = (2..=longest).rev().find_map(|n| country.areas.get(address.get(..n)?));
    Some(Guess { zone: area.copied().unwrap_or(country.main), sure: area.is_some() })
}

#[cfg(test)]
pub(super) fn countries() -> impl Iterator<Item = &'static str> {
    COUNTRIES.keys().copied()
}
