//! From words to what holds.

use super::scan::{Kind, Token, error, scan};
use super::{Event, Expr, Field, Happened, Named, Order, SegmentError, Value};
use crate::limits::{
    EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX, EXPRESSION_TERMS_MAX, EXPRESSION_WITHIN_HOURS_MAX, TAG_CHARS_MAX,
};

type Result<T> = std::result::Result<T, SegmentError>;

const FIELDS: &str = "name, phone, email, country, language, source, tag, consent, an attribute, or what happened: \
                      sent, delivered, read, replied, confirmed";
const OPERATORS: &str = "=, !=, <, <=, >, >=, in (…), contains, starts with, is known or is missing";

pub(super) fn parse(text: &str) -> Result<Expr> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(error(
            1,
            format!("the expression has {} bytes; at most {EXPRESSION_BYTES_MAX} are taken", text.len()),
        ));
    }
    let mut parser = Parser { tokens: scan(text)?, next: 0, depth: 0, terms: 0 };
    let expr = parser.any()?;
    match parser.peek().kind {
        Kind::End => Ok(expr),
        Kind::Sign(")") => Err(parser.unexpected("nothing more: this parenthesis was never opened")),
        _ => Err(parser.unexpected("and, or, or the end")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    terms: usize,
}

impl Parser {
    fn any(&mut self) -> Result<Expr> {
        let mut parts = vec![self.all()?];
        while self.take_word("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::Any(parts) })
    }

    fn all(&mut self) -> Result<Expr> {
        let mut parts = vec![self.part()?];
        while self.take_word("and") {
            parts.push(self.part()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::All(parts) })
    }

    fn part(&mut self) -> Result<Expr> {
        let at = self.peek().at;
        self.depth += 1;
        if self.depth > EXPRESSION_DEPTH_MAX {
            return Err(error(
                at,
                format!("nested deeper than {EXPRESSION_DEPTH_MAX}: write it with fewer parentheses"),
            ));
        }
        let part = if self.take_word("not") {
            not(self.part()?)
        } else if self.take_sign("(") {
            let inner = self.any()?;
            if !self.take_sign(")") {
                return Err(self.unexpected(&format!("and, or, or the \")\" of the parenthesis at character {at}")));
            }
            inner
        } else {
            self.terms += 1;
            if self.terms > EXPRESSION_TERMS_MAX {
                return Err(error(at, format!("more than {EXPRESSION_TERMS_MAX} terms: split the expression")));
            }
            self.term()?
        };
        self.depth -= 1;
        Ok(part)
    }

    fn term(&mut self) -> Result<Expr> {
        let Token { at, kind } = self.peek().clone();
        let name = match kind {
            Kind::Attribute(name) => {
                self.next += 1;
                return self.compared(Field::Attribute(Named { name, at }));
            }
            Kind::Word(word) => word,
            _ => return Err(self.unexpected(FIELDS)),
        };
        if is_keyword(&name) {
            return Err(self.unexpected(FIELDS));
        }
        self.next += 1;
        match name.to_lowercase().as_str() {
            "tag" | "tags" => self.tags(),
            "consent" => self.consent(),
            "name" => self.compared(Field::Name),
            "phone" => self.compared(Field::Phone),
            "email" => self.compared(Field::Email),
            "country" => self.compared(Field::Country),
            "language" => self.compared(Field::Language),
            "source" => self.compared(Field::Source),
            "sent" => self.happened(Event::Sent),
            "delivered" => self.happened(Event::Delivered),
            "read" => self.happened(Event::Read),
            "replied" => self.happened(Event::Replied),
            "confirmed" => self.happened(Event::Confirmed),
            _ => self.compared(Field::Attribute(Named { name, at })),
        }
    }

    /// What follows a field.
    fn compared(&mut self, field: Field) -> Result<Expr> {
        if self.take_sign("=") {
            return Ok(Expr::OneOf(field.clone(), vec![self.value_of(&field)?]));
        }
        if self.take_sign("!=") {
            return Ok(not(Expr::OneOf(field.clone(), vec![self.value_of(&field)?])));
        }
        let orders = [("<", Order::Less), ("<=", Order::AtMost), (">", Order::More), (">=", Order::AtLeast)];
        if let Some((_, order)) = orders.into_iter().find(|(sign, _)| self.peek().kind == Kind::Sign(sign)) {
            self.next += 1;
            return Ok(Expr::Compare(field.clone(), order, self.value_of(&field)?));
        }
        if self.take_word("is") {
            return self.known(Expr::Known(field));
        }
        let negated = self.take_word("not");
        let expr = if self.take_word("in") {
            Expr::OneOf(field.clone(), self.values(|parser| parser.value_of(&field))?)
        } else if self.take_word("contains") {
            Expr::Contains(field, self.value()?.text)
        } else if self.take_word("starts") {
            self.take_word("with");
            Expr::StartsWith(field, self.value()?.text)
        } else {
            return Err(self.unexpected(if negated { "in (…), contains or starts with" } else { OPERATORS }));
        };
        Ok(if negated { not(expr) } else { expr })
    }

    /// What follows `is`.
    fn known(&mut self, known: Expr) -> Result<Expr> {
        let negated = self.take_word("not");
        let missing = match () {
            () if self.take_word("known") => false,
            () if self.take_word("missing") => true,
            () => return Err(self.unexpected("known or missing")),
        };
        Ok(if negated == missing { known } else { not(known) })
    }

    fn tags(&mut self) -> Result<Expr> {
        let tag = |parser: &mut Self| {
            let at = parser.peek().at;
            let text = parser.value()?.text;
            tag(&text).map_err(|problem| error(at, problem))
        };
        if self.take_sign("=") {
            return Ok(Expr::Tagged(vec![tag(self)?]));
        }
        if self.take_sign("!=") {
            return Ok(not(Expr::Tagged(vec![tag(self)?])));
        }
        if self.take_word("is") {
            return self.known(Expr::HasTags);
        }
        let negated = self.take_word("not");
        if !self.take_word("in") {
            return Err(self.unexpected("=, !=, in (…), not in (…), is known or is missing"));
        }
        let tagged = Expr::Tagged(self.values(tag)?);
        Ok(if negated { not(tagged) } else { tagged })
    }

    fn consent(&mut self) -> Result<Expr> {
        let negated = match () {
            () if self.take_sign("=") => false,
            () if self.take_sign("!=") => true,
            () if self.take_word("is") => return self.known(Expr::Consents),
            () => return Err(self.unexpected("= yes, = unknown, is known or is missing")),
        };
        let token = self.peek().clone();
        let value = self.value()?.text.to_lowercase();
        let consents = match value.replace(['-', ' '], "_").as_str() {
            "yes" | "opted_in" | "true" => true,
            "no" | "unknown" | "false" => false,
            _ => return Err(error(token.at, format!("consent is yes or unknown, not {}", token.kind.shown()))),
        };
        Ok(if consents == negated { not(Expr::Consents) } else { Expr::Consents })
    }

    fn happened(&mut self, event: Event) -> Result<Expr> {
        let campaign = if self.take_word("in") {
            self.take_word("campaign");
            let at = self.peek().at;
            Some(Named { name: self.value()?.text, at })
        } else {
            None
        };
        let within_hours = if self.take_word("within") { Some(self.hours()?) } else { None };
        if matches!(self.peek().kind, Kind::Sign("=" | "!=" | "<" | "<=" | ">" | ">=")) {
            let why = "and, or, in CAMPAIGN, within N days, or the end: an attribute of this name is written with @ before it";
            return Err(self.unexpected(why));
        }
        Ok(Expr::Happened(Happened { event, campaign, within_hours }))
    }

    /// A number and its unit, `30 days` or `30d`, in hours.
    fn hours(&mut self) -> Result<u32> {
        const EXPECTED: &str = "a whole number of hours, days or weeks, e.g. within 30 days";
        let (at, word) = match self.peek() {
            Token { at, kind: Kind::Word(word) } => (*at, word.to_lowercase()),
            _ => return Err(self.unexpected(EXPECTED)),
        };
        let (number, unit) = word.split_at(word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len()));
        let Ok(number) = number.parse::<u32>() else { return Err(self.unexpected(EXPECTED)) };
        self.next += 1;
        let unit = match (unit, &self.peek().kind) {
            ("", Kind::Word(unit)) => {
                let unit = unit.to_lowercase();
                self.next += 1;
                unit
            }
            (unit, _) => unit.to_owned(),
        };
        let each = match unit.as_str() {
            "h" | "hour" | "hours" => 1,
            "d" | "day" | "days" => 24,
            "w" | "week" | "weeks" => 24 * 7,
            _ => return Err(error(at, format!("{number} of what? Expected {EXPECTED}"))),
        };
        match number.checked_mul(each) {
            Some(hours) if (1..=EXPRESSION_WITHIN_HOURS_MAX).contains(&hours) => Ok(hours),
            _ => Err(error(
                at,
                format!("{number} {unit} are not between 1 hour and {} days", EXPRESSION_WITHIN_HOURS_MAX / 24),
            )),
        }
    }

    /// Values in parentheses, at least one.
    fn values<T>(&mut self, mut one: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let at = self.peek().at;
        if !self.take_sign("(") {
            return Err(self.unexpected("values in parentheses, e.g. (DZ, TN)"));
        }
        let mut values = vec![one(self)?];
        while self.take_sign(",") {
            values.push(one(self)?);
        }
        if !self.take_sign(")") {
            return Err(self.unexpected(&format!("\",\" or the \")\" of the parenthesis at character {at}")));
        }
        Ok(values)
    }

    /// A value as the field has them.
    fn value_of(&mut self, field: &Field) -> Result<Value> {
        let at = self.peek().at;
        let value = self.value()?;
        let text = match field {
            Field::Country if value.text.len() == 2 && value.text.bytes().all(|c| c.is_ascii_alphabetic()) => {
                value.text.to_uppercase()
            }
            Field::Country => {
                let problem = format!("{:?} is no country: use two letters of ISO 3166, e.g. DZ", value.text);
                return Err(error(at, problem));
            }
            Field::Language | Field::Email => value.text.to_lowercase(),
            _ => return Ok(value),
        };
        Ok(Value { text, number: None })
    }

    fn value(&mut self) -> Result<Value> {
        let value = match &self.peek().kind {
            Kind::Word(word) if is_keyword(word) => {
                let expected = format!("a value; the word itself is written {word:?} in quotes");
                return Err(self.unexpected(&expected));
            }
            Kind::Word(word) => Value { text: word.clone(), number: number(word) },
            Kind::Quoted(text) => Value { text: text.clone(), number: None },
            _ => return Err(self.unexpected("a value")),
        };
        self.next += 1;
        Ok(value)
    }

    fn peek(&self) -> &Token {
        // The end is never passed.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let found = matches!(&self.peek().kind, Kind::Word(word) if word.eq_ignore_ascii_case(wanted));
        self.next += usize::from(found);
        found
    }

    fn take_sign(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek().kind, Kind::Sign(sign) if sign == wanted);
        self.next += usize::from(found);
        found
    }

    fn unexpected(&self, expected: &str) -> SegmentError {
        let Token { at, kind } = self.peek();
        error(*at, format!("{} where {expected} was expected", kind.shown()))
    }
}

fn not(expr: Expr) -> Expr {
    match expr {
        Expr::Not(inner) => *inner,
        expr => Expr::Not(Box::new(expr)),
    }
}

fn is_keyword(word: &str) -> bool {
    ["and", "or", "not", "in", "is"].iter().any(|keyword| keyword.eq_ignore_ascii_case(word))
}

/// The number that a word is: digits with a sign and a point, nothing else that a program may take for one.
fn number(word: &str) -> Option<f64> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let plain = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.ends_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    if plain { word.parse().ok() } else { None }
}

/// A tag as it is kept: lower case, without blanks around it.
///
/// # Errors
/// What is wrong with it.
pub fn tag(text: &str) -> std::result::Result<String, String> {
    let tag = text.trim().to_lowercase();
    let sound =
        !tag.is_empty() && tag.chars().count() <= TAG_CHARS_MAX && !tag.contains(|c: char| c.is_control() || c == ',');
    if sound {
        return Ok(tag);
    }
    Err(format!("{text:?} is no tag: expected 1 to {TAG_CHARS_MAX} characters without commas and line breaks"))
}
