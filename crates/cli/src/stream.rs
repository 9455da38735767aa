//! Results of any size: written as they are read, in constant memory.

use std::io::{BufWriter, StdoutLock, Write as _};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

use crate::output::{ReaderGone, written};

/// Writes objects to standard output: one a line, or as an array inside one object.
pub struct Objects {
    out: BufWriter<StdoutLock<'static>>,
    lines: bool,
    first: bool,
}

impl Objects {
    /// One object a line.
    pub fn lines() -> Self {
        Self { out: BufWriter::new(std::io::stdout().lock()), lines: true, first: true }
    }

    /// One object: that of `head`, with the array `name` at its end.
    pub fn array(head: &Value, name: &str) -> anyhow::Result<Self> {
        let mut objects = Self { lines: false, ..Self::lines() };
        let head = serde_json::to_string(head)?;
        let open = head.strip_suffix('}').context("the head of an array is an object")?;
        let comma = if open == "{" { "" } else { "," };
        written(write!(objects.out, "{open}{comma}{}:[", Value::from(name)))?;
        Ok(objects)
    }

    pub fn put(&mut self, object: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(object)?;
        let (before, after) = match (self.lines, self.first) {
            (true, _) => ("", "\n"),
            (false, true) => ("", ""),
            (false, false) => (",", ""),
        };
        self.first = false;
        written(write!(self.out, "{before}{text}{after}"))
    }

    pub fn end(mut self) -> anyhow::Result<()> {
        if !self.lines {
            written(writeln!(self.out, "]}}"))?;
        }
        written(self.out.flush())
    }
}

/// What a failed write of a CSV record means.
pub fn csv_failed(e: csv::Error) -> anyhow::Error {
    match e.kind() {
        csv::ErrorKind::Io(io) if io.kind() == std::io::ErrorKind::BrokenPipe => ReaderGone.into(),
        _ => e.into(),
    }
}
