//! Accounts: credentials at providers, and their limits.

use chrono::{DateTime, Utc};
use fanfare_domain::cap::Cap;
use fanfare_domain::pace::{Pace, WarmUp};
use fanfare_domain::price::Prices;
use sha2::{Digest as _, Sha256};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use crate::error::ensure_affected;
use crate::nearest::nearest;
use crate::seal::Seal;
use crate::{Error, Result, Store, prices};

/// An account to be added.
#[derive(Debug, Clone, Copy)]
pub struct NewAccount<'a> {
    /// What `--account` will name.
    pub name: &'a str,
    /// Which provider module speaks for it.
    pub kind: &'a str,
    /// What that kind needs to know; no secrets.
    pub settings: &'a serde_json::Value,
    /// The provider's token.
    pub secret: Option<&'a str>,
    /// The address it sends from.
    pub sender: Option<&'a str>,
    /// Whether the provider accepts a message once only per idempotency key.
    pub idempotent: bool,
    /// Whether a message in doubt is looked up at the provider.
    pub looks_up: bool,
    /// Whether its receipts are found by the provider's ids.
    pub correlates: bool,
    /// Whether a message in doubt waits for its receipt before it is sent again.
    pub waits_for_echo: bool,
    /// Its limits.
    pub limits: Limits<'a>,
    /// What its messages cost.
    pub prices: &'a Prices,
}

/// The limits of an account, as given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits<'a> {
    /// Sends by time.
    pub caps: &'a [Cap],
    /// Most different recipients in any 24 hours.
    pub recipients_per_day: Option<i64>,
    /// The ramp of a new sender.
    pub warm_up: Option<WarmUp>,
}

impl Limits<'_> {
    /// What they come to.
    fn pace(&self) -> Pace {
        let recipient_cap = self.recipients_per_day.unwrap_or(0);
        Pace { recipient_cap, warm_up: self.warm_up, ..Pace::of(self.caps) }
    }
}

/// An account. Its secret stays sealed: see [`secret`].
#[derive(Clone, FromRow)]
pub struct Account {
    /// Tenant.
    pub workspace_id: i32,
    /// Its id.
    pub account_id: i64,
    /// What `--account` names.
    pub name: String,
    /// Which provider module speaks for it.
    pub kind: String,
    /// What that kind needs to know.
    pub settings: serde_json::Value,
    /// The sealed token.
    secret: Option<Vec<u8>>,
    /// The address it sends from.
    pub sender: Option<String>,
    /// Whether the provider accepts a message once only per idempotency key.
    pub idempotent: bool,
    /// Whether a message in doubt is looked up at the provider.
    pub looks_up: bool,
    /// Whether its receipts are found by the provider's ids.
    pub correlates: bool,
    /// Whether a message in doubt waits for its receipt before it is sent again.
    pub waits_for_echo: bool,
    /// The sealed address of its hook.
    hook_url: Option<Vec<u8>>,
    /// Its limits as given.
    #[sqlx(json)]
    pub caps: Vec<Cap>,
    /// Most different recipients in any 24 hours.
    pub recipients_per_day: Option<i64>,
    /// The ramp of a new sender.
    #[sqlx(json(nullable))]
    pub warm_up: Option<WarmUp>,
    /// Why it sends nothing; `None` while it may send.
    pub stopped_reason: Option<String>,
    /// When it was added.
    pub created_at: DateTime<Utc>,
}

impl Account {
    /// Its limits.
    pub fn limits(&self) -> Limits<'_> {
        Limits { caps: &self.caps, recipients_per_day: self.recipients_per_day, warm_up: self.warm_up }
    }

    /// What its limits come to.
    pub fn pace(&self) -> Pace {
        self.limits().pace()
    }

    /// Whether a provider would see no difference between this account and `other`.
    pub fn speaks_as(&self, other: &Self) -> bool {
        (&self.kind, &self.settings, &self.secret, &self.sender, &self.hook_url)
            == (&other.kind, &other.settings, &other.secret, &other.sender, &other.hook_url)
    }
}

