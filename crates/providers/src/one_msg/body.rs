//! Bodies of the send methods.
//!
//! Source: 1MSG.IO, WhatsApp Business API documentation 2.39: Messaging, Templates, Products & Catalogs. The
//! parts of templates, buttons, lists and contacts have Meta's shapes.

use fanfare_domain::content::{Approved, Content, Frame, Media};
use fanfare_domain::message::OutMessage;
use serde_json::{Value, json};
use url::Url;

use crate::meta::body::{
    Ids, buttons, components, contact, language, link, phone_number, product_sections, sections, without_null,
};

/// The method that sends a message, and its body. None of a content that no method sends.
pub(super) fn message(m: &OutMessage, namespace: Option<&str>, data: Option<String>) -> Option<(&'static str, Value)> {
    let (method, mut body) = match &m.content {
        Content::Text { body, .. } => ("sendMessage", json!({ "body": body })),
        Content::Image(media) => ("sendFile", file(media, "image", data)),
        Content::Video(media) => ("sendFile", file(media, "video", data)),
        Content::Audio(media) => ("sendFile", file(media, "audio", data)),
        Content::Document(media) => ("sendFile", file(media, "document", data)),
        Content::Location { latitude, longitude, name, address } => {
            ("sendLocation", json!({ "lat": latitude, "lng": longitude, "name": name, "address": address }))
        }
        Content::Contact { name, phone, email, organization } => {
            ("sendContact", json!({ "contacts": [contact(name, phone, email.as_deref(), organization.as_deref())] }))
        }
        Content::Template(approved) => ("sendTemplate", template(approved, namespace)),
        interactive => self::interactive(interactive)?,
    };
    body["phone"] = phone_number(&m.to);
    Some((method, without_null(body)))
}

/// Something to press.
fn interactive(content: &Content) -> Option<(&'static str, Value)> {
    Some(match content {
        Content::Buttons { frame, buttons } => {
            // Of all headers this one alone is an object.
            let header = frame.header.as_ref().map(|text| json!({ "type": "text", "text": text }));
            ("sendButton", framed(frame, json!({ "header": header, "sections": self::buttons(buttons) })))
        }
        Content::List { frame, button, sections } => {
            ("sendList", framed(frame, json!({ "action": button, "sections": self::sections(sections) })))
        }
        Content::Product { frame, catalog_id, product_id } => {
            let action = json!({ "catalog_id": catalog_id, "product_retailer_id": product_id });
            ("sendProduct", framed(frame, json!({ "action": action })))
        }
        Content::Products { frame, catalog_id, sections } => {
            let action = json!({ "catalog_id": catalog_id, "sections": product_sections(sections) });
            ("sendProduct", framed(frame, json!({ "action": action })))
        }
        Content::Flow { frame, flow_id, flow_token, button, screen } => {
            let payload = screen.as_ref().map(|screen| json!({ "screen": screen }));
            let action = if screen.is_some() { "navigate" } else { "data_exchange" };
            let flow = json!({
                "flowId": flow_id, "flowToken": flow_token, "flowCta": button,
                "flowAction": action, "flowActionPayload": payload,
            });
            ("sendFlow", framed(frame, flow))
        }
        Content::LocationRequest { body } => ("sendLocationRequest", json!({ "body": body })),
        _ => return None,
    })
}

/// The same with the text around it, unless it words a part itself.
fn framed(frame: &Frame, mut fields: Value) -> Value {
    if fields.get("header").is_none() {
        fields["header"] = json!(frame.header);
    }
    fields["body"] = json!(frame.body);
    fields["footer"] = json!(frame.footer);
    fields
}

/// A file by its address, or by its bytes as a data URI. It must have a name: its own, that of its address, or else that of its kind.
fn file(media: &Media, kind: &str, data: Option<String>) -> Value {
    let url = link(media);
    let named = || {
        let own = || media.file.as_ref().map(|file| file.name.clone());
        let url = || Url::parse(&url).ok();
        let end = || url()?.path_segments()?.next_back().filter(|name| !name.is_empty()).map(str::to_owned);
        own().or_else(end)
    };
    let filename = media.filename.clone().or_else(named).unwrap_or_else(|| kind.to_owned());
    json!({ "body": data.as_deref().unwrap_or(&url), "filename": filename, "caption": media.caption })
}

/// A template with what fills it: Meta's components, of which the carousel alone is named otherwise. Films
/// go by their link, as the documents show it for the carousel's cards; that of a header names a media id.
fn template(approved: &Approved, namespace: Option<&str>) -> Value {
    let mut params = components(approved, &Ids::new());
    for component in &mut params {
        if component["type"] == "carousel" {
            component["type"] = "CAROUSEL".into();
        }
    }
    json!({
        "namespace": namespace,
        "template": approved.name,
        "language": { "policy": "deterministic", "code": language(&approved.language) },
        "params": (!params.is_empty()).then_some(params),
    })
}
