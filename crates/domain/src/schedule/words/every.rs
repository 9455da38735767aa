//! What may follow `every`: a span, or days.

use super::super::Error;
use super::super::calendar::{Days, EVERY_MONTH};
use super::super::times::time;
use super::super::tokens::Tokens;
use super::{Said, monthly, number, weekly};

const DAY_MINUTES: u16 = 24 * 60;

/// After `every`.
pub(super) fn read(tokens: &mut Tokens) -> Result<Said, Error> {
    if let Some(n) = number(tokens.peek()) {
        tokens.step();
        return counted(tokens, n);
    }
    if tokens.eat(&["day"]) {
        return Ok(Said::Days(vec![Days::ALL]));
    }
    if tokens.eat(&["hour"]) {
        return spans(tokens, 60);
    }
    if tokens.eat(&["minute"]) {
        return spans(tokens, 1);
    }
    if tokens.eat(&["week"]) {
        return weekly::on(tokens).map(Said::Days);
    }
    if tokens.eat(&["month"]) {
        return monthly::on(tokens, EVERY_MONTH).map(Said::Days);
    }
    if tokens.eat(&["quarter"]) {
        return monthly::on(tokens, months_apart(3)).map(Said::Days);
    }
    if tokens.eat(&["year"]) {
        return monthly::dates(tokens).map(Said::Days);
    }
    if tokens.peek() == "other" {
        return Err(uncounted(tokens, "other", tokens.second()));
    }
    if monthly::is_item(tokens) {
        return monthly::of_the_month(tokens).map(Said::Days);
    }
    if weekly::is_day(tokens.peek()) {
        return weekly::days(tokens).map(Said::Days);
    }
    Err(tokens.unexpected(
        "day, weekday, weekend, a day of the week, a number of hours or minutes, or such as 2nd Tuesday of the month",
    ))
}

/// `N minutes`, `N hours`, `N months`, …
fn counted(tokens: &mut Tokens, n: u32) -> Result<Said, Error> {
    let unit = tokens.peek().to_owned();
    let known = ["second", "minute", "min", "hour", "day", "week", "month"];
    let Some(unit) = known.into_iter().find(|known| unit.strip_suffix('s').unwrap_or(&unit) == *known) else {
        return Err(tokens.unexpected("seconds, minutes, hours or months"));
    };
    tokens.step();
    match unit {
        "second" => even(tokens, n, 60, "seconds").map(Said::Seconds),
        "minute" | "min" if n > 60 && n.is_multiple_of(60) => {
            let hours = even(tokens, n / 60, 24, "hours")?;
            spans(tokens, hours as u16 * 60)
        }
        "minute" | "min" => {
            let minutes = even(tokens, n, 60, "minutes")?;
            spans(tokens, minutes as u16)
        }
        "hour" => {
            let hours = even(tokens, n, 24, "hours")?;
            spans(tokens, hours as u16 * 60)
        }
        "day" if n == 1 => Ok(Said::Days(vec![Days::ALL])),
        "week" if n == 1 => weekly::on(tokens).map(Said::Days),
        "month" => {
            let apart = even(tokens, n, 12, "months")?;
            monthly::on(tokens, months_apart(apart)).map(Said::Days)
        }
        unit => Err(uncounted(tokens, &n.to_string(), unit)),
    }
}

/// Days and weeks have nothing to be counted from.
fn uncounted(tokens: &Tokens, n: &str, unit: &str) -> Error {
    let instead = match unit {
        "day" => "every Monday, Wednesday and Friday, or the 1st, 11th and 21st of the month",
        _ => "every 1st and 3rd Monday of the month",
    };
    tokens.refused(n, format!("there is no day to count from; name the days: {instead}"))
}

/// A span that fills `whole` evenly.
fn even(tokens: &Tokens, n: u32, whole: u32, units: &str) -> Result<u32, Error> {
    if n > 0 && n <= whole && whole.is_multiple_of(n) {
        return Ok(n);
    }
    let fits = |k: &u32| whole.is_multiple_of(*k);
    let below = (1..n.min(whole + 1)).rev().find(fits);
    let above = (n + 1..=whole).find(fits);
    let near: Vec<String> = below.into_iter().chain(above).map(|k| k.to_string()).collect();
    let why =
        format!("{whole} {units} are no multiple of it, so its rhythm would be uneven; write {}", near.join(" or "));
    Err(tokens.refused(&n.to_string(), why))
}

/// January, and every `apart`th month from there.
pub(super) fn months_apart(apart: u32) -> u16 {
    (1..=12).step_by(apart as usize).fold(0, |set, month| set | 1 << month)
}

/// Every so many minutes of the day, with what may follow: `:15`, `between 09:00 and 17:00`, `on weekdays`.
pub(super) fn spans(tokens: &mut Tokens, minutes: u16) -> Result<Said, Error> {
    let offset = offset(tokens, minutes)?;
    let mut times: Vec<u16> = (0..DAY_MINUTES).step_by(usize::from(minutes)).map(|t| t + offset).collect();
    if tokens.eat(&["between", "from"]) {
        let from = time(tokens)?;
        if !tokens.eat_joint() && !tokens.eat(&["to", "till", "until"]) {
            return Err(tokens.unexpected("and, and the time until which"));
        }
        let to = time(tokens)?;
        times.retain(|t| if from <= to { (from..=to).contains(t) } else { *t >= from || *t <= to });
        if times.is_empty() {
            return Err(tokens.refused("", "nothing lies between these times; write them further apart".to_owned()));
        }
    }
    let on = matches!(tokens.peek(), "on" | "every") || weekly::is_day(tokens.peek());
    let days = if on { weekly::days(tokens)? } else { vec![Days::ALL] };
    Ok(Said::Spans(days, times))
}

/// `at :15`: minutes past.
fn offset(tokens: &mut Tokens, minutes: u16) -> Result<u16, Error> {
    if tokens.peek() == "at" && tokens.second().starts_with(':') {
        tokens.step();
    }
    let Some(past) = tokens.peek().strip_prefix(':') else { return Ok(0) };
    match number(past).and_then(|past| u16::try_from(past).ok()).filter(|past| *past < minutes.min(60)) {
        Some(past) => {
            tokens.step();
            Ok(past)
        }
        None => Err(tokens.unexpected(&format!("minutes past, from :00 to :{:02}", minutes.min(60) - 1))),
    }
}
