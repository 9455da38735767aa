//! What is refused and how, what is told of daylight saving, and a model.

use chrono::{DateTime, Datelike as _, NaiveDateTime, TimeDelta, Timelike as _, Utc};
use chrono_tz::Tz;

use super::{Pattern, Schedule, Shift, local_time};
use crate::rng::Rng;
use crate::zone::parse as zone;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn said(pattern: Result<Pattern, super::Error>) -> String {
    pattern.map_or_else(|e| e.to_string(), |p| panic!("taken: {p:?}"))
}

#[test]
fn cron_errors_name_the_field_and_what_to_write() {
    let cases = [
        ("", "has 0 fields, expected five"),
        ("* * * *", "has 4 fields, expected five: minute hour day-of-month month day-of-week"),
        ("0 30 9 * * mon", "has 6 fields, expected five"),
        ("0 30 9 * * mon", "seconds and years are no fields"),
        ("every Monday 09:00", "--words"),
        ("60 * * * *", "minute \"60\""),
        ("60 * * * *", "expected 0 to 59"),
        ("0 24 * * *", "hour \"24\""),
        ("0 0 0 * *", "day of month \"0\""),
        ("0 0 32 * *", "expected 1 to 31"),
        ("0 0 * 13 *", "month \"13\""),
        ("0 0 * * 8", "day of week \"8\""),
        ("0 0 * * 8", "0 and 7 are Sunday"),
        ("0 0 * * funday", "a name sun-sat"),
        ("0 0 * janu-jun *", "expected 1 to 12, a name jan-dec"),
        ("0 0 5-1 * *", "the range ends before it begins; write two, 5-31,1-1"),
        ("0 22-2 * * *", "22-23,0-2"),
        ("*/0 * * * *", "a number from 1 to 60"),
        ("*/61 * * * *", "would only ever meet 0"),
        ("0-10/ * * * *", "a number from 1 to 60"),
        ("-90 * * * *", "minute \"-90\""),
        ("+5 * * * *", "expected 0 to 59"),
        ("1,,2 * * * *", "minute \"\""),
        ("1-1_0 * * * *", "minute \"1-1_0\""),
        ("0-1& * * * *", "minute \"0-1&\""),
        ("99999999999999999999 * * * *", "expected 0 to 59"),
        ("0 0 L * *", "monthly on the last day 09:00"),
        ("0 0 * * 2#2", "nth weekdays"),
        ("0 0 ? * *", "? of other crons is * here"),
        ("@reboot", "none of @yearly"),
        ("0 0 30 2 *", "never comes: no month of \"2\" has a day of \"30\""),
        ("0 0 31 2,4,6,9,11 *", "never comes"),
        ("0 0 30 feb */2", "never comes"),
    ];
    for (cron, expected) in cases {
        let said = said(Pattern::cron(cron));
        assert!(said.contains(expected) && said.contains(cron), "{cron:?}: {said}");
    }
    // Either day: the Fridays come.
    assert!(Pattern::cron("0 0 30 2 5").is_ok());
}

#[test]
fn words_errors_name_the_word_and_what_to_write() {
    let cases = [
        ("", "e.g. every day 18:00"),
        ("fortnightly", "cannot read \"fortnightly\""),
        ("every", "to its end"),
        ("every fortnight", "\"fortnight\" in \"every fortnight\""),
        ("every Monday 25:00", "\"25:00\""),
        ("every Monday 25:00", "a time from 00:00 to 23:59"),
        ("every Monday 9:5", "\"9:5\""),
        ("every Monday 13pm", "\"13pm\""),
        ("every Monday 09:00 sharp", "\"sharp\""),
        ("every Monday and cheese 09:00", "\",\""),
        ("every 7 minutes", "write 6 or 10"),
        ("every 90 minutes", "write 60"),
        ("every 5 hours", "write 4 or 6"),
        ("every 0 hours", "write 1"),
        ("every 2 weeks on Monday 09:00", "1st and 3rd Monday of the month"),
        ("every other day 09:00", "there is no day to count from"),
        ("every 3 days 09:00", "there is no day to count from"),
        ("every 2nd Tuesday 09:00", "of the month"),
        ("every 6th Tuesday of the month 09:00", "no month has so many"),
        ("monthly 09:00", "monthly on the 1st 09:00"),
        ("monthly on the 32nd 09:00", "\"32nd\""),
        ("monthly on the last 09:00", "after last"),
        ("weekly at 09:00", "weekly on Monday 09:00"),
        ("yearly on 30 February 09:00", "never comes"),
        ("yearly on 25 at 09:00", "the date's month"),
        ("30 9 * * mon-fri", "--cron '30 9 * * mon-fri'"),
        ("every 2 hours between 09:10 and 09:50", "nothing lies between"),
        ("every 4294967296 minutes", "\"4294967296\""),
    ];
    for (words, expected) in cases {
        let said = said(Pattern::words(words));
        assert!(said.contains(expected), "{words:?}: {said}");
    }
}

