//! Templates as their provider lists them: what each takes, and why what is said would not fill it.

use serde::{Deserialize, Serialize};

use super::{Approved, Button, Header};

/// A template of a provider's list, in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// What a message names it by: its name, or its id.
    pub name: String,
    /// What people call it, where messages name it by an id.
    pub title: Option<String>,
    /// Its language as the provider writes it; empty if it has none.
    pub language: String,
    /// What the provider says of it, in lower case; empty where its list says nothing.
    pub status: String,
    /// What the provider counts it as, in lower case; empty where its list does not say.
    pub category: String,
    /// What it takes.
    pub shape: Shape,
}

/// What a template takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Its own header, body and buttons.
    #[serde(flatten)]
    pub part: Part,
    /// Whether it has an offer that ends.
    pub offer: bool,
    /// Its cards.
    pub cards: Vec<Part>,
}

/// Header, body and buttons: of a template, or of one of its cards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What its header takes; absent if that has nothing to fill.
    pub header: Option<Fill>,
    /// Names of its body's variables, in their order: `1`, `2`, or words.
    pub params: Vec<String>,
    /// Its buttons in their order.
    pub buttons: Vec<Press>,
}

/// What fills a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// A text.
    Text,
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A file.
    Document,
    /// A product.
    Product,
    /// Something that no message here carries.
    Other,
}

/// What a button takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Press {
    /// Nothing: a phone number, or a link without a variable.
    Fixed,
    /// The end of its link.
    Url,
    /// What comes back, if anything but its label is to.
    QuickReply,
    /// The code that it copies.
    CopyCode,
    /// The token of a form, if any.
    Flow,
    /// The catalogue's picture, if any.
    Catalog,
    /// Something that no message here carries.
    Other,
}

/// How messages name a template and fill its variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Naming {
    /// By name and language, which it cannot do without; variables by their position.
    Language,
    /// By name, and language where there is a choice; variables by their position.
    LanguageIfAny,
    /// By name; variables by their position.
    Name,
    /// By id; variables by their names, `name=value`.
    Variables,
    /// By id; variables by their names, or all by their position.
    Either,
}

impl Fill {
    /// As an error and a table name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Video => "video",
            Self::Document => "document",
            Self::Product => "product",
            Self::Other => "other",
        }
    }

    fn of(header: &Header) -> Self {
        match header {
            Header::Text { .. } => Self::Text,
            Header::Image(_) => Self::Image,
            Header::Video(_) => Self::Video,
            Header::Document(_) => Self::Document,
            Header::Product { .. } => Self::Product,
        }
    }
}

impl Press {
    /// As an error and a table name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Url => "url",
            Self::QuickReply => "quick_reply",
            Self::CopyCode => "copy_code",
            Self::Flow => "flow",
            Self::Catalog => "catalog",
            Self::Other => "other",
        }
    }

    /// Whether it cannot do without.
    fn must_be_filled(self) -> bool {
        matches!(self, Self::Url | Self::CopyCode | Self::Other)
    }

    fn of(button: &Button) -> (usize, Self) {
        match button {
            Button::Url { index, .. } => (usize::from(*index), Self::Url),
            Button::QuickReply { index, .. } => (usize::from(*index), Self::QuickReply),
            Button::CopyCode { index, .. } => (usize::from(*index), Self::CopyCode),
            Button::Flow { index, .. } => (usize::from(*index), Self::Flow),
            Button::Catalog { index, .. } => (usize::from(*index), Self::Catalog),
        }
    }
}

