//! Recipients that are numbered once all of their part of a segment are known.

use crate::audience::push_recipient;
use crate::copy::Rows;

/// Where a recipient's number begins in its row: behind the count of fields, the workspace, and its own length.
const SEQ_AT: usize = 2 + 8 + 4;

/// Recipients of one wave, in the order in which they were met.
#[derive(Debug)]
pub struct Part {
    key: (i32, i64),
    rows: Rows,
    /// Where each row begins.
    begins: Vec<usize>,
}

impl Part {
    /// None yet, of this workspace and run.
    pub fn new(key: (i32, i64)) -> Self {
        Self { key, rows: Rows::further(), begins: Vec::new() }
    }

    /// How many recipients it has.
    pub fn len(&self) -> i32 {
        // A segment has 100,000 at most.
        self.begins.len() as i32
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.begins.is_empty()
    }

    /// Appends a recipient, as [`push_recipient`] does; says how many bytes it takes.
    pub fn push(&mut self, how: (i16, i16), whom: (&str, Option<&str>), params: Option<&str>) -> usize {
        let before = self.rows.bytes();
        self.begins.push(before);
        push_recipient(&mut self.rows, (self.key.0, self.key.1, 0), how, whom, params);
        self.rows.bytes() - before
    }

    /// The rows, numbered from `first` on.
    pub fn numbered(mut self, first: i32) -> Vec<u8> {
        let mut bytes = self.rows.take();
        for (seq, begin) in (first..).zip(&self.begins) {
            let at = begin + SEQ_AT;
            bytes[at..at + 4].copy_from_slice(&seq.to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Part;
    use crate::audience::push_recipient;
    use crate::copy::Rows;

    #[test]
    fn numbered_rows_are_those_that_would_have_been_written_with_their_numbers() {
        let (mut part, mut rows) = (Part::new((7, 9)), Rows::further());
        for (seq, address) in (40..).zip(["+213555", "+33", ""]) {
            push_recipient(&mut rows, (7, 9, seq), (2, 1), (address, Some("DZ")), Some("[\"Ali\"]"));
            part.push((2, 1), (address, Some("DZ")), Some("[\"Ali\"]"));
        }
        assert_eq!(part.len(), 3);
        assert_eq!(part.numbered(40), rows.take());
    }
}
