//! The contacts of some lists that a filter leaves: counted, read out, or put into a list of their own.

use futures::TryStreamExt as _;
use sqlx::{FromRow as _, PgConnection, QueryBuilder};

use super::filter::Barred;
use super::source::Source;
use crate::contacts::Contact;
use crate::imports::{self, Counts};
use crate::lists::{self, Hold};
use crate::segments::Query;
use crate::{Error, Result, Store};

/// How many contacts some lists have, and how many of them a filter leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Picked {
    /// Contacts of the lists, each address once.
    pub contacts: i64,
    /// On a list that is left out.
    pub minus: i64,
    /// The expression does not hold for them.
    pub outside: i64,
    /// Those that are left.
    pub picked: i64,
}

/// Counts.
///
/// # Errors
/// When the database fails.
pub async fn count(c: &mut PgConnection, source: Source<'_>) -> Result<Picked> {
    let mut q = QueryBuilder::new("-- count\n select barred, count(*) from (select ");
    source.filter.push_barred(&mut q, source.workspace_id, None);
    q.push(" as barred from (");
    source.push_contacts(&mut q, None);
    q.push(") c) b group by barred");
    let rows: Vec<(Option<i16>, i64)> = q.build_query_as().fetch_all(c).await?;
    let mut picked = Picked::default();
    for (barred, n) in rows {
        picked.contacts += n;
        match barred.map(|barred| (barred, Barred::from_i16(barred))) {
            None => picked.picked += n,
            Some((_, Some(Barred::Minus))) => picked.minus += n,
            Some((_, Some(Barred::Outside))) => picked.outside += n,
            Some((n, _)) => return Err(Error::Corrupt(format!("count: barred {n}"))),
        }
    }
    Ok(picked)
}

/// Calls `visit` with those that are left, in the order of their addresses.
///
/// # Errors
/// When the database or `visit` fails.
pub async fn each<E: From<Error>>(
    c: &mut PgConnection,
    source: Source<'_>,
    mut visit: impl FnMut(Contact) -> Result<(), E>,
) -> Result<(), E> {
    let mut q = QueryBuilder::new(
        "-- each\n select c.address, c.email, c.name, c.country, c.language, c.attributes, c.tags, c.consent, c.source",
    );
    push_picked(&mut q, source);
    q.push(" order by c.address");
    let mut rows = q.build().fetch(c);
    while let Some(row) = rows.try_next().await.map_err(Error::from)? {
        visit(Contact::from_row(&row).map_err(Error::from)?)?;
    }
    Ok(())
}

/// Puts those that are left into the list, which may have contacts: of an address that it has, its own stays.
/// Says how many were put in and how many it had. On record as an import of `what`.
///
/// # Errors
/// When the database fails; nothing is put in then.
pub async fn copy(store: &Store, source: Source<'_>, list_id: i64, what: &str) -> Result<Counts> {
    let (import_id, workspace_id) = (store.ids.next(), source.workspace_id);
    let mut tx = store.pool.begin().await?;
    lists::hold(&mut tx, workspace_id, list_id, Hold::Alone).await?;
    let of = count(&mut tx, source).await?;
    let mut q = QueryBuilder::new(
        "-- copy
         insert into contact (workspace_id, list_id, import_id, row_no, address, email, name, country, language,
           attributes, tags, consent, consent_at, source)
         select c.workspace_id, ",
    );
    q.push_bind(list_id).push(", ").push_bind(import_id);
    q.push(", row_number() over (order by c.address), c.address, c.email, c.name, c.country, c.language, c.attributes");
    q.push(", c.tags, c.consent, c.consent_at, c.source");
    push_picked(&mut q, source);
    q.push(" order by c.address on conflict do nothing");
    let imported = q.build().execute(&mut *tx).await?.rows_affected() as i64;
    let counts = Counts { rows: of.picked, imported, duplicates: of.picked - imported, ..Counts::default() };
    imports::record(&mut tx, (workspace_id, import_id), list_id, what, counts, store.clock.now()).await?;
    tx.commit().await?;
    Ok(counts)
}

fn push_picked(q: &mut Query, source: Source<'_>) {
    q.push(" from (");
    source.push_contacts(q, None);
    q.push(") c where ");
    source.filter.push_barred(q, source.workspace_id, None);
    q.push(" is null");
}
