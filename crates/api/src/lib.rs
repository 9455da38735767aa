//! What comes in over HTTP.
//!
//! | request | what it does |
//! |---|---|
//! | `POST /hooks/{account}/{secret}` | takes a provider's post: receipts, and messages from recipients |
//! | `GET /hooks/{account}/{secret}` | answers a provider that asks whether we are who we say |
//! | `GET /health` | says that it serves, and what became of the posts so far |
//!
//! A post is answered once what it says is stored. Many posts at once share a transaction (`intake`), so
//! that receipts at several times the rate of sending cost the database little.

mod hooks;
mod intake;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use fanfare_store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use hooks::Hooks;
use intake::Intake;

/// A port that cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve at {address}: choose another address with --listen")]
pub struct ServeError {
    /// The address.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// A server with its port open: connections wait until it runs.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Opens the port; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ServeError`] if it cannot be listened on.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        let failed = |source| ServeError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`: then it takes no more posts, and answers those that it has taken.
    ///
    /// # Errors
    /// [`ServeError`] if the port fails.
    pub async fn run(self, store: Store, stop: CancellationToken) -> Result<(), ServeError> {
        let Self { listener, address } = self;
        let (intake, work) = Intake::new(store.clone());
        let hooks = Arc::new(Hooks::new(store, intake));
        let router = Router::new()
            .route("/hooks/{account}/{secret}", get(hooks::challenge).post(hooks::post))
            .route("/health", get(hooks::health))
            .with_state(hooks);
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        let served = async { serving.await.map_err(|source| ServeError { address, source }) };
        // The intake ends when the last handler that could hand it something is gone.
        let (served, ()) = tokio::join!(served, work.run());
        served
    }
}
