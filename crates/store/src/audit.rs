//! The audit: every book against what it is kept of, in one snapshot.

use std::fmt::Write as _;

use serde::Serialize;
use sqlx::{Connection, PgConnection};

use crate::{Result, progress};

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Whether every check holds.
    pub ok: bool,
    /// The checks.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is checked.
    pub name: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// What it was found to be; of a failed one, where.
    pub detail: String,
}

/// Checks whose query returns a line for each violation.
const RULES: &[(&str, &str)] = &[
    (
        "counters match outcomes",
        // What a run's counters say, against the last decisive outcome of each of its messages.
        "-- audit: counters match outcomes
         with last as (
           select distinct on (o.run_id, o.seq) o.run_id, o.seq, o.class
           from outcome o where o.workspace_id = $1 and not o.late order by o.run_id, o.seq, o.attempt desc
         ), waits as (
           select run_id, seq from retry where workspace_id = $1
         ), held as (
           select l.run_id, l.seqs[i + 1] as seq from lease l, generate_series(0, l.hi - 1) i
           where l.workspace_id = $1 and l.seqs is not null
             and (length(l.done) <= i / 8 or get_bit(l.done, i) = 0)
         ), found as (
           select l.run_id, count(*) filter (where class = 1) as sent,
                  count(*) filter (where class in (2, 3)) as failed,
                  count(*) filter (where class in (4, 5)) as exhausted,
                  count(*) filter (where class = 7) as suppressed, count(*) filter (where class = 8) as expired
           from last l
           where not exists (select from waits w where w.run_id = l.run_id and w.seq = l.seq)
             and not exists (select from held h where h.run_id = l.run_id and h.seq = l.seq)
           group by l.run_id
         ), kept as (
           select run_id, sum(sent) as sent, sum(failed) as failed, sum(suppressed) as suppressed,
                  sum(expired) as expired, sum(cancelled) as cancelled
           from progress where workspace_id = $1 group by run_id
         )
         select format('run %s: sent %s counted, %s found; failed %s counted, %s to %s found', k.run_id, k.sent,
                       coalesce(f.sent, 0), k.failed, coalesce(f.failed, 0), coalesce(f.failed + f.exhausted, 0))
         from kept k left join found f using (run_id)
         where k.sent <> coalesce(f.sent, 0) or k.suppressed <> coalesce(f.suppressed, 0)
            -- A message swept with its run may have failed attempts behind it.
            or k.failed not between coalesce(f.failed, 0) and coalesce(f.failed + f.exhausted, 0) or k.expired < coalesce(f.expired, 0)
            or k.failed + k.expired + k.cancelled < coalesce(f.failed + f.exhausted + f.expired, 0)",
    ),
    (
        "no message accepted twice",
        "-- audit: no message accepted twice
         select format('run %s seq %s: %s accepted attempts', o.run_id, o.seq, count(*))
         from outcome o
         join run r on r.workspace_id = o.workspace_id and r.run_id = o.run_id
         join campaign c on c.workspace_id = r.workspace_id and c.campaign_id = r.campaign_id
         join account a on a.workspace_id = o.workspace_id and a.account_id = o.account_id
         -- A provider that honours the key answers a repeat as accepted without sending again.
         where o.workspace_id = $1 and o.class = 1 and not a.idempotent and c.on_unknown <> 2
           -- Nor does a receipt or a look-up send.
           and o.detail is distinct from 'by receipt' and o.detail is distinct from 'look-up: found'
         group by o.run_id, o.seq having count(*) > 1",
    ),
    (
        "reports match their counters",
        "-- audit: reports
         with found as (
           select run_id, count(*) filter (where kind = 2) as delivered, count(*) filter (where kind = 3) as read,
                  count(*) filter (where kind = 4) as undelivered, count(*) filter (where kind >= 5) as replied
           from receipt where workspace_id = $1 group by run_id
         ), kept as (
           select run_id, sum(delivered) as delivered, sum(read) as read, sum(undelivered) as undelivered,
                  sum(replied) as replied
           from progress where workspace_id = $1 group by run_id
         )
         select format('run %s: delivered %s counted, %s found; read %s, %s; failed %s, %s; answered %s, %s', run_id,
                       k.delivered, f.delivered, k.read, f.read, k.undelivered, f.undelivered, k.replied, f.replied)
         from kept k left join found f using (run_id)
         where (k.delivered, k.read, k.undelivered, k.replied)
               is distinct from (coalesce(f.delivered, 0), coalesce(f.read, 0), coalesce(f.undelivered, 0), coalesce(f.replied, 0))",
    ),
    (
        "waiting messages match their counters",
        "-- audit: waiting
         with found as (
           select run_id, count(*) filter (where kind = 1) as retrying, count(*) filter (where kind = 2) as unknown
           from retry where workspace_id = $1 group by run_id
         ), kept as (
           select run_id, sum(retrying) as retrying, sum(unknown) as unknown from progress where workspace_id = $1 group by run_id
         ), written_off as (
           select run_id, count(*) as n from outcome where workspace_id = $1 and class = 9 group by run_id
         )
         select format('run %s: retrying %s counted, %s found; unknown %s counted, %s found', run_id,
                       coalesce(k.retrying, 0), coalesce(f.retrying, 0), coalesce(k.unknown, 0), coalesce(f.unknown, 0))
         from kept k full join found f using (run_id) left join written_off w using (run_id)
         where coalesce(k.retrying, 0) <> coalesce(f.retrying, 0)
            or coalesce(k.unknown, 0) <> coalesce(f.unknown, 0) + coalesce(w.n, 0)",
    ),
    (
        "leases match their bitmaps",
        "-- audit: leases
         select format('lease %s: %s open, %s unsettled', l.lease_id, l.open, u.n)
         from lease l, lateral (
           select count(*) as n from generate_series(0, l.hi - l.lo - 1) i
           where length(l.done) <= i / 8 or get_bit(l.done, i) = 0) u
         where l.workspace_id = $1 and l.open <> u.n",
    ),
    (
        "no message is held twice",
        // A seq is ahead of the cursor, or in at most one lease, returned range or retry.
        "-- audit: held twice
         with leased as (
           select l.run_id, coalesce(l.seqs[i + 1], l.lo + i) as seq from lease l, generate_series(0, l.hi - l.lo - 1) i
           where l.workspace_id = $1 and (length(l.done) <= i / 8 or get_bit(l.done, i) = 0)
         ), single as (
           select run_id, seq from leased union all select run_id, seq from retry where workspace_id = $1
         )
         select format('run %s seq %s is leased or waiting %s times', run_id, seq, count(*))
         from single group by run_id, seq having count(*) > 1
         union all
         select format('run %s seq %s is returned and leased or waiting', s.run_id, s.seq)
         from single s join returned w on w.workspace_id = $1 and w.run_id = s.run_id and s.seq >= w.lo and s.seq < w.hi
         union all
         select format('run %s: returned ranges overlap at %s', w.run_id, w.next_lo)
         from (select run_id, hi, lead(lo) over (partition by run_id order by lo) as next_lo
               from returned where workspace_id = $1) w where w.next_lo < w.hi
         union all
         select format('run %s seq %s is ahead of the cursor and leased or waiting', s.run_id, s.seq)
         from single s join segment g on g.workspace_id = $1 and g.run_id = s.run_id and s.seq >= g.next_seq and s.seq < g.hi",
    ),
    (
        "credit is the sum of its ledger",
        "-- audit: credit
         select format('balance %s, ledger %s', c.balance, coalesce(l.total, 0))
         from credit c left join (select sum(amount) as total from ledger where workspace_id = $1) l on true
         where c.workspace_id = $1 and c.balance <> coalesce(l.total, 0)",
    ),
    (
        "charges are the costs of outcomes",
        "-- audit: charges
         with charged as (select run_id, -sum(amount) as micro from ledger where workspace_id = $1 and kind = 2 group by run_id),
              cost as (select run_id, sum(cost) as micro from outcome where workspace_id = $1 group by run_id),
              kept as (select run_id, sum(cost) as micro from progress where workspace_id = $1 group by run_id)
         select format('run %s: charged %s, outcomes cost %s, counted %s', run_id, coalesce(h.micro, 0), coalesce(o.micro, 0), coalesce(k.micro, 0))
         from cost o full join charged h using (run_id) full join kept k using (run_id)
         where coalesce(h.micro, 0) <> coalesce(o.micro, 0) or coalesce(k.micro, 0) <> coalesce(o.micro, 0)",
    ),
    (
        "reservations match what is open",
        "-- audit: reservations
         select format('reserved %s, leases and unknowns hold %s', c.reserved, o.micro)
         from credit c,
              (select coalesce((select sum(reserve_each * open) from lease where workspace_id = $1), 0)
                    + coalesce((select sum(reserved) from retry where workspace_id = $1), 0) as micro) o
         where c.workspace_id = $1 and c.reserved <> o.micro",
    ),
    (
        "the audience is whole",
        "-- audit: audience
         with found as (select run_id, count(*) as n, min(seq) as lo, max(seq) + 1 as hi from recipient where workspace_id = $1 group by run_id),
              kept as (select run_id, sum(hi - lo) as n from segment where workspace_id = $1 group by run_id)
         select format('run %s: %s recipients, segments hold %s', r.run_id, coalesce(f.n, 0), coalesce(k.n, 0))
         from found f full join kept k using (run_id) join run r on r.workspace_id = $1 and r.run_id = coalesce(f.run_id, k.run_id)
         where coalesce(f.n, 0) <> coalesce(k.n, 0) or r.kind <> 6 and (f.lo <> 0 or f.hi <> f.n)
            -- What comes one by one may be numbered in blocks.
            or r.kind = 6 and exists (
              select from segment g where g.workspace_id = $1 and g.run_id = r.run_id
                and g.hi - g.lo <> (select count(*) from recipient m
                                    where m.workspace_id = $1 and m.run_id = g.run_id and m.seq >= g.lo and m.seq < g.hi))",
    ),
    (
        "imports account for every row",
        "-- audit: imports
         select format('import %s: %s rows', import_id, rows) from import
         where workspace_id = $1 and rows <> imported + updated + unchanged + duplicates + rejected",
    ),
    (
        "finished runs have nothing open",
        "-- audit: finished
         select format('run %s is over, but holds work', r.run_id) from run r
         where r.workspace_id = $1 and r.state in (5, 6)
           and (exists (select from segment g where g.workspace_id = $1 and g.run_id = r.run_id and g.next_seq < g.hi)
             or exists (select from returned w where w.workspace_id = $1 and w.run_id = r.run_id)
             or exists (select from lease l where l.workspace_id = $1 and l.run_id = r.run_id)
             or exists (select from retry t where t.workspace_id = $1 and t.run_id = r.run_id and t.kind <> 2))",
    ),
];

