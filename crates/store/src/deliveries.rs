//! Deliveries: where each message of a run stands, read from its recipient, its outcomes and whatever
//! holds it. Nothing stores this state; the same rules give the counters of [`crate::progress`].

use chrono::{DateTime, Utc};
use fanfare_domain::outcome::{Class, FailureKind};
use fanfare_domain::retry::attempts_max;
use fanfare_domain::state::MessageState;
use sqlx::{FromRow, PgConnection};

use crate::queue::BY_RECEIPT;
use crate::{Error, Result};

/// Messages whose answers tell the rate of a run.
const RATE_MESSAGES: i32 = 20_000;
/// Answers older than this do not count for it.
const RATE_SECONDS: f64 = 5.0;

/// The messages of the run `$2` of the workspace `$1` with seqs from `$3` to `$4` − 1, each with its state, as the
/// common table expression `found`; `$5` and `$6` are the most attempts after a throttled and a transient answer,
/// `$7` is [`BY_RECEIPT`].
macro_rules! found {
    () => {
        "with last as (
           select distinct on (o.seq) o.seq, o.attempt, o.class, o.detail, o.provider_id, o.cost, o.at
           from outcome o
           where o.workspace_id = $1 and o.run_id = $2 and o.seq >= $3 and o.seq < $4 and not o.late
           order by o.seq, o.attempt desc
         ), held as (
           select i as seq, 0::smallint as attempts
           from lease l, generate_series(greatest(l.lo, $3), least(l.hi, $4) - 1) i
           where l.workspace_id = $1 and l.run_id = $2 and l.seqs is null
             and (length(l.done) <= (i - l.lo) / 8 or get_bit(l.done, i - l.lo) = 0)
           union all
           select l.seqs[i + 1], l.attempts[i + 1]
           from lease l, generate_series(0, l.hi - 1) i
           where l.workspace_id = $1 and l.run_id = $2 and l.seqs[i + 1] >= $3 and l.seqs[i + 1] < $4
             and (length(l.done) <= i / 8 or get_bit(l.done, i) = 0)
         ), waiting as (
           select t.seq, t.kind, t.attempts from retry t
           where t.workspace_id = $1 and t.run_id = $2 and t.seq >= $3 and t.seq < $4
         ), unclaimed as (
           select greatest(g.next_seq, $3) as lo, least(g.hi, $4) as hi from segment g
           where g.workspace_id = $1 and g.run_id = $2 and g.next_seq < $4 and g.hi > $3
           union all
           select w.lo, w.hi from returned w
           where w.workspace_id = $1 and w.run_id = $2 and w.lo < $4 and w.hi > $3
         ), found as (
           select m.seq, m.address, m.country,
                  (case
                    when t.kind = 1 then 3
                    when t.kind = 2 then 9
                    when t.kind = 3 then 1
                    when h.seq is not null then 2
                    when o.class = 1 then 4
                    when o.class in (2, 3) then 5
                    -- Out of attempts; with some left it was swept.
                    when o.class = 4 and o.attempt >= $5 or o.class = 5 and o.attempt >= $6 then 5
                    when o.class in (6, 9) then 9
                    when o.class = 7 then 6
                    when o.class = 8 then 7
                    when exists (select from unclaimed u where m.seq >= u.lo and m.seq < u.hi) then 1
                    when r.state in (4, 6) then 8
                    else 7
                  end)::smallint as state,
                  -- A write-off and a receipt decide without an attempt.
                  greatest(t.attempts, h.attempts, case when o.class = 9 or o.detail = $7 then o.attempt - 1 else o.attempt end, 0)::smallint as attempts,
                  o.class, o.detail, o.provider_id, coalesce(o.cost, 0) as cost, o.at
           from recipient m
           join run r on r.workspace_id = m.workspace_id and r.run_id = m.run_id
           left join last o on o.seq = m.seq
           left join held h on h.seq = m.seq
           left join waiting t on t.seq = m.seq
           where m.workspace_id = $1 and m.run_id = $2 and m.seq >= $3 and m.seq < $4
         )"
    };
}
pub(crate) use found;

