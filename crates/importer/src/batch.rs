//! Rows gathered for one transaction.

use std::collections::BTreeMap;

use fanfare_domain::limits::{IMPORT_BATCH_BYTES_MAX, IMPORT_BATCH_ROWS};
use fanfare_store::contacts::{NewContact, OnDuplicate};
use fanfare_store::load::{Batch, Row};
use serde_json::value::RawValue;

use crate::seen::Seen;

/// What a row takes beside its texts.
const ROW_BYTES: usize = 200;

/// Gathers rows.
pub(crate) struct Batcher {
    policy: OnDuplicate,
    origin: String,
    source: String,
    seen: Seen,
    at: i64,
    rows: Vec<Row>,
    bytes: usize,
    read: i64,
    rejected: i64,
}

impl Batcher {
    pub(crate) fn new(policy: OnDuplicate, origin: &str) -> Self {
        let (seen, rows) = (Seen::new(), Vec::new());
        let source = origin.rsplit('/').next().unwrap_or(origin).to_owned();
        Self { policy, origin: origin.to_owned(), source, seen, at: 0, rows, bytes: 0, read: 0, rejected: 0 }
    }

    /// A row that an earlier run of this import has dealt with.
    pub(crate) fn skip(&mut self, row: Option<&Row>) {
        if let Some(row) = row {
            self.seen.insert(&row.contact.address);
        }
        self.at += 1;
    }

    pub(crate) fn accept(&mut self, row: Row) {
        let c = &row.contact;
        let texts = [Some(&c.address), c.email.as_ref(), c.name.as_ref(), c.attributes.as_ref()];
        self.bytes += ROW_BYTES + texts.into_iter().flatten().map(String::len).sum::<usize>();
        self.rows.push(row);
        self.read += 1;
    }

    pub(crate) fn reject(&mut self) {
        self.read += 1;
        self.rejected += 1;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.read as usize >= IMPORT_BATCH_ROWS || self.bytes >= IMPORT_BATCH_BYTES_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.read == 0
    }

    /// The batch gathered so far, and a new one begun.
    pub(crate) fn take(&mut self) -> Batch {
        let mut batch =
            Batch { at: self.at, origin: self.origin.clone(), source: self.source.clone(), ..Batch::default() };
        let mut rows = std::mem::replace(&mut self.rows, Vec::with_capacity(IMPORT_BATCH_ROWS));
        rows.sort_unstable_by(|a, b| {
            (&a.contact.address, a.contact.row_no).cmp(&(&b.contact.address, b.contact.row_no))
        });
        for row in rows {
            let last = batch.last_first();
            if last.is_some_and(|address| *address == row.contact.address) {
                self.repeat(&mut batch, row);
            } else if self.seen.insert(&row.contact.address) {
                batch.met.push(row);
            } else {
                batch.fresh.push(row);
            }
        }
        batch.counts.rows = self.read;
        batch.counts.rejected = self.rejected;
        batch.counts.duplicates = batch.repeated.len() as i64;
        self.at += self.read;
        (self.bytes, self.read, self.rejected) = (0, 0, 0);
        batch
    }

    /// A later row of an address: by policy it comes to nothing, replaces what was before, or fills gaps.
    fn repeat(&self, batch: &mut Batch, row: Row) {
        let earlier = batch.repeats.last_mut().filter(|last| last.address == row.contact.address);
        match (self.policy, earlier) {
            (OnDuplicate::Skip, _) => {}
            (OnDuplicate::Overwrite, Some(last)) => *last = row.contact.clone(),
            (OnDuplicate::Merge, Some(last)) => fill_gaps(last, &row.contact),
            (_, None) => batch.repeats.push(row.contact.clone()),
        }
        batch.repeated.push(row);
    }
}

/// The address of the last first row of a batch in the making.
trait LastFirst {
    fn last_first(&self) -> Option<&String>;
}

impl LastFirst for Batch {
    fn last_first(&self) -> Option<&String> {
        let last = [self.fresh.last(), self.met.last()].into_iter().flatten();
        last.map(|row| &row.contact.address).max()
    }
}

