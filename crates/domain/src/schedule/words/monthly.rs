//! Days of the month and of the year: `the 1st and 15th`, `the last Friday`, `25 December`.

use super::super::Error;
use super::super::calendar::{Days, EVERY_WEEKDAY, WORKDAYS};
use super::super::times::is_time;
use super::super::tokens::Tokens;
use super::{month, number, weekly};

const EXPECTED: &str = "a day of the month, e.g. 1st, day 15, last day, last weekday or 2nd Tuesday";
const ORDINALS: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

/// `on` and days of these months.
pub(super) fn on(tokens: &mut Tokens, months: u16) -> Result<Vec<Days>, Error> {
    if !tokens.eat(&["on"]) {
        return Err(tokens.unexpected("on and a day, e.g. monthly on the 1st 09:00 or monthly on the last day 09:00"));
    }
    let mut days = items(tokens)?;
    if tokens.eat(&["of"]) {
        the_month(tokens)?;
    }
    days.iter_mut().for_each(|days| days.months = months);
    Ok(days)
}

/// Days with `of the month` behind them, or `of` the months meant.
pub(super) fn of_the_month(tokens: &mut Tokens) -> Result<Vec<Days>, Error> {
    let mut days = items(tokens)?;
    if !tokens.eat(&["of"]) {
        // Else "every 2nd Tuesday" could be every other one.
        return Err(tokens.unexpected("of the month"));
    }
    if month(tokens.peek()).is_some() {
        let months = months(tokens)?;
        days.iter_mut().for_each(|days| days.months = months);
    } else {
        the_month(tokens)?;
    }
    Ok(days)
}

fn the_month(tokens: &mut Tokens) -> Result<(), Error> {
    tokens.eat(&["the", "each", "every"]);
    if tokens.eat(&["month", "quarter"]) { Ok(()) } else { Err(tokens.unexpected("the month")) }
}

/// Names of months.
pub(super) fn months(tokens: &mut Tokens) -> Result<u16, Error> {
    let mut set = 0;
    loop {
        let named = month(tokens.peek()).ok_or_else(|| tokens.unexpected("a month, e.g. January"))?;
        set |= 1 << named;
        tokens.step();
        if !tokens.eat_joint_before(|t| month(t.peek()).is_some()) {
            return Ok(set);
        }
    }
}

/// `on` and days of the year.
pub(super) fn dates(tokens: &mut Tokens) -> Result<Vec<Days>, Error> {
    if !tokens.eat(&["on"]) {
        return Err(tokens.unexpected("on and a date, e.g. yearly on 25 December 09:00"));
    }
    let mut days = Vec::new();
    loop {
        days.push(date(tokens)?);
        let next = |t: &Tokens| {
            let first = if t.peek() == "the" { t.second() } else { t.peek() };
            month(first).is_some() || (day_of_month(first).is_some() && !first.contains(':') && !is_clock(t))
        };
        if !tokens.eat_joint_before(next) {
            return Ok(days);
        }
    }
}

/// Whether what comes is rather a time: a number without a month beside it.
fn is_clock(tokens: &Tokens) -> bool {
    is_time(tokens.peek()) && month(tokens.second()).is_none() && tokens.second() != "of"
}

/// `25 December`, `December 25th`, `the 1st of January`.
fn date(tokens: &mut Tokens) -> Result<Days, Error> {
    tokens.eat(&["the"]);
    let expected = "a date, e.g. 25 December";
    let first = month(tokens.peek());
    if first.is_some() {
        tokens.step();
        tokens.eat(&["the"]);
    }
    let day = day_of_month(tokens.peek()).ok_or_else(|| tokens.unexpected(expected))?;
    tokens.step();
    let named = match first {
        Some(named) => named,
        None => {
            tokens.eat(&["of"]);
            let named = month(tokens.peek()).ok_or_else(|| tokens.unexpected("the date's month, e.g. December"))?;
            tokens.step();
            named
        }
    };
    let days = Days { months: 1 << named, ..Days::of_month(1 << day) };
    Ok(days)
}

/// Which of the days of its kind.
#[derive(Clone, Copy)]
enum Nth {
    From(u32),
    Last,
}

fn nth(word: &str) -> Option<Nth> {
    match word {
        "last" => Some(Nth::Last),
        word => day_of_month(word).filter(|_| !word.bytes().all(|b| b.is_ascii_digit())).map(Nth::From),
    }
}

