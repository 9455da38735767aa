//! Hours as people write them.

use super::{DAY, HoursError};

const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const SPAN: &str = "two times of the day such as 09:00-18:00";
const ENTRY: &str = "days and times such as mon-fri 09:00-18:00";

fn form(text: &str, given: &str, expected: &'static str) -> HoursError {
    HoursError::Form { text: text.to_owned(), given: given.to_owned(), expected }
}

/// `09:00-18:00` in minutes; the end may be 24:00.
pub(super) fn span(text: &str, given: &str) -> Result<(u16, u16), HoursError> {
    let refuse = || form(text, given, SPAN);
    let (from, to) = given.split_once(['-', '–']).ok_or_else(refuse)?;
    let from = minute(from.trim()).filter(|from| *from < DAY).ok_or_else(refuse)?;
    Ok((from, minute(to.trim()).ok_or_else(refuse)?))
}

/// `9:00`, `09:00`, `24:00`.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !(1..=2).contains(&hour.len()) || minute.len() != 2 || !digits(hour) || !digits(minute) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (minute < 60 && hour * 60 + minute <= DAY).then_some(hour * 60 + minute)
}

/// The spans of `mon-fri 09:00-12:00 14:00-18:00, sat 10:00-14:00`, in minutes of the week; those of Sunday may
/// reach beyond its end.
pub(super) fn windows(text: &str) -> Result<Vec<(u16, u16)>, HoursError> {
    let mut spans = Vec::new();
    for entry in text.split([',', ';']).map(str::trim) {
        let (days, times): (Vec<&str>, Vec<&str>) =
            entry.split_whitespace().partition(|word| !word.starts_with(|c: char| c.is_ascii_digit()));
        let days: Vec<Vec<u16>> = days.into_iter().map(|word| days_of(text, word)).collect::<Result<_, _>>()?;
        let days = if days.is_empty() { (0..7).collect() } else { days.concat() };
        if times.is_empty() {
            return Err(form(text, entry, ENTRY));
        }
        for time in times {
            let (from, to) = span(text, time)?;
            let over = if to > from { 0 } else { DAY };
            spans.extend(days.iter().map(|day| (day * DAY + from, day * DAY + to + over)));
        }
    }
    Ok(spans)
}

/// `mon`, `mon-fri`, `sat-tue`, `daily`.
fn days_of(text: &str, word: &str) -> Result<Vec<u16>, HoursError> {
    const EXPECTED: &str = "a day or days such as mon or mon-fri";
    let refuse = || form(text, word, EXPECTED);
    let day = |name: &str| {
        let name = name.to_ascii_lowercase();
        // Two letters tell every day from the others.
        let found = DAYS.iter().position(|day| name.len() >= 2 && day.starts_with(&name));
        found.and_then(|found| u16::try_from(found).ok()).ok_or_else(refuse)
    };
    match word.split_once(['-', '–']) {
        None if matches!(word.to_ascii_lowercase().as_str(), "daily" | "every") => Ok((0..7).collect()),
        None => Ok(vec![day(word)?]),
        Some((first, last)) => {
            let (first, last) = (day(first)?, day(last)?);
            Ok((0..=(last + 7 - first) % 7).map(|n| (first + n) % 7).collect())
        }
    }
}
