//! Contacts of a list: how imports put them in, and how they are read out.

use std::fmt;

use chrono::{DateTime, Utc};
use fanfare_domain::phone::Region;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, Row as _};

use crate::copy::{self, Rows};
use crate::error::ensure_affected;
use crate::imports::Counts;
use crate::pepper::Pepper;
use crate::{Error, Result};

/// What becomes of a row whose address the list, or an earlier row of the file, has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(i16)]
pub enum OnDuplicate {
    /// The first stays.
    #[default]
    Skip = 1,
    /// The last stays.
    Overwrite = 2,
    /// What the file says wins over the list, an earlier row over a later one; nothing is erased.
    Merge = 3,
}

impl fmt::Display for OnDuplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Skip => "skip",
            Self::Overwrite => "overwrite",
            Self::Merge => "merge",
        })
    }
}

/// A contact as a file has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewContact {
    /// Row of the file, counting from 1 after the header.
    pub row_no: i32,
    /// The phone in E.164 if there is one, else the e-mail in lower case.
    pub address: String,
    /// The e-mail in lower case, where the address is a phone.
    pub email: Option<String>,
    /// Full name.
    pub name: Option<String>,
    /// Of the phone, else as the file says.
    pub country: Option<Region>,
    /// BCP 47 tag, lower case.
    pub language: Option<String>,
    /// The other columns, a JSON object.
    pub attributes: Option<String>,
    /// What only some files say. Apart, since an import holds many rows.
    pub extra: Option<Box<Extra>>,
}

/// What only some files say of a contact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra {
    /// Its tags, each once, in order; empty when the file says nothing of them.
    pub tags: Vec<String>,
    /// Whether it has opted in, as far as the file says.
    pub consent: Option<bool>,
    /// Where it came from, as far as the file says.
    pub source: Option<String>,
}

impl NewContact {
    /// Its tags, each once, in order; empty when the file says nothing of them.
    pub fn tags(&self) -> &[String] {
        self.extra.as_ref().map_or(&[], |extra| &extra.tags)
    }

    /// Whether it has opted in, as far as the file says.
    pub fn consent(&self) -> Option<bool> {
        self.extra.as_ref().and_then(|extra| extra.consent)
    }

    /// Where it came from, as far as the file says.
    pub fn source(&self) -> Option<&str> {
        self.extra.as_ref().and_then(|extra| extra.source.as_deref())
    }
}

/// What a contact gets beside what its row says.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// The source of a new contact whose row names none.
    pub source: &'a str,
    /// When a consent came to be known.
    pub now: DateTime<Utc>,
}

/// A contact of a list.
#[derive(Debug, Clone, PartialEq, FromRow, Serialize)]
pub struct Contact {
    /// The phone in E.164, or the e-mail in lower case.
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
    /// Its tags, in order; none are `None`.
    pub tags: Option<Vec<String>>,
    /// 1 when it has opted in to marketing.
    #[serde(serialize_with = "as_consent")]
    pub consent: i16,
    /// Where it came from.
    pub source: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn as_consent<S: serde::Serializer>(consent: &i16, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_bool(*consent == 1)
}

/// Where contacts go to.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Tenant.
    pub workspace_id: i32,
    /// The list.
    pub list_id: i64,
    /// On behalf of which import.
    pub import_id: i64,
}

/// Puts in contacts that the list does not have: the fast way. They come in order of their addresses,
/// so that neighbours in the index are written together.
///
/// # Errors
/// When the database fails, or the list has one of them.
pub async fn insert(c: &mut PgConnection, place: Place, stamp: Stamp<'_>, contacts: &[&NewContact]) -> Result<()> {
    if contacts.is_empty() {
        return Ok(());
    }
    let write = |rows: &mut Rows, contact: &&NewContact| {
        let consents = contact.consent() == Some(true);
        rows.row(14)
            .i32(place.workspace_id)
            .i64(place.list_id)
            .i64(place.import_id)
            .i32(contact.row_no)
            .text(Some(&contact.address))
            .text(contact.email.as_deref())
            .text(contact.name.as_deref())
            .text(contact.country.as_ref().map(Region::as_str))
            .text(contact.language.as_deref())
            .jsonb(contact.attributes.as_deref())
            .texts(contact.tags())
            .i16(i16::from(consents))
            .maybe_timestamp_us(consents.then(|| stamp.now.timestamp_micros()))
            .text(Some(contact.source().unwrap_or(stamp.source)));
    };
    let found = copy::each(
        c,
        "copy contact (workspace_id, list_id, import_id, row_no, address, email, name, country, language, attributes,
           tags, consent, consent_at, source)
         from stdin (format binary)",
        contacts,
        write,
    )
    .await?;
    ensure_affected("insert", found, contacts.len() as u64)
}

