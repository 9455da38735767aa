//! Waves: recipients whose clocks agree are written to at the same times.

use std::collections::HashMap;
use std::fmt;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use fanfare_domain::template::variable_name;
use fanfare_domain::zone::{self, ATTRIBUTES, By, Found, Piece};
use fanfare_store::audience::Contact;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::Value;

/// The waves of a run, in the order in which they were met. Zones that keep the same time for the coming year
/// are one: it has the name of that zone which was met first.
#[derive(Debug)]
pub struct Waves {
    /// Where those live of whom nothing is known.
    campaign: Tz,
    /// The year begins here.
    from: DateTime<Utc>,
    waves: Vec<(Tz, Vec<Piece>)>,
    of_zone: HashMap<Tz, i16>,
}

/// In which wave a contact is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Number of the wave, from 0.
    pub wave: i16,
    /// The contact's zone.
    pub found: Found,
    /// What it says of its zone, if that is none.
    pub invalid: Option<String>,
}

impl Waves {
    /// No waves yet, of a run that starts at `from`.
    pub fn new(campaign: Tz, from: DateTime<Utc>) -> Self {
        Self { campaign, from, waves: Vec::new(), of_zone: HashMap::new() }
    }

    /// Those that were met when earlier segments were written, by number.
    pub fn known(campaign: Tz, from: DateTime<Utc>, known: &[(i16, Tz)]) -> Self {
        let mut all = Self::new(campaign, from);
        for (wave, zone) in known {
            all.waves.push((*zone, zone::same_time(*zone, from)));
            all.of_zone.insert(*zone, *wave);
        }
        all
    }

    /// The zones that gave the waves their names, by number.
    pub fn zones(&self) -> impl Iterator<Item = Tz> {
        self.waves.iter().map(|(zone, _)| *zone)
    }

    /// The wave of a contact, that was read with its attributes.
    pub fn of(&mut self, contact: &Contact<'_>) -> Placed {
        let named = contact.attributes.and_then(named_zone);
        let found = zone::of_contact(named.as_deref(), contact.country, contact.address, self.campaign);
        Placed { wave: self.of_zone(found.zone), found, invalid: named.filter(|_| found.invalid) }
    }

    fn of_zone(&mut self, zone: Tz) -> i16 {
        if let Some(wave) = self.of_zone.get(&zone) {
            return *wave;
        }
        let shows = zone::same_time(zone, self.from);
        let position = self.waves.iter().position(|(_, other)| *other == shows);
        let position = position.unwrap_or_else(|| {
            self.waves.push((zone, shows));
            self.waves.len() - 1
        });
        // There are some 600 zones.
        let wave = position as i16;
        self.of_zone.insert(zone, wave);
        wave
    }
}

/// The zone of a contact, that was read with its attributes, as far as anything of its own tells.
pub(crate) fn own_zone(contact: &Contact<'_>) -> Option<Tz> {
    let named = contact.attributes.and_then(named_zone);
    let found = zone::of_contact(named.as_deref(), contact.country, contact.address, Tz::UTC);
    (found.by != By::Campaign).then_some(found.zone)
}

/// What the attributes of a contact, a JSON object, say of its zone.
fn named_zone(attributes: &str) -> Option<String> {
    // What the database holds as jsonb is an object, so this cannot fail.
    serde_json::Deserializer::from_str(attributes).deserialize_map(Named).ok()?
}

struct Named;

impl<'de> Visitor<'de> for Named {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of attributes")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut best: Option<(usize, String)> = None;
        while let Some(name) = map.next_key::<String>()? {
            let Some(rank) = rank(&name) else {
                map.next_value::<serde::de::IgnoredAny>()?;
                continue;
            };
            let text = match map.next_value()? {
                Value::String(text) => text,
                Value::Null => String::new(),
                other => other.to_string(),
            };
            if !text.trim().is_empty() && best.as_ref().is_none_or(|(other, _)| rank < *other) {
                best = Some((rank, text));
            }
        }
        Ok(best.map(|(_, text)| text))
    }
}

/// Where an attribute stands among those that say a zone.
fn rank(attribute: &str) -> Option<usize> {
    // Nearly no other has one, and it is much quicker to tell.
    if !attribute.contains(['z', 'Z']) {
        return None;
    }
    let name = variable_name(attribute);
    ATTRIBUTES.iter().position(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::named_zone;

    #[test]
    fn the_attribute_that_says_the_zone_is_found_whatever_its_spelling() {
        let table = [
            (r#"{"city":"Oran","timezone":"Africa/Algiers"}"#, Some("Africa/Algiers")),
            (r#"{"Time Zone":"Europe/Paris"}"#, Some("Europe/Paris")),
            (r#"{"zone":"north","timezone":"Europe/Paris"}"#, Some("Europe/Paris")),
            (r#"{"tz":" ","zone":"Europe/Paris"}"#, Some("Europe/Paris")),
            (r#"{"tz":2}"#, Some("2")),
            (r#"{"tz":null,"pizza":"hot","zones":["a"]}"#, None),
            ("{}", None),
        ];
        for (attributes, zone) in table {
            assert_eq!(named_zone(attributes).as_deref(), zone, "{attributes}");
        }
    }
}
