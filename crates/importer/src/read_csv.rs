//! Rows of a CSV.

use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use encoding_rs_io::DecodeReaderBytesBuilder;

use crate::dialect::Dialect;
use crate::error::{ImportError, Result};
use crate::input::Input;
use crate::kind::HEAD_BYTES;
use crate::record::Record;
use crate::scan::{Broken, Scanner, Utf8Look};

const BUFFER_BYTES: usize = 128 * 1024;

/// A CSV that can be read to its end.
pub(crate) struct CsvTable {
    input: Arc<Input>,
    /// None: UTF-8, with wrong bytes left for the rows to refuse.
    encoding: Option<&'static Encoding>,
    /// How it is written.
    pub(crate) dialect: Dialect,
}

impl CsvTable {
    /// Finds out encoding and dialect, and reads the file once to see that it is whole. `checked` is told
    /// the bytes of the input that are done with.
    pub(crate) fn open(
        input: Arc<Input>,
        detected: Option<&'static Encoding>,
        named: Option<&'static Encoding>,
        delimiter: Option<u8>,
        checked: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        let decided = named.or(detected).filter(|e| *e != UTF_8);
        let dialect = Dialect { delimiter: b',', quote: b'"', skip: 0 };
        let mut table = Self { input, encoding: decided, dialect };
        let (head, whole) = table.head()?;
        table.dialect = Dialect::sniff(&head, whole, delimiter);
        let look = table.scan(checked)?;
        let wrong = |encoding: &str| ImportError::Encoding {
            file: table.input.name.clone(),
            line: look.wrong_line,
            encoding: encoding.to_owned(),
        };
        if look.wrong > 0 && table.encoding.is_none() {
            if named == Some(UTF_8) {
                return Err(wrong("UTF-8"));
            }
            if detected != Some(UTF_8) && !look.is_mostly_utf8() {
                if !look.may_be_1252() {
                    return Err(wrong("UTF-8, nor does it look like Windows-1252"));
                }
                table.encoding = Some(WINDOWS_1252);
            }
        }
        Ok(table)
    }

    /// Calls `each` with the rows in turn, the header among them, until it has enough.
    pub(crate) fn rows(
        &self,
        done: &AtomicU64,
        each: &mut dyn FnMut(&Record) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let (content, counted) = self.decoded()?;
        let mut reader = self.dialect.builder().buffer_capacity(BUFFER_BYTES).from_reader(content);
        let mut record = Record::default();
        while reader.read_byte_record(&mut record.fields).map_err(|e| self.failed(e))? {
            done.store(counted.load(Ordering::Relaxed), Ordering::Relaxed);
            if each(&record)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn scan(&self, checked: &mut dyn FnMut(u64)) -> Result<Utf8Look> {
        let (mut content, counted) = self.decoded()?;
        let mut scanner = Scanner::new(self.dialect, u64::from(self.dialect.skip > 0));
        let mut look = Utf8Look::default();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let n = content.read(&mut buffer).map_err(ImportError::io(&self.input.name, "read it"))?;
            if n == 0 {
                break;
            }
            if self.encoding.is_none() {
                look.feed(&buffer[..n], scanner.line());
            }
            scanner.feed(&buffer[..n]).map_err(|b| self.broken(b))?;
            checked(counted.load(Ordering::Relaxed));
        }
        look.finish(scanner.line());
        scanner.finish().map_err(|b| self.broken(b))?;
        Ok(look)
    }

    /// The text as UTF-8, without byte-order mark and the line that is no record.
    fn decoded(&self) -> Result<(Box<dyn Read + Send>, Arc<AtomicU64>)> {
        let (raw, counted) = self.input.reader()?;
        let mut decoder = DecodeReaderBytesBuilder::new();
        decoder.encoding(self.encoding).bom_override(true).strip_bom(true).utf8_passthru(true);
        let mut content: Box<dyn Read + Send> = Box::new(decoder.build(raw));
        if self.dialect.skip > 0 {
            content = Box::new(BufReader::with_capacity(BUFFER_BYTES, content));
            io::copy(&mut content.by_ref().take(self.dialect.skip as u64), &mut io::sink())
                .map_err(ImportError::io(&self.input.name, "read it"))?;
        }
        Ok((content, counted))
    }

    /// The first characters, and whether there are no others.
    fn head(&self) -> Result<(String, bool)> {
        let (content, _) = self.decoded()?;
        let mut head = Vec::new();
        content.take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(ImportError::io(&self.input.name, "read it"))?;
        let whole = head.len() < HEAD_BYTES;
        Ok((String::from_utf8_lossy(&head).into_owned(), whole))
    }

    fn broken(&self, broken: Broken) -> ImportError {
        let file = self.input.name.clone();
        match broken {
            Broken::OpenQuote { line, column } => ImportError::OpenQuote { file, line, column },
            Broken::RowTooLong { line, column } => ImportError::RowTooLong { file, line, column },
            Broken::TooManyColumns { record } => ImportError::TooManyColumns { file, row: record },
        }
    }

    fn failed(&self, e: csv::Error) -> ImportError {
        match e.into_kind() {
            csv::ErrorKind::Io(source) => ImportError::io(&self.input.name, "read it")(source),
            other => ImportError::Broken(format!("{other:?}")),
        }
    }
}
