//! What was seen: the judge of the fleet, apart from the provider that it watches.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::Fault;
use crate::config::shown;
use crate::ledger::Ledger;

/// The longest latency told apart, µs.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// What a simulator saw since its start or its last reset.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Requests, those that failed included.
    pub requests: u64,
    /// Times that a message was accepted.
    pub accepted: u64,
    /// Messages that were accepted, each counted once.
    pub accepted_messages: u64,
    /// Messages that were accepted more than once.
    pub accepted_twice: u64,
    /// Repeated keys that got the first result.
    pub repeats_answered: u64,
    /// Requests turned away for what they held: another secret, another shape.
    pub rejected: u64,
    /// Requests refused because of the cap.
    pub over_cap: u64,
    /// Messages refused because their recipient has not written within a day.
    #[serde(default)]
    pub outside_window: u64,
    /// Requests that asked what was accepted.
    #[serde(default)]
    pub questions: u64,
    /// How often each fault struck.
    pub by_fault: BTreeMap<String, u64>,
    /// By bearer token; `-` without one.
    pub accounts: BTreeMap<String, AccountStats>,
    /// From the first byte of a request to its answer.
    pub latency_ms: LatencyStats,
    /// Delivery receipts.
    pub receipts: ReceiptStats,
}

/// The requests of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountStats {
    /// How many.
    pub requests: u64,
    /// The most in any closed window of each length, anywhere in time.
    pub max_in_window: BTreeMap<String, u64>,
    /// Arrival of the first, µs since the Unix epoch.
    pub first_us: i64,
    /// Arrival of the last.
    pub last_us: i64,
}

/// Percentiles in ms; all 0 when nothing was answered.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LatencyStats {
    /// The median.
    pub p50: f64,
    /// Nine of ten are below.
    pub p90: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// Delivery receipts, each time one was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReceiptStats {
    /// Answered with 2xx.
    pub posted: u64,
    /// Not answered so, or dropped because too many waited. Not posted again.
    pub failed: u64,
}

/// Counts requests; keeps 8 bytes for each.
#[derive(Debug)]
pub(crate) struct Judge {
    requests: u64,
    pub repeats_answered: u64,
    pub rejected: u64,
    pub over_cap: u64,
    pub outside_window: u64,
    pub questions: u64,
    pub receipts: ReceiptStats,
    by_fault: [u64; Fault::ALL.len()],
    index_of: HashMap<String, u32>,
    accounts: Vec<Account>,
    latency_us: Histogram<u64>,
}

#[derive(Debug)]
struct Account {
    name: String,
    /// Always in order.
    arrivals_us: Vec<i64>,
}

impl Default for Judge {
    fn default() -> Self {
        Self {
            requests: 0,
            repeats_answered: 0,
            rejected: 0,
            over_cap: 0,
            outside_window: 0,
            questions: 0,
            receipts: ReceiptStats::default(),
            by_fault: [0; Fault::ALL.len()],
            index_of: HashMap::new(),
            accounts: Vec::new(),
            latency_us: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("1 to an hour, 3 digits"),
        }
    }
}

impl Judge {
    /// Notes a request of this account; the account's index.
    pub fn arrived(&mut self, account: &str, at_us: i64) -> u32 {
        self.requests += 1;
        let index = match self.index_of.get(account) {
            Some(index) => *index,
            None => {
                let index = u32::try_from(self.accounts.len()).unwrap_or(u32::MAX);
                self.index_of.insert(account.to_owned(), index);
                self.accounts.push(Account { name: account.to_owned(), arrivals_us: Vec::new() });
                index
            }
        };
        insert_in_order(&mut self.accounts[index as usize].arrivals_us, at_us);
        index
    }

    /// Notes that a fault struck.
    pub fn struck(&mut self, fault: Fault) {
        self.by_fault[fault as usize] += 1;
    }

