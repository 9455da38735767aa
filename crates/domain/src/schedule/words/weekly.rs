//! Days of the week: `Monday and Thursday`, `mon-fri`, `weekdays`.

use super::super::Error;
use super::super::calendar::{Days, WEEKEND, WORKDAYS};
use super::super::cron;
use super::super::tokens::Tokens;

const EXPECTED: &str = "a day of the week, e.g. Monday, weekdays, weekend, or Monday to Thursday";

/// `on` and days of the week.
pub(super) fn on(tokens: &mut Tokens) -> Result<Vec<Days>, Error> {
    if !tokens.eat(&["on"]) {
        return Err(tokens.unexpected("on and a day of the week, e.g. weekly on Monday 09:00"));
    }
    days(tokens)
}

/// Days of the week.
pub(super) fn days(tokens: &mut Tokens) -> Result<Vec<Days>, Error> {
    let mut set = 0;
    loop {
        tokens.eat(&["on", "every"]);
        set |= item(tokens)?;
        let next = |t: &Tokens| is_day(t.peek()) || (matches!(t.peek(), "on" | "every") && is_day(t.second()));
        if !tokens.eat_joint_before(next) {
            return Ok(vec![Days::of_week(set)]);
        }
    }
}

/// Whether a word names days of the week.
pub(super) fn is_day(word: &str) -> bool {
    set_of(word).is_some()
}

/// Monday is 1 of 0 to 6.
pub(super) fn weekday(word: &str) -> Option<u32> {
    cron::weekday(word).or_else(|| cron::weekday(word.strip_suffix('s')?))
}

/// Names of several days.
fn set_of(word: &str) -> Option<u8> {
    match word {
        "weekday" | "weekdays" | "workday" | "workdays" => Some(WORKDAYS),
        "weekend" | "weekends" => Some(WEEKEND),
        word => match word.split_once('-') {
            Some((from, to)) => Some(range(weekday(from)?, weekday(to)?)),
            None => weekday(word).map(|day| 1 << day),
        },
    }
}

fn item(tokens: &mut Tokens) -> Result<u8, Error> {
    let Some(set) = set_of(tokens.peek()) else { return Err(tokens.unexpected(EXPECTED)) };
    let from = weekday(tokens.peek());
    tokens.step();
    if let Some(from) = from
        && matches!(tokens.peek(), "to" | "through" | "till" | "until" | "-")
    {
        tokens.step();
        let to = weekday(tokens.peek()).ok_or_else(|| tokens.unexpected("the last day of the range, e.g. Friday"))?;
        tokens.step();
        return Ok(range(from, to));
    }
    Ok(set)
}

/// From one day to another, over the end of the week if need be.
fn range(from: u32, to: u32) -> u8 {
    let length = (to + 7 - from) % 7;
    (from..=from + length).fold(0, |set, day| set | 1 << (day % 7))
}
