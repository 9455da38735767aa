//! Bodies in Meta's words, which its resellers use too.
//!
//! Source: Meta, Cloud API reference: messages, interactive messages, template components (2026-03).

use std::borrow::Cow;
use std::collections::HashMap;

use chrono::DateTime;
use fanfare_domain::content::{Approved, Button, Card, Content, Frame, Header, Media, ProductSection, Reply, Section};
use fanfare_domain::message::OutMessage;
use serde_json::{Value, json};
use url::Url;

/// The provider's ids of files of ours, by their hashes.
pub(crate) type Ids = HashMap<String, String>;

/// The body of `POST /messages`.
pub(crate) fn message(m: &OutMessage, ids: &Ids) -> Value {
    let (kind, content) = content(&m.content, ids);
    let mut body = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        // With its plus: without it the business's own country code would be put before it.
        "to": m.to,
        "type": kind,
        "biz_opaque_callback_data": m.reference(),
    });
    body[kind] = content;
    body
}

/// The name of a kind of message, and what stands under it.
fn content(content: &Content, ids: &Ids) -> (&'static str, Value) {
    match content {
        Content::Text { body, .. } => ("text", json!({ "body": body })),
        Content::Image(file) => ("image", sourced(media(file), file, ids)),
        Content::Video(file) => ("video", sourced(media(file), file, ids)),
        Content::Audio(file) => ("audio", sourced(json!({ "link": link(file) }), file, ids)),
        Content::Document(file) => ("document", sourced(named(file), file, ids)),
        Content::Location { latitude, longitude, name, address } => (
            "location",
            without_null(json!({ "latitude": latitude, "longitude": longitude, "name": name, "address": address })),
        ),
        Content::Contact { name, phone, email, organization } => {
            ("contacts", json!([contact(name, phone, email.as_deref(), organization.as_deref())]))
        }
        Content::Template(approved) => ("template", template(approved, ids)),
        interactive => ("interactive", self::interactive(interactive)),
    }
}

/// A file by its address.
pub(crate) fn media(file: &Media) -> Value {
    without_null(json!({ "link": link(file), "caption": file.caption, "filename": file.filename }))
}

/// The same for a document: a file of ours has its own name unless it was given one.
fn named(file: &Media) -> Value {
    let own = || file.file.as_ref().map(|file| file.name.clone());
    let filename = file.filename.clone().or_else(own);
    without_null(json!({ "link": link(file), "caption": file.caption, "filename": filename }))
}

/// The same by the provider's id, if it is a file of ours.
fn sourced(mut value: Value, file: &Media, ids: &Ids) -> Value {
    if let (Some(fields), Some(stored)) = (value.as_object_mut(), &file.file) {
        fields.remove("link");
        fields.insert("id".to_owned(), json!(ids.get(&stored.sha256)));
    }
    value
}

/// The address of a file, its letters beyond ASCII encoded: not every fetcher reads them.
pub(crate) fn link(file: &Media) -> Cow<'_, str> {
    match Url::parse(&file.url) {
        Ok(url) if !file.url.is_ascii() => Cow::Owned(url.into()),
        _ => Cow::Borrowed(&file.url),
    }
}

/// A phone as a number without its plus, as some resellers want it. It does not fit 32 bits.
pub(crate) fn phone_number(phone: &str) -> Value {
    let digits = phone.trim_start_matches('+');
    digits.parse::<u64>().map_or_else(|_| digits.into(), Value::from)
}

/// A contact card.
pub(crate) fn contact(name: &str, phone: &str, email: Option<&str>, organization: Option<&str>) -> Value {
    let emails = email.map(|email| json!([{ "email": email }]));
    let org = organization.map(|company| json!({ "company": company }));
    without_null(json!({
        "name": { "formatted_name": name, "first_name": name },
        "phones": [{ "phone": phone, "type": "CELL" }],
        "emails": emails,
        "org": org,
    }))
}

/// Something to press. Of a content that is none of these: null, which no account is planned with.
fn interactive(content: &Content) -> Value {
    match content {
        Content::Buttons { frame, buttons } => framed("button", frame, json!({ "buttons": self::buttons(buttons) })),
        Content::List { frame, button, sections } => {
            framed("list", frame, json!({ "button": button, "sections": self::sections(sections) }))
        }
        Content::CtaUrl { frame, button, url } => {
            framed("cta_url", frame, json!({ "name": "cta_url", "parameters": { "display_text": button, "url": url } }))
        }
        Content::Product { frame, catalog_id, product_id } => {
            framed("product", frame, json!({ "catalog_id": catalog_id, "product_retailer_id": product_id }))
        }
        Content::Products { frame, catalog_id, sections } => {
            framed("product_list", frame, json!({ "catalog_id": catalog_id, "sections": product_sections(sections) }))
        }
        Content::Flow { frame, flow_id, flow_token, button, screen } => {
            let payload = screen.as_ref().map(|screen| json!({ "screen": screen }));
            let action = if screen.is_some() { "navigate" } else { "data_exchange" };
            let parameters = without_null(json!({
                "flow_message_version": "3", "flow_token": flow_token, "flow_id": flow_id, "flow_cta": button,
                "flow_action": action, "flow_action_payload": payload,
            }));
            framed("flow", frame, json!({ "name": "flow", "parameters": parameters }))
        }
        Content::LocationRequest { body } => json!({
            "type": "location_request_message", "body": { "text": body }, "action": { "name": "send_location" },
        }),
        _ => Value::Null,
    }
}

/// Buttons that answer.
pub(crate) fn buttons(buttons: &[Reply]) -> Vec<Value> {
    buttons.iter().map(|b| json!({ "type": "reply", "reply": { "id": b.id, "title": b.title } })).collect()
}

