//! Connections are used again, and one closed while idle costs nothing.

use fanfare_domain::outcome::FailureKind;
use fanfare_providers::Provider as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::peer::{accepted, account, failed, listen, message, request, sent};

#[tokio::test]
async fn messages_in_turn_share_a_connection() {
    let (listener, url) = listen().await;
    let adapter = account(&url);
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        for id in ["1", "2", "3"] {
            request(&mut stream).await.expect("the same connection again");
            stream.write_all(accepted(id).as_bytes()).await.unwrap();
        }
    };
    let send = async {
        for id in ["1", "2", "3"] {
            assert_eq!(adapter.send(&message(), &|| true).await, sent(id));
        }
    };
    tokio::join!(serve, send);
}

#[tokio::test]
async fn messages_at_once_have_a_connection_each() {
    let (listener, url) = listen().await;
    let adapter = account(&url);
    let serve = async {
        let (mut one, _) = listener.accept().await.unwrap();
        let (mut two, _) = listener.accept().await.unwrap();
        for stream in [&mut one, &mut two] {
            request(stream).await.unwrap();
            stream.write_all(accepted("1").as_bytes()).await.unwrap();
        }
    };
    let (first, second) = (message(), message());
    let (_, a, b) = tokio::join!(serve, adapter.send(&first, &|| true), adapter.send(&second, &|| true));
    assert_eq!((a, b), (sent("1"), sent("1")));
}

#[tokio::test]
async fn an_answer_that_ends_the_connection_is_obeyed() {
    let (listener, url) = listen().await;
    let adapter = account(&url);
    let serve = async {
        for id in ["1", "2"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await.unwrap();
            let answer = accepted(id).replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            assert!(request(&mut stream).await.is_none(), "closed by the client too");
        }
    };
    let send = async {
        assert_eq!(adapter.send(&message(), &|| true).await, sent("1"));
        assert_eq!(adapter.send(&message(), &|| true).await, sent("2"));
    };
    tokio::join!(serve, send);
}

#[tokio::test]
async fn connections_closed_while_idle_cost_no_message() {
    let (listener, url) = listen().await;
    let address = listener.local_addr().unwrap();
    let adapter = account(&url);
    let serve = async {
        let (mut one, _) = listener.accept().await.unwrap();
        let (mut two, _) = listener.accept().await.unwrap();
        for stream in [&mut one, &mut two] {
            request(stream).await.unwrap();
            stream.write_all(accepted("1").as_bytes()).await.unwrap();
        }
        let (mark, _) = listener.accept().await.unwrap();
        // A server restarts: both idle connections end, the mark after them.
        drop((one, two));
        drop(mark);
        let (mut fresh, _) = listener.accept().await.unwrap();
        request(&mut fresh).await.unwrap();
        fresh.write_all(accepted("2").as_bytes()).await.unwrap();
    };
    let send = async {
        let (first, second) = (message(), message());
        assert_eq!(
            tokio::join!(adapter.send(&first, &|| true), adapter.send(&second, &|| true)),
            (sent("1"), sent("1"))
        );
        // Events come in order: when the mark has ended, so have the others.
        let mut mark = TcpStream::connect(address).await.unwrap();
        assert_eq!(mark.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(adapter.send(&message(), &|| true).await, sent("2"));
    };
    tokio::join!(serve, send);
}

#[tokio::test]
async fn a_used_connection_that_breaks_under_a_request_leaves_it_in_doubt() {
    let (listener, url) = listen().await;
    let adapter = account(&url);
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await.unwrap();
        stream.write_all(accepted("1").as_bytes()).await.unwrap();
        request(&mut stream).await.unwrap();
        drop(stream);
        // Nobody comes to try again.
        listener
    };
    let send = async {
        assert_eq!(adapter.send(&message(), &|| true).await, sent("1"));
        assert_eq!(adapter.send(&message(), &|| true).await, failed(FailureKind::Unknown, "connection closed"));
    };
    let (listener, ()) = tokio::join!(serve, send);
    drop(adapter);
    let listener = listener.into_std().unwrap();
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn an_answer_nobody_asked_for_is_given_to_no_message() {
    let (listener, url) = listen().await;
    let address = listener.local_addr().unwrap();
    let adapter = account(&url);
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await.unwrap();
        stream.write_all((accepted("1") + &accepted("stray")).as_bytes()).await.unwrap();
        let (mark, _) = listener.accept().await.unwrap();
        drop(mark);
        let (mut fresh, _) = listener.accept().await.unwrap();
        request(&mut fresh).await.unwrap();
        fresh.write_all(accepted("2").as_bytes()).await.unwrap();
    };
    let send = async {
        assert_eq!(adapter.send(&message(), &|| true).await, sent("1"));
        let mut mark = TcpStream::connect(address).await.unwrap();
        assert_eq!(mark.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(adapter.send(&message(), &|| true).await, sent("2"));
    };
    tokio::join!(serve, send);
}