/// Violations that one check lists at most.
const LISTED_MAX: usize = 5;

/// Audits a workspace. All checks see one snapshot, so it may run at any time, at any load.
///
/// # Errors
/// When the database fails. A violated check is not an error but a finding.
pub async fn audit(c: &mut PgConnection, workspace_id: i32) -> Result<Audit> {
    let mut tx = c.begin_with("begin isolation level repeatable read read only").await?;
    let mut checks = vec![conservation(&mut tx, workspace_id).await?];
    for (name, sql) in RULES {
        let violations: Vec<String> = sqlx::query_scalar(*sql).bind(workspace_id).fetch_all(&mut *tx).await?;
        let detail = match violations.len() {
            0 => "holds".to_owned(),
            n => listed(&violations, n),
        };
        checks.push(Check { name, ok: violations.is_empty(), detail });
    }
    tx.commit().await?;
    Ok(Audit { ok: checks.iter().all(|c| c.ok), checks })
}

/// The conservation law for every run, by the same statement that `campaign status` shows.
async fn conservation(c: &mut PgConnection, workspace_id: i32) -> Result<Check> {
    let runs: Vec<i64> =
        sqlx::query_scalar("select run_id from run where workspace_id = $1 order by run_id -- audit: runs")
            .bind(workspace_id)
            .fetch_all(&mut *c)
            .await?;
    let (mut messages, mut violations) = (0, vec![]);
    for run_id in &runs {
        let p = progress::progress(c, workspace_id, *run_id).await?;
        messages += p.total;
        if p.imbalance() != 0 {
            violations.push(format!("run {run_id}: {} of {} messages unaccounted for", p.imbalance(), p.total));
        }
    }
    let detail = match violations.len() {
        0 => format!("{messages} messages in {} runs, each in exactly one class", runs.len()),
        n => listed(&violations, n),
    };
    Ok(Check { name: "conservation", ok: violations.is_empty(), detail })
}

fn listed(violations: &[String], n: usize) -> String {
    let mut text = violations[..n.min(LISTED_MAX)].join("; ");
    if n > LISTED_MAX {
        // Writing to a string cannot fail.
        let _ = write!(text, "; and {} more", n - LISTED_MAX);
    }
    text
}
