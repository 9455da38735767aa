//! What an account's settings must be, and what is said when they are not.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::Value;
use url::Url;

use crate::KINDS;
use crate::kind::Kind;

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No provider of this kind.
    #[error("kind {0:?} is none of {known}", known = KINDS.iter().map(|k| k.name).collect::<Vec<_>>().join(", "))]
    Kind(String),
    /// The settings are not an object of texts.
    #[error("the settings of an account of kind {kind} cannot be read")]
    Settings {
        /// The account's kind.
        kind: &'static str,
        /// What is wrong with them.
        #[source]
        source: serde_json::Error,
    },
    /// A setting that the kind does not have.
    #[error("an account of kind {kind} has no setting {key:?}: it has {known}")]
    Unknown {
        /// The account's kind.
        kind: &'static str,
        /// What was given.
        key: String,
        /// What there is.
        known: String,
    },
    /// A setting that the kind cannot do without.
    #[error("an account of kind {kind} needs {key}: {what}, as in {example}")]
    Missing {
        /// The account's kind.
        kind: &'static str,
        /// The setting.
        key: &'static str,
        /// What it is.
        what: &'static str,
        /// How it is given.
        example: String,
    },
    /// A field with a value that cannot be used.
    #[error("{field} {found:?}: expected {expected}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// The token cannot stand in a header. It is not shown.
    #[error("the secret cannot be sent in a header: expected visible ASCII characters without line breaks")]
    Secret,
    /// There is nothing to check a provider's certificate against.
    #[error("no trusted certificates on this machine: install ca-certificates, or name a file in SSL_CERT_FILE")]
    NoRoots,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// The settings of an account: texts by name, held against its kind.
#[derive(Debug)]
pub(crate) struct Settings {
    kind: &'static Kind,
    texts: BTreeMap<String, String>,
}

impl Settings {
    /// Reads the settings of an account of this kind.
    pub fn read(kind: &'static Kind, settings: &Value) -> Result<Self, ConfigError> {
        let texts = BTreeMap::deserialize(settings);
        let texts: BTreeMap<String, String> =
            texts.map_err(|source| ConfigError::Settings { kind: kind.name, source })?;
        let unknown = |key: &&String| *key != "url" && kind.setting(key).is_none();
        if let Some(key) = texts.keys().find(unknown) {
            let known: Vec<&str> = ["url"].into_iter().chain(kind.settings.iter().map(|s| s.key)).collect();
            return Err(ConfigError::Unknown { kind: kind.name, key: key.clone(), known: known.join(", ") });
        }
        if let Some(s) = kind.settings.iter().find(|s| s.required && !texts.contains_key(s.key)) {
            let example = format!("--set {}=…", s.key);
            return Err(ConfigError::Missing { kind: kind.name, key: s.key, what: s.what, example });
        }
        Ok(Self { kind, texts })
    }

    /// Where the provider is: as given, or as documented.
    pub fn url(&self) -> Result<Url, ConfigError> {
        let expected = "an http or https URL with a host, for example https://example.com/send";
        self.url_of(&["http", "https"], expected, "--url https://example.com/send")
    }

    /// The same, with other schemes.
    pub fn url_of(&self, schemes: &[&str], expected: &'static str, example: &'static str) -> Result<Url, ConfigError> {
        match self.texts.get("url").map(String::as_str).or(self.kind.base_url) {
            Some(url) => address("url", url, schemes, expected),
            None => {
                let (kind, what) = (self.kind.name, "where its messages are posted to");
                Err(ConfigError::Missing { kind, key: "a URL", what, example: example.to_owned() })
            }
        }
    }

    /// A setting.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.texts.get(key).map(String::as_str)
    }

    /// A setting that becomes a part of a path.
    pub fn plain(&self, key: &'static str) -> Result<Option<&str>, ConfigError> {
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) && text != ".."
        };
        match self.get(key) {
            Some(text) if !plain(text) => {
                let expected = "letters, digits, and . _ - between them";
                Err(ConfigError::Field { field: key, found: text.to_owned(), expected })
            }
            text => Ok(text),
        }
    }

    /// A setting that is an id in digits.
    pub fn number(&self, key: &'static str) -> Result<Option<u64>, ConfigError> {
        let read = |text: &str| {
            let digits = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
            digits.ok_or_else(|| ConfigError::Field { field: key, found: text.to_owned(), expected: "digits" })
        };
        self.get(key).map(read).transpose()
    }
}

/// Reads the address of a provider: of one of the schemes, with a host and without credentials, which would
/// be stored unsealed and shown.
fn address(field: &'static str, text: &str, schemes: &[&str], expected: &'static str) -> Result<Url, ConfigError> {
    let refuse = |found: &str, expected| Err(ConfigError::Field { field, found: found.to_owned(), expected });
    let Ok(mut url) = Url::parse(text) else { return refuse(text, expected) };
    if !schemes.contains(&url.scheme()) || !url.has_host() {
        return refuse(text, expected);
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Cannot fail: the URL has a host. What is shown must not hold the password.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        return refuse(url.as_str(), "a URL without user and password: give the token as the account's secret");
    }
    Ok(url)
}
