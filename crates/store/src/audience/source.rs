//! Reading the contacts of lists in the order of their addresses, as a channel sees them.
//!
//! Of one list, without anything that leaves contacts out, a page is one range of the primary key. Of several
//! lists it is that of each, merged as they come: an address on several of them is the contact of the first.

use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query as Prepared;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, QueryBuilder, Row as _};

use super::filter::{Barred, Filter};
use crate::segments::Query;
use crate::{Error, Result};

/// Contacts that are looked at to learn which attributes the lists have.
const ATTRIBUTE_SAMPLE_CONTACTS: i64 = 10_000;
/// The address that mails to the contact `c` go to.
const MAILBOX: &str = "(case when c.address like '+%' then c.email else c.address end)";

/// The contacts of some lists, as a channel sees them.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Tenant.
    pub workspace_id: i32,
    /// The lists, at least one. Of an address on several of them, the contact of the first counts.
    pub lists: &'a [i64],
    /// Whether the channel writes to phones (else to e-mails).
    pub by_phone: bool,
    /// Whether attributes are wanted.
    pub attributes: bool,
    /// The accounts whose conversations are wanted, of a channel that writes to phones.
    pub heard_by: &'a [i64],
    /// What leaves contacts out.
    pub filter: &'a Filter,
}

/// A contact, borrowed from the row it was read in.
#[derive(Debug, Clone, Copy)]
pub struct Contact<'r> {
    /// Phone in E.164, else the e-mail.
    pub address: &'r str,
    /// The e-mail, where the address is a phone.
    pub email: Option<&'r str>,
    /// Full name.
    pub name: Option<&'r str>,
    /// ISO 3166 alpha-2.
    pub country: Option<&'r str>,
    /// BCP 47 tag.
    pub language: Option<&'r str>,
    /// A JSON object; `None` also when not asked for.
    pub attributes: Option<&'r str>,
    /// Whether the address for the channel is suppressed.
    pub suppressed: bool,
    /// Whether a contact with a smaller address has the same e-mail; false for phones.
    pub duplicate: bool,
    /// Row of the file it came from, from 1.
    pub row_no: i32,
    /// The import of that file.
    pub import_id: i64,
    /// Since when they have written to every one of the accounts; `None` also when not asked for.
    pub heard_at: Option<DateTime<Utc>>,
    /// Why the filter leaves it out.
    pub barred: Option<Barred>,
}

/// What is in a row behind the columns that every query has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    Nothing,
    Heard,
    HeardAndBarred,
}

/// Where the reason stands in a row of [`each_contact`], and in one of a cohort.
const BARRED_AT: usize = 11;
const BARRED_OF_MEMBER_AT: usize = 12;

impl<'r> Contact<'r> {
    /// Of a row of a cohort.
    pub(crate) fn of_member(row: &'r PgRow) -> Result<Self> {
        Ok(Self { barred: barred(row, BARRED_OF_MEMBER_AT)?, ..Self::of(row, More::Nothing)? })
    }

    fn of(row: &'r PgRow, more: More) -> Result<Self> {
        Ok(Self {
            address: row.try_get_unchecked(0)?,
            email: row.try_get_unchecked(1)?,
            name: row.try_get_unchecked(2)?,
            country: row.try_get_unchecked(3)?,
            language: row.try_get_unchecked(4)?,
            attributes: row.try_get_unchecked(5)?,
            suppressed: row.try_get_unchecked(6)?,
            duplicate: row.try_get_unchecked(7)?,
            row_no: row.try_get_unchecked(8)?,
            import_id: row.try_get_unchecked(9)?,
            heard_at: if more == More::Nothing { None } else { row.try_get_unchecked(10)? },
            barred: if more == More::HeardAndBarred { barred(row, BARRED_AT)? } else { None },
        })
    }
}

fn barred(row: &PgRow, at: usize) -> Result<Option<Barred>> {
    let barred: Option<i16> = row.try_get_unchecked(at)?;
    barred.map(|n| Barred::from_i16(n).ok_or_else(|| Error::Corrupt(format!("barred {n}")))).transpose()
}

const BY_PHONE: &str = "-- each_contact by phone
    select c.address, c.email, c.name, c.country, c.language, case when $5 then c.attributes::text end,
           s.address is not null, false, c.row_no, c.import_id
    from contact c
    left join suppression s on s.workspace_id = c.workspace_id and s.address = c.address and s.account_id = 0
    where c.workspace_id = $1 and c.list_id = $2 and c.address > $3 order by c.address limit $4";

const BY_PHONE_HEARD: &str = "-- each_contact by phone, heard
    select c.address, c.email, c.name, c.country, c.language, case when $5 then c.attributes::text end,
           s.address is not null, false, c.row_no, c.import_id, v.heard_at
    from contact c
    left join suppression s on s.workspace_id = c.workspace_id and s.address = c.address and s.account_id = 0
    left join lateral (
      select min(v.heard_at) as heard_at from conversation v
      where v.workspace_id = c.workspace_id and v.account_id = any ($6) and v.address = c.address
      having count(*) = cardinality($6)) v on true
    where c.workspace_id = $1 and c.list_id = $2 and c.address > $3 order by c.address limit $4";

