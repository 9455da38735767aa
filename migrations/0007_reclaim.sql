-- Reclaim: what a dead worker held. Nothing tells which of its messages were started, so each that is
-- not settled may have been sent, and is parked as unknown with its reservation.

create function reclaim(p_workspace int, p_worker bigint, p_shard smallint)
returns table (run_id bigint, parked bigint) language sql as $f$
with dead as (
  delete from lease l where l.workspace_id = p_workspace and l.worker_id = p_worker returning l.*
), unsettled as (
  select d.run_id, d.account_id, d.reserve_each,
         case when d.seqs is null then i else d.seqs[i + 1] end as seq,
         coalesce(d.attempts[i + 1], 0) + 1 as attempts
  from dead d, generate_series(d.lo, d.hi - 1) i
  where length(d.done) <= (i - d.lo) / 8 or get_bit(d.done, i - d.lo) = 0
), parked as (
  insert into retry (workspace_id, run_id, seq, attempts, kind, account_id, due_at, reserved, reason)
  select p_workspace, u.run_id, u.seq, u.attempts, 2, u.account_id,
         -- Sent again where the provider drops repeats, or where the campaign takes the risk. The wait
         -- lets a worker that is slow rather than dead report first.
         case when a.idempotent or c.on_unknown = 2 then clock_timestamp() + interval '2 s' else 'infinity' end,
         u.reserve_each, 'worker lost'
  from unsettled u
  join run r on r.workspace_id = p_workspace and r.run_id = u.run_id
  join campaign c on c.workspace_id = p_workspace and c.campaign_id = r.campaign_id
  join account a on a.workspace_id = p_workspace and a.account_id = u.account_id
  returning run_id
), counted as (
  insert into progress as g (workspace_id, run_id, shard, unknown)
  select p_workspace, p.run_id, p_shard, count(*) from parked p group by p.run_id order by p.run_id
  on conflict (workspace_id, run_id, shard) do update set unknown = g.unknown + excluded.unknown
)
select p.run_id, count(*) from parked p group by p.run_id
$f$;
comment on function reclaim is 'Parks the unsettled messages of a dead worker in one workspace; says how many of which run.';
