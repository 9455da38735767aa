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
/// Workspace ids stay below this, so that they fit into a message's id.
pub const WORKSPACE_ID_END: i32 = 1 << 28;

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

/// The id of a message, and its idempotency key: UUIDv8 (RFC 9562 §5.8) whose 122 free bits are workspace
/// (28), run (63) and seq (31). Every attempt of a message has the same one, and whoever is told of it, a
/// receipt for example, finds the message by it.
pub fn message_id(workspace_id: i32, run_id: i64, seq: i32) -> Uuid {
    debug_assert!(workspace_id < WORKSPACE_ID_END && run_id >= 0 && seq >= 0);
    let (workspace_id, run_id, seq) = (workspace_id as u128 & 0xfff_ffff, run_id as u128, seq as u128);
    let free = (workspace_id << 94) | ((run_id & (u128::MAX >> 65)) << 31) | (seq & 0x7fff_ffff);
    let (a, b, c) = (free >> 74, (free >> 62) & 0xfff, free & ((1 << 62) - 1));
    Uuid::from_u128((a << 80) | (8 << 76) | (b << 64) | (2 << 62) | c)
}

/// Workspace, run and seq of a message's id; `None` of an id that no message can have.
pub fn message_of(id: Uuid) -> Option<(i32, i64, i32)> {
    let id = id.as_u128();
    if (id >> 76) & 0xf != 8 || (id >> 62) & 0b11 != 2 {
        return None;
    }
    let free = ((id >> 80) << 74) | (((id >> 64) & 0xfff) << 62) | (id & ((1 << 62) - 1));
    // Each was masked to bits that its type holds.
    Some(((free >> 94) as i32, ((free >> 31) & (u128::MAX >> 65)) as i64, (free & 0x7fff_ffff) as i32))
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
        for message in
            [(1, 2, 3), (0, 0, 0), (WORKSPACE_ID_END - 1, i64::MAX, i32::MAX), (1, 249_923_960_277_249_608, 7)]
        {
            let id = message_id(message.0, message.1, message.2);
            assert_eq!((message_of(id), id.get_version_num()), (Some(message), 8));
        }
        assert_eq!(message_of(Uuid::new_v5(&Uuid::NAMESPACE_OID, b"x")), None);
    }
}
