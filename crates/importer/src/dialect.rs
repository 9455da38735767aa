//! How a CSV separates and quotes its fields, found out from its first lines.

use csv::ByteRecord;

const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Records that are looked at.
const RECORDS_MAX: usize = 200;

/// How a CSV is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// Between fields.
    pub(crate) delimiter: u8,
    /// Around fields that hold a delimiter.
    pub(crate) quote: u8,
    /// Bytes of a first line `sep=;`, which spreadsheets write for each other.
    pub(crate) skip: usize,
}

impl Dialect {
    /// What the first lines of a file look like. `whole`: there are no others.
    pub(crate) fn sniff(head: &str, whole: bool, delimiter: Option<u8>) -> Self {
        let (said, skip) = separator_line(head);
        let mut sample = &head[skip..];
        if !whole && let Some(end) = sample.rfind('\n') {
            sample = &sample[..end + 1];
        }
        let fixed = delimiter.or(said);
        let candidates: &[u8] = fixed.as_ref().map_or(&DELIMITERS, std::slice::from_ref);
        let quote = if has_single_quotes(sample, candidates) { b'\'' } else { b'"' };
        // Of equals the last is taken; a comma is the most usual.
        let best = candidates.iter().rev().copied().max_by_key(|d| score(sample, *d, quote));
        Self { delimiter: best.unwrap_or(b','), quote, skip }
    }

    /// A reader of records in this dialect.
    pub(crate) fn builder(self) -> csv::ReaderBuilder {
        let mut builder = csv::ReaderBuilder::new();
        builder.has_headers(false).flexible(true).delimiter(self.delimiter).quote(self.quote);
        builder
    }
}

/// `sep=;` on the first line: the delimiter, and the length of the line.
fn separator_line(head: &str) -> (Option<u8>, usize) {
    let line = head.lines().next().unwrap_or_default();
    let said = line.trim().trim_matches('"');
    match said.as_bytes() {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter] => {
            let after = &head[line.len()..];
            let newline = after.len() - after.strip_prefix("\r\n").or(after.strip_prefix('\n')).unwrap_or(after).len();
            (Some(*delimiter), line.len() + newline)
        }
        _ => (None, 0),
    }
}

/// How well a delimiter explains the sample: the share of records with the most frequent number of fields
/// (per mille), then that number. A delimiter that separates nothing explains nothing.
fn score(sample: &str, delimiter: u8, quote: u8) -> (usize, usize) {
    let dialect = Dialect { delimiter, quote, skip: 0 };
    let mut reader = dialect.builder().from_reader(sample.as_bytes());
    let mut record = ByteRecord::new();
    let mut counts: Vec<usize> = Vec::new();
    while counts.len() < RECORDS_MAX && reader.read_byte_record(&mut record).unwrap_or(false) {
        counts.push(record.len());
    }
    counts.sort_unstable();
    let most = counts.chunk_by(|a, b| a == b).max_by_key(|same| (same.len(), same[0]));
    match most {
        Some(same) if same[0] > 1 => (same.len() * 1000 / counts.len(), same[0]),
        _ => (0, 0),
    }
}

/// Whether fields stand in single quotes: some do, and no double quote is to be seen.
fn has_single_quotes(sample: &str, delimiters: &[u8]) -> bool {
    if sample.contains('"') {
        return false;
    }
    let edge = |c: Option<&u8>| c.is_none_or(|c| matches!(c, b'\n' | b'\r') || delimiters.contains(c));
    let bytes = sample.as_bytes();
    let (mut opened, mut closed, mut inside) = (0, 0, 0);
    for (i, _) in bytes.iter().enumerate().filter(|(_, c)| **c == b'\'') {
        match (edge(i.checked_sub(1).and_then(|i| bytes.get(i))), edge(bytes.get(i + 1))) {
            (true, false) => opened += 1,
            (false, true) => closed += 1,
            (false, false) => inside += 1,
            (true, true) => {}
        }
    }
    opened == closed && opened >= 2 && opened > inside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sample: &str, delimiter: u8, quote: u8) {
        let got = Dialect::sniff(sample, true, None);
        assert_eq!((char::from(got.delimiter), char::from(got.quote)), (char::from(delimiter), char::from(quote)));
    }

    #[test]
    fn the_delimiter_is_what_makes_even_rows() {
        check("phone,name\n0555,Ali\n", b',', b'"');
        check("phone;name;amount\n0555;Ali;12,5\n0556;Zoé;1,5\n", b';', b'"');
        check("phone\tname\n0555\tAli, junior\n", b'\t', b'"');
        check("phone|name\n0555|Ali\n", b'|', b'"');
        check("phone,note\n0555,\"a;b;c\"\n0556,\"a;b;c\"\n", b',', b'"');
        check("phone;note\r\n0555;\"a,\r\nb\"\r\n", b';', b'"');
        check("phone\n0555123456\n", b',', b'"');
        check("Nom;Téléphone;Ville, pays\nA;1;Oran, DZ\nB;2;Alger, DZ\n", b';', b'"');
    }

    #[test]
    fn single_quotes_quote_where_they_stand_at_the_edges() {
        check("'phone','name'\n'0555','Ali, Ben'\n", b',', b'\'');
        check("phone,name\n0555,N'Golo\n0556,D'Arc\n", b',', b'"');
    }

    #[test]
    fn a_line_may_say_the_delimiter() {
        let got = Dialect::sniff("sep=|\r\na,b|c\n", true, None);
        assert_eq!((got.delimiter, got.skip), (b'|', 7));
        assert_eq!(Dialect::sniff("a;b\n1;2\n", true, Some(b',')).delimiter, b',');
    }
}
