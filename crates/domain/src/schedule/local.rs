//! Times of the wall clock, as people write them.

use chrono::NaiveDateTime;

use super::Error;

/// A date with a time and without an offset: `2026-12-01T09:00`.
///
/// # Errors
/// When it is none.
pub fn local_time(text: &str) -> Result<NaiveDateTime, Error> {
    let joined = text.trim().replacen(' ', "T", 1);
    ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(&joined, format).ok())
        .ok_or_else(|| Error::LocalTime(text.to_owned()))
}
