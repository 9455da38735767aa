//! Rendering: positional values in, text out.

use std::fmt;
use std::sync::Arc;

use minijinja::value::Object;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value, filters, tests};

use crate::limits::RENDERED_BYTES_MAX;

/// What a text becomes when a value is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Nothing stands in its place.
    Blank,
    /// It does not render, unless it asks for a default or tests for the variable.
    Fails,
}

/// An environment with the filters and tests of `scan`, and nothing else.
pub(super) fn environment(missing: Missing) -> Environment<'static> {
    let mut env = Environment::empty();
    env.set_undefined_behavior(match missing {
        Missing::Blank => UndefinedBehavior::Lenient,
        Missing::Fails => UndefinedBehavior::SemiStrict,
    });
    env.set_debug(false);
    env.add_filter("default", filters::default);
    env.add_filter("d", filters::default);
    env.add_filter("upper", filters::upper);
    env.add_filter("lower", filters::lower);
    env.add_filter("title", filters::title);
    env.add_filter("capitalize", filters::capitalize);
    env.add_filter("trim", filters::trim);
    env.add_filter("string", filters::string);
    env.add_filter("replace", replace);
    env.add_filter("length", filters::length);
    env.add_filter("first", filters::first);
    env.add_filter("last", filters::last);
    env.add_filter("int", filters::int);
    env.add_filter("float", filters::float);
    env.add_filter("round", filters::round);
    env.add_filter("abs", filters::abs);
    env.add_test("defined", tests::is_defined);
    env.add_test("undefined", tests::is_undefined);
    env
}

/// Replaces `from` by `to`, which together must not make the text longer than a rendered text may be.
fn replace(text: &str, from: &str, to: &str) -> Result<String, Error> {
    let found = if from.is_empty() { usize::MAX } else { text.matches(from).count() };
    let grown = found.saturating_mul(to.len()).saturating_add(text.len());
    if grown > RENDERED_BYTES_MAX {
        return Err(Error::new(ErrorKind::InvalidOperation, "replace makes the text too long"));
    }
    Ok(text.replace(from, to))
}

/// The values of one contact under the names of a template's variables.
pub(super) struct Positional {
    pub names: Arc<[String]>,
    pub values: Vec<Value>,
}

impl fmt::Debug for Positional {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values are personal: they stay out of logs.
        f.debug_list().entries(self.names.iter()).finish()
    }
}

impl Object for Positional {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        // A handful of names: looking through them is faster than hashing.
        let position = self.names.iter().position(|name| name == key)?;
        self.values.get(position).cloned()
    }
}

/// Whether a contact has no such value: null, or a text of nothing but white space.
pub fn is_missing(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::String(s) => s.trim().is_empty(),
        _ => false,
    }
}

/// A value as the engine takes it.
pub(super) fn to_engine(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::UNDEFINED,
        serde_json::Value::Bool(b) => Value::from(*b),
        serde_json::Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(int), _) => Value::from(int),
            (None, Some(float)) => Value::from(float),
            (None, None) => Value::from(n.to_string()),
        },
        serde_json::Value::String(s) if s.trim().is_empty() => Value::UNDEFINED,
        serde_json::Value::String(s) => Value::from(s.as_str()),
        nested => Value::from(nested.to_string()),
    }
}