impl Account {
    /// What its provider knows it by, as a hash: with another one a fetched token is void.
    pub(crate) fn credentials(&self) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(self.kind.as_bytes());
        hash.update([0]);
        hash.update(self.settings.to_string());
        hash.update([0]);
        hash.update(self.secret.as_deref().unwrap_or_default());
        hash.finalize().into()
    }

    /// Whether it has a token.
    pub fn has_secret(&self) -> bool {
        self.secret.is_some()
    }
}

/// Adds an account with its pace and prices, and says its id.
///
/// # Errors
/// [`Error::Conflict`] when the name is taken; else when the database fails. Nothing is added then.
pub async fn add(store: &Store, workspace_id: i32, new: NewAccount<'_>) -> Result<i64> {
    let account_id = store.ids.next();
    let sealed = new.secret.map(|s| store.seal.seal(s, &owner(workspace_id, new.name), &store.rng));
    let mut tx = store.pool.begin().await?;
    let done = sqlx::query(
        "-- add
         insert into account (workspace_id, account_id, name, kind, settings, secret, sender, idempotent, caps, created_at, looks_up, correlates, recipients_per_day, warm_up, waits_for_echo)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) on conflict (workspace_id, name) do nothing",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(new.name)
    .bind(new.kind)
    .bind(new.settings)
    .bind(sealed)
    .bind(new.sender)
    .bind(new.idempotent)
    .bind(Json(new.limits.caps))
    .bind(store.clock.now())
    .bind(new.looks_up)
    .bind(new.correlates)
    .bind(new.limits.recipients_per_day)
    .bind(new.limits.warm_up.map(Json))
    .bind(new.waits_for_echo)
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        let name = new.name;
        return Err(Error::Conflict(format!(
            "account {name:?} exists already: choose another name, or change it with fanfare account set {name}"
        )));
    }
    sqlx::query("-- add: pace\n insert into account_pace (workspace_id, account_id) values ($1, $2)")
        .bind(workspace_id)
        .bind(account_id)
        .execute(&mut *tx)
        .await?;
    set_pace(&mut tx, workspace_id, account_id, new.limits.pace()).await?;
    for (country, micro) in &new.prices.0 {
        prices::set(&mut tx, workspace_id, account_id, country, *micro).await?;
    }
    tx.commit().await?;
    tracing::info!(workspace_id, account_id, "account added");
    Ok(account_id)
}

/// The account called `name`.
///
/// # Errors
/// [`Error::NotFound`] with the nearest names; else when the database fails.
pub async fn get(c: &mut PgConnection, workspace_id: i32, name: &str) -> Result<Account> {
    let found: Option<Account> = sqlx::query_as("-- get\n select * from account where workspace_id = $1 and name = $2")
        .bind(workspace_id)
        .bind(name)
        .fetch_optional(&mut *c)
        .await?;
    match found {
        Some(account) => Ok(account),
        None => {
            let names = list(c, workspace_id).await?.into_iter().map(|a| a.name);
            Err(Error::NotFound { what: "account", name: name.to_owned(), near: nearest(name, names) })
        }
    }
}

/// The account of this id.
///
/// # Errors
/// When it does not exist or the database fails.
pub async fn by_id(c: &mut PgConnection, workspace_id: i32, account_id: i64) -> Result<Account> {
    let row = sqlx::query_as("-- by_id\n select * from account where workspace_id = $1 and account_id = $2")
        .bind(workspace_id)
        .bind(account_id)
        .fetch_one(c)
        .await?;
    Ok(row)
}

/// All accounts, by name.
///
/// # Errors
/// When the database fails.
pub async fn list(c: &mut PgConnection, workspace_id: i32) -> Result<Vec<Account>> {
    let rows = sqlx::query_as("-- list\n select * from account where workspace_id = $1 order by name")
        .bind(workspace_id)
        .fetch_all(c)
        .await?;
    Ok(rows)
}

