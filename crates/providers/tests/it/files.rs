//! Files of ours: handed over once, referred to by their id, and no message is lost or doubled for them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fanfare_domain::clock::Clock;
use fanfare_domain::content::{Content, StoredFile};
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Action, Answer, Failure, FailureKind};
use fanfare_providers::files::{Fetched, Files};
use fanfare_providers::tokens::Fetch;
use fanfare_providers::{Adapter, Client, Provider as _, open};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::peer::{self, Request, listen};

const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Keeps the bytes `file`, and one id.
#[derive(Debug)]
pub struct OneFile(Mutex<Option<String>>);

impl OneFile {
    /// Its id is 160.
    pub fn known() -> Self {
        Self::known_as("160")
    }

    /// Its id is this one.
    pub fn known_as(id: &str) -> Self {
        Self(Mutex::new(Some(id.to_owned())))
    }
}

impl Files for OneFile {
    fn bytes<'a>(&'a self, _: &'a StoredFile) -> Fetched<'a, Result<Bytes, Failure>> {
        Box::pin(async { Ok(Bytes::from_static(b"file")) })
    }

    fn known(&self, _: &StoredFile) -> Option<String> {
        self.0.lock().unwrap().clone()
    }

    fn id<'a>(&'a self, _: &'a StoredFile, upload: Fetch<'a>) -> Fetch<'a> {
        Box::pin(async move {
            let id = upload.await?;
            *self.0.lock().unwrap() = Some(id.clone());
            Ok(id)
        })
    }

    fn forget<'a>(&'a self, _: &'a StoredFile, id: &'a str) -> Fetched<'a, ()> {
        Box::pin(async move {
            assert_eq!(self.0.lock().unwrap().take().as_deref(), Some(id));
        })
    }
}

fn picture() -> OutMessage {
    let file = json!({ "sha256": HASH, "mime": "image/jpeg", "bytes": 4, "name": "offer \"1\".jpg" });
    let content: Content = serde_json::from_value(json!({ "type": "image", "file": file })).unwrap();
    OutMessage { channel: Channel::Whatsapp, content, ..peer::message() }
}

/// A Meta account with these files, and one exchange with it.
async fn exchange(files: Arc<OneFile>, status: u16, body: &str) -> (Request, Answer) {
    let (listener, url) = listen().await;
    let settings = json!({ "url": url.trim_end_matches("/send"), "phone_number_id": "1065" });
    let adapter: Adapter =
        open("meta", &settings, Some("EAAG"), &Client::new(Clock::system()).with_files(files)).unwrap();
    let message = picture();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = peer::request(&mut stream).await.unwrap();
        stream.write_all(peer::answer(status, &Default::default(), body).as_bytes()).await.unwrap();
        request
    };
    tokio::join!(serve, adapter.send(&message, &|| true))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    source: String,
    answer: Canned,
    outcome: Outcome,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Canned {
    status: u16,
    body: Value,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Outcome {
    Failed { failed: FailureKind, detail: String, action: Option<Action> },
    Known { id: String },
}

#[tokio::test]
async fn a_file_is_handed_over_in_place_of_its_message_which_is_not_sent() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/providers/meta/uploads.json");
    let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for case in cases {
        let files = Arc::new(OneFile(Mutex::default()));
        let body = case.answer.body.as_str().map_or_else(|| case.answer.body.to_string(), str::to_owned);
        let (request, answer) = exchange(files.clone(), case.answer.status, &body).await;
        assert_eq!(request.line, "POST /v24.0/1065/media HTTP/1.1", "{}", case.source);
        let kind = format!("multipart/form-data; boundary=fanfare-{HASH}");
        assert_eq!(request.headers["content-type"], kind);
        let field = |head: &str, value: &str| format!("--fanfare-{HASH}\r\n{head}\r\n\r\n{value}\r\n");
        let name = |name: &str| format!("content-disposition: form-data; name=\"{name}\"");
        let file = format!("{}; filename=\"offer _1_.jpg\"\r\ncontent-type: image/jpeg", name("file"));
        let parts = [
            field(&name("messaging_product"), "whatsapp"),
            field(&name("type"), "image/jpeg"),
            field(&file, "file"),
            format!("--fanfare-{HASH}--\r\n"),
        ];
        assert_eq!(String::from_utf8(request.body).unwrap(), parts.concat(), "{}", case.source);
        let known = files.0.lock().unwrap().clone();
        match case.outcome {
            Outcome::Known { id } => assert_eq!((answer, known), (Answer::NotStarted, Some(id)), "{}", case.source),
            Outcome::Failed { failed, detail, action } => {
                let Answer::Failed(failure) = answer else { panic!("{}: {answer:?}", case.source) };
                assert_eq!((failure.kind, failure.detail, failure.action), (failed, detail, action), "{}", case.source);
                assert_eq!(known, None);
            }
        }
    }
}

/// Another one hands the file over, until the slot of this message has passed, and fails.
#[derive(Debug, Default)]
struct Waited(AtomicBool);

impl Files for Waited {
    fn bytes<'a>(&'a self, _: &'a StoredFile) -> Fetched<'a, Result<Bytes, Failure>> {
        Box::pin(async { Ok(Bytes::from_static(b"file")) })
    }

    fn known(&self, _: &StoredFile) -> Option<String> {
        None
    }

    fn id<'a>(&'a self, _: &'a StoredFile, upload: Fetch<'a>) -> Fetch<'a> {
        self.0.store(true, Ordering::Relaxed);
        upload
    }

    fn forget<'a>(&'a self, _: &'a StoredFile, _: &'a str) -> Fetched<'a, ()> {
        Box::pin(async {})
    }
}

#[tokio::test]
async fn a_file_whose_slot_has_passed_meanwhile_is_not_handed_over() {
    let (listener, url) = listen().await;
    let settings = json!({ "url": url.trim_end_matches("/send"), "phone_number_id": "1065" });
    let files = Arc::new(Waited::default());
    let client = Client::new(Clock::system()).with_files(files.clone());
    let adapter: Adapter = open("meta", &settings, Some("EAAG"), &client).unwrap();
    let in_time = || !files.0.load(Ordering::Relaxed);
    let message = picture();
    tokio::select! {
        biased;
        called = async { peer::request(&mut listener.accept().await.unwrap().0).await } => {
            panic!("{:?}", called.map(|request| request.line));
        }
        answer = adapter.send(&message, &in_time) => assert_eq!(answer, Answer::NotStarted),
    }
}

#[tokio::test]
async fn an_id_that_the_provider_does_not_know_is_forgotten_and_the_message_tried_again() {
    let refused = |code: i64, details: &str| {
        json!({ "error": { "message": "x", "code": code, "error_data": { "details": details } } }).to_string()
    };
    let details = "Param image['id'] is not a valid whatsapp business account media attachment ID";
    for (body, kind, forgotten) in [
        (refused(100, details), FailureKind::Transient, true),
        (refused(131_053, "…"), FailureKind::Transient, true),
        (refused(100, "Param to"), FailureKind::PermanentContent, false),
        (refused(131_026, "…"), FailureKind::PermanentRecipient, false),
    ] {
        let files = Arc::new(OneFile::known());
        let (request, answer) = exchange(files.clone(), 400, &body).await;
        assert_eq!(request.line, "POST /v24.0/1065/messages HTTP/1.1");
        assert!(matches!(&answer, Answer::Failed(failure) if failure.kind == kind), "{body}: {answer:?}");
        assert_eq!(files.0.lock().unwrap().is_none(), forgotten, "{body}");
    }
}
