//! The lists of templates, languages and categories.
//!
//! Source: 1Confirmed API documentation: categories, templates, languages.

use std::collections::BTreeMap;

use fanfare_domain::content::Listed;
use fanfare_domain::content::listed::{Fill, Part, Press, Shape};
use fanfare_domain::outcome::{Failure, FailureKind};
use serde_json::Value;

use crate::caller::provider_id;

fn unread(what: &str) -> Failure {
    Failure::new(FailureKind::Unknown, format!("{what} cannot be read"))
}

fn entries(body: &Value) -> Result<&[Value], Failure> {
    body.get("data").and_then(Value::as_array).map(Vec::as_slice).ok_or_else(|| unread("the list"))
}

/// Names by their ids.
pub(super) fn names(body: &Value, key: &str) -> Result<BTreeMap<u64, String>, Failure> {
    let pair = |entry: &Value| Some((entry.get("id")?.as_u64()?, entry.get(key)?.as_str()?.to_owned()));
    entries(body)?.iter().map(|entry| pair(entry).ok_or_else(|| unread("the list"))).collect()
}

/// The templates of one language.
pub(super) fn templates(
    body: &Value,
    language: &str,
    categories: &BTreeMap<u64, String>,
) -> Result<Vec<Listed>, Failure> {
    entries(body)?.iter().map(|entry| template(entry, language, categories)).collect()
}

fn template(entry: &Value, language: &str, categories: &BTreeMap<u64, String>) -> Result<Listed, Failure> {
    let category = entry.get("category_id").and_then(Value::as_u64).and_then(|id| categories.get(&id));
    let title = ["display_name", "name"].iter().find_map(|key| entry.get(*key)?.as_str());
    Ok(Listed {
        name: provider_id(entry, "/id").ok_or_else(|| unread("the list"))?,
        title: title.map(str::to_owned),
        language: language.to_owned(),
        // Only what can be sent is listed.
        status: String::new(),
        category: category.map(|name| name.to_lowercase()).unwrap_or_default(),
        shape: shape(entry).ok_or_else(|| unread("a template's variables"))?,
    })
}

fn shape(entry: &Value) -> Option<Shape> {
    let has = |key: &str| entry.get(key) == Some(&Value::Bool(true));
    // A list of its own, as a text of JSON.
    let variables = match entry.get("variables") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) if text.trim().is_empty() => Vec::new(),
        Some(Value::String(text)) => serde_json::from_str::<Vec<Value>>(text).ok()?,
        Some(list) => list.as_array()?.clone(),
    };
    let name = |variable: &Value| variable.get("variable")?.as_str().map(str::to_owned);
    let part = Part {
        header: (has("has_file") || has("is_carousel")).then_some(Fill::Other),
        params: variables.iter().map(name).collect::<Option<_>>()?,
        buttons: has("has_flow_form").then_some(Press::Other).into_iter().collect(),
    };
    Some(Shape { part, ..Shape::default() })
}
