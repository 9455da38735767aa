//! `run_tx` runs again what lost a conflict, and nothing else.

use fanfare_store::tx::run_tx;
use fanfare_store::{Error, Store};
use fanfare_testdb::TestDb;

/// Runs a transaction that makes a workspace and then fails with `code` the first `failures` times;
/// returns how often it ran and whether it was committed.
async fn run(store: &Store, code: &'static str, failures: u32) -> (u32, Result<(), Error>, i64) {
    let mut tries = 0;
    let result = run_tx(&store.pool, "test", async |c| {
        tries += 1;
        sqlx::query("insert into workspace values (1, 'x', now())").execute(&mut *c).await?;
        if tries <= failures {
            let sql = format!("do $$ begin raise exception using errcode = '{code}'; end $$");
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *c).await?;
        }
        Ok(())
    })
    .await;
    let rows = sqlx::query_scalar("select count(*) from workspace").fetch_one(&store.pool).await.expect("counted");
    (tries, result, rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_conflict_is_run_again_from_the_start() {
    for code in ["40001", "40P01"] {
        let db = TestDb::new().await;
        let (tries, result, rows) = run(&db.store, code, 2).await;
        assert!(result.is_ok(), "{code}");
        assert_eq!((tries, rows), (3, 1), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gives_up_after_a_few_times_and_leaves_nothing() {
    let db = TestDb::new().await;
    let (tries, result, rows) = run(&db.store, "40001", u32::MAX).await;
    assert!(result.is_err_and(|e| e.is_transient()));
    assert_eq!((tries, rows), (5, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_failure_is_not_run_again() {
    for code in ["23505", "57P01"] {
        let db = TestDb::new().await;
        let (tries, result, rows) = run(&db.store, code, 1).await;
        assert!(result.is_err(), "{code}");
        assert_eq!((tries, rows), (1, 0), "{code}");
    }
}
