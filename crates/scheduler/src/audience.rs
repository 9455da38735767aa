//! Who of a list is written to, at which address, in which words, and who is not and why: the one place
//! that decides it, for the plan, for the preview and for the expand alike.

use std::collections::HashMap;
use std::fmt;

use fanfare_domain::state::OnMissing;
use fanfare_domain::template::{Arms, CONTACT_VARIABLES, Fallback, RenderError, is_missing, variable_name};
use fanfare_store::audience::{Barred, Contact, Filter, Source};
use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::first::First;

/// Most attribute names whose variable is remembered.
const KNOWN_ATTRIBUTES_MAX: usize = 10_000;

/// A contact that is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipient<'c> {
    /// Phone in E.164, or e-mail.
    pub address: &'c str,
    /// ISO 3166 alpha-2, for the price.
    pub country: Option<&'c str>,
    /// How many times the price is due.
    pub units: i16,
    /// The template variant it gets.
    pub variant: i16,
}

/// Why a contact is not written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exclusion {
    /// It is on a list that the campaign leaves out.
    Minus,
    /// The campaign's expression does not hold for it.
    Outside,
    /// It has no address for the channel.
    NoAddress,
    /// Its mailbox belongs to another contact of the list too, whose address is smaller.
    Duplicate,
    /// Its address is suppressed.
    Suppressed,
    /// Another run of the campaign has reached it, or may.
    Reached,
    /// It has not opted in, and the campaign is marketing.
    NoConsent,
    /// It has had as many marketing messages as a contact may.
    Capped,
    /// It lacks a variable.
    Missing,
    /// The text does not fit its values, or becomes too long.
    Unfit(RenderError),
}

/// Judges the contacts of a list for what a run says and one policy.
#[derive(Debug)]
pub struct Audience {
    says: Arms,
    fallback: Option<Fallback>,
    first: Option<First>,
    by_phone: bool,
    on_missing: OnMissing,
    columns: Vec<Column>,
    known: HashMap<Box<str>, Option<Wanted>>,
    /// Of the contact judged last.
    values: Vec<Value>,
    lacking: Vec<usize>,
    /// Contacts in which each variable was there.
    seen: Vec<u64>,
}

/// Where a variable's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    FirstName,
    Phone,
    Email,
    Country,
    Language,
    Attribute,
}

/// The variable that an attribute stands for.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    position: usize,
    /// The attribute is written as the variable is.
    exact: bool,
}

impl Audience {
    /// Judges for what is said. With [`OnMissing::Default`] a contact that lacks a variable is written
    /// to; else it is left out (and `Refuse` is for the caller to act on).
    pub fn new(says: Arms, on_missing: OnMissing) -> Self {
        let columns = says.variables().iter().map(|name| Column::of(name)).collect();
        let variables = says.variables().len();
        Self {
            by_phone: says.channel().by_phone(),
            on_missing,
            columns,
            known: HashMap::new(),
            values: vec![Value::Null; variables],
            lacking: Vec::new(),
            seen: vec![0; variables],
            says,
            fallback: None,
            first: None,
        }
    }

    /// The same for a run whose recipients may get this instead: they must have what both need. The
    /// variables of both are those of the run.
    pub fn with_fallback(self, fallback: Option<Fallback>) -> Self {
        Self { fallback, ..self }
    }

    /// The same, which also finds who goes first.
    pub fn with_first(self, first: Option<First>) -> Self {
        Self { first, ..self }
    }

    /// Who goes first of those judged so far, where not all do.
    pub fn first(&self) -> Option<&First> {
        self.first.as_ref()
    }

    /// What is said.
    pub fn says(&self) -> &Arms {
        &self.says
    }

    /// The contacts of some lists, with what is needed to judge them.
    pub fn source<'a>(&self, workspace_id: i32, lists: &'a [i64], filter: &'a Filter) -> Source<'a> {
        let attributes = self.columns.iter().any(|c| c.may_be_attribute());
        Source { workspace_id, lists, by_phone: self.by_phone, attributes, heard_by: &[], filter }
    }

