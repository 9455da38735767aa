//! What a template text refers to, and whether it keeps to what templates may do.
//!
//! A contact's values are scalars, so a text needs no loops, no assignments and no functions; without
//! them every instruction runs at most once and what a text can produce is bounded by what it is given.

use std::iter::Peekable;
use std::str::CharIndices;

use crate::limits::TEMPLATE_REFERENCES_MAX;

/// The filters that exist. Those marked `true` never fail, whatever scalar they are given.
pub(super) const FILTERS: &[(&str, bool)] = &[
    ("default", true),
    ("d", true),
    ("upper", true),
    ("lower", true),
    ("title", true),
    ("capitalize", true),
    ("trim", true),
    ("string", true),
    ("replace", false),
    ("length", false),
    ("first", false),
    ("last", false),
    ("int", false),
    ("float", false),
    ("round", false),
    ("abs", false),
];
const TESTS: &[&str] = &["defined", "undefined"];
const STATEMENTS: &[&str] = &["if", "elif", "else", "endif"];
const OPERATOR_WORDS: &[&str] = &["and", "or", "not", "in", "is", "if", "elif", "else", "endif"];
const CONSTANTS: &[&str] = &["true", "false", "none", "True", "False", "None"];

/// What a text refers to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Scan {
    /// The variables, each once, in the order of their first appearance.
    pub names: Vec<String>,
    /// Whether every expression is a variable or a constant with filters that cannot fail: then
    /// which variables are required does not depend on the values of others.
    pub simple: bool,
}

/// Something a template may not do.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    /// Byte offset in the text.
    pub offset: usize,
    /// What is wrong and what to write instead.
    pub problem: String,
}

/// Scans a text that has the syntax of a template.
pub(super) fn scan(source: &str) -> Result<Scan, Refusal> {
    let mut scanner = Scanner { out: Scan { simple: true, ..Scan::default() }, references: 0 };
    let mut at = 0;
    while let Some(found) = source[at..].find('{') {
        let open = at + found;
        at = match source.as_bytes().get(open + 1) {
            Some(b'{') => scanner.expression(source, open + 2, "}}")?,
            Some(b'%') => scanner.statement(source, open + 2)?,
            Some(b'#') => source[open..].find("#}").map_or(source.len(), |n| open + n + 2),
            _ => open + 1,
        };
    }
    Ok(scanner.out)
}

type Chars<'a> = Peekable<CharIndices<'a>>;

struct Scanner {
    out: Scan,
    references: usize,
}

impl Scanner {
    fn statement(&mut self, source: &str, start: usize) -> Result<usize, Refusal> {
        self.out.simple = false;
        let body = source[start..].trim_start_matches(['-', '+']).trim_start();
        let word: String = body.chars().take_while(|c| continues_word(*c)).collect();
        if !STATEMENTS.contains(&word.as_str()) {
            let problem = format!("there is no statement {word:?}; statements are {}", STATEMENTS.join(", "));
            return Err(Refusal { offset: start, problem });
        }
        self.expression(source, start, "%}")
    }

    /// Scans from `start` to just after `end`, and says where that is.
    fn expression(&mut self, source: &str, start: usize, end: &str) -> Result<usize, Refusal> {
        let before = self.references;
        let mut chars: Chars = source[start..].char_indices().peekable();
        while let Some((i, c)) = chars.next() {
            let offset = start + i;
            let rest = &source[offset..];
            if rest.starts_with(end) {
                self.out.simple &= self.references <= before + 1;
                return Ok(offset + end.len());
            }
            match c {
                _ if c.is_whitespace() => {}
                '-' | '+' if rest[1..].starts_with(end) || i == 0 => {}
                '"' | '\'' => skip_string(&mut chars, c),
                '0'..='9' => skip_while(&mut chars, |c| continues_word(c) || c == '.'),
                '|' => self.filter(&mut chars, source, start)?,
                '(' | ')' | ',' => {}
                '.' => {
                    return refuse(offset, "values have no parts: write {{ name }}, without a dot");
                }
                '*' => return refuse(offset, "there is no multiplication in a template"),
                '{' => return refuse(offset, "there are no maps in a template: write {{ name }}"),
                _ if continues_word(c) => self.word(&mut chars, source, start, offset)?,
                _ => self.out.simple = false,
            }
        }
        Ok(source.len())
    }

    fn filter(&mut self, chars: &mut Chars, source: &str, start: usize) -> Result<(), Refusal> {
        skip_while(chars, char::is_whitespace);
        let offset = chars.peek().map_or(source.len(), |(i, _)| start + i);
        let name = take_word(chars, source, start);
        match FILTERS.iter().find(|(known, _)| *known == name) {
            Some((_, total)) => {
                self.out.simple &= total;
                Ok(())
            }
            None => {
                let known: Vec<_> = FILTERS.iter().map(|(known, _)| *known).collect();
                refuse(offset, format!("there is no filter {name:?}; filters are {}", known.join(", ")))
            }
        }
    }

