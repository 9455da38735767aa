//! One thread for each test process holds its connection to the server, and makes and drops databases
//! for tests whose own runtimes come and go.

use std::sync::{OnceLock, mpsc};
use std::thread;

use fanfare_store::embedded::Embedded;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tokio::sync::{mpsc as channel, oneshot};
use url::Url;

use crate::{place, template};

/// What went wrong, in words.
pub(crate) type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// A database that was made for a test.
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) name: String,
}

enum Job {
    Create(oneshot::Sender<Result<Database, String>>),
    Remove(String, mpsc::Sender<()>),
}

static JOBS: OnceLock<channel::UnboundedSender<Job>> = OnceLock::new();

/// Makes a database.
pub(crate) async fn create() -> Result<Database, String> {
    let (reply, answer) = oneshot::channel();
    let gone = |_| "the thread of the test server has ended".to_owned();
    jobs().send(Job::Create(reply)).map_err(|_| gone(()))?;
    answer.await.map_err(|_| gone(()))?
}

/// Drops a database, and waits until it is gone.
pub(crate) fn remove(name: &str) {
    let (reply, answer) = mpsc::channel();
    if jobs().send(Job::Remove(name.to_owned(), reply)).is_ok() {
        // Without an answer the thread has ended, and the next test process cleans up.
        let _ = answer.recv();
    }
}

fn jobs() -> &'static channel::UnboundedSender<Job> {
    JOBS.get_or_init(|| {
        let (sender, receiver) = channel::unbounded_channel();
        thread::Builder::new().name("testdb".into()).spawn(move || run(receiver)).expect("a thread can be started");
        sender
    })
}

fn run(mut receiver: channel::UnboundedReceiver<Job>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    runtime.block_on(async {
        let mut server = Server::open().await.map_err(in_words);
        while let Some(job) = receiver.recv().await {
            match job {
                Job::Create(reply) => {
                    let made = match &mut server {
                        Ok(server) => server.create().await.map_err(in_words),
                        Err(e) => Err(e.clone()),
                    };
                    // A test that no longer waits was given up.
                    let _ = reply.send(made);
                }
                Job::Remove(name, done) => {
                    if let Ok(server) = &mut server
                        && let Err(e) = drop_database(&mut server.admin, &name).await
                    {
                        eprintln!("testdb: cannot drop {name}: {e}");
                    }
                    let _ = done.send(());
                }
            }
        }
    });
}

#[allow(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn in_words(e: Box<dyn std::error::Error + Send + Sync>) -> String {
    let mut words = e.to_string();
    let mut source = e.source();
    while let Some(s) = source {
        words.push_str(&format!(": {s}"));
        source = s.source();
    }
    words
}

struct Server {
    admin: PgConnection,
    url: Url,
    template: String,
    /// Names this process's databases, and as application name of `admin` tells that it lives.
    token: String,
    made: u32,
    /// This process's claim on the embedded server.
    _embedded: Option<Embedded>,
}

impl Server {
    async fn open() -> Result<Self> {
        let (embedded, url) = match std::env::var("FANFARE_TEST_DATABASE_URL") {
            Ok(url) => (None, Url::parse(&url)?),
            Err(_) => {
                let (embedded, connection) = Embedded::ensure(&place()).await?;
                connection.close().await?;
                let url = Url::parse(embedded.url())?;
                (Some(embedded), url)
            }
        };
        let options: PgConnectOptions = url.as_str().parse()?;
        let mut admin = PgConnection::connect_with(&options).await?;
        let backend: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut admin).await?;
        let token = format!("fanfare_test_{}_{backend}", std::process::id());
        admin.execute(AssertSqlSafe(format!("set application_name = '{token}'"))).await?;
        remove_stale(&mut admin).await?;
        let template = template::ensure(&mut admin, &options).await?;
        Ok(Self { admin, url, template, token, made: 0, _embedded: embedded })
    }

    async fn create(&mut self) -> Result<Database> {
        self.made += 1;
        let name = format!("{}_{}", self.token, self.made);
        let sql = format!("create database {name} template {}", self.template);
        self.admin.execute(AssertSqlSafe(sql)).await?;
        let mut url = self.url.clone();
        url.set_path(&name);
        Ok(Database { url: url.into(), name })
    }
}

/// Drops the databases of test processes that were killed: their connection is gone.
async fn remove_stale(admin: &mut PgConnection) -> Result<()> {
    let stale: Vec<String> = sqlx::query_scalar(
        // The activity has a datname of its own, which is not meant.
        r"select d.datname from pg_database d where d.datname like 'fanfare\_test\_%' and not exists
            (select from pg_stat_activity a where starts_with(d.datname, a.application_name || '_')
                                              and a.application_name like 'fanfare\_test\_%')",
    )
    .fetch_all(&mut *admin)
    .await?;
    for name in stale {
        drop_database(admin, &name).await?;
    }
    Ok(())
}

async fn drop_database(admin: &mut PgConnection, name: &str) -> Result<()> {
    admin.execute(AssertSqlSafe(format!("drop database if exists {name} with (force)"))).await?;
    Ok(())
}