/// The account's token, opened.
///
/// # Errors
/// [`Error::Key`] when it was sealed under another key.
pub fn secret(account: &Account, seal: &Seal) -> Result<Option<String>> {
    let owner = owner(account.workspace_id, &account.name);
    account.secret.as_ref().map(|sealed| seal.open(sealed, &owner)).transpose()
}

/// The address of the account's hook, opened, where its messages have to name it.
///
/// # Errors
/// [`Error::Key`] when it was sealed under another key.
pub fn hook_url(account: &Account, seal: &Seal) -> Result<Option<String>> {
    let owner = owner(account.workspace_id, &account.name);
    account.hook_url.as_ref().map(|sealed| seal.open(sealed, &owner)).transpose()
}

/// Replaces the account's token; `None` removes it.
///
/// # Errors
/// [`Error::NotFound`]; else when the database fails.
pub async fn set_secret(store: &Store, workspace_id: i32, name: &str, secret: Option<&str>) -> Result<()> {
    let mut c = store.pool.acquire().await?;
    let account = get(&mut c, workspace_id, name).await?;
    let sealed = secret.map(|s| store.seal.seal(s, &owner(workspace_id, name), &store.rng));
    let done =
        sqlx::query("-- set_secret\n update account set secret = $3 where workspace_id = $1 and account_id = $2")
            .bind(workspace_id)
            .bind(account.account_id)
            .bind(sealed)
            .execute(&mut *c)
            .await?;
    ensure_affected("set_secret", done.rows_affected(), 1)
}

