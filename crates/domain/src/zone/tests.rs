use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::*;
use crate::phone;

#[test]
fn zones_are_named_as_people_do() {
    let table = [
        ("Europe/Paris", "Europe/Paris"),
        (" europe/paris ", "Europe/Paris"),
        ("America/Sao Paulo", "America/Sao_Paulo"),
        ("utc", "UTC"),
        ("EST", "EST"),
        ("UTC+2", "Etc/GMT-2"),
        ("gmt+2", "Etc/GMT-2"),
        ("+02:00", "Etc/GMT-2"),
        ("-0500", "Etc/GMT+5"),
        ("UTC-11", "Etc/GMT+11"),
        ("UTC+0", "UTC"),
        ("Etc/GMT+2", "Etc/GMT+2"),
    ];
    for (text, zone) in table {
        assert_eq!(parse(text).map(|zone| zone.name()), Ok(zone), "{text}");
    }
    for (text, near) in [
        ("Europe/Pariss", "Europe/Paris"),
        ("Europe/Algiers", "Africa/Algiers"),
        ("Berlin", "Europe/Berlin"),
        ("Mars/Olympus", "for example"),
        ("", "for example"),
        ("+05:30", "for example"),
        ("UTC+99", "for example"),
        ("+é", "for example"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(near) && error.contains(&format!("{text:?}")), "{error}");
    }
}

#[test]
fn every_country_with_phones_has_a_zone() {
    let regions: Vec<String> = (1..1000).filter_map(phone::Region::of_calling_code).map(|r| r.to_string()).collect();
    assert!(regions.len() > 200);
    for region in regions.iter().map(String::as_str).chain(["CA", "KZ", "PR", "GG", "IT", "VA", "SJ"]) {
        assert!(of_number(region, "").is_some(), "{region}");
    }
    for country in number::countries() {
        assert!(country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase()), "{country}");
    }
    assert_eq!(of_number("ZZ", "+213555123456"), None);
}

#[test]
fn a_number_tells_its_zone() {
    let table = [
        ("+213555123456", "Africa/Algiers", true),
        ("+33612345678", "Europe/Paris", true),
        ("+12125550123", "America/New_York", true),
        ("+13125550123", "America/Chicago", true),
        ("+14155550123", "America/Los_Angeles", true),
        ("+18085550123", "Pacific/Honolulu", true),
        ("+16045550123", "America/Vancouver", true),
        ("+17095550123", "America/St_Johns", true),
        ("+17875550123", "America/Puerto_Rico", true),
        ("+18005550123", "America/New_York", false),
        ("+5511961234567", "America/Sao_Paulo", true),
        ("+5568999123456", "America/Rio_Branco", true),
        ("+5592991234567", "America/Manaus", true),
        ("+74232123456", "Asia/Vladivostok", true),
        ("+74951234567", "Europe/Moscow", true),
        ("+79161234567", "Europe/Moscow", false),
        ("+77011234567", "Asia/Almaty", true),
        ("+61892345678", "Australia/Perth", true),
        ("+61889123456", "Australia/Darwin", true),
        ("+61412345678", "Australia/Sydney", false),
        ("+525512345678", "America/Mexico_City", true),
        ("+526641234567", "America/Tijuana", true),
        ("+529981234567", "America/Cancun", true),
        ("+62361123456", "Asia/Makassar", true),
        ("+34922123456", "Atlantic/Canary", true),
    ];
    for (number, zone, sure) in table {
        let known = phone::parse(number, None).unwrap_or_else(|e| panic!("{number}: {e}"));
        let region = known.region.map(|region| region.to_string()).unwrap_or_default();
        let guess = of_number(&region, number).map(|guess| (guess.zone.name(), guess.sure));
        assert_eq!(guess, Some((zone, sure)), "{number} of {region}");
    }
}

#[test]
fn a_contact_says_its_zone_itself_or_its_number_does_or_the_campaign() {
    let campaign = Tz::Asia__Tokyo;
    let found = |zone: &str, by, invalid| Found { zone: parse(zone).unwrap(), by, invalid };
    let table = [
        (Some("Asia/Dubai"), Some("DZ"), "+213555123456", found("Asia/Dubai", By::Attribute, false)),
        (Some("Mars/Olympus"), Some("DZ"), "+213555123456", found("Africa/Algiers", By::Number, true)),
        (Some("nowhere"), None, "a@example.com", found("Asia/Tokyo", By::Campaign, true)),
        (Some(" "), Some("DZ"), "+213555123456", found("Africa/Algiers", By::Number, false)),
        (None, Some("US"), "a@example.com", found("America/New_York", By::Country, false)),
        (None, None, "a@example.com", found("Asia/Tokyo", By::Campaign, false)),
        (None, Some("US"), "+1é", found("America/New_York", By::Country, false)),
    ];
    for (attribute, country, address, expected) in table {
        assert_eq!(of_contact(attribute, country, address, campaign), expected, "{attribute:?} {country:?} {address}");
    }
}

#[test]
fn local_times_that_do_not_exist_or_exist_twice_have_an_instant() {
    type How = fn(DateTime<Utc>) -> Local;
    let table: [(&str, &str, &str, How); 7] = [
        ("Europe/Paris", "2026-12-01T09:00:00", "2026-12-01T08:00:00Z", Local::Once),
        ("Europe/Paris", "2026-03-29T02:30:00", "2026-03-29T01:00:00Z", Local::Skipped),
        ("America/New_York", "2026-03-08T02:00:00", "2026-03-08T07:00:00Z", Local::Skipped),
        ("America/New_York", "2026-03-08T03:00:00", "2026-03-08T07:00:00Z", Local::Once),
        ("America/New_York", "2026-11-01T01:30:00", "2026-11-01T05:30:00Z", Local::FirstOfTwo),
        ("Australia/Lord_Howe", "2026-10-04T02:15:00", "2026-10-03T15:30:00Z", Local::Skipped),
        // The island's 30 December 2011 never was.
        ("Pacific/Apia", "2011-12-30T12:00:00", "2011-12-30T10:00:00Z", Local::Skipped),
    ];
    for (zone, local, at, how) in table {
        let local: NaiveDateTime = local.parse().unwrap();
        let at: DateTime<Utc> = at.parse().unwrap();
        assert_eq!(resolve(zone.parse().unwrap(), local), Some(how(at)), "{local} in {zone}");
    }
}

#[test]
fn zones_with_the_same_time_are_told_from_those_without() {
    let from: DateTime<Utc> = "2026-11-22T10:00:00Z".parse().unwrap();
    let same = |a: &str, b: &str| same_time(parse(a).unwrap(), from) == same_time(parse(b).unwrap(), from);
    assert!(same("Europe/Paris", "Europe/Berlin") && same("America/New_York", "America/Toronto"));
    assert!(!same("Europe/Paris", "Africa/Algiers"), "one of them has summer time");
    assert!(!same("America/Denver", "America/Phoenix") && !same("Europe/Paris", "Europe/London"));
    let pieces = same_time(parse("Europe/Paris").unwrap(), from);
    let changes: Vec<String> =
        pieces.iter().skip(1).map(|p| DateTime::from_timestamp(p.from_s, 0).unwrap().to_rfc3339()).collect();
    assert_eq!(changes, ["2027-03-28T01:00:00+00:00", "2027-10-31T01:00:00+00:00"]);
    assert_eq!(pieces[0].from_s, from.timestamp());
    assert_eq!(pieces[2].to_s, (from + TimeDelta::days(366)).timestamp());
}
