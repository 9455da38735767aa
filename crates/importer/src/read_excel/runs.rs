//! The longest stretches of a workbook's parts. A library that streams XML still holds one text, one tag or
//! one cell at a time: here is seen that none of them is large.

use fanfare_domain::limits::ROW_BYTES_MAX;

/// Longest name of a tag that matters here.
const NAME_BYTES_MAX: usize = 32;
const CELL_BYTES_SHOWN: usize = 48;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    Name,
    Tag,
    /// Inside `<!…>`: a comment, CDATA or a declaration; by the byte that follows `<!`.
    Bang(Option<u8>),
}

/// Follows the tags of an XML part.
#[derive(Debug)]
pub(super) struct XmlRuns {
    state: State,
    name: Vec<u8>,
    /// Attributes of the last cell, to name it.
    cell: Vec<u8>,
    in_cell_tag: bool,
    in_sheet: bool,
    since_tag: usize,
    since_cell: usize,
    last: [u8; 2],
}

impl XmlRuns {
    pub(super) fn new() -> Self {
        Self {
            state: State::Text,
            name: Vec::with_capacity(NAME_BYTES_MAX),
            cell: Vec::with_capacity(CELL_BYTES_SHOWN),
            in_cell_tag: false,
            in_sheet: false,
            since_tag: 0,
            since_cell: 0,
            last: [0; 2],
        }
    }

    /// Goes over the next bytes; an error names the cell in which something is too long.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        for &c in bytes {
            self.since_tag += 1;
            self.since_cell += 1;
            match self.state {
                State::Bang(kind) => self.bang(kind, c),
                _ if c == b'<' => {
                    self.since_tag = 0;
                    self.name.clear();
                    self.in_cell_tag = false;
                    self.state = State::Name;
                }
                State::Name => self.name(c),
                State::Tag => self.tag(c),
                State::Text => {}
            }
            self.last = [self.last[1], c];
        }
        // One step of a reader is far shorter than the limit, so looking once for each is enough.
        let long = self.since_tag > ROW_BYTES_MAX || (self.in_sheet && self.since_cell > 2 * ROW_BYTES_MAX);
        if long { Err(self.cell_name()) } else { Ok(()) }
    }

    fn name(&mut self, c: u8) {
        if c == b'!' && self.name.is_empty() {
            self.state = State::Bang(None);
        } else if matches!(c, b'>' | b' ' | b'\t' | b'\n' | b'\r') || (c == b'/' && !self.name.is_empty()) {
            self.begin_tag();
            self.state = if c == b'>' { State::Text } else { State::Tag };
        } else if self.name.len() < NAME_BYTES_MAX {
            self.name.push(c);
        }
    }

    fn begin_tag(&mut self) {
        let end = self.name.first() == Some(&b'/');
        let local = self.name.rsplit(|c| *c == b':').next().unwrap_or_default();
        let local = local.strip_prefix(b"/").unwrap_or(local);
        match local {
            b"sheetData" | b"spreadsheet" => {
                self.in_sheet = !end;
                self.since_cell = 0;
            }
            b"c" | b"row" | b"table-cell" | b"covered-table-cell" | b"table-row" => {
                self.since_cell = 0;
                if !end {
                    self.cell.clear();
                    self.in_cell_tag = true;
                }
            }
            _ => {}
        }
    }

    fn tag(&mut self, c: u8) {
        if c == b'>' {
            self.state = State::Text;
            self.in_cell_tag = false;
        } else if self.in_cell_tag && self.cell.len() < CELL_BYTES_SHOWN {
            self.cell.push(c);
        }
    }

    fn bang(&mut self, kind: Option<u8>, c: u8) {
        let Some(kind) = kind else {
            self.state = State::Bang(Some(c));
            return;
        };
        let closed = match kind {
            b'-' => self.last == *b"--",
            b'[' => self.last == *b"]]",
            _ => true,
        };
        if c == b'>' && closed {
            self.state = State::Text;
        }
    }

    /// `r="B7"` → `B7`.
    fn cell_name(&self) -> String {
        let attributes = String::from_utf8_lossy(&self.cell);
        let named = attributes.split_ascii_whitespace().find_map(|a| a.strip_prefix("r=\"")?.split('"').next());
        named.unwrap_or("?").to_owned()
    }
}

