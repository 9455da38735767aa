//! Cells of a workbook as text.

use std::fmt::{Display, Write as _};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use calamine::{DataRef, ExcelDateTime};
use chrono::{NaiveDateTime, NaiveTime};
use fanfare_domain::limits::COLUMNS_MAX;

use super::Each;
use crate::error::{ImportError, Result};
use crate::record::{CellKind, Record};

/// Whole numbers up to here are exact in a workbook, whose numbers are all floating.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A row that is put together cell by cell.
#[derive(Default)]
pub(super) struct RowBuilder {
    cells: Vec<(String, CellKind)>,
    used: usize,
    record: Record,
}

impl RowBuilder {
    /// Sets a cell; `row` counts from 1.
    pub(super) fn set(&mut self, file: &str, row: u64, column: usize, value: &DataRef<'_>) -> Result<()> {
        if matches!(value, DataRef::Empty) {
            return Ok(());
        }
        let cell = self.cell(file, row, column)?;
        cell.1 = write(value, &mut cell.0);
        Ok(())
    }

    /// Sets a cell to a text.
    pub(super) fn set_text(&mut self, file: &str, row: u64, column: usize, text: &str, kind: CellKind) -> Result<()> {
        let cell = self.cell(file, row, column)?;
        cell.0.push_str(text);
        cell.1 = kind;
        Ok(())
    }

    /// Hands the row on if it holds anything, and begins the next.
    pub(super) fn emit(&mut self, each: Each<'_>) -> Result<ControlFlow<()>> {
        let flow = self.hand_on(each)?;
        self.reset();
        Ok(flow)
    }

    /// Hands the row on if it holds anything, and keeps it.
    pub(super) fn hand_on(&mut self, each: Each<'_>) -> Result<ControlFlow<()>> {
        self.record.clear();
        for (text, kind) in &self.cells[..self.used] {
            self.record.push(text, *kind);
        }
        if self.record.is_blank() { Ok(ControlFlow::Continue(())) } else { each(&self.record) }
    }

    /// Whether no cell was set.
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Begins the next row.
    pub(super) fn reset(&mut self) {
        for (text, kind) in &mut self.cells[..self.used] {
            text.clear();
            *kind = CellKind::Untyped;
        }
        self.used = 0;
    }

    fn cell(&mut self, file: &str, row: u64, column: usize) -> Result<&mut (String, CellKind)> {
        if column >= COLUMNS_MAX {
            return Err(ImportError::TooManyColumns { file: file.to_owned(), row });
        }
        if column >= self.cells.len() {
            self.cells.resize_with(column + 1, || (String::new(), CellKind::Untyped));
        }
        self.used = self.used.max(column + 1);
        let cell = &mut self.cells[column];
        cell.0.clear();
        Ok(cell)
    }
}

fn write(value: &DataRef<'_>, text: &mut String) -> CellKind {
    let mut show = |shown: &dyn Display| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{shown}");
    };
    match value {
        DataRef::Empty => CellKind::Untyped,
        DataRef::String(s) => {
            text.push_str(s);
            CellKind::Text
        }
        DataRef::SharedString(s) => {
            text.push_str(s);
            CellKind::Text
        }
        DataRef::Int(n) => {
            show(n);
            CellKind::Number
        }
        DataRef::Float(n) => {
            number(*n, text);
            CellKind::Number
        }
        DataRef::Bool(b) => {
            show(b);
            CellKind::Bool
        }
        DataRef::DateTime(at) => {
            date(*at, text);
            CellKind::Date
        }
        DataRef::DateTimeIso(iso) | DataRef::DurationIso(iso) => {
            text.push_str(iso_date(iso));
            CellKind::Date
        }
        DataRef::Error(e) => {
            show(e);
            CellKind::Error
        }
    }
}

/// A number in digits, never with an exponent.
pub(super) fn number(n: f64, text: &mut String) {
    // Writing to a string cannot fail.
    let _ = if n.fract() == 0.0 && n.abs() < EXACT_MAX { write!(text, "{}", n as i64) } else { write!(text, "{n}") };
}

/// A date, a time or both, whichever the number holds.
fn date(at: ExcelDateTime, text: &mut String) {
    let whole = at.as_f64();
    let Some(moment) = at.as_datetime().filter(|_| !at.is_duration()) else { return number(whole, text) };
    let seconds = |t: NaiveDateTime| t.format("%H:%M:%S").to_string();
    match (whole < 1.0, moment.time() == NaiveTime::MIN) {
        (true, _) => text.push_str(&seconds(moment)),
        (false, true) => text.push_str(&moment.format("%Y-%m-%d").to_string()),
        (false, false) => text.push_str(&moment.format("%Y-%m-%dT%H:%M:%S").to_string()),
    }
}

/// An ISO date without a time that says nothing.
pub(super) fn iso_date(iso: &str) -> &str {
    iso.split_once("T00:00:00").filter(|(_, rest)| rest.bytes().all(|c| c == b'.' || c == b'0')).map_or(iso, |(d, _)| d)
}

/// Runs a step of the workbook library, which may panic on a damaged file.
pub(super) fn shielded<T>(file: &str, step: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(step))
        .map_err(|_| ImportError::Damaged { file: file.to_owned(), what: "its parts do not fit together".to_owned() })
}

/// An error of the workbook library, for people.
pub(super) fn damaged<E: Display>(file: &str) -> impl Fn(E) -> ImportError {
    move |e| {
        let what = e.to_string();
        match what.contains("password") {
            true => ImportError::Encrypted(file.to_owned()),
            false => ImportError::Damaged { file: file.to_owned(), what },
        }
    }
}
