//! Sheets of an old binary workbook (.xls), read whole.

use std::io::{BufReader, Read};

use calamine::{Data, DataRef, Range, Reader as _, Xls};
use fanfare_domain::limits::{XLS_BYTES_MAX, XLS_CELLS_MAX};

use super::cells::{RowBuilder, damaged, shielded};
use super::{Each, chosen, worksheets};
use crate::error::{ImportError, Result};
use crate::input::Raw;

/// Records of MS-XLS §2.3 that matter here.
const BOF: u16 = 0x0809;
const EOF: u16 = 0x000a;
/// Cells; they begin with row and column. Of the two with several columns, the last column ends them.
const CELLS: [u16; 8] = [0x0201, 0x0203, 0x0204, 0x0205, 0x0006, 0x00fd, 0x027e, 0x00d6];
const CELL_RUNS: [u16; 2] = [0x00bd, 0x00be];

/// The sheet that `asked` names, else the first with anything in it.
pub(super) fn open(file: &str, content: Raw, asked: Option<&str>) -> Result<(String, Range<Data>)> {
    inspect(file, content.clone())?;
    let mut book: Xls<_> = shielded(file, || Xls::new(BufReader::new(content)))?.map_err(damaged(file))?;
    let sheets = worksheets(book.sheets_metadata());
    let asked = asked.map(|asked| chosen(file, asked, &sheets)).transpose()?;
    for sheet in asked.into_iter().chain(sheets) {
        let range = shielded(file, || book.worksheet_range(&sheet))?.map_err(damaged(file))?;
        if !range.is_empty() {
            return Ok((sheet, range));
        }
    }
    Err(ImportError::EmptyWorkbook(file.to_owned()))
}

/// Calls `each` with the rows that hold anything.
pub(super) fn rows(file: &str, range: &Range<Data>, each: Each<'_>) -> Result<()> {
    let (first_row, first_column) = range.start().unwrap_or_default();
    let mut row = RowBuilder::default();
    for (i, cells) in range.rows().enumerate() {
        for (j, cell) in cells.iter().enumerate() {
            row.set(file, u64::from(first_row) + i as u64 + 1, first_column as usize + j, &borrowed(cell))?;
        }
        if row.emit(each)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn borrowed(cell: &Data) -> DataRef<'_> {
    match cell {
        Data::Int(n) => DataRef::Int(*n),
        Data::Float(n) => DataRef::Float(*n),
        Data::String(s) => DataRef::SharedString(s),
        Data::Bool(b) => DataRef::Bool(*b),
        Data::DateTime(at) => DataRef::DateTime(*at),
        Data::DateTimeIso(iso) => DataRef::DateTimeIso(iso.clone()),
        Data::DurationIso(iso) => DataRef::DurationIso(iso.clone()),
        Data::Error(e) => DataRef::Error(e.clone()),
        Data::Empty => DataRef::Empty,
    }
}

/// Holds that the workbook is one, not encrypted, and that its cells with the empty ones between them are
/// no more than memory bears.
fn inspect(file: &str, content: Raw) -> Result<()> {
    let bytes = content.len().map_err(ImportError::io(file, "read it"))?;
    let too_large = |what: String| ImportError::XlsTooLarge { file: file.to_owned(), what };
    if bytes > XLS_BYTES_MAX {
        return Err(too_large(format!("the workbook has {} MiB", bytes / 1024 / 1024)));
    }
    let mut compound = shielded(file, || cfb::CompoundFile::open(BufReader::new(content)))?.map_err(damaged(file))?;
    if compound.is_stream("/EncryptedPackage") {
        return Err(ImportError::Encrypted(file.to_owned()));
    }
    let Some(stream) = ["/Workbook", "/Book"].into_iter().find(|name| compound.is_stream(name)) else {
        return Err(ImportError::NotATable { file: file.to_owned(), found: "a document of another office program" });
    };
    let stream = compound.open_stream(stream).map_err(damaged(file))?;
    let cells = count_cells(BufReader::with_capacity(64 * 1024, stream)).map_err(damaged(file))?;
    if cells > XLS_CELLS_MAX {
        return Err(too_large(format!("its sheets span {cells} cells")));
    }
    Ok(())
}

/// The area that the cells of all sheets span.
fn count_cells(mut stream: impl Read) -> std::io::Result<u64> {
    let (mut total, mut sheet): (u64, Option<[u16; 4]>) = (0, None);
    let mut header = [0; 4];
    let mut body = Vec::new();
    while stream.read_exact(&mut header).is_ok() {
        let [a, b, c, d] = header;
        let (kind, len) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        body.clear();
        stream.by_ref().take(u64::from(len)).read_to_end(&mut body)?;
        let at = |i: usize| body.get(i..i + 2).map(|two| u16::from_le_bytes([two[0], two[1]]));
        match kind {
            BOF | EOF => total += area(sheet.take()),
            kind if CELLS.contains(&kind) || CELL_RUNS.contains(&kind) => {
                let (Some(row), Some(first)) = (at(0), at(2)) else { continue };
                let last = if CELL_RUNS.contains(&kind) { at(body.len().saturating_sub(2)) } else { None };
                let last = last.unwrap_or(first).max(first);
                let [top, bottom, left, right] = sheet.unwrap_or([row, row, first, last]);
                sheet = Some([top.min(row), bottom.max(row), left.min(first), right.max(last)]);
            }
            _ => {}
        }
    }
    Ok(total + area(sheet))
}

fn area(sheet: Option<[u16; 4]>) -> u64 {
    let side = |from: u16, to: u16| u64::from(to) - u64::from(from) + 1;
    sheet.map_or(0, |[top, bottom, left, right]| side(top, bottom) * side(left, right))
}
