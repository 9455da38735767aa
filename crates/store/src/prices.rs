//! What messages cost at an account.

use fanfare_domain::price::Prices;
use sqlx::PgConnection;

use crate::Result;
use crate::error::ensure_affected;

/// The prices of an account.
///
/// # Errors
/// When the database fails.
pub async fn load(c: &mut PgConnection, workspace_id: i32, account_id: i64) -> Result<Prices> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("-- load\n select country, micro from price where workspace_id = $1 and account_id = $2")
            .bind(workspace_id)
            .bind(account_id)
            .fetch_all(c)
            .await?;
    Ok(Prices(rows.into_iter().collect()))
}

/// Sets the price of a message (of a segment, for SMS) to `country`, or to every other country if that
/// is empty, micro-credits. Runs that are launched keep the prices they were launched with.
///
/// # Errors
/// When the price is negative or the database fails.
pub async fn set(c: &mut PgConnection, workspace_id: i32, account_id: i64, country: &str, micro: i64) -> Result<()> {
    let done = sqlx::query(
        "-- set
         insert into price (workspace_id, account_id, country, micro) values ($1, $2, $3, $4)
         on conflict (workspace_id, account_id, country) do update set micro = excluded.micro",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(country)
    .bind(micro)
    .execute(c)
    .await?;
    ensure_affected("prices::set", done.rows_affected(), 1)
}