/// Records of cells without a column, which is that of the cell before and one more (MS-XLSB §2.4.824 and
/// its neighbours). Few programs write them, and the workbook library passes over them without a word.
const SHORT_CELLS: std::ops::RangeInclusive<u8> = 0x0c..=0x12;

/// What is wrong with a part of an XLSB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadRecord {
    /// It is too long.
    Long,
    /// It would be lost.
    ShortCell,
}

/// Follows the records of an XLSB part (MS-XLSB §2.1.4).
#[derive(Debug, Default)]
pub(super) struct BinaryRuns {
    header: Vec<u8>,
    skip: usize,
}

impl BinaryRuns {
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), BadRecord> {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let Some((&c, rest)) = bytes.split_first() else { break };
            self.header.push(c);
            bytes = rest;
            if let Some(len) = record_len(&self.header) {
                if SHORT_CELLS.contains(&self.header[0]) {
                    return Err(BadRecord::ShortCell);
                }
                if len > ROW_BYTES_MAX {
                    return Err(BadRecord::Long);
                }
                self.header.clear();
                self.skip = len;
            }
        }
        Ok(())
    }
}

/// The length of a record, once its header is complete: a type of one or two bytes, then a length of up to
/// four, seven bits in each.
fn record_len(header: &[u8]) -> Option<usize> {
    let (kind, rest) = header.split_first()?;
    let rest = if kind & 0x80 == 0 { rest } else { rest.split_first()?.1 };
    let last = rest.last()?;
    let complete = last & 0x80 == 0 || rest.len() == 4;
    complete.then(|| rest.iter().rev().fold(0, |len, c| (len << 7) | usize::from(c & 0x7f)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xml(text: &str) -> Result<(), String> {
        let mut runs = XmlRuns::new();
        text.as_bytes().chunks(1000).try_for_each(|chunk| runs.feed(chunk))
    }

    #[test]
    fn long_texts_cells_and_comments_are_found() {
        let long = "x".repeat(ROW_BYTES_MAX + 2000);
        let cell = |inner: &str| {
            format!("<worksheet><sheetData><row r=\"1\"><c r=\"B7\" t=\"s\">{inner}</c></row></sheetData>")
        };
        assert_eq!(xml(&cell("<v>1</v>").repeat(50_000)), Ok(()));
        assert_eq!(xml(&cell(&format!("<v>{long}</v>"))), Err("B7".to_owned()));
        assert_eq!(xml(&cell(&"<r><t>abc</t></r>".repeat(150_000))), Err("B7".to_owned()));
        assert_eq!(xml(&cell(&format!("<!--{}-->", "<b>".repeat(400_000)))), Err("B7".to_owned()));
        assert_eq!(xml(&cell(&format!("<![CDATA[{}]]>", "<b>".repeat(400_000)))), Err("B7".to_owned()));
        assert_eq!(xml(&cell("<!-- > --><![CDATA[ > ]]>").repeat(50_000)), Ok(()));
        // After the cells, long lists of something else are none of our business.
        assert_eq!(xml(&format!("{}{}", cell(""), "<mergeCell ref=\"A1:B2\"/>".repeat(150_000))), Ok(()));
    }

    #[test]
    fn long_binary_records_are_found() {
        let mut runs = BinaryRuns::default();
        // Type 0x85 0x01 with 3 bytes, type 5 with 130 bytes.
        let good = [&[0x85, 0x01, 3, 1, 2, 3, 5, 0x82, 0x01][..], &[0; 130]].concat().repeat(3);
        assert_eq!(good.chunks(7).try_for_each(|chunk| runs.feed(chunk)), Ok(()));
        assert_eq!(runs.feed(&[5, 0xff, 0xff, 0xff, 0x7f]), Err(BadRecord::Long));
        assert_eq!(BinaryRuns::default().feed(&[0x0d, 8, 0]), Err(BadRecord::ShortCell));
    }
}
