//! Suppressions: addresses of a workspace that must not be written to.

use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};

use crate::error::ensure_affected;
use crate::{Error, Result};

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
}

impl Reason {
    /// The reason of a stored number.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when there is none.
    pub fn from_i16(n: i16) -> Result<Self> {
        [Self::File, Self::Person, Self::Recipient]
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
}

impl Row {
    fn checked(self) -> Result<Suppression> {
        let Self { address, reason, origin, created_at } = self;
        Ok(Suppression { address, reason: Reason::from_i16(reason)?, origin, created_at })
    }
}

/// Suppresses addresses, each with its origin, and says how many were not suppressed before.
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
    let (addresses, origins): (Vec<&str>, Vec<&str>) = addresses.iter().map(|(a, o)| (a.as_str(), o.as_str())).unzip();
    // In order of the addresses, so that two of these at once cannot wait for each other.
    let done = sqlx::query(
        "-- add
         insert into suppression (workspace_id, address, reason, origin, created_at)
         select $1, s.address, $4, min(s.origin), $5 from unnest($2::text[], $3::text[]) s (address, origin)
         group by s.address order by s.address collate \"C\"
         on conflict (workspace_id, address) do nothing",
    )
    .bind(workspace_id)
    .bind(addresses)
    .bind(origins)
    .bind(reason as i16)
    .bind(now)
    .execute(c)
    .await?;
    Ok(done.rows_affected())
}

/// Allows an address again.
///
/// # Errors
/// [`Error::NotFound`] when it is not suppressed; else when the database fails.
pub async fn remove(c: &mut PgConnection, workspace_id: i32, address: &str) -> Result<()> {
    let done = sqlx::query("-- remove\n delete from suppression where workspace_id = $1 and address = $2")
        .bind(workspace_id)
        .bind(address)
        .execute(c)
        .await?;
    if done.rows_affected() == 0 {
        return Err(Error::NotFound { what: "suppressed address", name: address.to_owned(), near: Vec::new() });
    }
    ensure_affected("remove", done.rows_affected(), 1)
}

/// All suppressed addresses of the workspace, in order.
pub fn all(c: &mut PgConnection, workspace_id: i32) -> BoxStream<'_, Result<Suppression>> {
    sqlx::query_as::<_, Row>(
        "-- all
         select address, reason, origin, created_at from suppression where workspace_id = $1 order by address",
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

/// Those of `addresses` that are suppressed.
///
/// # Errors
/// When the database fails.
pub async fn among(c: &mut PgConnection, workspace_id: i32, addresses: &[&str]) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(
        "-- among\n select address from suppression where workspace_id = $1 and address = any($2::text[])",
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
