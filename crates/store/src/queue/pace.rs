//! How an account slows down, stops for a while, and recovers.

use std::time::Duration;

use sqlx::PgConnection;

use crate::Result;

/// The provider said "too fast": no slot for `wait`, two thirds of the rate from then on if it is to
/// `slow` down (to a 200th at the least), and every slot held in the fleet is dropped. Answers to sends
/// of one epoch count once, however many there are: `epoch` is the lease's, and an older one does
/// nothing.
///
/// # Errors
/// When the database fails.
pub async fn throttle(
    c: &mut PgConnection,
    workspace_id: i32,
    account_id: i64,
    run_id: i64,
    epoch: i32,
    (wait, slow): (Duration, bool),
) -> Result<bool> {
    let done = sqlx::query(
        "-- throttle
         with t as (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as now_us)
         update account_pace p set
           epoch = p.epoch + 1,
           slow_permille = case when $6 then least(200000, p.slow_permille * 3 / 2) else p.slow_permille end,
           slowed_us = case when $6 then t.now_us else p.slowed_us end,
           next_us = greatest(p.next_us, t.now_us + $5)
         from t, flow f
         where p.workspace_id = $1 and p.account_id = $2
           and f.workspace_id = $1 and f.account_id = $2 and f.run_id = $3 and p.epoch + f.epoch = $4",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(run_id)
    .bind(epoch)
    .bind(wait.as_micros() as i64)
    .bind(slow)
    .execute(c)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The account is down: no slot for a while that doubles with each failed probe (1 s to 60 s), and
/// every held slot is dropped. As with [`throttle`], one epoch opens the circuit once.
///
/// # Errors
/// When the database fails.
pub async fn circuit_open(
    c: &mut PgConnection,
    workspace_id: i32,
    account_id: i64,
    run_id: i64,
    epoch: i32,
) -> Result<bool> {
    let done = sqlx::query(
        "-- circuit_open
         update account_pace p set
           epoch = p.epoch + 1, failures = least(p.failures + 1, 7),
           closed_until_us = (extract(epoch from clock_timestamp()) * 1000000)::bigint
             + least(60000000, 1000000 * (1 << least(p.failures, 6)))
         from flow f
         where p.workspace_id = $1 and p.account_id = $2
           and f.workspace_id = $1 and f.account_id = $2 and f.run_id = $3 and p.epoch + f.epoch = $4",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(run_id)
    .bind(epoch)
    .execute(c)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The account answered again: the circuit closes and full claims go on.
///
/// # Errors
/// When the database fails.
pub async fn circuit_close(c: &mut PgConnection, workspace_id: i32, account_id: i64) -> Result<()> {
    sqlx::query(
        "-- circuit_close
         update account_pace set failures = 0, closed_until_us = 0
         where workspace_id = $1 and account_id = $2 and failures > 0",
    )
    .bind(workspace_id)
    .bind(account_id)
    .execute(c)
    .await?;
    Ok(())
}
