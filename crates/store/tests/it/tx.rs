//! `run_tx` runs again what lost a conflict, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fanfare_store::tx::run_tx;
use fanfare_store::{Error, Result};
use fanfare_testdb::TestDb;
use sqlx::PgPool;
use tokio::sync::Barrier;

/// Runs a transaction that makes a workspace and then fails with `code` the first `failures` times;
/// returns how often it ran, what came of it, and how many workspaces there are.
async fn run(code: &'static str, failures: u32) -> (u32, Result<()>, i64) {
    let db = TestDb::new().await;
    let tries = AtomicU32::new(0);
    let work = async || {
        let mut tx = db.store.pool.begin().await?;
        sqlx::query("insert into workspace values (1, 'x', now())").execute(&mut *tx).await?;
        if tries.fetch_add(1, Ordering::SeqCst) < failures {
            let sql = format!("do $$ begin raise exception using errcode = '{code}'; end $$");
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    };
    let result = run_tx("test", work).await;
    let rows = sqlx::query_scalar("select count(*) from workspace").fetch_one(&db.store.pool).await.expect("counted");
    (tries.into_inner(), result, rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_conflict_is_run_again_from_the_start() {
    for code in ["40001", "40P01"] {
        let (tries, result, rows) = run(code, 2).await;
        assert!(result.is_ok(), "{code}");
        assert_eq!((tries, rows), (3, 1), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gives_up_after_a_few_times_and_leaves_nothing() {
    let (tries, result, rows) = run("40001", u32::MAX).await;
    assert!(result.is_err_and(|e: Error| e.is_transient()));
    assert_eq!((tries, rows), (5, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_failure_is_not_run_again() {
    for code in ["23505", "57P01"] {
        let (tries, result, rows) = run(code, 1).await;
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
            let tries = AtomicU32::new(0);
            run_tx("side", || mark(&pool, order, &tries, &barrier)).await
        })
    });
    let mut tries = 0;
    for side in sides {
        tries += side.await.expect("no panic").expect("committed");
    }
    assert!(tries > 2, "there was a conflict to lose");
    let names: Vec<String> =
        sqlx::query_scalar("select name from workspace order by 1").fetch_all(&db.store.pool).await.expect("read");
    assert_eq!(names, ["1xx", "2xx"]);
}

/// Marks two rows in this order; the first time, not before the other side holds its first row too.
async fn mark(pool: &PgPool, order: [i32; 2], tries: &AtomicU32, both_hold_one: &Barrier) -> Result<u32> {
    let attempt = tries.fetch_add(1, Ordering::SeqCst) + 1;
    let mut tx = pool.begin().await?;
    for id in order {
        sqlx::query("update workspace set name = name || 'x' where workspace_id = $1")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        if id == order[0] && attempt == 1 {
            both_hold_one.wait().await;
        }
    }
    tx.commit().await?;
    Ok(attempt)
}
