//! The refused rows, as a file to put right and import again.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use fanfare_domain::limits::REJECTS_LISTED_MAX;
use tempfile::NamedTempFile;

use crate::check::Refusal;
use crate::error::{ImportError, Result};
use crate::map::Mapping;
use crate::record::Record;
use crate::summary::Reject;

/// What a rejects file adds to the columns of the file that was imported. A file whose last columns are
/// these is read without them.
pub(crate) const MARKS: [&str; 4] = ["_row", "_column", "_value", "_reason"];

/// Collects refused rows: the first few in memory, all of them in the file.
pub(crate) struct Rejects {
    /// The columns of the contacts.
    headers: Vec<String>,
    /// Columns of the file that is read, those of an earlier rejects file among them.
    columns: usize,
    listed: Vec<Reject>,
    count: i64,
    out: Option<Out>,
}

/// The file being written. It takes its place when it is complete: it may be the very file that is read.
struct Out {
    path: PathBuf,
    writer: csv::Writer<BufWriter<Box<dyn Write + Send>>>,
    whole: Option<NamedTempFile>,
}

impl Rejects {
    /// With the file, if there is to be one.
    pub(crate) fn new(mapping: &Mapping, delimiter: u8, path: Option<&Path>) -> Result<Self> {
        let (headers, columns) = (mapping.headers[..mapping.own].to_vec(), mapping.headers.len());
        let mut rejects = Self { headers, columns, listed: Vec::new(), count: 0, out: None };
        if let Some(path) = path {
            let mut out = Out::create(path, delimiter)?;
            let header = rejects.headers.iter().map(String::as_str).chain(MARKS);
            out.write(header.map(str::as_bytes))?;
            rejects.out = Some(out);
        }
        Ok(rejects)
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, record: &Record, row: u32, refusal: Refusal) -> Result<()> {
        self.count += 1;
        let column = refusal.column.and_then(|i| self.headers.get(i)).cloned().unwrap_or_default();
        if let Some(out) = &mut self.out {
            let cells = (0..self.headers.len()).map(|i| record.cell(i));
            let number = row.to_string();
            let marks = [number.as_str(), &column, &refusal.value, &refusal.reason].map(str::as_bytes);
            // Behind the marks, so that the row is refused again until somebody has looked at them.
            let surplus = (self.columns..record.filled()).map(|i| record.cell(i));
            out.write(cells.chain(marks).chain(surplus))?;
        }
        if self.listed.len() < REJECTS_LISTED_MAX {
            let reason = refusal.reason.into_owned();
            self.listed.push(Reject { row, column, value: refusal.value, reason });
        }
        Ok(())
    }

    /// Puts the file in its place; says the first rows, and how many more there are.
    pub(crate) fn finish(mut self) -> Result<(Vec<Reject>, i64)> {
        if let Some(out) = self.out.take() {
            out.finish()?;
        }
        let omitted = self.count - self.listed.len() as i64;
        Ok((self.listed, omitted))
    }
}

impl Out {
    fn create(path: &Path, delimiter: u8) -> Result<Self> {
        let failed = || ImportError::io(&shown(path), "write the rejects there");
        // A device or a pipe is written to as it comes.
        let special = fs::metadata(path).is_ok_and(|m| !m.is_file());
        let (mut sink, whole): (Box<dyn Write + Send>, _) = if special {
            (Box::new(File::options().write(true).open(path).map_err(failed())?), None)
        } else {
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let whole = NamedTempFile::with_prefix_in(".rejects-", folder).map_err(failed())?;
            (Box::new(whole.reopen().map_err(failed())?), Some(whole))
        };
        // Spreadsheets take a CSV without it for something older than UTF-8.
        sink.write_all("\u{feff}".as_bytes()).map_err(failed())?;
        let writer = csv::WriterBuilder::new().delimiter(delimiter).flexible(true).from_writer(BufWriter::new(sink));
        Ok(Self { path: path.to_owned(), writer, whole })
    }

    fn write<'a>(&mut self, fields: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        let failed = ImportError::io(&shown(&self.path), "write the rejects there");
        self.writer.write_record(fields).map_err(|e| failed(e.into()))
    }

    fn finish(mut self) -> Result<()> {
        let failed = || ImportError::io(&shown(&self.path), "write the rejects there");
        self.writer.flush().map_err(failed())?;
        if let Some(whole) = self.whole {
            whole.persist(&self.path).map_err(|e| failed()(e.error))?;
        }
        Ok(())
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