/// Replaces the account's limits. Slots that the fleet holds are dropped and taken anew at the new pace; a
/// ramp that was begun goes on from where it began.
///
/// # Errors
/// [`Error::NotFound`]; else when the database fails. Nothing is changed then.
pub async fn set_limits(store: &Store, workspace_id: i32, name: &str, limits: Limits<'_>) -> Result<()> {
    let mut tx = store.pool.begin().await?;
    let account_id = get(&mut tx, workspace_id, name).await?.account_id;
    let pace = limits.pace();
    set_pace(&mut tx, workspace_id, account_id, pace).await?;
    let done = sqlx::query(
        "-- set_limits
         with changed as (
           update account set caps = $3, recipients_per_day = $4, warm_up = $5
           where workspace_id = $1 and account_id = $2 returning account_id
         )
         update account_pace p set epoch = p.epoch + 1
         from changed a where p.workspace_id = $1 and p.account_id = a.account_id",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(Json(limits.caps))
    .bind(limits.recipients_per_day)
    .bind(limits.warm_up.map(Json))
    .execute(&mut *tx)
    .await?;
    ensure_affected("set_limits", done.rows_affected(), 1)?;
    tx.commit().await?;
    tracing::info!(workspace_id, account_id, period_us = pace.period_us, day_cap = pace.day_cap, "limits changed");
    Ok(())
}

async fn set_pace(c: &mut PgConnection, workspace_id: i32, account_id: i64, pace: Pace) -> Result<()> {
    let done = sqlx::query(
        "-- set_pace
         update account_pace set period_us = $3, window_us = $4, day_cap = $5, lateness_us = $6, recipient_cap = $7,
           warm_first = $8, warm_permille = $9, warm_from_us = case when $8 > 0 then warm_from_us else 0 end
         where workspace_id = $1 and account_id = $2",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(pace.period_us)
    .bind(pace.window_us)
    .bind(pace.day_cap)
    .bind(pace.lateness_us)
    .bind(pace.recipient_cap)
    .bind(pace.warm_up.map_or(0, |w| w.first))
    .bind(pace.warm_up.map_or(1000, |w| w.growth_permille))
    .execute(c)
    .await?;
    ensure_affected("set_pace", done.rows_affected(), 1)
}

/// Sets a price of the account: see [`prices::set`].
///
/// # Errors
/// [`Error::NotFound`]; else when the price is negative or the database fails.
pub async fn set_price(c: &mut PgConnection, workspace_id: i32, name: &str, country: &str, micro: i64) -> Result<()> {
    let account = get(c, workspace_id, name).await?;
    prices::set(c, workspace_id, account.account_id, country, micro).await
}

/// Lets a stopped account send again; says whether it was stopped.
///
/// # Errors
/// [`Error::NotFound`]; else when the database fails.
pub async fn resume(c: &mut PgConnection, workspace_id: i32, name: &str) -> Result<bool> {
    let account = get(c, workspace_id, name).await?;
    let done = sqlx::query(
        "-- resume
         update account set stopped_reason = null where workspace_id = $1 and account_id = $2 and stopped_reason is not null",
    )
    .bind(workspace_id)
    .bind(account.account_id)
    .execute(c)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Stops the account: nothing is claimed from it any more, and the fleet drops the slots it holds. The
/// first reason stays until a person resumes it.
///
/// # Errors
/// When it does not exist or the database fails.
pub async fn stop(c: &mut PgConnection, workspace_id: i32, account_id: i64, reason: &str) -> Result<()> {
    let done = sqlx::query(
        "-- stop
         with stopped as (
           update account set stopped_reason = coalesce(stopped_reason, $3)
           where workspace_id = $1 and account_id = $2 returning account_id
         )
         update account_pace p set epoch = p.epoch + 1
         from stopped s where p.workspace_id = $1 and p.account_id = s.account_id",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(reason)
    .execute(c)
    .await?;
    ensure_affected("stop", done.rows_affected(), 1)
}

/// A token as it is stored, of whatever workspace.
#[derive(FromRow)]
pub(crate) struct Sealed {
    workspace_id: i32,
    account_id: i64,
    /// Name of the workspace.
    pub workspace: String,
    /// Name of the account.
    pub account: String,
    secret: Option<Vec<u8>>,
    hook_key: Option<Vec<u8>>,
    hook_url: Option<Vec<u8>>,
}

impl Sealed {
    /// Whether it was sealed under this key.
    pub fn opens(&self, seal: &Seal) -> bool {
        let owner = owner(self.workspace_id, &self.account);
        [&self.secret, &self.hook_key, &self.hook_url]
            .into_iter()
            .flatten()
            .all(|sealed| seal.open(sealed, &owner).is_ok())
    }
}

/// The tokens of all workspaces.
pub(crate) async fn sealed(c: &mut PgConnection) -> Result<Vec<Sealed>> {
    let rows = sqlx::query_as(
        "-- sealed
         select a.workspace_id, a.account_id, w.name as workspace, a.name as account, a.secret, a.hook_key, a.hook_url
         from account a join workspace w on w.workspace_id = a.workspace_id
         where num_nonnulls(a.secret, a.hook_key, a.hook_url) > 0 order by a.workspace_id, a.name",
    )
    .fetch_all(c)
    .await?;
    Ok(rows)
}

/// Removes a token that no key opens any more, and stops its account until it has a new one.
pub(crate) async fn forget_secret(c: &mut PgConnection, lost: &Sealed) -> Result<()> {
    let done = sqlx::query(
        "-- forget_secret
         with stopped as (
           update account set secret = null, hook_key = null, hook_url = null, stopped_reason = 'set the secret anew'
           where workspace_id = $1 and account_id = $2 returning account_id
         )
         update account_pace p set epoch = p.epoch + 1
         from stopped s where p.workspace_id = $1 and p.account_id = s.account_id",
    )
    .bind(lost.workspace_id)
    .bind(lost.account_id)
    .execute(c)
    .await?;
    ensure_affected("forget_secret", done.rows_affected(), 1)
}

/// Whom a sealed token belongs to: it opens for no other account.
pub(crate) fn owner(workspace_id: i32, name: &str) -> String {
    format!("account {name} of workspace {workspace_id}")
}
