//! The one source of randomness.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};

/// A seeded generator, cheap to clone; clones draw from one sequence.
#[derive(Debug, Clone)]
pub struct Rng(Arc<Mutex<StdRng>>);

impl Rng {
    /// The same seed gives the same sequence.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Seeded by the operating system: for programs, not for tests.
    pub fn from_os() -> Self {
        Self(Arc::new(Mutex::new(rand::make_rng())))
    }

    /// Uniform over all 64 bits.
    pub fn next_u64(&self) -> u64 {
        self.draw(|r| r.random())
    }

    /// Uniform in `0..bound`; 0 if `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.draw(|r| r.random_range(0..bound)) }
    }

    /// True with probability `p`, which is clamped to 0…1.
    pub fn chance(&self, p: f64) -> bool {
        self.draw(|r| r.random_bool(p.clamp(0.0, 1.0)))
    }

    /// Fills `buffer` with random bytes.
    pub fn fill(&self, buffer: &mut [u8]) {
        self.draw(|r| r.fill(buffer));
    }

    fn draw<T>(&self, f: impl FnOnce(&mut StdRng) -> T) -> T {
        // A panic while drawing leaves a generator that is still a generator.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
