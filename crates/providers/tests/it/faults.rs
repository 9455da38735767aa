//! What a broken network means: unreachable only if nothing was written, in doubt in all other cases.

use std::time::Duration;

use fanfare_domain::clock::Clock;
use fanfare_domain::outcome::{Answer, FailureKind};
use fanfare_providers::{Client, Provider as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::peer::{account, account_with, failed, hasty_account, listen, message, request, sent};

/// Sends one message to a server that reads the request and then writes these bytes and closes.
async fn answered(bytes: &[u8]) -> Answer {
    let (listener, url) = listen().await;
    let adapter = account(&url);
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await.unwrap();
        stream.write_all(bytes).await.unwrap();
    };
    let sent = message();
    tokio::join!(serve, adapter.send(&sent, &|| true)).1
}

/// Closes a connection with a reset instead of an orderly end.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

#[tokio::test]
async fn a_refused_connection_has_sent_nothing() {
    // Bound and not listening, so that nobody else gets the port.
    let holder = TcpSocket::new_v4().unwrap();
    holder.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let adapter = account(&format!("http://{}/send", holder.local_addr().unwrap()));
    assert_eq!(adapter.send(&message(), &|| true).await, failed(FailureKind::Unreachable, "connection refused"));
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_has_sent_nothing() {
    // No label may have 64 characters, so that no name server is asked.
    let adapter = account(&format!("http://{}.example/send", "a".repeat(64)));
    assert_eq!(adapter.send(&message(), &|| true).await, failed(FailureKind::Unreachable, "name not resolved"));
}

#[tokio::test]
async fn a_name_with_a_dead_address_is_tried_at_its_other_one() {
    // localhost is ::1 and 127.0.0.1 on most machines; only the second has a listener.
    let (listener, _) = listen().await;
    let port = listener.local_addr().unwrap().port();
    let adapter = account(&format!("http://localhost:{port}/send"));
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = request(&mut stream).await.unwrap();
        assert_eq!(request.headers["host"], format!("localhost:{port}"));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{\"id\":\"1\"}").await.unwrap();
    };
    let sent_message = message();
    assert_eq!(tokio::join!(serve, adapter.send(&sent_message, &|| true)).1, sent("1"));
}

#[tokio::test]
async fn a_request_whose_time_passed_while_dialling_is_not_started() {
    let (listener, url) = listen().await;
    let adapter = account(&url);
    assert_eq!(adapter.send(&message(), &|| false).await, Answer::NotStarted);
    // The connection is kept for the next one.
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{\"id\":\"1\"}").await.unwrap();
    };
    let next = message();
    assert_eq!(tokio::join!(serve, adapter.send(&next, &|| true)).1, sent("1"));
}

#[tokio::test]
async fn a_reset_before_the_request_is_read_leaves_it_in_doubt() {
    let (listener, url) = listen().await;
    let adapter = account(&url);
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        // Something has arrived: the client cannot know that it was never read.
        stream.readable().await.unwrap();
        reset(stream);
    };
    let sent = message();
    let outcome = tokio::join!(serve, adapter.send(&sent, &|| true)).1;
    assert_eq!(outcome, failed(FailureKind::Unknown, "connection reset"));
}

#[tokio::test]
async fn a_reset_after_the_request_is_read_leaves_it_in_doubt() {
    let (listener, url) = listen().await;
    let adapter = account(&url);
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await.unwrap();
        reset(stream);
    };
    let sent = message();
    let outcome = tokio::join!(serve, adapter.send(&sent, &|| true)).1;
    assert_eq!(outcome, failed(FailureKind::Unknown, "connection reset"));
}

#[tokio::test]
async fn an_end_without_an_answer_leaves_it_in_doubt() {
    assert_eq!(answered(b"").await, failed(FailureKind::Unknown, "connection closed"));
    assert_eq!(answered(b"HTTP/1.1 200 OK\r\ncont").await, failed(FailureKind::Unknown, "connection closed"));
}

#[tokio::test]
async fn silence_leaves_it_in_doubt_and_closes_the_connection() {
    let (listener, url) = listen().await;
    let adapter = hasty_account(&url);
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await.unwrap();
        assert!(request(&mut stream).await.is_none(), "the connection is given up, not used again");
    };
    let sent = message();
    let outcome = tokio::join!(serve, adapter.send(&sent, &|| true)).1;
    assert_eq!(outcome, failed(FailureKind::Unknown, "timeout"));
}

#[tokio::test]
async fn a_tls_handshake_without_an_answer_has_sent_nothing() {
    let (listener, url) = listen().await;
    let client = Client::new(Clock::system()).with_timeouts(Duration::from_millis(100), Duration::from_secs(5));
    let adapter = account_with(&url.replace("http:", "https:"), &crate::tls::trusting_us(client));
    let outcome = adapter.send(&message(), &|| true).await;
    drop::<TcpListener>(listener);
    assert_eq!(outcome, failed(FailureKind::Unreachable, "connect timeout"));
}

#[tokio::test]
async fn an_acceptance_that_breaks_off_leaves_it_in_doubt() {
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\":\"1\"}";
    assert_eq!(answered(cut).await, failed(FailureKind::Unknown, "200 without an id"));
    let cut = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n{\"id\":\"1\"}\r\n";
    assert_eq!(answered(cut).await, failed(FailureKind::Unknown, "200 without an id"));
}

#[tokio::test]
async fn a_refusal_that_breaks_off_is_still_a_refusal() {
    let cut = b"HTTP/1.1 429 Slow\r\nretry-after: 3\r\ncontent-length: 100\r\n\r\n{";
    let Answer::Failed(failure) = answered(cut).await else { panic!("not sent") };
    assert_eq!((failure.kind, failure.retry_after), (FailureKind::Throttled, Some(Duration::from_secs(3))));
}

#[tokio::test]
async fn garbage_leaves_it_in_doubt() {
    let garbage = answered(b"220 smtp.example.com ESMTP ready\r\n").await;
    assert_eq!(garbage, failed(FailureKind::Unknown, "malformed answer"));
    let garbage = answered(&[0; 500]).await;
    assert_eq!(garbage, failed(FailureKind::Unknown, "malformed answer"));
}

#[tokio::test]
async fn a_chunked_or_unending_answer_is_read_too() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{\"id\r\n6\r\n\":\"1\"}\r\n0\r\n\r\n";
    assert_eq!(answered(chunked).await, sent("1"));
    let old = b"HTTP/1.0 200 OK\r\n\r\n{\"id\":\"1\"}";
    assert_eq!(answered(old).await, sent("1"));
    let continued = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{\"id\":\"1\"}";
    assert_eq!(answered(continued).await, sent("1"));
}

#[tokio::test]
async fn an_answer_without_bounds_is_not_read_to_its_end() {
    let (listener, url) = listen().await;
    let adapter = account(&url);
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        // Ends only because the adapter hangs up.
        while stream.write_all(&[b' '; 8192]).await.is_ok() {}
    };
    let sent = message();
    let outcome = tokio::join!(serve, adapter.send(&sent, &|| true)).1;
    assert_eq!(outcome, failed(FailureKind::Unknown, "200 without an id"));
}
