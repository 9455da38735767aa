//! What is said: one typed model for all providers.
//!
//! As JSON each kind has a `"type"`, for example
//! `{"type": "image", "url": "https://example.com/a.jpg", "caption": "Hi"}`. In a template's content
//! file every text may hold variables; see [`crate::template`].

mod approved;
pub(crate) mod check;
mod feature;
mod file;
mod link;
pub mod listed;

use serde::{Deserialize, Serialize};

pub use approved::{Approved, Button, Card, Header, Offer};
pub use check::Unfit;
pub use feature::Feature;
pub use file::{Shown, StoredFile, mime_of};
pub use listed::{Listed, Naming};

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Content {
    /// A text of our own; with a subject for e-mail.
    Text {
        /// Subject line, for e-mail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        /// The text.
        body: String,
    },
    /// An e-mail with an HTML part.
    Html {
        /// Subject line.
        subject: String,
        /// The HTML document.
        html: String,
        /// What those read who see no HTML.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        /// Files of ours that come with it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<Attachment>,
    },
    /// A picture.
    Image(Media),
    /// A film.
    Video(Media),
    /// A sound.
    Audio(Media),
    /// A file.
    Document(Media),
    /// A place.
    Location {
        /// Degrees north, in decimals.
        latitude: String,
        /// Degrees east, in decimals.
        longitude: String,
        /// What the place is called.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Where it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
    },
    /// A contact card.
    Contact {
        /// The person's name.
        name: String,
        /// Phone in E.164.
        phone: String,
        /// E-mail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        email: Option<String>,
        /// Employer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        organization: Option<String>,
    },
    /// A text with up to three buttons that answer.
    Buttons {
        /// The text around the buttons.
        #[serde(flatten)]
        frame: Frame,
        /// The buttons.
        buttons: Vec<Reply>,
    },
    /// A text with a list to choose from.
    List {
        /// The text around the list.
        #[serde(flatten)]
        frame: Frame,
        /// Label of the button that opens the list.
        button: String,
        /// The list in sections.
        sections: Vec<Section>,
    },
    /// A text with a button that opens a page.
    CtaUrl {
        /// The text around the button.
        #[serde(flatten)]
        frame: Frame,
        /// Label of the button.
        button: String,
        /// The page.
        url: String,
    },
    /// A product of a catalogue.
    Product {
        /// The text around the product.
        #[serde(flatten)]
        frame: Frame,
        /// The catalogue.
        catalog_id: String,
        /// The product in it.
        product_id: String,
    },
    /// Several products of a catalogue.
    Products {
        /// The text around the products; its header is required.
        #[serde(flatten)]
        frame: Frame,
        /// The catalogue.
        catalog_id: String,
        /// The products in sections.
        sections: Vec<ProductSection>,
    },
    /// A form.
    Flow {
        /// The text around the button.
        #[serde(flatten)]
        frame: Frame,
        /// The form.
        flow_id: String,
        /// Token that comes back with the answers.
        flow_token: String,
        /// Label of the button.
        button: String,
        /// First screen; absent if the form asks its server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        screen: Option<String>,
    },
    /// A request for the recipient's place.
    LocationRequest {
        /// The text.
        body: String,
    },
    /// A one-time code, where the provider words the message.
    Code {
        /// The code.
        code: String,
        /// The provider's template; absent for its default one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        template: Option<String>,
        /// Language of the template.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        language: Option<String>,
        /// For SMS: the text, `:code` standing for the code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
    },
    /// A template approved at the provider.
    Template(Approved),
}

/// A file to show or to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// Where it is: public, https or http; empty if it is a file of ours.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// The file of ours that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<StoredFile>,
    /// A text below it; a sound has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// What a document is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
}

/// A file that comes with an e-mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The file.
    pub file: StoredFile,
}

/// The text around something to press.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Above the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The text.
    pub body: String,
    /// Below the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
}

/// A button that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// What comes back when it is pressed.
    pub id: String,
    /// Its label.
    pub title: String,
}

/// A section of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// What can be chosen.
    pub rows: Vec<Row>,
}

/// A choice in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What comes back when it is chosen.
    pub id: String,
    /// Its label.
    pub title: String,
    /// What is said below the label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A section of products.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductSection {
    /// Its heading.
    pub title: String,
    /// The products.
    pub product_ids: Vec<String>,
}

impl Content {
    /// A text without a subject.
    pub fn text(body: impl Into<String>) -> Self {
        Self::Text { subject: None, body: body.into() }
    }
}
