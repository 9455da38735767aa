//! What the provider has accepted: the part of a real one that would be its database.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::dialect::{Dialect, Listed, Message};

/// Most acceptances in one page.
pub const PAGE_MAX: usize = 10_000;

/// Messages for which there is room from the start (in address space; memory is taken as they come). To
/// make room later takes tens of ms, in which requests pile up unread, and then seem to have come at once.
const ROOM_FOR: usize = 900_000;

/// Every acceptance in order. About 100 bytes each.
#[derive(Debug)]
pub(crate) struct Ledger {
    entries: Vec<Entry>,
    /// The addresses of all entries, one after the other.
    addresses: String,
    /// The first entry of each message id.
    first: HashMap<Uuid, usize>,
    /// Of an interface that lists messages: the texts of all entries, and the entries of each address.
    texts: Vec<String>,
    by_address: HashMap<String, Vec<usize>>,
    accepted_twice: u64,
}

#[derive(Debug)]
struct Entry {
    id: Uuid,
    at_us: i64,
    /// Where its address ends; it begins where that of the entry before ends.
    address_end: usize,
    account: u32,
    /// On the first entry of an id: another one followed.
    again: bool,
    free_form: bool,
}

/// A page of acceptances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// In the order in which they were accepted.
    pub accepted: Vec<Acceptance>,
    /// What to ask for after this page: `GET /accepted?after={next}`.
    pub next: usize,
}

/// A message accepted, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// The message's id.
    pub id: Uuid,
    /// Its address.
    pub to: String,
    /// The id given to it.
    pub provider_id: String,
    /// When the request arrived, µs since the Unix epoch.
    pub at_us: i64,
    /// Whether it may be said only to those who wrote within a day.
    #[serde(default)]
    pub free_form: bool,
}

impl Default for Ledger {
    fn default() -> Self {
        let first = HashMap::with_capacity(ROOM_FOR);
        Self {
            entries: Vec::new(),
            addresses: String::new(),
            first,
            texts: Vec::new(),
            by_address: HashMap::new(),
            accepted_twice: 0,
        }
    }
}

impl Ledger {
    /// The acceptance of this message through this account, if it was the message's first.
    pub fn find(&self, id: Uuid, account: u32) -> Option<usize> {
        self.first.get(&id).copied().filter(|index| self.entries[*index].account == account)
    }

    /// Accepts a message, again if need be; its index.
    pub fn accept(&mut self, message: &Message<'_>, account: u32, at_us: i64) -> usize {
        let (id, index) = (message.id, self.entries.len());
        self.addresses.push_str(&message.to);
        if let Some(text) = &message.text {
            self.texts.push(text.clone());
            self.by_address.entry(message.to.clone().into_owned()).or_default().push(index);
        }
        let (address_end, free_form) = (self.addresses.len(), message.free_form);
        self.entries.push(Entry { id, at_us, address_end, account, again: false, free_form });
        let first = *self.first.entry(id).or_insert(index);
        if first != index && !self.entries[first].again {
            self.entries[first].again = true;
            self.accepted_twice += 1;
        }
        index
    }

    /// Acceptances.
    pub fn accepted(&self) -> usize {
        self.entries.len()
    }

    /// Messages accepted, each counted once.
    pub fn messages(&self) -> usize {
        self.first.len()
    }

    /// Messages accepted more than once.
    pub fn accepted_twice(&self) -> u64 {
        self.accepted_twice
    }

    /// The acceptances for an address.
    pub fn to(&self, to: &str) -> Vec<usize> {
        self.by_address.get(to).cloned().unwrap_or_default()
    }

    /// An acceptance as a list shows it.
    pub fn listed(&self, index: usize, dialect: &dyn Dialect) -> Listed {
        let entry = &self.entries[index];
        let start = index.checked_sub(1).map_or(0, |before| self.entries[before].address_end);
        Listed {
            id: entry.id,
            provider_id: dialect.provider_id(index),
            to: self.addresses[start..entry.address_end].to_owned(),
            text: self.texts.get(index).cloned().unwrap_or_default(),
            at_us: entry.at_us,
            late: false,
        }
    }

    /// The acceptances from index `after` on.
    pub fn page(&self, after: usize, dialect: &dyn Dialect) -> Page {
        let from = after.min(self.entries.len());
        let next = (from + PAGE_MAX).min(self.entries.len());
        let mut start = if from == 0 { 0 } else { self.entries[from - 1].address_end };
        let mut accepted = Vec::with_capacity(next - from);
        for (index, entry) in self.entries.iter().enumerate().take(next).skip(from) {
            let to = self.addresses[start..entry.address_end].to_owned();
            let Entry { id, at_us, free_form, .. } = *entry;
            accepted.push(Acceptance { id, to, provider_id: dialect.provider_id(index), at_us, free_form });
            start = entry.address_end;
        }
        Page { accepted, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Kind;

    #[test]
    fn acceptances_are_kept_in_order_and_repeats_are_counted_once_per_message() {
        let mut ledger = Ledger::default();
        let [a, b] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        for (id, to) in [(a, "+1"), (b, "+22"), (a, "+1"), (a, "+1")] {
            ledger.accept(
                &Message { id, to: to.into(), text: Some(format!("for {to}")), reference: None, free_form: false },
                0,
                9,
            );
        }
        assert_eq!((ledger.accepted(), ledger.messages(), ledger.accepted_twice()), (4, 2, 1));
        assert_eq!((ledger.find(a, 0), ledger.find(b, 0), ledger.find(a, 1)), (Some(0), Some(1), None));
        let dialect = Kind::Http.dialect();
        assert_eq!(ledger.to("+1"), [0, 2, 3]);
        let listed = ledger.listed(1, dialect);
        assert_eq!((listed.to.as_str(), listed.text.as_str()), ("+22", "for +22"));
        let page = ledger.page(1, dialect);
        let seen: Vec<_> = page.accepted.iter().map(|a| (a.to.as_str(), a.provider_id.as_str())).collect();
        assert_eq!(seen, [("+22", "sim-2"), ("+1", "sim-3"), ("+1", "sim-4")]);
        assert_eq!((page.next, ledger.page(99, dialect).next), (4, 4));
    }
}
