//! Values as people write them on the command line.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use fanfare_domain::cap::{Cap as Limit, CapError};
use fanfare_domain::hours::{Hours, Quiet};
use fanfare_domain::segment::{Segment, SegmentError};
use fanfare_store::workspaces::Cap;

/// A time with its offset: `2026-12-01T09:00+01:00`, `2026-12-01 09:00:30Z`.
pub fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let offset = text.trim().replacen(' ', "T", 1);
    let offset = match offset.strip_suffix(['Z', 'z']) {
        Some(rest) => format!("{rest}+00:00"),
        None => offset,
    };
    ["%Y-%m-%dT%H:%M%:z", "%Y-%m-%dT%H:%M:%S%.f%:z"]
        .iter()
        .find_map(|format| DateTime::parse_from_str(&offset, format).ok())
        .map(|at| at.to_utc())
        .ok_or_else(|| format!("{text:?} is no time with an offset: write for example 2026-12-01T09:00+01:00"))
}

/// A span of time in seconds: `90s`, `15m`, `24h`, `7d`.
pub fn seconds(text: &str) -> Result<i64, String> {
    let refuse = || format!("{text:?} is no span of time: write for example 90s, 15m, 24h or 7d");
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let each = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(refuse()),
    };
    let number: i64 = number.parse().map_err(|_| refuse())?;
    match number.checked_mul(each) {
        Some(seconds) if (1..=366 * 86_400).contains(&seconds) => Ok(seconds),
        _ => Err(format!("{text:?} is not between 1s and 366d")),
    }
}

/// A day: `2026-12-01`.
pub fn date(text: &str) -> Result<NaiveDate, String> {
    NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d")
        .map_err(|_| format!("{text:?} is no day: write for example 2026-12-01"))
}

/// A time of the day: `09:00`.
pub fn time_of_day(text: &str) -> Result<NaiveTime, String> {
    NaiveTime::parse_from_str(text.trim(), "%H:%M")
        .map_err(|_| format!("{text:?} is no time of the day: write for example 09:00"))
}

/// Quiet hours: `21:00-08:00`.
pub fn quiet(text: &str) -> Result<String, String> {
    text.parse::<Quiet>().map(|quiet| quiet.to_string()).map_err(|e| e.to_string())
}

/// Windows by weekday: `mon-fri 09:00-18:00, sat 10:00-14:00`.
pub fn hours(text: &str) -> Result<String, String> {
    text.parse::<Hours>().map(|_| text.trim().to_owned()).map_err(|e| e.to_string())
}

/// An expression that says which contacts are meant, with what is wrong in it underlined.
pub fn segment(text: &str) -> Result<Segment, String> {
    text.parse().map_err(|e: SegmentError| {
        // Of several lines, or a long one, the number has to do.
        let line = !text.contains('\n') && text.chars().count() <= 100;
        let mark = if line { format!("\n  {text}\n  {:>at$}", "^", at = e.at) } else { String::new() };
        format!("{e}{mark}")
    })
}

/// `city=Oran`: a name and a value.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() && !text.contains('\0') => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(format!("{text:?} is not NAME=VALUE: write for example city=Oran")),
    }
}

/// Whether somebody has opted in.
pub fn consent(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "opted-in" => Ok(true),
        "unknown" | "no" => Ok(false),
        _ => Err(format!("consent is yes or unknown, not {text:?}")),
    }
}

/// Most messages to a contact in a span of time; `None` = no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByContact(pub Option<Cap>);

/// `3/7d`: most messages to a contact in a span of time; `none`.
pub fn cap_by_contact(text: &str) -> Result<ByContact, String> {
    if text == "none" {
        return Ok(ByContact(None));
    }
    let refuse = || format!("{text:?} is not N/TIME: write for example 3/7d, 1/24h, or none");
    let (messages, span) = text.split_once('/').ok_or_else(refuse)?;
    let messages: i32 = messages.parse().map_err(|_| refuse())?;
    let hours = seconds(span)? / 3600;
    match i32::try_from(hours) {
        Ok(hours) if messages > 0 && hours > 0 => Ok(ByContact(Some(Cap { messages, hours }))),
        _ => {
            Err(format!("{text:?} lets nothing through, or counts less than an hour: write for example 3/7d, or none"))
        }
    }
}

