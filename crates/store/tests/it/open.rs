//! Opening a database that somebody else runs.

use std::path::PathBuf;

use fanfare_store::open::Config;
use fanfare_store::{Error, Store};
use fanfare_testdb::{KEY, TestDb};

fn config(url: &str) -> Config {
    Config {
        database_url: Some(url.to_owned()),
        home: PathBuf::from("/nowhere"),
        key: Some(KEY.to_owned()),
        max_connections: 2,
        ..Config::default()
    }
}

async fn refused(url: &str) -> Error {
    Store::open(config(url)).await.err().expect("it is refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_up_to_date_database_opens() {
    let db = TestDb::new().await;
    let store = Store::open(config(&db.url)).await.expect("opened");
    let name: String = sqlx::query_scalar("select current_setting('application_name')")
        .fetch_one(&store.pool)
        .await
        .expect("it answers");
    assert_eq!(name, "fanfare");
    store.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_is_migrated_once_by_many_at_a_time() {
    let db = TestDb::new().await;
    sqlx::query("drop schema public cascade").execute(&db.store.pool).await.expect("emptied");
    sqlx::query("create schema public").execute(&db.store.pool).await.expect("emptied");
    let opened = tokio::join!(Store::open(config(&db.url)), Store::open(config(&db.url)), Store::open(config(&db.url)));
    for store in [opened.0, opened.1, opened.2] {
        let store = store.expect("migrated");
        let workspaces: i64 =
            sqlx::query_scalar("select count(*) from workspace").fetch_one(&store.pool).await.expect("it is there");
        assert_eq!(workspaces, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_program_refuses_a_newer_schema() {
    let db = TestDb::new().await;
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (9999, 'from the future', true, '', 0)",
    )
    .execute(&db.store.pool)
    .await
    .expect("inserted");
    let e = refused(&db.url).await;
    assert!(matches!(e, Error::NewerSchema { found: 9999, .. }), "{e}");
    assert!(e.to_string().contains("install the newer fanfare"), "{e}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_another_line_is_refused() {
    let db = TestDb::new().await;
    sqlx::query("update _sqlx_migrations set checksum = '' where version = 2")
        .execute(&db.store.pool)
        .await
        .expect("updated");
    let e = refused(&db.url).await;
    assert!(matches!(e, Error::ForeignSchema { version: 2 }), "{e}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_database_is_named_without_its_password() {
    for url in ["postgres://me:hidden@127.0.0.1:1/db", "postgres://me:hidden@host.invalid/db"] {
        let e = refused(url).await;
        assert!(matches!(e, Error::Unreachable { .. }), "{e}");
        assert!(e.to_string().contains("postgres://me@") && !format!("{e:?}").contains("hidden"), "{e:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_address_says_what_was_expected() {
    let e = refused("localhost:5432").await;
    assert!(e.to_string().contains("expected postgres://user:password@host:5432/database"), "{e}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_said_before_anything_is_opened() {
    let config = Config { key: Some("short".into()), ..config("postgres://me@127.0.0.1:1/db") };
    let e = Store::open(config).await.err().expect("it is refused");
    assert!(matches!(e, Error::Key(_)), "{e}");
}
