//! A row as read, whatever it was read from.

use csv::ByteRecord;

/// What a cell is said to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CellKind {
    /// Text that may mean anything: a cell of a CSV.
    Untyped,
    /// Text, and meant so.
    Text,
    /// A number, in digits.
    Number,
    /// `true` or `false`.
    Bool,
    /// A date or time, in ISO 8601.
    Date,
    /// A formula's error: no value.
    Error,
}

/// A row.
#[derive(Debug, Default, Clone)]
pub(crate) struct Record {
    /// The cells.
    pub(crate) fields: ByteRecord,
    /// Their kinds; without any, all are untyped.
    kinds: Vec<CellKind>,
}

impl Record {
    /// A row of a CSV.
    #[cfg(test)]
    pub(crate) fn untyped(fields: ByteRecord) -> Self {
        Self { fields, kinds: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// How many cells there are, without empty ones at the end.
    pub(crate) fn filled(&self) -> usize {
        (0..self.len()).rfind(|i| !self.cell(*i).trim_ascii().is_empty()).map_or(0, |last| last + 1)
    }

    pub(crate) fn clear(&mut self) {
        self.fields.clear();
        self.kinds.clear();
    }

    /// Adds a cell of a known kind.
    pub(crate) fn push(&mut self, cell: &str, kind: CellKind) {
        self.fields.push_field(cell.as_bytes());
        self.kinds.push(kind);
    }

    /// The bytes of a cell; one that is not there is empty.
    pub(crate) fn cell(&self, column: usize) -> &[u8] {
        self.fields.get(column).unwrap_or_default()
    }

    pub(crate) fn kind(&self, column: usize) -> CellKind {
        self.kinds.get(column).copied().unwrap_or(CellKind::Untyped)
    }

    /// The cell as text; what is not UTF-8 shows as such.
    pub(crate) fn lossy(&self, column: usize) -> String {
        String::from_utf8_lossy(self.cell(column)).into_owned()
    }

    pub(crate) fn is_blank(&self) -> bool {
        self.fields.iter().all(|cell| cell.trim_ascii().is_empty())
    }
}
