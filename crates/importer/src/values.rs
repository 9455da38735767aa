//! Cells of other columns: text, number, date or bool.

use chrono::NaiveDate;

use crate::record::CellKind;
use crate::words::plain;

/// More digits than this do not survive a spreadsheet or a script: such a number is an id, and stays text.
const NUMBER_DIGITS_MAX: usize = 15;
/// What programs write where there is nothing.
const NOTHING: [&str; 12] = ["-", "--", "—", "n/a", "na", "none", "null", "nil", "#n/a", "nan", "néant", "aucun"];

const YES: [&str; 30] = [
    "1",
    "y",
    "yes",
    "true",
    "t",
    "x",
    "on",
    "stop",
    "o",
    "oui",
    "vrai",
    "s",
    "si",
    "sim",
    "verdadero",
    "verdadeiro",
    "vero",
    "j",
    "ja",
    "wahr",
    "نعم",
    "اجل",
    "evet",
    "да",
    "ha",
    "हा",
    "是",
    "unsubscribed",
    "opt out",
    "optout",
];
const NO: [&str; 26] = [
    "0",
    "n",
    "no",
    "false",
    "f",
    "off",
    "non",
    "faux",
    "nao",
    "falso",
    "nein",
    "falsch",
    "لا",
    "كلا",
    "hayır",
    "hayir",
    "нет",
    "नही",
    "否",
    "active",
    "actif",
    "activo",
    "subscribed",
    "opt in",
    "optin",
    "abonne",
];

/// Whether a cell says nothing, in one of the ways in which programs say it.
pub(crate) fn is_nothing(cell: &str) -> bool {
    cell.is_empty() || (cell.len() <= 8 && NOTHING.contains(&cell.to_lowercase().as_str()))
}

/// What a cell answers: yes, no, or neither. A date says yes: since then.
pub(crate) fn yes_or_no(cell: &str, kind: CellKind) -> Option<bool> {
    if matches!(cell, "✓" | "✔" | "☑") || kind == CellKind::Date || date(cell).is_some() {
        return Some(true);
    }
    let word = plain(cell);
    match word.as_str() {
        // Nothing but a mark: "-", "/".
        "" => Some(false),
        word if YES.contains(&word) => Some(true),
        word if NO.contains(&word) => Some(false),
        _ => None,
    }
}

/// Whether a cell says that the person has opted in.
pub(crate) fn consents(cell: &str, kind: CellKind) -> Option<bool> {
    match plain(cell).as_str() {
        "subscribed" | "opt in" | "optin" | "opted in" | "active" | "actif" | "activo" | "abonne" | "inscrit" => {
            Some(true)
        }
        "unsubscribed" | "opt out" | "optout" | "opted out" | "stop" | "unknown" | "inconnu" => Some(false),
        _ => yes_or_no(cell, kind),
    }
}

/// Appends a cell as a JSON value; false if it says nothing.
pub(crate) fn push_json(cell: &str, kind: CellKind, json: &mut String) -> bool {
    if cell.is_empty() || kind == CellKind::Error {
        return false;
    }
    match kind {
        CellKind::Untyped if is_number(cell) => json.push_str(cell),
        CellKind::Untyped => match truth(cell) {
            Some(truth) => json.push_str(if truth { "true" } else { "false" }),
            None => match date(cell) {
                Some((year, month, day)) if !is_iso(cell) => {
                    push_string(&format!("{year:04}-{month:02}-{day:02}"), json);
                }
                _ => push_string(cell, json),
            },
        },
        CellKind::Number if is_number(cell) => json.push_str(cell),
        CellKind::Bool if matches!(cell, "true" | "false") => json.push_str(cell),
        _ => push_string(cell, json),
    }
    true
}

/// Appends a JSON string.
pub(crate) fn push_string(text: &str, json: &mut String) {
    json.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|c| c < 0x20 || matches!(c, b'"' | b'\\')) {
        json.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'\n' => json.push_str("\\n"),
            b'\r' => json.push_str("\\r"),
            b'\t' => json.push_str("\\t"),
            c @ (b'"' | b'\\') => json.extend(['\\', char::from(c)]),
            c => json.push_str(&format!("\\u{c:04x}")),
        }
        rest = &rest[at + 1..];
    }
    json.push_str(rest);
    json.push('"');
}

/// Whether a cell is a number that JSON writes the same way: no leading zeros, no exponent, not too long.
fn is_number(cell: &str) -> bool {
    let digits = cell.strip_prefix('-').unwrap_or(cell);
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(w, f)| (w, Some(f)));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
    all_digits(whole)
        && fraction.is_none_or(all_digits)
        && (whole == "0" || !whole.starts_with('0'))
        && whole.len() + fraction.map_or(0, str::len) <= NUMBER_DIGITS_MAX
}