    /// Notes the time from a request to its answer.
    pub fn answered(&mut self, latency: Duration) {
        self.latency_us.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// Everything seen.
    pub fn stats(&self, ledger: &Ledger, windows: &[Duration]) -> Stats {
        let struck = Fault::ALL.iter().map(|f| (f.name().to_owned(), self.by_fault[*f as usize]));
        let ms = |us: u64| us as f64 / 1000.0;
        Stats {
            requests: self.requests,
            accepted: ledger.accepted() as u64,
            accepted_messages: ledger.messages() as u64,
            accepted_twice: ledger.accepted_twice(),
            repeats_answered: self.repeats_answered,
            rejected: self.rejected,
            over_cap: self.over_cap,
            outside_window: self.outside_window,
            questions: self.questions,
            by_fault: struck.filter(|(_, times)| *times > 0).collect(),
            accounts: self.accounts.iter().map(|a| (a.name.clone(), a.stats(windows))).collect(),
            latency_ms: LatencyStats {
                p50: ms(self.latency_us.value_at_quantile(0.5)),
                p90: ms(self.latency_us.value_at_quantile(0.9)),
                p99: ms(self.latency_us.value_at_quantile(0.99)),
                max: ms(self.latency_us.max()),
            },
            receipts: self.receipts,
        }
    }
}

impl Account {
    fn stats(&self, windows: &[Duration]) -> AccountStats {
        let largest = |window: &Duration| (shown(*window), largest_window(&self.arrivals_us, *window) as u64);
        AccountStats {
            requests: self.arrivals_us.len() as u64,
            max_in_window: windows.iter().map(largest).collect(),
            first_us: self.arrivals_us.first().copied().unwrap_or_default(),
            last_us: self.arrivals_us.last().copied().unwrap_or_default(),
        }
    }
}

/// Adds a time that is almost always the latest: threads note what they read a few µs out of order.
fn insert_in_order(times: &mut Vec<i64>, time: i64) {
    let later = times.iter().rev().take_while(|t| **t > time).count();
    times.insert(times.len() - later, time);
}

/// The most times in any closed interval of this length. `times` are in order, in µs. Cutting both ends
/// of an interval of whole µs down to whole µs never makes it longer, so this never counts too few.
fn largest_window(times: &[i64], window: Duration) -> usize {
    let window_us = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
    let mut from = 0;
    let mut largest = 0;
    for (to, time) in times.iter().enumerate() {
        while *time - times[from] > window_us {
            from += 1;
        }
        largest = largest.max(to - from + 1);
    }
    largest
}

#[cfg(test)]
mod tests {
    use fanfare_domain::rng::Rng;

    use super::*;

    /// Tries every closed interval that begins at an arrival.
    fn by_brute_force(times: &[i64], window_us: i64) -> usize {
        times.iter().map(|t| times.iter().filter(|u| (*t..=*t + window_us).contains(u)).count()).max().unwrap_or(0)
    }

    #[test]
    fn the_largest_window_is_that_of_a_brute_force_count() {
        for seed in 0..200 {
            let rng = Rng::seeded(seed);
            let spread = 1 + rng.below(5_000);
            let mut judge = Judge::default();
            let mut times = Vec::new();
            let mut now = 0;
            for _ in 0..rng.below(300) {
                // Bursts at one instant, gaps, and some out of order.
                now += (rng.below(3) * rng.below(spread)) as i64;
                let time = now - rng.below(20) as i64;
                times.push(time);
                judge.arrived("a", time);
            }
            for window_us in [0, 1, 7, 1_000, 50_000, 10_000_000] {
                let expected = by_brute_force(&times, window_us);
                let arrivals = judge.accounts.first().map_or(&[][..], |a| &a.arrivals_us);
                let found = largest_window(arrivals, Duration::from_micros(window_us as u64));
                assert_eq!(found, expected, "window of {window_us} µs, seed {seed}");
            }
        }
    }

    #[test]
    fn a_window_holds_both_its_ends() {
        assert_eq!(largest_window(&[0, 500_000, 1_000_000], Duration::from_secs(1)), 3);
        assert_eq!(largest_window(&[0, 500_000, 1_000_001], Duration::from_secs(1)), 2);
        assert_eq!(largest_window(&[], Duration::from_secs(1)), 0);
    }
}