    /// Judges a contact. Reasons go in the order of [`Exclusion`]: the first that holds counts. A
    /// duplicate is one even if the contact it repeats is left out for another reason.
    ///
    /// # Errors
    /// Why it is left out.
    pub fn judge<'c>(&mut self, contact: &Contact<'c>) -> Result<Recipient<'c>, Exclusion> {
        self.lacking.clear();
        match contact.barred {
            Some(Barred::Minus) => return Err(Exclusion::Minus),
            Some(Barred::Outside) => return Err(Exclusion::Outside),
            Some(Barred::NoConsent | Barred::Capped | Barred::Reached) | None => {}
        }
        let address = self.address(contact).ok_or(Exclusion::NoAddress)?;
        if contact.duplicate {
            return Err(Exclusion::Duplicate);
        }
        if contact.suppressed {
            return Err(Exclusion::Suppressed);
        }
        match contact.barred {
            Some(Barred::NoConsent) => return Err(Exclusion::NoConsent),
            Some(Barred::Reached) => return Err(Exclusion::Reached),
            Some(Barred::Capped) => return Err(Exclusion::Capped),
            Some(Barred::Minus | Barred::Outside) | None => {}
        }
        self.take_values(contact);
        let variant = self.says.pick(address, contact.language);
        self.lacking = self.says.lacking(variant, &self.values).map_err(Exclusion::Unfit)?;
        if let Some(fallback) = &self.fallback {
            let more = fallback.lacking(&self.values).map_err(Exclusion::Unfit)?;
            self.lacking.extend(more);
            self.lacking.sort_unstable();
            self.lacking.dedup();
        }
        if !self.lacking.is_empty() && self.on_missing != OnMissing::Default {
            return Err(Exclusion::Missing);
        }
        let units = self.says.units(variant, &self.values).map_err(Exclusion::Unfit)?;
        // Its price is the same.
        self.fallback.as_ref().map_or(Ok(()), |f| f.check(&self.values)).map_err(Exclusion::Unfit)?;
        if let Some(first) = &mut self.first {
            first.add(address);
        }
        Ok(Recipient { address, country: contact.country, units, variant })
    }

    /// The values of the contact judged last, in the order of the template's variables.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The variables that the contact judged last could not do without and lacks, by position.
    pub fn lacking(&self) -> &[usize] {
        &self.lacking
    }

    /// The variables that no contact had so far, though they are no columns that every contact has.
    pub fn unseen(&self) -> impl Iterator<Item = &str> {
        let known = |name: &str| CONTACT_VARIABLES.contains(&name);
        let pairs = self.says.variables().iter().zip(&self.seen);
        pairs.filter(move |(name, seen)| **seen == 0 && !known(name)).map(|(name, _)| name.as_str())
    }

    fn address<'c>(&self, contact: &Contact<'c>) -> Option<&'c str> {
        match (self.by_phone, contact.address.starts_with('+')) {
            (true, true) | (false, false) => Some(contact.address),
            (true, false) => None,
            (false, true) => contact.email,
        }
    }

    fn take_values(&mut self, contact: &Contact<'_>) {
        let by_phone = contact.address.starts_with('+');
        for (value, column) in self.values.iter_mut().zip(&self.columns) {
            let text = match column {
                Column::Name => contact.name,
                Column::Phone => by_phone.then_some(contact.address),
                Column::Email => contact.email.or((!by_phone).then_some(contact.address)),
                Column::Country => contact.country,
                Column::Language => contact.language,
                Column::FirstName | Column::Attribute => None,
            };
            *value = text.map_or(Value::Null, Value::from);
        }
        if let Some(raw) = contact.attributes {
            // What the database holds as jsonb is JSON, so this cannot fail.
            let _ = serde_json::Deserializer::from_str(raw).deserialize_map(Attributes(self));
        }
        for (i, value) in self.values.iter_mut().enumerate() {
            if is_missing(value) {
                *value = match self.columns[i] {
                    Column::FirstName => first_word(contact.name).map_or(Value::Null, Value::from),
                    _ => Value::Null,
                };
            }
            self.seen[i] += u64::from(!value.is_null());
        }
    }

    fn wanted(&mut self, attribute: &str) -> Option<Wanted> {
        if let Some(known) = self.known.get(attribute) {
            return *known;
        }
        let found = self.find(attribute);
        if self.known.len() < KNOWN_ATTRIBUTES_MAX {
            self.known.insert(attribute.into(), found);
        }
        found
    }

    fn find(&self, attribute: &str) -> Option<Wanted> {
        let of = |wanted: &str| {
            let mut names = self.says.variables().iter().zip(&self.columns);
            names.position(|(name, column)| name == wanted && column.may_be_attribute())
        };
        of(attribute)
            .map(|position| Wanted { position, exact: true })
            .or_else(|| of(&variable_name(attribute)).map(|position| Wanted { position, exact: false }))
    }
}

impl Column {
    fn of(variable: &str) -> Self {
        match variable {
            "name" => Self::Name,
            "first_name" => Self::FirstName,
            "phone" => Self::Phone,
            "email" => Self::Email,
            "country" => Self::Country,
            "language" => Self::Language,
            _ => Self::Attribute,
        }
    }

    fn may_be_attribute(self) -> bool {
        matches!(self, Self::Attribute | Self::FirstName)
    }
}

fn first_word(name: Option<&str>) -> Option<&str> {
    name?.split_whitespace().next()
}

/// Picks the wanted attributes out of a JSON object without building the rest.
struct Attributes<'a>(&'a mut Audience);

impl<'de> Visitor<'de> for Attributes<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of attributes")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(wanted) = map.next_key_seed(Key(self.0))? {
            match wanted {
                Some(wanted) if wanted.exact || self.0.values[wanted.position].is_null() => {
                    self.0.values[wanted.position] = map.next_value()?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct Key<'a>(&'a mut Audience);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<Wanted>;

    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = Option<Wanted>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an attribute")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.wanted(name))
    }
}
