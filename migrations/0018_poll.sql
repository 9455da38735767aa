-- Receipts that have to be asked for, and doubt that waits for its receipt.

alter table account add column waits_for_echo bool not null default false;
comment on column account.waits_for_echo is 'Whether a message in doubt waits for the receipt that would settle it before the campaign''s policy has it sent again.';
update account set waits_for_echo = true where kind = 'meta';
-- Its confirmations name a message by the id that sending it brought.
update account set correlates = true where kind = 'one_confirmed';

alter table account add column hook_url bytea;
comment on column account.hook_url is 'The sealed address of its hook, where each message has to name it; null elsewhere, and while it takes no posts.';

create table poll (
  workspace_id int not null,
  account_id bigint not null,
  run_id bigint not null,
  seq int not null,
  provider_id text not null,
  asked smallint not null default 0,
  accepted_at timestamptz not null,
  due_at timestamptz not null,
  primary key (workspace_id, run_id, seq)
);
comment on table poll is 'Messages that their provider has accepted and only queued: it is asked what became of them. Deleted when that is told, or nothing is expected any more.';
comment on column poll.workspace_id is 'Tenant.';
comment on column poll.account_id is 'The account.';
comment on column poll.run_id is 'The run.';
comment on column poll.seq is 'The message.';
comment on column poll.provider_id is 'The provider''s id of the message.';
comment on column poll.asked is 'How often its provider was asked for it, and told nothing.';
comment on column poll.accepted_at is 'When its acceptance was written down.';
comment on column poll.due_at is 'When it is asked for next.';
-- Why: an account's due questions are taken in order of their time. A row is moved in it once for each
-- question that told nothing, which is a request to the provider each time.
create index poll_due on poll (workspace_id, account_id, due_at);

create table poller (
  workspace_id int not null,
  account_id bigint not null,
  worker_id bigint not null default 0,
  until_us bigint not null default 0,
  next_us bigint not null default 0,
  day_hour bigint not null default 0,
  day_counts int[] not null default array_fill(0, array[25]),
  primary key (workspace_id, account_id),
  foreign key (workspace_id, account_id) references account
) with (fillfactor = 50);
comment on table poller is 'Who of the fleet asks an account''s provider, and how often: one row for each account that ever had something to ask.';
comment on column poller.workspace_id is 'Tenant.';
comment on column poller.account_id is 'The account.';
comment on column poller.worker_id is 'The worker that asks; 0 before the first.';
comment on column poller.until_us is 'Another one may take over from then on, or once that worker is dead, in µs since the Unix epoch.';
comment on column poller.next_us is 'No question before this time, in µs since the Unix epoch.';
comment on column poller.day_hour is 'Hour (since the Unix epoch) of day_counts[1].';
comment on column poller.day_counts is 'Questions counted in account_pace.day_counts, in that hour and the 24 before it: under a cap by the day they have a share of it, of a ramp they take nothing.';

-- As in 0016_accounts.sql, and a ramp, which is one of sends, leaves out the questions.
create or replace function day_room(p account_pace, p_us bigint) returns bigint language sql stable as $f$
  select least(
    case when p.day_cap > 0 then p.day_cap - s.sends end,
    -- No ramp goes on beyond any provider's limit.
    case when p.warm_first > 0 then
      least(1e9, p.warm_first * (p.warm_permille / 1000.0) ^ least(200,
        case when p.warm_from_us > 0 then greatest(0, (p_us - p.warm_from_us) / 86400000000) else 0 end))::bigint
      - s.sends + s.questions end,
    case when p.recipient_cap > 0 then p.recipient_cap - s.recipients end)
  from (select coalesce((select sum(c) from unnest(p.day_counts[1:kept]) c), 0)::bigint as sends,
               coalesce((select sum(c) from unnest(p.recipient_counts[1:kept]) c), 0)::bigint as recipients,
               coalesce((select sum(c) from poller q,
                           unnest(q.day_counts[1:25 - least(25, greatest(0, p_us / 3600000000 - q.day_hour))::int]) c
                         where p.warm_first > 0 and q.workspace_id = p.workspace_id and q.account_id = p.account_id),
                        0)::bigint as questions
        from (select 25 - least(25, greatest(0, p_us / 3600000000 - p.day_hour))::int as kept) k) s
$f$;

-- A slot for a question: one call, one commit. As the claim does for one message, and from the same row, so
-- that messages and questions together keep the cap. Lock order: worker, account_pace, poller.
create function reserve_slot(
  p_workspace int,     -- tenant
  p_account bigint,    -- whose pace
  p_worker bigint,     -- who asks
  p_horizon_us bigint, -- no slot further ahead than this
  p_lead_us bigint,    -- the slot is at least this far ahead
  p_lease_us bigint,   -- this worker asks alone until so long after the slot
  p_share int          -- while something waits to be sent, one slot in so many
) returns table (slot_us bigint, period_us bigint, lateness_us bigint, epoch int, probe bool)
language plpgsql as $f$
#variable_conflict use_column
declare
  p account_pace;      -- the account's rate state
  q poller;            -- who asks
  t bigint;            -- now, µs since the Unix epoch
  cur bigint;          -- next slot to give out
  tau bigint;          -- distance of slots
  slow int;            -- factor on tau, thousandths
  hours bigint;        -- hours since the Unix epoch
  busy bool;           -- whether something waits to be sent
  counts bool;         -- whether the account counts what it does by the day
  booted text := extract(epoch from pg_postmaster_start_time())::text;
