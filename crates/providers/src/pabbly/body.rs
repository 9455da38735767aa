//! Bodies of `POST /messages`.
//!
//! Source: Pabbly Chatflow API reference v1, Messages. The headings of list and link button are swapped
//! there; their field names are not. What it leaves unsaid is taken from the vendor's own chat app, which
//! fills the same fields: the unit of an offer's end, and the keys of a card.

use chrono::DateTime;
use fanfare_domain::content::{Approved, Button, Card, Content, Frame, Header, ProductSection};
use fanfare_domain::message::OutMessage;
use serde_json::{Map, Value, json};

use crate::meta::body::{language, link, media, phone_number, sections, without_null};

/// The body that sends a message; else what of it has no place there.
pub(super) fn message(m: &OutMessage) -> Result<Value, &'static str> {
    let (kind, mut body) = match &m.content {
        Content::Text { body, .. } => ("text", json!({ "message": body })),
        Content::Image(file) => ("image", json!({ "link": link(file), "caption": file.caption })),
        Content::Video(file) => ("video", json!({ "link": link(file), "caption": file.caption })),
        Content::Audio(file) => ("audio", json!({ "link": link(file) })),
        Content::Document(file) => ("document", media(file)),
        Content::Template(approved) => ("template", template(approved)?),
        pressed => ("interactive", interactive(pressed)?),
    };
    body["to"] = phone_number(&m.to);
    body["type"] = kind.into();
    Ok(without_null(body))
}

/// Something to press. Each kind names the same parts in its own way.
fn interactive(content: &Content) -> Result<Value, &'static str> {
    Ok(match content {
        Content::Product { frame: Frame { header: Some(_), .. }, .. } => return Err("header of a product"),
        Content::Product { frame, catalog_id, product_id } => json!({
            "interactiveType": "single_product",
            "bodyText": frame.body,
            "footerText": frame.footer,
            "action": { "catalogId": catalog_id, "productRetailerId": product_id },
        }),
        Content::Products { frame, catalog_id, sections } => json!({
            "interactiveType": "product_list",
            "header": frame.header,
            "body": frame.body,
            "footer": frame.footer,
            "action": { "catalogId": catalog_id },
            "sections": sections.iter().map(products).collect::<Vec<_>>(),
        }),
        Content::List { frame, button, sections } => json!({
            "interactiveType": "list",
            "headerText": frame.header,
            "bodyText": frame.body,
            "footerText": frame.footer,
            "buttonText": button,
            "sections": self::sections(sections),
        }),
        Content::CtaUrl { frame, button, url } => json!({
            "interactiveType": "cta_url",
            "header": frame.header.as_ref().map(|text| json!({ "type": "text", "text": text })),
            "message": frame.body,
            "footerText": frame.footer,
            "buttons": [{ "title": button, "url": url }],
        }),
        Content::LocationRequest { body } => {
            json!({ "interactiveType": "location_request_message", "bodyText": body })
        }
        _ => return Err("no such message"),
    })
}

fn products(section: &ProductSection) -> Value {
    let product = |id: &String| json!({ "productRetailerId": id });
    json!({ "title": section.title, "products": section.product_ids.iter().map(product).collect::<Vec<_>>() })
}

/// A template with what fills it. Only carousels and offers are documented to take a language; the others
/// have that of their name.
fn template(approved: &Approved) -> Result<Value, &'static str> {
    let takes_language = approved.offer.is_some() || !approved.cards.is_empty();
    let ends_ms = approved.offer.as_ref().map(|offer| {
        // Its form was checked when the template was added.
        DateTime::parse_from_rfc3339(&offer.ends_at).map(|at| at.timestamp_millis()).unwrap_or_default()
    });
    let mut body = json!({
        "templateName": approved.name,
        "languageCode": takes_language.then(|| language(&approved.language)).filter(|language| !language.is_empty()),
        "bodyParams": given(&approved.params),
        "ltoFields": ends_ms.map(|ms| json!({ "unixTimestamp": ms })),
    });
    header(approved.header.as_ref(), &mut body)?;
    buttons(approved, &mut body)?;
    if !approved.cards.is_empty() {
        body["carouselBodies"] = approved.cards.iter().map(card_body).collect();
        body["carouselFileData"] = approved.cards.iter().map(card_file).collect::<Result<_, _>>()?;
    }
    Ok(body)
}

