//! Error tables: what each of a provider's codes means, as data. A new code is a line.
//!
//! A line is `CODE CLASS [WAIT] [ACTION]`, then a comment behind `#`. CODE is a provider's code as it
//! stands in an answer, a range of numbers (`200-299`), or a fragment of its error text in quotes, whose
//! case does not matter. CLASS is `recipient`, `content`, `configuration`, `throttled`, `later`,
//! `transient` or `unknown`. WAIT is `10s`, `5m`, `3h`, or `4^n`: that many seconds to the power of the
//! repeats so far. ACTION is `pause`, `suppress`, or after the class `content` `fallback`: the recipient has
//! not written lately, and may be sent approved templates only.
//!
//! The first line that fits counts. A code that is in no line is the adapter's to class, and never as one
//! that is tried again.

use std::time::Duration;

use fanfare_domain::outcome::{Action, Failure, FailureKind};

/// Repeats beyond this do not lengthen a power's wait.
const POWER_MAX: u32 = 8;

/// A provider's error table.
#[derive(Debug)]
pub(crate) struct Codes(Vec<Line>);

#[derive(Debug)]
struct Line {
    code: Code,
    kind: FailureKind,
    wait: Option<Wait>,
    action: Option<Action>,
}

#[derive(Debug, PartialEq)]
enum Code {
    Exact(String),
    Range(i64, i64),
    /// In lower case.
    Fragment(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Wait {
    Seconds(u64),
    Power(u64),
}

impl Codes {
    /// Reads a table.
    ///
    /// # Panics
    /// At a line that is none: tables are part of the program, and a test reads all of them.
    pub fn parse(table: &str) -> Self {
        let lines = table.lines().enumerate().filter_map(|(i, line)| {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                return None;
            }
            Some(Line::parse(line).unwrap_or_else(|| panic!("error table, line {}: {line}", i + 1)))
        });
        Self(lines.collect())
    }

    /// What a failure with this code or this text means: its class, wait and action, at the `attempt`
    /// (from 1) that met it. Its detail is the code, or the fragment that was found.
    pub fn failure(&self, code: Option<&str>, text: Option<&str>, attempt: i16) -> Option<Failure> {
        let text = text.map(str::to_lowercase);
        let line = self.0.iter().find(|line| line.code.fits(code, text.as_deref()))?;
        let detail = match &line.code {
            Code::Fragment(fragment) => fragment,
            _ => code?,
        };
        let wait = line.wait.map(|wait| wait.at(attempt));
        Some(Failure { action: line.action, ..Failure::new(line.kind, detail).after(wait) })
    }
}

impl Code {
    fn fits(&self, code: Option<&str>, text: Option<&str>) -> bool {
        match self {
            Self::Exact(own) => code == Some(own),
            Self::Range(from, to) => code.and_then(|c| c.parse().ok()).is_some_and(|c: i64| (*from..=*to).contains(&c)),
            Self::Fragment(fragment) => text.is_some_and(|text| text.contains(fragment.as_str())),
        }
    }
}

impl Wait {
    fn at(self, attempt: i16) -> Duration {
        match self {
            Self::Seconds(seconds) => Duration::from_secs(seconds),
            Self::Power(base) => {
                let repeats = u32::from(attempt.max(1).unsigned_abs()) - 1;
                Duration::from_secs(base.saturating_pow(repeats.min(POWER_MAX)))
            }
        }
    }

    fn parse(word: &str) -> Option<Self> {
        if let Some(base) = word.strip_suffix("^n") {
            return base.parse().ok().map(Self::Power);
        }
        let (number, each) = match word.as_bytes().last()? {
            b's' => (&word[..word.len() - 1], 1),
            b'm' => (&word[..word.len() - 1], 60),
            b'h' => (&word[..word.len() - 1], 3600),
            _ => return None,
        };
        number.parse::<u64>().ok().map(|n| Self::Seconds(n * each))
    }
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let (code, rest) = match line.strip_prefix('"') {
            Some(quoted) => {
                let (fragment, rest) = quoted.split_once('"')?;
                (Code::Fragment(fragment.to_lowercase()), rest)
            }
            None => {
                let (word, rest) = line.split_once(char::is_whitespace)?;
                (Self::code(word), rest)
            }
        };
        let mut words = rest.split('#').next()?.split_whitespace();
        let mut parsed = Self { code, kind: class(words.next()?)?, wait: None, action: None };
        for word in words {
            match (Wait::parse(word), word) {
                (Some(wait), _) => parsed.wait = Some(wait),
                (None, "pause") => parsed.action = Some(Action::PauseRun),
                (None, "suppress") => parsed.action = Some(Action::Suppress),
                // Only of what was certainly refused.
                (None, "fallback") if parsed.kind == FailureKind::PermanentContent => {
                    parsed.action = Some(Action::Fallback);
                }
                _ => return None,
            }
        }
        Some(parsed)
    }

    fn code(word: &str) -> Code {
        let range = word.split_once('-').and_then(|(a, b)| Some(Code::Range(a.parse().ok()?, b.parse().ok()?)));
        range.unwrap_or_else(|| Code::Exact(word.to_owned()))
    }
}

fn class(word: &str) -> Option<FailureKind> {
    Some(match word {
        "recipient" => FailureKind::PermanentRecipient,
        "content" => FailureKind::PermanentContent,
        "configuration" => FailureKind::Configuration,
        "throttled" => FailureKind::Throttled,
        "later" => FailureKind::Later,
        "transient" => FailureKind::Transient,
        "unknown" => FailureKind::Unknown,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_counts() {
        let codes = Codes::parse(
            "# a comment\n\n130429 throttled 1s # number\n200-299 configuration\n131056 later 4^n\n\
             \"not Registered\" configuration\n\"registered\" content 3h pause\nopted_out recipient suppress\n\
             131047 content fallback # window\n",
        );
        let seen = |code: Option<&str>, text: Option<&str>, attempt| {
            let failure = codes.failure(code, text, attempt)?;
            Some((failure.kind, failure.detail, failure.retry_after.map(|d| d.as_secs()), failure.action))
        };
        use FailureKind::*;
        assert_eq!(seen(Some("130429"), None, 1), Some((Throttled, "130429".into(), Some(1), None)));
        assert_eq!(seen(Some("250"), Some("registered"), 1), Some((Configuration, "250".into(), None, None)));
        assert_eq!(seen(Some("131056"), None, 3).unwrap().2, Some(16));
        let text = Some("Number is NOT registered here");
        assert_eq!(seen(None, text, 1), Some((Configuration, "not registered".into(), None, None)));
        let paused = Some((PermanentContent, "registered".into(), Some(10_800), Some(Action::PauseRun)));
        assert_eq!(seen(None, Some("registered"), 1), paused);
        assert_eq!(seen(Some("opted_out"), None, 1).unwrap().3, Some(Action::Suppress));
        assert_eq!(
            seen(Some("131047"), None, 1),
            Some((PermanentContent, "131047".into(), None, Some(Action::Fallback)))
        );
        assert_eq!((seen(Some("999"), Some("who knows"), 1), seen(None, None, 1)), (None, None));
    }

    #[test]
    #[should_panic(expected = "error table, line 2: 13 permanent")]
    fn a_line_that_is_none_is_named() {
        Codes::parse("12 content\n13 permanent");
    }
}
