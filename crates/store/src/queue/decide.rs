//! What a person decides about a message in doubt.

use chrono::{DateTime, Utc};
use fanfare_domain::id::Ids;
use fanfare_domain::outcome::Class;
use fanfare_domain::state::{OnUnknown, RunState};
use sqlx::PgPool;

use super::settle::{Verdict, settle};
use crate::{Error, Result, flows, transitions};

/// A person's decision.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    /// Tenant.
    pub workspace_id: i32,
    /// The run.
    pub run_id: i64,
    /// The message.
    pub seq: i32,
    /// Hold it, send it again at the risk of a second one, or write it off.
    pub verdict: OnUnknown,
    /// Who decides.
    pub decided_by: &'a str,
    /// When, by the machine's clock, as expiry goes.
    pub decided_at: DateTime<Utc>,
    /// Shard of progress.
    pub shard: i16,
}

/// Carries a decision out, and records it. Says whether the message was in doubt; if not, nothing is done.
/// A message to be sent again goes with its run, which is running again if it was finished.
///
/// # Errors
/// [`Error::Conflict`] when its run sends nothing more; else when the database fails. Nothing is decided then.
pub async fn decide(pool: &PgPool, ids: &Ids, d: Decision<'_>) -> Result<bool> {
    let mut tx = pool.begin().await?;
    // Flows before retries, the claim's order.
    sqlx::query(
        "-- decide: flows\n select from flow where workspace_id = $1 and run_id = $2 order by account_id for update",
    )
    .bind(d.workspace_id)
    .bind(d.run_id)
    .execute(&mut *tx)
    .await?;
    let doubtful = sqlx::query(
        "-- decide: lock
         select from retry where workspace_id = $1 and run_id = $2 and seq = $3 and kind = 2 for update",
    )
    .bind(d.workspace_id)
    .bind(d.run_id)
    .bind(d.seq)
    .fetch_optional(&mut *tx)
    .await?;
    if doubtful.is_none() {
        return Ok(false);
    }
    match d.verdict {
        OnUnknown::Hold => due(&mut tx, d, "infinity").await?,
        OnUnknown::WriteOff => {
            let Decision { workspace_id, run_id, shard, .. } = d;
            let seqs = Some([d.seq]);
            let seqs = seqs.as_ref().map(<[i32; 1]>::as_slice);
            settle(&mut tx, ids, Verdict { workspace_id, run_id, seqs, class: Class::WrittenOff, detail: None, shard })
                .await?;
        }
        OnUnknown::Resend => {
            if !may_go_on(&mut tx, d).await? {
                let why = "its run is cancelled, or it is past its expiry: it is not sent any more";
                return Err(Error::Conflict(why.to_owned()));
            }
            // Certain again, by decision: it waits like any message that was not accepted.
            due(&mut tx, d, "now").await?;
            make_certain(&mut tx, d).await?;
            reopen(&mut tx, d).await?;
        }
    }
    sqlx::query(
        "-- decide: record
         insert into decision (workspace_id, run_id, seq, decision_id, verdict, decided_by, decided_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(d.workspace_id)
    .bind(d.run_id)
    .bind(d.seq)
    .bind(ids.next())
    .bind(d.verdict.as_i16())
    .bind(d.decided_by)
    .bind(d.decided_at)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(true)
}

async fn due(c: &mut sqlx::PgConnection, d: Decision<'_>, at: &str) -> Result<()> {
    sqlx::query(
        "-- decide: due
         update retry set due_at = $4::timestamptz, not_before = null where workspace_id = $1 and run_id = $2 and seq = $3",
    )
        .bind(d.workspace_id)
        .bind(d.run_id)
        .bind(d.seq)
        .bind(at)
        .execute(c)
        .await?;
    Ok(())
}

/// Whether the run still sends, or may be opened again, and the message has not expired by itself.
async fn may_go_on(c: &mut sqlx::PgConnection, d: Decision<'_>) -> Result<bool> {
    let may = sqlx::query_scalar(
        "-- decide: may go on
         select r.state in (2, 3, 5) and coalesce(r.expires_at > $4, true)
                and not exists (select from expiry e where e.workspace_id = $1 and e.run_id = $2 and e.seq = $3
                                  and e.expires_at <= $4)
         from run r where r.workspace_id = $1 and r.run_id = $2 for no key update of r",
    )
    .bind(d.workspace_id)
    .bind(d.run_id)
    .bind(d.seq)
    .bind(d.decided_at)
    .fetch_one(c)
    .await?;
    Ok(may)
}

/// From doubt to a retry: what was reserved is freed, and reserved anew by the claim. Retry, credit,
/// progress: the order of every flush.
async fn make_certain(c: &mut sqlx::PgConnection, d: Decision<'_>) -> Result<()> {
    let reserved: i64 = sqlx::query_scalar(
        "-- decide: make certain
         with was as (select reserved from retry where workspace_id = $1 and run_id = $2 and seq = $3)
         update retry t set kind = 1, reserved = 0 from was
         where t.workspace_id = $1 and t.run_id = $2 and t.seq = $3 returning was.reserved",
    )
    .bind(d.workspace_id)
    .bind(d.run_id)
    .bind(d.seq)
    .fetch_one(&mut *c)
    .await?;
    if reserved > 0 {
        sqlx::query("-- decide: credit\n update credit set reserved = reserved - $2 where workspace_id = $1")
            .bind(d.workspace_id)
            .bind(reserved)
            .execute(&mut *c)
            .await?;
    }
    sqlx::query(
        "-- decide: progress
         insert into progress as p (workspace_id, run_id, shard, retrying, unknown) values ($1, $2, $3, 1, -1)
         on conflict (workspace_id, run_id, shard)
         do update set retrying = p.retrying + 1, unknown = p.unknown - 1",
    )
    .bind(d.workspace_id)
    .bind(d.run_id)
    .bind(d.shard)
    .execute(c)
    .await?;
    Ok(())
}

/// Gives a finished run its flows back.
async fn reopen(c: &mut sqlx::PgConnection, d: Decision<'_>) -> Result<()> {
    let finished = sqlx::query(
        "-- decide: reopen
         update run set state = 2, finished_at = null where workspace_id = $1 and run_id = $2 and state = 5",
    )
    .bind(d.workspace_id)
    .bind(d.run_id)
    .execute(&mut *c)
    .await?;
    if finished.rows_affected() == 1 {
        let change = (Some(RunState::Finished), RunState::Running);
        let why = Some("a message in doubt is sent again");
        transitions::of_run(c, (d.workspace_id, d.run_id), change, d.decided_by, why).await?;
        sqlx::query(
            "-- decide: flows
             insert into flow (workspace_id, account_id, run_id, weight, runnable, vtime, reserve_each, sharing, rank, share, lane, windowed)
             select $1, a.account_id, $2, c.weight, true,
                    coalesce((select max(f.vtime) from flow f where f.workspace_id = $1 and f.account_id = a.account_id), 0),
                    coalesce((select max(m.units * coalesce((a.prices ->> m.country)::bigint, (a.prices ->> '')::bigint, 0))
                              from recipient m where m.workspace_id = $1 and m.run_id = $2), 0),
                    case when count(*) over () > 1 then c.sharing else 0 end, a.rank, coalesce(a.share, 1),
                    case r.kind when 6 then 0 else 1 end, is_windowed($1, c.campaign_id)
             from run r
             join campaign c on c.workspace_id = $1 and c.campaign_id = r.campaign_id
             join run_account a on a.workspace_id = $1 and a.run_id = $2
             where r.workspace_id = $1 and r.run_id = $2
             on conflict do nothing",
        )
        .bind(d.workspace_id)
        .bind(d.run_id)
        .execute(&mut *c)
        .await?;
        // Nobody has moved its windows on since it ended: they count as closed, and are moved on now.
        sqlx::query(
            "-- decide: windows
             update segment set closes_at = $3 where workspace_id = $1 and run_id = $2
               and exists (select from flow where workspace_id = $1 and run_id = $2 and windowed)",
        )
        .bind(d.workspace_id)
        .bind(d.run_id)
        .bind(d.decided_at)
        .execute(&mut *c)
        .await?;
        flows::pace(c, d.workspace_id, d.run_id).await?;
    }
    Ok(())
}