/// `50/s`, `3000/min`: what is sent in the mean.
pub fn rate(text: &str) -> Result<Limit, String> {
    let rate: Limit = text.parse().map_err(|e| match e {
        CapError::Zero(_) => format!("rate {text:?} lets nothing through: give at least 1, or pause the campaign"),
        CapError::Form(_) => format!("{text:?} is no rate: write for example 50/s, 3000/min or 500/h"),
        CapError::TooLarge(_) => too_fast(text),
    })?;
    if rate.count <= rate.per_us { Ok(rate) } else { Err(too_fast(text)) }
}

fn too_fast(text: &str) -> String {
    format!("rate {text:?} is above 1000000/s: leave it out for no limit")
}

/// A rate that is to be set; `None` = no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub Option<Limit>);

/// `50/s`, or `none`.
pub fn rate_or_none(text: &str) -> Result<Rate, String> {
    if text.trim() == "none" {
        return Ok(Rate(None));
    }
    rate(text).map(|rate| Rate(Some(rate))).map_err(|why| format!("{why}; none takes it back"))
}

/// A name that commands can call something by.
pub fn name(text: &str) -> Result<String, String> {
    let sound = !text.trim().is_empty()
        && text.trim() == text
        && text.chars().count() <= 100
        && !text.chars().any(char::is_control);
    if sound {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no name: expected 1 to 100 characters without line breaks and without blanks at its ends"))
}

/// `main=3`: an account and its share. What is before the last `=` is the account.
pub fn share(text: &str) -> Result<(String, i32), String> {
    let refuse = || format!("{text:?} is not ACCOUNT=N: write for example main=3, with N from 1 to 1000");
    let (account, share) = text.rsplit_once('=').ok_or_else(refuse)?;
    match share.parse() {
        Ok(share) if !account.is_empty() && (1..=1000).contains(&share) => Ok((account.to_owned(), share)),
        _ => Err(refuse()),
    }
}

/// `on` or `off`.
pub fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{text:?} is neither on nor off")),
    }
}

/// `hello=2`: a template and its weight. What is before the last `=` is the template; alone it has weight 1.
pub fn weight(text: &str) -> Result<(String, i32), String> {
    let (template, weight) = match text.rsplit_once('=') {
        None => (text, 1),
        Some((template, weight)) => match weight.parse() {
            Ok(weight) if (1..=1000).contains(&weight) => (template, weight),
            _ => {
                return Err(format!(
                    "weight {weight:?} of {template:?}: expected 1 to 1000; leave out what nobody is to get"
                ));
            }
        },
    };
    if template.is_empty() {
        Err(format!("{text:?} names no template: write for example sale=2"))
    } else {
        Ok((template.to_owned(), weight))
    }
}

/// `10%` or `500`: a part in millionths, or a number of messages.
pub fn part(text: &str) -> Result<(Option<i32>, Option<i32>), String> {
    let refuse =
        || format!("{text:?} is no part: write for example 10%, more than 0 and less than 100, or 500 messages");
    match text.trim().strip_suffix('%') {
        Some(percent) => {
            let percent: f64 = percent.trim().parse().map_err(|_| refuse())?;
            let ppm = (percent * 10_000.0).round();
            if (1.0..=999_999.0).contains(&ppm) { Ok((Some(ppm as i32), None)) } else { Err(refuse()) }
        }
        None => match text.trim().parse() {
            Ok(messages) if messages > 0 => Ok((None, Some(messages))),
            _ => Err(refuse()),
        },
    }
}

/// `5%`, in thousandths.
pub fn permille(text: &str) -> Result<i32, String> {
    let refuse = || format!("{text:?} is no percentage: write for example 5%, from 0.1% to 100%");
    let percent: f64 = text.trim().strip_suffix('%').ok_or_else(refuse)?.trim().parse().map_err(|_| refuse())?;
    let permille = (percent * 10.0).round();
    if (1.0..=1000.0).contains(&permille) { Ok(permille as i32) } else { Err(refuse()) }
}

