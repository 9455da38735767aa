//! Which address an account may send from.

use serde_json::Value;

use crate::Kind;
use crate::smtp::mail;

/// What a kind's messages can say of who sends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// An e-mail address, with a name or without.
    Email,
    /// A phone, or whatever else the provider has registered, as it wants it written.
    Registered,
    /// Nothing: the account's settings name it.
    Settings,
}

/// Whether an account of this kind with these settings can send from `sender`.
///
/// # Errors
/// What is the matter, and what to do.
pub fn check(kind: &Kind, settings: &Value, sender: &str) -> Result<(), String> {
    let service = settings.get("messaging_service_sid");
    match kind.origin {
        Origin::Settings => {
            Err(format!("an account of kind {} has no sender beside its settings: leave it out", kind.name))
        }
        Origin::Registered if service.is_some() => {
            Err("the account's messaging_service_sid chooses the sender: leave it out".to_owned())
        }
        Origin::Registered => Ok(()),
        Origin::Email => mail::sender(sender)
            .map(drop)
            .map_err(|why| format!("{sender:?}: {why}: write for example Shop <shop@example.com>")),
    }
}
