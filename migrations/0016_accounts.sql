-- Several accounts for one campaign: they share its cursor. Limits by the day: sends, recipients, a ramp.

create table campaign_account (
  workspace_id int not null,
  campaign_id bigint not null,
  rank smallint not null check (rank >= 0),
  account_id bigint not null,
  share int check (share between 1 and 1000),
  sender text,
  primary key (workspace_id, campaign_id, rank),
  unique (workspace_id, campaign_id, account_id),
  foreign key (workspace_id, campaign_id) references campaign,
  foreign key (workspace_id, account_id) references account
);
comment on table campaign_account is 'The accounts that a campaign sends through.';
comment on column campaign_account.workspace_id is 'Tenant.';
comment on column campaign_account.campaign_id is 'The campaign.';
comment on column campaign_account.rank is 'Their order, from 0.';
comment on column campaign_account.account_id is 'The account.';
comment on column campaign_account.share is 'Its part of the messages beside the others'' shares; null where the campaign is not divided by shares.';
comment on column campaign_account.sender is 'The address it sends from for this campaign; null = the account''s own.';

create table run_account (
  workspace_id int not null,
  run_id bigint not null,
  account_id bigint not null,
  rank smallint not null,
  share int,
  sender text,
  prices jsonb not null,
  primary key (workspace_id, run_id, account_id),
  foreign key (workspace_id, run_id) references run,
  foreign key (workspace_id, account_id) references account
);
comment on table run_account is 'The accounts of a run, frozen at its launch.';
comment on column run_account.workspace_id is 'Tenant.';
comment on column run_account.run_id is 'The run.';
comment on column run_account.account_id is 'The account.';
comment on column run_account.rank is 'As in campaign_account.';
comment on column run_account.share is 'As in campaign_account.';
comment on column run_account.sender is 'As in campaign_account.';
comment on column run_account.prices is 'Prices frozen at launch: {"": micro-credits, "FR": …}.';

insert into campaign_account (workspace_id, campaign_id, rank, account_id)
  select workspace_id, campaign_id, 0, account_id from campaign;
insert into run_account (workspace_id, run_id, account_id, rank, prices)
  select r.workspace_id, r.run_id, c.account_id, 0, r.prices
  from run r join campaign c on c.workspace_id = r.workspace_id and c.campaign_id = r.campaign_id;

alter table campaign drop column account_id;
alter table campaign add column sharing smallint not null default 1 check (sharing between 1 and 3);
alter table campaign alter column sharing drop default;
comment on column campaign.sharing is 'How its accounts divide it: 1 together, as fast as each can; 2 by shares; 3 in order, a later one only what the earlier ones cannot send now.';
comment on column campaign.weight is 'Share of each of its accounts that it gets beside other campaigns.';
alter table run drop column prices;

alter table flow add column sharing smallint not null default 0 check (sharing between 0 and 3);
alter table flow add column rank smallint not null default 0;
alter table flow add column share int not null default 1 check (share > 0);
alter table flow add column claimed bigint not null default 0;
alter table flow add column closed smallint check (closed between 1 and 2);
alter table flow add column closed_detail text;
-- A top-up looks for these.
update flow f set closed = 1
  from run r where r.workspace_id = f.workspace_id and r.run_id = f.run_id and r.state = 3 and r.paused_reason = 2;
comment on column flow.sharing is '0 the run''s only account; else as in campaign.';
comment on column flow.rank is 'As in campaign_account.';
comment on column flow.share is 'As in campaign_account; 1 where the campaign is not divided by shares.';
comment on column flow.claimed is 'Messages claimed through it for the first time, less those handed back.';
comment on column flow.closed is 'Why this account sends nothing of a run that runs: 1 the credit does not pay for its messages, 2 an answer of its provider; null while it does.';
comment on column flow.closed_detail is 'The provider''s code, where its answer closed it.';

alter table account add column recipients_per_day bigint check (recipients_per_day > 0);
alter table account add column warm_up jsonb;
comment on column account.recipients_per_day is 'Most different recipients in any 24 hours; null = no limit.';
comment on column account.warm_up is 'A new sender''s ramp: {"first": sends of the first day, "growth_permille": factor from day to day in thousandths}; null = none.';

