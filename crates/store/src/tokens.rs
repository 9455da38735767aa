//! Tokens that accounts fetch from their providers: one for the fleet.

use sqlx::PgConnection;

use crate::accounts::Account;
use crate::error::ensure_affected;
use crate::{Result, Store};

/// Locks the account's token until the transaction ends, waiting for whoever has it, and opens it.
/// `None` if there is none, or none that was fetched with these credentials and is sealed under this key.
///
/// # Errors
/// When the database fails.
pub async fn lock(c: &mut PgConnection, store: &Store, account: &Account) -> Result<Option<String>> {
    let credentials = account.credentials();
    sqlx::query(
        "-- lock: row
         insert into account_token (workspace_id, account_id, credentials) values ($1, $2, $3)
         on conflict (workspace_id, account_id) do nothing",
    )
    .bind(account.workspace_id)
    .bind(account.account_id)
    .bind(credentials.as_slice())
    .execute(&mut *c)
    .await?;
    let (with, sealed): (Vec<u8>, Option<Vec<u8>>) = sqlx::query_as(
        "-- lock
         select credentials, sealed from account_token where workspace_id = $1 and account_id = $2 for update",
    )
    .bind(account.workspace_id)
    .bind(account.account_id)
    .fetch_one(c)
    .await?;
    let sealed = sealed.filter(|_| with == credentials);
    // What another key has sealed can be fetched anew.
    Ok(sealed.and_then(|sealed| store.seal.open(&sealed, &owner(account)).ok()))
}

/// Replaces the account's token, which the transaction has locked.
///
/// # Errors
/// When it is not there or the database fails.
pub async fn put(c: &mut PgConnection, store: &Store, account: &Account, token: &str) -> Result<()> {
    let done = sqlx::query(
        "-- put
         update account_token set credentials = $3, sealed = $4, fetched_at = $5
         where workspace_id = $1 and account_id = $2",
    )
    .bind(account.workspace_id)
    .bind(account.account_id)
    .bind(account.credentials().as_slice())
    .bind(store.seal.seal(token, &owner(account), &store.rng))
    .bind(store.clock.now())
    .execute(c)
    .await?;
    ensure_affected("put", done.rows_affected(), 1)
}

/// Whom a sealed token belongs to: it opens for no other account.
fn owner(account: &Account) -> String {
    format!("token of account {} of workspace {}", account.account_id, account.workspace_id)
}
