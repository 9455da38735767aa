//! Which column holds what.

use std::collections::HashSet;

use fanfare_domain::email;
use fanfare_domain::phone::{self, PhoneError, Region};
use fanfare_store::nearest::nearest;

use crate::error::{ImportError, Result, meant};
use crate::headers::{self, Field, Meaning};
use crate::options::Options;
use crate::record::Record;
use crate::rejects::MARKS;
use crate::values::push_string;
use crate::words::{shortened, snake, squashed, trimmed};

/// Rows that are looked at to tell header and data apart.
pub(crate) const SAMPLE_ROWS: usize = 100;
/// A header stands in one of the first rows, below a title at most.
const TITLE_ROWS_MAX: usize = 20;
/// Of a column's values in the sample, this share must be addresses, in percent, if its name does not say so.
const ADDRESSES_PERCENT_MIN: usize = 60;
/// Names that attributes cannot have: contacts have them already.
const RESERVED: [&str; 10] =
    ["address", "phone", "email", "name", "country", "language", "opt_out", "tags", "consent", "source"];

/// Where the fields of a contact are found in a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// Names of the columns, in order.
    pub(crate) headers: Vec<String>,
    /// How many of them are the contacts' own; behind those come the ones that a rejects file adds.
    pub(crate) own: usize,
    /// Records before the first data row.
    pub(crate) skip: usize,
    fields: [Option<usize>; Field::ALL.len()],
    /// Columns that become attributes, each with its name as a JSON key: `"city":`.
    pub(crate) attributes: Vec<(usize, String)>,
    /// A cell beyond the columns is one without a name, as in a sheet, and no fault, as in a CSV.
    pub(crate) open: bool,
}

impl Mapping {
    /// The column of a field.
    pub(crate) fn column(&self, field: Field) -> Option<usize> {
        self.fields[field as usize]
    }

    /// Works out the mapping from the first rows and what the command line says.
    pub(crate) fn find(
        file: &str,
        sample: &[Record],
        options: &Options,
        region: Option<Region>,
        open: bool,
    ) -> Result<Self> {
        let header = header_row(sample, options, region);
        let width = match header {
            Some(at) if !open => sample[at].len(),
            _ => sample.iter().map(Record::len).max().unwrap_or(0),
        };
        let names = |record: &Record| (0..width).map(|i| trimmed(&record.lossy(i)).to_owned()).collect::<Vec<_>>();
        let mut written = header.map_or_else(|| vec![String::new(); width], |at| names(&sample[at]));
        let marks = marks_at(&written);
        if let Some(at) = marks {
            // A spreadsheet program fills the header up to the widest row.
            written.truncate(at + MARKS.len());
        }
        let own = marks.unwrap_or(written.len());
        let named = written.into_iter().enumerate();
        let headers: Vec<String> =
            named.map(|(i, name)| if name.is_empty() { format!("column_{}", i + 1) } else { name }).collect();
        let skip = header.map_or(0, |at| at + 1);
        let data = &sample[skip.min(sample.len())..];
        let taken = (own..headers.len()).collect();
        let mut plan = Plan { file, headers: &headers, own, fields: [None; Field::ALL.len()], taken };
        plan.ensure_no_slip(&options.map, data, region)?;
        let named_attributes = plan.take(&options.map, data, region)?;
        let has_address = plan.has(Field::Phone) || plan.has(Field::Email);
        if !has_address {
            return Err(plan.no_address(data, region));
        }
        let attributes = plan.attributes(named_attributes);
        let fields = plan.fields;
        Ok(Self { headers, own, skip, fields, attributes, open: open && marks.is_none() })
    }

    /// Whether the file is one of refused rows.
    pub(crate) fn of_rejects(&self) -> bool {
        self.own < self.headers.len()
    }
}

/// The row with the names of the columns; none if the first row is data.
fn header_row(sample: &[Record], options: &Options, region: Option<Region>) -> Option<usize> {
    let cells = |record: &Record| (0..record.len()).map(|i| record.lossy(i)).collect::<Vec<_>>();
    let first = cells(sample.first()?);
    if marks_at(&first).is_some() {
        return Some(0);
    }
    if options.no_header {
        return None;
    }
    for (at, record) in sample.iter().take(TITLE_ROWS_MAX).enumerate() {
        let cells = cells(record);
        if cells.iter().any(|cell| is_address(trimmed(cell), region)) {
            // Data begins here, and no header was above it that we know.
            return if at == 0 { None } else { Some(0) };
        }
        let known = |cell: &String| {
            let mapped = options.map.iter().any(|(_, column)| squashed(column) == squashed(cell));
            mapped || matches!(headers::meaning(cell), Some(Meaning::Field(Field::Phone | Field::Email, _)))
        };
        if cells.iter().any(known) {
            return Some(at);
        }
    }
    Some(0)
}

