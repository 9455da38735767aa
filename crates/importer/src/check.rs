//! From a row to a contact, or to the reason why it is none.

use std::borrow::Cow;

use fanfare_domain::email;
use fanfare_domain::limits::{CELL_BYTES_MAX, TAGS_MAX};
use fanfare_domain::phone::{self, PhoneError, Region};
use fanfare_domain::segment::tag;
use fanfare_store::contacts::{Extra, NewContact};
use fanfare_store::load::Row;

use crate::headers::Field;
use crate::map::Mapping;
use crate::options::Given;
use crate::places;
use crate::record::{CellKind, Record};
use crate::values::{consents, is_nothing, push_json, push_string, yes_or_no};
use crate::words::{shortened, trimmed};

/// Why a row is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The column; none when it is the row as a whole.
    pub(crate) column: Option<usize>,
    /// What stands there.
    pub(crate) value: String,
    /// Why.
    pub(crate) reason: Cow<'static, str>,
}

type Checked<T> = Result<T, Refusal>;

/// Checks rows of one file.
pub(crate) struct Checker<'a> {
    mapping: &'a Mapping,
    region: Option<Region>,
    given: &'a Given,
    json: String,
    /// The last cell that named a country, and what it came to: most files repeat one.
    country: (String, Option<Region>),
}

impl<'a> Checker<'a> {
    /// With the default region of phones, and what is said of all rows.
    pub(crate) fn new(mapping: &'a Mapping, region: Option<Region>, given: &'a Given) -> Self {
        Self { mapping, region, given, json: String::new(), country: (String::new(), None) }
    }

    /// The contact of a row.
    pub(crate) fn check(&mut self, record: &Record, row: u32) -> Checked<Row> {
        self.whole(record)?;
        let mapping = self.mapping;
        let country_cell = text(record, mapping.column(Field::Country))?;
        let named = self.country(country_cell);
        let phone = self.phone(record, named.or(self.region))?;
        let email = self.email(record)?;
        let opted_out = self.opted_out(record)?;
        let language_cell = text(record, mapping.column(Field::Language))?;
        let language = if is_nothing(language_cell) { None } else { places::language(language_cell) };
        let name = self.name(record)?;
        let attributes = self.attributes(record, |json| {
            // What is not understood is kept as it is.
            if named.is_none() {
                other("country", country_cell, json);
            }
            if language.is_none() {
                other("language", language_cell, json);
            }
        })?;
        let (address, email, country) = match (phone, email) {
            (Some(phone), email) => (phone.e164, email, phone.region.or(named)),
            (None, Some(address)) => (address, None, named),
            (None, None) => return Err(self.nothing()),
        };
        let extra = Extra { tags: self.tags(record)?, consent: self.consent(record)?, source: self.source(record)? };
        let extra = (extra != Extra::default()).then(|| Box::new(extra));
        let row_no = row as i32;
        let contact = NewContact { row_no, address, email, name, country, language, attributes, extra };
        Ok(Row { contact, opted_out })
    }

    /// What is wrong with the row rather than with one of its fields.
    fn whole(&self, record: &Record) -> Checked<()> {
        let columns = self.mapping.headers.len();
        if !self.mapping.open && (columns..record.len()).any(|i| !record.cell(i).trim_ascii().is_empty()) {
            let extra: Vec<String> = (columns..record.len()).map(|i| record.lossy(i)).collect();
            let own = self.mapping.own;
            let more = match self.mapping.of_rejects() {
                true => " and take away what stands behind _reason",
                false => "",
            };
            let reason = format!(
                "{} fields where there are {own} columns: put a value that holds the delimiter in quotes{more}",
                own + extra.len()
            );
            return Err(Refusal { column: None, value: shortened(&extra.join(" ")), reason: reason.into() });
        }
        if memchr::memchr(0, record.fields.as_slice()).is_some() {
            let column = (0..record.len()).find(|i| record.cell(*i).contains(&0));
            return Err(refusal(record, column, "a zero byte, which no text has: remove it"));
        }
        if record.fields.as_slice().len() > CELL_BYTES_MAX
            && let Some(i) = (0..record.len()).find(|i| record.cell(*i).len() > CELL_BYTES_MAX)
        {
            let reason = format!("longer than {} KiB: shorten it", CELL_BYTES_MAX / 1024);
            return Err(Refusal { column: Some(i), value: shortened(&record.lossy(i)), reason: reason.into() });
        }
        Ok(())
    }

    fn country(&mut self, cell: &str) -> Option<Region> {
        if is_nothing(cell) {
            return None;
        }
        if self.country.0 != cell {
            self.country = (cell.to_owned(), places::country(cell));
        }
        self.country.1
    }

    fn phone(&self, record: &Record, region: Option<Region>) -> Checked<Option<phone::Phone>> {
        let column = self.mapping.column(Field::Phone);
        let cell = text(record, column)?;
        if is_nothing(cell) {
            return Ok(None);
        }
        phone::parse(cell, region).map(Some).map_err(|e| {
            let reason = match e {
                PhoneError::NoCountry => {
                    "no country code: write it as +213…, or say the country with --country DZ".into()
                }
                e => e.to_string().into(),
            };
            Refusal { column, value: shortened(cell), reason }
        })
    }

