//! When hours open next where somebody lives.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::{Hours, WEEK};
use crate::zone::{Piece, pieces};

/// A window open once a week may fall into a change of the clocks, but not two weeks in a row.
const LOOK_AHEAD_S: i64 = 15 * 86_400;
const WEEK_S: i64 = WEEK as i64 * 60;
/// 1970-01-01 was a Thursday.
const EPOCH_WEEK_SECOND: i64 = 3 * 86_400;

/// A stretch of time in which may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From then on.
    pub opens: DateTime<Utc>,
    /// Until then, that instant excluded; `None` if that is not within two weeks.
    pub closes: Option<DateTime<Utc>>,
}

impl Window {
    /// Whether something may be sent at this instant.
    pub fn is_open(&self, at: DateTime<Utc>) -> bool {
        self.opens <= at && self.closes.is_none_or(|closes| at < closes)
    }
}

impl Hours {
    /// The window that is open in `zone` at `at`, from then on, or the next; `None` if there is none. What the
    /// clocks show counts: where they go back, an hour is open twice, where they go forward, not at all.
    pub fn next(&self, zone: Tz, at: DateTime<Utc>) -> Option<Window> {
        if self.is_always() {
            return Some(Window { opens: at, closes: None });
        }
        // Clocks are changed, and windows opened and closed, at whole seconds.
        let from_s = at.timestamp();
        let end_s = from_s + LOOK_AHEAD_S;
        let time = |(opens, closes)| Some(Window { opens: seconds(opens)?.max(at), closes: closing(closes, end_s)? });
        let mut found: Option<(i64, i64)> = None;
        for piece in pieces(zone, from_s, end_s) {
            for (opens, closes) in self.within(piece) {
                match &mut found {
                    None => found = Some((opens, closes)),
                    Some(window) if window.1 == opens => window.1 = closes,
                    Some(window) => return time(*window),
                }
            }
        }
        time(found?)
    }

    /// The spans of a stretch without a change of clocks, in order, by Unix time.
    fn within(&self, piece: Piece) -> impl Iterator<Item = (i64, i64)> {
        let shift = EPOCH_WEEK_SECOND + piece.offset_s;
        let first = (piece.from_s + shift).div_euclid(WEEK_S);
        let last = (piece.to_s + shift).div_euclid(WEEK_S);
        let spans = (first..=last).flat_map(move |week| {
            let begin = week * WEEK_S - shift;
            self.open.iter().map(move |(from, to)| (begin + i64::from(*from) * 60, begin + i64::from(*to) * 60))
        });
        let clipped = spans.map(move |(opens, closes)| (opens.max(piece.from_s), closes.min(piece.to_s)));
        clipped.filter(|(opens, closes)| opens < closes)
    }
}

fn seconds(unix_s: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(unix_s, 0)
}

/// The end of a window, unless it is beyond what was looked at.
fn closing(closes_s: i64, end_s: i64) -> Option<Option<DateTime<Utc>>> {
    if closes_s < end_s { Some(Some(seconds(closes_s)?)) } else { Some(None) }
}