/// The words by which spreadsheets write their truth values.
fn truth(cell: &str) -> Option<bool> {
    if !(4..=10).contains(&cell.len()) {
        return None;
    }
    let is = |words: &[&str]| words.iter().any(|word| cell.eq_ignore_ascii_case(word));
    match () {
        () if is(&["true", "vrai", "wahr", "vero", "verdadero", "verdadeiro"]) => Some(true),
        () if is(&["false", "faux", "falsch", "falso"]) => Some(false),
        () => None,
    }
}

/// A date that can be read in one way only, as year, month and day: the year first, or days and months with
/// dots, which come in this order wherever dots are used. 03/04/2025 stays as it is.
fn date(cell: &str) -> Option<(i32, u32, u32)> {
    if !(8..=10).contains(&cell.len()) || !cell.as_bytes()[0].is_ascii_digit() {
        return None;
    }
    let separator = cell.bytes().find(|c| !c.is_ascii_digit())?;
    let mut parts = cell.split(char::from(separator));
    let (a, b, c) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (year, month, day) = match (separator, a.len(), c.len()) {
        (b'-' | b'/' | b'.', 4, _) => (a, b, c),
        (b'.', _, 4) => (c, b, a),
        _ => return None,
    };
    let number = |part: &str| part.bytes().all(|c| c.is_ascii_digit()).then(|| part.parse::<u32>().ok()).flatten();
    let (year, month, day) = (number(year)? as i32, number(month)?, number(day)?);
    NaiveDate::from_ymd_opt(year, month, day).map(|_| (year, month, day))
}

/// Whether a date is written as ISO 8601 has it.
fn is_iso(date: &str) -> bool {
    matches!(date.as_bytes(), [_, _, _, _, b'-', _, _, b'-', _, _])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cell: &str, expect: &str) {
        let mut json = String::new();
        push_json(cell, CellKind::Untyped, &mut json);
        assert_eq!(json, expect, "{cell}");
        if !json.is_empty() {
            assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
        }
    }

    #[test]
    fn cells_have_the_type_they_look_like_and_no_other() {
        check("", "");
        check("42", "42");
        check("-0.50", "-0.50");
        check("12.50", "12.50");
        check("0", "0");
        check("007", "\"007\"");
        check("+5", "\"+5\"");
        check("12,50", "\"12,50\"");
        check("1e5", "\"1e5\"");
        check(".5", "\".5\"");
        check("1234567890123456", "\"1234567890123456\"");
        check("TRUE", "true");
        check("faux", "false");
        check("yes", "\"yes\"");
        check("2025-01-31", "\"2025-01-31\"");
        check("2025/1/31", "\"2025-01-31\"");
        check("31.01.2025", "\"2025-01-31\"");
        check("31/01/2025", "\"31/01/2025\"");
        check("2025-13-31", "\"2025-13-31\"");
        check("Al\"ger\\\n\u{1}", "\"Al\\\"ger\\\\\\n\\u0001\"");
        check("وهران", "\"وهران\"");
    }

    #[test]
    fn a_workbook_s_types_are_kept() {
        for (cell, kind, expect) in [
            ("42", CellKind::Text, "\"42\""),
            ("42", CellKind::Number, "42"),
            ("1234567890123456", CellKind::Number, "\"1234567890123456\""),
            ("true", CellKind::Bool, "true"),
            ("2025-01-31", CellKind::Date, "\"2025-01-31\""),
            ("#N/A", CellKind::Error, ""),
        ] {
            let mut json = String::new();
            push_json(cell, kind, &mut json);
            assert_eq!(json, expect);
        }
    }

    #[test]
    fn answers_are_understood_in_several_languages() {
        for cell in ["1", "YES", "Oui", "Sí", "sim", "Ja", "نعم", "x", "✓", "TRUE", "stop", "2024-05-01"] {
            assert_eq!(yes_or_no(cell, CellKind::Untyped), Some(true), "{cell}");
        }
        for cell in ["", "0", "No", "Não", "nein", "لا", "FALSE", "-"] {
            assert_eq!(yes_or_no(cell, CellKind::Untyped), Some(false), "{cell}");
        }
        assert_eq!(yes_or_no("maybe", CellKind::Untyped), None);
        for word in YES.iter().chain(&NO) {
            assert_eq!(plain(word), *word);
        }
    }

    #[test]
    fn placeholders_are_nothing() {
        for cell in ["", "-", "N/A", "null", "NaN"] {
            assert!(is_nothing(cell), "{cell}");
        }
        assert!(!is_nothing("0"));
    }
}
