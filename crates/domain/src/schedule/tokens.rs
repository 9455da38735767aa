//! The words of a phrase, read from left to right.

use super::Error;

/// A phrase, and how far it was read. Commas and `and` are the same.
#[derive(Debug)]
pub(super) struct Tokens {
    text: String,
    words: Vec<String>,
    at: usize,
}

impl Tokens {
    pub(super) fn new(text: &str) -> Self {
        let lower = text.to_lowercase().replace([',', '&'], " , ");
        let word = |word: &str| match word {
            "and" => ",".to_owned(),
            // Not the points of a.m.
            word if !word.ends_with("m.") => word.trim_end_matches(['.', ';']).to_owned(),
            word => word.to_owned(),
        };
        let words = lower.split_whitespace().map(word).filter(|w| !w.is_empty()).collect();
        Self { text: text.trim().to_owned(), words, at: 0 }
    }

    /// The next word; empty at the end.
    pub(super) fn peek(&self) -> &str {
        self.words.get(self.at).map_or("", String::as_str)
    }

    /// The word after the next.
    pub(super) fn second(&self) -> &str {
        self.words.get(self.at + 1).map_or("", String::as_str)
    }

    pub(super) fn step(&mut self) {
        self.at = (self.at + 1).min(self.words.len());
    }

    /// Passes the next word if it is one of these.
    pub(super) fn eat(&mut self, any: &[&str]) -> bool {
        let is = any.contains(&self.peek());
        if is {
            self.step();
        }
        is
    }

    /// Passes what joins the items of a list.
    pub(super) fn eat_joint(&mut self) -> bool {
        let mut joined = false;
        while self.eat(&[","]) {
            joined = true;
        }
        joined
    }

    /// Passes a joint if an item follows it, as `is_item` tells from the words after the joint.
    pub(super) fn eat_joint_before(&mut self, is_item: impl Fn(&Self) -> bool) -> bool {
        let mark = self.at;
        if self.eat_joint() && is_item(self) {
            return true;
        }
        self.at = mark;
        false
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.words.len()
    }

    /// That the next word is none of what was expected.
    pub(super) fn unexpected(&self, expected: &str) -> Error {
        Error::Word { text: self.text.clone(), at: self.peek().to_owned(), why: format!("expected {expected}") }
    }

    /// That what was read cannot be.
    pub(super) fn refused(&self, at: &str, why: String) -> Error {
        Error::Word { text: self.text.clone(), at: at.to_owned(), why }
    }
}
