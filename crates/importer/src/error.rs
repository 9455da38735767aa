//! Why a file cannot be imported. Nothing of it was written then, unless the database failed half-way;
//! in that case the same command goes on where it stopped.

use std::io;

use fanfare_domain::limits::{CELL_BYTES_MAX, COLUMNS_MAX, IMPORT_ROWS_MAX, ROW_BYTES_MAX, XLS_CELLS_MAX};

/// Result of an import's step.
pub type Result<T, E = ImportError> = std::result::Result<T, E>;

/// A failed import.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be opened or read.
    #[error("{file}: cannot {doing}: {}", plain(.source))]
    Io {
        /// The file.
        file: String,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// It is a directory.
    #[error("{0}: is a directory: name a CSV or Excel file in it")]
    Directory(String),
    /// It has no bytes, or only blanks.
    #[error("{0}: the file is empty: expected a header and rows of contacts")]
    Empty(String),
    /// It has a header and nothing else.
    #[error("{file}: there is a header ({columns}) and no row below it: nothing to import")]
    NoRows {
        /// The file.
        file: String,
        /// Its columns.
        columns: String,
    },
    /// It is of a kind that holds no table.
    #[error("{file}: this is {found}, not a table of contacts: save it as CSV (UTF-8) or as an Excel workbook (.xlsx)")]
    NotATable {
        /// The file.
        file: String,
        /// What it is.
        found: &'static str,
    },
    /// A workbook under a password.
    #[error("{0}: the workbook is encrypted with a password: open it, remove the password, save it and import that")]
    Encrypted(String),
    /// A workbook that cannot be read.
    #[error("{file}: the workbook is damaged: {what}. Open it in a spreadsheet program, save it anew and import that")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// A workbook that would take too much memory.
    #[error(
        "{file}: {what}: refused as a zip bomb. If it is an honest workbook, save the sheet as CSV and import that"
    )]
    Bomb {
        /// The file.
        file: String,
        /// Which part, and how large.
        what: String,
    },
    /// An .xls that would take too much memory.
    #[error("{file}: {what}; the old .xls format is read whole, up to {XLS_CELLS_MAX} cells: save it as .xlsx or CSV")]
    XlsTooLarge {
        /// The file.
        file: String,
        /// How large.
        what: String,
    },
    /// A sheet that is not there.
    #[error("{file}: there is no sheet {name:?}; the workbook has {sheets}")]
    UnknownSheet {
        /// The file.
        file: String,
        /// What was asked for.
        name: String,
        /// The sheets by name.
        sheets: String,
    },
    /// No sheet holds anything.
    #[error("{0}: every sheet of the workbook is empty")]
    EmptyWorkbook(String),
    /// Bytes that are not of the encoding.
    #[error(
        "{file}: line {line}: the text is not {encoding}: save the file as CSV UTF-8, or name its encoding with --encoding"
    )]
    Encoding {
        /// The file.
        file: String,
        /// Line of the first wrong byte, from 1.
        line: u64,
        /// What was expected.
        encoding: String,
    },
    /// A quote without its end.
    #[error(
        "{file}: line {line}, column {column}: a quote is opened here and never closed: close it, or write it twice if it belongs to the text"
    )]
    OpenQuote {
        /// The file.
        file: String,
        /// Line of the quote, from 1.
        line: u64,
        /// Field of that row, from 1.
        column: usize,
    },
    /// A cell of many megabytes.
    #[error(
        "{file}: line {line}, column {column}: the row is longer than {} KiB (a cell may have {} KiB): shorten it, or look for a quote that is not closed",
        ROW_BYTES_MAX / 1024, CELL_BYTES_MAX / 1024
    )]
    RowTooLong {
        /// The file.
        file: String,
        /// Line on which the row begins, from 1.
        line: u64,
        /// The field in which the limit was passed, from 1.
        column: usize,
    },
    /// A cell of many megabytes in a workbook.
    #[error("{file}: cell {cell} holds more than {} KiB (a cell may have {} KiB): shorten it", ROW_BYTES_MAX / 1024, CELL_BYTES_MAX / 1024)]
    CellTooLong {
        /// The file.
        file: String,
        /// The cell, and the part of the workbook it is in.
        cell: String,
    },
    /// Columns without end.
    #[error(
        "{file}: row {row} has more than {COLUMNS_MAX} columns: export the columns you need, or check the delimiter with --delimiter"
    )]
    TooManyColumns {
        /// The file.
        file: String,
        /// The row, from 1 with the header.
        row: u64,
    },
    /// Rows without end.
    #[error("{0}: more than {IMPORT_ROWS_MAX} rows: split the file")]
    TooManyRows(String),
    /// Nothing to write to.
    #[error(
        "{file}: no column has phones or e-mails: found {columns}. Name the column, e.g. --map phone={}{}",
        quoted(.example), content_hint(.looks_like)
    )]
    NoAddress {
        /// The file.
        file: String,
        /// The columns found.
        columns: String,
        /// One of them.
        example: String,
        /// A column whose values look like the field's: `(field, column)`.
        looks_like: Option<(&'static str, String)>,
    },
    /// `--map` names a column that is not there.
    #[error("{file}: --map {field}={column}: there is no such column among {columns}{}", meant(.near))]
    UnknownColumn {
        /// The file.
        file: String,
        /// The field.
        field: String,
        /// What was asked for.
        column: String,
        /// Columns it may have meant.
        near: Vec<String>,
        /// The columns found.
        columns: String,
    },
    /// `--map` names a field twice, or none.
    #[error("--map {field}={column}: {why}")]
    BadMap {
        /// The field.
        field: String,
        /// The column.
        column: String,
        /// What is wrong.
        why: String,
    },
    /// The refused rows would take the place of all others.
    #[error("{0}: the rejects would replace the contacts: name another file with --rejects")]
    RejectsOverContacts(String),
    /// The file changed while it was read.
    #[error("{0}: the file was changed while it was being imported: run the same command again")]
    Changed(String),
    /// The name of a list cannot be empty.
    #[error("--list: the name is empty")]
    NoList,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] fanfare_store::Error),
    /// The program failed.
    #[error("the import broke down: {0}. This is a fault of fanfare; the same command goes on where it stopped")]
    Broken(String),
}

impl ImportError {
    pub(crate) fn io(file: &str, doing: &'static str) -> impl FnOnce(io::Error) -> Self + use<> {
        let file = file.to_owned();
        move |source| Self::Io { file, doing, source }
    }
}

/// The kinds of error that people meet, in plain words; the source itself says the rest.
fn plain(e: &io::Error) -> &'static str {
    match e.kind() {
        io::ErrorKind::NotFound => "there is no such file: check the path",
        io::ErrorKind::PermissionDenied => "permission denied",
        io::ErrorKind::StorageFull => "the disk is full",
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            "its compressed data is damaged or cut off"
        }
        _ => "the system refused",
    }
}

/// Asks whether one of these was meant, if there are any.
pub(crate) fn meant(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => format!("; did you mean {}?", near.join(", ")),
    }
}

fn content_hint(found: &Option<(&'static str, String)>) -> String {
    match found {
        Some((field, column)) => format!("; {column:?} looks like --map {field}={}", quoted(column)),
        None => String::new(),
    }
}

fn quoted(column: &str) -> String {
    let plain = column.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if plain && !column.is_empty() { column.to_owned() } else { format!("'{}'", column.replace('\'', r"'\''")) }
}
