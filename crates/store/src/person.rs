//! Everything that is known of a person: their contacts in all lists, whom they wrote to, what was sent to
//! them; and what people change about it.

use chrono::{DateTime, Utc};
use fanfare_domain::state::Category;
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use crate::pepper::Pepper;
use crate::{Error, Result};

/// A contact of one list.
#[derive(Debug, Clone, PartialEq, FromRow, Serialize)]
pub struct Card {
    /// The list.
    pub list: String,
    /// Phone in E.164, or e-mail in lower case.
    pub address: String,
    /// The e-mail, where the address is a phone.
    pub email: Option<String>,
    /// Full name.
    pub name: Option<String>,
    /// ISO 3166 alpha-2.
    pub country: Option<String>,
    /// BCP 47 tag, lower case.
    pub language: Option<String>,
    /// The other columns.
    pub attributes: Option<serde_json::Value>,
    /// Its tags, in order.
    pub tags: Option<Vec<String>>,
    /// Since when it is known to have opted in to marketing.
    pub consent_at: Option<DateTime<Utc>>,
    /// Where it came from.
    pub source: Option<String>,
    /// The file of the import that last met it.
    pub file: Option<String>,
}

/// When somebody last wrote to an account.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct Heard {
    /// The account.
    pub account: String,
    /// The address that wrote.
    pub address: String,
    /// When.
    pub heard_at: DateTime<Utc>,
}

/// A message to somebody.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Sent {
    /// Its run.
    pub run_id: i64,
    /// Its number there.
    pub seq: i32,
    /// Name of the campaign.
    pub campaign: String,
    category: i16,
    /// Where it went.
    pub address: String,
}

impl Sent {
    /// What the campaign is for.
    pub fn category(&self) -> Option<Category> {
        Category::from_i16(self.category)
    }
}

/// The contacts at this address, be it their phone or their e-mail, by list.
///
/// # Errors
/// When the database fails.
pub async fn cards(c: &mut PgConnection, workspace_id: i32, address: &str) -> Result<Vec<Card>> {
    let cards = sqlx::query_as(
        "-- cards
         select l.name as list, c.address, c.email, c.name, c.country, c.language, c.attributes, c.tags, c.consent_at,
                c.source, i.file_name as file
         from list l
         join contact c on c.workspace_id = l.workspace_id and c.list_id = l.list_id and (c.address = $2 or c.email = $2)
         left join import i on i.workspace_id = c.workspace_id and i.import_id = c.import_id
         where l.workspace_id = $1 order by l.name, c.address",
    )
    .bind(workspace_id)
    .bind(address)
    .fetch_all(c)
    .await?;
    Ok(cards)
}

/// The addresses among these and what remains of them where they were erased.
pub fn with_hashes(pepper: &Pepper, workspace_id: i32, addresses: &[&str]) -> Vec<String> {
    let hashes = addresses.iter().map(|address| pepper.hash(workspace_id, address));
    addresses.iter().map(|address| (*address).to_owned()).chain(hashes).collect()
}

/// When these addresses last wrote to each account.
///
/// # Errors
/// When the database fails.
pub async fn heard(c: &mut PgConnection, workspace_id: i32, addresses: &[String]) -> Result<Vec<Heard>> {
    let heard = sqlx::query_as(
        "-- heard
         select a.name as account, v.address, v.heard_at from account a
         join conversation v on v.workspace_id = a.workspace_id and v.account_id = a.account_id and v.address = any ($2)
         where a.workspace_id = $1 order by v.heard_at desc, a.name",
    )
    .bind(workspace_id)
    .bind(addresses)
    .fetch_all(c)
    .await?;
    Ok(heard)
}

/// Every message that was ever made for these addresses, the newest first.
///
/// # Errors
/// When the database fails.
pub async fn messages(c: &mut PgConnection, workspace_id: i32, addresses: &[String]) -> Result<Vec<Sent>> {
    let sent = sqlx::query_as(
        "-- messages
         select r.run_id, r.seq, k.name as campaign, k.category, r.address from recipient r
         join run u on u.workspace_id = r.workspace_id and u.run_id = r.run_id
         join campaign k on k.workspace_id = u.workspace_id and k.campaign_id = u.campaign_id
         where r.workspace_id = $1 and r.address collate \"C\" = any ($2) order by r.run_id desc, r.seq",
    )
    .bind(workspace_id)
    .bind(addresses)
    .fetch_all(c)
    .await?;
    Ok(sent)
}

/// What is changed about a contact. What is not said stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes<'a> {
    /// Tags it gets, lower case.
    pub tags: &'a [String],
    /// Tags it loses.
    pub untags: &'a [String],
    /// Attributes it gets.
    pub attributes: serde_json::Map<String, serde_json::Value>,
    /// Attributes it loses.
    pub unset: &'a [String],
    /// Whether it has opted in.
    pub consent: Option<bool>,
    /// Full name.
    pub name: Option<&'a str>,
    /// BCP 47 tag, lower case.
    pub language: Option<&'a str>,
    /// Where it came from.
    pub source: Option<&'a str>,
}

/// Changes the contact at this address in a list, or in every list that has it. Says how many it were.
///
/// # Errors
/// [`Error::NotFound`] when there is none; else when the database fails.
pub async fn change(
    c: &mut PgConnection,
    (workspace_id, list_id): (i32, Option<i64>),
    address: &str,
    changes: &Changes<'_>,
    now: DateTime<Utc>,
) -> Result<u64> {
    let done = sqlx::query(
        "-- change
         update contact c set
           tags = (select array_agg(distinct t collate \"C\" order by t collate \"C\")
                   from unnest(coalesce(c.tags, '{}') || $4::text[]) t where t <> all ($5::text[])),
           attributes = nullif((coalesce(c.attributes, '{}') || $6::jsonb) - $7::text[], '{}'),
           consent = coalesce($8::bool::int::smallint, c.consent),
           consent_at = case coalesce($8::bool::int, c.consent) when 1 then coalesce(c.consent_at, $12) end,
           name = coalesce($9, c.name), language = coalesce($10, c.language), source = coalesce($11, c.source)
         where c.workspace_id = $1 and c.address = $3
           and c.list_id in (select l.list_id from list l where l.workspace_id = $1 and ($2::bigint is null or l.list_id = $2))",
    )
    .bind(workspace_id)
    .bind(list_id)
    .bind(address)
    .bind(changes.tags)
    .bind(changes.untags)
    .bind(Json(&changes.attributes))
    .bind(changes.unset)
    .bind(changes.consent)
    .bind(changes.name)
    .bind(changes.language)
    .bind(changes.source)
    .bind(now)
    .execute(c)
    .await?;
    match done.rows_affected() {
        0 => Err(Error::NotFound { what: "contact", name: address.to_owned(), near: Vec::new() }),
        n => Ok(n),
    }
}