/// Sections of a list.
pub(crate) fn sections(sections: &[Section]) -> Vec<Value> {
    let row = |r: &fanfare_domain::content::Row| {
        without_null(json!({ "id": r.id, "title": r.title, "description": r.description }))
    };
    let section = |s: &Section| json!({ "title": s.title, "rows": s.rows.iter().map(row).collect::<Vec<_>>() });
    sections.iter().map(section).collect()
}

/// Sections of products.
pub(crate) fn product_sections(sections: &[ProductSection]) -> Vec<Value> {
    let item = |id: &String| json!({ "product_retailer_id": id });
    let section = |s: &ProductSection| json!({ "title": s.title, "product_items": s.product_ids.iter().map(item).collect::<Vec<_>>() });
    sections.iter().map(section).collect()
}

fn framed(kind: &str, frame: &Frame, action: Value) -> Value {
    let header = frame.header.as_ref().map(|text| json!({ "type": "text", "text": text }));
    let footer = frame.footer.as_ref().map(|text| json!({ "text": text }));
    without_null(json!({
        "type": kind, "header": header, "body": { "text": frame.body }, "footer": footer, "action": action,
    }))
}

/// A template with what fills it.
fn template(approved: &Approved, ids: &Ids) -> Value {
    let mut template = json!({ "name": approved.name, "language": { "code": language(&approved.language) } });
    let components = components(approved, ids);
    if !components.is_empty() {
        template["components"] = components.into();
    }
    template
}

/// A language as Meta writes it: `pt-br` is `pt_BR`. One that is written so already stays as it is.
pub(crate) fn language(tag: &str) -> String {
    let mut parts = tag.split('-');
    let primary = parts.next().unwrap_or_default().to_owned();
    let region = |part: &str| if part.len() == 2 { part.to_uppercase() } else { part.to_owned() };
    parts.fold(primary, |code, part| format!("{code}_{}", region(part)))
}

/// The components of a template, in the order of the documents.
pub(crate) fn components(approved: &Approved, ids: &Ids) -> Vec<Value> {
    let mut all = parts(approved.header.as_ref(), &approved.params, ids);
    if let Some(code) = &approved.code {
        // An authentication template wants its code twice: in its text and for its button.
        all.push(json!({ "type": "body", "parameters": [text(code)] }));
        all.push(json!({ "type": "button", "sub_type": "url", "index": 0, "parameters": [text(code)] }));
    }
    if let Some(offer) = &approved.offer {
        // Its form was checked when the template was added.
        let ends_ms = DateTime::parse_from_rfc3339(&offer.ends_at).map(|at| at.timestamp_millis()).unwrap_or_default();
        let offer = json!({ "type": "limited_time_offer", "limited_time_offer": { "expiration_time_ms": ends_ms } });
        all.push(json!({ "type": "limited_time_offer", "parameters": [offer] }));
    }
    all.extend(approved.buttons.iter().map(button));
    if !approved.cards.is_empty() {
        let cards: Vec<Value> = approved.cards.iter().enumerate().map(|(i, c)| card(i, c, ids)).collect();
        all.push(json!({ "type": "carousel", "cards": cards }));
    }
    all
}

fn card(index: usize, card: &Card, ids: &Ids) -> Value {
    let mut components = parts(Some(&card.header), &card.params, ids);
    components.extend(card.buttons.iter().map(button));
    json!({ "card_index": index, "components": components })
}

/// Header and body, where they have something to fill.
fn parts(header: Option<&Header>, params: &[String], ids: &Ids) -> Vec<Value> {
    let mut parts = Vec::new();
    if let Some(header) = header {
        let parameter = match header {
            Header::Text { text: words } => text(words),
            Header::Image(file) => {
                json!({ "type": "image", "image": sourced(json!({ "link": link(file) }), file, ids) })
            }
            Header::Video(file) => {
                json!({ "type": "video", "video": sourced(json!({ "link": link(file) }), file, ids) })
            }
            Header::Document(file) => {
                let mut document = sourced(named(file), file, ids);
                document["caption"].take();
                let document = without_null(document);
                json!({ "type": "document", "document": document })
            }
            Header::Product { catalog_id, product_id } => {
                json!({ "type": "product", "product": { "product_retailer_id": product_id, "catalog_id": catalog_id } })
            }
        };
        parts.push(json!({ "type": "header", "parameters": [parameter] }));
    }
    if !params.is_empty() {
        let parameters: Vec<Value> = params.iter().map(|p| text(p)).collect();
        parts.push(json!({ "type": "body", "parameters": parameters }));
    }
    parts
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn button(button: &Button) -> Value {
    let (kind, index, parameter) = match button {
        Button::Url { index, text: words } => ("url", index, text(words)),
        Button::QuickReply { index, payload } => {
            ("quick_reply", index, json!({ "type": "payload", "payload": payload }))
        }
        Button::CopyCode { index, code } => ("copy_code", index, json!({ "type": "coupon_code", "coupon_code": code })),
        Button::Flow { index, flow_token } => {
            ("flow", index, json!({ "type": "action", "action": { "flow_token": flow_token } }))
        }
        Button::Catalog { index, product_id } => {
            let action = without_null(json!({ "thumbnail_product_retailer_id": product_id }));
            ("CATALOG", index, json!({ "type": "action", "action": action }))
        }
    };
    json!({ "type": "button", "sub_type": kind, "index": index, "parameters": [parameter] })
}

/// An object without its empty fields.
pub(crate) fn without_null(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, field| !field.is_null());
    }
    value
}
