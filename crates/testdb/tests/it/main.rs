//! Test databases are separate, and they go.

use fanfare_testdb::TestDb;
use sqlx::{Connection as _, PgConnection};

#[tokio::test(flavor = "multi_thread")]
async fn each_test_has_a_migrated_database_of_its_own() {
    let (one, two) = tokio::join!(TestDb::new(), TestDb::new());
    for db in [&one, &two] {
        let found: i64 =
            sqlx::query_scalar("select count(*) from workspace").fetch_one(&db.store.pool).await.expect("migrated");
        assert_eq!(found, 0);
        sqlx::query("insert into workspace values (1, 'x', now())").execute(&db.store.pool).await.expect("of its own");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_goes_with_its_value() {
    let db = TestDb::new().await;
    let url = db.url.clone();
    PgConnection::connect(&url).await.expect("it is there").close().await.expect("closed");
    drop(db);
    assert!(PgConnection::connect(&url).await.is_err());
}