    fn email(&self, record: &Record) -> Checked<Option<String>> {
        let column = self.mapping.column(Field::Email);
        let cell = text(record, column)?;
        if is_nothing(cell) {
            return Ok(None);
        }
        let refused = |e: email::EmailError| Refusal { column, value: shortened(cell), reason: e.to_string().into() };
        email::parse(cell).map(Some).map_err(refused)
    }

    fn opted_out(&self, record: &Record) -> Checked<bool> {
        let column = self.mapping.column(Field::OptOut);
        let cell = text(record, column)?;
        if is_nothing(cell) {
            return Ok(false);
        }
        let kind = column.map_or(CellKind::Untyped, |i| record.kind(i));
        yes_or_no(cell, kind).ok_or_else(|| refusal(record, column, "neither yes nor no: has this person opted out?"))
    }

    /// The tags of the row and those of every row, each once, in order.
    fn tags(&self, record: &Record) -> Checked<Vec<String>> {
        let column = self.mapping.column(Field::Tags);
        let cell = text(record, column)?;
        let mut tags = self.given.tags.clone();
        if !is_nothing(cell) {
            for part in cell.split([',', ';', '|', '\n']).filter(|part| !part.trim().is_empty()) {
                let refused = |reason: String| Refusal { column, value: shortened(cell), reason: reason.into() };
                tags.push(tag(part).map_err(refused)?);
            }
        }
        tags.sort_unstable();
        tags.dedup();
        if tags.len() > TAGS_MAX {
            let reason = format!("{} tags: a contact has at most {TAGS_MAX}", tags.len());
            return Err(Refusal { column, value: shortened(cell), reason: reason.into() });
        }
        Ok(tags)
    }

    fn consent(&self, record: &Record) -> Checked<Option<bool>> {
        let column = self.mapping.column(Field::Consent);
        let cell = text(record, column)?;
        if is_nothing(cell) {
            return Ok(self.given.consent);
        }
        let kind = column.map_or(CellKind::Untyped, |i| record.kind(i));
        consents(cell, kind)
            .map(Some)
            .ok_or_else(|| refusal(record, column, "neither yes nor no: has this person opted in?"))
    }

    fn source(&self, record: &Record) -> Checked<Option<String>> {
        let cell = text(record, self.mapping.column(Field::Source))?;
        Ok(if is_nothing(cell) { self.given.source.clone() } else { Some(one_line(cell)) })
    }

    fn name(&self, record: &Record) -> Checked<Option<String>> {
        let whole = text(record, self.mapping.column(Field::Name))?;
        if !is_nothing(whole) {
            return Ok(Some(one_line(whole)));
        }
        let first = text(record, self.mapping.column(Field::FirstName))?;
        let last = text(record, self.mapping.column(Field::LastName))?;
        Ok(match (is_nothing(first), is_nothing(last)) {
            (true, true) => None,
            (false, true) => Some(one_line(first)),
            (true, false) => Some(one_line(last)),
            (false, false) => Some(one_line(&format!("{first} {last}"))),
        })
    }

    fn attributes(&mut self, record: &Record, more: impl FnOnce(&mut String)) -> Checked<Option<String>> {
        self.json.clear();
        self.json.push('{');
        for (column, key) in &self.mapping.attributes {
            let cell = text(record, Some(*column))?;
            if cell.is_empty() {
                continue;
            }
            let before = self.json.len();
            if before > 1 {
                self.json.push(',');
            }
            self.json.push_str(key);
            if !push_json(cell, record.kind(*column), &mut self.json) {
                self.json.truncate(before);
            }
        }
        for column in self.mapping.headers.len()..record.len() {
            other(&format!("column_{}", column + 1), text(record, Some(column))?, &mut self.json);
        }
        more(&mut self.json);
        if self.json.len() == 1 {
            return Ok(None);
        }
        self.json.push('}');
        Ok(Some(self.json.as_str().to_owned()))
    }

    fn nothing(&self) -> Refusal {
        let column = self.mapping.column(Field::Phone).or(self.mapping.column(Field::Email));
        let both = self.mapping.column(Field::Phone).is_some() && self.mapping.column(Field::Email).is_some();
        let reason = match (both, self.mapping.column(Field::Phone)) {
            (true, _) => "neither phone nor e-mail",
            (false, Some(_)) => "no phone number",
            (false, None) => "no e-mail address",
        };
        Refusal { column, value: String::new(), reason: reason.into() }
    }
}

/// The text of a cell without blanks around it; empty if there is no such column.
fn text(record: &Record, column: Option<usize>) -> Checked<&str> {
    let Some(i) = column else { return Ok("") };
    match std::str::from_utf8(record.cell(i)) {
        Ok(cell) => Ok(trimmed(cell)),
        Err(_) => {
            Err(refusal(record, column, "not UTF-8: enter it again, or name the file's encoding with --encoding"))
        }
    }
}