/// Puts in contacts by policy, and counts what became of their rows. No address comes twice. The caller
/// holds the list, so that nobody else puts the same ones in meanwhile.
///
/// # Errors
/// When the database fails.
pub async fn merge(
    c: &mut PgConnection,
    place: Place,
    stamp: Stamp<'_>,
    policy: OnDuplicate,
    contacts: &[&NewContact],
) -> Result<Counts> {
    if contacts.is_empty() {
        return Ok(Counts::default());
    }
    let column =
        |of: fn(&NewContact) -> Option<&str>| -> Vec<Option<&str>> { contacts.iter().map(|x| of(x)).collect() };
    let row = sqlx::query(MERGE)
        .bind(place.workspace_id)
        .bind(place.list_id)
        .bind(place.import_id)
        .bind(policy as i16)
        .bind(contacts.iter().map(|x| x.row_no).collect::<Vec<i32>>())
        .bind(contacts.iter().map(|x| x.address.as_str()).collect::<Vec<&str>>())
        .bind(column(|x| x.email.as_deref()))
        .bind(column(|x| x.name.as_deref()))
        .bind(column(|x| x.country.as_ref().map(Region::as_str)))
        .bind(column(|x| x.language.as_deref()))
        .bind(column(|x| x.attributes.as_deref()))
        .bind(contacts.iter().map(|x| (!x.tags().is_empty()).then(|| x.tags().join(BETWEEN_TAGS))).collect::<Vec<_>>())
        .bind(contacts.iter().map(|x| x.consent()).collect::<Vec<Option<bool>>>())
        .bind(column(|x| x.source()))
        .bind(stamp.source)
        .bind(stamp.now)
        .fetch_one(c)
        .await?;
    let count = |name: &str| row.try_get::<i64, _>(name);
    let counts = Counts {
        rows: contacts.len() as i64,
        imported: count("imported")?,
        updated: count("updated")?,
        unchanged: count("unchanged")?,
        duplicates: count("duplicates")?,
        ..Counts::default()
    };
    ensure_affected("merge: rows", count("met")? as u64, contacts.len() as u64)?;
    ensure_affected("merge: inserted", count("inserted")? as u64, counts.imported as u64)?;
    ensure_affected("merge: written", count("written")? as u64, count("to_write")? as u64)?;
    Ok(counts)
}

/// What stands between tags that are handed over as one text: no tag holds it.
const BETWEEN_TAGS: &str = "\u{1f}";

