//! Adapters as data: message and canned answer in, exact request and outcome out. The cases stand in
//! `fixtures/providers/<kind>/`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fanfare_domain::clock::Clock;
use fanfare_domain::content::{Approved, Content};
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Answer, Failure, FailureKind};
use fanfare_providers::{Client, Provider as _, open};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use crate::peer::{self, listen};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    account: Account,
    message: Message,
    answer: Canned,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    path: String,
    secret: Option<String>,
}

impl Default for Account {
    fn default() -> Self {
        Self { path: "/send".into(), secret: Some("s3cret".into()) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    id: Uuid,
    to: String,
    from: Option<String>,
    channel: Channel,
    subject: Option<String>,
    text: Option<String>,
    template: Option<String>,
    #[serde(default)]
    language: String,
    #[serde(default)]
    params: Vec<String>,
    campaign: String,
    run_id: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Canned {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    request: Request,
    outcome: Outcome,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    line: String,
    headers: BTreeMap<String, String>,
    body: Value,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Outcome {
    Failed { failed: FailureKind, detail: String, retry_after_ms: Option<u64> },
    Sent { sent: Option<String> },
}

impl From<Message> for OutMessage {
    fn from(m: Message) -> Self {
        let content = match (m.text, m.template) {
            (Some(body), None) => Content::Text { subject: m.subject, body },
            (None, Some(name)) => {
                Content::Template(Approved { name, language: m.language, params: m.params, ..Approved::default() })
            }
            _ => panic!("a message has either a text or a template"),
        };
        let Message { id, to, from, channel, campaign, run_id, .. } = m;
        Self { id, to, from, channel, content, campaign, run_id, seq: 0, attempt: 1 }
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Sent { sent } => Self::Sent { provider_id: sent },
            Outcome::Failed { failed, detail, retry_after_ms } => {
                Self::Failed(Failure::new(failed, detail).after(retry_after_ms.map(Duration::from_millis)))
            }
        }
    }
}

#[tokio::test]
async fn each_case_makes_its_request_and_its_outcome() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/providers/http");
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 40, "no cases in {}", folder.display());
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let case = serde_json::from_str(&std::fs::read_to_string(&file).unwrap());
        check(&name, case.unwrap_or_else(|e| panic!("{name}: {e}"))).await;
    }
}

async fn check(name: &str, case: Case) {
    let (listener, url) = listen().await;
    let host = listener.local_addr().unwrap().to_string();
    let settings = json!({ "url": url.replace("/send", &case.account.path) });
    let client = Client::new(Clock::system());
    let adapter = open("http", &settings, case.account.secret.as_deref(), &client).unwrap();
    let message = OutMessage::from(case.message);

    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = peer::request(&mut stream).await.unwrap();
        stream.write_all(answer(&case.answer).as_bytes()).await.unwrap();
        request
    };
    let (request, outcome) = tokio::join!(serve, adapter.send(&message, &|| true));

    let mut expected = case.expect.request.headers;
    expected.values_mut().for_each(|v| *v = v.replace("{host}", &host));
    expected.insert("content-length".into(), request.body.len().to_string());
    assert_eq!(request.line, case.expect.request.line, "{name}");
    assert_eq!(request.headers, expected, "{name}");
    assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), case.expect.request.body, "{name}");
    assert_eq!(outcome, Answer::from(case.expect.outcome), "{name}");
}

fn answer(canned: &Canned) -> String {
    peer::answer(canned.status, &canned.headers, &canned.body)
}
