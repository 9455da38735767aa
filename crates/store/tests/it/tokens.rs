//! Fetched tokens: one at a time, and only for the credentials that they came from.

use std::time::Duration;

use fanfare_domain::price::Prices;
use fanfare_store::accounts::{self, Account, Limits, NewAccount};
use fanfare_store::seal::Seal;
use fanfare_store::{Store, tokens, workspaces};
use fanfare_testdb::TestDb;
use serde_json::json;

const WORKSPACE: i32 = 1;

async fn account(store: &Store) -> Account {
    let mut c = store.pool.acquire().await.unwrap();
    assert_eq!(workspaces::ensure(&mut c, "default", store.clock.now()).await.unwrap(), WORKSPACE);
    let new = NewAccount {
        name: "demo",
        kind: "one_confirmed",
        settings: &json!({ "email": "owner@example.com" }),
        secret: Some("password"),
        sender: None,
        idempotent: false,
        looks_up: false,
        correlates: false,
        waits_for_echo: false,
        limits: Limits::default(),
        prices: &Prices::default(),
    };
    accounts::add(store, WORKSPACE, new).await.unwrap();
    accounts::get(&mut c, WORKSPACE, "demo").await.unwrap()
}

/// Locks and opens the token, and lets go of it.
async fn kept(store: &Store, account: &Account) -> Option<String> {
    let mut tx = store.pool.begin().await.unwrap();
    tokens::lock(&mut tx, store, account).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_while_a_token_is_fetched_gets_that_one() {
    let db = TestDb::new().await;
    let store = &db.store;
    let account = account(store).await;
    let mut tx = store.pool.begin().await.unwrap();
    assert_eq!(tokens::lock(&mut tx, store, &account).await.unwrap(), None);
    let (other, theirs) = (store.clone(), account.clone());
    let waiting = tokio::spawn(async move { kept(&other, &theirs).await });
    loop {
        let waits = "select exists (select from pg_locks where not granted)";
        if sqlx::query_scalar::<_, bool>(waits).fetch_one(&store.pool).await.unwrap() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokens::put(&mut tx, store, &account, "jwt").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(waiting.await.unwrap().as_deref(), Some("jwt"));
    let sealed: Vec<u8> = sqlx::query_scalar("select sealed from account_token").fetch_one(&store.pool).await.unwrap();
    assert!(!sealed.windows(3).any(|w| w == b"jwt"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_void_with_other_credentials_or_another_key() {
    let db = TestDb::new().await;
    let store = &db.store;
    let account = account(store).await;
    let mut tx = store.pool.begin().await.unwrap();
    tokens::lock(&mut tx, store, &account).await.unwrap();
    tokens::put(&mut tx, store, &account, "jwt").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(kept(store, &account).await.as_deref(), Some("jwt"));

    let other_key = Seal::from_base64("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap();
    let mut other = store.clone();
    other.seal = other_key;
    assert_eq!(kept(&other, &account).await, None);

    accounts::set_secret(store, WORKSPACE, "demo", Some("other")).await.unwrap();
    let mut c = store.pool.acquire().await.unwrap();
    let changed = accounts::get(&mut c, WORKSPACE, "demo").await.unwrap();
    assert_eq!(kept(store, &changed).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_is_given_up_leaves_nothing() {
    let db = TestDb::new().await;
    let account = account(&db.store).await;
    let mut tx = db.store.pool.begin().await.unwrap();
    tokens::lock(&mut tx, &db.store, &account).await.unwrap();
    tokens::put(&mut tx, &db.store, &account, "jwt").await.unwrap();
    drop(tx);
    assert_eq!(kept(&db.store, &account).await, None);
}
