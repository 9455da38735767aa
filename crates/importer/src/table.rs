//! The rows of a file, whatever its kind.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::error::Result;
use crate::input::Input;
use crate::kind::{self, HEAD_BYTES, Kind};
use crate::options::Options;
use crate::read_csv::CsvTable;
use crate::read_excel::Workbook;
use crate::record::Record;

/// A table that can be read to its end, as often as needed.
pub(crate) enum Table {
    /// Text.
    Csv(CsvTable),
    /// A sheet of a workbook.
    Sheet(Box<Workbook>),
}

impl Table {
    /// Finds out what the file is, and that it is whole.
    pub(crate) fn open(input: &Arc<Input>, options: &Options, checked: &mut dyn FnMut(u64)) -> Result<Self> {
        let head = input.head(HEAD_BYTES)?;
        match kind::detect(&input.name, &head)? {
            Kind::Text(encoding) => {
                CsvTable::open(input.clone(), encoding, options.encoding, options.delimiter, checked).map(Self::Csv)
            }
            Kind::Marked(encoding) => {
                CsvTable::open(input.clone(), Some(encoding), None, options.delimiter, checked).map(Self::Csv)
            }
            kind => {
                let content = input.seekable()?;
                let sheet = options.sheet.as_deref();
                Workbook::open(&input.name, content, kind == Kind::Compound, sheet, checked)
                    .map(|workbook| Self::Sheet(Box::new(workbook)))
            }
        }
    }

    /// Calls `each` with the rows in turn until it has enough; `done` counts the bytes of the input that
    /// are done with.
    pub(crate) fn rows(
        &mut self,
        done: &AtomicU64,
        each: &mut dyn FnMut(&Record) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        match self {
            Self::Csv(table) => table.rows(done, each),
            Self::Sheet(workbook) => workbook.rows(done, each),
        }
    }

    /// Whether it is a sheet of a workbook.
    pub(crate) fn is_sheet(&self) -> bool {
        matches!(self, Self::Sheet(_))
    }

    /// What separates fields where the rows are written as a CSV again.
    pub(crate) fn delimiter(&self) -> u8 {
        match self {
            Self::Csv(table) => table.dialect.delimiter,
            Self::Sheet(_) => b',',
        }
    }
}