fn refusal(record: &Record, column: Option<usize>, reason: &'static str) -> Refusal {
    let value = column.map_or_else(String::new, |i| shortened(&record.lossy(i)));
    Refusal { column, value, reason: reason.into() }
}

fn other(name: &str, cell: &str, json: &mut String) {
    if is_nothing(cell) {
        return;
    }
    if json.len() > 1 {
        json.push(',');
    }
    push_string(name, json);
    json.push(':');
    push_string(cell, json);
}

/// A name without line breaks and double blanks.
fn one_line(name: &str) -> String {
    let tidy = !name.contains("  ") && !name.contains(|c: char| c.is_control());
    if tidy { name.to_owned() } else { name.split_whitespace().collect::<Vec<_>>().join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    /// The one data row of a CSV as a contact in JSON, or as `column: value: reason`.
    fn checked(csv: &str) -> String {
        let region = Some("DZ".parse().unwrap());
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(csv.as_bytes());
        let records: Vec<Record> = reader.byte_records().map(|fields| Record::untyped(fields.unwrap())).collect();
        let mapping = Mapping::find("f.csv", &records, &Options::default(), region, false).unwrap();
        match Checker::new(&mapping, region, &Given::default()).check(&records[1], 1) {
            Ok(Row { contact: c, opted_out }) => {
                let of = |x: &Option<String>| x.clone().unwrap_or_default();
                let country = c.country.map(|r| r.to_string());
                let parts =
                    [c.address.clone(), of(&c.email), of(&c.name), of(&country), of(&c.language), of(&c.attributes)];
                let more = [
                    (!c.tags().is_empty()).then(|| format!("|{}", c.tags().join("+"))),
                    c.consent().map(|consents| format!("|{}", if consents { "in" } else { "not in" })),
                    c.source().map(|source| format!("|from {source}")),
                    opted_out.then(|| "|out".to_owned()),
                ];
                format!("{}{}", parts.join("|"), more.into_iter().flatten().collect::<String>())
            }
            Err(r) => format!("{}: {}: {}", r.column.map_or("row", |i| &mapping.headers[i]), r.value, r.reason),
        }
    }

    fn check(csv: &str, expect: &str) {
        assert_eq!(checked(csv), expect, "{csv:?}");
    }

    #[test]
    fn a_row_becomes_a_contact() {
        check(
            "phone,email,first name,last name,langue,city,plan,amount,ok\n0555 12 34 56, ALI@Example.com ,Ali,Ben,Français,Oran,,12.50,true\n",
            r#"+213555123456|ali@example.com|Ali Ben|DZ|fr|{"first_name":"Ali","last_name":"Ben","city":"Oran","amount":12.50,"ok":true}"#,
        );
        check("email,name\na@b.dz,\"Ali\n Ben\"\n", "a@b.dz||Ali Ben|||");
        check("phone,pays\n612345678,France\n", "+33612345678|||FR||");
        check("phone,pays\n0555123456,Atlantis\n", r#"+213555123456|||DZ||{"country":"Atlantis"}"#);
        check("phone,email,opt out\n0555123456,n/a,Oui\n", "+213555123456|||DZ|||out");
        check("phone,name\n0555123456\n", "+213555123456|||DZ||");
        check(
            "phone,tags,opt-in,source\n0555123456,\"VIP; new,vip\",subscribed, Web  form\n",
            "+213555123456|||DZ|||new+vip|in|from Web form",
        );
        check("phone,consent\n0555123456,STOP\n", "+213555123456|||DZ|||not in");
    }

    #[test]
    fn a_refused_row_says_where_and_why() {
        check("phone,name\n055512,Ali\n", "phone: 055512: too short for a phone number of DZ");
        check("phone,email\n,\n", "phone: : neither phone nor e-mail");
        check("phone,name\n-,Ali\n", "phone: : no phone number");
        check("phone,email\n0555123456,ali@\n", "email: ali@: the domain of the e-mail address is not valid");
        check(
            "phone,opt out\n0555123456,perhaps\n",
            "opt out: perhaps: neither yes nor no: has this person opted out?",
        );
        check("phone,consent\n0555123456,perhaps\n", "consent: perhaps: neither yes nor no: has this person opted in?");
        let long = format!("phone,tags\n0555123456,{}\n", "é".repeat(101));
        assert!(checked(&long).contains("is no tag: expected 1 to 100 characters"), "{}", checked(&long));
        check(
            "phone,name\n0555123456,Ali,Ben\n",
            "row: Ben: 3 fields where there are 2 columns: put a value that holds the delimiter in quotes",
        );
        check("phone,name\n0555123456,A\0li\n", "name: A\0li: a zero byte, which no text has: remove it");
        let long = format!("phone,note\n0555123456,{}\n", "é".repeat(CELL_BYTES_MAX));
        assert!(checked(&long).ends_with("…: longer than 64 KiB: shorten it"));
    }
}
