//! Segments: which contacts of some lists are meant, as an expression.
//!
//! ```text
//! country in (DZ, TN) and tag = vip and not read in spring within 30 days
//! ```
//!
//! | term | holds for a contact |
//! |---|---|
//! | `city = Oran`, `city != Oran`, `city in (Oran, Blida)`, `city not in (…)` | whose value is (not) one of these |
//! | `age >= 18`, `<`, `<=`, `>` | whose value comes there: numbers by size, texts (dates like 2026-03-01) by their bytes |
//! | `name contains "Ben"`, `phone starts with +213` | whose text has this in it, or at its beginning |
//! | `city is known`, `city is missing` | who has (not) a value |
//! | `tag = vip`, `tag in (vip, gold)`, `tag is missing` | who has (one of) the tags; who has none |
//! | `consent = yes`, `consent = unknown` | who has opted in, or of whom that is not known |
//! | `sent`, `delivered`, `read`, `replied`, `confirmed`, with `in CAMPAIGN` and `within 30 days` | to whom that happened |
//!
//! They are joined by `and`, `or`, `not` and parentheses; `and` binds closer than `or`. A field is `name`,
//! `phone`, `email`, `country`, `language`, `source`, `tag`, `consent`, or an attribute; `@read` or
//! `@"Full name"` is always an attribute. A value stands in quotes if it holds more than letters, digits and
//! `_ - . + : @ %`. Every term is either true or false of a contact: who has no city has none that is Oran,
//! so that `city != Oran` holds for them. Texts are compared as they are written; country, language and
//! tags whatever their case, and the language `fr` means `fr-ca` as well.

mod parse;
mod scan;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

pub use parse::tag;

/// A segment that was parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    text: String,
    expr: Expr,
}

/// What holds for the contacts of a segment.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// All of these.
    All(Vec<Expr>),
    /// One of these.
    Any(Vec<Expr>),
    /// Not this.
    Not(Box<Expr>),
    /// The value is one of these.
    OneOf(Field, Vec<Value>),
    /// The value stands so to this one.
    Compare(Field, Order, Value),
    /// The text has this in it.
    Contains(Field, String),
    /// The text begins with this.
    StartsWith(Field, String),
    /// There is a value.
    Known(Field),
    /// The contact has opted in.
    Consents,
    /// The contact has one of these tags, lower case.
    Tagged(Vec<String>),
    /// The contact has a tag.
    HasTags,
    /// Something happened to a message to the contact.
    Happened(Happened),
}

/// What a contact has one value of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The full name.
    Name,
    /// The phone in E.164.
    Phone,
    /// The e-mail in lower case.
    Email,
    /// ISO 3166 alpha-2.
    Country,
    /// BCP 47 tag, lower case.
    Language,
    /// Where it came from.
    Source,
    /// An attribute.
    Attribute(Named),
}

/// A name in the expression, which has to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub name: String,
    /// Where it stands, counted in characters from 1.
    pub at: usize,
}

/// How a value stands to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Before it.
    Less,
    /// Before it, or the same.
    AtMost,
    /// After it.
    More,
    /// After it, or the same.
    AtLeast,
}

/// A value of the expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// As it is written, without its quotes.
    pub text: String,
    /// Also a number: it is written as one, without quotes.
    pub number: Option<f64>,
}

/// Something that happened to a message to the contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// What.
    pub event: Event,
    /// In which campaign; `None` = in any.
    pub campaign: Option<Named>,
    /// How long ago at most, in hours; `None` = ever.
    pub within_hours: Option<u32>,
}

/// What may happen to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Its provider accepted it.
    Sent,
    /// It was reported as delivered, or as read.
    Delivered,
    /// It was reported as read.
    Read,
    /// It was answered, by a text or a button.
    Replied,
    /// It was confirmed.
    Confirmed,
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("character {at}: {problem}")]
pub struct SegmentError {
    /// Where, counted in characters from 1.
    pub at: usize,
    /// What was found there, what was expected, and what to do.
    pub problem: String,
}

impl Segment {
    /// What holds for its contacts.
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The attributes that it names, in their order.
    pub fn attributes(&self) -> Vec<&Named> {
        let mut all = Vec::new();
        self.expr.each(&mut |expr| match expr {
            Expr::OneOf(field, _)
            | Expr::Compare(field, ..)
            | Expr::Contains(field, _)
            | Expr::StartsWith(field, _)
            | Expr::Known(field) => all.extend(field.attribute()),
            _ => {}
        });
        all
    }

    /// The campaigns that it names, in their order.
    pub fn campaigns(&self) -> Vec<&Named> {
        let mut all = Vec::new();
        self.expr.each(&mut |expr| {
            if let Expr::Happened(happened) = expr {
                all.extend(&happened.campaign);
            }
        });
        all
    }
}

impl Expr {
    /// Calls `visit` with this and everything inside it, in their order.
    fn each<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        visit(self);
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.each(visit)),
            Self::Not(part) => part.each(visit),
            _ => {}
        }
    }
}

impl Field {
    /// The attribute that it is.
    fn attribute(&self) -> Option<&Named> {
        match self {
            Self::Attribute(named) => Some(named),
            _ => None,
        }
    }
}

impl FromStr for Segment {
    type Err = SegmentError;

    fn from_str(text: &str) -> Result<Self, SegmentError> {
        Ok(Self { text: text.to_owned(), expr: parse::parse(text)? })
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Segment {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}
