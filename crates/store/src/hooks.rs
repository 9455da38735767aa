//! Hooks: the addresses that providers post to, one for each account that takes posts.

use fanfare_domain::receipt::Words;
use sha2::{Digest as _, Sha256};
use sqlx::{FromRow, PgConnection};

use crate::error::ensure_affected;
use crate::{Result, Store, accounts, opt_words};

/// An account that takes posts.
#[derive(Clone, FromRow)]
pub struct Hook {
    /// Tenant.
    pub workspace_id: i32,
    /// The account.
    pub account_id: i64,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// By which its recipients opt out, or come back.
    #[sqlx(skip)]
    pub words: Words,
    hook_sha256: Vec<u8>,
    hook_key: Option<Vec<u8>>,
    secret: Option<Vec<u8>>,
}

impl Hook {
    /// Whether this is the secret in the account's address. Takes the same time for each wrong one.
    pub fn is_secret(&self, secret: &str) -> bool {
        // Of hashes; what their comparison tells says nothing of the secret.
        Sha256::digest(secret.as_bytes()).as_slice() == self.hook_sha256
    }

    /// What the provider signs with: the hook's own key, and the account's secret.
    ///
    /// # Errors
    /// [`crate::Error::Key`] when one was sealed under another key.
    pub fn keys(&self, store: &Store) -> Result<(Option<String>, Option<String>)> {
        let owner = accounts::owner(self.workspace_id, &self.name);
        let open = |sealed: &Option<Vec<u8>>| sealed.as_ref().map(|s| store.seal.open(s, &owner)).transpose();
        Ok((open(&self.hook_key)?, open(&self.secret)?))
    }
}

/// The account of this id, if it takes posts.
///
/// # Errors
/// When the database fails.
pub async fn find(c: &mut PgConnection, account_id: i64) -> Result<Option<Hook>> {
    let hook: Option<Hook> = sqlx::query_as(
        "-- find
         select workspace_id, account_id, name, kind, hook_sha256, hook_key, secret from account
         where account_id = $1 and hook_sha256 is not null",
    )
    .bind(account_id)
    .fetch_optional(&mut *c)
    .await?;
    Ok(match hook {
        Some(hook) => Some(Hook { words: opt_words::load(c, hook.workspace_id).await?, ..hook }),
        None => None,
    })
}

/// How an account's hook is opened.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    /// Where the server is reached from outside.
    pub public_url: &'a str,
    /// What the provider signs with; else the old one stays.
    pub key: Option<&'a str>,
    /// Whether each message has to name the address, which is then kept, sealed.
    pub named: bool,
}

/// An open hook.
#[derive(Clone)]
pub struct Address {
    /// Where the provider is to post. It holds the secret.
    pub url: String,
    /// The secret alone.
    pub secret: String,
}

/// Lets an account take posts at an address with a new secret, which is given and, unless messages have to
/// name it, kept nowhere; the old address is deaf from then on.
///
/// # Errors
/// [`crate::Error::NotFound`]; else when the database fails.
pub async fn open(store: &Store, workspace_id: i32, name: &str, opening: Opening<'_>) -> Result<Address> {
    let mut c = store.pool.acquire().await?;
    let account = accounts::get(&mut c, workspace_id, name).await?;
    let secret: String = (0..2).map(|_| format!("{:016x}", store.rng.below(u64::MAX))).collect();
    let url = format!("{}/hooks/{}/{secret}", opening.public_url.trim_end_matches('/'), account.account_id);
    let seal = |text: &str| store.seal.seal(text, &accounts::owner(workspace_id, name), &store.rng);
    let done = sqlx::query(
        "-- open
         update account set hook_sha256 = $3, hook_key = coalesce($4, hook_key), hook_url = $5
         where workspace_id = $1 and account_id = $2",
    )
    .bind(workspace_id)
    .bind(account.account_id)
    .bind(Sha256::digest(secret.as_bytes()).as_slice())
    .bind(opening.key.map(seal))
    .bind(opening.named.then(|| seal(&url)))
    .execute(&mut *c)
    .await?;
    ensure_affected("open", done.rows_affected(), 1)?;
    Ok(Address { url, secret })
}
