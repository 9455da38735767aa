//! The limits of an account by the day: a claim counts every message against them beforehand, and what was
//! not sent, or went to somebody who counts already, is taken back afterwards. Where that is not heard of,
//! the day is a little shorter.

use sqlx::PgPool;

use crate::Result;

/// What is taken back of one claim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TakenBack {
    /// Messages that were never started.
    pub unstarted: i32,
    /// Messages that were certainly not accepted: their recipients were not written to.
    pub refused: i32,
}

/// A message that was, or may have been, accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contacted {
    /// The run.
    pub run_id: i64,
    /// The message.
    pub seq: i32,
    /// Hour of its claim, since the Unix epoch.
    pub hour: i32,
}

/// Takes messages off the hour in which they were claimed, while that is the current one.
///
/// # Errors
/// When the database fails.
pub async fn give_back(
    pool: &PgPool,
    (workspace_id, account_id): (i32, i64),
    hour: i32,
    taken: TakenBack,
) -> Result<()> {
    sqlx::query(
        "-- give_back
         update account_pace set day_counts[1] = greatest(0, day_counts[1] - $4),
           recipient_counts[1] = greatest(0, recipient_counts[1] - $4 - $5)
         where workspace_id = $1 and account_id = $2 and day_hour = $3",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(i64::from(hour))
    .bind(taken.unstarted)
    .bind(taken.refused)
    .execute(pool)
    .await?;
    Ok(())
}

/// Notes whom the account wrote to, so that each recipient counts once in 24 hours: in the hour of the last
/// message. One who counted before is taken off that hour.
///
/// # Errors
/// When the database fails.
pub async fn contacted(pool: &PgPool, (workspace_id, account_id): (i32, i64), messages: &[Contacted]) -> Result<()> {
    let runs: Vec<i64> = messages.iter().map(|m| m.run_id).collect();
    let seqs: Vec<i32> = messages.iter().map(|m| m.seq).collect();
    let hours: Vec<i32> = messages.iter().map(|m| m.hour).collect();
    sqlx::query(
        "-- contacted
         with told as materialized (
           select m.address, max(u.hour) as hour, count(*) as times
           from unnest($3::bigint[], $4::int[], $5::int[]) as u(run_id, seq, hour)
           join recipient m on m.workspace_id = $1 and m.run_id = u.run_id and m.seq = u.seq group by m.address
         ), before as materialized (
           select c.address, c.hour from contacted c join told t on t.address = c.address
           where c.workspace_id = $1 and c.account_id = $2 order by c.address for update of c
         ), now as (
           -- In one order, so that two of these at once cannot wait for each other.
           insert into contacted as c (workspace_id, account_id, address, hour)
           select $1, $2, t.address, t.hour from told t order by t.address
           on conflict (workspace_id, account_id, address) do update set hour = greatest(c.hour, excluded.hour)
         ), gone as (
           select x.hour, sum(x.n) as n from (
             select least(b.hour, t.hour) as hour, 1 as n from before b join told t on t.address = b.address
             union all
             select t.hour, t.times - 1 from told t where t.times > 1) x
           group by x.hour
         )
         update account_pace p set recipient_counts = (
             select array_agg(greatest(0, u.c - coalesce(g.n, 0))::int order by u.i)
             from unnest(p.recipient_counts) with ordinality as u(c, i) left join gone g on g.hour = p.day_hour - (u.i - 1))
         where p.workspace_id = $1 and p.account_id = $2 and exists (select from gone)",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(&runs)
    .bind(&seqs)
    .bind(&hours)
    .execute(pool)
    .await?;
    Ok(())
}

/// What was handed back of a run counts no more towards the account's share of it.
///
/// # Errors
/// When the database fails.
pub async fn unclaim(pool: &PgPool, (workspace_id, account_id): (i32, i64), run_id: i64, messages: i32) -> Result<()> {
    sqlx::query(
        "-- unclaim
         update flow set claimed = claimed - $4
         where workspace_id = $1 and account_id = $2 and run_id = $3 and sharing = 2",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(run_id)
    .bind(messages)
    .execute(pool)
    .await?;
    Ok(())
}

/// Forgets whom accounts wrote to more than a day ago.
///
/// # Errors
/// When the database fails.
pub async fn forget_contacted(pool: &PgPool) -> Result<u64> {
    let done = sqlx::query(
        "-- forget_contacted
         delete from contacted where hour < (extract(epoch from clock_timestamp()) / 3600)::int - 26",
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}
