//! Suppressions: addresses of a workspace that must not be written to.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};

use crate::pepper::{ERASED, ERASED_END, Pepper};
use crate::{Error, Result};

/// The account of what is suppressed for every one.
pub const EVERYWHERE: i64 = 0;

/// Why an address is suppressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(i16)]
pub enum Reason {
    /// The opt-out column of a file.
    File = 1,
    /// A person added it.
    Person = 2,
    /// The recipient asked for it.
    Recipient = 3,
    /// A list of suppressions said so.
    List = 4,
    /// The contact was erased.
    Erased = 5,
}

impl Reason {
    /// The reason of a stored number.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when there is none.
    pub fn from_i16(n: i16) -> Result<Self> {
        [Self::File, Self::Person, Self::Recipient, Self::List, Self::Erased]
            .into_iter()
            .find(|r| *r as i16 == n)
            .ok_or_else(|| Error::Corrupt(format!("suppression.reason {n}")))
    }
}

/// A suppressed address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suppression {
    /// Phone in E.164 or e-mail in lower case.
    pub address: String,
    /// Name of the account that must not write to it; `None` = nobody may.
    pub account: Option<String>,
    /// Why.
    pub reason: Reason,
    /// Where it came from: file and row, or who.
    pub origin: String,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct Row {
    address: String,
    reason: i16,
    origin: String,
    created_at: DateTime<Utc>,
    account: Option<String>,
}

impl Row {
    fn checked(self) -> Result<Suppression> {
        let Self { address, reason, origin, created_at, account } = self;
        Ok(Suppression { address, account, reason: Reason::from_i16(reason)?, origin, created_at })
    }
}

/// Addresses to be suppressed.
#[derive(Debug, Clone, Copy)]
pub struct New<'a> {
    /// Addresses, each with where it comes from.
    pub addresses: &'a [(String, String)],
    /// Why.
    pub reason: Reason,
    /// Only this account must not write to them; `None` = nobody may.
    pub account_id: Option<i64>,
    /// Since when.
    pub now: DateTime<Utc>,
}

/// Suppresses addresses everywhere, each with its origin, and says how many were not suppressed before.
///
/// # Errors
/// When the database fails.
pub async fn add(
    c: &mut PgConnection,
    workspace_id: i32,
    addresses: &[(String, String)],
    reason: Reason,
    now: DateTime<Utc>,
) -> Result<u64> {
    put(c, workspace_id, New { addresses, reason, account_id: None, now }).await
}

/// Suppresses addresses, and says how many were not suppressed so before.
///
/// # Errors
/// When the database fails.
pub async fn put(c: &mut PgConnection, workspace_id: i32, new: New<'_>) -> Result<u64> {
    let (addresses, origins): (Vec<&str>, Vec<&str>) =
        new.addresses.iter().map(|(a, o)| (a.as_str(), o.as_str())).unzip();
    // In order of the addresses, so that two of these at once cannot wait for each other.
    let done = sqlx::query(
        "-- put
         insert into suppression (workspace_id, address, reason, origin, created_at, account_id)
         select $1, s.address, $4, min(s.origin), $5, $6 from unnest($2::text[], $3::text[]) s (address, origin)
         group by s.address order by s.address collate \"C\"
         on conflict (workspace_id, address, account_id) do nothing",
    )
    .bind(workspace_id)
    .bind(addresses)
    .bind(origins)
    .bind(new.reason as i16)
    .bind(new.now)
    .bind(new.account_id.unwrap_or(EVERYWHERE))
    .execute(c)
    .await?;
    Ok(done.rows_affected())
}

/// Allows an address again that was suppressed everywhere, or for one account; one that was erased as well.
///
/// # Errors
/// [`Error::NotFound`] when it is not suppressed so; else when the database fails.
pub async fn remove(
    c: &mut PgConnection,
    pepper: &Pepper,
    workspace_id: i32,
    address: &str,
    account_id: Option<i64>,
) -> Result<()> {
    let done = sqlx::query(
        "-- remove
         delete from suppression where workspace_id = $1 and address in ($2, $3) and account_id = $4",
    )
    .bind(workspace_id)
    .bind(address)
    .bind(pepper.hash(workspace_id, address))
    .bind(account_id.unwrap_or(EVERYWHERE))
    .execute(c)
    .await?;
    match done.rows_affected() {
        0 => Err(Error::NotFound { what: "suppressed address", name: address.to_owned(), near: Vec::new() }),
        _ => Ok(()),
    }
}