/// The name before the first equals sign of a parameter whose variable has a name, and its value.
pub fn named(param: &str) -> Option<(&str, &str)> {
    let (name, value) = param.split_once('=')?;
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (plain && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')).then_some((name, value))
}

impl Listed {
    /// Whether the provider says that it may be sent; where its list says nothing, it may.
    pub fn is_usable(&self) -> bool {
        ["", "approved", "active", "flagged", "reinstated"].contains(&self.status.as_str())
    }

    /// Whether it is of this language, however that is written: `pt_BR` is `pt-br`.
    pub fn speaks(&self, language: &str) -> bool {
        let plain = |tag: &str| tag.replace('_', "-").to_lowercase();
        plain(&self.language) == plain(language)
    }

    /// Why the provider would refuse what is said: each part that does not fit, with what it takes. The
    /// texts may hold variables of ours still.
    pub fn misfits(&self, said: &Approved, naming: Naming) -> Vec<String> {
        let mut found = Vec::new();
        if said.code.is_some() {
            if self.category != "authentication" {
                found.push("it is no authentication template: leave the code out".to_owned());
            }
            return found;
        }
        let Shape { part, offer, cards } = &self.shape;
        part.compare("", (said.header.as_ref(), &said.params, &said.buttons), naming, &mut found);
        match (*offer, said.offer.is_some()) {
            (true, false) => found.push("its offer ends at a time, and none is given: give offer.ends_at".to_owned()),
            (false, true) => found.push("it has no offer that ends: leave offer out".to_owned()),
            _ => {}
        }
        let of_products = cards.first().is_some_and(|card| card.header == Some(Fill::Product));
        if cards.len() != said.cards.len() && !(of_products && said.cards.len() > cards.len()) {
            found.push(format!("it has {} cards, and {} are given", cards.len(), said.cards.len()));
            return found;
        }
        for (i, card) in said.cards.iter().enumerate() {
            let place = format!("cards[{i}].");
            // A carousel of products may be sent with more cards than it was approved with.
            let Some(listed) = cards.get(i).or(cards.last()) else { continue };
            listed.compare(&place, (Some(&card.header), &card.params, &card.buttons), naming, &mut found);
        }
        found
    }
}

impl Part {
    fn compare(
        &self,
        place: &str,
        (header, params, buttons): (Option<&Header>, &[String], &[Button]),
        naming: Naming,
        found: &mut Vec<String>,
    ) {
        match (self.header, header.map(Fill::of)) {
            (None, None) => {}
            (Some(takes), Some(given)) if takes == given => {}
            (Some(Fill::Other), _) => found.push(format!("{place}header takes something that no message here carries")),
            (Some(takes), None) => {
                found.push(format!("{place}header takes a value of type {}, and none is given", takes.name()))
            }
            (Some(takes), Some(given)) => {
                found.push(format!("{place}header takes a value of type {}, not {}", takes.name(), given.name()));
            }
            (None, Some(_)) => found.push(format!("{place}header has nothing to fill: leave it out")),
        }
        found.extend(self.params_amiss(place, params, naming));
        for (i, takes) in self.buttons.iter().enumerate() {
            let given = buttons.iter().map(Press::of).find(|(at, _)| *at == i).map(|(_, given)| given);
            match given {
                None if *takes == Press::Other => {
                    found.push(format!("{place}buttons: button {i} takes something that no message here carries"));
                }
                None if takes.must_be_filled() => {
                    found.push(format!("{place}buttons: button {i} takes a {}, and none is given", takes.name()));
                }
                Some(_) if *takes == Press::Fixed => {
                    found.push(format!("{place}buttons: button {i} has nothing to fill: leave it out"));
                }
                Some(given) if given != *takes => {
                    found.push(format!("{place}buttons: button {i} is a {}, not a {}", takes.name(), given.name()));
                }
                _ => {}
            }
        }
        let beyond = buttons.iter().map(|b| Press::of(b).0).find(|i| *i >= self.buttons.len());
        if let Some(i) = beyond {
            found.push(format!("{place}buttons: there is no button {i}, it has {}", self.buttons.len()));
        }
    }

    fn params_amiss(&self, place: &str, params: &[String], naming: Naming) -> Option<String> {
        let takes = match self.params.len() {
            0 => format!("{place}body takes no parameters"),
            n => {
                let names: Vec<String> = self.params.iter().map(|name| format!("{{{{{name}}}}}")).collect();
                format!("{place}body takes {n} parameters, {}", names.join(" "))
            }
        };
        let given: Option<Vec<&str>> = params.iter().map(|p| named(p).map(|(name, _)| name)).collect();
        let by_name = match naming {
            Naming::Language | Naming::LanguageIfAny | Naming::Name => false,
            Naming::Variables => true,
            Naming::Either => given.is_some() && !params.is_empty(),
        };
        if by_name {
            let Some(given) = given else { return Some(format!("{takes}, each given as NAME=TEXT")) };
            let missing: Vec<&str> = self.params.iter().map(String::as_str).filter(|p| !given.contains(p)).collect();
            let extra: Vec<&str> = given.iter().copied().filter(|p| !self.params.iter().any(|own| own == p)).collect();
            return match (missing.is_empty(), extra.is_empty()) {
                (true, true) => None,
                (false, _) => Some(format!("{takes}; {} is missing", missing.join(", "))),
                (true, false) => Some(format!("{takes}; {} is none of them", extra.join(", "))),
            };
        }
        let words = self.params.iter().any(|name| !name.bytes().all(|b| b.is_ascii_digit()));
        match (params.len() == self.params.len(), words) {
            (false, _) => Some(format!("{takes}; {} are given", params.len())),
            (true, true) if naming != Naming::Either => Some(format!(
                "{takes}, by their names; messages here fill them by position: have it approved with {{{{1}}}}, {{{{2}}}}, …"
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(shape: Value, said: Value, naming: Naming, expect: &[&str]) {
        let mut said = said;
        said["name"] = "t".into();
        let said: Approved = serde_json::from_value(said).unwrap();
        let (name, language, status) = ("t".to_owned(), "en_US".to_owned(), "approved".to_owned());
        let category = if said.code.is_some() { "authentication" } else { "marketing" }.to_owned();
        let shape = serde_json::from_value(shape).unwrap();
        let listed = Listed { name, title: None, language, status, category, shape };
        assert_eq!(listed.misfits(&said, naming), expect, "{said:?}");
    }

    fn shape(header: Value, params: Value, buttons: Value) -> Value {
        json!({"header": header, "params": params, "buttons": buttons, "offer": false, "cards": []})
    }

    #[test]
    fn what_does_not_fit_is_named_with_what_would() {
        use Naming::*;
        let plain = || shape(Value::Null, json!(["1", "2"]), json!([]));
        check(plain(), json!({"params": ["a", "b"]}), Language, &[]);
        check(plain(), json!({"params": ["a"]}), Language, &["body takes 2 parameters, {{1}} {{2}}; 1 are given"]);
        check(
            shape(Value::Null, json!([]), json!([])),
            json!({"params": ["a"]}),
            Name,
            &["body takes no parameters; 1 are given"],
        );
        let words = || shape(Value::Null, json!(["name", "date"]), json!([]));
        check(words(), json!({"params": ["date={{ d }}", "name=x"]}), Variables, &[]);
        check(
            words(),
            json!({"params": ["date=1"]}),
            Variables,
            &["body takes 2 parameters, {{name}} {{date}}; name is missing"],
        );
        check(words(), json!({"params": ["x", "y"]}), Either, &[]);
        check(
            words(),
            json!({"params": ["x", "y"]}),
            Language,
            &[
                "body takes 2 parameters, {{name}} {{date}}, by their names; messages here fill them by position: have it approved with {{1}}, {{2}}, …",
            ],
        );
        let image = json!({"type": "image", "url": "https://example.com/a.jpg"});
        check(shape(json!("image"), json!([]), json!([])), json!({"header": image}), Language, &[]);
        check(
            shape(json!("video"), json!([]), json!([])),
            json!({"header": image}),
            Language,
            &["header takes a value of type video, not image"],
        );
        check(
            shape(json!("text"), json!([]), json!([])),
            json!({}),
            Language,
            &["header takes a value of type text, and none is given"],
        );
        check(
            shape(Value::Null, json!([]), json!([])),
            json!({"header": image}),
            Language,
            &["header has nothing to fill: leave it out"],
        );
        let buttons = || shape(Value::Null, json!([]), json!(["quick_reply", "url", "fixed"]));
        let url = |index: u8| json!({"type": "url", "index": index, "text": "x"});
        check(buttons(), json!({"buttons": [url(1)]}), Language, &[]);
        check(
            buttons(),
            json!({"buttons": [url(2), url(7)]}),
            Language,
            &[
                "buttons: button 1 takes a url, and none is given",
                "buttons: button 2 has nothing to fill: leave it out",
                "buttons: there is no button 7, it has 3",
            ],
        );
        check(shape(Value::Null, json!(["1"]), json!(["url"])), json!({"code": "{{ code }}"}), Language, &[]);
        let card = json!({"header": "image", "params": [], "buttons": []});
        let carousel = json!({"header": null, "params": [], "buttons": [], "offer": true, "cards": [card, card]});
        check(
            carousel,
            json!({"cards": [{"header": image}]}),
            Language,
            &["its offer ends at a time, and none is given: give offer.ends_at", "it has 2 cards, and 1 are given"],
        );
    }

    #[test]
    fn a_language_is_the_same_however_it_is_written() {
        let listed = Listed {
            name: "t".into(),
            title: None,
            language: "pt_BR".into(),
            status: "paused".into(),
            category: String::new(),
            shape: Shape::default(),
        };
        assert!(listed.speaks("pt-br") && listed.speaks("pt_BR") && !listed.speaks("pt") && !listed.is_usable());
    }
}
