//! What the provider has accepted: the part of a real one that would be its database.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
}

/// The id given to the acceptance with this index.
pub(crate) fn provider_id(index: usize) -> String {
    format!("sim-{}", index + 1)
}

impl Default for Ledger {
    fn default() -> Self {
        let first = HashMap::with_capacity(ROOM_FOR);
        Self { entries: Vec::new(), addresses: String::new(), first, accepted_twice: 0 }
    }
}

impl Ledger {
    /// The acceptance of this message through this account, if it was the message's first.
    pub fn find(&self, id: Uuid, account: u32) -> Option<usize> {
        self.first.get(&id).copied().filter(|index| self.entries[*index].account == account)
    }

    /// Accepts a message, again if need be; its index.
    pub fn accept(&mut self, id: Uuid, to: &str, account: u32, at_us: i64) -> usize {
        let index = self.entries.len();
        self.addresses.push_str(to);
        self.entries.push(Entry { id, at_us, address_end: self.addresses.len(), account, again: false });
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

    /// The acceptances from index `after` on.
    pub fn page(&self, after: usize) -> Page {
        let from = after.min(self.entries.len());
        let next = (from + PAGE_MAX).min(self.entries.len());
        let mut start = if from == 0 { 0 } else { self.entries[from - 1].address_end };
        let mut accepted = Vec::with_capacity(next - from);
        for (index, entry) in self.entries.iter().enumerate().take(next).skip(from) {
            let to = self.addresses[start..entry.address_end].to_owned();
            accepted.push(Acceptance { id: entry.id, to, provider_id: provider_id(index), at_us: entry.at_us });
            start = entry.address_end;
        }
        Page { accepted, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acceptances_are_kept_in_order_and_repeats_are_counted_once_per_message() {
        let mut ledger = Ledger::default();
        let [a, b] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        for (id, to) in [(a, "+1"), (b, "+22"), (a, "+1"), (a, "+1")] {
            ledger.accept(id, to, 0, 9);
        }
        assert_eq!((ledger.accepted(), ledger.messages(), ledger.accepted_twice()), (4, 2, 1));
        assert_eq!((ledger.find(a, 0), ledger.find(b, 0), ledger.find(a, 1)), (Some(0), Some(1), None));
        let page = ledger.page(1);
        let seen: Vec<_> = page.accepted.iter().map(|a| (a.to.as_str(), a.provider_id.as_str())).collect();
        assert_eq!(seen, [("+22", "sim-2"), ("+1", "sim-3"), ("+1", "sim-4")]);
        assert_eq!((page.next, ledger.page(99).next), (4, 4));
    }
}
