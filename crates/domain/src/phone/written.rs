//! From what people write in a phone cell to its digits.

use super::PhoneError;

/// More digits than any number with all its prefixes has.
const WRITTEN_DIGITS_MAX: usize = 24;
/// Two runs of this many digits are two numbers.
const NUMBER_DIGITS_MIN: usize = 7;
/// Zero of each script whose digits are understood; the other nine follow it.
const ZEROS: [char; 10] = ['٠', '۰', '߀', '०', '০', '੦', '૦', '๐', '໐', '０'];
/// Words that people put in front.
const LABELS: [&str; 9] = ["tel", "tél", "phone", "mobile", "mob", "gsm", "whatsapp", "sms", "هاتف"];

/// The digits of a cell.
#[derive(Debug)]
pub(super) struct Written {
    buffer: [u8; WRITTEN_DIGITS_MAX],
    len: usize,
    /// It began with a plus.
    pub(super) plus: bool,
    /// It has a "(0)", as in +44 (0) 20….
    pub(super) optional_zero: bool,
    optional_zero_at: usize,
}

impl Written {
    pub(super) fn read(text: &str) -> Result<Self, PhoneError> {
        if let Some(read) = Self::plain(text.as_bytes()) {
            return Ok(read);
        }
        let text = unwrapped(text);
        if text.is_empty() {
            return Err(PhoneError::Empty);
        }
        match scientific(text) {
            Some(Ok(digits)) => Self::loose(&digits),
            Some(Err(e)) => Err(e),
            None => Self::loose(without_fraction(text)),
        }
    }

    pub(super) fn digits(&self) -> &str {
        // `push` takes ASCII digits only.
        std::str::from_utf8(&self.buffer[..self.len]).unwrap_or_default()
    }

    /// The digits without the zero of "(0)".
    pub(super) fn without_optional_zero(&self) -> Option<String> {
        let mut digits = self.digits().to_owned();
        (self.optional_zero_at < digits.len()).then(|| digits.remove(self.optional_zero_at))?;
        Some(digits)
    }

    /// Most cells: digits, with a plus in front, blanks, dots and hyphens at most.
    fn plain(text: &[u8]) -> Option<Self> {
        let mut read = Self::new();
        for (i, c) in text.iter().enumerate() {
            match c {
                b'0'..=b'9' => read.push(*c).ok()?,
                b'+' if i == 0 => read.plus = true,
                b' ' | b'-' if i > 0 => {}
                _ => return None,
            }
        }
        (read.len > 0 && read.len <= super::DIGITS_MAX + 2).then_some(read)
    }

    fn loose(text: &str) -> Result<Self, PhoneError> {
        if is_several(text) {
            return Err(PhoneError::Several);
        }
        let mut read = Self::new();
        let mut previous = [' '; 2];
        for c in text.chars() {
            match digit(c) {
                Some(d) => read.push(d)?,
                None => match c {
                    '+' | '＋' if read.len == 0 && !read.plus => read.plus = true,
                    ')' if previous == ['(', '0'] => {
                        read.optional_zero = true;
                        read.optional_zero_at = read.len - 1;
                    }
                    c if is_punctuation(c) => {}
                    _ => return Err(PhoneError::NotANumber),
                },
            }
            if !c.is_whitespace() {
                previous = [previous[1], c];
            }
        }
        if read.len == 0 { Err(PhoneError::NotANumber) } else { Ok(read) }
    }

    fn new() -> Self {
        Self { buffer: [0; WRITTEN_DIGITS_MAX], len: 0, plus: false, optional_zero: false, optional_zero_at: 0 }
    }

    fn push(&mut self, digit: u8) -> Result<(), PhoneError> {
        let place = self.buffer.get_mut(self.len).ok_or(PhoneError::NotANumber)?;
        *place = digit;
        self.len += 1;
        Ok(())
    }
}

fn digit(c: char) -> Option<u8> {
    if c.is_ascii_digit() {
        return Some(c as u8);
    }
    let zero = ZEROS.into_iter().find(|zero| (*zero..=char_after(*zero)).contains(&c))?;
    Some(b'0' + (c as u32 - zero as u32) as u8)
}

/// The nine of a script, from its zero.
fn char_after(zero: char) -> char {
    char::from_u32(zero as u32 + 9).unwrap_or(zero)
}

fn is_punctuation(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '-' | '.' | '(' | ')' | '[' | ']' | '/' | '_' | '·' | '~')
        // Hyphens and dashes, minus, the soft hyphen, full-width forms.
        || matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ad}' | '（' | '）' | '－' | '．' | '／')
        // Zero-width and direction marks, which copying from a web page leaves behind.
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Without what programs and people wrap around a number: `="0555…"`, `'0555…`, `tel:0555…`.
fn unwrapped(text: &str) -> &str {
    let blank = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '\u{feff}');
    let text = text.trim_matches(blank);
    let text = text.strip_prefix('=').map_or(text, |t| t.trim_matches(blank));
    let word = text.find(|c: char| !c.is_alphabetic()).unwrap_or(text.len());
    if word == 0 || !LABELS.contains(&text[..word].to_lowercase().as_str()) {
        return text;
    }
    text[word..].trim_start_matches(|c: char| matches!(c, ':' | '.') || c.is_whitespace())
}

/// Whether there are two numbers in it.
fn is_several(text: &str) -> bool {
    let counted = |part: &str| part.chars().filter(|c| digit(*c).is_some()).count();
    let long = |part: &str| counted(part) >= NUMBER_DIGITS_MIN;
    let joined = |c: char| !(digit(c).is_some() || matches!(c, ' ' | '-' | '.' | '(' | ')' | '+' | '\u{a0}'));
    let pluses = text.matches(['+', '＋']).count();
    pluses > 1
        || text.split(joined).filter(|part| long(part)).count() > 1
        || text.split([' ', '\u{a0}']).filter(|part| long(part)).count() > 1
}

/// `213555123456.0`, as programs that read phones as floats write them.
fn without_fraction(text: &str) -> &str {
    match text.rsplit_once('.') {
        Some((whole, "0" | "00")) if whole.len() >= NUMBER_DIGITS_MIN && whole.bytes().all(|c| c.is_ascii_digit()) => {
            whole
        }
        _ => text,
    }
}

/// `2.13555123456E+11` → its digits; an error if the spreadsheet has dropped some.
fn scientific(text: &str) -> Option<Result<String, PhoneError>> {
    let (mantissa, exponent) = text.split_once(['e', 'E'])?;
    let exponent: usize = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
    let (sign, mantissa) = match mantissa.strip_prefix('+') {
        Some(rest) => ("+", rest),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, ""));
    let digits = |part: &str| part.bytes().all(|c| c.is_ascii_digit());
    if whole.len() != 1 || !digits(whole) || !digits(fraction) {
        return None;
    }
    match fraction.len() >= exponent && exponent >= NUMBER_DIGITS_MIN - 1 {
        true => Some(Ok(format!("{sign}{whole}{}", &fraction[..exponent]))),
        false => Some(Err(PhoneError::DigitsLost)),
    }
}
