//! Meta's error codes in the texts of its resellers.

use fanfare_domain::outcome::{Failure, FailureKind};

use super::CODES;

/// What a reseller's error text means if it names one of Meta's codes.
///
/// A code that a line begins with is the reseller's word for what happened; what Meta calls passing is in
/// doubt even so, since the reseller may go on trying. Six digits further inside may be anything, as when a
/// message is quoted: nothing is tried again for them.
pub(crate) fn passed_on(text: &str, attempt: i16) -> Option<Failure> {
    let known = |code: &str| CODES.failure(Some(code), None, attempt);
    if let Some(failure) = text.lines().filter_map(leading).find_map(known) {
        return Some(match failure.kind {
            FailureKind::Transient => Failure::new(FailureKind::Unknown, failure.detail),
            _ => failure,
        });
    }
    let mut inside = text.split(|c: char| !c.is_alphanumeric()).filter(|word| is_six_digits(word));
    let failure = inside.find_map(known)?;
    Some(match failure.kind {
        kind @ (FailureKind::PermanentRecipient | FailureKind::PermanentContent) => Failure::new(kind, failure.detail),
        _ => Failure::new(FailureKind::Unknown, failure.detail),
    })
}

/// The code at the beginning of a line: `(#N)` as Meta writes it, six digits, also behind the word error, or
/// a number and nothing else.
fn leading(line: &str) -> Option<&str> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("Error ") {
        return leading(rest).filter(|code| is_six_digits(code));
    }
    if let Some(rest) = line.strip_prefix("(#") {
        return rest.split_once(')').map(|(code, _)| code);
    }
    let code = line.split(|c: char| !c.is_alphanumeric()).next()?;
    (code == line || is_six_digits(code)).then_some(code)
}

fn is_six_digits(word: &str) -> bool {
    word.len() == 6 && word.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use fanfare_domain::outcome::Action;

    use super::*;

    #[test]
    fn a_template_is_sent_instead_only_for_a_code_at_the_beginning() {
        let action = |text: &str| passed_on(text, 1).and_then(|failure| failure.action);
        for said in ["131047", "(#131047) Re-engagement message", "Not sent\nError 131047: Re-engagement message"] {
            assert_eq!(action(said), Some(Action::Fallback), "{said}");
        }
        assert_eq!(action("Refused: \"Order 131047\""), None);
    }

    #[test]
    fn only_a_code_at_the_beginning_is_tried_again() {
        let check = |text: &str, expect: Option<(FailureKind, &str)>| {
            let seen = passed_on(text, 1);
            assert_eq!(seen.as_ref().map(|f| (f.kind, f.detail.as_str())), expect, "{text}");
        };
        use FailureKind::*;
        check("(#4) Application request limit reached", Some((Throttled, "4")));
        check("Not sent\n(#130429) Rate limit hit", Some((Throttled, "130429")));
        check("130429: Rate limit hit", Some((Throttled, "130429")));
        check("Not sent\n190", Some((Configuration, "190")));
        check("(#131000) Something went wrong", Some((Unknown, "131000")));
        check("Error 131047: Re-engagement message", Some((PermanentContent, "131047")));
        check("Error 130429: Rate limit hit", Some((Throttled, "130429")));
        check("Error 4", None);
        check("Refused: \"Order 131047\"", Some((PermanentContent, "131047")));
        check("Refused: \"Your code is 131056\"", Some((Unknown, "131056")));
        check("Refused: \"Order (#4) is on its way\"", None);
        check("4 attempts failed", None);
        check("Not sent to 213130429000, a130429b", None);
        check("(#", None);
        check("", None);
    }
}
