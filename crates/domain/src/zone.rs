//! Time zones: names as people write them, and the zone that a contact lives in.
//!
//! The rules of the zones are those of the IANA database, as carried by the crate `chrono-tz`.

mod number;
mod time;

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use chrono_tz::{TZ_VARIANTS, Tz};

pub use number::{Guess, of_number};
pub use time::{Local, Piece, instant, pieces, resolve, same_time};

/// Names of the attributes that say a contact's zone, as variables are written; the first that is there counts.
pub const ATTRIBUTES: [&str; 4] = ["timezone", "time_zone", "zone", "tz"];
/// Most zones that are named in place of one that does not exist.
const NEAR_MAX: usize = 3;
/// Slips up to which another zone's name counts as near.
const SLIPS_MAX: usize = 4;

/// A name that no zone has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownZone {
    name: String,
    near: Vec<&'static str>,
}

impl std::error::Error for UnknownZone {}

impl fmt::Display for UnknownZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no time zone is called {:?}: ", self.name)?;
        match self.near.as_slice() {
            [] => f.write_str("write an area and a city, for example Europe/Paris or America/Sao_Paulo"),
            near => write!(f, "did you mean {}?", near.join(" or ")),
        }
    }
}

/// Every zone by its name in small letters.
static NAMES: LazyLock<HashMap<String, Tz>> =
    LazyLock::new(|| TZ_VARIANTS.iter().map(|zone| (zone.name().to_ascii_lowercase(), *zone)).collect());

/// The zone that `text` names: an IANA name in any case, blanks for its underscores if need be, or whole hours
/// from UTC such as `UTC+2` and `+02:00`.
///
/// # Errors
/// When there is none; the error names those that are near.
pub fn parse(text: &str) -> Result<Tz, UnknownZone> {
    let name = text.trim().to_ascii_lowercase().replace(' ', "_");
    NAMES
        .get(&name)
        .copied()
        .or_else(|| of_offset(&name))
        .ok_or_else(|| UnknownZone { name: text.chars().take(60).collect(), near: near(&name) })
}

/// Whole hours from UTC. East is plus, though the names of the zones that keep such a time have it the other
/// way round: `Etc/GMT-2` is two hours ahead.
fn of_offset(name: &str) -> Option<Tz> {
    let bare = name.strip_prefix("utc").or_else(|| name.strip_prefix("gmt")).unwrap_or(name);
    let (sign, digits) = match bare.split_at_checked(1)? {
        ("+", digits) => ('-', digits),
        ("-", digits) => ('+', digits),
        _ => return None,
    };
    let hours =
        digits.strip_suffix(":00").or_else(|| digits.strip_suffix("00").filter(|h| h.len() == 2)).unwrap_or(digits);
    let hours: u8 = hours.bytes().all(|b| b.is_ascii_digit()).then(|| hours.parse().ok())??;
    NAMES.get(&if hours == 0 { "utc".to_owned() } else { format!("etc/gmt{sign}{hours}") }).copied()
}

/// Zones that `name` may have been meant for: a slip of their name, or of their city alone.
fn near(name: &str) -> Vec<&'static str> {
    let city = |zone: &str| zone.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let wanted = city(name);
    let slips = |zone: &Tz| {
        let whole = strsim::damerau_levenshtein(name, &zone.name().to_ascii_lowercase());
        whole.min(strsim::damerau_levenshtein(&wanted, &city(zone.name())))
    };
    let most = SLIPS_MAX.min(wanted.len() / 3);
    let mut near: Vec<(usize, &str)> =
        TZ_VARIANTS.iter().map(|zone| (slips(zone), zone.name())).filter(|(slips, _)| *slips <= most).collect();
    near.sort_unstable();
    near.into_iter().take(NEAR_MAX).map(|(_, name)| name).collect()
}

/// By what a contact's zone was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// It says so itself.
    Attribute,
    /// Its number, or its country, has one zone only.
    Number,
    /// Its country has several and its number does not tell which: the zone of most people there.
    Country,
    /// Nothing of its own tells: the zone of the campaign.
    Campaign,
}

/// Where a contact lives, as far as time goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The zone.
    pub zone: Tz,
    /// How it was found.
    pub by: By,
    /// Whether it names a zone that does not exist, so that something else had to tell.
    pub invalid: bool,
}

/// The zone of a contact: what its `attribute` says, else what its country (ISO 3166 alpha-2) and number tell,
/// else `campaign`.
pub fn of_contact(attribute: Option<&str>, country: Option<&str>, address: &str, campaign: Tz) -> Found {
    let named = attribute.map(str::trim).filter(|name| !name.is_empty()).map(parse);
    let invalid = matches!(named, Some(Err(_)));
    if let Some(Ok(zone)) = named {
        return Found { zone, by: By::Attribute, invalid };
    }
    match country.and_then(|country| of_number(country, address)) {
        Some(Guess { zone, sure: true }) => Found { zone, by: By::Number, invalid },
        Some(Guess { zone, sure: false }) => Found { zone, by: By::Country, invalid },
        None => Found { zone: campaign, by: By::Campaign, invalid },
    }
}

#[cfg(test)]
mod tests;