alter table account_pace add column recipient_cap bigint not null default 0;
alter table account_pace add column recipient_counts int[] not null default array_fill(0, array[25]);
alter table account_pace add column warm_first bigint not null default 0;
alter table account_pace add column warm_permille int not null default 1000 check (warm_permille >= 1000);
alter table account_pace add column warm_from_us bigint not null default 0;
comment on column account_pace.recipient_cap is 'Most different recipients in any 24 hours; 0 = no limit.';
comment on column account_pace.recipient_counts is 'Recipients last written to in the hour day_hour and the 24 before it.';
comment on column account_pace.warm_first is 'Most sends of the first day of the ramp; 0 = no ramp.';
comment on column account_pace.warm_permille is 'Its factor from day to day, in thousandths.';
comment on column account_pace.warm_from_us is 'Its first send, in µs since the Unix epoch; 0 before it.';

create table contacted (
  workspace_id int not null,
  account_id bigint not null,
  address text not null,
  hour int not null,
  primary key (workspace_id, account_id, address)
) with (fillfactor = 50);
comment on table contacted is 'Whom an account with a limit of recipients by the day wrote to lately.';
comment on column contacted.workspace_id is 'Tenant.';
comment on column contacted.account_id is 'The account.';
comment on column contacted.address is 'The recipient.';
comment on column contacted.hour is 'The hour, since the Unix epoch, in whose recipient_counts it stands; forgotten after 25.';

create function day_room(p account_pace, p_us bigint) returns bigint language sql stable as $f$
  select least(
    case when p.day_cap > 0 then p.day_cap - s.sends end,
    -- No ramp goes on beyond any provider's limit.
    case when p.warm_first > 0 then
      least(1e9, p.warm_first * (p.warm_permille / 1000.0) ^ least(200,
        case when p.warm_from_us > 0 then greatest(0, (p_us - p.warm_from_us) / 86400000000) else 0 end))::bigint - s.sends end,
    case when p.recipient_cap > 0 then p.recipient_cap - s.recipients end)
  from (select coalesce((select sum(c) from unnest(p.day_counts[1:kept]) c), 0)::bigint as sends,
               coalesce((select sum(c) from unnest(p.recipient_counts[1:kept]) c), 0)::bigint as recipients
        from (select 25 - least(25, greatest(0, p_us / 3600000000 - p.day_hour))::int as kept) k) s
$f$;
comment on function day_room is 'How many messages the limits by the day leave an account now; null where it has none.';

create function can_send(p_flow flow, p_us bigint) returns bool language sql stable as $f$
  select p_flow.runnable and a.stopped_reason is null and p.failures = 0 and p.closed_until_us <= p_us
         -- Further ahead than its pace sets it: its provider asked for a wait.
         and p.next_us <= p_us + 2000000 + 2 * (p.period_us * p.slow_permille / 1000)
         and coalesce(day_room(p, p_us) > 0, true)
  from account a join account_pace p on p.workspace_id = a.workspace_id and p.account_id = a.account_id
  where a.workspace_id = p_flow.workspace_id and a.account_id = p_flow.account_id
$f$;
comment on function can_send is 'Whether an account sends of a run, now or at its pace: it is neither stopped nor down, nor asked to wait, nor at the end of its day.';

create function turn(p_flow flow, p_us bigint) returns bigint language sql stable as $f$
  select case p_flow.sharing
    -- Not far ahead of any other that can send.
    when 2 then (
      select greatest(0, floor(min(o.claimed::numeric / o.share) * p_flow.share + greatest(64, sum(o.claimed) / 32))
                         - p_flow.claimed)::bigint
      from flow o
      where o.workspace_id = p_flow.workspace_id and o.run_id = p_flow.run_id and o.account_id <> p_flow.account_id
        and can_send(o, p_us)
      having count(*) > 0)
    -- The earlier ones first, if they can.
    when 3 then (
      select 0 from flow o
      where o.workspace_id = p_flow.workspace_id and o.run_id = p_flow.run_id and o.rank < p_flow.rank
        and can_send(o, p_us)
      limit 1) end
$f$;
comment on function turn is 'How many messages of a run''s cursor an account may take now beside the others; null = any number.';