const BY_EMAIL: &str = "-- each_contact by e-mail
    select c.address, c.email, c.name, c.country, c.language, case when $5 then c.attributes::text end,
           s.address is not null,
           exists (select from contact d where d.workspace_id = $1 and d.list_id = $2
                     and d.email = m.email and d.address < c.address)
           or (c.email < c.address
               and exists (select from contact d where d.workspace_id = $1 and d.list_id = $2 and d.address = c.email)),
           c.row_no, c.import_id
    from contact c
    cross join lateral (select case when c.address like '+%' then c.email else c.address end as email) m
    left join suppression s on s.workspace_id = c.workspace_id and s.address = m.email and s.account_id = 0
    where c.workspace_id = $1 and c.list_id = $2 and c.address > $3 order by c.address limit $4";

/// Calls `visit` with the contacts whose address comes after `after`, in the order of the address, at
/// most `limit` of them, until it breaks off. Says how many it was called with.
///
/// # Errors
/// When the database fails.
pub async fn each_contact(
    c: &mut PgConnection,
    source: Source<'_>,
    after: &str,
    limit: i64,
    mut visit: impl FnMut(Contact<'_>) -> ControlFlow<()>,
) -> Result<i64> {
    let mut built;
    let (query, more) = match source.lists {
        [list_id] if source.filter.is_empty() => {
            let (sql, more) = source.plain();
            (source.bind(sqlx::query(sql), *list_id, after, limit), more)
        }
        _ => {
            built = source.query("", after, limit);
            (built.build(), More::HeardAndBarred)
        }
    };
    let mut rows = query.fetch(c);
    let mut visited = 0;
    while let Some(row) = rows.try_next().await? {
        visited += 1;
        if visit(Contact::of(&row, more)?).is_break() {
            break;
        }
    }
    Ok(visited)
}

/// How the database would read such a page: its plan, for tests and for whoever wonders why it is slow.
///
/// # Errors
/// When the database fails.
pub async fn explain(c: &mut PgConnection, source: Source<'_>, after: &str, limit: i64) -> Result<String> {
    let rows = match source.lists {
        [list_id] if source.filter.is_empty() => {
            let (sql, _) = source.plain();
            let query = sqlx::query(AssertSqlSafe(format!("explain {sql}")));
            source.bind(query, *list_id, after, limit).fetch_all(c).await?
        }
        _ => source.query("explain ", after, limit).build().fetch_all(c).await?,
    };
    let lines = rows.iter().map(|row| Ok(row.try_get::<String, _>(0)?)).collect::<Result<Vec<String>>>()?;
    Ok(lines.join("\n"))
}

impl<'q> Source<'q> {
    /// The statement that reads all contacts of one list.
    fn plain(&self) -> (&'static str, More) {
        match (self.by_phone, self.heard_by.is_empty()) {
            (true, true) => (BY_PHONE, More::Nothing),
            (true, false) => (BY_PHONE_HEARD, More::Heard),
            (false, _) => (BY_EMAIL, More::Nothing),
        }
    }

    fn bind(
        &self,
        query: Prepared<'q, Postgres, PgArguments>,
        list_id: i64,
        after: &str,
        limit: i64,
    ) -> Prepared<'q, Postgres, PgArguments> {
        let query =
            query.bind(self.workspace_id).bind(list_id).bind(after.to_owned()).bind(limit).bind(self.attributes);
        if self.by_phone && !self.heard_by.is_empty() { query.bind(self.heard_by) } else { query }
    }
}

