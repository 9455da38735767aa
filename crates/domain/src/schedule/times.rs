//! Times of day in plain words: `09:00`, `9`, `9:30 pm`, `noon`, `18h30`.

use super::Error;
use super::tokens::Tokens;

const EXPECTED: &str = "a time from 00:00 to 23:59, e.g. 09:00, 6:30 pm or noon";

/// A list of times, each as minutes since midnight; empty when none follows.
pub(super) fn times(tokens: &mut Tokens) -> Result<Vec<u16>, Error> {
    let mut times = Vec::new();
    tokens.eat_joint_before(|t| t.peek() == "at" || is_time(t.peek()));
    if !tokens.eat(&["at"]) && !is_time(tokens.peek()) {
        return Ok(times);
    }
    loop {
        times.push(time(tokens)?);
        if !tokens.eat_joint_before(|t| is_time(t.peek()) || (t.peek() == "at" && is_time(t.second()))) {
            return Ok(times);
        }
        tokens.eat(&["at"]);
    }
}

/// Whether a word begins like a time.
pub(super) fn is_time(word: &str) -> bool {
    let ordinal = ["st", "nd", "rd", "th"].iter().any(|end| word.ends_with(end));
    matches!(word, "noon" | "midnight") || (word.starts_with(|c: char| c.is_ascii_digit()) && !ordinal)
}

/// One time.
pub(super) fn time(tokens: &mut Tokens) -> Result<u16, Error> {
    let word = tokens.peek().to_owned();
    let refuse = |tokens: &Tokens| tokens.unexpected(EXPECTED);
    let named = match word.as_str() {
        "noon" => Some(12 * 60),
        "midnight" => Some(0),
        _ => None,
    };
    if let Some(minutes) = named {
        tokens.step();
        return Ok(minutes);
    }
    let (clock, mut half) = match half_of_day(&word) {
        Some((clock, half)) => (clock, Some(half)),
        None => (word.as_str(), None),
    };
    let (hour, minute) = clock.split_once([':', 'h']).unwrap_or((clock, "00"));
    let minute = if minute.is_empty() && clock.ends_with('h') { "00" } else { minute };
    let digits =
        |text: &str, lengths: &[usize]| lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(hour, &[1, 2]) || !digits(minute, &[2]) {
        return Err(refuse(tokens));
    }
    // Two digits each.
    let (mut hour, minute): (u16, u16) = (hour.parse().unwrap_or(99), minute.parse().unwrap_or(99));
    if half.is_none()
        && let Some(("", after)) = half_of_day(tokens.second())
    {
        (half, hour) = (Some(after), if (1..=12).contains(&hour) { hour } else { 99 });
        if hour < 24 {
            tokens.step();
        }
    }
    let hour = match half {
        None => hour,
        Some(_) if !(1..=12).contains(&hour) => 99,
        Some(after) => hour % 12 + if after { 12 } else { 0 },
    };
    if hour > 23 || minute > 59 {
        return Err(refuse(tokens));
    }
    tokens.step();
    tokens.eat(&["o'clock", "oclock", "hours"]);
    Ok(hour * 60 + minute)
}

/// What stands before am or pm, and whether it is pm.
fn half_of_day(word: &str) -> Option<(&str, bool)> {
    let endings = [("am", false), ("a.m.", false), ("pm", true), ("p.m.", true)];
    endings.iter().find_map(|(ending, after)| Some((word.strip_suffix(ending)?, *after)))
}
