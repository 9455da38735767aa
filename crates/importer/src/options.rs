//! What the command line says.

use std::io::Read;
use std::path::PathBuf;

use encoding_rs::Encoding;
use fanfare_domain::phone::Region;
use fanfare_store::contacts::OnDuplicate;
use sha2::{Digest as _, Sha256};

use crate::error::meant;
use crate::places;

/// Where the rows come from.
pub enum Source {
    /// A file.
    Path(PathBuf),
    /// A stream, e.g. standard input, and what errors call it.
    Stream(Box<dyn Read + Send>, String),
}

impl Source {
    /// The source that a command line names: a path, or `-` for standard input.
    pub fn named(name: &str) -> Self {
        match name {
            "-" => Self::Stream(Box::new(std::io::stdin()), "standard input".to_owned()),
            path => Self::Path(path.into()),
        }
    }

    /// What errors call it.
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Stream(_, name) => name.clone(),
        }
    }
}

/// What is said of all rows of a file, where a row does not say it itself; tags are added to the row's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Tags, as [`fanfare_domain::segment::tag`] has them.
    pub tags: Vec<String>,
    /// Whether they have opted in.
    pub consent: Option<bool>,
    /// Where they came from; else the file's name.
    pub source: Option<String>,
}

/// How a file is read, and into what.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Name of the list, which is made if it does not exist.
    pub list: String,
    /// Country of phones without a country code.
    pub country: Option<Region>,
    /// Which column a field comes from, as `(field, column)`. A field that is none of the known ones is an
    /// attribute; a column is named as in the header, or by its number from 1.
    pub map: Vec<(String, String)>,
    /// The first row is data.
    pub no_header: bool,
    /// Name or number (from 1) of the sheet; else the first that is not empty. Says nothing to a CSV.
    pub sheet: Option<String>,
    /// What separates the fields of a CSV; else it is found out. Says nothing to a workbook.
    pub delimiter: Option<u8>,
    /// Encoding of a CSV without byte-order mark; else it is found out.
    pub encoding: Option<&'static Encoding>,
    /// What becomes of an address that is met again.
    pub on_duplicate: OnDuplicate,
    /// What is said of all rows.
    pub given: Given,
    /// Where the refused rows go.
    pub rejects: Option<PathBuf>,
    /// Write nothing.
    pub dry_run: bool,
}

impl Options {
    /// Those that change what a file comes to: with them, a file and a list an import is the same import.
    pub(crate) fn identity(&self) -> serde_json::Value {
        let mut map: Vec<String> = self.map.iter().map(|(field, column)| format!("{field}={column}")).collect();
        map.sort();
        let mut identity = serde_json::json!({
            "country": self.country.map(|region| region.to_string()),
            "map": map,
            "no_header": self.no_header,
            "sheet": self.sheet,
            "delimiter": self.delimiter.map(char::from),
            "encoding": self.encoding.map(Encoding::name),
            "on_duplicate": self.on_duplicate,
        });
        // Only then: an import from before they could be said is still the same.
        if self.given != Given::default() {
            let Given { tags, consent, source } = &self.given;
            identity["given"] = serde_json::json!({ "tags": tags, "consent": consent, "source": source });
        }
        identity
    }
}

/// SHA-256 of the options that change the result.
pub(crate) fn hash(identity: &serde_json::Value) -> [u8; 32] {
    // Keys of a JSON object come in alphabetical order.
    Sha256::digest(identity.to_string().as_bytes()).into()
}

/// The separator that a person names: one character, `tab` or `\t`.
///
/// # Errors
/// When it is not one byte, or one that a field may begin with.
pub fn parse_delimiter(text: &str) -> Result<u8, String> {
    match text {
        "tab" | "\\t" | "\t" => Ok(b'\t'),
        "comma" => Ok(b','),
        "semicolon" => Ok(b';'),
        "pipe" => Ok(b'|'),
        _ => match text.as_bytes() {
            [c] if c.is_ascii_punctuation() && !matches!(c, b'"' | b'\'') => Ok(*c),
            _ => Err(format!("delimiter {text:?} is none of , ; | tab or another single ASCII punctuation mark")),
        },
    }
}

/// The country that a person names by two letters of ISO 3166.
///
/// # Errors
/// When there is none, with the codes that may have been meant.
pub fn parse_country(text: &str) -> Result<Region, String> {
    let unknown =
        |_| format!("unknown country code: use two letters of ISO 3166{}", meant(&places::near_countries(text)));
    text.trim().parse().map_err(unknown)
}

/// The encoding that a person names by its WHATWG label.
///
/// # Errors
/// When there is none.
pub fn parse_encoding(text: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label(text.as_bytes()).ok_or_else(|| {
        "unknown encoding: use for example utf-8, windows-1252, iso-8859-15, windows-1256 or utf-16le".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_and_encodings_are_read_as_people_write_them() {
        assert_eq!(parse_country(" dz ").map(|region| region.to_string()), Ok("DZ".to_owned()));
        let unknown = "unknown country code: use two letters of ISO 3166";
        assert_eq!(parse_country("ZZ"), Err(unknown.to_owned()));
        assert_eq!(parse_country("Algeria"), Err(format!("{unknown}; did you mean DZ?")));
        assert_eq!(parse_encoding("Latin1").map(Encoding::name), Ok("windows-1252"));
        assert!(parse_encoding("klingon").is_err_and(|e| e.starts_with("unknown encoding")));
    }
}