drop function claim;
create function claim(
  p_workspace int,     -- tenant
  p_account bigint,    -- whose pace and flows
  p_worker bigint,     -- who claims
  p_lease bigint,      -- id of the first lease; the next ones count up
  p_leases int,        -- most leases
  p_shard smallint,    -- shard of progress
  p_want int,          -- most messages
  p_list_max int,      -- most retries in one list
  p_horizon_us bigint, -- no slot further ahead than this
  p_lead_us bigint     -- first slot at least this far ahead
) returns table (
  lease_id bigint, run_id bigint, epoch int, lo int, hi int, seqs int[], attempts smallint[], kinds smallint[],
  reserve_each bigint, slot_us bigint, period_us bigint, lateness_us bigint, now_us bigint, probe bool
) language plpgsql as $f$
#variable_conflict use_column
declare
  p account_pace;      -- the account's rate state
  f flow;              -- the flow being served
  t bigint;            -- now, µs since the Unix epoch
  cur bigint;          -- next slot to give out
  tau bigint;          -- distance of slots
  slow int;            -- factor on tau, thousandths
  n int;               -- messages still wanted
  m int;               -- messages of the lease being made
  paid bigint;         -- messages of this flow that the credit still covers
  free bigint;         -- unreserved micro-credits
  extra bigint;        -- micro-credits that a list needs beyond what its unknowns hold
  s record;            -- the range or list being leased
  hours bigint;        -- hours since the Unix epoch
  room bigint;         -- messages that the limits by the day leave
  others bigint[];     -- accounts of the run that cannot send now
  fresh bigint;        -- messages of the cursor that this account may take
  last_lease bigint := p_lease + p_leases - 1;
  booted text := extract(epoch from pg_postmaster_start_time())::text;
  got int := 0;        -- messages leased so far
  taken_run bigint[] := '{}';
  taken_retrying int[] := '{}';
  taken_unknown int[] := '{}';
