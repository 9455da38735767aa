//! First parts: how many a campaign goes to first, and when the rest follows.

use std::collections::BinaryHeap;

use fanfare_domain::split::{self, Purpose};
use fanfare_store::first_part::FirstPart;

/// One past the last point.
const POINTS: i64 = 1 << 32;

/// Finds who goes first, by their points: as many as were asked for, whoever they are.
#[derive(Debug)]
pub struct First {
    campaign_id: i64,
    share: Share,
    recipients: i64,
}

#[derive(Debug)]
enum Share {
    /// Those below a point, and how many there are.
    Below(i64, i64),
    /// So many; the smallest points met so far.
    Smallest(usize, BinaryHeap<u32>),
}

impl First {
    /// Of a campaign with this first part.
    pub fn new(campaign_id: i64, part: FirstPart) -> Self {
        let share = match (part.ppm, part.messages) {
            (Some(ppm), _) => Share::Below((POINTS * i64::from(ppm) + 999_999) / 1_000_000, 0),
            (None, messages) => {
                // Checked to be above 0 where it is stored.
                Share::Smallest(messages.unwrap_or(1).max(1).unsigned_abs() as usize, BinaryHeap::new())
            }
        };
        Self { campaign_id, share, recipients: 0 }
    }

    /// Counts a recipient.
    pub fn add(&mut self, address: &str) {
        self.recipients += 1;
        let point = split::point(self.campaign_id, Purpose::Part, address);
        match &mut self.share {
            Share::Below(end, within) => *within += i64::from(i64::from(point) < *end),
            Share::Smallest(wanted, smallest) => {
                smallest.push(point);
                if smallest.len() > *wanted {
                    smallest.pop();
                }
            }
        }
    }

    /// How many go first.
    pub fn messages(&self) -> i64 {
        match &self.share {
            Share::Below(_, within) => *within,
            Share::Smallest(_, smallest) => smallest.len() as i64,
        }
    }

    /// The points of the first part: from 0 to below this.
    pub fn end(&self) -> i64 {
        match &self.share {
            Share::Below(end, _) => *end,
            // Everybody, if there are no more than were asked for.
            Share::Smallest(wanted, smallest) => match smallest.peek() {
                Some(last) if self.recipients > *wanted as i64 => i64::from(*last) + 1,
                _ => POINTS,
            },
        }
    }

    /// The points of the first part that can be told without a look at the recipients, if they can.
    pub fn end_of_share(part: FirstPart) -> Option<i64> {
        part.ppm.map(|_| Self::new(0, part).end())
    }

    /// The points of the rest.
    pub fn rest(end: i64) -> (i64, i64) {
        (end, POINTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_go_first_or_such_a_part_of_them() {
        let addresses: Vec<String> = (0..5_000).map(|i| format!("+21355{i:07}")).collect();
        let count = |end: i64| {
            let point = |a: &String| i64::from(split::point(9, Purpose::Part, a));
            addresses.iter().filter(|a| point(a) < end).count()
        };
        for (part, expected) in [
            (FirstPart::new(None, Some(100)), 100..=100),
            (FirstPart::new(None, Some(5_000)), 5_000..=5_000),
            (FirstPart::new(None, Some(9_000)), 5_000..=5_000),
            (FirstPart::new(Some(100_000), None), 430..=570),
        ] {
            let mut first = First::new(9, part);
            addresses.iter().for_each(|a| first.add(a));
            assert!(expected.contains(&count(first.end())), "{part:?}: {}", count(first.end()));
            assert_eq!(first.messages(), count(first.end()) as i64, "{part:?}");
        }
    }
}
