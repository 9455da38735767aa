//! Serving one account: its adapter, its flusher, its apalis worker.

use std::sync::Arc;
use std::time::Duration;

use apalis_core::worker::builder::WorkerBuilder;
use fanfare_domain::limits::PROGRESS_SHARDS;
use fanfare_providers::{Adapter, Client, ConfigError};
use fanfare_store::queue::{self, Flusher};
use fanfare_store::{Store, accounts};
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::account::Account;
use crate::backend::{ClaimLoop, LeaseBackend};
use crate::board::Board;
use crate::claims::Claims;
use crate::files::{FleetFiles, Remembered};
use crate::flush::{FlushLoop, Note};
use crate::send;
use crate::steer::{Signs, Steering};
use crate::tokens::FleetTokens;
use crate::urgent_loop::Due;

/// Tenant and account.
pub type AccountKey = (i32, i64);

/// An account whose settings cannot be used is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// One account to serve.
pub struct Serve {
    pub store: Store,
    pub key: AccountKey,
    pub worker_id: i64,
    pub board: Arc<Board>,
    pub wake: Arc<Notify>,
    /// What is urgent.
    pub due: Due,
    /// Files that this process remembers.
    pub files: Arc<Remembered>,
    pub over: CancellationToken,
}

impl Serve {
    /// Serves the account until the life is over, its provider refuses us, or it has been changed; by then all that it claimed
    /// is written down.
    pub async fn run(self) -> Result<(), Error> {
        let (signs, seen) = Signs::new();
        let (tell_flusher, notes) = mpsc::unbounded_channel();
        let opened = match self.open(signs, tell_flusher).await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(account_id = self.key.1, ?error, "cannot open the account");
                if let OpenError::Config(error) = error {
                    self.stop_unusable(&error).await;
                }
                None
            }
        };
        let Some((row, account)) = opened else {
            tokio::select! { () = self.over.cancelled() => {}, () = sleep(LOOK_AGAIN) => {} }
            return Ok(());
        };
        let (workspace_id, account_id) = self.key;
        // Below 16.
        let shard = (self.worker_id.unsigned_abs() % PROGRESS_SHARDS) as i16;
        let who = Flusher { workspace_id, account_id, worker_id: self.worker_id, shard, correlates: row.correlates };
        let (ended, drain) = (self.over.child_token(), CancellationToken::new());
        let flusher = FlushLoop {
            store: self.store.clone(),
            who,
            notes,
            held: account.held.clone(),
            briskness: account.briskness.clone(),
            drain: drain.clone(),
            counts_recipients: row.recipients_per_day.is_some(),
            fenced: self.over.clone(),
        };
        let steering = Steering {
            store: self.store.clone(),
            account: row.clone(),
            seen,
            ended: ended.clone(),
            drain: drain.clone(),
        };
        let (flushing, steering) = (tokio::spawn(flusher.run()), tokio::spawn(steering.run()));
        self.send(Arc::new(account), row, who, ended).await;
        drain.cancel();
        let flushed = flushing.await.map_err(Error::Panicked)?;
        steering.await.map_err(Error::Panicked)?;
        flushed?;
        self.let_go_of_orphans().await;
        Ok(())
    }

    /// After the last flush nothing may be left. What a panic or a lost claim left all the same is parked
    /// once this worker's life ends, and only then.
    async fn let_go_of_orphans(&self) {
        let held = async {
            let mut c = self.store.pool.acquire().await?;
            queue::holds(&mut c, self.key.0, self.key.1, self.worker_id).await
        };
        // What cannot be asked must be taken for held.
        if held.await.unwrap_or(true) && !self.over.is_cancelled() {
            tracing::warn!(
                account_id = self.key.1,
                worker_id = self.worker_id,
                "leases without an owner, starting anew"
            );
            self.over.cancel();
        }
    }

    /// Runs the apalis worker of this account until every batch has ended.
    async fn send(&self, account: Arc<Account>, row: accounts::Account, who: Flusher, ended: CancellationToken) {
        let (tell_apalis, batches) = mpsc::unbounded_channel();
        let claims = Claims { account, who, board: self.board.clone(), stop: ended, batches: tell_apalis };
        let claims = ClaimLoop { claims, row, wake: self.wake.clone(), fenced: self.over.clone() };
        let backend = LeaseBackend::start(claims, self.due.clone(), batches);
        // A name may never be used twice: apalis would take it for a worker that is still there.
        let name = format!("{}-{}-{}", self.worker_id, self.key.1, self.store.ids.next());
        let worker = WorkerBuilder::new(name.as_str()).backend(backend).build(send::spawned);
        if let Err(error) = worker.run().await {
            tracing::error!(account_id = self.key.1, %error, "the account's worker ended by error");
            self.over.cancel();
        }
    }

    /// Stops an account whose settings no worker can use, so that others take its place and a person is told.
    async fn stop_unusable(&self, error: &ConfigError) {
        // What is amiss with this machine is not so everywhere.
        if matches!(error, ConfigError::NoRoots | ConfigError::Tls(_)) {
            return;
        }
        let stopped = async {
            let mut c = self.store.pool.acquire().await?;
            accounts::stop(&mut c, self.key.0, self.key.1, &error.to_string()).await
        };
        if let Err(error) = stopped.await {
            tracing::warn!(account_id = self.key.1, ?error, "the account cannot be stopped");
        }
    }

    /// The account and its adapter; nothing while the account is stopped.
    async fn open(
        &self,
        signs: Signs,
        notes: mpsc::UnboundedSender<Note>,
    ) -> Result<Option<(accounts::Account, Account)>, OpenError> {
        let Some((row, adapter)) = open(&self.store, self.key, Some(&self.files)).await? else { return Ok(None) };
        let account = Account::new(self.store.clone(), &row, adapter, signs, notes);
        Ok(Some((row, account)))
    }
}

/// An account's row and its adapter, which sends files if it may remember them here; nothing while the account
/// is stopped.
pub async fn open(
    store: &Store,
    key: AccountKey,
    files: Option<&Arc<Remembered>>,
) -> Result<Option<(accounts::Account, Adapter)>, OpenError> {
    let mut c = store.pool.acquire().await.map_err(fanfare_store::Error::from)?;
    let row = accounts::by_id(&mut c, key.0, key.1).await?;
    if row.stopped_reason.is_some() {
        return Ok(None);
    }
    let secret = accounts::secret(&row, &store.seal)?;
    let tokens = Arc::new(FleetTokens::new(store.clone(), row.clone()));
    let hook_url = accounts::hook_url(&row, &store.seal)?;
    let mut client = Client::new(store.clock.clone()).with_tokens(tokens).with_hook_url(hook_url);
    if let Some(files) = files {
        client = client.with_files(Arc::new(FleetFiles::new(store.clone(), key, files.clone())));
    }
    let adapter = fanfare_providers::open(&row.kind, &row.settings, secret.as_deref(), &client)?;
    Ok(Some((row, adapter)))
}

/// Why an account cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the account cannot be read")]
    Store(#[from] fanfare_store::Error),
    #[error("the account's settings cannot be used")]
    Config(#[from] fanfare_providers::ConfigError),
}
