//! The first look at the whole of a CSV: is it one, and in which encoding? What cannot be read to its end
//! is refused here, before anything is written.

use fanfare_domain::limits::{COLUMNS_MAX, ROW_BYTES_MAX};
use memchr::{memchr, memchr3};

use crate::dialect::Dialect;

/// What breaks the structure of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A quote without its end, by line and field.
    OpenQuote { line: u64, column: usize },
    /// A row beyond the limit: the line it begins on, and the field in which the limit was passed.
    RowTooLong { line: u64, column: usize },
    /// A record with too many fields, counted from 1 with the header.
    TooManyColumns { record: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    StartRecord,
    StartField,
    InField,
    InQuotes,
    /// After a quote inside quotes: the end of the field, or the first half of a doubled quote.
    AfterQuote,
}

/// Follows the records of a file as the crate `csv` splits them, without keeping them.
#[derive(Debug)]
pub(crate) struct Scanner {
    dialect: Dialect,
    state: State,
    line: u64,
    after_cr: bool,
    record: u64,
    record_line: u64,
    record_bytes: usize,
    field: usize,
    quote: (u64, usize),
    /// The first quoted field with something between its end and the next delimiter: where quotes began to
    /// go wrong, if they do.
    suspect: Option<(u64, usize)>,
}

impl Scanner {
    /// At the start of a file whose first `lines` lines are left out.
    pub(crate) fn new(dialect: Dialect, lines: u64) -> Self {
        Self {
            dialect,
            state: State::StartRecord,
            line: lines + 1,
            after_cr: false,
            record: 0,
            record_line: 1,
            record_bytes: 0,
            field: 0,
            quote: (0, 0),
            suspect: None,
        }
    }

    /// Line of the next byte, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Goes over the next bytes of the file.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while let Some(&c) = bytes.first() {
            let used = match self.state {
                State::StartRecord if matches!(c, b'\n' | b'\r') => self.newline(c),
                State::StartRecord => {
                    self.record += 1;
                    self.record_line = self.line;
                    self.record_bytes = 0;
                    self.field = 1;
                    self.state = State::StartField;
                    continue;
                }
                State::StartField if c == self.dialect.quote => {
                    self.quote = (self.line, self.field);
                    self.state = State::InQuotes;
                    1
                }
                State::StartField | State::InField => self.plain(bytes),
                State::InQuotes => self.quoted(bytes),
                State::AfterQuote if c == self.dialect.quote => {
                    self.state = State::InQuotes;
                    1
                }
                State::AfterQuote => {
                    if c != self.dialect.delimiter && !c.is_ascii_whitespace() {
                        let (line, column) = *self.suspect.get_or_insert(self.quote);
                        // One that begins lines above and has a text behind it has swallowed rows.
                        if self.quote.0 < self.line {
                            return Err(Broken::OpenQuote { line, column });
                        }
                    }
                    self.state = State::InField;
                    continue;
                }
            };
            self.record_bytes += used;
            bytes = &bytes[used..];
            if self.field > COLUMNS_MAX {
                return Err(Broken::TooManyColumns { record: self.record });
            }
            if self.record_bytes > ROW_BYTES_MAX && self.state != State::StartRecord {
                return Err(Broken::RowTooLong { line: self.record_line, column: self.field });
            }
        }
        Ok(())
    }

    /// At the end of the file: how many records there are, the header included.
    pub(crate) fn finish(self) -> Result<u64, Broken> {
        match self.state {
            State::InQuotes => {
                let (line, column) = self.suspect.unwrap_or(self.quote);
                Err(Broken::OpenQuote { line, column })
            }
            _ => Ok(self.record),
        }
    }

    fn plain(&mut self, bytes: &[u8]) -> usize {
        self.after_cr = false;
        let Some(end) = memchr3(self.dialect.delimiter, b'\n', b'\r', bytes) else {
            self.state = State::InField;
            return bytes.len();
        };
        if bytes[end] == self.dialect.delimiter {
            self.field += 1;
            self.state = State::StartField;
            return end + 1;
        }
        self.state = State::StartRecord;
        end + self.newline(bytes[end])
    }

    fn quoted(&mut self, bytes: &[u8]) -> usize {
        let end = memchr(self.dialect.quote, bytes).unwrap_or(bytes.len());
        for c in &bytes[..end] {
            match c {
                b'\n' | b'\r' => {
                    self.newline(*c);
                }
                _ => self.after_cr = false,
            }
        }
        if end == bytes.len() {
            return end;
        }
        self.after_cr = false;
        self.state = State::AfterQuote;
        end + 1
    }

    /// Counts a line; CR LF is one.
    fn newline(&mut self, c: u8) -> usize {
        if !(c == b'\n' && self.after_cr) {
            self.line += 1;
        }
        self.after_cr = c == b'\r';
        1
    }
}