/// `is_repeat`: an earlier row of the same file has met this contact. Its row is stamped with the import
/// even when it stays as it is, since the next row of the file must know. What a file does not say of tags,
/// consent and source stays whatever the policy.
const MERGE: &str = r#"-- merge
    with incoming as materialized (
      select row_no, address, email, name, country, language, attributes::jsonb as attributes,
        string_to_array(tags, E'\x1f') as tags, consent::int::smallint as consent, source
      from unnest($5::int[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
                  $13::bool[], $14::text[])
        as i (row_no, address, email, name, country, language, attributes, tags, consent, source)
    ), met as materialized (
      select i.row_no, i.address, c.address is null as is_new, coalesce(c.import_id = $3, false) as is_repeat,
        row (i.email, i.name, i.country, i.language, i.attributes,
             coalesce(i.tags, c.tags), coalesce(i.consent, c.consent), coalesce(i.source, c.source))
          is not distinct from
          row (c.email, c.name, c.country, c.language, c.attributes, c.tags, c.consent, c.source) as is_same,
        row (n.email, n.name, n.country, n.language, n.attributes, n.tags, n.consent, n.source)
          is distinct from
          row (c.email, c.name, c.country, c.language, c.attributes, c.tags, c.consent, c.source) as is_changed,
        case when n.consent = 1 then coalesce(c.consent_at, $16) end as consent_at,
        n.*
      from incoming i
      left join contact c
        on c.workspace_id = $1 and c.list_id = $2 and c.address = i.address collate "C"
      cross join lateral (
        select array_agg(distinct t collate "C" order by t collate "C") as tags
        from unnest(coalesce(c.tags, '{}') || coalesce(i.tags, '{}')) t
      ) united
      cross join lateral (
        select i.email, i.name, i.country, i.language, i.attributes, coalesce(i.tags, c.tags) as tags,
          coalesce(i.consent, c.consent, 0::smallint) as consent, coalesce(i.source, c.source, $15) as source
        where c.address is null or $4 = 2
        union all
        select c.email, c.name, c.country, c.language, c.attributes, c.tags, c.consent, c.source
        where c.address is not null and $4 = 1
        union all
        select coalesce(i.email, c.email), coalesce(i.name, c.name), coalesce(i.country, c.country),
          coalesce(i.language, c.language),
          nullif(coalesce(c.attributes, '{}') || coalesce(i.attributes, '{}'), '{}'),
          united.tags, coalesce(i.consent, c.consent), coalesce(i.source, c.source)
        where c.import_id <> $3 and $4 = 3
        union all
        select coalesce(c.email, i.email), coalesce(c.name, i.name), coalesce(c.country, i.country),
          coalesce(c.language, i.language),
          nullif(coalesce(i.attributes, '{}') || coalesce(c.attributes, '{}'), '{}'),
          united.tags, greatest(c.consent, i.consent), coalesce(c.source, i.source)
        where c.import_id = $3 and $4 = 3
      ) n
    ), inserted as (
      insert into contact
        (workspace_id, list_id, import_id, row_no, address, email, name, country, language, attributes,
         tags, consent, consent_at, source)
      select $1, $2, $3, row_no, address, email, name, country, language, attributes, tags, consent, consent_at, source
      from met where is_new order by address collate "C"
      returning 1
    ), written as (
      update contact c
      set import_id = $3, row_no = m.row_no, email = m.email, name = m.name, country = m.country,
        language = m.language, attributes = m.attributes, tags = m.tags, consent = m.consent,
        consent_at = m.consent_at, source = m.source
      from met m
      where c.workspace_id = $1 and c.list_id = $2 and c.address = m.address collate "C"
        and not m.is_new and (m.is_changed or not m.is_repeat)
      returning 1
    )
    select count(*) as met,
      count(*) filter (where is_new) as imported,
      count(*) filter (where not is_new and not is_repeat and $4 <> 1 and is_changed) as updated,
      count(*) filter (where not is_new and not is_repeat and case $4 when 1 then is_same else not is_changed end)
        as unchanged,
      count(*) filter (where not is_new and (is_repeat or $4 = 1 and not is_same)) as duplicates,
      count(*) filter (where not is_new and (is_changed or not is_repeat)) as to_write,
      (select count(*) from inserted) as inserted,
      (select count(*) from written) as written
    from met"#;

/// The contacts of a list, in order of their addresses.
pub fn export(c: &mut PgConnection, workspace_id: i32, list_id: i64) -> BoxStream<'_, Result<Contact>> {
    sqlx::query_as(
        "-- export
         select address, email, name, country, language, attributes, tags, consent, source
         from contact where workspace_id = $1 and list_id = $2 order by address",
    )
    .bind(workspace_id)
    .bind(list_id)
    .fetch(c)
    .map_err(Error::from)
    .boxed()
}

/// Turns a connection into one for rehearsals: from now on, and for its whole life, what it writes into
/// contacts and suppressions goes to tables of its own, which vanish with it. It must be new: statements
/// prepared before would still mean the real tables.
///
/// # Errors
/// When the database fails.
pub async fn rehearse(c: &mut PgConnection) -> Result<()> {
    // The views are made while the names still mean the real tables, and go on meaning them.
    for statement in [
        "-- rehearse\n create temp view real_contact as select * from contact",
        "-- rehearse\n create temp view real_suppression as select * from suppression",
        "-- rehearse\n create temp table contact (like contact including constraints including indexes)",
        "-- rehearse\n create temp table suppression (like suppression including constraints including indexes)",
    ] {
        sqlx::raw_sql(statement).execute(&mut *c).await?;
    }
    Ok(())
}

/// Brings what the list and the workspace have of these addresses into the rehearsal.
///
/// # Errors
/// When the database fails.
pub async fn rehearse_with(c: &mut PgConnection, pepper: &Pepper, place: Place, addresses: &[&str]) -> Result<()> {
    let hashes: Vec<String> = addresses.iter().map(|address| pepper.hash(place.workspace_id, address)).collect();
    sqlx::query(
        "-- rehearse_with: contacts
         insert into pg_temp.contact
         select * from real_contact where workspace_id = $1 and list_id = $2 and address = any($3::text[])
         on conflict do nothing",
    )
    .bind(place.workspace_id)
    .bind(place.list_id)
    .bind(addresses)
    .execute(&mut *c)
    .await?;
    sqlx::query(
        "-- rehearse_with: suppressions
         insert into pg_temp.suppression
         select * from real_suppression where workspace_id = $1 and address = any($2::text[] || $3::text[])
         on conflict do nothing",
    )
    .bind(place.workspace_id)
    .bind(addresses)
    .bind(hashes)
    .execute(c)
    .await?;
    Ok(())
}