/// One message of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Number inside the run.
    pub seq: i32,
    /// Phone in E.164 or e-mail.
    pub address: String,
    /// ISO 3166 alpha-2.
    pub country: Option<String>,
    /// Where it stands.
    pub state: MessageState,
    /// Attempts made so far.
    pub attempts: i16,
    /// What became of the last attempt.
    pub class: Option<Class>,
    /// The provider's code, or the kind of failure.
    pub detail: Option<String>,
    /// The provider's id of the message.
    pub provider_id: Option<String>,
    /// Micro-credits charged.
    pub cost: i64,
    /// When the answer to the last attempt came.
    pub at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct Row {
    seq: i32,
    address: String,
    country: Option<String>,
    state: i16,
    attempts: i16,
    class: Option<i16>,
    detail: Option<String>,
    provider_id: Option<String>,
    cost: i64,
    at: Option<DateTime<Utc>>,
}

/// The messages of the run with seqs from `lo` to `hi` − 1, all or those in `only`, in order. Reading a
/// run page by page takes constant memory and no long transaction; each page is true at its own instant.
///
/// # Errors
/// When the database fails.
pub async fn page(
    c: &mut PgConnection,
    workspace_id: i32,
    run_id: i64,
    (lo, hi): (i32, i32),
    only: Option<MessageState>,
) -> Result<Vec<Delivery>> {
    let rows: Vec<Row> = sqlx::query_as(concat!(
        "-- page\n",
        found!(),
        "
             select * from found where $8::smallint is null or state = $8 order by seq"
    ))
    .bind(workspace_id)
    .bind(run_id)
    .bind(lo)
    .bind(hi)
    .bind(attempts_max(FailureKind::Throttled))
    .bind(attempts_max(FailureKind::Transient))
    .bind(BY_RECEIPT)
    .bind(only.map(MessageState::as_i16))
    .fetch_all(c)
    .await?;
    rows.into_iter().map(Row::delivery).collect()
}

/// One past the last number of the run so far: of a run to a list, how many messages it has.
///
/// # Errors
/// When the database fails.
pub async fn total(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<i32> {
    let total = sqlx::query_scalar(
        "-- total
         select coalesce(max(hi), 0) from segment where workspace_id = $1 and run_id = $2",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_one(c)
    .await?;
    Ok(total)
}

impl Row {
    fn delivery(self) -> Result<Delivery> {
        let corrupt = |what, n: i16| Error::Corrupt(format!("{what} {n} of message {}", self.seq));
        let class = |n| Class::from_i16(n).ok_or_else(|| corrupt("outcome class", n));
        Ok(Delivery {
            state: MessageState::from_i16(self.state).ok_or_else(|| corrupt("state", self.state))?,
            class: self.class.map(class).transpose()?,
            seq: self.seq,
            address: self.address,
            country: self.country,
            attempts: self.attempts,
            detail: self.detail,
            provider_id: self.provider_id,
            cost: self.cost,
            at: self.at,
        })
    }
}

/// How fast a run is being sent: answers a second over the last seconds, by the database's clock. Looks
/// at the messages claimed last only, so it costs the same for a run of any size; late retries of earlier
/// messages are not in it.
///
/// # Errors
/// When the database fails.
pub async fn rate_lately(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<f64> {
    let rate: Option<f64> = sqlx::query_scalar(
        "-- rate_lately
         with reached as (
           -- What comes one by one goes on in the newest block of each zone.
           select greatest(max(g.next_seq) - $3, max(g.lo) filter (where r.kind = 6)) as lo, max(g.next_seq) as hi
           from segment g join run r on r.workspace_id = g.workspace_id and r.run_id = g.run_id
           where g.workspace_id = $1 and g.run_id = $2 and g.next_seq > g.lo group by case r.kind when 6 then g.zone end
         ), answers as (
           select o.at from reached r join outcome o on o.seq >= r.lo and o.seq < r.hi
           where o.workspace_id = $1 and o.run_id = $2
         ), oldest as (
           -- Where all of them are young, the rate is over their own time.
           select greatest(min(at), clock_timestamp() - make_interval(secs => $4)) as at from answers
         )
         select count(*) / greatest(extract(epoch from clock_timestamp() - o.at), 0.2)::float8
         from oldest o join answers a on a.at >= o.at group by o.at",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(RATE_MESSAGES)
    .bind(RATE_SECONDS)
    .fetch_optional(c)
    .await?;
    Ok(rate.unwrap_or(0.0))
}
