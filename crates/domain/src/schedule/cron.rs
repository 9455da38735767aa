//! Cron expressions of five fields, as crontab(5) of cronie and Debian has them.
//!
//! A field is a list of `*`, numbers, names, ranges, each with a step if wanted. Beyond the manual
//! page: names in ranges and lists and in full, a range of weekdays that ends with Sunday, and
//! `N/STEP` for from N to the field's end. When both day fields are restricted, a day counts that
//! either holds; a field that begins with `*` is not restricted.

use super::Error;
use super::calendar::{Calendar, Days};

/// One of the five fields.
struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    /// Names of the values from `low` on, the first three letters of which suffice.
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &[
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: &[&str] = &["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

const FIELDS: [Field; 5] = [
    Field { name: "minute", low: 0, high: 59, names: &[] },
    Field { name: "hour", low: 0, high: 23, names: &[] },
    Field { name: "day of month", low: 1, high: 31, names: &[] },
    Field { name: "month", low: 1, high: 12, names: MONTHS },
    Field { name: "day of week", low: 0, high: 7, names: WEEKDAYS },
];

/// Nicknames of crontab(5).
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The position of a name among `names`, given in full or by its first three letters.
pub(super) fn named(names: &[&str], word: &str) -> Option<usize> {
    let word = word.to_lowercase();
    names.iter().position(|name| *name == word || (word.len() == 3 && name.starts_with(&word)))
}

/// Of the months, 1 to 12.
pub(super) fn month(word: &str) -> Option<u32> {
    named(MONTHS, word).map(|i| i as u32 + 1)
}

/// Of the days of the week, 0 to 6 from Sunday.
pub(super) fn weekday(word: &str) -> Option<u32> {
    named(WEEKDAYS, word).map(|i| i as u32)
}

/// Reads an expression.
pub(super) fn read(text: &str) -> Result<Calendar, Error> {
    let written = text.trim();
    let expression = match written.strip_prefix('@') {
        Some(_) => nickname(written)?,
        None => written,
    };
    let parts: Vec<&str> = expression.split_whitespace().collect();
    let [minute, hour, of_month, month, of_week] = parts[..] else {
        return Err(Error::Fields(wrong_count(written, &parts)));
    };
    let read = |i: usize, part: &str| FIELDS[i].read(part).map_err(|e| e.of(written, &FIELDS[i]));
    let (minutes, hours) = (read(0, minute)?, read(1, hour)?);
    let (days, months, mut weekdays) = (read(2, of_month)?, read(3, month)?, read(4, of_week)?);
    // 7 is Sunday too.
    weekdays |= weekdays >> 7 & 1;
    // Of 31, 12 and 7 bits.
    let (days, months, weekdays) = (days as u32, months as u16, weekdays as u8 & 0x7f);
    let times = bits(hours).flat_map(|h| bits(minutes).map(move |m| (h * 60 + m) as u16)).collect();
    let restricted = |field: &str| !field.starts_with('*');
    let days = match restricted(of_month) && restricted(of_week) {
        true => vec![Days { months, ..Days::of_month(days) }, Days { months, ..Days::of_week(weekdays) }],
        false => vec![Days { months, of_month: days, of_week: weekdays, nth: None }],
    };
    let calendar = Calendar::new(times, days);
    if calendar.comes() {
        return Ok(calendar);
    }
    let why = format!("no month of {month:?} has a day of {of_month:?}; choose another day or month");
    Err(Error::Never { text: written.to_owned(), why })
}

fn nickname(text: &str) -> Result<&'static str, Error> {
    let found = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, cron)| *cron).ok_or_else(|| {
        let known: Vec<&str> = NICKNAMES.iter().map(|(name, _)| *name).collect();
        Error::Fields(format!("cron {text:?} is none of {}: write one of them, or five fields", known.join(", ")))
    })
}

