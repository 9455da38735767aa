//! A pattern of days and times, as the clocks on the wall show them.

use chrono::{Datelike as _, Days as Span, NaiveDate, Weekday};

/// All days of a month, by bit 1 to 31.
pub(super) const EVERY_DAY: u32 = 0xffff_fffe;
/// All days of the week, by bit from Sunday = 0.
pub(super) const EVERY_WEEKDAY: u8 = 0x7f;
/// Monday to Friday.
pub(super) const WORKDAYS: u8 = 0x3e;
/// Saturday and Sunday.
pub(super) const WEEKEND: u8 = 0x41;
/// All months, by bit 1 to 12.
pub(super) const EVERY_MONTH: u16 = 0x1ffe;

/// Within so many years every date of the calendar falls on every day of the week.
const CYCLE_DAYS: u64 = 40 * 366;

/// Months, days and times of day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// Minutes since midnight, ascending, each once; at least one.
    times: Vec<u16>,
    /// A day counts when any of them holds it.
    days: Vec<Days>,
    /// Nobody said at what time: it is midnight.
    untimed: bool,
}

/// Some days of each month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Days {
    /// Bits 1 to 12.
    pub months: u16,
    /// Bits 1 to 31.
    pub of_month: u32,
    /// Bits 0 to 6, Sunday first.
    pub of_week: u8,
    /// Only the nth of the month among those of `of_week`; counted from its end when negative.
    pub nth: Option<i8>,
}

impl Days {
    pub(super) const ALL: Self = Self { months: EVERY_MONTH, of_month: EVERY_DAY, of_week: EVERY_WEEKDAY, nth: None };

    pub(super) fn of_month(days: u32) -> Self {
        Self { of_month: days, ..Self::ALL }
    }

    pub(super) fn of_week(days: u8) -> Self {
        Self { of_week: days, ..Self::ALL }
    }

    pub(super) fn nth(nth: i8, of_week: u8) -> Self {
        Self { of_week, nth: Some(nth), ..Self::ALL }
    }

    fn holds(self, date: NaiveDate) -> bool {
        self.months & (1 << date.month()) != 0
            && self.of_month & (1 << date.day()) != 0
            && self.of_week & weekday(date.weekday()) != 0
            && self.nth.is_none_or(|nth| self.rank(date, nth < 0) == nth.unsigned_abs())
    }

    /// The how manieth of its kind the day is in its month, from the beginning or from the end.
    fn rank(self, date: NaiveDate, from_end: bool) -> u8 {
        let mut rank = 1;
        let mut other = date;
        loop {
            other = match if from_end { other.succ_opt() } else { other.pred_opt() } {
                Some(next) if next.month() == date.month() => next,
                _ => return rank,
            };
            rank += u8::from(self.of_week & weekday(other.weekday()) != 0);
        }
    }
}

/// The bit of a day of the week.
pub(super) fn weekday(day: Weekday) -> u8 {
    1 << day.num_days_from_sunday()
}

impl Calendar {
    /// Of times as minutes since midnight, in any order.
    pub(super) fn new(mut times: Vec<u16>, days: Vec<Days>) -> Self {
        times.sort_unstable();
        times.dedup();
        Self { times, days, untimed: false }
    }

    /// At midnight, since no time was given.
    pub(super) fn untimed(self) -> Self {
        Self { times: vec![0], untimed: true, ..self }
    }

    /// Whether no time was given, which is taken as midnight.
    pub fn is_untimed(&self) -> bool {
        self.untimed
    }

    /// Times of each day, minutes since midnight, ascending.
    pub(super) fn times(&self) -> &[u16] {
        &self.times
    }

    /// The first of its days from this one on.
    pub(super) fn day_from(&self, first: NaiveDate) -> Option<NaiveDate> {
        let span = first.checked_add_days(Span::new(CYCLE_DAYS)).unwrap_or(NaiveDate::MAX) - first;
        let dates = first.iter_days().take(usize::try_from(span.num_days()).unwrap_or_default() + 1);
        dates.into_iter().find(|date| self.days.iter().any(|days| days.holds(*date)))
    }

    /// Whether it ever comes.
    pub(super) fn comes(&self) -> bool {
        NaiveDate::from_ymd_opt(2000, 1, 1).is_some_and(|date| self.day_from(date).is_some())
    }
}