    fn word(&mut self, chars: &mut Chars, source: &str, start: usize, offset: usize) -> Result<(), Refusal> {
        skip_while(chars, continues_word);
        let end = chars.peek().map_or(source.len(), |(i, _)| start + i);
        let word = &source[offset..end];
        skip_while(chars, char::is_whitespace);
        let next = &source[chars.peek().map_or(source.len(), |(i, _)| start + i)..];
        if word == "is" {
            self.out.simple = false;
            return self.test(chars, source, start);
        }
        if OPERATOR_WORDS.contains(&word) {
            self.out.simple = false;
        } else if next.starts_with('(') {
            return refuse(offset, format!("there is no function {word:?}: write {{{{ variable | filter }}}}"));
        } else if next.starts_with('=') && !next.starts_with("==") {
            self.out.simple = false;
        } else if !CONSTANTS.contains(&word) {
            self.reference(word, offset)?;
        }
        Ok(())
    }

    fn test(&mut self, chars: &mut Chars, source: &str, start: usize) -> Result<(), Refusal> {
        let offset = chars.peek().map_or(source.len(), |(i, _)| start + i);
        let mut name = take_word(chars, source, start);
        if name == "not" {
            skip_while(chars, char::is_whitespace);
            name = take_word(chars, source, start);
        }
        if TESTS.contains(&name) {
            return Ok(());
        }
        refuse(offset, format!("there is no test {name:?}; tests are {}", TESTS.join(", ")))
    }

    fn reference(&mut self, name: &str, offset: usize) -> Result<(), Refusal> {
        self.references += 1;
        if self.references > TEMPLATE_REFERENCES_MAX {
            return refuse(offset, format!("a text may refer to variables {TEMPLATE_REFERENCES_MAX} times at most"));
        }
        if !self.out.names.iter().any(|known| known == name) {
            self.out.names.push(name.to_owned());
        }
        Ok(())
    }
}

fn refuse<T>(offset: usize, problem: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { offset, problem: problem.into() })
}

/// The text has been parsed before, so a character beyond ASCII can only belong to a name.
fn continues_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii()
}

fn skip_while(chars: &mut Chars, keep: impl Fn(char) -> bool) {
    while chars.next_if(|(_, c)| keep(*c)).is_some() {}
}

fn take_word<'a>(chars: &mut Chars, source: &'a str, start: usize) -> &'a str {
    let from = chars.peek().map_or(source.len(), |(i, _)| start + i);
    skip_while(chars, continues_word);
    let to = chars.peek().map_or(source.len(), |(i, _)| start + i);
    &source[from..to]
}

fn skip_string(chars: &mut Chars, quote: char) {
    while let Some((_, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            _ if c == quote => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, simple: bool, names: &[&str]) {
        let found = scan(source).unwrap();
        assert_eq!((found.simple, found.names), (simple, names.iter().map(|n| n.to_string()).collect()), "{source}");
    }

    #[test]
    fn finds_variables_in_order() {
        check("no variables, a { brace }", true, &[]);
        check("{{ b }} {{a}} {{ b|upper }}", true, &["b", "a"]);
        check("{{- name | default(\"}} x {{\") -}}!", true, &["name"]);
        check("{# {{ gone }} #}{{ 'it''s' }}{{ \"\\\"q\" }}{{ real }}", true, &["real"]);
        check("{{ prénom }} {{ الاسم | trim }}", true, &["prénom", "الاسم"]);
        check("{{ a | default(b) }}", false, &["a", "b"]);
        check("{{ a ~ 1.5 }}", false, &["a"]);
        check("{{ a | replace('x', 'y') }}", false, &["a"]);
        check(
            "{% if vip is not defined and true %}{{ name }}{%- elif x in ['a', 'b'] %}{% endif %}",
            false,
            &["vip", "name", "x"],
        );
        check("{{ 'a' if vip else b }}", false, &["vip", "b"]);
    }

    #[track_caller]
    fn refused(source: &str, offset: usize, words: &str) {
        let found = scan(source).unwrap_err();
        assert!(found.offset == offset && found.problem.contains(words), "{source}: {found:?}");
    }

    #[test]
    fn refuses_what_templates_may_not_do() {
        refused("Hi {{ name | uper }}", 13, "filters are default, d, upper");
        refused("{% for a in b %}{% endfor %}", 2, "no statement \"for\"");
        refused("{% set a = a ~ a %}", 2, "statements are if, elif, else, endif");
        refused("{{ range(9) }}", 3, "no function \"range\"");
        refused("{{ contact.name }}", 10, "without a dot");
        refused("{{ 'x' * 1000000000 }}", 7, "multiplication");
        refused("{{ name is blank }}", 11, "tests are defined, undefined");
        refused(&"{{ a }}".repeat(TEMPLATE_REFERENCES_MAX + 1), 7 * TEMPLATE_REFERENCES_MAX + 3, "at most");
    }
}
