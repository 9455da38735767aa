//! The one clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

/// Where the time of day comes from. Cheap to clone; clones of a manual clock move together.
#[derive(Debug, Clone, Default)]
pub struct Clock(Source);

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still at `at` until it is advanced.
    pub fn manual(at: DateTime<Utc>) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(at.timestamp_micros()))))
    }

    /// Microseconds since the Unix epoch.
    pub fn now_us(&self) -> i64 {
        match &self.0 {
            #[allow(clippy::disallowed_methods, reason = "this is the one clock")]
            Source::System => Utc::now().timestamp_micros(),
            Source::Manual(us) => us.load(Ordering::SeqCst),
        }
    }

    /// The time of day, to the microsecond (Postgres' resolution).
    pub fn now(&self) -> DateTime<Utc> {
        // In range for the next 290,000 years.
        DateTime::from_timestamp_micros(self.now_us()).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Moves a manual clock on by `us` microseconds; the system clock is left alone.
    pub fn advance_us(&self, us: i64) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(us, Ordering::SeqCst);
        }
    }
}