begin
  perform 1 from worker w where w.worker_id = p_worker for key share;
  if not found then
    raise exception 'worker % is not alive', p_worker using errcode = 'FF001';
  end if;
  select x.* into p from account_pace x
    where x.workspace_id = p_workspace and x.account_id = p_account for no key update skip locked;
  if not found then return; end if;
  perform 1 from account a
    where a.workspace_id = p_workspace and a.account_id = p_account and a.stopped_reason is not null;
  if found then return; end if;

  t := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
  if p.closed_until_us > t then return; end if;

  -- After throttling the rate comes back by a fiftieth of the full rate each second. An account without
  -- a cap counts from 5,000 a second.
  slow := greatest(1000, 1000 / (1000.0 / p.slow_permille + 0.02 * greatest(0, (t - p.slowed_us) / 1000000)))::int;
  tau := case when slow > 1000 then greatest(p.period_us, 200) * slow / 1000 else p.period_us end;
  cur := greatest(p.next_us, t + p_lead_us);
  -- Another server may have given out slots that this one has not heard of, up to a horizon ahead by
  -- a clock up to a second fast. They are waited for once.
  if p.boot not in ('', booted) and tau > 0 then
    cur := greatest(cur, t + least(p.window_us, 1000000) + p_horizon_us + tau);
    update account_pace x set next_us = cur, boot = booted
      where x.workspace_id = p_workspace and x.account_id = p_account;
  end if;

  -- A provider may ask for a wait of a day; what an account without a cap was asked for holds as well.
  if tau > 0 and cur > t + p_horizon_us or tau = 0 and p.next_us > t then return; end if;

  n := p_want;
  if tau > 0 then n := least(n, (t + p_horizon_us - cur + tau) / tau); end if;
  if p.failures > 0 then n := least(n, 1); end if;
  -- Also without a limit by the day: one that is set later counts what was sent before.
  hours := t / 3600000000;
  if hours > p.day_hour then
    p.day_counts := (array_fill(0, array[least(25, hours - p.day_hour)::int]) || p.day_counts)[1:25];
    p.recipient_counts := (array_fill(0, array[least(25, hours - p.day_hour)::int]) || p.recipient_counts)[1:25];
    p.day_hour := hours;
  end if;
  if p.day_cap > 0 or p.warm_first > 0 or p.recipient_cap > 0 then
    room := day_room(p, t);
    n := least(n, room);
  end if;
  if n <= 0 then return; end if;

  for f in
    select x.* from flow x where x.workspace_id = p_workspace and x.account_id = p_account and x.runnable
      -- A flow that only waits, for its time or for another account's, would keep its place at the head, and
      -- the others from theirs.
      and ((exists (select from returned r where r.workspace_id = p_workspace and r.run_id = x.run_id)
            or exists (select from segment g where g.workspace_id = p_workspace and g.run_id = x.run_id and g.next_seq < g.hi))
           and (x.sharing = 0 or turn(x, t) is distinct from 0)
        or exists (select from retry r where r.workspace_id = p_workspace and r.account_id = p_account
                     and r.run_id = x.run_id and r.due_at <= clock_timestamp())
        or x.sharing > 0 and exists (select from retry r
                     join flow o on o.workspace_id = p_workspace and o.account_id = r.account_id and o.run_id = r.run_id
                     where r.workspace_id = p_workspace and r.run_id = x.run_id and r.account_id <> p_account
                       and r.kind = 1 and r.due_at <= clock_timestamp() and not can_send(o, t)))
    order by x.vtime, x.run_id limit 16
  loop
    exit when n <= 0 or p_lease > last_lease;
    -- It may have been paused since the snapshot.
    select x.* into f from flow x
      where x.workspace_id = p_workspace and x.account_id = p_account and x.run_id = f.run_id and x.runnable
      for no key update;
    continue when not found;
    paid := n; free := 0;
    if f.reserve_each > 0 then
      select c.balance - c.reserved into free from credit c where c.workspace_id = p_workspace for no key update;
      paid := free / f.reserve_each;
    end if;

    -- What was certainly not accepted may go through another account when its own cannot send; what is
    -- in doubt never does.
    others := '{}'; fresh := n;
    if f.sharing > 0 then
      select coalesce(array_agg(o.account_id), '{}') into others from flow o
        where o.workspace_id = p_workspace and o.run_id = f.run_id and o.account_id <> p_account
          and not can_send(o, t);
      fresh := least(n, turn(f, t));
    end if;

    -- 1. Due retries, as a list. An unknown brings its own reservation.
    with due as materialized (
      select r.seq, r.attempts, r.kind, r.reserved, r.due_at from retry r
      where r.workspace_id = p_workspace and r.account_id = any (p_account || others) and r.run_id = f.run_id
        and r.due_at <= clock_timestamp() and (r.kind = 1 or r.account_id = p_account)
      order by r.due_at, r.seq limit least(n, p_list_max) for update skip locked
    ), payable as (
      select d.*, sum(greatest(f.reserve_each - d.reserved, 0)) over (order by d.due_at, d.seq) as need from due d
    ), gone as (
      delete from retry r using payable d
      where r.workspace_id = p_workspace and r.run_id = f.run_id and r.seq = d.seq
        and (f.reserve_each = 0 or d.need <= free)
      returning r.seq, r.attempts, r.kind, r.reserved
    )
    select array_agg(g.seq order by g.seq) as seqs, array_agg(g.attempts order by g.seq) as attempts,
           array_agg(g.kind order by g.seq) as kinds,
           count(*)::int as many, count(*) filter (where g.kind = 2)::int as unknowns,
           coalesce(sum(f.reserve_each - g.reserved), 0)::bigint as extra
      into s from gone g;
    if s.many > 0 then
      m := s.many;
      insert into lease as l values (p_workspace, p_lease, p_account, f.run_id, p_worker, 0, m, s.seqs, s.attempts,
        s.kinds, f.reserve_each, m, '', cur, tau);
      return query select p_lease, f.run_id, p.epoch + f.epoch, 0, m, s.seqs, s.attempts, s.kinds, f.reserve_each, cur, tau, p.lateness_us, t, p.failures > 0;
      if s.extra <> 0 then
        update credit c set reserved = c.reserved + s.extra where c.workspace_id = p_workspace;
        free := free - s.extra;
        if f.reserve_each > 0 then paid := free / f.reserve_each; end if;
      end if;
      taken_run := taken_run || f.run_id;
      taken_retrying := taken_retrying || (m - s.unknowns);
      taken_unknown := taken_unknown || s.unknowns;
      f.vtime := f.vtime + m::bigint * 1000 / f.weight;
      p_lease := p_lease + 1; cur := cur + m * tau; n := n - m; got := got + m;
    end if;

    -- Out of credit, unless a lease in flight may still give some back. What costs less may go on through
    -- another account; the last of them pauses the run. The credit is locked, so there is a last one.
    if paid <= 0 and s.many = 0 then
      if fresh > 0 and not exists (select from lease l where l.workspace_id = p_workspace and l.reserve_each > 0)
        and (exists (select from returned r where r.workspace_id = p_workspace and r.run_id = f.run_id)
          or exists (select from segment g where g.workspace_id = p_workspace and g.run_id = f.run_id and g.next_seq < g.hi)
          or exists (select from retry r where r.workspace_id = p_workspace and r.account_id = p_account
                       and r.run_id = f.run_id and r.due_at <= clock_timestamp()))
      then
        update flow x set runnable = false, closed = 1, epoch = x.epoch + 1
          where x.workspace_id = p_workspace and x.account_id = p_account and x.run_id = f.run_id;
        update run x set state = 3, paused_reason = 2
          where x.workspace_id = p_workspace and x.run_id = f.run_id and x.state = 2
            and not exists (select from flow o where o.workspace_id = p_workspace and o.run_id = f.run_id and o.runnable);
      end if;
      continue;
    end if;

    -- 2. Returned ranges, then the cursor.
    while n > 0 and fresh > 0 and paid > 0 and p_lease <= last_lease loop
      -- Another account's claim may hold these, and want what this one holds: it is waited for by nobody.
      select r.lo, r.hi, null::int as segment_no into s from returned r
        where r.workspace_id = p_workspace and r.run_id = f.run_id order by r.lo limit 1 for update skip locked;
      if not found then
        select g.next_seq as lo, g.hi, g.segment_no into s from segment g
          where g.workspace_id = p_workspace and g.run_id = f.run_id and g.next_seq < g.hi
          order by g.segment_no limit 1 for no key update skip locked;
        exit when not found;
      end if;
      m := least(n, s.hi - s.lo, paid, fresh);
      if s.segment_no is not null then
        update segment g set next_seq = s.lo + m
          where g.workspace_id = p_workspace and g.run_id = f.run_id and g.segment_no = s.segment_no;
      else
        delete from returned r where r.workspace_id = p_workspace and r.run_id = f.run_id and r.lo = s.lo;
        if m < s.hi - s.lo then insert into returned values (p_workspace, f.run_id, s.lo + m, s.hi); end if;
      end if;
      insert into lease as l values (p_workspace, p_lease, p_account, f.run_id, p_worker, s.lo, s.lo + m, null, null, null,
        f.reserve_each, m, '', cur, tau);
      return query select p_lease, f.run_id, p.epoch + f.epoch, s.lo, s.lo + m, null::int[], null::smallint[], null::smallint[],
        f.reserve_each, cur, tau, p.lateness_us, t, p.failures > 0;
      if f.reserve_each > 0 then
        update credit c set reserved = c.reserved + m * f.reserve_each where c.workspace_id = p_workspace;
        paid := paid - m;
      end if;
      f.vtime := f.vtime + m::bigint * 1000 / f.weight;
      f.claimed := f.claimed + m; fresh := fresh - m;
      p_lease := p_lease + 1; cur := cur + m * tau; n := n - m; got := got + m;
    end loop;
    update flow x set vtime = f.vtime, claimed = f.claimed
      where x.workspace_id = p_workspace and x.account_id = p_account and x.run_id = f.run_id and x.vtime <> f.vtime;
  end loop;

  if cardinality(taken_run) > 0 then
    insert into progress as g (workspace_id, run_id, shard, retrying, unknown)
      select p_workspace, u.r, p_shard, -u.a, -u.b from unnest(taken_run, taken_retrying, taken_unknown) as u(r, a, b)
      order by u.r
      on conflict (workspace_id, run_id, shard)
      do update set retrying = g.retrying + excluded.retrying, unknown = g.unknown + excluded.unknown;
  end if;
  if got > 0 and (tau > 0 or p.failures > 0 or room is not null) then
    p.day_counts[1] := p.day_counts[1] + got;
    p.recipient_counts[1] := p.recipient_counts[1] + got;
    update account_pace x set
        next_us = cur, boot = booted, slow_permille = slow,
        slowed_us = case when slow <> p.slow_permille then t else x.slowed_us end,
        -- The probe's answer opens the circuit; should its worker die, it opens by itself.
        closed_until_us = case when p.failures > 0 then t + 20000000 else x.closed_until_us end,
        day_hour = p.day_hour, day_counts = p.day_counts, recipient_counts = p.recipient_counts,
        warm_from_us = case when x.warm_first > 0 and x.warm_from_us = 0 then t else x.warm_from_us end
      where x.workspace_id = p_workspace and x.account_id = p_account;
  end if;
end $f$;
comment on function claim is 'Leases up to p_want messages of an account to a worker; no rows when there is nothing, or another claim is under way.';
