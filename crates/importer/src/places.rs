//! Countries and languages as files name them.

use std::collections::HashMap;
use std::sync::LazyLock;

use fanfare_domain::phone::Region;

use crate::words::plain;

/// Alpha-2 code, tab, and the names by which files call the country, made plain, separated by `|`: its
/// alpha-3 code, and its names in English, French, Spanish, Portuguese, German, Italian, Arabic and Turkish
/// (after Unicode CLDR).
const COUNTRIES: &str = include_str!("country_names.tsv");

static COUNTRY_NAMES: LazyLock<HashMap<&'static str, Region>> = LazyLock::new(|| {
    let lines = COUNTRIES.lines().filter_map(|line| line.split_once('\t'));
    let named = lines.filter_map(|(code, names)| Some((code.parse::<Region>().ok()?, names)));
    named.flat_map(|(region, names)| names.split('|').map(move |name| (name, region))).collect()
});

/// ISO 639-1.
const LANGUAGES: &str = "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy \
    da de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii \
    ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr \
    ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl \
    sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu";

/// Names of languages, made plain.
const LANGUAGE_NAMES: [(&str, &[&str]); 14] = [
    ("ar", &["arabic", "arabe", "arabo", "arabisch", "العربية", "عربي", "عربية", "arapca", "ara"]),
    ("en", &["english", "anglais", "ingles", "englisch", "inglese", "الانجليزية", "انجليزي", "ingilizce", "eng"]),
    (
        "fr",
        &["french", "francais", "frances", "franzosisch", "francese", "الفرنسية", "فرنسي", "fransizca", "fra", "fre"],
    ),
    ("es", &["spanish", "espagnol", "espanol", "espanhol", "castellano", "spanisch", "spagnolo", "الاسبانية", "spa"]),
    ("pt", &["portuguese", "portugais", "portugues", "portugiesisch", "portoghese", "البرتغالية", "por"]),
    ("de", &["german", "allemand", "aleman", "alemao", "deutsch", "tedesco", "الالمانية", "almanca", "deu", "ger"]),
    ("it", &["italian", "italien", "italiano", "italienisch", "الايطالية", "ita"]),
    ("tr", &["turkish", "turc", "turco", "turkisch", "turkce", "التركية", "tur"]),
    ("ru", &["russian", "russe", "ruso", "russo", "russisch", "русскии", "الروسية", "rus"]),
    ("hi", &["hindi", "हिंदी", "हिन्दी", "hin"]),
    ("zh", &["chinese", "chinois", "chino", "chines", "chinesisch", "cinese", "中文", "الصينية", "zho", "chi"]),
    (
        "nl",
        &["dutch", "neerlandais", "holandes", "neerlandes", "nederlands", "niederlandisch", "olandese", "nld", "dut"],
    ),
    ("ber", &["berber", "berbere", "amazigh", "tamazight", "kabyle", "taqbaylit", "الامازيغية"]),
    ("fa", &["persian", "farsi", "persan", "فارسی", "الفارسية", "fas", "per"]),
];

/// The country that a cell names: a two- or three-letter code, a calling code or a name.
pub(crate) fn country(cell: &str) -> Option<Region> {
    if let Ok(region) = cell.parse() {
        return Some(region);
    }
    let digits = cell.strip_prefix('+').or_else(|| cell.strip_prefix("00")).unwrap_or(cell);
    if !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()) {
        return Region::of_calling_code(digits.parse().ok()?);
    }
    COUNTRY_NAMES.get(plain(cell).as_str()).copied()
}

/// Codes of the countries whose names or codes are near to what a person wrote, with their English names.
pub(crate) fn near_countries(given: &str) -> Vec<String> {
    if let Some(region) = country(given) {
        return vec![region.to_string()];
    }
    let near = fanfare_store::nearest::nearest(&plain(given), COUNTRY_NAMES.keys());
    let mut codes: Vec<String> =
        near.iter().filter_map(|name| COUNTRY_NAMES.get(name.as_str())).map(Region::to_string).collect();
    codes.dedup();
    codes
}

/// The BCP 47 tag, in lower case, of the language that a cell names.
pub(crate) fn language(cell: &str) -> Option<String> {
    let tag = cell.to_lowercase().replace('_', "-");
    let tag = tag.split(['.', '@']).next().unwrap_or_default();
    let mut parts = tag.split('-');
    let primary = parts.next().unwrap_or_default();
    let known = LANGUAGES.split_ascii_whitespace().any(|code| code == primary) || primary == "ber";
    if known && parts.all(|p| (2..=8).contains(&p.len()) && p.bytes().all(|c| c.is_ascii_alphanumeric())) {
        return Some(tag.to_owned());
    }
    let name = plain(cell);
    LANGUAGE_NAMES.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(code, _)| (*code).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_are_known_by_code_and_name() {
        for cell in ["DZ", "dz", "DZA", "Algérie", "ALGERIA", "الجزائر", "Algerien", "+213", "213", "00213", "Cezayir"]
        {
            assert_eq!(country(cell).map(|r| r.to_string()).as_deref(), Some("DZ"), "{cell}");
        }
        for cell in ["", "Atlantis", "999", "x"] {
            assert_eq!(country(cell), None, "{cell}");
        }
        assert_eq!(near_countries("Algeria"), ["DZ"]);
        assert_eq!(near_countries("Algeira"), ["DZ"]);
    }

    #[test]
    fn every_country_of_the_table_is_a_region() {
        for line in COUNTRIES.lines() {
            let (code, names) = line.split_once('\t').unwrap();
            assert!(code.parse::<Region>().is_ok(), "{line}");
            for name in names.split('|') {
                assert_eq!(plain(name), name, "{line}");
            }
        }
    }

    #[test]
    fn languages_are_known_by_tag_and_name() {
        for (cell, tag) in [
            ("fr", "fr"),
            ("FR", "fr"),
            ("fr_FR", "fr-fr"),
            ("en-GB", "en-gb"),
            ("zh-Hans", "zh-hans"),
            ("fr_FR.UTF-8", "fr-fr"),
            ("Français", "fr"),
            ("العربية", "ar"),
            ("Deutsch", "de"),
        ] {
            assert_eq!(language(cell).as_deref(), Some(tag), "{cell}");
        }
        for cell in ["", "klingon", "xx", "fr-"] {
            assert_eq!(language(cell), None, "{cell}");
        }
        for (_, names) in LANGUAGE_NAMES {
            for name in names {
                assert_eq!(plain(name), *name);
            }
        }
    }
}
