//! What a file is, by its first bytes. Its name says nothing.

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};

use crate::error::{ImportError, Result};

/// How much of a file is looked at.
pub(crate) const HEAD_BYTES: usize = 64 * 1024;
/// Zeros of a UTF-16 text lie on one side; at least this share of that side, in percent.
const ZEROS_PERCENT_MIN: usize = 20;
/// Control characters of a text; more of them are no text, in percent.
const CONTROLS_PERCENT_MAX: usize = 2;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Text; with its encoding if the first bytes show it.
    Text(Option<&'static Encoding>),
    /// Text with a byte-order mark, which says its encoding for certain.
    Marked(&'static Encoding),
    /// A zip: a workbook, with luck.
    Zip,
    /// A compound file: an old or an encrypted workbook.
    Compound,
}

const MAGIC: [(&[u8], &str); 14] = [
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a", "a RAR archive"),
    (b"BZh9", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"{\\rtf", "an RTF document"),
    (b"\xff\xfe\0\0", "text in UTF-32"),
    (b"\0\0\xfe\xff", "text in UTF-32"),
];

/// What the file that begins with `head` is.
pub(crate) fn detect(file: &str, head: &[u8]) -> Result<Kind> {
    let refused = |found| Err(ImportError::NotATable { file: file.to_owned(), found });
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Ok(Kind::Zip);
    }
    if head.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return Ok(Kind::Compound);
    }
    if let Some((_, found)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return refused(found);
    }
    if let Some((encoding, _)) = Encoding::for_bom(head) {
        return Ok(Kind::Marked(encoding));
    }
    if let Some(encoding) = utf_16(head) {
        return Ok(Kind::Text(Some(encoding)));
    }
    if head.trim_ascii().is_empty() {
        return Err(ImportError::Empty(file.to_owned()));
    }
    if let Some(found) = markup(head) {
        return refused(found);
    }
    let controls = head.iter().filter(|c| is_control(char::from(**c))).count();
    if too_many(controls, head.len()) {
        return refused("binary data");
    }
    Ok(Kind::Text(None))
}

/// Whether a character is none of a text.
fn is_control(c: char) -> bool {
    c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r')
}

/// A few are a matter of their rows.
fn too_many(controls: usize, of: usize) -> bool {
    controls > 4 && controls * 100 > of * CONTROLS_PERCENT_MAX
}

fn utf_16(head: &[u8]) -> Option<&'static Encoding> {
    let zeros = |side: usize| head.iter().skip(side).step_by(2).filter(|c| **c == 0).count();
    let many = |n: usize| n >= 3 && n * 100 >= head.len() / 2 * ZEROS_PERCENT_MIN;
    let (even, odd) = (zeros(0), zeros(1));
    let found = match (many(even), many(odd)) {
        (true, false) if odd * 10 < even => UTF_16BE,
        (false, true) if even * 10 < odd => UTF_16LE,
        _ => return None,
    };
    let (text, _) = found.decode_without_bom_handling(&head[..head.len() / 2 * 2]);
    let controls = text.chars().filter(|c| is_control(*c)).count();
    (!too_many(controls, text.chars().count())).then_some(found)
}

fn markup(head: &[u8]) -> Option<&'static str> {
    let start = head.trim_ascii_start();
    let begins = |with: &[u8]| start.len() >= with.len() && start[..with.len()].eq_ignore_ascii_case(with);
    if [b"<!doctype html".as_slice(), b"<html", b"<table", b"<head", b"<meta"].iter().any(|t| begins(t)) {
        // Many programs write this under the name .xls.
        return Some("an HTML page");
    }
    if begins(b"<?xml") {
        return Some("an XML document");
    }
    let mut rest = start.get(1..).unwrap_or_default().trim_ascii_start().iter();
    match (start.first(), rest.next()) {
        (Some(b'{'), Some(b'"')) | (Some(b'['), Some(b'{' | b'[' | b'"')) => Some("a JSON document"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &[u8], expect: Result<Kind, &str>) {
        let got = detect("f", head).map_err(|e| e.to_string());
        match expect {
            Ok(kind) => assert_eq!(got.unwrap(), kind, "{head:?}"),
            Err(part) => assert!(got.as_ref().is_err_and(|e| e.contains(part)), "{got:?} lacks {part:?}"),
        }
    }

    #[test]
    fn files_are_known_by_their_first_bytes() {
        check(b"PK\x03\x04....", Ok(Kind::Zip));
        check(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1..", Ok(Kind::Compound));
        check(b"phone,name\n", Ok(Kind::Text(None)));
        check(b"\xef\xbb\xbfphone", Ok(Kind::Marked(encoding_rs::UTF_8)));
        check(b"\xff\xfep\0h\0", Ok(Kind::Marked(UTF_16LE)));
        check(b"p\0h\0o\0n\0e\0\n\0", Ok(Kind::Text(Some(UTF_16LE))));
        check(b"\0p\0h\0o\0n\0e\0\n", Ok(Kind::Text(Some(UTF_16BE))));
        check(b"phone,name\n+213555\x00123456,x\n", Ok(Kind::Text(None)));
        check(b"%PDF-1.7", Err("a PDF"));
        check(b"\x89PNG\r\n", Err("a picture"));
        check(b" <HTML><table>", Err("an HTML page"));
        check(b"[{\"phone\": 1}]", Err("a JSON document"));
        check(b"\x01\x02\x03\x00\x05\x06\x07\x08abc", Err("binary data"));
        check(&[0, 1, 2, 3, 4, 5, 6, 7].repeat(100), Err("binary data"));
        check(b" \r\n\t", Err("empty"));
    }
}
