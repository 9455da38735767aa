//! What an account's settings must be, and what is said when they are not.

use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::KINDS;

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No provider of this kind.
    #[error("kind {0:?} is none of {known}", known = KINDS.join(", "))]
    Kind(String),
    /// The settings are not the object that the kind asks for: a field is missing, unknown or of another type.
    #[error("the settings of an account of kind {kind} cannot be read")]
    Settings {
        /// The account's kind.
        kind: &'static str,
        /// What is wrong with them.
        #[source]
        source: serde_json::Error,
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

/// Reads the settings of an account of this kind.
pub(crate) fn settings<T: DeserializeOwned>(kind: &'static str, settings: &Value) -> Result<T, ConfigError> {
    T::deserialize(settings).map_err(|source| ConfigError::Settings { kind, source })
}

/// Reads the address of a provider: http or https, with a host and without credentials, which would be
/// stored unsealed and shown.
pub(crate) fn address(field: &'static str, text: &str) -> Result<Url, ConfigError> {
    let refuse = |found: &str, expected| Err(ConfigError::Field { field, found: found.to_owned(), expected });
    let expected = "an http or https URL with a host, for example https://example.com/send";
    let Ok(mut url) = Url::parse(text) else { return refuse(text, expected) };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return refuse(text, expected);
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Cannot fail: the URL has a host. What is shown must not hold the password.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        return refuse(url.as_str(), "a URL without user and password: give the token as the account's secret");
    }
    Ok(url)
}