/// How a text that may be UTF-8 looks in the whole file.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Utf8Look {
    /// Characters of more than one byte.
    pub(crate) wide: u64,
    /// Bytes or cut sequences that are not UTF-8.
    pub(crate) wrong: u64,
    /// Line of the first of them.
    pub(crate) wrong_line: u64,
    /// High bytes in runs of four and more: words of another script, if this is not UTF-8.
    run_bytes: u64,
    high_bytes: u64,
    /// Bytes that Windows-1252 does not have.
    undefined: u64,
    run: u64,
    held: [u8; 4],
    held_len: usize,
}

impl Utf8Look {
    /// Goes over the next bytes, which begin on `line`.
    pub(crate) fn feed(&mut self, bytes: &[u8], line: u64) {
        if self.held_len == 0 && self.run == 0 && bytes.is_ascii() {
            return;
        }
        self.legacy(bytes);
        let mut joined = Vec::new();
        let mut rest = bytes;
        if self.held_len > 0 {
            joined.extend_from_slice(&self.held[..self.held_len]);
            joined.extend_from_slice(bytes);
            self.held_len = 0;
            rest = &joined;
        }
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => return self.count(valid),
                Err(e) => {
                    let (valid, bad) = rest.split_at(e.valid_up_to());
                    self.count(std::str::from_utf8(valid).unwrap_or_default());
                    let Some(len) = e.error_len() else {
                        self.held_len = bad.len();
                        self.held[..bad.len()].copy_from_slice(bad);
                        return;
                    };
                    self.wrong(line + lines_in(&rest[..e.valid_up_to()]));
                    rest = &bad[len..];
                }
            }
        }
    }

    /// At the end of the file.
    pub(crate) fn finish(&mut self, line: u64) {
        self.legacy(b"\n");
        if self.held_len > 0 {
            self.wrong(line);
            self.held_len = 0;
        }
    }

    /// Whether the text is UTF-8 with some damage rather than something else.
    pub(crate) fn is_mostly_utf8(&self) -> bool {
        self.wide > self.wrong
    }

    /// Whether it may be Windows-1252: none of the bytes it lacks, and accents among plain letters rather
    /// than words without any.
    pub(crate) fn may_be_1252(&self) -> bool {
        self.undefined == 0 && self.run_bytes * 2 <= self.high_bytes
    }

    fn wrong(&mut self, line: u64) {
        if self.wrong == 0 {
            self.wrong_line = line;
        }
        self.wrong += 1;
    }

    fn count(&mut self, valid: &str) {
        if !valid.is_ascii() {
            self.wide += valid.bytes().filter(|c| *c >= 0xc0).count() as u64;
        }
    }

    fn legacy(&mut self, bytes: &[u8]) {
        for c in bytes {
            if c.is_ascii() {
                if self.run >= 4 {
                    self.run_bytes += self.run;
                }
                self.run = 0;
                continue;
            }
            self.run += 1;
            self.high_bytes += 1;
            self.undefined += u64::from(matches!(c, 0x81 | 0x8d | 0x8f | 0x90 | 0x9d));
        }
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_domain::rng::Rng;

    fn scan(text: &[u8], step: usize) -> Result<u64, Broken> {
        let mut scanner = Scanner::new(Dialect { delimiter: b',', quote: b'"', skip: 0 }, 0);
        for chunk in text.chunks(step.max(1)) {
            scanner.feed(chunk)?;
        }
        scanner.finish()
    }

    #[test]
    fn an_open_quote_is_named_by_its_line() {
        assert_eq!(scan(b"a,b\n1,2\n3,\"x\n4,5\n", 3), Err(Broken::OpenQuote { line: 3, column: 2 }));
        assert_eq!(scan(b"a,b\r\n\"x\r\ny\",2\r\n3,\"x\r\n", 1), Err(Broken::OpenQuote { line: 4, column: 2 }));
        // The quote of line 2 swallows half of line 3.
        assert_eq!(scan(b"a,b\n1,\"x\n2,\"y\"\n3,z\n", 5), Err(Broken::OpenQuote { line: 2, column: 2 }));
        assert_eq!(scan(b"a,b\n1,5\" pipe\n2,\"say \"\"hi\"\"\"\n", 2), Ok(3));
    }

    #[test]
    fn rows_and_columns_have_an_end() {
        let long = [b"a,b\n1,".as_slice(), &vec![b'x'; ROW_BYTES_MAX + 1]].concat();
        assert_eq!(scan(&long, 1 << 16), Err(Broken::RowTooLong { line: 2, column: 2 }));
        let wide = b"a,".repeat(COLUMNS_MAX);
        assert_eq!(scan(&wide, 1 << 16), Err(Broken::TooManyColumns { record: 1 }));
    }

    #[test]
    fn records_are_those_of_the_reader() {
        for seed in 0..3000 {
            let rng = Rng::seeded(seed);
            let alphabet = b"ab,,\"\"\n\r ;'\xc3\xa9";
            let text: Vec<u8> =
                (0..rng.below(60)).map(|_| alphabet[rng.below(alphabet.len() as u64) as usize]).collect();
            let dialect = Dialect { delimiter: b',', quote: b'"', skip: 0 };
            let records = dialect.builder().from_reader(text.as_slice()).byte_records().count() as u64;
            match scan(&text, 1 + rng.below(7) as usize) {
                Ok(found) => assert_eq!(found, records, "seed {seed}: {:?}", String::from_utf8_lossy(&text)),
                Err(Broken::OpenQuote { .. }) => {}
                Err(e) => panic!("seed {seed}: {e:?}"),
            }
        }
    }

    fn look(text: &[u8], step: usize) -> Utf8Look {
        let mut look = Utf8Look::default();
        let mut line = 1;
        for chunk in text.chunks(step) {
            look.feed(chunk, line);
            line += lines_in(chunk);
        }
        look.finish(line);
        look
    }

    #[test]
    fn encodings_are_told_apart() {
        for step in [1, 2, 3, 7, 100] {
            let utf8 = look("phone,nom\n1,Zoé\n2,أمين\n".as_bytes(), step);
            assert_eq!((utf8.wide, utf8.wrong), (5, 0));
            let latin = look(b"phone,nom\n1,Zo\xe9\n2,Fran\xe7ois\n", step);
            assert!(!latin.is_mostly_utf8() && latin.may_be_1252() && latin.wrong_line == 2, "{latin:?}");
            let damaged = look(b"nom\nZo\xc3\xa9\nFran\xc3\xa7ois\nL\xc3\xa9a\nZo\xe9\n", step);
            assert!(damaged.is_mostly_utf8() && damaged.wrong == 1 && damaged.wrong_line == 5, "{damaged:?}");
            // أمين محمد in Windows-1256.
            let arabic = look(b"nom\n\xc3\xe3\xed\xe4 \xe3\xcd\xe3\xcf\n\xe3\xcd\xe3\xcf\n", step);
            assert!(!arabic.may_be_1252(), "{arabic:?}");
        }
    }
}