/// What is suppressed of one address, and of what remains of it where it was erased.
///
/// # Errors
/// When the database fails.
pub async fn of(
    c: &mut PgConnection,
    pepper: &Pepper,
    workspace_id: i32,
    addresses: &[&str],
) -> Result<Vec<Suppression>> {
    let hashes: Vec<String> = addresses.iter().map(|address| pepper.hash(workspace_id, address)).collect();
    let rows: Vec<Row> = sqlx::query_as(
        "-- of
         select s.address, s.reason, s.origin, s.created_at, a.name as account
         from suppression s left join account a on a.workspace_id = s.workspace_id and a.account_id = s.account_id
         where s.workspace_id = $1 and s.address = any ($2::text[] || $3::text[]) order by s.address, s.account_id",
    )
    .bind(workspace_id)
    .bind(addresses)
    .bind(hashes)
    .fetch_all(c)
    .await?;
    rows.into_iter().map(Row::checked).collect()
}

/// Whether the workspace suppresses erased addresses, which are known by their hashes only.
///
/// # Errors
/// When the database fails.
pub async fn any_erased(c: &mut PgConnection, workspace_id: i32) -> Result<bool> {
    let any = sqlx::query_scalar(
        "-- any_erased
         select exists (select from suppression where workspace_id = $1 and address >= $2 and address < $3)",
    )
    .bind(workspace_id)
    .bind(ERASED)
    .bind(ERASED_END)
    .fetch_one(c)
    .await?;
    Ok(any)
}

/// Whether one of these accounts has suppressions of its own.
///
/// # Errors
/// When the database fails.
pub async fn any_by_account(c: &mut PgConnection, workspace_id: i32, accounts: &[i64]) -> Result<bool> {
    let any = sqlx::query_scalar(
        "-- any_by_account
         select exists (select from suppression where workspace_id = $1 and account_id <> 0 and account_id = any ($2))",
    )
    .bind(workspace_id)
    .bind(accounts)
    .fetch_one(c)
    .await?;
    Ok(any)
}

/// All suppressed addresses of the workspace, in order.
pub fn all(c: &mut PgConnection, workspace_id: i32) -> BoxStream<'_, Result<Suppression>> {
    sqlx::query_as::<_, Row>(
        "-- all
         select s.address, s.reason, s.origin, s.created_at, a.name as account
         from suppression s left join account a on a.workspace_id = s.workspace_id and a.account_id = s.account_id
         where s.workspace_id = $1 order by s.address, s.account_id",
    )
    .bind(workspace_id)
    .fetch(c)
    .map_err(Error::from)
    .map(|row| row.and_then(Row::checked))
    .boxed()
}

/// Whether the workspace suppresses any address at all.
///
/// # Errors
/// When the database fails.
pub async fn any(c: &mut PgConnection, workspace_id: i32) -> Result<bool> {
    Ok(sqlx::query_scalar("-- any\n select exists (select from suppression where workspace_id = $1)")
        .bind(workspace_id)
        .fetch_one(c)
        .await?)
}

/// Those of `addresses` that are suppressed everywhere, known by their hash if they were erased.
///
/// # Errors
/// When the database fails.
pub async fn among(
    c: &mut PgConnection,
    pepper: &Pepper,
    workspace_id: i32,
    addresses: &[&str],
) -> Result<Vec<String>> {
    let mut found = among_plain(c, workspace_id, addresses).await?;
    if any_erased(c, workspace_id).await? {
        found.extend(erased_among(c, pepper, workspace_id, addresses).await?);
    }
    Ok(found)
}

/// Those of `addresses` that were erased and are suppressed.
///
/// # Errors
/// When the database fails.
pub async fn erased_among(
    c: &mut PgConnection,
    pepper: &Pepper,
    workspace_id: i32,
    addresses: &[&str],
) -> Result<Vec<String>> {
    let hashes: Vec<String> = addresses.iter().map(|address| pepper.hash(workspace_id, address)).collect();
    let hashes: Vec<&str> = hashes.iter().map(String::as_str).collect();
    let erased = among_plain(c, workspace_id, &hashes).await?;
    let erased: HashSet<&str> = erased.iter().map(String::as_str).collect();
    let of = addresses.iter().zip(&hashes).filter(|(_, hash)| erased.contains(**hash));
    Ok(of.map(|(address, _)| (*address).to_owned()).collect())
}

async fn among_plain(c: &mut PgConnection, workspace_id: i32, addresses: &[&str]) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(
        "-- among
         select address from suppression where workspace_id = $1 and address = any($2::text[]) and account_id = 0",
    )
    .bind(workspace_id)
    .bind(addresses)
    .fetch_all(c)
    .await?)
}

/// Lifts the suppression of a recipient who comes back, if it was their own: what a person or a file
/// suppressed stays so, and what they asked for after `at` too: a word may come late.
///
/// # Errors
/// When the database fails.
pub async fn come_back(c: &mut PgConnection, workspace_id: i32, address: &str, at: DateTime<Utc>) -> Result<()> {
    sqlx::query("-- come_back\n delete from suppression where workspace_id = $1 and address = $2 and reason = $3 and created_at <= $4")
        .bind(workspace_id)
        .bind(address)
        .bind(Reason::Recipient as i16)
        .bind(at)
        .execute(c)
        .await?;
    Ok(())
}
