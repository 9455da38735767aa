//! Cohorts: which of a run's recipients another run goes to, by what became of their messages.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What may be said of a message. [`crate::state::MessageState`] and the reports decide.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Member {
    /// Refused for good, or out of attempts.
    Failed,
    /// In doubt, and nothing more is done about it by itself.
    Unknown,
    /// Not sent: too late.
    Expired,
    /// Not sent: its run was cancelled.
    Cancelled,
    /// Sent, and reported as not delivered.
    Undelivered,
    /// Sent, and nobody reported that it was delivered.
    NotDelivered,
    /// Sent, and neither reported as read nor answered.
    Unread,
    /// Sent, and not answered.
    NoReply,
    /// Sent, and reported as delivered or read, or answered.
    Delivered,
    /// Sent, and reported as read, or answered.
    Read,
    /// The recipient confirmed.
    Confirmed,
    /// The recipient answered: by a text, a button, or a confirmation.
    Replied,
    /// The recipient answered with this payload of a button, in any case of letters.
    RepliedWith(String),
}

const WORDS: [(&str, Member); 12] = [
    ("failed", Member::Failed),
    ("unknown", Member::Unknown),
    ("expired", Member::Expired),
    ("cancelled", Member::Cancelled),
    ("undelivered", Member::Undelivered),
    ("not_delivered", Member::NotDelivered),
    ("unread", Member::Unread),
    ("no_reply", Member::NoReply),
    ("delivered", Member::Delivered),
    ("read", Member::Read),
    ("confirmed", Member::Confirmed),
    ("replied", Member::Replied),
];
const REPLIED_WITH: &str = "replied=";

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RepliedWith(payload) => write!(f, "{REPLIED_WITH}{payload}"),
            plain => f.write_str(WORDS.iter().find(|(_, member)| member == plain).map_or("", |(word, _)| word)),
        }
    }
}

impl FromStr for Member {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(payload) = text.strip_prefix(REPLIED_WITH).map(str::trim).filter(|payload| !payload.is_empty()) {
            return Ok(Self::RepliedWith(payload.to_lowercase()));
        }
        let word = text.to_lowercase().replace('-', "_");
        let known = || WORDS.map(|(word, _)| word).join(", ");
        WORDS.iter().find(|(known, _)| *known == word).map(|(_, member)| member.clone()).ok_or_else(|| {
            format!("{text:?} is nothing that may become of a message: one of {}, replied=TEXT", known())
        })
    }
}

impl TryFrom<String> for Member {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Member> for String {
    fn from(member: Member) -> Self {
        member.to_string()
    }
}

impl Member {
    /// Whether those who have answered are meant.
    pub fn wants_answers(&self) -> bool {
        matches!(self, Self::Confirmed | Self::Replied | Self::RepliedWith(_))
    }

    /// Whether the message may have reached them: who gets another then gets two.
    pub fn may_have_reached(&self) -> bool {
        !matches!(self, Self::Failed | Self::Expired | Self::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_people_write_them_and_kept_in_one_way() {
        for (word, member) in WORDS {
            assert_eq!(word.parse::<Member>().unwrap(), member);
            assert_eq!(member.to_string(), word);
        }
        assert_eq!(" Not-Delivered ".parse::<Member>().unwrap(), Member::NotDelivered);
        assert_eq!("replied= Yes".parse::<Member>().unwrap().to_string(), "replied=yes");
        let error = "opened".parse::<Member>().unwrap_err();
        assert!(error.contains("\"opened\"") && error.contains("unread") && error.contains("replied=TEXT"), "{error}");
        assert!("replied=".parse::<Member>().is_err());
    }
}
