//! Cohorts: the contacts behind those recipients of a run for whom something became of their messages. Read page
//! by page in the order of the run's seqs.

use std::ops::ControlFlow;

use fanfare_domain::cohort::Member;
use fanfare_domain::outcome::FailureKind;
use fanfare_domain::retry::attempts_max;
use futures::TryStreamExt as _;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, PgConnection, QueryBuilder, Row as _};

use crate::Result;
use crate::audience::{Contact, Filter};
use crate::deliveries::found;
use crate::queue::BY_RECEIPT;

/// Of which recipients.
#[derive(Clone, Copy)]
pub struct Cohort<'a> {
    /// Tenant.
    pub workspace_id: i32,
    /// The lists that the contacts are looked for in, the first before the others.
    pub lists: &'a [i64],
    /// What leaves contacts out. That they are on a list left out, or outside an expression, was decided when
    /// the parent was expanded.
    pub filter: &'a Filter,
    /// Whether the channel writes to phones (else to e-mails).
    pub by_phone: bool,
    /// The run that they are recipients of.
    pub parent_run_id: i64,
    /// For whom any of it holds.
    pub members: &'a [Member],
    /// Runs whose answers count beside the parent's: those that it follows itself.
    pub ancestors: &'a [i64],
    /// Resends whose recipients are left out, unless they failed to reach them.
    pub resends: &'a [i64],
}

/// Why a recipient of the parent is not among the contacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// No list has them any more.
    Gone,
    /// They have answered.
    Answered,
}

/// The members with their contacts, up to whether they are suppressed.
const MEMBERS: &str = concat!(
    "-- each_member\n ",
    found!(),
    ", reported as (
       select p.seq, bool_or(p.kind in (2, 3) or p.kind >= 5) as delivered, bool_or(p.kind = 3 or p.kind >= 5) as read,
              bool_or(p.kind = 4) as undelivered, bool_or(p.kind >= 5) as replied, bool_or(p.kind = 5) as confirmed,
              array_agg('replied=' || lower(p.detail)) filter (where p.kind >= 5 and p.detail is not null) as answers
       from receipt p where p.workspace_id = $1 and p.run_id = $2 and p.seq >= $3 and p.seq < $4 group by p.seq
     ), members as materialized (
       select f.seq, f.address, coalesce(p.replied, false) as replied from found f
       left join reported p on p.seq = f.seq
       where exists (
         select from unnest($8::text[]) w(word) where coalesce(case w.word
           when 'failed' then f.state = 5
           -- One that is due again is in flight.
           when 'unknown' then f.state = 9 and not exists (
             select from retry t where t.workspace_id = $1 and t.run_id = $2 and t.seq = f.seq and t.due_at < 'infinity')
           when 'expired' then f.state = 7
           when 'cancelled' then f.state = 8
           when 'undelivered' then f.state = 4 and p.undelivered
           when 'not_delivered' then f.state = 4 and not coalesce(p.delivered, false)
           when 'unread' then f.state = 4 and not coalesce(p.read, false)
           when 'no_reply' then f.state = 4 and not coalesce(p.replied, false)
           when 'delivered' then p.delivered
           when 'read' then p.read
           when 'confirmed' then p.confirmed
           when 'replied' then p.replied
           else w.word = any (p.answers) end, false))
     )
     select c.address, c.email, c.name, c.country, c.language, c.attributes::text, "
);

/// And behind that.
const ANSWERED: &str = ", false, c.row_no, c.import_id, m.seq,
            m.replied or exists (
              select from recipient x
              join receipt y on y.workspace_id = x.workspace_id and y.run_id = x.run_id and y.seq = x.seq
              where x.workspace_id = $1 and x.address collate \"C\" = m.address and x.run_id = any ($11) and y.kind >= 5), ";

/// And behind why the filter leaves them out.
const CONTACTS: &str = "
     from members m
     left join lateral (
       select c.* from contact c
       where c.workspace_id = $1 and c.list_id = any ($9)
         and (c.address = m.address collate \"C\" or not $10 and c.email = m.address collate \"C\")
       order by array_position($9, c.list_id), c.address limit 1) c on true
     where not exists (
       select from recipient x
       join run y on y.workspace_id = x.workspace_id and y.run_id = x.run_id
       where x.workspace_id = $1 and x.address collate \"C\" = m.address and x.run_id = any ($12)
         and (y.state < 5 or exists (
           select from outcome o where o.workspace_id = $1 and o.run_id = x.run_id and o.seq = x.seq
             and o.class in (1, 6, 9))))
     order by m.seq";

/// Calls `visit` with the members of the cohort among the parent's recipients of seqs from `lo` to `hi` − 1.
/// Those who have answered are no members, unless the cohort is of those who did.
///
/// # Errors
/// When the database fails.
pub async fn each_member(
    c: &mut PgConnection,
    cohort: Cohort<'_>,
    (lo, hi): (i32, i32),
    mut visit: impl FnMut(std::result::Result<Contact<'_>, Missing>) -> ControlFlow<()>,
) -> Result<()> {
    let words: Vec<String> = cohort.members.iter().map(Member::to_string).collect();
    let leaves = !cohort.members.iter().any(Member::wants_answers);
    let mut arguments = PgArguments::default();
    let bound = [
        arguments.add(cohort.workspace_id),
        arguments.add(cohort.parent_run_id),
        arguments.add(lo),
        arguments.add(hi),
        arguments.add(attempts_max(FailureKind::Throttled)),
        arguments.add(attempts_max(FailureKind::Transient)),
        arguments.add(BY_RECEIPT),
        arguments.add(words),
        arguments.add(cohort.lists),
        arguments.add(cohort.by_phone),
        arguments.add(cohort.ancestors),
        arguments.add(cohort.resends),
    ];
    bound.into_iter().collect::<std::result::Result<(), _>>().map_err(sqlx::Error::Encode)?;
    let mut q = QueryBuilder::with_arguments(MEMBERS, arguments);
    cohort.filter.push_suppressed(&mut q, cohort.workspace_id, "(m.address collate \"C\")");
    q.push(ANSWERED);
    cohort.filter.push_barred(&mut q, cohort.workspace_id, None);
    q.push(CONTACTS);
    let mut rows = q.build().fetch(c);
    while let Some(row) = rows.try_next().await? {
        let (gone, answered): (Option<&str>, bool) = (row.try_get_unchecked(0)?, row.try_get(11)?);
        let found = match (leaves && answered, gone) {
            (true, _) => Err(Missing::Answered),
            (false, None) => Err(Missing::Gone),
            (false, Some(_)) => Ok(Contact::of_member(&row)?),
        };
        if visit(found).is_break() {
            break;
        }
    }
    Ok(())
}
