//! The window of a conversation: for a day after a recipient wrote, they may be sent anything; else only
//! what the provider has approved (see [`crate::content::Content::is_free_form`]).

use chrono::{DateTime, TimeDelta, Utc};

use crate::limits::{WINDOW, WINDOW_MARGIN};

/// The detail of an outcome of which the window is the reason; the provider's code may follow.
pub const CLOSED: &str = "window closed";

/// Whether a message that starts now reaches a recipient, heard of last at `heard_at`, within the window.
pub fn is_open(heard_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    heard_at.is_some_and(|at| at > open_since(now))
}

/// Who wrote after this may be sent anything now.
pub fn open_since(now: DateTime<Utc>) -> DateTime<Utc> {
    now - TimeDelta::seconds((WINDOW - WINDOW_MARGIN).as_secs().cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minute_of_the_window_is_not_used() {
        let now = "2026-12-02T12:00:00Z".parse().unwrap();
        let open = |heard: &str| is_open(Some(heard.parse().unwrap()), now);
        assert!(open("2026-12-02T12:00:00Z") && open("2026-12-01T12:01:01Z"));
        assert!(!open("2026-12-01T12:01:00Z") && !open("2026-12-01T12:00:30Z") && !open("2026-12-01T11:00:00Z"));
        assert!(!is_open(None, now), "who never wrote");
    }
}
