//! What every command needs: where the installation is, its database, its workspace.

use std::path::PathBuf;
use std::process;

use anyhow::Context as _;
use clap::Args;
use fanfare_store::Store;
use fanfare_store::open::Config;
use fanfare_store::workspaces::{self, DEFAULT};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::output::Interrupted;
use crate::parse;

/// Connections of a command that does one thing and ends.
const SHORT_CONNECTIONS: u32 = 4;
/// Connections of a role.
const ROLE_CONNECTIONS: u32 = 8;

/// Heading of these options in the help.
const EVERYWHERE: &str = "Options of every command";

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Print one JSON object on standard output, and nothing else there
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// Workspace to work in
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "FANFARE_WORKSPACE", default_value = DEFAULT, value_parser = parse::name)]
    pub workspace: String,
    /// A PostgreSQL server (14 to 18); without it the program runs one of its own
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Directory of the program's own database [default: postgres in FANFARE_HOME]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Directory of the database and of the key [default: the user's data directory]
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "FANFARE_HOME", value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Key for secrets at rest, 32 bytes in base64 [default: the file key in FANFARE_HOME]
    #[arg(id = "seal-key", long, global = true, help_heading = EVERYWHERE, env = "FANFARE_KEY", hide = true, hide_env_values = true)]
    pub key: Option<String>,
}

/// An open workspace.
pub struct Context {
    pub store: Store,
    pub workspace_id: i32,
}

impl Global {
    /// Where the installation is, and its database.
    pub fn config(&self) -> anyhow::Result<Config> {
        let home = match &self.home {
            Some(home) => home.clone(),
            None => default_home().context("cannot tell where your data directory is: set FANFARE_HOME")?,
        };
        let home = std::path::absolute(&home).with_context(|| format!("cannot use {}", home.display()))?;
        let data_dir = match &self.data_dir {
            Some(dir) => Some(std::path::absolute(dir).with_context(|| format!("cannot use {}", dir.display()))?),
            None => None,
        };
        Ok(Config {
            database_url: self.database_url.clone(),
            home,
            data_dir,
            key: self.key.clone(),
            max_connections: SHORT_CONNECTIONS,
        })
    }

    /// Opens the workspace, which exists, does `work`, and leaves the database, whatever came of it. A
    /// signal ends the work where it stands; what it has not committed is undone.
    pub async fn with<T>(&self, work: impl AsyncFnOnce(&Context) -> anyhow::Result<T>) -> anyhow::Result<T> {
        self.with_workspace(false, work).await
    }

    /// The same; if `made`, the workspace is made where it does not exist: for what may be the first thing
    /// that one does in it.
    pub async fn with_workspace<T>(
        &self,
        made: bool,
        work: impl AsyncFnOnce(&Context) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let store = self.open(SHORT_CONNECTIONS).await?;
        let found = self.workspace_id(&store, made).await;
        let context = match found {
            Ok(workspace_id) => Context { store, workspace_id },
            Err(e) => {
                store.close().await?;
                return Err(e);
            }
        };
        let mut signals = Signals::listen()?;
        let done = tokio::select! {
            done = work(&context) => done,
            () = signals.next() => Err(Interrupted.into()),
        };
        // A second one does not wait for the rest.
        tokio::spawn(async move {
            signals.next().await;
            process::exit(STOPPED_AT_ONCE);
        });
        let closed = context.store.close().await;
        let done = done?;
        closed?;
        Ok(done)
    }

    /// Opens the database for a role that runs until it is stopped: it serves every workspace.
    pub async fn open_role(&self) -> anyhow::Result<Store> {
        self.open(ROLE_CONNECTIONS).await
    }

    async fn open(&self, max_connections: u32) -> anyhow::Result<Store> {
        let mut store = Store::open(Config { max_connections, ..self.config()? }).await?;
        if let Ok(user) = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")) {
            store.actor = user.into();
        }
        Ok(store)
    }

    async fn workspace_id(&self, store: &Store, made: bool) -> anyhow::Result<i32> {
        let mut c = store.pool.acquire().await.context("cannot reach the database")?;
        Ok(match made || self.workspace == DEFAULT {
            true => workspaces::ensure(&mut c, &self.workspace, store.clock.now()).await?,
            false => workspaces::get(&mut c, &self.workspace).await?,
        })
    }
}

/// Exit code of a process that a second signal stopped at once: 128 + SIGTERM, as shells count.
pub const STOPPED_AT_ONCE: i32 = 143;

/// SIGTERM and SIGINT.
pub struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    /// From now on the signals do not end the process by themselves.
    pub fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { term: listen(SignalKind::terminate())?, int: listen(SignalKind::interrupt())? })
    }

    /// Waits for the next of either.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

/// `$XDG_DATA_HOME/fanfare`, else `~/.local/share/fanfare`; for root /var/lib/fanfare, since the server
/// runs as another user, to whom root's home is closed.
fn default_home() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/fanfare"));
    }
    let xdg = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let data = xdg.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")))?;
    Some(data.join("fanfare"))
}
