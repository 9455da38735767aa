//! The key and the database that knows it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fanfare_domain::price::Prices;
use fanfare_store::accounts::{self, Limits, NewAccount};
use fanfare_store::hooks::{self, Opening};
use fanfare_store::open::Config;
use fanfare_store::{Error, Store, workspaces};
use fanfare_testdb::TestDb;
use tempfile::TempDir;

/// An installation that keeps its key in a file.
fn config(db: &TestDb, home: &Path) -> Config {
    Config { database_url: Some(db.url.clone()), home: home.to_owned(), max_connections: 2, ..Config::default() }
}

/// A database that has not seen a key yet.
async fn fresh() -> (TestDb, TempDir) {
    let db = TestDb::new().await;
    sqlx::query("delete from seal_canary").execute(&db.store.pool).await.unwrap();
    (db, TempDir::new().unwrap())
}

static FREE: Prices = Prices(BTreeMap::new());

fn account(name: &str) -> NewAccount<'_> {
    NewAccount {
        name,
        kind: "http",
        settings: &serde_json::Value::Null,
        secret: Some("s3cret"),
        sender: None,
        idempotent: true,
        looks_up: false,
        correlates: false,
        waits_for_echo: false,
        limits: Limits::default(),
        prices: &FREE,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_programs_of_an_installation_share_one_key() {
    for _ in 0..10 {
        let (db, home) = fresh().await;
        let all = (0..8).map(|_| Store::open(config(&db, home.path())));
        let sealed = "a secret";
        let stores: Vec<Store> = futures::future::join_all(all).await.into_iter().map(Result::unwrap).collect();
        let secret = stores[0].seal.seal(sealed, "owner", &stores[0].rng);
        for store in &stores {
            assert_eq!(store.seal.open(&secret, "owner").unwrap(), sealed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_and_a_missing_one_are_refused_and_nothing_is_made() {
    let (db, home) = fresh().await;
    Store::open(config(&db, home.path())).await.unwrap().close().await.unwrap();
    let refused = async |home: &Path| match Store::open(config(&db, home)).await {
        Err(Error::Key(why)) => why,
        Err(e) => panic!("{e}"),
        Ok(_) => panic!("opened"),
    };
    let key = home.path().join("key");
    let own = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let said = refused(home.path()).await;
    assert!(said.contains("key is missing") && said.contains("restore the file"), "{said}");
    assert!(!key.exists(), "a new key would hide that the old one is gone");

    let (other_db, other) = fresh().await;
    Store::open(config(&other_db, other.path())).await.unwrap().close().await.unwrap();
    fs::copy(other.path().join("key"), &key).unwrap();
    let said = refused(home.path()).await;
    assert!(said.contains("is not the key that this database's secrets are sealed under"), "{said}");

    fs::write(&key, own).unwrap();
    Store::open(config(&db, home.path())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_lost_for_good_costs_the_secrets_and_nothing_else() {
    let (db, home) = fresh().await;
    let store = Store::open(config(&db, home.path())).await.unwrap();
    let mut c = store.pool.acquire().await.unwrap();
    let workspace_id = workspaces::ensure(&mut c, "north", store.clock.now()).await.unwrap();
    accounts::add(&store, workspace_id, account("a")).await.unwrap();
    accounts::add(&store, workspace_id, NewAccount { secret: None, ..account("open") }).await.unwrap();
    let opening = Opening { public_url: "https://fanfare.example.com/", key: None, named: true };
    let hook = hooks::open(&store, workspace_id, "a", opening).await.unwrap();
    let a = accounts::get(&mut c, workspace_id, "a").await.unwrap();
    let kept = accounts::hook_url(&a, &store.seal).unwrap().unwrap();
    assert_eq!(kept, hook.url);
    assert_eq!(kept, format!("https://fanfare.example.com/hooks/{}/{}", a.account_id, hook.secret));
    let sealed: Vec<u8> =
        sqlx::query_scalar("select hook_url from account where hook_url is not null").fetch_one(&mut *c).await.unwrap();
    assert!(!sealed.windows(hook.secret.len()).any(|part| part == hook.secret.as_bytes()));
    drop(c);
    store.close().await.unwrap();

    fs::remove_file(home.path().join("key")).unwrap();
    let forgotten = Store::rekey(config(&db, home.path())).await.unwrap();
    assert_eq!(forgotten.len(), 1);
    assert_eq!((forgotten[0].workspace.as_str(), forgotten[0].account.as_str()), ("north", "a"));
    assert_eq!(Store::rekey(config(&db, home.path())).await.unwrap(), [], "twice the same changes nothing");

    let store = Store::open(config(&db, home.path())).await.unwrap();
    let mut c = store.pool.acquire().await.unwrap();
    let a = accounts::get(&mut c, workspace_id, "a").await.unwrap();
    assert!(!a.has_secret() && a.stopped_reason.is_some(), "{:?}", a.stopped_reason);
    assert_eq!(accounts::hook_url(&a, &store.seal).unwrap(), None);
    let open = accounts::get(&mut c, workspace_id, "open").await.unwrap();
    assert_eq!(open.stopped_reason, None, "it had nothing to lose");
    accounts::set_secret(&store, workspace_id, "a", Some("new")).await.unwrap();
    assert!(accounts::get(&mut c, workspace_id, "a").await.unwrap().has_secret());
}
