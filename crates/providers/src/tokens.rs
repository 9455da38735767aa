//! Tokens that have to be fetched: one for the whole fleet, since a login may end the sessions before it.

use std::fmt;
use std::pin::Pin;

use fanfare_domain::outcome::Failure;
use tokio::sync::Mutex;

/// A token being fetched from its provider, or the current one being looked for.
pub type Fetch<'a> = Pin<Box<dyn Future<Output = Result<String, Failure>> + Send + 'a>>;

/// Keeps the token of one account.
pub trait Tokens: fmt::Debug + Send + Sync {
    /// The account's token. If there is none yet, or it is the `stale` one, which the provider has
    /// refused, `fetch` is run for another: by one caller at a time, while the others wait for what it
    /// brings. The failure is that of `fetch`, or says that the keeper cannot be asked.
    fn token<'a>(&'a self, stale: Option<&'a str>, fetch: Fetch<'a>) -> Fetch<'a>;
}

/// Keeps a token in this process.
#[derive(Default)]
pub(crate) struct InProcess(Mutex<Option<String>>);

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InProcess")
    }
}

impl Tokens for InProcess {
    fn token<'a>(&'a self, stale: Option<&'a str>, fetch: Fetch<'a>) -> Fetch<'a> {
        Box::pin(async move {
            let mut kept = self.0.lock().await;
            match kept.as_ref().filter(|token| Some(token.as_str()) != stale) {
                Some(token) => Ok(token.clone()),
                None => Ok(kept.insert(fetch.await?).clone()),
            }
        })
    }
}
