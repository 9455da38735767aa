//! The words of an expression.

use super::SegmentError;

/// A word of an expression, and where it begins, counted in characters from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub at: usize,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A word without quotes.
    Word(String),
    /// What stands in quotes.
    Quoted(String),
    /// A name behind `@`.
    Attribute(String),
    /// `( ) , = != < <= > >=`.
    Sign(&'static str),
    End,
}

impl Kind {
    /// As an error shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Word(text) | Self::Quoted(text) => format!("{text:?}"),
            Self::Attribute(name) => format!("\"@{name}\""),
            Self::Sign(sign) => format!("{sign:?}"),
            Self::End => "the end".to_owned(),
        }
    }
}

/// Longer ones first.
const SIGNS: [&str; 11] = ["!=", "<>", "<=", ">=", "==", "=", "<", ">", "(", ")", ","];

/// Takes an expression apart; the last token is the end.
pub(super) fn scan(text: &str) -> Result<Vec<Token>, SegmentError> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let at = i + 1;
        let c = chars[i];
        if c.is_whitespace() {
            i += 1;
            continue;
        }
        let sign = SIGNS.iter().find(|sign| chars[i..].iter().take(sign.len()).copied().eq(sign.chars()));
        let kind = if let Some(sign) = sign {
            i += sign.len();
            Kind::Sign(match *sign {
                "<>" => "!=",
                "==" => "=",
                sign => sign,
            })
        } else if is_quote(c) {
            Kind::Quoted(quoted(&chars, &mut i)?)
        } else if c == '@' {
            i += 1;
            let name = match chars.get(i) {
                Some(c) if is_quote(*c) => quoted(&chars, &mut i)?,
                _ => word(&chars, &mut i),
            };
            if name.is_empty() {
                return Err(error(at, "\"@\" without the name of an attribute: write @city, or @\"Full name\""));
            }
            Kind::Attribute(name)
        } else if is_word(c) {
            Kind::Word(word(&chars, &mut i))
        } else {
            return Err(error(
                at,
                format!("{c:?} means nothing here: put a value that holds it in quotes, \"a {c} b\""),
            ));
        };
        tokens.push(Token { at, kind });
    }
    tokens.push(Token { at: chars.len() + 1, kind: Kind::End });
    Ok(tokens)
}

pub(super) fn error(at: usize, problem: impl Into<String>) -> SegmentError {
    SegmentError { at, problem: problem.into() }
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'')
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | ':' | '@' | '%')
}

fn word(chars: &[char], i: &mut usize) -> String {
    let word: String = chars[*i..].iter().take_while(|c| is_word(**c)).collect();
    *i += word.chars().count();
    word
}

/// What stands in quotes; the quote itself is written twice.
fn quoted(chars: &[char], i: &mut usize) -> Result<String, SegmentError> {
    let (start, quote) = (*i + 1, chars[*i]);
    let mut text = String::new();
    *i += 1;
    loop {
        match (chars.get(*i), chars.get(*i + 1)) {
            (None, _) => {
                return Err(error(start, format!("this {quote} has no end: put another {quote} behind the value")));
            }
            (Some(c), Some(next)) if *c == quote && *next == quote => *i += 1,
            (Some(c), _) if *c == quote => {
                *i += 1;
                return Ok(text);
            }
            (Some('\0'), _) => return Err(error(*i + 1, "a zero byte, which no text has: remove it")),
            _ => {}
        }
        text.push(chars[*i]);
        *i += 1;
    }
}
