//! Sheets of an OpenDocument spreadsheet (ODF 1.3 part 3, §9), streamed: the workbook library reads them
//! whole, and lets a few bytes repeat a cell a hundred million times.

use std::io::{BufReader, Read};
use std::ops::ControlFlow;

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, Event};
use zip::ZipArchive;

use super::Each;
use super::cells::{RowBuilder, damaged, iso_date, number};
use crate::error::Result;
use crate::input::Raw;
use crate::record::CellKind;

/// Most blanks that one element stands for.
const BLANKS_MAX: usize = 1_000;

/// Names of the sheets, in order.
pub(super) fn sheets(file: &str, content: Raw) -> Result<Vec<String>> {
    let mut names = Vec::new();
    each_event(file, content, &mut |event| {
        if let Event::Start(tag) = event
            && tag.name().as_ref() == "table:table"
            && let Some(name) = attribute(tag, "table:name")
        {
            names.push(name);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(names)
}

/// Calls `each` with the rows of a sheet that hold anything.
pub(super) fn rows(file: &str, content: Raw, sheet: &str, each: Each<'_>) -> Result<()> {
    let mut reader = SheetReader {
        file,
        sheet,
        each,
        inside: 0,
        row: RowBuilder::default(),
        line: 0,
        rows_repeat: 1,
        column: 0,
        cell: None,
        skipping: None,
    };
    each_event(file, content, &mut |event| reader.event(event))
}

/// A cell that is being read.
struct Cell {
    repeat: usize,
    kind: CellKind,
    /// From the cell's attributes; else its paragraphs are its text.
    value: Option<String>,
    text: String,
    paragraphs: usize,
}

struct SheetReader<'a, 'b> {
    file: &'a str,
    sheet: &'a str,
    each: Each<'b>,
    /// Depth of tables, counting from the one that is read.
    inside: usize,
    row: RowBuilder,
    line: u64,
    rows_repeat: u64,
    column: usize,
    cell: Option<Cell>,
    /// Inside an annotation, whose paragraphs are not the cell's.
    skipping: Option<usize>,
}

impl SheetReader<'_, '_> {
    fn event(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>> {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => return self.end(tag.name().as_ref()),
            Event::Text(text) => self.text(&text.xml10_content()),
            Event::CData(text) => self.text(&text.xml10_content()),
            Event::GeneralRef(entity) => match (resolve_xml_entity(entity), entity.resolve_char_ref()) {
                (Some(text), _) => self.text(text),
                (None, Ok(Some(c))) => self.text(c.encode_utf8(&mut [0; 4])),
                _ => {}
            },
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn start(&mut self, tag: &BytesStart<'_>) {
        let name = tag.name();
        if let Some(depth) = &mut self.skipping {
            *depth += 1;
            return;
        }
        match name.as_ref() {
            "table:table" if self.inside > 0 => self.inside += 1,
            "table:table" => self.inside = usize::from(attribute(tag, "table:name").as_deref() == Some(self.sheet)),
            _ if self.inside != 1 => {}
            "table:table-row" => {
                self.rows_repeat = repeat(tag, "table:number-rows-repeated") as u64;
                self.column = 0;
            }
            "table:table-cell" | "table:covered-table-cell" => self.cell = Some(Cell::new(tag)),
            "office:annotation" => self.skipping = Some(1),
            "text:p" => {
                if let Some(cell) = &mut self.cell {
                    cell.paragraphs += 1;
                    if cell.paragraphs > 1 {
                        cell.text.push('\n');
                    }
                }
            }
            "text:s" => {
                let blanks = repeat(tag, "text:c").min(BLANKS_MAX);
                self.text(&" ".repeat(blanks));
            }
            "text:tab" => self.text("\t"),
            "text:line-break" => self.text("\n"),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) -> Result<ControlFlow<()>> {
        if let Some(depth) = &mut self.skipping {
            *depth -= 1;
            if *depth == 0 {
                self.skipping = None;
            }
            return Ok(ControlFlow::Continue(()));
        }
        match name {
            "table:table" if self.inside > 0 => {
                self.inside -= 1;
                if self.inside == 0 {
                    return Ok(ControlFlow::Break(()));
                }
            }
            _ if self.inside != 1 => {}
            "table:table-cell" | "table:covered-table-cell" => self.end_cell()?,
            "table:table-row" => return self.end_row(),
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn end_cell(&mut self) -> Result<()> {
        let Some(cell) = self.cell.take() else { return Ok(()) };
        let text = cell.value.unwrap_or(cell.text);
        // Empty cells repeat to the last column of the sheet.
        if !text.is_empty() {
            for column in self.column..self.column.saturating_add(cell.repeat) {
                self.row.set_text(self.file, self.line + 1, column, &text, cell.kind)?;
            }
        }
        self.column = self.column.saturating_add(cell.repeat);
        Ok(())
    }

    fn end_row(&mut self) -> Result<ControlFlow<()>> {
        self.line = self.line.saturating_add(self.rows_repeat);
        // Empty rows repeat to the last row of the sheet.
        if !self.row.is_empty() {
            for _ in 0..self.rows_repeat {
                if self.row.hand_on(self.each)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        self.row.reset();
        Ok(ControlFlow::Continue(()))
    }

    fn text(&mut self, text: &str) {
        if self.skipping.is_none()
            && let Some(cell) = &mut self.cell
            && cell.paragraphs > 0
        {
            cell.text.push_str(text);
        }
    }
}

impl Cell {
    fn new(tag: &BytesStart<'_>) -> Self {
        let value = |name| attribute(tag, name);
        let (kind, value) = match value("office:value-type").as_deref() {
            // So LibreOffice writes what was a truth value in a workbook of Excel.
            Some("float") if value("table:formula").is_some_and(|f| matches!(&*f, "of:=TRUE()" | "of:=FALSE()")) => {
                (CellKind::Bool, value("office:value").map(|n| (n != "0").to_string()))
            }
            Some("float" | "percentage" | "currency") => (
                CellKind::Number,
                value("office:value").map(|n| match n.parse::<f64>() {
                    Ok(n) => {
                        let mut digits = String::new();
                        number(n, &mut digits);
                        digits
                    }
                    Err(_) => n,
                }),
            ),
            Some("date") => (CellKind::Date, value("office:date-value").map(|iso| iso_date(&iso).to_owned())),
            Some("time") => (CellKind::Date, None),
            Some("boolean") => (CellKind::Bool, value("office:boolean-value").map(|b| b.to_lowercase())),
            _ => (CellKind::Text, value("office:string-value").filter(|s| !s.is_empty())),
        };
        let kind =
            if attribute(tag, "calcext:value-type").as_deref() == Some("error") { CellKind::Error } else { kind };
        let repeat = repeat(tag, "table:number-columns-repeated");
        Self { repeat, kind, value, text: String::new(), paragraphs: 0 }
    }
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = tag.attributes().with_checks(false).flatten().find(|a| a.key.as_ref() == name)?;
    Some(quick_xml::escape::unescape(&found.value).map_or_else(|_| found.value.to_string(), |v| v.into_owned()))
}

fn repeat(tag: &BytesStart<'_>, name: &str) -> usize {
    attribute(tag, name).and_then(|n| n.parse().ok()).unwrap_or(1)
}

fn each_event(file: &str, content: Raw, each: &mut dyn FnMut(&Event<'_>) -> Result<ControlFlow<()>>) -> Result<()> {
    let mut archive = ZipArchive::new(BufReader::new(content)).map_err(damaged(file))?;
    let part = archive.by_name("content.xml").map_err(damaged(file))?;
    let mut reader = Reader::from_reader(BufReader::with_capacity(64 * 1024, part.take(u64::MAX)));
    reader.config_mut().expand_empty_elements = true;
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let event = reader.read_event_into(&mut buffer).map_err(damaged(file))?;
        if matches!(event, Event::Eof) || each(&event)?.is_break() {
            return Ok(());
        }
    }
}
