//! What a server's reply means at each stage.
//!
//! Source: RFC 5321 §4.2 (basic codes), RFC 2034 and RFC 3463 (enhanced codes).

use std::sync::LazyLock;

use fanfare_domain::outcome::{Failure, FailureKind};

use crate::codes::Codes;

static CODES: LazyLock<Codes> = LazyLock::new(|| Codes::parse(include_str!("../../codes/smtp.txt")));

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Greeting, EHLO, STARTTLS.
    Connect,
    Auth,
    Mail,
    Rcpt,
    /// DATA, and the message but for its final dot.
    Data,
    /// From the final dot on it may have been accepted.
    End,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Auth => "auth",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::End => "end",
        }
    }
}

/// A reply of one or more lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub code: u16,
    /// What stands behind the code in each line.
    pub lines: Vec<String>,
}

impl Reply {
    /// A line: its code, whether more follow, and its text.
    pub fn line(line: &str) -> Option<(u16, bool, &str)> {
        let line = line.trim_end_matches(['\r', '\n']);
        let digits = line.get(..3).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
        let code = digits.parse().ok().filter(|code| (200..600).contains(code))?;
        match line[3..].chars().next() {
            None => Some((code, false, "")),
            Some(' ') => Some((code, false, &line[4..])),
            Some('-') => Some((code, true, &line[4..])),
            Some(_) => None,
        }
    }

    pub fn is_positive(&self) -> bool {
        self.code < 300
    }

    /// The enhanced code that a refusal begins with.
    fn enhanced(&self) -> Option<(u16, u16, u16)> {
        let word = self.lines.first()?.split_whitespace().next()?;
        let mut numbers = word.split('.').map(|part| part.parse::<u16>().ok().filter(|n| *n < 1000));
        let found = (numbers.next()??, numbers.next()??, numbers.next()??);
        (numbers.next().is_none() && matches!(found.0, 4 | 5)).then_some(found)
    }

    /// What it means that this came instead of what was hoped for.
    pub fn failure(&self, stage: Stage) -> Failure {
        let (name, code) = (stage.name(), self.code);
        let mut detail = format!("{name} {code}");
        let mut meanings = Vec::new();
        let enhanced = self.enhanced().filter(|_| code >= 400);
        if let Some((class, subject, d)) = enhanced {
            detail += &format!(" {class}.{subject}.{d}");
            meanings.extend([format!("{class}.{subject}.{d}"), format!("{class}.{subject}.x")]);
        }
        meanings.extend([code.to_string(), format!("{}yz", code / 100)]);
        let meaning = meanings.iter().find_map(|meaning| {
            let of_stage = CODES.failure(Some(&format!("{name}:{meaning}")), None, 1);
            of_stage.or_else(|| CODES.failure(Some(meaning), None, 1))
        });
        let known = meaning.unwrap_or_else(|| {
            // Neither a promise nor a refusal: only behind the dot can it hide an acceptance.
            let kind = if stage == Stage::End { FailureKind::Unknown } else { FailureKind::Transient };
            Failure::new(kind, "")
        });
        Failure { action: known.action, ..Failure::new(known.kind, detail).after(known.retry_after) }
    }
}
