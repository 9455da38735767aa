use super::*;

fn dz() -> Option<Region> {
    Region::find("DZ")
}

/// What `text` comes to in Algeria: the number, or the error in words.
fn check(text: &str, expect: &str) {
    let got = parse(text, dz()).map_or_else(|e| e.to_string(), |phone| phone.e164);
    assert_eq!(got, expect, "{text:?}");
}

#[test]
fn numbers_are_read_as_people_write_them() {
    for text in [
        "0555123456",
        "0555 12 34 56",
        "0555\u{a0}12\u{202f}34\u{a0}56",
        "0555-12-34-56",
        "0555.12.34.56",
        "(0555) 12 34 56",
        "555123456",
        "+213555123456",
        "+213 (0) 555 12 34 56",
        "+2130555123456",
        "00213555123456",
        "00 213 555 12 34 56",
        "+00213555123456",
        "213555123456",
        "213 (0) 555 12 34 56",
        "213555123456.0",
        "2.13555123456E+11",
        "2,13555123456e11",
        "٠٥٥٥١٢٣٤٥٦",
        "+٢١٣٥٥٥١٢٣٤٥٦",
        "０５５５１２３４５６",
        "tel:+213555123456",
        "Tél. : 0555 12 34 56",
        "=\"0555123456\"",
        "'0555123456",
        "\u{202a}+213 555 12 34 56\u{202c}",
        "＋213 555 12 34 56",
    ] {
        check(text, "+213555123456");
    }
}

#[test]
fn what_is_no_number_says_why() {
    let rounded =
        "a spreadsheet rounded this number and its last digits are lost: format the column as text, enter it again";
    for (text, expect) in [
        ("", "no phone number"),
        ("  \u{a0}", "no phone number"),
        ("unknown", "not a phone number"),
        ("0555 12 34 56 poste 3", "not a phone number"),
        ("*100#", "not a phone number"),
        ("0555123456 / 0666123456", "several numbers in one cell: keep one"),
        ("0555123456;0666123456", "several numbers in one cell: keep one"),
        ("0555123456 0666123456", "several numbers in one cell: keep one"),
        ("0555123456 ou 0666123456", "several numbers in one cell: keep one"),
        ("+213555123456,+213666123456", "several numbers in one cell: keep one"),
        ("2.13555E+11", rounded),
        ("2,14E+11", rounded),
        ("12", "too short for a phone number of DZ"),
        ("055512345", "no phone number of DZ looks like this"),
        ("05551234567", "too long for a phone number of DZ"),
        ("+213155512345678", "too long for a phone number of DZ"),
        ("0999999999", "no phone number of DZ looks like this"),
        ("+999123456789", "no country has this calling code"),
        ("+0123456789", "no country has this calling code"),
    ] {
        check(text, expect);
    }
}

#[test]
fn a_number_without_country_needs_one() {
    assert_eq!(parse("0555123456", None), Err(PhoneError::NoCountry));
    assert_eq!(parse("213555123456", None), Err(PhoneError::NoCountry));
    assert_eq!(parse("00213555123456", None).unwrap().e164, "+213555123456");
    // 00 is no prefix of the United States, and cannot be anything else.
    assert_eq!(parse("00213555123456", Region::find("US")).unwrap().e164, "+213555123456");
}

#[test]
fn foreign_numbers_are_not_read_by_the_rules_of_home() {
    let us = Region::find("us");
    assert_eq!(parse("+86 138 1234 5678", us).unwrap().e164, "+8613812345678");
    assert_eq!(parse("+39 (02) 3661 8300", us).unwrap().e164, "+390236618300");
    assert_eq!(parse("+34 (0) 612 345 678", us).unwrap().e164, "+34612345678");
}

#[test]
fn the_region_is_the_number_s_own() {
    for (text, region) in
        [("+18095551234", "DO"), ("+14165550123", "CA"), ("+447400123456", "GB"), ("+77012345678", "KZ")]
    {
        assert_eq!(parse(text, dz()).unwrap().region, Region::find(region), "{text}");
    }
    assert_eq!(parse("+80012345678", None).unwrap().region, None);
}

#[test]
fn regions_are_named_by_two_letters() {
    assert_eq!("dz".parse::<Region>().unwrap().to_string(), "DZ");
    assert_eq!("UK".parse::<Region>().unwrap().as_str(), "GB");
    for bad in ["", "D", "DZA", "ZZ", "Algeria", "é", "00"] {
        assert!(bad.parse::<Region>().is_err(), "{bad:?}");
    }
    assert_eq!(Region::of_calling_code(213), dz());
    assert_eq!(Region::of_calling_code(1).unwrap().as_str(), "US");
    assert_eq!(Region::of_calling_code(999), None);
}

#[test]
fn every_plan_compiles() {
    assert!(plan::compile_all() > 240);
}

/// The answers of libphonenumber (its Python port, of the same version of the numbering plans) for
/// numbers of all regions and kinds, in several spellings, changed at random, and cut or lengthened.
#[test]
fn numbers_of_all_regions_come_to_what_libphonenumber_says() {
    let answers = include_str!("../../../../fixtures/phones.tsv");
    let mut wrong = Vec::new();
    for line in answers.lines().filter(|line| !line.starts_with('#')) {
        let [text, region, e164, owner] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line:?}") };
        let got = parse(text, Region::find(region));
        let expect = (e164 != "-").then(|| (e164.to_owned(), Region::find(owner)));
        if got.clone().ok().map(|p| (p.e164, p.region)) != expect {
            wrong.push(format!("{line} → {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
}
