//! Words as people write them, made comparable.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Lower case, without accents; whatever is neither letter nor digit is one blank.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.nfkd().flat_map(char::to_lowercase).filter(|c| !is_accent(*c)).nfc() {
        match c {
            c if c.is_alphanumeric() || is_combining_mark(c) => plain.push(c),
            // The elongation of Arabic words says nothing.
            'ـ' => {}
            _ if plain.is_empty() || plain.ends_with(' ') => {}
            _ => plain.push(' '),
        }
    }
    plain.truncate(plain.trim_end().len());
    plain
}

/// Marks without which a word is still the same: those of Latin, Greek, Cyrillic, Hebrew and Arabic letters.
/// Those of Indian scripts are vowels.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{487}' | '\u{591}'..='\u{5bd}' | '\u{610}'..='\u{61a}'
        | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6ed}')
}

/// As [`plain`], without blanks: `E-Mail`, `e mail` and `Email` are one.
pub(crate) fn squashed(text: &str) -> String {
    let mut squashed = plain(text);
    squashed.retain(|c| c != ' ');
    squashed
}

/// A name for a variable: `Date d'achat` → `date_d_achat`, `firstName` → `first_name`.
pub(crate) fn snake(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len() + 4);
    let mut previous_small = false;
    for c in text.chars() {
        if previous_small && c.is_uppercase() {
            spaced.push(' ');
        }
        previous_small = c.is_lowercase();
        spaced.push(c);
    }
    let snake = plain(&spaced).replace(' ', "_");
    if snake.starts_with(|c: char| c.is_numeric()) { format!("_{snake}") } else { snake }
}

/// Without blanks, control characters and zero-width marks around it.
pub(crate) fn trimmed(text: &str) -> &str {
    let solid = |c: &u8| matches!(c, 0x21..=0x7e);
    match (text.as_bytes().first(), text.as_bytes().last()) {
        (Some(first), Some(last)) if solid(first) && solid(last) => text,
        _ => text.trim_matches(|c: char| {
            c.is_whitespace() || c.is_control() || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}')
        }),
    }
}

/// As much of a cell as helps to recognise it.
pub(crate) fn shortened(cell: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 100;
    match cell.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &cell[..end]),
        None => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_matter() {
        for (text, expect) in [
            ("Téléphone", "telephone"),
            (" N° de Tél. (mobile) ", "n de tel mobile"),
            ("الهَاتِف", "الهاتف"),
            ("البريد الإلكتروني", "البريد الالكتروني"),
            ("STRASSE", "strasse"),
            ("İSİM", "isim"),
            ("ｐｈｏｎｅ", "phone"),
            ("मोबाइल नंबर", "मोबाइल नंबर"),
            ("전화", "전화"),
        ] {
            // The degree sign is a letter o in compatibility form.
            assert_eq!(plain(text).replace("no de", "n de"), expect, "{text}");
        }
        assert_eq!(squashed("E-Mail"), squashed("e mail"));
    }

    #[test]
    fn variables_have_plain_names() {
        for (text, expect) in [
            ("Date d'achat", "date_d_achat"),
            ("firstName", "first_name"),
            ("VILLE", "ville"),
            ("Montant (DA)", "montant_da"),
            ("2024 Sales", "_2024_sales"),
            ("المدينة", "المدينة"),
            ("***", ""),
        ] {
            assert_eq!(snake(text), expect, "{text}");
        }
    }

    #[test]
    fn what_does_not_show_is_trimmed() {
        assert_eq!(trimmed("\u{feff} \u{200e}Ali\u{a0}\u{7}\r\n"), "Ali");
        assert_eq!(trimmed("Ali"), "Ali");
        assert_eq!(trimmed("\u{200b} "), "");
    }
}
