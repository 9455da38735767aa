//! The token of an account that has to fetch it: one for the fleet, kept in the database.

use std::fmt;

use fanfare_domain::limits::LOGINS_MAX;
use fanfare_domain::outcome::{Failure, FailureKind};
use fanfare_providers::tokens::{Fetch, Tokens};
use fanfare_store::accounts::Account;
use fanfare_store::{Store, tokens};
use tokio::sync::{Mutex, Semaphore};

/// Keeps the token of one account. This process remembers it, and asks the database when it has none or
/// the provider has refused it: another process may have fetched the next one already.
pub struct FleetTokens {
    store: Store,
    account: Account,
    known: Mutex<Option<String>>,
}

impl fmt::Debug for FleetTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FleetTokens({})", self.account.account_id)
    }
}

impl FleetTokens {
    /// Of this account.
    pub fn new(store: Store, account: Account) -> Self {
        Self { store, account, known: Mutex::default() }
    }

    /// The token of the fleet, fetched under the lock of its row if there is none but the stale one.
    async fn of_fleet(&self, stale: Option<&str>, fetch: Fetch<'_>) -> Result<String, Failure> {
        // These connections may not be all that there are: beats, looks and flushes need some. The places are
        // other ones than those of files, whose handing over may need a token.
        static PLACES: Semaphore = Semaphore::const_new(LOGINS_MAX);
        let _place = PLACES.acquire().await.expect("nobody closes it");
        let locked = async {
            let mut tx = self.store.pool.begin().await?;
            let kept = tokens::lock(&mut tx, &self.store, &self.account).await?;
            Ok((tx, kept))
        };
        let (mut tx, kept) = locked.await.map_err(|error: fanfare_store::Error| {
            tracing::warn!(account_id = self.account.account_id, ?error, "the account's token cannot be read");
            Failure::new(FailureKind::Unreachable, "token not read")
        })?;
        if let Some(token) = kept.filter(|token| Some(token.as_str()) != stale) {
            return Ok(token);
        }
        let token = fetch.await?;
        let written = async {
            tokens::put(&mut tx, &self.store, &self.account, &token).await?;
            tx.commit().await.map_err(fanfare_store::Error::from)
        };
        // Unwritten it is still good: the others fetch their own.
        if let Err(error) = written.await {
            tracing::warn!(account_id = self.account.account_id, ?error, "the account's token cannot be kept");
        }
        tracing::info!(account_id = self.account.account_id, "token fetched");
        Ok(token)
    }
}

impl Tokens for FleetTokens {
    fn token<'a>(&'a self, stale: Option<&'a str>, fetch: Fetch<'a>) -> Fetch<'a> {
        Box::pin(async move {
            let mut known = self.known.lock().await;
            match known.as_ref().filter(|token| Some(token.as_str()) != stale) {
                Some(token) => Ok(token.clone()),
                None => Ok(known.insert(self.of_fleet(stale, fetch).await?).clone()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use fanfare_testdb::TestDb;
    use futures::future::join_all;

    use super::*;
    use crate::many::{Counted, accounts};

    /// The accounts of a campaign log in at once when it begins.
    #[tokio::test(flavor = "multi_thread")]
    async fn logins_leave_connections_for_the_rest() {
        let (db, logins) = (TestDb::new().await, Counted::new().await);
        let accounts = accounts(&db.store, "one_confirmed").await;
        let all: Vec<FleetTokens> = accounts.into_iter().map(|a| FleetTokens::new(db.store.clone(), a)).collect();
        let login = async || {
            logins.call().await;
            Ok("token".to_owned())
        };
        let of_fleet = all.iter().map(|tokens| tokens.of_fleet(None, Box::pin(login())));
        assert!(join_all(of_fleet).await.into_iter().all(|token| token.unwrap() == "token"));
        assert!(logins.most() <= LOGINS_MAX, "{} at once", logins.most());
    }
}