fn header(header: Option<&Header>, body: &mut Value) -> Result<(), &'static str> {
    match header {
        None => {}
        Some(Header::Text { text }) => body["headerParams"] = json!([text]),
        Some(Header::Image(file) | Header::Video(file)) => body["link"] = json!(link(file)),
        Some(Header::Document(file)) => {
            body["link"] = json!(link(file));
            body["filename"] = json!(file.filename);
        }
        Some(Header::Product { .. }) => return Err("product in a header"),
    }
    Ok(())
}

/// What fills the buttons of a template or of its cards: lists by kind of button, and one code.
fn buttons(approved: &Approved, body: &mut Value) -> Result<(), &'static str> {
    let (mut urls, mut replies) = (Vec::new(), Vec::new());
    let mut code = approved.code.as_ref();
    for button in approved.buttons.iter().chain(approved.cards.iter().flat_map(|card| &card.buttons)) {
        match button {
            Button::Url { text, .. } => urls.push(text.clone()),
            Button::QuickReply { payload, .. } => replies.push(payload.clone()),
            Button::CopyCode { code: own, .. } => match code {
                Some(other) if other != own => return Err("a second code"),
                _ => code = Some(own),
            },
            Button::Flow { .. } | Button::Catalog { .. } => return Err("no such button"),
        }
    }
    body["urlVariables"] = json!(given(&urls));
    body["quickReplies"] = json!(given(&replies));
    body["copyCodeParam"] = json!(code);
    Ok(())
}

/// A list, unless it is empty.
fn given(list: &[String]) -> Option<&[String]> {
    (!list.is_empty()).then_some(list)
}

fn card_body(card: &Card) -> Value {
    let params = card.params.iter().enumerate().map(|(i, text)| (format!("{{{{{}}}}}", i + 1), json!(text)));
    json!({ "bodyParams": params.collect::<Map<_, _>>() })
}

fn card_file(card: &Card) -> Result<Value, &'static str> {
    match &card.header {
        Header::Image(file) => Ok(json!({ "fileType": "image", "fileUrl": link(file) })),
        Header::Video(file) => Ok(json!({ "fileType": "video", "fileUrl": link(file) })),
        _ => Err("no such header of a card"),
    }
}

#[cfg(test)]
mod tests {
    use fanfare_domain::message::Channel;

    use super::*;

    #[test]
    fn what_has_no_place_is_named_and_not_left_out() {
        let check = |content: Value, expect: &str| {
            let m = OutMessage {
                id: uuid::Uuid::nil(),
                to: "+213555123456".into(),
                from: None,
                channel: Channel::Whatsapp,
                content: serde_json::from_value(content).unwrap(),
                campaign: "spring".into(),
                run_id: 1,
                seq: 0,
                attempt: 1,
            };
            assert_eq!(message(&m).unwrap_err(), expect);
        };
        let code = |index: u8, code: &str| json!({ "type": "copy_code", "index": index, "code": code });
        check(
            json!({"type": "product", "header": "Spring", "body": "x", "catalog_id": "7", "product_id": "s"}),
            "header of a product",
        );
        check(json!({"type": "template", "name": "t", "buttons": [code(0, "A"), code(1, "B")]}), "a second code");
        let flow = json!({ "type": "flow", "index": 0, "flow_token": "t" });
        check(json!({"type": "template", "name": "t", "buttons": [flow]}), "no such button");
        let product = json!({ "header": { "type": "product", "catalog_id": "7", "product_id": "s" } });
        check(json!({"type": "template", "name": "t", "cards": [product, product]}), "no such header of a card");
        check(json!({"type": "buttons", "body": "x", "buttons": []}), "no such message");
    }
}
