//! 1Confirmed's login: one token for all, fetched when there is none and when it is refused.

use std::sync::Arc;
use std::time::Duration;

use fanfare_domain::clock::Clock;
use fanfare_domain::content::{Approved, Content};
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Answer, Failure, FailureKind};
use fanfare_providers::tokens::{Fetch, Tokens};
use fanfare_providers::{Adapter, Client, Provider as _, open};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::peer::{self, Request, failed, listen, sent};

fn client() -> Client {
    Client::new(Clock::system()).with_timeouts(Duration::from_secs(5), Duration::from_millis(200))
}

fn account(url: &str, client: &Client) -> Adapter {
    let settings = json!({ "url": url.replace("/send", "/api/v1"), "email": "owner@example.com" });
    open("one_confirmed", &settings, Some("pass word"), client).unwrap()
}

fn message() -> OutMessage {
    let content = Content::Template(Approved { name: "12".into(), ..Approved::default() });
    OutMessage { channel: Channel::Whatsapp, content, ..peer::message() }
}

fn token(token: &str) -> (u16, Value) {
    (200, json!({ "success": true, "data": { "token": token } }))
}

fn accepted() -> (u16, Value) {
    (200, json!({ "data": { "messages": [{ "id": "wamid.1" }] } }))
}

/// Answers requests one after the other, and says what they were.
async fn serve(listener: &TcpListener, answers: Vec<(u16, Value)>) -> Vec<Request> {
    let mut answers = answers.into_iter();
    let mut seen = Vec::new();
    'connections: while answers.len() > 0 {
        let (mut stream, _) = listener.accept().await.unwrap();
        for (status, body) in answers.by_ref() {
            let Some(request) = peer::request(&mut stream).await else { continue 'connections };
            seen.push(request);
            let answer = peer::answer(status, &Default::default(), &body.to_string());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }
    seen
}

/// What each request was: its path, and its token.
fn said(requests: &[Request]) -> Vec<(&str, Option<&str>)> {
    requests
        .iter()
        .map(|request| {
            let path = request.line.split(' ').nth(1).and_then(|path| path.strip_prefix("/api/v1"));
            (path.unwrap(), request.headers.get("authorization").map(String::as_str))
        })
        .collect()
}

/// Sends a message to a server that answers so; the answer, and what was asked.
async fn exchange(answers: Vec<(u16, Value)>) -> (Answer, Vec<Request>) {
    let (listener, url) = listen().await;
    let adapter = account(&url, &client());
    let message = message();
    let (requests, answer) = tokio::join!(serve(&listener, answers), adapter.send(&message, &|| true));
    (answer, requests)
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_again() {
    let (listener, url) = listen().await;
    let adapter = account(&url, &client());
    let message = message();
    let sending = async {
        for _ in 0..3 {
            assert_eq!(adapter.send(&message, &|| true).await, sent("wamid.1"));
        }
    };
    let (requests, ()) = tokio::join!(serve(&listener, vec![token("t1"), accepted(), accepted(), accepted()]), sending);
    let with = ("/messages", Some("Bearer t1"));
    assert_eq!(said(&requests), [("/login", None), with, with, with]);
    let login: Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(login, json!({ "email": "owner@example.com", "password": "pass word" }));
}

#[tokio::test]
async fn a_refused_token_is_renewed_and_the_message_takes_a_new_slot() {
    let (listener, url) = listen().await;
    let adapter = account(&url, &client());
    let (message, refused) = (message(), || (401, json!({ "message": "Unauthenticated." })));
    let answers = vec![token("t1"), refused(), token("t2"), accepted(), refused(), token("t3"), refused()];
    let sending = async {
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(adapter.send(&message, &|| true).await);
        }
        seen
    };
    let (requests, seen) = tokio::join!(serve(&listener, answers), sending);
    let stopped = failed(FailureKind::Configuration, "unauthenticated");
    assert_eq!(seen, [Answer::NotStarted, sent("wamid.1"), Answer::NotStarted, stopped], "t3 was never taken");
    let with = |token| ("/messages", Some(token));
    let (t1, t2, t3) = (with("Bearer t1"), with("Bearer t2"), with("Bearer t3"));
    let login = ("/login", None);
    assert_eq!(said(&requests), [login, t1, login, t2, t2, login, t3]);
}

#[tokio::test]
async fn a_login_without_a_token_sends_nothing_and_says_why() {
    use FailureKind::{Configuration, Throttled, Transient};
    let no = |message: &str| json!({ "success": false, "message": message });
    let cases = [
        (200, no("The email or password you entered is incorrect."), Configuration, "login: email or password"),
        (401, no("The email or password you entered is incorrect."), Configuration, "login: email or password"),
        (
            200,
            no("Your Account Verification Is Not Completed Yet."),
            Configuration,
            "login: verification is not completed",
        ),
        (422, json!({ "message": "x", "errors": { "email": ["x"] } }), Configuration, "login: 422 refused"),
        (
            200,
            json!({ "success": true, "data": { "token": "a\nb" } }),
            Configuration,
            "login: token that fits no header",
        ),
        (
            200,
            json!({ "success": true, "data": { "user_id": 1, "two_factor_verified": true } }),
            Configuration,
            "login wants a second factor: give a token as the secret and unset email",
        ),
        (200, json!("<html>"), Transient, "login: answer without a token"),
        (500, json!("oops"), Transient, "login: 500"),
        (429, json!({}), Throttled, "login: 429"),
    ];
    for (status, body, kind, detail) in cases {
        let (answer, requests) = exchange(vec![(status, body)]).await;
        assert_eq!((answer, requests.len()), (failed(kind, detail), 1));
    }
}

#[tokio::test]
async fn a_login_that_is_lost_has_sent_no_message() {
    let (listener, url) = listen().await;
    let adapter = account(&url, &client());
    let message = message();
    let swallow = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        (peer::request(&mut stream).await, stream)
    };
    let (_, answer) = tokio::join!(swallow, adapter.send(&message, &|| true));
    assert_eq!(answer, failed(FailureKind::Unreachable, "login: timeout"));
}