begin
  perform 1 from worker w where w.worker_id = p_worker for key share;
  if not found then
    raise exception 'worker % is not alive', p_worker using errcode = 'FF001';
  end if;
  -- A look beforehand: a claim that meets the lock below comes back with nothing.
  t := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
  perform 1 from poller x
    where x.workspace_id = p_workspace and x.account_id = p_account and x.next_us <= t + p_horizon_us;
  if not found then return; end if;
  select x.* into p from account_pace x
    where x.workspace_id = p_workspace and x.account_id = p_account for no key update skip locked;
  if not found then return; end if;
  perform 1 from account a
    where a.workspace_id = p_workspace and a.account_id = p_account and a.stopped_reason is not null;
  if found then return; end if;
  select x.* into q from poller x
    where x.workspace_id = p_workspace and x.account_id = p_account for no key update;

  t := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
  if p.closed_until_us > t then return; end if;
  if q.worker_id <> p_worker and q.until_us > t
    and exists (select from worker w where w.worker_id = q.worker_id) then return; end if;

  slow := greatest(1000, 1000 / (1000.0 / p.slow_permille + 0.02 * greatest(0, (t - p.slowed_us) / 1000000)))::int;
  tau := case when slow > 1000 then greatest(p.period_us, 200) * slow / 1000 else p.period_us end;
  cur := greatest(p.next_us, t + p_lead_us);
  -- As in the claim: slots that this server has not heard of are waited for once.
  if p.boot not in ('', booted) and tau > 0 then
    cur := greatest(cur, t + least(p.window_us, 1000000) + p_horizon_us + tau);
    update account_pace x set next_us = cur, boot = booted
      where x.workspace_id = p_workspace and x.account_id = p_account;
  end if;
  if tau > 0 and cur > t + p_horizon_us or tau = 0 and p.next_us > t then return; end if;
  -- Slots before it are for sending: a question takes the next one, or waits.
  if q.next_us > cur then return; end if;

  busy := exists (
    select from flow x where x.workspace_id = p_workspace and x.account_id = p_account and x.runnable
      and (exists (select from returned r where r.workspace_id = p_workspace and r.run_id = x.run_id)
        or exists (select from segment g where g.workspace_id = p_workspace and g.run_id = x.run_id and g.next_seq < g.hi)
        or exists (select from retry r where r.workspace_id = p_workspace and r.account_id = p_account
                     and r.run_id = x.run_id and r.due_at <= clock_timestamp())));
  -- What is sent tells best whether the account answers again.
  if p.failures > 0 and busy then return; end if;

  -- As in the claim.
  hours := t / 3600000000;
  if hours > p.day_hour then
    p.day_counts := (array_fill(0, array[least(25, hours - p.day_hour)::int]) || p.day_counts)[1:25];
    p.recipient_counts := (array_fill(0, array[least(25, hours - p.day_hour)::int]) || p.recipient_counts)[1:25];
    p.day_hour := hours;
  end if;
  counts := tau > 0 or p.failures > 0 or p.day_cap > 0;
  if counts then
    if hours > q.day_hour then
      q.day_counts := (array_fill(0, array[least(25, hours - q.day_hour)::int]) || q.day_counts)[1:25];
      q.day_hour := hours;
    end if;
    p.day_counts[1] := p.day_counts[1] + 1;
    q.day_counts[1] := q.day_counts[1] + 1;
    if p.day_cap > 0
      and ((select sum(c) from unnest(p.day_counts) c) > p.day_cap
        or (select sum(c) from unnest(q.day_counts) c) > p.day_cap / p_share) then return; end if;
    update account_pace x set
        next_us = cur + tau, boot = booted, slow_permille = slow,
        slowed_us = case when slow <> p.slow_permille then t else x.slowed_us end,
        closed_until_us = case when p.failures > 0 then t + 20000000 else x.closed_until_us end,
        day_hour = p.day_hour, day_counts = p.day_counts, recipient_counts = p.recipient_counts
      where x.workspace_id = p_workspace and x.account_id = p_account;
  end if;
  update poller x set
      worker_id = p_worker, until_us = cur + p_lease_us,
      -- Without a cap ten a second: each holds the account's row for as long as a commit takes.
      next_us = case when busy then cur + (case when tau > 0 then p_share * tau else 100000 end) else q.next_us end,
      day_hour = q.day_hour, day_counts = q.day_counts
    where x.workspace_id = p_workspace and x.account_id = p_account;
  return query select cur, tau, p.lateness_us, p.epoch, p.failures > 0;
end $f$;
comment on function reserve_slot is 'Gives a worker a slot of an account''s pace for a question to its provider; no row when there is none now, or another worker asks.';
