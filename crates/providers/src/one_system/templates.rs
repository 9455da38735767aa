//! The list of templates kept there: local texts with variables, which nobody approves.
//!
//! The list's form is not documented, so that nothing is made of what cannot be read.

use fanfare_domain::content::Listed;
use fanfare_domain::content::listed::{Part, Shape};
use serde_json::Value;

use super::listed::says_more;
use crate::caller::provider_id;
use crate::meta::listed::variables;

/// The templates of an answer; else why there are none.
pub(super) fn templates(body: &Value) -> Result<Vec<Listed>, &'static str> {
    let places = ["", "/data", "/templates", "/data/data", "/data/templates"];
    let entries = places.iter().find_map(|place| body.pointer(place)?.as_array()).ok_or("the list cannot be read")?;
    if says_more(body, entries.len()) {
        return Err("the list has more pages");
    }
    entries.iter().map(|entry| template(entry).ok_or("the list cannot be read")).collect()
}

fn template(entry: &Value) -> Option<Listed> {
    let word = |key: &str| entry.get(key).and_then(Value::as_str);
    Some(Listed {
        name: provider_id(entry, "/id")?,
        title: word("name").map(str::to_owned),
        language: String::new(),
        status: String::new(),
        category: word("category").unwrap_or_default().to_lowercase(),
        // What is attached to it comes along by itself.
        shape: Shape { part: Part { params: variables(word("content")?), ..Part::default() }, ..Shape::default() },
    })
}
