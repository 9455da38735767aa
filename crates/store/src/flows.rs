//! Flows: through which accounts a run may be claimed now. Every change of a run's state locks all of them
//! first, in one order, and then the run, as the claim does.

use fanfare_domain::state::RunState;
use sqlx::PgConnection;

use crate::{Result, transitions};

/// Locks the flows of a run. A run that is over has none.
///
/// # Errors
/// When the database fails.
pub async fn lock(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<()> {
    sqlx::query(
        "-- flows: lock
         select from flow where workspace_id = $1 and run_id = $2 order by account_id for no key update",
    )
    .bind(workspace_id)
    .bind(run_id)
    .execute(c)
    .await?;
    Ok(())
}

/// Opens the flows of a run, also those that were closed one by one, each level with its account's others:
/// it is neither served before all of them until it has caught up, nor after. Those that keep a pace may be far
/// behind, and are no measure.
///
/// # Errors
/// When the database fails.
pub async fn open(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<()> {
    reopen(c, workspace_id, run_id, false).await
}

/// Opens the flows of a run: all, or without those that a provider has closed.
async fn reopen(c: &mut PgConnection, workspace_id: i32, run_id: i64, but_refused: bool) -> Result<()> {
    sqlx::query(
        "-- flows: open
         update flow f set runnable = true, closed = null, closed_detail = null, vtime = greatest(f.vtime, (
           select coalesce(min(o.vtime) filter (where o.runnable and not o.paced), max(o.vtime), 0) from flow o
           where o.workspace_id = f.workspace_id and o.account_id = f.account_id and o.run_id <> f.run_id))
         where f.workspace_id = $1 and f.run_id = $2 and not f.runnable and f.closed is distinct from 3
           and (f.closed is distinct from 2 or not $3)",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(but_refused)
    .execute(c)
    .await?;
    Ok(())
}

/// Whether one of the run's accounts is closed to it.
///
/// # Errors
/// When the database fails.
pub async fn any_closed(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<bool> {
    let closed = sqlx::query_scalar(
        "-- flows: any closed
         select exists (select from flow where workspace_id = $1 and run_id = $2 and closed in (1, 2))",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_one(c)
    .await?;
    Ok(closed)
}

/// Whether the run may go through an account that is none of these.
///
/// # Errors
/// When the database fails.
pub async fn any_but(c: &mut PgConnection, (workspace_id, run_id): (i32, i64), accounts: &[i64]) -> Result<bool> {
    let any = sqlx::query_scalar(
        "-- flows: any but
         select exists (select from flow where workspace_id = $1 and run_id = $2 and account_id <> all ($3))",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(accounts)
    .fetch_one(c)
    .await?;
    Ok(any)
}

/// Closes the flows of a run, and makes the fleet drop what it holds of them.
///
/// # Errors
/// When the database fails.
pub async fn close(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<()> {
    sqlx::query(
        "-- flows: close
         update flow set runnable = false, closed = case closed when 3 then 3 end, closed_detail = null, epoch = epoch + 1
         where workspace_id = $1 and run_id = $2",
    )
    .bind(workspace_id)
    .bind(run_id)
    .execute(c)
    .await?;
    Ok(())
}

/// Removes the flows, the pace and the mark for expansion of a run that never started.
///
/// # Errors
/// When the database fails.
pub async fn forget(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<()> {
    for sql in [
        "-- flows: forget\n delete from flow where workspace_id = $1 and run_id = $2",
        "-- flows: forget pace\n delete from run_pace where workspace_id = $1 and run_id = $2",
        "-- flows: forget expansion\n delete from expansion where workspace_id = $1 and run_id = $2",
    ] {
        sqlx::query(sql).bind(workspace_id).bind(run_id).execute(&mut *c).await?;
    }
    Ok(())
}

/// What the cheapest account of a run, of those not taken out, reserves for a message, micro-credits; 0 for a run without flows.
///
/// # Errors
/// When the database fails.
pub async fn least_reserve(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<i64> {
    let micro = sqlx::query_scalar(
        "-- flows: least reserve
         select coalesce(min(reserve_each), 0) from flow
         where workspace_id = $1 and run_id = $2 and closed is distinct from 3",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_one(c)
    .await?;
    Ok(micro)
}

/// Lets the flows that were closed for want of credit go on, and the runs that paused for it, also where the
/// last of a run's accounts was closed by its provider, or the poor ones were taken out and others put in. Gives the
/// number of the latter.
///
/// # Errors
/// When the database fails.
pub async fn resume_poor(c: &mut PgConnection, workspace_id: i32) -> Result<u64> {
    let poor: Vec<i64> = sqlx::query_scalar(
        "-- resume_poor: which
         select distinct f.run_id from flow f join run r on r.workspace_id = f.workspace_id and r.run_id = f.run_id
         where f.workspace_id = $1
           and (f.closed = 1 and (r.state = 2 or r.state = 3 and r.paused_reason in (2, 3))
             or f.closed is null and r.state = 3 and r.paused_reason = 2) order by 1",
    )
    .bind(workspace_id)
    .fetch_all(&mut *c)
    .await?;
    let mut resumed = 0;
    for run_id in poor {
        lock(c, workspace_id, run_id).await?;
        let done = sqlx::query(
            "-- resume_poor
             update run set state = 2, paused_reason = null
             where workspace_id = $1 and run_id = $2 and state = 3
               and exists (select from flow f where f.workspace_id = $1 and f.run_id = $2
                             and (f.closed = 1 and paused_reason in (2, 3) or f.closed is null and paused_reason = 2))",
        )
        .bind(workspace_id)
        .bind(run_id)
        .execute(&mut *c)
        .await?;
        if done.rows_affected() == 1 {
            resumed += 1;
            let change = (Some(RunState::Paused), RunState::Running);
            transitions::of_run(c, (workspace_id, run_id), change, transitions::WORKER, Some("topped up")).await?;
        }
        // A person may have paused or cancelled it before the lock.
        let runs: bool = sqlx::query_scalar(
            "select state = 2 from run where workspace_id = $1 and run_id = $2 -- resume_poor: runs",
        )
        .bind(workspace_id)
        .bind(run_id)
        .fetch_one(&mut *c)
        .await?;
        if runs {
            reopen(c, workspace_id, run_id, true).await?;
        }
    }
    Ok(resumed)
}

/// What became of a run whose provider refuses what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It goes on through its other accounts.
    Closed,
    /// That was its last account: it is paused.
    Paused,
    /// It was closed, or the run not running, already.
    Already,
}

/// Closes a running run's flow through an account, since its provider's answer says that every other message
/// of it would be refused. The last of them pauses the run.
///
/// # Errors
/// When the database fails; nothing is changed then.
pub async fn close_by_provider(
    c: &mut PgConnection,
    (workspace_id, account_id, run_id): (i32, i64, i64),
    detail: &str,
) -> Result<Refused> {
    let mut tx = sqlx::Connection::begin(c).await?;
    lock(&mut tx, workspace_id, run_id).await?;
    let closed = sqlx::query(
        "-- close_by_provider
         update flow set runnable = false, closed = 2, closed_detail = $4, epoch = epoch + 1
         where workspace_id = $1 and account_id = $2 and run_id = $3 and runnable",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(run_id)
    .bind(detail)
    .execute(&mut *tx)
    .await?;
    let paused = sqlx::query(
        "-- close_by_provider: pause
         update run set state = 3, paused_reason = 3, paused_detail = $3
         where workspace_id = $1 and run_id = $2 and state = 2
           and not exists (select from flow where workspace_id = $1 and run_id = $2 and runnable)",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(detail)
    .execute(&mut *tx)
    .await?;
    if paused.rows_affected() == 1 {
        let change = (Some(RunState::Running), RunState::Paused);
        transitions::of_run(&mut tx, (workspace_id, run_id), change, transitions::WORKER, Some(detail)).await?;
    }
    tx.commit().await?;
    Ok(match (closed.rows_affected(), paused.rows_affected()) {
        (_, 1) => Refused::Paused,
        (1, _) => Refused::Closed,
        _ => Refused::Already,
    })
}

/// Gives the run another weight at each of its accounts.
///
/// # Errors
/// When the database fails.
pub async fn weigh(c: &mut PgConnection, workspace_id: i32, run_id: i64, weight: i32) -> Result<()> {
    sqlx::query("-- flows: weigh\n update flow set weight = $3 where workspace_id = $1 and run_id = $2")
        .bind(workspace_id)
        .bind(run_id)
        .bind(weight)
        .execute(c)
        .await?;
    Ok(())
}

/// Gives a run the pace that its campaign's rate comes to, or none: from now on, for what workers hold of it goes back.
/// Its flows come level with their accounts' others. The caller holds the flows' lock, or has just made them.
///
/// # Errors
/// When the database fails.
pub async fn pace(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<()> {
    for sql in [PACE_NONE, PACE, PACE_FLOWS] {
        sqlx::query(sql).bind(workspace_id).bind(run_id).execute(&mut *c).await?;
    }
    Ok(())
}

const PACE_NONE: &str = "-- flows: pace, none
    delete from run_pace q using run r, campaign c
    where q.workspace_id = $1 and q.run_id = $2 and r.workspace_id = $1 and r.run_id = $2
      and c.workspace_id = $1 and c.campaign_id = r.campaign_id and c.rate_count is null";

/// One that was slow waits no longer for its next message than the new one would.
const PACE: &str = "-- flows: pace
    insert into run_pace as q (workspace_id, run_id, period_us, next_us)
    select r.workspace_id, r.run_id, (c.rate_per_us + c.rate_count - 1) / c.rate_count,
           (extract(epoch from clock_timestamp()) * 1000000)::bigint
    from run r join campaign c on c.workspace_id = r.workspace_id and c.campaign_id = r.campaign_id
    where r.workspace_id = $1 and r.run_id = $2 and c.rate_count is not null
    on conflict (workspace_id, run_id) do update
      set period_us = excluded.period_us, next_us = least(q.next_us, excluded.next_us + excluded.period_us)";

/// A run that has none and had none stays as it is.
const PACE_FLOWS: &str = "-- flows: pace, flows
    update flow f set epoch = f.epoch + 1,
      paced = exists (select from run_pace q where q.workspace_id = $1 and q.run_id = $2),
      vtime = greatest(f.vtime, (
        select coalesce(min(o.vtime) filter (where o.runnable and not o.paced), max(o.vtime), 0) from flow o
        where o.workspace_id = f.workspace_id and o.account_id = f.account_id and o.run_id <> f.run_id))
    where f.workspace_id = $1 and f.run_id = $2
      and (f.paced or exists (select from run_pace q where q.workspace_id = $1 and q.run_id = $2))";

/// Lets a run that is not over go through the accounts that its campaign has now. One that is new gets the prices of
/// now, and a place level with the others; one that is not among them any more sends nothing of the run, and keeps
/// what only it may repeat or look up until it is put back. The caller holds the flows' lock.
///
/// # Errors
/// When the database fails.
pub async fn divert(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<()> {
    for sql in [DIVERT_ALONE, DIVERT_NEW, DIVERT_PLACES, DIVERT_FLOWS, DIVERT_OUT, DIVERT_KEPT, DIVERT_SHARES] {
        sqlx::query(sql).bind(workspace_id).bind(run_id).execute(&mut *c).await?;
    }
    Ok(())
}

/// Whoever enters a message holds the run: what it may cost through a new account is seen below, or the message waits
/// and is refused.
const DIVERT_ALONE: &str = "-- flows: divert, alone
    select from run where workspace_id = $1 and run_id = $2 for no key update";

const DIVERT_NEW: &str = "-- flows: divert, new accounts
    insert into run_account (workspace_id, run_id, account_id, rank, share, sender, prices)
    select r.workspace_id, r.run_id, a.account_id, a.rank, a.share, a.sender,
           coalesce((select jsonb_object_agg(p.country, p.micro) from price p
                     where p.workspace_id = a.workspace_id and p.account_id = a.account_id), '{}')
    from run r
    join campaign_account a on a.workspace_id = r.workspace_id and a.campaign_id = r.campaign_id
    where r.workspace_id = $1 and r.run_id = $2
    on conflict (workspace_id, run_id, account_id) do nothing";

const DIVERT_PLACES: &str = "-- flows: divert, places
    update run_account ra set rank = a.rank, share = a.share
    from run r join campaign_account a on a.workspace_id = r.workspace_id and a.campaign_id = r.campaign_id
    where r.workspace_id = $1 and r.run_id = $2
      and ra.workspace_id = $1 and ra.run_id = $2 and ra.account_id = a.account_id";

/// A flow that is new is opened with the run's others: its reservation is that of its dearest message.
const DIVERT_FLOWS: &str = "-- flows: divert, new flows
    insert into flow (workspace_id, account_id, run_id, weight, runnable, vtime, reserve_each, rank, share, lane, windowed, paced)
    select $1, ra.account_id, $2, c.weight, r.state = 2,
           coalesce((select max(f.vtime) from flow f where f.workspace_id = $1 and f.account_id = ra.account_id), 0),
           coalesce((select max(m.units * coalesce((ra.prices ->> m.country)::bigint, (ra.prices ->> '')::bigint, 0))
                     from recipient m where m.workspace_id = $1 and m.run_id = $2), 0),
           ra.rank, coalesce(ra.share, 1), o.lane, o.windowed, o.paced
    from run r
    join campaign c on c.workspace_id = $1 and c.campaign_id = r.campaign_id
    join run_account ra on ra.workspace_id = $1 and ra.run_id = $2
    join campaign_account a on a.workspace_id = $1 and a.campaign_id = r.campaign_id and a.account_id = ra.account_id
    cross join lateral (select f.lane, f.windowed, f.paced from flow f where f.workspace_id = $1 and f.run_id = $2 limit 1) o
    where r.workspace_id = $1 and r.run_id = $2
    on conflict (workspace_id, account_id, run_id) do nothing";

const DIVERT_OUT: &str = "-- flows: divert, accounts taken out
    update flow f set runnable = false, closed = 3, closed_detail = null, epoch = f.epoch + 1
    from run r
    where r.workspace_id = $1 and r.run_id = $2 and f.workspace_id = $1 and f.run_id = $2
      and f.closed is distinct from 3
      and not exists (select from campaign_account a where a.workspace_id = $1 and a.campaign_id = r.campaign_id
                        and a.account_id = f.account_id)";

const DIVERT_KEPT: &str = "-- flows: divert, accounts put back
    update flow f set runnable = r.state = 2, closed = null, vtime = greatest(f.vtime, (
      select coalesce(min(o.vtime) filter (where o.runnable and not o.paced), max(o.vtime), 0) from flow o
      where o.workspace_id = f.workspace_id and o.account_id = f.account_id and o.run_id <> f.run_id))
    from run r
    where r.workspace_id = $1 and r.run_id = $2 and f.workspace_id = $1 and f.run_id = $2 and f.closed = 3
      and exists (select from campaign_account a where a.workspace_id = $1 and a.campaign_id = r.campaign_id
                    and a.account_id = f.account_id)";

/// By shares each counts from where the others stand: nobody catches up.
const DIVERT_SHARES: &str = "-- flows: divert, shares
    update flow f set
      sharing = case when (select count(*) from flow n where n.workspace_id = $1 and n.run_id = $2) > 1 then c.sharing else 0 end,
      rank = ra.rank, share = coalesce(ra.share, 1), claimed = 0
    from run r join campaign c on c.workspace_id = r.workspace_id and c.campaign_id = r.campaign_id, run_account ra
    where r.workspace_id = $1 and r.run_id = $2 and f.workspace_id = $1 and f.run_id = $2
      and ra.workspace_id = $1 and ra.run_id = $2 and ra.account_id = f.account_id";
