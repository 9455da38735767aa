//! The named providers as data. `fixtures/providers/<kind>/` holds
//!
//! - `account.json`: settings and secret of the account;
//! - `requests.json`: what is said, and the exact request that says it;
//! - `answers.json`: an answer to a plain message, and what it means;
//! - `look_ups.json`, where there is one: what the provider lists, and what that says of a message in doubt;
//! - `polls.json`, where there is one: what the provider says of a message that it is asked for;
//! - `checks.json`, where there is one: answers to the call that proves the credentials;
//! - `uploads.json`, where there is one (see `files`): what the answer to a file means;
//! - `offers.json`, where there is one: the calls beside sending, and what their answers say.
//!
//! Each case names the document section that it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use fanfare_domain::clock::Clock;
use fanfare_domain::content::{Content, Feature};
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Action, Answer, Failure, FailureKind};
use fanfare_domain::receipt::ReceiptKind;
use fanfare_providers::kind::{Doubt, Kind, Offer, Receipts};
use fanfare_providers::{Adapter, Asked, Client, Finding, KINDS, Polled, Provider as _, open};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::files::OneFile;
use crate::peer::{self, Request, listen};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    settings: Value,
    secret: Option<String>,
    /// The account's sender, where it must have one.
    from: Option<String>,
    /// The plain message of `answers.json` and `look_ups.json`.
    plain: Content,
    /// An answer that accepts any message.
    accepts: Canned,
    /// Headers of every request beside host, user-agent, accept and those of its body.
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Canned {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// JSON, or a text as it is.
    body: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestCase {
    source: String,
    channel: Option<Channel>,
    to: Option<String>,
    from: Option<String>,
    content: Content,
    /// The address of the account's hook.
    hook_url: Option<String>,
    line: String,
    /// JSON, or of a form the text.
    body: Value,
    /// Beside those of the account.
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerCase {
    source: String,
    #[serde(default = "first")]
    attempt: i16,
    answer: Canned,
    outcome: Outcome,
}

fn first() -> i16 {
    1
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Outcome {
    Failed { failed: FailureKind, detail: String, retry_after_s: Option<u64>, action: Option<Action> },
    Sent { sent: Option<String> },
    Queued { queued: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LookUpCase {
    source: String,
    line: String,
    answer: Canned,
    found: Found,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Found {
    Failed { failed: FailureKind, detail: String },
    Sent { sent: Option<String> },
    Said(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PollCase {
    source: String,
    line: String,
    answer: Canned,
    told: Told,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Told {
    Ended { ended: ReceiptKind, at: Option<DateTime<Utc>>, detail: Option<String> },
    Failed { failed: FailureKind, detail: String, retry_after_s: Option<u64> },
    Said(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckCase {
    source: String,
    line: String,
    answer: Canned,
    outcome: Checked,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Checked {
    Failed { failed: FailureKind, detail: String },
    Says { says: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfferCase {
    source: String,
    offer: String,
    /// Requests in their order, and the answers they get.
    calls: Vec<OfferCall>,
    outcome: Offered,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfferCall {
    line: String,
    answer: Canned,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Offered {
    Failed { failed: FailureKind, detail: String },
    Said { said: Value },
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Sent { sent } => Self::Sent { provider_id: sent },
            Outcome::Queued { queued } => Self::Queued { provider_id: queued },
            Outcome::Failed { failed, detail, retry_after_s, action } => {
                let failure = Failure::new(failed, detail).after(retry_after_s.map(Duration::from_secs));
                Self::Failed(Failure { action, ..failure })
            }
        }
    }
}

/// The data of one kind.
struct Data {
    kind: &'static Kind,
    account: Account,
}

fn path(kind: &Kind, name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/providers");
    root.join(kind.name).join(name)
}

fn read<T: DeserializeOwned>(kind: &Kind, name: &str) -> T {
    let path = path(kind, name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Those that speak HTTP to a documented interface of their own.
fn named() -> impl Iterator<Item = Data> {
    KINDS
        .iter()
        .filter(|kind| !matches!(kind.name, "http" | "smtp"))
        .map(|kind| Data { kind, account: read(kind, "account.json") })
}

impl Data {
    fn adapter(&self, url: &str, hook_url: Option<&str>) -> Adapter {
        let mut settings = self.account.settings.clone();
        // The documented base has a path of its own, as in /v1.
        let base = self.kind.base_url.map_or("", |base| base.splitn(4, '/').nth(3).unwrap_or(""));
        settings["url"] = url.replace("/send", &format!("/{base}")).into();
        let client = Client::new(Clock::system()).with_hook_url(hook_url.map(str::to_owned));
        let client = client.with_files(Arc::new(OneFile::known()));
        open(self.kind.name, &settings, self.account.secret.as_deref(), &client).unwrap()
    }

    fn message(&self, content: Content) -> OutMessage {
        let channel = self.kind.channels().next().unwrap();
        let from = self.account.from.clone();
        OutMessage { channel, content, from, run_id: 7_340_861_934_283_749_120, seq: 17, ..peer::message() }
    }

    /// Hands one request of `act` to a server that answers it so.
    async fn exchange<T>(&self, canned: &Canned, act: impl AsyncFnOnce(Adapter) -> T) -> (Request, T) {
        self.exchange_with(canned, None, act).await
    }

    /// The same of an account with a hook at this address.
    async fn exchange_with<T>(
        &self,
        canned: &Canned,
        hook_url: Option<&str>,
        act: impl AsyncFnOnce(Adapter) -> T,
    ) -> (Request, T) {
        let (listener, url) = listen().await;
        let adapter = self.adapter(&url, hook_url);
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let request = peer::request(&mut stream).await.unwrap();
            let body = match &canned.body {
                Value::String(text) => text.clone(),
                json => json.to_string(),
            };
            stream.write_all(peer::answer(canned.status, &canned.headers, &body).as_bytes()).await.unwrap();
            request
        };
        tokio::join!(serve, act(adapter))
    }
}

#[tokio::test]
async fn each_content_makes_its_request() {
    for data in named() {
        let mut said = BTreeSet::new();
        for case in read::<Vec<RequestCase>>(data.kind, "requests.json") {
            let what = format!("{}, {}", data.kind.name, case.source);
            let mut message = data.message(case.content);
            message.channel = case.channel.unwrap_or(message.channel);
            message.to = case.to.unwrap_or(message.to);
            message.from = case.from.or(message.from);
            message.content.check(message.channel).unwrap_or_else(|e| panic!("{what}: {e}"));
            said.extend(message.content.features().into_iter().map(|f| (message.channel as i16, f)));
            let (accepts, hook_url) = (&data.account.accepts, case.hook_url.as_deref());
            let (request, answer) =
                data.exchange_with(accepts, hook_url, async |a| a.send(&message, &|| true).await).await;
            assert_eq!(request.line, case.line, "{what}");
            let headers = data.account.headers.iter().chain(&case.headers);
            headers.for_each(|(name, value)| assert_eq!(request.headers.get(name), Some(value), "{what}: {name}"));
            match &case.body {
                Value::String(form) => assert_eq!(&String::from_utf8(request.body).unwrap(), form, "{what}"),
                json => assert_eq!(&serde_json::from_slice::<Value>(&request.body).unwrap(), json, "{what}"),
            }
            assert!(matches!(answer, Answer::Sent { .. }), "{what}: {answer:?}");
        }
        let carried: BTreeSet<(i16, Feature)> =
            data.kind.carries.iter().flat_map(|(c, all)| all.iter().map(|f| (*c as i16, *f))).collect();
        assert_eq!(said, carried, "{}: what is carried has a case each, and nothing else has one", data.kind.name);
    }
}

#[tokio::test]
async fn each_answer_means_one_thing() {
    for data in named() {
        for case in read::<Vec<AnswerCase>>(data.kind, "answers.json") {
            let what = format!("{}, {}: {}", data.kind.name, case.source, case.answer.body);
            let message = OutMessage { attempt: case.attempt, ..data.message(data.account.plain.clone()) };
            let (_, answer) = data.exchange(&case.answer, async |a| a.send(&message, &|| true).await).await;
            assert_eq!(answer, Answer::from(case.outcome), "{what}");
        }
    }
}

#[tokio::test]
async fn each_look_up_says_what_is_certain() {
    for data in named() {
        let has = path(data.kind, "look_ups.json").exists();
        assert_eq!(has, data.kind.doubt == Doubt::LookUp, "{}: look_ups.json", data.kind.name);
        if !has {
            continue;
        }
        let message = data.message(data.account.plain.clone());
        let since = "2026-11-20T10:00:00Z".parse().unwrap();
        for case in read::<Vec<LookUpCase>>(data.kind, "look_ups.json") {
            let what = format!("{}, {}", data.kind.name, case.source);
            let (request, finding) =
                data.exchange(&case.answer, async |a| a.look_up(&message, since, &|| true).await).await;
            assert_eq!(request.line, case.line, "{what}");
            match (case.found, finding) {
                (Found::Sent { sent }, finding) => assert_eq!(finding, Finding::Sent { provider_id: sent }, "{what}"),
                (Found::Failed { failed, detail }, Finding::Failed(failure)) => {
                    assert_eq!((failure.kind, failure.detail), (failed, detail), "{what}");
                }
                (Found::Said(word), finding) => {
                    let matches = match word.as_str() {
                        "absent" => finding == Finding::Absent,
                        "unsure" => matches!(finding, Finding::Unsure(_)),
                        _ => false,
                    };
                    assert!(matches, "{what}: {word}, {finding:?}");
                }
                (_, finding) => panic!("{what}: {finding:?}"),
            }
        }
    }
}

#[tokio::test]
async fn each_poll_says_what_became_of_its_message_alone() {
    for data in named() {
        let has = path(data.kind, "polls.json").exists();
        assert_eq!(has, data.kind.receipts == Receipts::Poll, "{}: polls.json", data.kind.name);
        if !has {
            continue;
        }
        let asked = Asked { provider_id: "42".to_owned(), id: peer::message().id };
        for case in read::<Vec<PollCase>>(data.kind, "polls.json") {
            let what = format!("{}, {}", data.kind.name, case.source);
            let (request, told) = data.exchange(&case.answer, async |a| a.poll(&asked, &|| true).await).await;
            assert_eq!(request.line, case.line, "{what}");
            match case.told {
                Told::Ended { ended, at, detail } => {
                    assert_eq!(told, Polled::Ended { kind: ended, at, detail }, "{what}");
                }
                Told::Failed { failed, detail, retry_after_s } => {
                    let failure = Failure::new(failed, detail).after(retry_after_s.map(Duration::from_secs));
                    assert_eq!(told, Polled::Failed(failure), "{what}");
                }
                Told::Said(word) => {
                    let matches = match word.as_str() {
                        "pending" => told == Polled::Pending,
                        "unsure" => matches!(told, Polled::Unsure(_)),
                        _ => false,
                    };
                    assert!(matches, "{what}: {word}, {told:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn each_check_says_what_is_wrong() {
    for data in named().filter(|data| path(data.kind, "checks.json").exists()) {
        for case in read::<Vec<CheckCase>>(data.kind, "checks.json") {
            let what = format!("{}, {}", data.kind.name, case.source);
            let (request, said) = data.exchange(&case.answer, async |a| a.check().await).await;
            assert_eq!(request.line, case.line, "{what}");
            match case.outcome {
                Checked::Says { says } => assert_eq!(said, Ok(says), "{what}"),
                Checked::Failed { failed, detail } => {
                    let failure = said.expect_err(&what);
                    assert_eq!((failure.kind, failure.detail), (failed, detail), "{what}");
                }
            }
        }
    }
}

/// Makes a call of an account's, and shows what it brings as JSON.
async fn offered(adapter: &Adapter, offer: &str) -> Result<Value, Failure> {
    let json = |value: serde_json::Result<Value>| value.unwrap();
    match offer {
        "templates" => adapter.templates().await.map(|all| json(serde_json::to_value(all))),
        "balance" => adapter.balance().await.map(|balance| json(serde_json::to_value(balance))),
        "contact" => adapter.contact("+213555123456").await.map(Value::from),
        other => panic!("{other} is no call"),
    }
}

#[tokio::test]
async fn each_offer_is_made_and_read() {
    for data in named() {
        let cases: Vec<OfferCase> = match path(data.kind, "offers.json").exists() {
            true => read(data.kind, "offers.json"),
            false => Vec::new(),
        };
        let mut said = BTreeSet::new();
        for case in cases {
            let what = format!("{}, {}", data.kind.name, case.source);
            let (listener, url) = listen().await;
            let adapter = data.adapter(&url, None);
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                for call in &case.calls {
                    let request = peer::request(&mut stream).await.unwrap();
                    assert_eq!(request.line, call.line, "{what}");
                    let headers = data.account.headers.iter().filter(|(name, _)| *name == "authorization");
                    headers.for_each(|(name, value)| assert_eq!(request.headers.get(name), Some(value), "{what}"));
                    let body = call.answer.body.as_str().map_or_else(|| call.answer.body.to_string(), str::to_owned);
                    let answer = peer::answer(call.answer.status, &call.answer.headers, &body);
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            };
            let ((), outcome) = tokio::join!(serve, offered(&adapter, &case.offer));
            match case.outcome {
                Offered::Said { said: expected } => {
                    assert_eq!(outcome, Ok(expected), "{what}");
                    said.insert(case.offer);
                }
                Offered::Failed { failed, detail } => {
                    let failure = outcome.expect_err(&what);
                    assert_eq!((failure.kind, failure.detail), (failed, detail), "{what}");
                }
            }
        }
        for (offer, name) in
            [(Offer::Templates, "templates"), (Offer::Balance, "balance"), (Offer::ContactCheck, "contact")]
        {
            assert_eq!(said.contains(name), data.kind.offers(offer), "{}: {name}", data.kind.name);
        }
    }
}
