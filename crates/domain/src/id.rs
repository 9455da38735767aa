//! Time-ordered ids, made by the program and not by a sequence of the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use uuid::Uuid;

use crate::clock::Clock;
use crate::rng::Rng;

/// 2025-01-01T00:00:00Z, in ms since the Unix epoch: the ids' own epoch.
const EPOCH_MS: i64 = 1_735_689_600_000;
/// Low bits that tell ids of one millisecond apart.
const FREE_BITS: u32 = 22;
/// Names Fanfare among all makers of UUIDv5.
const NAMESPACE: Uuid = Uuid::from_u128(0x7e5c_9d0a_51f4_4b7e_9a43_0fa7_fa12_e0c1);

/// Makes positive 63-bit ids: 41 bits of milliseconds since 2025, then 22 bits that start at random
/// in each millisecond and count up. They increase within a process; two processes collide with
/// probability 2⁻²² for each pair made in the same millisecond, and then a unique key refuses one.
#[derive(Debug, Clone)]
pub struct Ids {
    clock: Clock,
    rng: Rng,
    last: Arc<AtomicI64>,
}

impl Ids {
    /// Ids from this clock and this source of randomness.
    pub fn new(clock: Clock, rng: Rng) -> Self {
        Self { clock, rng, last: Arc::default() }
    }

    /// The next id, greater than every one before it.
    pub fn next(&self) -> i64 {
        self.block(1)
    }

    /// The first of `many` ids in a row, which nobody else of this process is given.
    pub fn block(&self, many: i64) -> i64 {
        let ms = self.clock.now_us() / 1000 - EPOCH_MS;
        let low = i64::try_from(self.rng.below(1 << FREE_BITS)).unwrap_or(0);
        let fresh = (ms << FREE_BITS) | low;
        let first = |last: i64| fresh.max(last + 1);
        match self.last.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(first(last) + many - 1)) {
            Ok(last) | Err(last) => first(last),
        }
    }
}

/// The id of a message, and its idempotency key: UUIDv5 (RFC 9562 §5.5) over workspace, run and seq
/// in big-endian bytes. Every attempt of a message has the same one.
pub fn message_id(workspace_id: i32, run_id: i64, seq: i32) -> Uuid {
    let mut name = [0; 16];
    name[..4].copy_from_slice(&workspace_id.to_be_bytes());
    name[4..12].copy_from_slice(&run_id.to_be_bytes());
    name[12..].copy_from_slice(&seq.to_be_bytes());
    Uuid::new_v5(&NAMESPACE, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_increase_even_when_the_clock_stands_still() {
        let ids = Ids::new(Clock::manual(Clock::system().now()), Rng::seeded(1));
        let made: Vec<i64> = (0..10_000).map(|_| ids.next()).collect();
        assert!(made.is_sorted_by(|a, b| a < b), "seed 1");
        assert!(made[0] > 0);
        let (block, after) = (ids.block(64), ids.next());
        assert!(block > made[9_999] && after >= block + 64, "seed 1");
    }

    #[test]
    fn a_message_keeps_its_id_and_shares_it_with_none() {
        assert_eq!(message_id(1, 2, 3), message_id(1, 2, 3));
        assert_ne!(message_id(1, 2, 3), message_id(1, 2, 4));
        assert_ne!(message_id(1, 2, 3), message_id(2, 2, 3));
    }
}
