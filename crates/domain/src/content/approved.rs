//! A template that the provider has approved, with the values for its parts.

use serde::{Deserialize, Serialize};

use super::Media;

/// An approved template, and what fills it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approved {
    /// Its name at the provider.
    pub name: String,
    /// BCP 47 tag or Meta's code (`en_US`); empty if the template has no languages.
    #[serde(default)]
    pub language: String,
    /// Its header, where that has something to fill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// Positional parameters of its body.
    #[serde(default)]
    pub params: Vec<String>,
    /// Its buttons, where they have something to fill.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Button>,
    /// The one-time code of an authentication template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// When the limited-time offer ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// The cards of a carousel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<Card>,
}

impl Approved {
    /// Whether it has values for its body, and nothing else.
    pub fn is_plain(&self) -> bool {
        let Self { name, language, params, .. } = self.clone();
        *self == Self { name, language, params, ..Self::default() }
    }
}

/// What fills a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Header {
    /// A text.
    Text {
        /// The text.
        text: String,
    },
    /// A picture.
    Image(Media),
    /// A film.
    Video(Media),
    /// A file.
    Document(Media),
    /// A product, on a card of a product carousel.
    Product {
        /// The catalogue.
        catalog_id: String,
        /// The product in it.
        product_id: String,
    },
}

/// What fills a button. `index` is its place among the template's buttons, from 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Button {
    /// The variable end of a link.
    Url {
        /// Its place.
        index: u8,
        /// What is appended to the link.
        text: String,
    },
    /// What comes back when it is pressed.
    QuickReply {
        /// Its place.
        index: u8,
        /// What comes back.
        payload: String,
    },
    /// A code to copy.
    CopyCode {
        /// Its place.
        index: u8,
        /// The code.
        code: String,
    },
    /// A form.
    Flow {
        /// Its place.
        index: u8,
        /// Token that comes back with the answers.
        flow_token: String,
    },
    /// The catalogue.
    Catalog {
        /// Its place.
        index: u8,
        /// The product whose picture is shown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        product_id: Option<String>,
    },
}

/// A limited-time offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// When it ends, RFC 3339.
    pub ends_at: String,
}

/// A card of a carousel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Its picture, film or product.
    pub header: Header,
    /// Positional parameters of its body.
    #[serde(default)]
    pub params: Vec<String>,
    /// Its buttons, where they have something to fill.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Button>,
}