/// Where the columns begin that a rejects file adds, if it is one.
fn marks_at(headers: &[String]) -> Option<usize> {
    let end = headers.iter().rposition(|h| !trimmed(h).is_empty())? + 1;
    let at = end.checked_sub(MARKS.len())?;
    headers[at..end].iter().map(|h| trimmed(h)).eq(MARKS).then_some(at)
}

/// The fields that a name which is none of theirs may mean.
fn near_fields(name: &str) -> Vec<String> {
    match headers::meaning(name) {
        Some(Meaning::Field(field, _)) => vec![field.as_str().to_owned()],
        _ => nearest(name, Field::ALL.map(Field::as_str)),
    }
}

fn is_email(cell: &str) -> bool {
    cell.contains('@') && email::parse(cell).is_ok()
}

fn is_phone(cell: &str, region: Option<Region>) -> bool {
    let digits = cell.chars().filter(|c| c.is_numeric()).count();
    (8..=17).contains(&digits) && matches!(phone::parse(cell, region), Ok(_) | Err(PhoneError::NoCountry))
}

fn is_address(cell: &str, region: Option<Region>) -> bool {
    is_email(cell) || is_phone(cell, region)
}

/// A mapping in the making.
#[derive(Clone)]
struct Plan<'a> {
    file: &'a str,
    headers: &'a [String],
    own: usize,
    fields: [Option<usize>; Field::ALL.len()],
    taken: HashSet<usize>,
}

