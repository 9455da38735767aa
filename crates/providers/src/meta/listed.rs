//! Templates in the words of Meta's lists, which its resellers pass on.
//!
//! Source: Meta, WhatsApp Business Management API: message templates, template components (2026-03).

use fanfare_domain::content::Listed;
use fanfare_domain::content::listed::{Fill, Part, Press, Shape};
use serde_json::Value;

/// An entry of a list; none if it has no name.
pub(crate) fn listed(entry: &Value) -> Option<Listed> {
    let word = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    Some(Listed {
        name: Some(word("name")).filter(|name| !name.is_empty())?.to_owned(),
        title: None,
        // A reseller wraps it as it is sent: {"policy": …, "code": …}.
        language: entry.pointer("/language/code").and_then(Value::as_str).unwrap_or(word("language")).to_owned(),
        status: word("status").to_lowercase(),
        category: word("category").to_lowercase(),
        shape: shape(components(entry)),
    })
}

fn components(of: &Value) -> &[Value] {
    of.get("components").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Upper case, as Meta writes it now; it was lower case once.
fn kind(of: &Value, key: &str) -> String {
    of.get(key).and_then(Value::as_str).unwrap_or_default().to_uppercase()
}

fn shape(components: &[Value]) -> Shape {
    let mut shape = Shape { part: part(components), ..Shape::default() };
    for component in components {
        match kind(component, "type").as_str() {
            "LIMITED_TIME_OFFER" => {
                shape.offer = component.pointer("/limited_time_offer/has_expiration") == Some(&Value::Bool(true));
            }
            "CAROUSEL" => {
                let cards = component.get("cards").and_then(Value::as_array);
                shape.cards = cards.into_iter().flatten().map(|card| part(self::components(card))).collect();
            }
            _ => {}
        }
    }
    shape
}

fn part(components: &[Value]) -> Part {
    let mut part = Part::default();
    for component in components {
        let text = component.get("text").and_then(Value::as_str).unwrap_or_default();
        match kind(component, "type").as_str() {
            "HEADER" => part.header = fill(&kind(component, "format"), text),
            "BODY" => part.params = variables(text),
            "BUTTONS" => {
                let buttons = component.get("buttons").and_then(Value::as_array);
                part.buttons = buttons.into_iter().flatten().map(press).collect();
            }
            _ => {}
        }
    }
    part
}

fn fill(format: &str, text: &str) -> Option<Fill> {
    Some(match format {
        "TEXT" | "" if variables(text).is_empty() => return None,
        "TEXT" | "" => Fill::Text,
        "IMAGE" => Fill::Image,
        "VIDEO" => Fill::Video,
        "DOCUMENT" => Fill::Document,
        "PRODUCT" => Fill::Product,
        _ => Fill::Other,
    })
}

fn press(button: &Value) -> Press {
    let url = button.get("url").and_then(Value::as_str).unwrap_or_default();
    match kind(button, "type").as_str() {
        "URL" if variables(url).is_empty() => Press::Fixed,
        "URL" | "OTP" => Press::Url,
        "QUICK_REPLY" => Press::QuickReply,
        "COPY_CODE" => Press::CopyCode,
        "FLOW" => Press::Flow,
        "CATALOG" => Press::Catalog,
        "MPM" | "ORDER_DETAILS" => Press::Other,
        _ => Press::Fixed,
    }
}

/// The names between double braces, each once.
pub(crate) fn variables(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for behind in text.split("{{").skip(1) {
        let Some((name, _)) = behind.split_once("}}") else { continue };
        let name = name.trim();
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}
