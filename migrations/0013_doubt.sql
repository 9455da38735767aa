-- Doubt and providers' wishes: messages that can be looked up at their provider, runs that a provider's
-- answer pauses, decisions of people about messages in doubt.

alter table account add column looks_up bool not null default false;
comment on column account.looks_up is 'Whether a message in doubt is looked up at the provider instead of being sent again.';

alter table run drop constraint run_paused_reason_check;
alter table run add constraint run_paused_reason_check check (paused_reason between 1 and 3);
alter table run add column paused_detail text;
comment on column run.paused_reason is '1 by a person, 2 out of credit, 3 by an answer of its provider; null unless paused.';
comment on column run.paused_detail is 'The provider''s code, where its answer paused the run; kept until the next pause.';

create table decision (
  workspace_id int not null,
  run_id bigint not null,
  seq int not null,
  decision_id bigint not null,
  verdict smallint not null check (verdict between 1 and 3),
  decided_by text not null,
  decided_at timestamptz not null,
  primary key (workspace_id, run_id, seq, decision_id),
  foreign key (workspace_id, run_id) references run
);
comment on table decision is 'What people decided about messages in doubt. Appended, never updated.';
comment on column decision.workspace_id is 'Tenant.';
comment on column decision.run_id is 'The run.';
comment on column decision.seq is 'The message.';
comment on column decision.decision_id is 'Time-ordered id made by the program.';
comment on column decision.verdict is '1 hold, 2 send again, 3 write off.';
comment on column decision.decided_by is 'Who, as the system knows them.';
comment on column decision.decided_at is 'When.';

create or replace function reclaim(p_workspace int, p_worker bigint, p_shard smallint)
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
         -- lets a worker that is slow rather than dead report first; a look-up lets the provider's list
         -- catch up.
         case when a.looks_up then clock_timestamp() + interval '120 s'
              when a.idempotent or c.on_unknown = 2 then clock_timestamp() + interval '2 s'
              else 'infinity' end,
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
