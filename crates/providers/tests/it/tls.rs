//! https: the certificate is checked, and a handshake that fails has sent nothing.

use std::sync::Arc;

use fanfare_domain::clock::Clock;
use fanfare_domain::outcome::FailureKind;
use fanfare_providers::{Client, Provider as _};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsAcceptor;

use crate::peer::{accepted, account_with, failed, listen, message, request, sent};

/// Made for these tests by an authority whose key was thrown away; good for localhost and 127.0.0.1.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/providers/tls");

/// The same client, trusting the authority of these tests only.
pub fn trusting_us(client: Client) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(format!("{FOLDER}/ca.pem")).unwrap()).unwrap();
    client.trusting(roots).unwrap()
}

pub fn acceptor() -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_file(format!("{FOLDER}/server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(format!("{FOLDER}/server.key")).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()))
}

#[tokio::test]
async fn messages_in_turn_share_an_encrypted_connection() {
    let (listener, url) = listen().await;
    let adapter = account_with(&url.replace("http:", "https:"), &trusting_us(Client::new(Clock::system())));
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor().accept(stream).await.unwrap();
        for id in ["1", "2"] {
            let request = request(&mut stream).await.unwrap();
            assert_eq!(request.headers["authorization"], "Bearer s3cret");
            stream.write_all(accepted(id).as_bytes()).await.unwrap();
        }
    };
    let send = async {
        assert_eq!(adapter.send(&message(), &|| true).await, sent("1"));
        assert_eq!(adapter.send(&message(), &|| true).await, sent("2"));
    };
    tokio::join!(serve, send);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_before_anything_is_sent() {
    let (listener, url) = listen().await;
    let client = Client::new(Clock::system()).trusting(RootCertStore::empty()).unwrap();
    let adapter = account_with(&url.replace("http:", "https:"), &client);
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        assert!(acceptor().accept(stream).await.is_err(), "the client hangs up");
    };
    let sent = message();
    let outcome = tokio::join!(serve, adapter.send(&sent, &|| true)).1;
    assert_eq!(outcome, failed(FailureKind::Unreachable, "certificate refused"));
}

#[tokio::test]
async fn a_server_without_tls_is_refused_before_anything_is_sent() {
    let (listener, url) = listen().await;
    let adapter = account_with(&url.replace("http:", "https:"), &trusting_us(Client::new(Clock::system())));
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        // Held open until the client has seen it.
        stream
    };
    let plain = message();
    let (_stream, outcome) = tokio::join!(serve, adapter.send(&plain, &|| true));
    assert_eq!(outcome, failed(FailureKind::Unreachable, "TLS failed"));
}
