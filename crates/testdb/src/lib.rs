//! A migrated PostgreSQL database of its own for each test.
//!
//! All tests of a machine share one embedded server in /var/tmp, without fsync, that is started by the
//! first and stays for the next run (`fanfare-testdb stop` ends it). `FANFARE_TEST_DATABASE_URL` names
//! another server to use, by a user that may create databases. A test's database is a clone of a
//! template that holds the migrations.

mod server;
mod template;

use std::path::PathBuf;
use std::time::Duration;

use fanfare_store::Store;
use fanfare_store::embedded::Place;
use fanfare_store::seal::Seal;
use sqlx::postgres::PgPoolOptions;

/// The key of every test's store: 32 zero bytes.
pub const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const CONNECTIONS_MAX: u32 = 10;

/// A database that exists as long as this value.
pub struct TestDb {
    /// Open on the database.
    pub store: Store,
    /// For programs under test: `--database-url`.
    pub url: String,
    name: String,
}

impl TestDb {
    /// A new, empty, migrated database.
    ///
    /// # Panics
    /// When there is no server, with the reason.
    pub async fn new() -> Self {
        let database = server::create().await.unwrap_or_else(|e| panic!("no test database: {e}"));
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(Duration::from_secs(30))
            .test_before_acquire(false)
            .connect(&database.url)
            .await
            .expect("the new database takes connections");
        let seal = Seal::from_base64(KEY).expect("the key has 32 bytes");
        Self { store: Store::from_pool(pool, seal), url: database.url, name: database.name }
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        server::remove(&self.name);
    }
}

/// Where the shared server lies. Not in the target directory: run by root, the server is another
/// user's, and must reach it.
pub fn place() -> Place {
    let uid = rustix::process::geteuid().as_raw();
    Place { root: PathBuf::from(format!("/var/tmp/fanfare-test-{uid}")), home: None, durable: false }
}
