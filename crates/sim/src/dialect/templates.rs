//! The templates that a simulated business has, as Meta lists them, and its resellers after it.
//!
//! Source: Meta, WhatsApp Business Management API: message templates (2026-03).

use serde_json::{Value, json};

/// All of them. Messages may name others too: what is tried here shall not depend on their names.
pub(super) fn all() -> Vec<Value> {
    let body = |text: &str| json!({ "type": "BODY", "text": text });
    let template = |name: &str, language: &str, status: &str, category: &str, components: Value| {
        json!({
            "name": name, "language": language, "status": status, "category": category, "components": components,
            "id": format!("{:016}", name.len() * 1000 + language.len()),
        })
    };
    let picture =
        json!({ "type": "HEADER", "format": "IMAGE", "example": { "header_handle": ["https://scontent.example/x"] } });
    let link = json!({ "type": "URL", "text": "See", "url": "https://shop.example/{{1}}", "example": ["x"] });
    let reply = json!({ "type": "QUICK_REPLY", "text": "Stop" });
    let copy = json!({ "type": "URL", "text": "Copy code", "url": "https://www.whatsapp.com/otp/code/?code=otp{{1}}" });
    vec![
        template(
            "spring_sale",
            "en_US",
            "APPROVED",
            "MARKETING",
            json!([
                { "type": "HEADER", "format": "TEXT", "text": "Spring" },
                body("Hello {{1}}, everything is {{2}} off."), { "type": "FOOTER", "text": "Bye" },
            ]),
        ),
        template("spring_sale", "fr", "APPROVED", "MARKETING", json!([body("Bonjour {{1}}, tout à {{2}}.")])),
        template(
            "order_update",
            "en_US",
            "APPROVED",
            "UTILITY",
            json!([
                picture, body("Order {{1}} is on its way."), { "type": "BUTTONS", "buttons": [reply, link] },
            ]),
        ),
        template("old_offer", "en_US", "PAUSED", "MARKETING", json!([body("An offer.")])),
        template("bad_offer", "en_US", "REJECTED", "MARKETING", json!([body("Win!!!")])),
        template(
            "login_code",
            "en_US",
            "APPROVED",
            "AUTHENTICATION",
            json!([
                body("*{{1}}* is your code."), { "type": "BUTTONS", "buttons": [copy] },
            ]),
        ),
    ]
}
