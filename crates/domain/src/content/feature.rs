//! What a provider must be able to carry for a content to be sent through it.

use serde::Serialize;

use super::{Approved, Button, Content, Header};

/// Something that an adapter carries or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// A text of our own.
    Text,
    /// An HTML e-mail.
    Html,
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A sound.
    Audio,
    /// A file.
    Document,
    /// A place.
    Location,
    /// A contact card.
    Contact,
    /// Buttons that answer.
    Buttons,
    /// A list to choose from.
    List,
    /// A button that opens a page.
    CtaUrl,
    /// A product.
    Product,
    /// Several products.
    Products,
    /// A form.
    Flow,
    /// A request for a place.
    LocationRequest,
    /// A one-time code, worded by the provider.
    Code,
    /// An approved template with values for its body.
    Template,
    /// A text in the header of an approved template.
    TemplateHeader,
    /// A picture, film or file in the header of an approved template.
    TemplateMedia,
    /// Values for links of an approved template.
    TemplateUrl,
    /// Payloads for quick replies of an approved template.
    TemplateQuickReply,
    /// A code to copy in an approved template.
    TemplateCopyCode,
    /// A form behind a button of an approved template.
    TemplateFlow,
    /// The catalogue behind a button of an approved template.
    TemplateCatalog,
    /// An authentication template.
    TemplateCode,
    /// A limited-time offer.
    TemplateOffer,
    /// A carousel of pictures or films.
    TemplateCarousel,
    /// A carousel of products.
    TemplateProductCarousel,
    /// A file of ours instead of a link, as a picture, film, sound or file.
    File,
    /// A file of ours in the header of an approved template.
    TemplateFile,
}

impl Feature {
    /// All of them, in the order in which a table shows them.
    pub const ALL: [Self; 30] = [
        Self::Text,
        Self::Html,
        Self::Image,
        Self::Video,
        Self::Audio,
        Self::Document,
        Self::Location,
        Self::Contact,
        Self::Buttons,
        Self::List,
        Self::CtaUrl,
        Self::Product,
        Self::Products,
        Self::Flow,
        Self::LocationRequest,
        Self::Code,
        Self::Template,
        Self::TemplateHeader,
        Self::TemplateMedia,
        Self::TemplateUrl,
        Self::TemplateQuickReply,
        Self::TemplateCopyCode,
        Self::TemplateFlow,
        Self::TemplateCatalog,
        Self::TemplateCode,
        Self::TemplateOffer,
        Self::TemplateCarousel,
        Self::TemplateProductCarousel,
        Self::File,
        Self::TemplateFile,
    ];

    /// All that needs no file of ours.
    pub const BY_LINK: &'static [Self] = Self::ALL.split_at(Self::ALL.len() - 2).0;

    /// As a table and an error name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Html => "html",
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Document => "document",
            Self::Location => "location",
            Self::Contact => "contact",
            Self::Buttons => "buttons",
            Self::List => "list",
            Self::CtaUrl => "cta_url",
            Self::Product => "product",
            Self::Products => "products",
            Self::Flow => "flow",
            Self::LocationRequest => "location_request",
            Self::Code => "code",
            Self::Template => "template",
            Self::TemplateHeader => "template header",
            Self::TemplateMedia => "template media",
            Self::TemplateUrl => "template url button",
            Self::TemplateQuickReply => "template quick reply",
            Self::TemplateCopyCode => "template copy code",
            Self::TemplateFlow => "template flow button",
            Self::TemplateCatalog => "template catalog button",
            Self::TemplateCode => "template one-time code",
            Self::TemplateOffer => "template offer",
            Self::TemplateCarousel => "template carousel",
            Self::TemplateProductCarousel => "template product carousel",
            Self::File => "file of your own",
            Self::TemplateFile => "template file of your own",
        }
    }
}

impl Content {
    /// What a provider must carry to send this, each once.
    pub fn features(&self) -> Vec<Feature> {
        let one = match self {
            Self::Text { .. } => Feature::Text,
            Self::Html { .. } => Feature::Html,
            Self::Image(_) => Feature::Image,
            Self::Video(_) => Feature::Video,
            Self::Audio(_) => Feature::Audio,
            Self::Document(_) => Feature::Document,
            Self::Location { .. } => Feature::Location,
            Self::Contact { .. } => Feature::Contact,
            Self::Buttons { .. } => Feature::Buttons,
            Self::List { .. } => Feature::List,
            Self::CtaUrl { .. } => Feature::CtaUrl,
            Self::Product { .. } => Feature::Product,
            Self::Products { .. } => Feature::Products,
            Self::Flow { .. } => Feature::Flow,
            Self::LocationRequest { .. } => Feature::LocationRequest,
            Self::Code { .. } => Feature::Code,
            Self::Template(template) => return of_template(template),
        };
        let file = (!self.files().is_empty()).then_some(Feature::File);
        [one].into_iter().chain(file).collect()
    }

    /// Whether it is in words of our own. Where a conversation has a window ([`crate::window`]) only those
    /// who wrote lately may be sent such; at any time everybody may be sent what the provider has approved:
    /// its templates, and one-time codes that it words by one.
    pub fn is_free_form(&self) -> bool {
        !matches!(self, Self::Template(_) | Self::Code { .. })
    }
}

fn of_template(template: &Approved) -> Vec<Feature> {
    let mut found = vec![Feature::Template];
    let header = template.header.as_ref().map(|header| match header {
        Header::Text { .. } => Feature::TemplateHeader,
        _ => Feature::TemplateMedia,
    });
    found.extend(header);
    found.extend(template.buttons.iter().chain(template.cards.iter().flat_map(|c| &c.buttons)).map(|b| match b {
        Button::Url { .. } => Feature::TemplateUrl,
        Button::QuickReply { .. } => Feature::TemplateQuickReply,
        Button::CopyCode { .. } => Feature::TemplateCopyCode,
        Button::Flow { .. } => Feature::TemplateFlow,
        Button::Catalog { .. } => Feature::TemplateCatalog,
    }));
    found.extend(template.code.is_some().then_some(Feature::TemplateCode));
    found.extend(template.offer.is_some().then_some(Feature::TemplateOffer));
    found.extend(template.cards.iter().map(|card| match card.header {
        Header::Product { .. } => Feature::TemplateProductCarousel,
        _ => Feature::TemplateCarousel,
    }));
    found.extend(template.media().iter().any(|media| media.file.is_some()).then_some(Feature::TemplateFile));
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_listed_once_and_all() {
        let mut sorted = Feature::ALL.to_vec();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted, Feature::ALL);
        let json = serde_json::json!({
            "type": "template", "name": "offer", "params": ["Ana"], "offer": {"ends_at": "2026-12-01T00:00:00Z"},
            "header": {"type": "image", "url": "https://example.com/a.jpg"},
            "buttons": [{"type": "copy_code", "index": 0, "code": "SAVE"}, {"type": "url", "index": 1, "text": "x"}],
        });
        let content: Content = serde_json::from_value(json).unwrap();
        use Feature::*;
        assert_eq!(content.features(), [Template, TemplateMedia, TemplateUrl, TemplateCopyCode, TemplateOffer]);
        assert!(!content.is_free_form() && Content::text("x").is_free_form());
    }
}