/// Adds to a contact what only a later row of the file says.
fn fill_gaps(into: &mut NewContact, from: &NewContact) {
    into.row_no = from.row_no;
    into.email = into.email.take().or_else(|| from.email.clone());
    into.name = into.name.take().or_else(|| from.name.clone());
    into.country = into.country.or(from.country);
    into.language = into.language.take().or_else(|| from.language.clone());
    if let Some(from) = &from.extra {
        let extra = into.extra.get_or_insert_default();
        extra.tags.extend(from.tags.iter().cloned());
        extra.tags.sort_unstable();
        extra.tags.dedup();
        extra.consent = extra.consent.max(from.consent);
        extra.source = extra.source.take().or_else(|| from.source.clone());
    }
    into.attributes = match (into.attributes.take(), &from.attributes) {
        (Some(first), Some(second)) => Some(joined(&first, second)),
        (first, second) => first.or_else(|| second.clone()),
    };
}

/// Two JSON objects in one; the first wins. Values keep their spelling.
fn joined(first: &str, second: &str) -> String {
    type Object<'a> = BTreeMap<String, &'a RawValue>;
    let read = |json| serde_json::from_str::<Object<'_>>(json);
    let (Ok(first_object), Ok(mut all)) = (read(first), read(second)) else { return first.to_owned() };
    all.extend(first_object);
    serde_json::to_string(&all).unwrap_or_else(|_| first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(row_no: i32, address: &str, name: Option<&str>, attributes: Option<&str>) -> Row {
        let contact = NewContact {
            row_no,
            address: address.to_owned(),
            name: name.map(str::to_owned),
            attributes: attributes.map(str::to_owned),
            ..NewContact::default()
        };
        Row { contact, opted_out: false }
    }

    fn batch(policy: OnDuplicate, rows: &[Row]) -> Batch {
        let mut batcher = Batcher::new(policy, "f");
        rows.iter().for_each(|row| batcher.accept(row.clone()));
        batcher.take()
    }

    #[test]
    fn repeats_of_a_batch_are_folded_by_policy() {
        let rows = [
            row(1, "+2", Some("A"), None),
            row(2, "+1", None, None),
            row(3, "+2", None, Some(r#"{"a":1.50}"#)),
            row(4, "+2", Some("B"), Some(r#"{"a":2,"b":3}"#)),
        ];
        for policy in [OnDuplicate::Skip, OnDuplicate::Overwrite, OnDuplicate::Merge] {
            let batch = batch(policy, &rows);
            let fresh: Vec<i32> = batch.fresh.iter().map(|row| row.contact.row_no).collect();
            assert_eq!(fresh, [2, 1]);
            assert_eq!((batch.counts.rows, batch.counts.duplicates, batch.repeated.len()), (4, 2, 2));
            let expect = match policy {
                OnDuplicate::Skip => vec![],
                OnDuplicate::Overwrite => vec![rows[3].contact.clone()],
                OnDuplicate::Merge => vec![row(4, "+2", Some("B"), Some(r#"{"a":1.50,"b":3}"#)).contact],
            };
            assert_eq!(batch.repeats, expect);
        }
    }

    #[test]
    fn later_batches_know_what_was_met() {
        let mut batcher = Batcher::new(OnDuplicate::Skip, "f");
        batcher.skip(Some(&row(1, "+1", None, None)));
        batcher.skip(None);
        batcher.accept(row(3, "+1", None, None));
        batcher.accept(row(4, "+2", None, None));
        batcher.reject();
        let first = batcher.take();
        assert_eq!((first.at, first.counts.rows, first.counts.rejected), (2, 3, 1));
        assert_eq!((first.met.len(), first.fresh.len()), (1, 1));
        assert!(batcher.is_empty());
        batcher.accept(row(6, "+2", None, None));
        let second = batcher.take();
        assert_eq!((second.at, second.met.len(), second.fresh.len()), (5, 1, 0));
    }
}