impl Source<'_> {
    /// A page of contacts. Whatever is looked up for a contact is a subquery of its own: a join could make
    /// the database sort the lists instead of merging them.
    fn query(&self, before: &str, after: &str, limit: i64) -> Query {
        let Self { workspace_id, by_phone, filter, .. } = *self;
        let mut q = QueryBuilder::new(before);
        q.push("-- each_contact\n select c.address, c.email, c.name, c.country, c.language, ");
        q.push(if self.attributes { "c.attributes::text" } else { "null::text" }).push(", ");
        filter.push_suppressed(&mut q, workspace_id, if by_phone { "c.address" } else { MAILBOX });
        q.push(", ");
        match by_phone {
            true => q.push("false"),
            false => self.push_duplicate(&mut q),
        };
        q.push(", c.row_no, c.import_id, ");
        match by_phone && !self.heard_by.is_empty() {
            true => self.push_heard(&mut q),
            false => q.push("null::timestamptz"),
        };
        q.push(", ");
        filter.push_barred(&mut q, workspace_id, (!by_phone).then_some(MAILBOX));
        q.push(" from (");
        self.push_contacts(&mut q, Some((after, limit)));
        q.push(") c order by c.address limit ").push_bind(limit);
        q
    }

    /// Appends the contacts of the lists, of each address the first; of a `page` those after an address, at
    /// most so many of each list, as they come in its key: so they are merged, and never sorted.
    pub(super) fn push_contacts(&self, q: &mut Query, page: Option<(&str, i64)>) {
        for (i, list_id) in self.lists.iter().enumerate() {
            q.push(if i == 0 { "(" } else { " union all (" });
            q.push("select c.* from contact c where c.workspace_id = ").push_bind(self.workspace_id);
            q.push(" and c.list_id = ").push_bind(*list_id);
            if let Some((after, _)) = page {
                q.push(" and c.address > ").push_bind(after.to_owned());
            }
            if i > 0 {
                q.push(" and coalesce((select false from contact e where e.workspace_id = ")
                    .push_bind(self.workspace_id);
                q.push(" and e.list_id = any (").push_bind(self.lists[..i].to_vec());
                q.push(") and e.address = c.address limit 1), true)");
            }
            if let Some((_, limit)) = page {
                q.push(" order by c.address limit ").push_bind(limit);
            }
            q.push(")");
        }
    }

    /// Appends whether the mailbox of `c` is that of a contact with a smaller address, too: one that is not
    /// hidden by a contact of an earlier list.
    fn push_duplicate<'q>(&self, q: &'q mut Query) -> &'q mut Query {
        q.push("coalesce((select true from contact d where d.workspace_id = ").push_bind(self.workspace_id);
        q.push(" and d.list_id = any (").push_bind(self.lists.to_vec());
        q.push(") and d.email = ").push(MAILBOX).push(" and d.address < c.address");
        q.push(" and (select true from contact e where e.workspace_id = d.workspace_id and e.list_id = any (");
        q.push_bind(self.lists.to_vec()).push(") and e.address = d.address and array_position(");
        q.push_bind(self.lists.to_vec()).push(", e.list_id) < array_position(").push_bind(self.lists.to_vec());
        q.push(", d.list_id) limit 1) is null limit 1), false) or coalesce(c.email < c.address and ");
        q.push("(select true from contact d where d.workspace_id = ").push_bind(self.workspace_id);
        q.push(" and d.list_id = any (").push_bind(self.lists.to_vec());
        q.push(") and d.address = c.email limit 1), false)")
    }

    fn push_heard<'q>(&self, q: &'q mut Query) -> &'q mut Query {
        q.push("(select min(v.heard_at) from conversation v where v.workspace_id = ").push_bind(self.workspace_id);
        q.push(" and v.account_id = any (").push_bind(self.heard_by.to_vec());
        q.push(") and v.address = c.address having count(*) = ").push_bind(self.heard_by.len() as i64).push(")")
    }
}

/// How many addresses the lists have.
///
/// # Errors
/// When the database fails.
pub async fn size(c: &mut PgConnection, workspace_id: i32, lists: &[i64]) -> Result<i64> {
    let query = match lists {
        [_] => "-- size\n select count(*) from contact where workspace_id = $1 and list_id = any ($2)",
        _ => {
            "-- size of several
             select count(*) from (
               select from contact where workspace_id = $1 and list_id = any ($2) group by address) a"
        }
    };
    Ok(sqlx::query_scalar(query).bind(workspace_id).bind(lists).fetch_one(c).await?)
}

/// Names of the attributes that the first contacts of the lists have.
///
/// # Errors
/// When the database fails.
pub async fn attribute_names(c: &mut PgConnection, workspace_id: i32, lists: &[i64]) -> Result<Vec<String>> {
    let names = sqlx::query_scalar(
        "-- attribute_names
         select distinct k from unnest($2::bigint[]) l (list_id)
         cross join lateral (
           select attributes from contact x
           where x.workspace_id = $1 and x.list_id = l.list_id and attributes is not null order by address limit $3
         ) c, jsonb_object_keys(c.attributes) k order by k",
    )
    .bind(workspace_id)
    .bind(lists)
    .bind(ATTRIBUTE_SAMPLE_CONTACTS)
    .fetch_all(c)
    .await?;
    Ok(names)
}

/// Names of the attributes that the contacts of the lists have; reads all of them.
///
/// # Errors
/// When the database fails.
pub async fn all_attribute_names(c: &mut PgConnection, workspace_id: i32, lists: &[i64]) -> Result<Vec<String>> {
    let names = sqlx::query_scalar(
        "-- all_attribute_names
         select distinct k from contact c, jsonb_object_keys(c.attributes) k
         where c.workspace_id = $1 and c.list_id = any ($2) order by k",
    )
    .bind(workspace_id)
    .bind(lists)
    .fetch_all(c)
    .await?;
    Ok(names)
}

/// Whether a contact of the lists has this attribute.
///
/// # Errors
/// When the database fails.
pub async fn has_attribute(c: &mut PgConnection, workspace_id: i32, lists: &[i64], name: &str) -> Result<bool> {
    let has = sqlx::query_scalar(
        "-- has_attribute
         select exists (select from contact where workspace_id = $1 and list_id = any ($2) and attributes ? $3)",
    )
    .bind(workspace_id)
    .bind(lists)
    .bind(name)
    .fetch_one(c)
    .await?;
    Ok(has)
}
