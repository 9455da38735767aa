//! What became of a run, summed up from its outcomes and receipts.

use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use crate::Result;

/// What became of a run's messages, by arm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow, Serialize)]
pub struct ArmCounts {
    /// The arm.
    pub arm: i16,
    /// Its messages.
    pub messages: i64,
    /// Accepted.
    pub sent: i64,
    /// Refused for good, or out of attempts.
    pub failed: i64,
    /// Reported as delivered, read or answered.
    pub delivered: i64,
    /// Reported as read, or answered.
    pub read: i64,
    /// Reported as not delivered.
    pub undelivered: i64,
    /// Answered in any way.
    pub replied: i64,
    /// Confirmed.
    pub confirmed: i64,
    /// Of those it was sent to: who opted out since.
    pub opted_out: i64,
}

/// What became of the messages of a run, by arm, in their order. It reads the run's outcomes and receipts.
///
/// # Errors
/// When the database fails.
pub async fn by_arm(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<Vec<ArmCounts>> {
    Ok(sqlx::query_as(
        "-- by_arm
         with last as (
           select distinct on (o.seq) o.seq, o.class from outcome o
           where o.workspace_id = $1 and o.run_id = $2 and not o.late order by o.seq, o.attempt desc
         ), reported as (
           select seq, bool_or(kind in (2, 3) or kind >= 5) as delivered, bool_or(kind = 3 or kind >= 5) as read,
                  bool_or(kind = 4) as undelivered, bool_or(kind >= 5) as replied, bool_or(kind = 5) as confirmed
           from receipt where workspace_id = $1 and run_id = $2 group by seq
         )
         select (m.variant / 256)::smallint as arm, count(*) as messages,
                count(*) filter (where l.class = 1) as sent,
                count(*) filter (where l.class in (2, 3, 4, 5)) as failed,
                count(*) filter (where p.delivered) as delivered, count(*) filter (where p.read) as read,
                count(*) filter (where p.undelivered) as undelivered,
                count(*) filter (where p.replied) as replied, count(*) filter (where p.confirmed) as confirmed,
                count(*) filter (where l.class = 1 and exists (
                  select from suppression s where s.workspace_id = $1 and s.address = m.address collate \"C\"
                    and s.reason = 3 and s.created_at >= r.started_at)) as opted_out
         from recipient m
         join run r on r.workspace_id = m.workspace_id and r.run_id = m.run_id
         left join last l on l.seq = m.seq
         left join reported p on p.seq = m.seq
         where m.workspace_id = $1 and m.run_id = $2 group by 1 order by 1",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_all(c)
    .await?)
}

/// What a run cost for the recipients of a country.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct CountryCost {
    /// ISO 3166 alpha-2; `None` = unknown.
    pub country: Option<String>,
    /// Messages.
    pub messages: i64,
    /// Micro-credits charged.
    pub cost: i64,
}

/// What a run cost, by country, the dearest first.
///
/// # Errors
/// When the database fails.
pub async fn by_country(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<Vec<CountryCost>> {
    Ok(sqlx::query_as(
        "-- by_country
         select m.country, count(*) as messages, coalesce(sum(o.cost), 0)::bigint as cost
         from recipient m
         left join (select seq, sum(cost) as cost from outcome where workspace_id = $1 and run_id = $2 group by seq) o
           on o.seq = m.seq
         where m.workspace_id = $1 and m.run_id = $2 group by m.country order by cost desc, messages desc, country",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_all(c)
    .await?)
}