#[tokio::test]
async fn a_message_whose_time_passed_during_the_login_is_not_started() {
    let (listener, url) = listen().await;
    let adapter = account(&url, &client());
    let message = message();
    let (requests, answer) = tokio::join!(serve(&listener, vec![token("t1")]), adapter.send(&message, &|| false));
    assert_eq!((answer, requests.len()), (Answer::NotStarted, 1));
}

#[tokio::test]
async fn parameters_need_the_names_of_their_variables() {
    let (_listener, url) = listen().await;
    let adapter = account(&url, &client());
    for (name, params, detail) in [
        ("spring", vec![], "template name is no id"),
        ("12", vec!["Amina".to_owned()], "parameter without a variable's name"),
    ] {
        let content = Content::Template(Approved { name: name.into(), params, ..Approved::default() });
        let answer = adapter.send(&OutMessage { content, ..message() }, &|| true).await;
        let Answer::Failed(failure) = answer else { panic!("{answer:?}") };
        assert_eq!((failure.kind, failure.detail.as_str()), (FailureKind::PermanentContent, detail));
    }
}

/// A keeper that knows a token already.
#[derive(Debug)]
struct Kept;

impl Tokens for Kept {
    fn token<'a>(&'a self, stale: Option<&'a str>, fetch: Fetch<'a>) -> Fetch<'a> {
        match stale {
            None => Box::pin(async { Ok("kept".to_owned()) }),
            Some("kept") => fetch,
            Some(_) => Box::pin(async { Err(Failure::new(FailureKind::Unreachable, "no keeper")) }),
        }
    }
}

#[tokio::test]
async fn the_keeper_of_tokens_is_the_clients() {
    let (listener, url) = listen().await;
    let adapter = account(&url, &client().with_tokens(Arc::new(Kept)));
    let (message, refused) = (message(), (401, json!({})));
    let answers = vec![refused, token("t2")];
    let (requests, answer) = tokio::join!(serve(&listener, answers), adapter.send(&message, &|| true));
    assert_eq!(answer, Answer::NotStarted);
    assert_eq!(said(&requests), [("/messages", Some("Bearer kept")), ("/login", None)]);
    assert!(!format!("{adapter:?}").contains("pass"), "{adapter:?}");
}

#[tokio::test]
async fn a_listener_is_entered_once_the_provider_says_its_address_back() {
    let at = "https://fanfare.example.com/hooks/1/s3cret";
    let taken = json!({ "target_url": at, "active": 1, "updated_at": "2026-04-12 01:00:00" });
    let other = json!({ "target_url": "https://old.example.com/", "active": 1 });
    let invalid = json!({ "message": "The given data was invalid.", "errors": { "target_url": ["Not a URL."] } });
    let unclear = "no listener with this address in the answer";
    for ((status, body), expected) in [
        ((200, json!({ "success": true, "data": taken, "message": "Success" })), Ok(true)),
        ((200, json!({ "success": true, "data": other, "message": "Success" })), Err((FailureKind::Unknown, unclear))),
        ((200, json!({ "success": false, "message": "No" })), Err((FailureKind::PermanentContent, "200 refused"))),
        ((422, invalid), Err((FailureKind::PermanentContent, "422 refused"))),
        ((500, json!({ "message": "Server Error" })), Err((FailureKind::Unknown, "500"))),
    ] {
        let (listener, url) = listen().await;
        let adapter = account(&url, &client());
        let answers = vec![token("t1"), (status, body.clone())];
        let (requests, said_of_it) = tokio::join!(serve(&listener, answers), adapter.listen(at));
        assert_eq!(said(&requests)[1], ("/confirmation/listeners", Some("Bearer t1")));
        let posted: Value = serde_json::from_slice(&requests[1].body).unwrap();
        assert_eq!(posted, json!({ "target_url": at, "active": 1 }));
        let expected = expected.map_err(|(kind, detail)| Failure::new(kind, detail));
        assert_eq!(said_of_it, expected, "{status} {body}");
    }
}