/// `1st`, `15`, `third`: 1 to 31.
fn day_of_month(word: &str) -> Option<u32> {
    if let Some(i) = ORDINALS.iter().position(|ordinal| *ordinal == word) {
        return Some(i as u32 + 1);
    }
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
    number(digits).filter(|day| (1..=31).contains(day))
}

/// Whether days of the month may begin here.
pub(super) fn is_item(tokens: &Tokens) -> bool {
    let word = if tokens.peek() == "the" { tokens.second() } else { tokens.peek() };
    nth(word).is_some()
        || (word == "day" && number(tokens.second()).is_some())
        || (tokens.second() == "of" && day_of_month(word).is_some())
}

/// Groups of ordinals, each with a noun or none.
fn items(tokens: &mut Tokens) -> Result<Vec<Days>, Error> {
    let mut days = Vec::new();
    loop {
        days.extend(group(tokens)?);
        if !tokens.eat_joint_before(is_item) {
            return Ok(days);
        }
    }
}

/// `1st`, `1st and 15th`, `last day`, `1st and 3rd Monday`, `day 15`.
fn group(tokens: &mut Tokens) -> Result<Vec<Days>, Error> {
    tokens.eat(&["the"]);
    if tokens.peek() == "day" {
        tokens.step();
        let day = day_of_month(tokens.peek()).ok_or_else(|| tokens.unexpected("a day from 1 to 31"))?;
        tokens.step();
        return Ok(vec![Days::of_month(1 << day)]);
    }
    let mut ordinals = Vec::new();
    loop {
        let word = tokens.peek().to_owned();
        let plain = || day_of_month(&word).filter(|_| tokens.second() == "of").map(Nth::From);
        let found = nth(&word).or_else(plain).ok_or_else(|| tokens.unexpected(EXPECTED))?;
        ordinals.push((found, word));
        tokens.step();
        if !tokens.eat_joint_before(|t| nth(if t.peek() == "the" { t.second() } else { t.peek() }).is_some()) {
            break;
        }
        tokens.eat(&["the"]);
    }
    let nouns = nouns(tokens)?;
    let day = |(nth, word): &(Nth, String), of_week: Option<u8>| match (nth, of_week) {
        (Nth::Last, None) => Err(tokens.unexpected("day, weekday or a day of the week after last")),
        (Nth::Last, Some(of_week)) => Ok(Days::nth(-1, of_week)),
        (Nth::From(n), None | Some(EVERY_WEEKDAY)) => Ok(Days::of_month(1 << n)),
        (Nth::From(n), Some(WORKDAYS)) if *n <= 20 => Ok(Days::nth(*n as i8, WORKDAYS)),
        (Nth::From(n), Some(of_week)) if *n <= 5 => Ok(Days::nth(*n as i8, of_week)),
        _ => Err(tokens.refused(word, "no month has so many of them".to_owned())),
    };
    ordinals.iter().flat_map(|nth| nouns.iter().map(move |noun| (nth, *noun))).map(|(n, noun)| day(n, noun)).collect()
}

/// What the ordinals count: one noun, or days of the week in a list; `None` where there is no noun.
fn nouns(tokens: &mut Tokens) -> Result<Vec<Option<u8>>, Error> {
    let mut nouns = vec![noun(tokens)?];
    while nouns.iter().all(Option::is_some) && tokens.eat_joint_before(|t| weekly::weekday(t.peek()).is_some()) {
        nouns.push(noun(tokens)?);
    }
    Ok(nouns)
}

/// What is counted: days, working days, Mondays.
fn noun(tokens: &mut Tokens) -> Result<Option<u8>, Error> {
    if tokens.eat(&["day", "days"]) {
        return Ok(Some(EVERY_WEEKDAY));
    }
    if tokens.eat(&["weekday", "workday"]) {
        return Ok(Some(WORKDAYS));
    }
    if matches!(tokens.peek(), "working" | "business") {
        tokens.step();
        return if tokens.eat(&["day", "days"]) { Ok(Some(WORKDAYS)) } else { Err(tokens.unexpected("day")) };
    }
    let day = weekly::weekday(tokens.peek());
    if day.is_some() {
        tokens.step();
    }
    Ok(day.map(|day| 1 << day))
}