fn wrong_count(text: &str, parts: &[&str]) -> String {
    let expected = "expected five: minute hour day-of-month month day-of-week, e.g. 30 9 * * mon-fri";
    let hint = match parts.len() {
        6 | 7 => "; seconds and years are no fields here",
        _ if text.chars().filter(|c| c.is_alphabetic()).count() > 5 => "; for plain words use --words",
        _ => "",
    };
    format!("cron {text:?} has {} fields, {expected}{hint}", parts.len())
}

fn bits(set: u64) -> impl Iterator<Item = u64> + Clone {
    (0..64).filter(move |bit| set >> bit & 1 == 1)
}

/// A part that cannot be read, and what was expected.
struct Wrong {
    part: String,
    why: String,
}

impl Wrong {
    fn of(self, cron: &str, field: &Field) -> Error {
        Error::Field { cron: cron.to_owned(), field: field.name, part: self.part, why: self.why }
    }
}

impl Field {
    /// How many different values it has.
    fn count(&self) -> u32 {
        if self.high == 7 { 7 } else { self.high - self.low + 1 }
    }

    /// The values of a field as bits.
    fn read(&self, text: &str) -> Result<u64, Wrong> {
        let mut set = 0;
        for part in text.split(',') {
            set |= self.part(part)?;
        }
        Ok(set)
    }

    /// One part of the list: `*`, `5`, `mon-fri`, `0-30/10`, `*/15`.
    fn part(&self, part: &str) -> Result<u64, Wrong> {
        let wrong = |why: String| Wrong { part: part.to_owned(), why };
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step).map_err(wrong)?)),
            None => (part, None),
        };
        let (from, to) = match range {
            "*" => (self.low, self.high),
            range => match range.split_once('-') {
                Some((from, to)) => self.range(from, to).map_err(wrong)?,
                None => {
                    let from = self.value(range).map_err(wrong)?;
                    (from, if step.is_some() { self.high } else { from })
                }
            },
        };
        let step = step.unwrap_or(1);
        Ok((from..=to).step_by(step as usize).fold(0, |set, value| set | 1 << value))
    }

    fn range(&self, from: &str, to: &str) -> Result<(u32, u32), String> {
        let (first, mut last) = (self.value(from)?, self.value(to)?);
        // A week may end with Sunday, by whichever of its names.
        if self.high == 7 && last == 0 && first > 0 {
            last = 7;
        }
        if first <= last {
            return Ok((first, last));
        }
        let (low, end) = (self.low, self.low + self.count() - 1);
        Err(format!("the range ends before it begins; write two, {from}-{end},{low}-{to}"))
    }

    fn step(&self, text: &str) -> Result<u32, String> {
        let most = self.count();
        let refuse = || format!("the step is to be a number from 1 to {most}");
        match number(text) {
            Some(step) if (1..=most).contains(&step) => Ok(step),
            Some(step) if step > most => {
                Err(format!("a step of {step} would only ever meet {}; {}", self.low, refuse()))
            }
            _ => Err(refuse()),
        }
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        if let Some(i) = named(self.names, text) {
            return Ok(self.low + i as u32);
        }
        match number(text) {
            Some(n) if (self.low..=self.high).contains(&n) => Ok(n),
            _ => Err(self.expected(text)),
        }
    }

    fn expected(&self, text: &str) -> String {
        let names = match self.names {
            [] => String::new(),
            [first, .., last] => format!(", a name {}-{}", &first[..3], &last[..3]),
            [only] => format!(", {only}"),
        };
        let sunday = if self.high == 7 { " (0 and 7 are Sunday)" } else { "" };
        let hint = match text.chars().find(|c| "LlWw#?~".contains(*c)) {
            Some('?') => "; ? of other crons is * here",
            Some('L' | 'l' | 'W' | 'w' | '#') if text.len() < 6 => {
                "; for last days and nth weekdays use --words, e.g. 'monthly on the last day 09:00'"
            }
            _ => "",
        };
        format!("expected {} to {}{sunday}{names}, *, a range a-b, or a step */n{hint}", self.low, self.high)
    }
}

/// Digits only: a sign or a blank is no number here.
fn number(text: &str) -> Option<u32> {
    (!text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}
