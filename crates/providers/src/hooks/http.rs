//! The generic form: an object, or a list of them.
//!
//! ```json
//! {"id": "4d049652-…", "status": "delivered", "at": "2026-12-01T09:00:00Z", "code": null}
//! {"from": "+213555123456", "text": "STOP", "message_id": "m-1", "at": "2026-12-01T09:00:00Z", "in_reply_to": "4d049652-…"}
//! ```
//!
//! `id` is the message's id, as it was sent. `status` is `sent`, `delivered`, `read`, `failed`,
//! `confirmed`, `cancelled`, `interacted` or `replied`. A message from a recipient has `from` instead;
//! with `button`, the payload of the button that was pressed.

use chrono::{DateTime, Datelike as _, Utc};
use fanfare_domain::id::message_of;
use fanfare_domain::receipt::{About, Inbound, Receipt, ReceiptKind};
use serde_json::Value;
use uuid::Uuid;

use super::{Deaf, Heard, News, Posted, detail, id, json, meaning, text};

/// Most reports in one post.
const REPORTS_MAX: usize = 10_000;

pub(super) fn hear(posted: Posted<'_>) -> Result<Heard, Deaf> {
    let body = json(posted)?;
    let all: Vec<&Value> = match &body {
        Value::Array(all) if all.len() <= REPORTS_MAX => all.iter().collect(),
        Value::Array(_) => return Err(Deaf::Malformed("more than 10,000 reports")),
        one => vec![one],
    };
    let mut news = News::default();
    for report in all {
        match report.get("from") {
            Some(_) => news.inbound.push(inbound(posted, report)?),
            None => news.receipts.push(receipt(posted, report)?),
        }
    }
    Ok(Heard::News(news))
}

fn receipt(posted: Posted<'_>, report: &Value) -> Result<Receipt, Deaf> {
    let about = about(posted, report, "/id").ok_or(Deaf::Malformed("id is not the id of a message"))?;
    let status = text(report, "/status").unwrap_or_default();
    let kind = (1..=8).filter_map(ReceiptKind::from_i16).find(|kind| kind.as_str() == status);
    let kind = kind.ok_or(Deaf::Malformed("status is none of sent, delivered, read, failed, …"))?;
    Ok(Receipt { about, kind, at: at(report)?, detail: detail(text(report, "/code")) })
}

fn inbound(posted: Posted<'_>, report: &Value) -> Result<Inbound, Deaf> {
    let address = text(report, "/from").map(|from| from.to_lowercase());
    let address = address.filter(|a| a.len() <= 254).ok_or(Deaf::Malformed("from is not an address"))?;
    let provider_id = id(report, "/message_id").ok_or(Deaf::Malformed("message_id is missing"))?;
    let button = detail(text(report, "/button"));
    let (meaning, kind) = meaning(posted.words, &text(report, "/text").unwrap_or_default(), button.as_deref());
    let about = about(posted, report, "/in_reply_to");
    Ok(Inbound { provider_id, address, at: at(report)?, meaning, about, answer: (kind, button) })
}

/// The message of an id; one of another tenant is none.
fn about(posted: Posted<'_>, report: &Value, pointer: &str) -> Option<About> {
    let id: Uuid = text(report, pointer)?.parse().ok()?;
    let (workspace_id, run_id, seq) = message_of(id)?;
    (workspace_id == posted.workspace_id).then_some(About::Message { run_id, seq })
}

fn at(report: &Value) -> Result<Option<DateTime<Utc>>, Deaf> {
    match text(report, "/at") {
        None => Ok(None),
        Some(at) => match DateTime::parse_from_rfc3339(&at) {
            Ok(at) if (1970..=9999).contains(&at.year()) => Ok(Some(at.to_utc())),
            _ => Err(Deaf::Malformed("at is not a time as in 2026-12-01T09:00:00Z")),
        },
    }
}