/// `main=+15551234567`: an account and an address it sends from.
pub fn sender(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((account, sender)) if !account.is_empty() && !sender.is_empty() => {
            Ok((account.to_owned(), sender.to_owned()))
        }
        _ => Err(format!("{text:?} is not ACCOUNT=ADDRESS: write for example main=+15551234567")),
    }
}

/// `name=Ali`: a variable and its value, which may be empty.
pub fn param(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not NAME=VALUE: write for example name=Ali")),
    }
}

/// How long to wait: `0s`, `500ms`, `10s`, `2m`.
pub fn wait(text: &str) -> Result<Duration, String> {
    match text.strip_suffix("ms").map(str::parse) {
        Some(Ok(ms @ 0..=3_600_000)) => return Ok(Duration::from_millis(ms)),
        Some(_) => return Err(format!("{text:?} is no time to wait: write for example 500ms or 10s")),
        None if text.trim_end_matches('s') == "0" => return Ok(Duration::ZERO),
        None => {}
    }
    // At least 1.
    seconds(text).map(|s| Duration::from_secs(s.unsigned_abs()))
}

/// An amount to be added: whole micro-credits.
pub fn micro(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(micro) if (1..=1_000_000_000_000_000).contains(&micro) => Ok(micro),
        Ok(_) => Err("it is not between 1 and 1000000000000000 micro-credits".to_owned()),
        Err(_) => Err("expected whole micro-credits, 1000000 = one credit".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_their_offset() {
        let same =
            ["2026-12-01T09:00+01:00", "2026-12-01T08:00Z", "2026-12-01 08:00:00.000Z", "2026-12-01T10:00:00+02:00"];
        for text in same {
            assert_eq!(time(text).unwrap().to_rfc3339(), "2026-12-01T08:00:00+00:00", "{text}");
        }
        for bad in ["2026-12-01T09:00", "tomorrow", "", "2026-13-01T09:00Z", "09:00+01:00"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn days_and_times_are_read_as_people_write_them() {
        assert_eq!(date("2026-12-01").map(|date| date.to_string()), Ok("2026-12-01".to_owned()));
        assert_eq!(time_of_day("9:05").map(|time| time.to_string()), Ok("09:05:00".to_owned()));
        assert_eq!(quiet("21:00-8:00"), Ok("21:00-08:00".to_owned()));
        assert_eq!(hours(" mon 09:00-18:00 "), Ok("mon 09:00-18:00".to_owned()));
        assert!(date("1.12.2026").is_err() && date("2026-02-30").is_err());
        assert!(time_of_day("24:00").is_err() && time_of_day("9").is_err());
        assert!(quiet("08:00-08:00").is_err() && hours("never").is_err());
    }

    #[test]
    fn parts_and_weights_are_of_something() {
        assert_eq!(part("10%"), Ok((Some(100_000), None)));
        assert_eq!(part("0.5 %"), Ok((Some(5_000), None)));
        assert_eq!(part("500"), Ok((None, Some(500))));
        for bad in ["0", "0%", "100%", "-5", "ten", "", "%"] {
            assert!(part(bad).is_err(), "{bad}");
        }
        assert_eq!(permille("2.5%"), Ok(25));
        for bad in ["2.5", "0%", "101%", "NaN%", ""] {
            assert!(permille(bad).is_err(), "{bad}");
        }
        assert_eq!(weight("a=b=3"), Ok(("a=b".to_owned(), 3)));
        assert_eq!(weight("sale"), Ok(("sale".to_owned(), 1)));
        assert!(weight("sale=0").unwrap_err().contains("expected 1 to 1000"));
        assert!(weight("=3").is_err());
    }

    #[test]
    fn spans_are_read_as_people_write_them() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("24h"), Ok(86_400));
        assert_eq!(seconds("7d"), Ok(604_800));
        for bad in ["", "24", "h", "0s", "-1h", "1.5h", "9999999999999999999d", "400d"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
