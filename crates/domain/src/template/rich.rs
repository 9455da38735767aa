//! A typed content whose texts are template texts: every string in its JSON but the `type`s.

use serde_json::Value;

use crate::content::Content;
use crate::message::Channel;

/// Checks the shape of a content before anything is rendered.
pub(super) fn parse(json: &Value, channel: Channel) -> Result<Content, String> {
    let content: Content = serde_json::from_value(json.clone()).map_err(|e| format!("content: {e}"))?;
    let known = serde_json::to_value(&content).expect("strings, numbers and lists are JSON");
    if let Some(field) = unknown(json, &known, "") {
        return Err(format!("content: {field} is no field of type {}", json["type"]));
    }
    content.check(channel).map_err(|e| format!("content: {e}"))?;
    Ok(content)
}

/// The first field of `given` that reading it has passed over.
fn unknown(given: &Value, known: &Value, path: &str) -> Option<String> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => given.iter().find_map(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match known.get(key) {
                Some(read) => unknown(value, read, &path),
                None if value.is_null() => None,
                None => Some(path),
            }
        }),
        (Value::Array(given), Value::Array(known)) => {
            let mut pairs = given.iter().zip(known).enumerate();
            pairs.find_map(|(i, (given, known))| unknown(given, known, &format!("{path}[{i}]")))
        }
        _ => None,
    }
}

/// The texts of a content with their places, in the order in which [`filled`] takes them.
pub(super) fn texts(json: &Value) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    walk(json, String::new(), &mut found);
    found
}

fn walk<'a>(json: &'a Value, path: String, found: &mut Vec<(String, &'a str)>) {
    match json {
        Value::String(text) => found.push((path, text)),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| walk(item, format!("{path}[{i}]"), found)),
        Value::Object(fields) => fields.iter().filter(|(key, _)| *key != "type").for_each(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            walk(value, path, found);
        }),
        _ => {}
    }
}

/// The same content with these texts in the places of its own.
pub(super) fn filled(json: &Value, texts: &mut impl Iterator<Item = String>) -> Value {
    match json {
        Value::String(_) => Value::String(texts.next().unwrap_or_default()),
        Value::Array(items) => items.iter().map(|item| filled(item, texts)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), if key == "type" { value.clone() } else { filled(value, texts) }))
            .collect(),
        other => other.clone(),
    }
}
