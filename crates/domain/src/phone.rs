//! Phone numbers as people write them, to E.164.
//!
//! The numbering plans are libphonenumber's, as carried by the crate `phonenumber`; the steps are those
//! of its Java original (`PhoneNumberUtil.parseHelper`, `isValidNumber`). The crate's own parser is not
//! used: it applies the default region's trunk prefix to foreign numbers (`+86 138…` with the default US
//! loses a digit), and it takes some 10 µs for each number.

mod plan;
mod written;

use std::fmt;
use std::str::FromStr;

pub use plan::Region;
use plan::{Plan, plan};
use written::Written;

/// Most digits of an E.164 number.
const DIGITS_MAX: usize = 15;
/// Fewest digits after the country's code.
const NATIONAL_DIGITS_MIN: usize = 2;

/// A number that can be dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    /// With its plus, e.g. `+213555123456`.
    pub e164: String,
    /// Where it is; none for numbers of no country, such as satellite phones.
    pub region: Option<Region>,
}

/// Why a text is no phone number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    /// Nothing but blanks.
    #[error("no phone number")]
    Empty,
    /// Letters or signs that no number has.
    #[error("not a phone number")]
    NotANumber,
    /// More than one number.
    #[error("several numbers in one cell: keep one")]
    Several,
    /// A spreadsheet has rounded it.
    #[error(
        "a spreadsheet rounded this number and its last digits are lost: format the column as text, enter it again"
    )]
    DigitsLost,
    /// Neither a country code nor a default region.
    #[error("no country code: write it as +213… or name the country")]
    NoCountry,
    /// It begins with no country's code.
    #[error("no country has this calling code")]
    UnknownCode,
    /// Fewer digits than any number there.
    #[error("too short for a phone number of {0}")]
    TooShort(Place),
    /// More digits than any number there.
    #[error("too long for a phone number of {0}")]
    TooLong(Place),
    /// The length is right, and no such number is given out.
    #[error("no phone number of {0} looks like this")]
    Unassigned(Place),
}

/// Where a refused number would have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A region.
    Region(Region),
    /// A calling code of no region.
    Code(u16),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(region) => region.fmt(f),
            Self::Code(code) => write!(f, "+{code}"),
        }
    }
}

/// A two-letter code that is no region with phones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no country code: use the two letters of ISO 3166, e.g. DZ for Algeria")]
pub struct UnknownRegion(pub String);

impl FromStr for Region {
    type Err = UnknownRegion;

    fn from_str(text: &str) -> Result<Self, UnknownRegion> {
        Self::find(text).ok_or_else(|| UnknownRegion(text.to_owned()))
    }
}

/// The number that `text` writes, read as in `default` when it has no country code.
///
/// # Errors
/// Why it is none; a number is never guessed.
pub fn parse(text: &str, default: Option<Region>) -> Result<Phone, PhoneError> {
    let written = Written::read(text)?;
    let digits = written.digits();
    match parse_digits(digits, written.plus, default) {
        // "+34 (0) 612…": a trunk prefix where the country has none.
        Err(e) if written.optional_zero => match written.without_optional_zero() {
            Some(rest) => parse_digits(&rest, written.plus, default).map_err(|_| e),
            None => Err(e),
        },
        done => done,
    }
}

fn parse_digits(digits: &str, plus: bool, default: Option<Region>) -> Result<Phone, PhoneError> {
    if plus {
        // No country's code begins with 0, so +00213… can only mean +213….
        return international(digits.strip_prefix("00").unwrap_or(digits));
    }
    let Some(region) = default else {
        return match digits.strip_prefix("00") {
            Some(rest) => international(rest),
            None => Err(PhoneError::NoCountry),
        };
    };
    let home = plan(region);
    if let Some(rest) = home.without_international_prefix(digits) {
        return international(rest);
    }
    match national(home, digits) {
        Err(e) => match digits.strip_prefix("00") {
            Some(rest) => international(rest).map_err(|_| e),
            None => Err(e),
        },
        done => done,
    }
}

/// A number that begins with a country's code.
fn international(digits: &str) -> Result<Phone, PhoneError> {
    let (code, rest) = plan::split_code(digits).ok_or(PhoneError::UnknownCode)?;
    finish(code, rest)
}

/// A number as dialled in `home`, or with its country code but without the plus.
fn national(home: &Plan, digits: &str) -> Result<Phone, PhoneError> {
    let code = home.code();
    if let Some(rest) = digits.strip_prefix(home.code_digits()) {
        let stripped = home.without_trunk_prefix(rest);
        let unlike = !home.is_general(digits) && home.is_general(&stripped);
        if unlike || digits.len() > home.digits_max() {
            return finish(code, rest);
        }
    }
    finish(code, digits)
}

/// Drops the trunk prefix, and holds that such a number is given out.
fn finish(code: u16, written: &str) -> Result<Phone, PhoneError> {
    let main = plan::main_of(code);
    let stripped = main.without_trunk_prefix(written);
    let national: &str = if main.may_be(&stripped) { &stripped } else { written };
    match plan::owner(code, national) {
        Some(owner) => Ok(Phone { e164: format!("+{code}{national}"), region: owner.region() }),
        None => {
            let place = main.region().map_or(Place::Code(code), Place::Region);
            Err(match stripped.len() {
                n if n < main.digits_min().max(NATIONAL_DIGITS_MIN) => PhoneError::TooShort(place),
                n if n > main.digits_max().min(DIGITS_MAX) => PhoneError::TooLong(place),
                _ => PhoneError::Unassigned(place),
            })
        }
    }
}

#[cfg(test)]
mod tests;
