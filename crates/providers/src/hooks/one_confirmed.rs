//! 1Confirmed: confirmations, posted to a listener. Its documents say when it posts, and nothing of what stands
//! in a post. So a message counts as confirmed only if it is named by the id that sending it brought, wherever
//! such interfaces put an id; its phone would fit any other message to the same person. What names none is
//! refused, which shows in the server's counts.
//!
//! Source: 1Confirmed API documentation: confirmation webhook listener, send message, broadcast contacts.

use fanfare_domain::receipt::{About, Receipt, ReceiptKind};
use serde_json::Value;

use super::{Deaf, Heard, News, Posted, id, json};

/// Where the event may stand in the body, and the message's id in the event.
const EVENTS: [&str; 5] = ["", "/data", "/contact", "/data/contact", "/confirmation"];
const IDS: [&str; 6] = ["/wamid", "/message_id", "/whatsapp_message_id", "/message/id", "/messages/0/id", "/id"];
/// How the ids of messages begin; those of contacts and confirmations are numbers.
const MESSAGE: &str = "wamid.";

pub(super) fn hear(posted: Posted<'_>) -> Result<Heard, Deaf> {
    let body = json(posted)?;
    let named = EVENTS.iter().find_map(|place| {
        let event = body.pointer(place)?;
        let id = IDS.iter().find_map(|p| id(event, p).filter(|id| id.starts_with(MESSAGE)))?;
        Some((event, id))
    });
    let (event, id) = named.ok_or(Deaf::Malformed("no message's id, wamid.…, stands where ids are looked for"))?;
    let kind = kind(event).ok_or(Deaf::Malformed("neither confirmed nor canceled"))?;
    // Its times have no zone.
    let receipt = Receipt { about: About::ProviderId(id), kind, at: None, detail: None };
    Ok(Heard::News(News { receipts: vec![receipt], inbound: Vec::new() }))
}

/// What the recipient did, in the words of the documented list of contacts; who does not say is documented to
/// have confirmed.
fn kind(event: &Value) -> Option<ReceiptKind> {
    let is = |key: &str| event.get(key).map(|v| v.as_bool() == Some(true) || v.as_i64() == Some(1));
    match (is("canceled"), is("confirmed")) {
        (Some(true), Some(true)) => None,
        (Some(true), _) => Some(ReceiptKind::Cancelled),
        (_, Some(true)) | (None, None) => Some(ReceiptKind::Confirmed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use fanfare_domain::receipt::Words;
    use hyper::HeaderMap;

    use super::*;

    fn heard(body: &str) -> Result<Vec<(String, ReceiptKind)>, Deaf> {
        let headers = HeaderMap::new();
        let posted = Posted {
            is_get: false,
            url: "http://127.0.0.1/hooks/1/s",
            query: "",
            headers: &headers,
            body: body.as_bytes(),
            workspace_id: 1,
            words: &Words::default(),
            secret: "s",
            key: None,
            account_secret: None,
        };
        match hear(posted)? {
            Heard::News(news) => Ok(news
                .receipts
                .into_iter()
                .map(|r| match r.about {
                    About::ProviderId(id) => (id, r.kind),
                    About::Message { .. } => panic!("{r:?}"),
                })
                .collect()),
            Heard::Challenge(answer) => panic!("{answer}"),
        }
    }

    #[test]
    fn what_names_its_message_counts_and_nothing_else() {
        let confirmed = Ok(vec![("wamid.A".to_owned(), ReceiptKind::Confirmed)]);
        for body in [
            r#"{"message_id": "wamid.A"}"#,
            r#"{"data": {"id": 1024, "wamid": "wamid.A", "phone": "213555111111", "confirmed": true, "canceled": false}}"#,
            r#"{"event": "confirmation", "contact": {"id": "wamid.A", "confirmed": 1}}"#,
        ] {
            assert_eq!(heard(body), confirmed, "{body}");
        }
        let cancelled = Ok(vec![("wamid.A".to_owned(), ReceiptKind::Cancelled)]);
        assert_eq!(heard(r#"{"message_id": "wamid.A", "confirmed": false, "canceled": true}"#), cancelled);
        let nameless = "no message's id, wamid.…, stands where ids are looked for";
        for (body, why) in [
            ("{", "the body is not JSON"),
            ("[]", nameless),
            // As the list of confirmations has it: a phone may have had other messages.
            (
                r#"{"id": 201, "phone": "212643000000", "confirmed": true, "paid": true, "broadcast_name": "April"}"#,
                nameless,
            ),
            (r#"{"id": "201"}"#, nameless),
            (r#"{"message_id": "wamid.A", "confirmed": false}"#, "neither confirmed nor canceled"),
            (r#"{"message_id": "wamid.A", "confirmed": true, "canceled": true}"#, "neither confirmed nor canceled"),
        ] {
            assert_eq!(heard(body), Err(Deaf::Malformed(why)), "{body}");
        }
    }
}
