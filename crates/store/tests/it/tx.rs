//! `run_tx` runs again what lost a conflict, and nothing else.

use std::sync::Arc;

use fanfare_store::tx::run_tx;
use fanfare_store::{Error, Store};
use fanfare_testdb::TestDb;
use tokio::sync::Barrier;

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

#[tokio::test(flavor = "multi_thread")]
async fn of_a_deadlock_both_sides_come_through() {
    let db = TestDb::new().await;
    sqlx::query("insert into workspace select i, i::text, now() from generate_series(1, 2) i")
        .execute(&db.store.pool)
        .await
        .expect("inserted");
    let both_hold_one = Arc::new(Barrier::new(2));
    let sides = [[1, 2], [2, 1]].map(|order| {
        let (pool, barrier) = (db.store.pool.clone(), both_hold_one.clone());
        tokio::spawn(async move {
            let mut tries = 0;
            run_tx(&pool, "side", async |c| {
                tries += 1;
                for (i, id) in order.into_iter().enumerate() {
                    sqlx::query("update workspace set name = name || 'x' where workspace_id = $1")
                        .bind(id)
                        .execute(&mut *c)
                        .await?;
                    if i == 0 && tries == 1 {
                        barrier.wait().await;
                    }
                }
                Ok(tries)
            })
            .await
        })
    });
    let mut tries = Vec::new();
    for side in sides {
        tries.push(side.await.expect("no panic").expect("committed"));
    }
    tries.sort_unstable();
    assert_eq!(tries, [1, 2]);
    let names: Vec<String> =
        sqlx::query_scalar("select name from workspace order by 1").fetch_all(&db.store.pool).await.expect("read");
    assert_eq!(names, ["1xx", "2xx"]);
}
