//! How many segments a text takes as an SMS: GSM 7-bit default alphabet and its extension table, or
//! UCS-2 (3GPP TS 23.038 §6.2, §6.1.2), concatenated with a user data header of 6 octets
//! (3GPP TS 23.040 §9.2.3.24.1).

use serde::Serialize;

/// Septets of a text that fits into one SMS.
const SEPTETS_ALONE: usize = 160;
/// Septets of each segment of a longer text.
const SEPTETS_JOINED: usize = 153;
/// UCS-2 code units of a text that fits into one SMS.
const UNITS_ALONE: usize = 70;
/// UCS-2 code units of each segment of a longer text.
const UNITS_JOINED: usize = 67;
/// Most segments of one message: the header counts them in one octet.
pub const SEGMENTS_MAX: usize = 255;

/// How the characters of an SMS are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Encoding {
    /// The GSM 7-bit default alphabet.
    #[serde(rename = "gsm-7")]
    Gsm7,
    /// UCS-2, as everybody sends it: UTF-16.
    #[serde(rename = "ucs-2")]
    Ucs2,
}

/// The size of a text as an SMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Its encoding.
    pub encoding: Encoding,
    /// Its length: septets, or UCS-2 code units.
    pub length: usize,
    /// How many SMS it takes, at least 1.
    pub segments: usize,
}

/// The size of `text` as an SMS.
pub fn size(text: &str) -> Size {
    let mut septets = Packing::new(SEPTETS_ALONE, SEPTETS_JOINED);
    for c in text.chars() {
        match septets_of(c) {
            Some(n) => septets.put(n),
            None => return size_ucs2(text),
        }
    }
    septets.size(Encoding::Gsm7)
}

/// The characters of `text` that force UCS-2, each once, in the order in which they appear.
pub fn beyond_gsm7(text: &str) -> Vec<char> {
    let mut found = Vec::new();
    for c in text.chars().filter(|c| septets_of(*c).is_none()) {
        if !found.contains(&c) {
            found.push(c);
        }
    }
    found
}

fn size_ucs2(text: &str) -> Size {
    let mut units = Packing::new(UNITS_ALONE, UNITS_JOINED);
    text.chars().for_each(|c| units.put(c.len_utf16()));
    units.size(Encoding::Ucs2)
}

/// Fills segments with characters that are never split: an escaped character's two septets and a
/// surrogate pair's two units stay in one segment.
struct Packing {
    alone: usize,
    joined: usize,
    length: usize,
    segments: usize,
    used: usize,
}

impl Packing {
    fn new(alone: usize, joined: usize) -> Self {
        Self { alone, joined, length: 0, segments: 1, used: 0 }
    }

    fn put(&mut self, n: usize) {
        self.length += n;
        if self.used + n > self.joined {
            self.segments += 1;
            self.used = 0;
        }
        self.used += n;
    }

    fn size(&self, encoding: Encoding) -> Size {
        let segments = if self.length <= self.alone { 1 } else { self.segments };
        Size { encoding, length: self.length, segments }
    }
}

/// Septets of a character in the GSM 7-bit alphabet: 1, or 2 with the escape; `None` if it has none.
fn septets_of(c: char) -> Option<usize> {
    match c {
        '\n' | '\r' | ' '..='?' | '@' | 'A'..='Z' | '_' | 'a'..='z' => Some(1),
        '£' | '¥' | 'è' | 'é' | 'ù' | 'ì' | 'ò' | 'Ç' | 'Ø' | 'ø' | 'Å' | 'å' | 'Æ' | 'æ' | 'ß' | 'É' => {
            Some(1)
        }
        'Δ' | 'Φ' | 'Γ' | 'Λ' | 'Ω' | 'Π' | 'Ψ' | 'Σ' | 'Θ' | 'Ξ' => Some(1),
        '¤' | '¡' | 'Ä' | 'Ö' | 'Ñ' | 'Ü' | '§' | '¿' | 'ä' | 'ö' | 'ñ' | 'ü' | 'à' => Some(1),
        '\u{c}' | '^' | '{' | '}' | '\\' | '[' | '~' | ']' | '|' | '€' => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, encoding: Encoding, length: usize, segments: usize) {
        assert_eq!(size(text), Size { encoding, length, segments }, "{text:?}");
    }

    #[test]
    fn segments_are_counted_as_networks_count_them() {
        use Encoding::{Gsm7, Ucs2};
        check("", Gsm7, 0, 1);
        check("Hello", Gsm7, 5, 1);
        check(&"a".repeat(160), Gsm7, 160, 1);
        check(&"a".repeat(161), Gsm7, 161, 2);
        check(&"a".repeat(306), Gsm7, 306, 2);
        check(&"a".repeat(307), Gsm7, 307, 3);
        check("1 €", Gsm7, 4, 1);
        check(&"€".repeat(80), Gsm7, 160, 1);
        // 153 is odd: the 77th € does not fit into the first segment.
        check(&"€".repeat(153), Gsm7, 306, 3);
        check(&format!("{}€{}", "a".repeat(152), "b".repeat(152)), Gsm7, 306, 3);
        check(&format!("{}€{}", "a".repeat(151), "b".repeat(153)), Gsm7, 306, 2);
        check("Ça va ?", Gsm7, 7, 1);
        // The alphabet has Ç and no ç.
        check("Français", Ucs2, 8, 1);
        check("مرحبا", Ucs2, 5, 1);
        check(&"ش".repeat(70), Ucs2, 70, 1);
        check(&"ش".repeat(71), Ucs2, 71, 2);
        check(&"ش".repeat(134), Ucs2, 134, 2);
        check(&"ش".repeat(135), Ucs2, 135, 3);
        check("👋", Ucs2, 2, 1);
        check(&"👋".repeat(35), Ucs2, 70, 1);
        // 67 is odd: the 34th pair goes to the next segment.
        check(&"👋".repeat(67), Ucs2, 134, 3);
    }

    #[test]
    fn the_whole_alphabet_of_the_standard_is_known() {
        let basic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
        let extension = "\u{c}^{}\\[~]|€";
        // 128 codes less the escape itself.
        assert_eq!(basic.chars().count(), 127);
        assert!(basic.chars().all(|c| septets_of(c) == Some(1)));
        assert!(extension.chars().all(|c| septets_of(c) == Some(2)));
        let known = (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| septets_of(*c).is_some()).count();
        assert_eq!(known, 127 + extension.chars().count());
    }

    #[test]
    fn says_which_characters_are_dear() {
        assert_eq!(beyond_gsm7("l’été à Béjaïa, l’été"), ['’', 'ï']);
        assert_eq!(beyond_gsm7("l'été"), Vec::<char>::new());
    }
}
