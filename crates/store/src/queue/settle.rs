//! Settling messages in doubt without a send: by a receipt, by a person, or by the campaign's policy.

use std::collections::BTreeSet;

use fanfare_domain::id::Ids;
use fanfare_domain::outcome::Class;
use sqlx::{FromRow, PgConnection};

use super::books::charge;
use crate::Result;
use crate::error::ensure_affected;

/// What an outcome says of which no attempt is the cause.
pub const BY_RECEIPT: &str = "by receipt";

#[derive(FromRow)]
struct Sums {
    messages: i64,
    cost: i64,
    reserved: i64,
}

/// Which messages of a run are settled, and how.
#[derive(Debug, Clone, Copy)]
pub struct Verdict<'a> {
    /// Tenant.
    pub workspace_id: i32,
    /// The run.
    pub run_id: i64,
    /// Those in doubt among these; `None` for all that wait for nothing but a person.
    pub seqs: Option<&'a [i32]>,
    /// As accepted, or as given up on: either way they are paid.
    pub class: Class,
    /// What the outcome says of it.
    pub detail: Option<&'a str>,
    /// Shard of progress.
    pub shard: i16,
}

/// Decides messages in doubt: the price is charged, what was reserved beyond it is freed. Those that are
/// not in doubt are left alone. Gives how many were.
///
/// # Errors
/// When the database fails; the caller's transaction is broken then.
pub async fn settle(c: &mut PgConnection, ids: &Ids, v: Verdict<'_>) -> Result<i64> {
    let sums: Sums = sqlx::query_as(
        "-- settle
         with held as materialized (
           -- In order, so that two of these at once cannot wait for each other.
           select t.seq from retry t
           where t.workspace_id = $1 and t.run_id = $2 and t.kind = 2
             and (t.seq = any ($3) or $3::int[] is null and t.due_at = 'infinity')
           order by t.seq for update
         ), gone as (
           delete from retry t using held h, run_account r
           where t.workspace_id = $1 and t.run_id = $2 and t.seq = h.seq
             and r.workspace_id = $1 and r.run_id = $2 and r.account_id = t.account_id
           returning t.seq, t.attempts, t.account_id, t.reserved, r.prices
         ), priced as (
           select g.seq, g.attempts, g.account_id, g.reserved,
                  least(g.reserved, m.units * coalesce((g.prices ->> m.country)::bigint, (g.prices ->> '')::bigint, 0)) as cost
           from gone g join recipient m on m.workspace_id = $1 and m.run_id = $2 and m.seq = g.seq
         ), decided as (
           insert into outcome (workspace_id, seq, run_id, account_id, at, cost, latency_ms, attempt, class, late, detail)
           select $1, p.seq, $2, p.account_id, clock_timestamp(), p.cost, 0, p.attempts + 1, $4, false, $5 from priced p
         )
         select count(*) as messages, coalesce(sum(cost), 0)::bigint as cost, coalesce(sum(reserved), 0)::bigint as reserved
         from priced",
    )
    .bind(v.workspace_id)
    .bind(v.run_id)
    .bind(v.seqs)
    .bind(v.class.as_i16())
    .bind(v.detail)
    .fetch_one(&mut *c)
    .await?;
    if sums.messages > 0 {
        enter(c, ids, v, &sums).await?;
    }
    Ok(sums.messages)
}

/// Credit, progress, ledger: in the order of every flush.
async fn enter(c: &mut PgConnection, ids: &Ids, v: Verdict<'_>, sums: &Sums) -> Result<()> {
    if sums.reserved > 0 {
        let done = sqlx::query(
            "-- settle: credit
             update credit set balance = balance - $2, reserved = reserved - $3 where workspace_id = $1",
        )
        .bind(v.workspace_id)
        .bind(sums.cost)
        .bind(sums.reserved)
        .execute(&mut *c)
        .await?;
        ensure_affected("settle: credit", done.rows_affected(), 1)?;
    }
    // What is given up on goes on counting as in doubt.
    let sent = if v.class == Class::Sent { sums.messages } else { 0 };
    sqlx::query(
        "-- settle: progress
         insert into progress as g (workspace_id, run_id, shard, cost, sent, unknown) values ($1, $2, $3, $4, $5, -$5)
         on conflict (workspace_id, run_id, shard)
         do update set cost = g.cost + excluded.cost, sent = g.sent + excluded.sent, unknown = g.unknown + excluded.unknown",
    )
    .bind(v.workspace_id)
    .bind(v.run_id)
    .bind(v.shard)
    .bind(sums.cost)
    .bind(sent)
    .execute(&mut *c)
    .await?;
    if sums.cost > 0 {
        charge(c, ids, v.workspace_id, v.run_id, sums.cost, sums.messages as i32).await?;
    }
    Ok(())
}

/// Keeps doubts and reports of a run from passing each other unseen: who writes a doubt down and then looks
/// for reports of it holds this alone, who writes reports down and then looks for doubts holds it with
/// others, both until they commit. To be taken before leases, retries, credit and progress are locked.
///
/// # Errors
/// When the database fails.
pub(crate) async fn lock_doubts(c: &mut PgConnection, runs: &BTreeSet<i64>, alone: bool) -> Result<()> {
    let sql = match alone {
        true => "select pg_advisory_xact_lock($1) -- lock_doubts: alone",
        false => "select pg_advisory_xact_lock_shared($1) -- lock_doubts: with others",
    };
    for run_id in runs {
        sqlx::query(sql).bind(run_id).execute(&mut *c).await?;
    }
    Ok(())
}

/// Settles the messages in doubt among these (all of the run without them) of which there is a receipt: it
/// may have come before the doubt. Gives how many.
///
/// # Errors
/// When the database fails; the caller's transaction is broken then.
pub(crate) async fn settle_reported(
    c: &mut PgConnection,
    ids: &Ids,
    (workspace_id, run_id): (i32, i64),
    seqs: Option<&[i32]>,
    shard: i16,
) -> Result<i64> {
    let found: Vec<i32> = sqlx::query_scalar(
        "-- settle_reported
         select t.seq from retry t
         where t.workspace_id = $1 and t.run_id = $2 and t.kind = 2 and (t.seq = any ($3) or $3::int[] is null)
           and exists (select from receipt r where r.workspace_id = $1 and r.run_id = $2 and r.seq = t.seq)
         order by t.seq",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(seqs)
    .fetch_all(&mut *c)
    .await?;
    if found.is_empty() {
        return Ok(0);
    }
    let (class, detail) = (Class::Sent, Some(BY_RECEIPT));
    settle(c, ids, Verdict { workspace_id, run_id, seqs: Some(&found), class, detail, shard }).await
}
