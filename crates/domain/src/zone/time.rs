//! What a zone's clocks show: stretches between two changes, and the instant of a local time.

use chrono::{DateTime, NaiveDateTime, Offset as _, TimeZone as _, Utc};
use chrono_tz::Tz;

/// Two zones that keep the same time for so many days are one to a campaign.
const YEAR_DAYS: i64 = 366;
const DAY_S: i64 = 86_400;

/// A stretch of time in which a zone's clocks are not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Unix time at which it begins, seconds.
    pub from_s: i64,
    /// And at which it ends.
    pub to_s: i64,
    /// What is added to UTC, seconds.
    pub offset_s: i64,
}

fn offset_s(zone: Tz, at_s: i64) -> i64 {
    let at = DateTime::from_timestamp(at_s, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    i64::from(zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc())
}

/// The stretches of `[from_s, to_s)`, in order. No zone changes its clocks twice within a day and a night, so
/// two looks a day apart find every change.
pub fn pieces(zone: Tz, from_s: i64, to_s: i64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut begin, mut seen, mut offset) = (from_s, from_s, offset_s(zone, from_s));
    while seen < to_s {
        let next = (seen + DAY_S).min(to_s);
        let then = offset_s(zone, next);
        if then != offset {
            let (mut before, mut after) = (seen, next);
            while after - before > 1 {
                let middle = i64::midpoint(before, after);
                if offset_s(zone, middle) == offset { before = middle } else { after = middle }
            }
            pieces.push(Piece { from_s: begin, to_s: after, offset_s: offset });
            (begin, offset) = (after, then);
        }
        seen = next;
    }
    if begin < to_s {
        pieces.push(Piece { from_s: begin, to_s, offset_s: offset });
    }
    pieces
}

/// What a zone's clocks show in the year from `from` on: equal for those that keep the same time.
pub fn same_time(zone: Tz, from: DateTime<Utc>) -> Vec<Piece> {
    let from_s = from.timestamp();
    pieces(zone, from_s, from_s + YEAR_DAYS * DAY_S)
}

/// Whether a local time exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Local {
    /// Once, as nearly always.
    Once,
    /// It is skipped when the clocks go forward: the instant is the first after it.
    Skipped,
    /// The clocks show it twice when they go back: the instant is the first of the two.
    Twice,
}

/// The instant at which the clocks of a zone show `local`.
pub fn instant(zone: Tz, local: NaiveDateTime) -> (DateTime<Utc>, Local) {
    match zone.from_local_datetime(&local) {
        chrono::LocalResult::Single(at) => (at.to_utc(), Local::Once),
        chrono::LocalResult::Ambiguous(one, other) => (one.min(other).to_utc(), Local::Twice),
        chrono::LocalResult::None => (after_gap(zone, local), Local::Skipped),
    }
}

/// The end of the gap that `local` falls into.
fn after_gap(zone: Tz, local: NaiveDateTime) -> DateTime<Utc> {
    let middle_s = local.and_utc().timestamp();
    let around = pieces(zone, middle_s - 2 * DAY_S, middle_s + 2 * DAY_S);
    let shows = |piece: &Piece, at_s: i64| at_s + piece.offset_s;
    let gap = around.windows(2).find(|pair| {
        let (before, after) = (shows(&pair[0], pair[0].to_s), shows(&pair[1], pair[1].from_s));
        (before..after).contains(&middle_s)
    });
    // A local time that does not exist lies in a gap; years out of range have none.
    let end_s = gap.map_or(middle_s, |pair| pair[1].from_s);
    DateTime::from_timestamp(end_s, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
