//! Rows of a workbook. XLSX, XLSB and ODS are streamed; XLS is read whole, within limits.

mod cells;
mod guard;
mod ods;
mod runs;
mod xls;

use std::io::BufReader;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use calamine::{Reader as _, SheetType, SheetVisible, Xlsb, Xlsx};

use crate::error::{ImportError, Result};
use crate::input::Raw;
use crate::record::Record;
use cells::{RowBuilder, damaged, shielded};
use guard::Format;

type Bytes = BufReader<Raw>;

/// Told of each row in turn.
type Each<'a> = &'a mut dyn FnMut(&Record) -> Result<ControlFlow<()>>;

enum Content {
    Xlsx(Box<Xlsx<Bytes>>),
    Xlsb(Box<Xlsb<Bytes>>),
    Ods(Raw),
    Xls(calamine::Range<calamine::Data>),
}

/// A sheet of a workbook.
pub(crate) struct Workbook {
    name: String,
    content: Content,
    sheet: String,
    read: Arc<AtomicU64>,
    bytes_total: u64,
}

impl Workbook {
    /// Holds that the workbook is whole and fits into memory, and picks the sheet.
    pub(crate) fn open(
        name: &str,
        bytes: Raw,
        compound: bool,
        sheet: Option<&str>,
        checked: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        let read = bytes.counter();
        let bytes_total = bytes.len().map_err(ImportError::io(name, "read it"))?;
        if compound {
            let (picked, range) = xls::open(name, bytes, sheet)?;
            return Ok(Self { name: name.to_owned(), content: Content::Xls(range), sheet: picked, read, bytes_total });
        }
        let format = guard::inspect(name, bytes.clone(), checked)?;
        let buffered = BufReader::new(bytes.clone());
        let content = match format {
            Format::Xlsx => Content::Xlsx(Box::new(shielded(name, || Xlsx::new(buffered))?.map_err(damaged(name))?)),
            Format::Xlsb => Content::Xlsb(Box::new(shielded(name, || Xlsb::new(buffered))?.map_err(damaged(name))?)),
            Format::Ods => Content::Ods(bytes),
        };
        let mut workbook = Self { name: name.to_owned(), content, sheet: String::new(), read, bytes_total };
        workbook.sheet = workbook.pick(sheet)?;
        Ok(workbook)
    }

    /// Calls `each` with the rows that hold anything, until it has enough.
    pub(crate) fn rows(&mut self, done: &AtomicU64, each: Each<'_>) -> Result<()> {
        self.read.store(0, Ordering::Relaxed);
        let (read, total) = (self.read.clone(), self.bytes_total);
        let mut counting = |record: &Record| {
            done.store(read.load(Ordering::Relaxed).min(total), Ordering::Relaxed);
            each(record)
        };
        let sheet = self.sheet.clone();
        self.read(&sheet, &mut counting)
    }

    fn read(&mut self, sheet: &str, each: Each<'_>) -> Result<()> {
        let name = self.name.as_str();
        match &mut self.content {
            Content::Xlsx(book) => {
                let mut cells = shielded(name, || book.worksheet_cells_reader(sheet))?.map_err(damaged(name))?;
                stream(name, each, || shielded(name, || cells.next_cell())?.map_err(damaged(name)))
            }
            Content::Xlsb(book) => {
                let mut cells = shielded(name, || book.worksheet_cells_reader(sheet))?.map_err(damaged(name))?;
                stream(name, each, || shielded(name, || cells.next_cell())?.map_err(damaged(name)))
            }
            Content::Ods(bytes) => ods::rows(name, bytes.clone(), sheet, each),
            Content::Xls(range) => xls::rows(name, range, each),
        }
    }

    /// The sheet that `asked` names by name or number, else the first one with anything in it, the hidden
    /// ones last.
    fn pick(&mut self, asked: Option<&str>) -> Result<String> {
        let sheets = match &self.content {
            Content::Xlsx(book) => worksheets(book.sheets_metadata()),
            Content::Xlsb(book) => worksheets(book.sheets_metadata()),
            Content::Ods(bytes) => ods::sheets(&self.name, bytes.clone())?,
            Content::Xls(_) => return Ok(self.sheet.clone()),
        };
        if let Some(asked) = asked {
            return chosen(&self.name, asked, &sheets);
        }
        for sheet in sheets {
            let mut found = false;
            self.read(&sheet, &mut |_| {
                found = true;
                Ok(ControlFlow::Break(()))
            })?;
            if found {
                return Ok(sheet);
            }
        }
        Err(ImportError::EmptyWorkbook(self.name.clone()))
    }
}

/// Names of the sheets with cells, the visible ones first.
fn worksheets(sheets: &[calamine::Sheet]) -> Vec<String> {
    let cells = sheets.iter().filter(|sheet| sheet.typ == SheetType::WorkSheet);
    let (visible, hidden): (Vec<_>, Vec<_>) = cells.partition(|sheet| sheet.visible == SheetVisible::Visible);
    visible.into_iter().chain(hidden).map(|sheet| sheet.name.clone()).collect()
}

/// The sheet that a person names: by name, in any case, or by number from 1.
fn chosen(file: &str, asked: &str, sheets: &[String]) -> Result<String> {
    let exact = sheets.iter().find(|sheet| *sheet == asked);
    let alike = || sheets.iter().find(|sheet| sheet.to_lowercase() == asked.trim().to_lowercase());
    let numbered = || sheets.get(asked.trim().parse::<usize>().ok()?.checked_sub(1)?);
    exact.or_else(alike).or_else(numbered).cloned().ok_or_else(|| ImportError::UnknownSheet {
        file: file.to_owned(),
        name: asked.to_owned(),
        sheets: sheets.iter().map(|sheet| format!("{sheet:?}")).collect::<Vec<_>>().join(", "),
    })
}

/// Puts the cells of a sheet together to rows.
fn stream<'a>(
    file: &str,
    each: Each<'_>,
    mut next: impl FnMut() -> Result<Option<calamine::Cell<calamine::DataRef<'a>>>>,
) -> Result<()> {
    let mut row = RowBuilder::default();
    let mut at = None;
    while let Some(cell) = next()? {
        let (line, column) = cell.get_position();
        if at != Some(line) {
            if row.emit(each)?.is_break() {
                return Ok(());
            }
            at = Some(line);
        }
        row.set(file, u64::from(line) + 1, column as usize, cell.get_value())?;
    }
    row.emit(each).map(|_| ())
}