impl Plan<'_> {
    fn has(&self, field: Field) -> bool {
        self.fields[field as usize].is_some()
    }

    fn set(&mut self, field: Field, column: usize) {
        self.fields[field as usize] = Some(column);
        self.taken.insert(column);
    }

    /// What `--map` says, then well-known names; in a file without names, then what looks like an address.
    /// Gives the attributes that `--map` names, as column and name.
    fn take(
        &mut self,
        map: &[(String, String)],
        data: &[Record],
        region: Option<Region>,
    ) -> Result<Vec<(usize, String)>> {
        let attributes = self.take_named(map)?;
        self.take_known();
        if self.headers[..self.own].iter().enumerate().all(|(i, h)| *h == format!("column_{}", i + 1)) {
            self.take_by_content(data, region);
        }
        Ok(attributes)
    }

    /// Holds that no attribute takes the column of the phones or e-mails away by a slip in a field's name.
    fn ensure_no_slip(&self, map: &[(String, String)], data: &[Record], region: Option<Region>) -> Result<()> {
        let (fields, attributes): (Vec<_>, Vec<_>) =
            map.iter().cloned().partition(|(field, _)| Field::named(field).is_some());
        let mut without = self.clone();
        without.take(&fields, data, region)?;
        for (field, column) in attributes {
            let at = self.resolve(&field, &column)?;
            let near = near_fields(&field);
            let taken = [Field::Phone, Field::Email].into_iter().find(|f| without.fields[*f as usize] == Some(at));
            if let Some(taken) = taken.filter(|_| !near.is_empty()) {
                let why = format!(
                    "there is no field {field:?}, and without --map the column is the {}{}. An attribute of this \
                     column needs a name that is less like a field's",
                    taken.as_str(),
                    meant(&near)
                );
                return Err(ImportError::BadMap { field, column, why });
            }
        }
        Ok(())
    }

    /// What `--map` says; the attributes among it, as column and name.
    fn take_named(&mut self, map: &[(String, String)]) -> Result<Vec<(usize, String)>> {
        let mut attributes: Vec<(usize, String)> = Vec::new();
        for (field, column) in map {
            let bad = |why: &str| {
                let why = why.to_owned();
                Err(ImportError::BadMap { field: field.clone(), column: column.clone(), why })
            };
            let at = self.resolve(field, column)?;
            if self.taken.contains(&at) {
                return bad("the column is mapped already: a column holds one field");
            }
            match Field::named(field) {
                Some(known) if self.has(known) => return bad("the field is mapped already"),
                Some(known) => self.set(known, at),
                None => {
                    let name = snake(field);
                    if name.is_empty()
                        || RESERVED.contains(&name.as_str())
                        || attributes.iter().any(|(_, n)| *n == name)
                    {
                        return bad("the name is empty, taken, or reserved: give the attribute another one");
                    }
                    self.taken.insert(at);
                    attributes.push((at, name));
                }
            }
        }
        Ok(attributes)
    }

    /// The column that a person names: as in the header, in any spelling, or by its number from 1.
    fn resolve(&self, field: &str, column: &str) -> Result<usize> {
        let free = |at: &usize| !(self.headers[*at].starts_with('_') && MARKS.contains(&self.headers[*at].as_str()));
        let exact = || self.headers.iter().position(|h| h == column);
        let alike = || self.headers.iter().position(|h| !squashed(h).is_empty() && squashed(h) == squashed(column));
        let numbered = || column.trim().parse::<usize>().ok()?.checked_sub(1).filter(|i| *i < self.headers.len());
        exact().or_else(alike).or_else(numbered).filter(free).ok_or_else(|| ImportError::UnknownColumn {
            file: self.file.to_owned(),
            field: field.to_owned(),
            column: column.to_owned(),
            near: nearest(column, self.headers),
            columns: self.columns(),
        })
    }

    /// Well-known names.
    fn take_known(&mut self) {
        let mut ranked: Vec<(u8, usize, Field)> = Vec::new();
        let mut some_name = None;
        for (at, header) in self.headers.iter().enumerate().filter(|(at, _)| !self.taken.contains(at)) {
            match headers::meaning(header) {
                Some(Meaning::Field(field, rank)) => ranked.push((rank, at, field)),
                Some(Meaning::SomeName) if some_name.is_none() => some_name = Some(at),
                _ => {}
            }
        }
        ranked.sort_unstable_by_key(|(rank, at, _)| (*rank, *at));
        for (_, at, field) in ranked {
            if !self.has(field) {
                self.set(field, at);
            }
        }
        if let Some(at) = some_name {
            let field = match (self.has(Field::FirstName), self.has(Field::LastName)) {
                (true, false) => Field::LastName,
                (false, true) => Field::FirstName,
                _ => Field::Name,
            };
            if !self.has(field) {
                self.set(field, at);
            }
        }
    }

    /// Columns without names, by what they hold.
    fn take_by_content(&mut self, data: &[Record], region: Option<Region>) {
        for field in [Field::Email, Field::Phone] {
            if !self.has(field)
                && let Some(at) = self.looks_like(field, data, region)
            {
                self.set(field, at);
            }
        }
    }

    /// The column whose values look most like those of the field.
    fn looks_like(&self, field: Field, data: &[Record], region: Option<Region>) -> Option<usize> {
        let shares = (0..self.headers.len()).filter(|at| !self.taken.contains(at)).map(|at| {
            let cells = data.iter().map(|record| record.lossy(at));
            let filled: Vec<String> = cells.map(|c| trimmed(&c).to_owned()).filter(|c| !c.is_empty()).collect();
            let fits = filled.iter().filter(|cell| match field {
                Field::Email => is_email(cell),
                _ => is_phone(cell, region),
            });
            (fits.count() * 100 / filled.len().max(1), at)
        });
        let best = shares.filter(|(share, _)| *share >= ADDRESSES_PERCENT_MIN);
        best.max_by_key(|(share, at)| (*share, std::cmp::Reverse(*at))).map(|(_, at)| at)
    }

    /// All other columns, under names of their own.
    fn attributes(&self, named: Vec<(usize, String)>) -> Vec<(usize, String)> {
        let mut used: HashSet<String> = RESERVED.iter().map(|name| (*name).to_owned()).collect();
        used.extend(named.iter().map(|(_, name)| name.clone()));
        let mut all = named;
        for field in [Field::FirstName, Field::LastName] {
            if let Some(at) = self.fields[field as usize] {
                used.insert(field.as_str().to_owned());
                all.push((at, field.as_str().to_owned()));
            }
        }
        for (at, header) in self.headers.iter().enumerate().filter(|(at, _)| !self.taken.contains(at)) {
            let name = Some(snake(header)).filter(|n| !n.is_empty()).unwrap_or_else(|| format!("column_{}", at + 1));
            let mut unique = name.clone();
            let mut n = 2;
            while !used.insert(unique.clone()) {
                unique = format!("{name}_{n}");
                n += 1;
            }
            all.push((at, unique));
        }
        all.sort_unstable();
        let key = |name: &str| {
            let mut key = String::with_capacity(name.len() + 3);
            push_string(name, &mut key);
            key.push(':');
            key
        };
        all.into_iter().map(|(at, name)| (at, key(&name))).collect()
    }

    fn no_address(&self, data: &[Record], region: Option<Region>) -> ImportError {
        let found = [Field::Phone, Field::Email].into_iter().find_map(|field| {
            let at = self.looks_like(field, data, region)?;
            Some((field.as_str(), self.headers[at].clone()))
        });
        ImportError::NoAddress {
            file: self.file.to_owned(),
            columns: self.columns(),
            example: self.headers.first().map(|h| shortened(h)).unwrap_or_default(),
            looks_like: found,
        }
    }

    fn columns(&self) -> String {
        columns(self.headers)
    }
}

/// Columns as an error lists them.
pub(crate) fn columns(headers: &[String]) -> String {
    const SHOWN_MAX: usize = 30;
    let shown: Vec<String> = headers.iter().take(SHOWN_MAX).map(|h| format!("{:?}", shortened(h))).collect();
    let more = headers.len().saturating_sub(SHOWN_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests;
