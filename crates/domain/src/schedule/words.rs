//! Plain words. The grammar, in which `,` and `and` are the same and case does not matter:
//!
//! ```text
//! phrase  = [TIMES] DAYS ["in" MONTHS] [TIMES]
//!         | "every" N "minutes" | "every" N "hours" | "hourly" | "every minute" | "every hour"
//!               [":MM"] ["between" TIME "and" TIME] ["on" WEEK]
//!         | "every" N "seconds"
//! DAYS    = "daily" | "every day" | ["every" | "on"] WEEK | "weekly on" WEEK
//!         | ("monthly" | "every month" | "quarterly" | "every" N "months") "on" MONTHLY
//!         | ["every"] MONTHLY "of" ("the month" | MONTHS)
//!         | ("yearly" | "every year") "on" DATE
//! WEEK    = (MONDAY | MONDAY "to" FRIDAY | "weekdays" | "weekends"), …
//! MONTHLY = (1st | day 15 | last day | last weekday | 2nd Tuesday | 1st and 3rd Monday), …
//! DATE    = (25 December | December 25th | the 1st of January), …
//! TIMES   = ["at"] TIME, …          TIME = 09:00 | 9 | 9:30 pm | 18h30 | noon | midnight
//! ```
//!
//! N divides the hour, the day or the year evenly: what does not would be an uneven rhythm in cron,
//! too. Without TIMES it is midnight, which a preview says.

mod every;
mod monthly;
mod weekly;

use super::calendar::{Calendar, Days};
use super::cron;
use super::times::times;
use super::tokens::Tokens;
use super::{Error, Pattern};

const EXPECTED: &str = "e.g. every day 18:00, every Monday 09:00, every 2 hours, monthly on the last day 10:00, \
     every 2nd Tuesday of the month 09:00, yearly on 1 January 08:00";

/// What a phrase says of its days.
enum Said {
    /// These days, at times that follow.
    Days(Vec<Days>),
    /// These days, and these times.
    Spans(Vec<Days>, Vec<u16>),
    /// Every so many seconds.
    Seconds(u32),
}

/// Reads a phrase.
pub(super) fn read(text: &str) -> Result<Pattern, Error> {
    let mut tokens = Tokens::new(text);
    if text.contains('*') {
        return Err(tokens.refused("", format!("that is cron: --cron '{}'", text.trim())));
    }
    let mut at = if tokens.peek() == "at" { times(&mut tokens)? } else { Vec::new() };
    let said = phrase(&mut tokens)?;
    let calendar = match said {
        Said::Seconds(seconds) => {
            end(&tokens)?;
            return Ok(Pattern::Seconds(seconds));
        }
        Said::Spans(days, times) => Calendar::new(times, days),
        Said::Days(mut days) => {
            if tokens.eat(&["in"]) {
                let months = monthly::months(&mut tokens)?;
                days.iter_mut().for_each(|days| days.months &= months);
            }
            at.extend(times(&mut tokens)?);
            match at.is_empty() {
                true => Calendar::new(at, days).untimed(),
                false => Calendar::new(at, days),
            }
        }
    };
    end(&tokens)?;
    if !calendar.comes() {
        let why = "no year has such a day; choose another".to_owned();
        return Err(Error::Never { text: text.trim().to_owned(), why });
    }
    Ok(Pattern::Calendar(calendar))
}

fn end(tokens: &Tokens) -> Result<(), Error> {
    if tokens.is_at_end() { Ok(()) } else { Err(tokens.unexpected("a time such as 09:00, or the end")) }
}

fn phrase(tokens: &mut Tokens) -> Result<Said, Error> {
    tokens.eat(&["on"]);
    tokens.eat(&["the"]);
    if tokens.eat(&["daily"]) {
        return Ok(Said::Days(vec![Days::ALL]));
    }
    if tokens.eat(&["hourly"]) {
        return every::spans(tokens, 60);
    }
    if tokens.eat(&["weekly"]) {
        return weekly::on(tokens).map(Said::Days);
    }
    if tokens.eat(&["monthly"]) {
        return monthly::on(tokens, super::calendar::EVERY_MONTH).map(Said::Days);
    }
    if tokens.eat(&["quarterly"]) {
        return monthly::on(tokens, every::months_apart(3)).map(Said::Days);
    }
    if tokens.eat(&["yearly", "annually"]) {
        return monthly::dates(tokens).map(Said::Days);
    }
    if tokens.eat(&["every", "each"]) {
        return every::read(tokens);
    }
    if weekly::is_day(tokens.peek()) {
        return weekly::days(tokens).map(Said::Days);
    }
    if monthly::is_item(tokens) {
        return monthly::of_the_month(tokens).map(Said::Days);
    }
    Err(tokens.unexpected(EXPECTED))
}

/// A whole number.
fn number(word: &str) -> Option<u32> {
    (!word.is_empty() && word.bytes().all(|b| b.is_ascii_digit())).then(|| word.parse().ok())?
}

/// A month's name; 1 to 12.
fn month(word: &str) -> Option<u32> {
    cron::month(word)
}