#[test]
fn seconds_are_counted_from_the_full_minute() {
    let pattern = Pattern::words("every 20 seconds").unwrap();
    let schedule = Schedule { pattern, zone: Tz::UTC };
    let found: Vec<String> = schedule.from(at("2026-03-01T09:00:00.5Z")).take(3).map(|i| i.at.to_rfc3339()).collect();
    assert_eq!(found, ["2026-03-01T09:00:20+00:00", "2026-03-01T09:00:40+00:00", "2026-03-01T09:01:00+00:00"]);
    assert!(said(Pattern::words("every 7 seconds")).contains("write 6 or 10"));
}

#[test]
fn what_daylight_saving_does_is_told() {
    let schedule = Schedule { pattern: Pattern::cron("30 2 * * *").unwrap(), zone: zone("Europe/Paris").unwrap() };
    let time = |text: &str| local_time(text).unwrap();
    let shifts = |from: &str| schedule.from(at(from)).take(2).map(|i| i.shift).collect::<Vec<_>>();
    assert_eq!(shifts("2026-03-29T00:00:00Z"), [Some(Shift::Skipped(time("2026-03-29T02:30"))), None]);
    assert_eq!(shifts("2026-10-25T00:00:00Z"), [Some(Shift::Twice(time("2026-10-25T02:30"))), None]);
    assert!(
        Pattern::words("monthly on the last day").is_ok_and(|p| matches!(p, Pattern::Calendar(c) if c.is_untimed()))
    );
}

#[test]
fn a_local_time_that_is_not_in_the_calendar_is_refused() {
    assert!(local_time("2026-02-30T09:00").unwrap_err().to_string().contains("2026-12-01T09:00"));
}

#[test]
fn the_ends_of_the_calendar_are_no_panic() {
    let schedule = Schedule { pattern: Pattern::cron("0 0 * * *").unwrap(), zone: zone("Pacific/Apia").unwrap() };
    assert!(schedule.next(DateTime::<Utc>::MAX_UTC).is_none());
    assert!(schedule.next(DateTime::<Utc>::MIN_UTC).is_none());
    // The day that Samoa left out.
    let found = schedule.next(at("2011-12-29T12:00:00Z")).unwrap();
    assert_eq!((found.at, found.shift.is_some()), (at("2011-12-30T10:00:00Z"), true));
}

/// A field of the model: its text and the values it stands for.
fn field(rng: &Rng, low: u32, high: u32) -> (String, Vec<u32>) {
    let value = || low + rng.below(u64::from(high - low + 1)) as u32;
    let (a, b) = (value(), value());
    let (from, to) = (a.min(b), a.max(b));
    let step = 1 + rng.below(7) as u32;
    match rng.below(5) {
        0 => ("*".to_owned(), (low..=high).collect()),
        1 => (format!("*/{step}"), (low..=high).filter(|v| (v - low).is_multiple_of(step)).collect()),
        2 => (format!("{a}"), vec![a]),
        3 => (format!("{a},{b}"), vec![a, b]),
        _ => (format!("{from}-{to}/{step}"), (from..=to).filter(|v| (v - from) % step == 0).collect()),
    }
}

/// Walks the clock of the world minute by minute, and asks of each what the clock on the wall shows.
fn walked(
    zone: Tz,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    holds: impl Fn(NaiveDateTime) -> bool,
) -> Vec<DateTime<Utc>> {
    let minute = TimeDelta::minutes(1);
    let (mut found, mut at) = (Vec::new(), from);
    let mut furthest = (from - minute).with_timezone(&zone).naive_local();
    while at < until {
        let shown = at.with_timezone(&zone).naive_local();
        let mut due = false;
        // What was shown before is not due again; what is jumped over is due now.
        while furthest < shown {
            furthest += minute;
            due |= holds(furthest);
        }
        if due {
            found.push(at);
        }
        at += minute;
    }
    found
}

#[test]
fn random_expressions_agree_with_a_walk_through_the_minutes() {
    let seed = 20_260_301;
    let rng = Rng::seeded(seed);
    let stretches = [
        ("Europe/Paris", "2026-03-28T00:00:00Z"),
        ("America/New_York", "2026-10-31T00:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T00:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T00:00:00Z"),
        ("Africa/Algiers", "2026-02-27T00:00:00Z"),
    ];
    for round in 0..400 {
        let (name, from) = stretches[round % stretches.len()];
        let (zone, from) = (zone(name).unwrap(), at(from));
        let until = from + TimeDelta::days(4);
        let (minute, hour) = (field(&rng, 0, 59), field(&rng, 0, 23));
        let (day, month, week) = (field(&rng, 1, 31), field(&rng, 1, 12), field(&rng, 0, 6));
        let text = format!("{} {} {} {} {}", minute.0, hour.0, day.0, month.0, week.0);
        let Ok(pattern) = Pattern::cron(&text) else { continue };
        let either = !day.0.starts_with('*') && !week.0.starts_with('*');
        let expected = walked(zone, from, until, |t| {
            let of_month = day.1.contains(&t.day());
            let of_week = week.1.contains(&t.weekday().num_days_from_sunday());
            let day = if either { of_month || of_week } else { of_month && of_week };
            minute.1.contains(&t.minute()) && hour.1.contains(&t.hour()) && month.1.contains(&t.month()) && day
        });
        let found: Vec<_> = Schedule { pattern, zone }.from(from).map(|i| i.at).take_while(|at| *at < until).collect();
        assert_eq!(found, expected, "seed {seed}: {text:?} in {name}");
    }
}
