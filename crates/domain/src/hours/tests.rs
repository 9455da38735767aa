use chrono::{DateTime, Datelike as _, TimeDelta, Timelike as _, Utc};
use chrono_tz::Tz;

use super::*;
use crate::rng::Rng;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn hours(text: &str) -> Hours {
    text.parse().unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn hours_are_read_as_people_write_them() {
    let table = [
        ("mon-fri 09:00-18:00, sat 10:00-14:00", "mon 9:00-18:00; tue-friday 09:00-18:00; SAT 10:00-14:00"),
        ("09:00-18:00", "daily 9:00-18:00"),
        ("09:00-18:00", "sat-fri 09:00-18:00"),
        ("mon wed 09:00-12:00 14:00-18:00", "mo 09:00-12:00, mo 14:00-18:00, we 09:00-12:00 14:00-18:00"),
        ("fri 20:00-02:00", "fri 20:00-24:00, sat 00:00-02:00"),
        ("sun 23:00-01:00", "sun 23:00-24:00, mon 0:00-1:00"),
        ("09:00-12:00, 11:00-18:00", "09:00-18:00"),
        ("00:00-24:00", "mon-sun 12:00-12:00"),
    ];
    for (text, same) in table {
        assert_eq!(hours(text), hours(same), "{text} and {same}");
    }
    assert!(hours("00:00-24:00").is_always());
    for (text, part) in [
        ("", "days and times"),
        ("mon-fri", "days and times"),
        ("mon-fry 09:00-18:00", "mon-fry"),
        ("m 09:00-18:00", "a day"),
        ("mon 9-18", "9-18"),
        ("mon 09:00-25:00", "09:00-25:00"),
        ("mon 24:00-09:00", "24:00-09:00"),
        ("mon 09:60-10:00", "09:60-10:00"),
        ("mon 09:00-18:00,", "days and times"),
        ("mon +9:00-18:00", "a day"),
    ] {
        let error = text.parse::<Hours>().unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn quiet_hours_leave_the_rest_of_every_day() {
    let quiet = |text: &str| text.parse::<Quiet>().map(Quiet::hours);
    assert_eq!(quiet("21:00-08:00").unwrap(), hours("08:00-21:00"));
    assert_eq!(quiet("13:00-15:00").unwrap(), hours("00:00-13:00 15:00-24:00"));
    assert_eq!(quiet("00:00-08:00").unwrap(), hours("08:00-24:00"));
    assert_eq!(quiet("21:00-24:00").unwrap(), hours("00:00-21:00"));
    assert_eq!("9:00-21:30".parse::<Quiet>().unwrap().to_string(), "09:00-21:30");
    for never in ["09:00-09:00", "00:00-24:00"] {
        assert!(matches!(quiet(never), Err(HoursError::Never(_))), "{never}");
    }
    for bad in ["", "21:00", "21-8", "21:00-08:00-09:00", "mon 21:00-08:00", "24:00-08:00"] {
        assert!(matches!(quiet(bad), Err(HoursError::Form { .. })), "{bad}");
    }
}

#[test]
fn what_several_allow_is_what_all_of_them_do() {
    let both = hours("mon-fri 09:00-18:00").and(&hours("08:00-12:00 13:00-20:00"));
    assert_eq!(both, hours("mon-fri 09:00-12:00 13:00-18:00"));
    assert_eq!(both.and(&Hours::always()), both);
    assert!(hours("mon 09:00-18:00").and(&hours("sat 09:00-18:00")).is_never());
    assert!(hours("09:00-12:00").and(&hours("12:00-13:00")).is_never(), "an end is not within");
}

#[test]
fn the_next_window_goes_by_the_clocks_of_the_zone() {
    let table = [
        // Within, before, after, and at the very end.
        ("09:00-18:00", "Africa/Algiers", "2026-03-02T10:00:00Z", "2026-03-02T10:00:00Z", "2026-03-02T17:00:00Z"),
        ("09:00-18:00", "Africa/Algiers", "2026-03-02T07:00:00Z", "2026-03-02T08:00:00Z", "2026-03-02T17:00:00Z"),
        ("09:00-18:00", "Africa/Algiers", "2026-03-02T17:00:00Z", "2026-03-03T08:00:00Z", "2026-03-03T17:00:00Z"),
        ("mon 09:00-18:00", "Asia/Tokyo", "2026-03-02T09:00:00Z", "2026-03-09T00:00:00Z", "2026-03-09T09:00:00Z"),
        // Over midnight, and over the end of the week.
        ("fri 20:00-02:00", "UTC", "2026-03-07T01:00:00Z", "2026-03-07T01:00:00Z", "2026-03-07T02:00:00Z"),
        ("sun 22:00-03:00", "UTC", "2026-03-08T21:00:00Z", "2026-03-08T22:00:00Z", "2026-03-09T03:00:00Z"),
        // Clocks forward at 01:00Z: the day is an hour short, and 02:30 does not exist.
        ("09:00-18:00", "Europe/Paris", "2026-03-29T00:00:00Z", "2026-03-29T07:00:00Z", "2026-03-29T16:00:00Z"),
        ("sun 02:00-03:00", "Europe/Paris", "2026-03-28T00:00:00Z", "2026-04-05T00:00:00Z", "2026-04-05T01:00:00Z"),
        ("sun 02:30-04:00", "Europe/Paris", "2026-03-28T00:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"),
        // Clocks back at 01:00Z: 02:00 to 03:00 is shown twice, and open twice.
        ("sun 02:00-03:00", "Europe/Paris", "2026-10-25T00:00:00Z", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"),
        ("sun 02:30-03:00", "Europe/Paris", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"),
        // Half an hour from everybody.
        ("09:00-18:00", "Asia/Kolkata", "2026-03-02T03:29:59Z", "2026-03-02T03:30:00Z", "2026-03-02T12:30:00Z"),
    ];
    for (open, zone, now, opens, closes) in table {
        let window = hours(open).next(zone.parse().unwrap(), at(now));
        assert_eq!(window, Some(Window { opens: at(opens), closes: Some(at(closes)) }), "{open} in {zone} at {now}");
    }
    let always = Hours::always().next(Tz::UTC, at("2026-03-02T10:00:00Z"));
    assert_eq!(always, Some(Window { opens: at("2026-03-02T10:00:00Z"), closes: None }));
}

/// Whether the clocks of the zone show a time within.
fn is_open(hours: &Hours, zone: Tz, at: DateTime<Utc>) -> bool {
    let local = at.with_timezone(&zone);
    let minute = local.weekday().num_days_from_monday() * 1440 + local.hour() * 60 + local.minute();
    hours.open.iter().any(|(from, to)| (u32::from(*from)..u32::from(*to)).contains(&minute))
}

#[test]
fn windows_are_those_that_the_clocks_show_minute_by_minute() {
    let seed = 20_260_329;
    let rng = Rng::seeded(seed);
    let zones = [
        "Europe/Paris",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "America/St_Johns",
        "Africa/Casablanca",
    ];
    let changes = [
        "2026-03-29T01:00:00Z",
        "2026-10-25T01:00:00Z",
        "2026-03-08T07:00:00Z",
        "2026-04-04T15:00:00Z",
        "2026-02-15T02:00:00Z",
    ];
    for case in 0..400 {
        let span = |_| {
            let from = rng.below(u64::from(WEEK)) as u16;
            (from, from + 1 + rng.below(600) as u16)
        };
        let hours = Hours::of((0..1 + rng.below(8)).map(span));
        let zone: Tz = zones[rng.below(zones.len() as u64) as usize].parse().unwrap();
        let near = at(changes[rng.below(changes.len() as u64) as usize]);
        let mut now = near + TimeDelta::minutes(rng.below(4 * 1440) as i64 - 2 * 1440);
        let Window { opens, closes } = hours.next(zone, now).unwrap();
        let case = format!("seed {seed}, case {case}: {hours:?} in {zone} at {now}");
        let closes = closes.unwrap_or_else(|| panic!("{case}: closes"));
        while now < closes {
            assert_eq!(is_open(&hours, zone, now), now >= opens, "{case}: {now}, {opens} to {closes}");
            now += TimeDelta::minutes(1);
        }
        assert!(!is_open(&hours, zone, closes), "{case}: {closes}");
    }
}
