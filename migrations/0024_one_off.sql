-- Messages that come one by one, and go first: their keys, and how they are claimed beside bulk.

alter table campaign add column kind smallint not null default 1 check (kind between 1 and 3);
comment on column campaign.kind is '1 to its list, by launches; 2 triggered: its messages come one by one; 3 what message send says by one template through one account: shown nowhere.';
alter table campaign alter column list_id drop not null;
comment on column campaign.list_id is 'The list its audience is frozen from; null where messages come one by one.';
create table one_off (
  workspace_id int not null,
  campaign_id bigint not null,
  key text not null,
  run_id bigint not null,
  seq int not null,
  digest bytea not null,
  at timestamptz not null,
  primary key (workspace_id, campaign_id, key),
  foreign key (workspace_id, run_id) references run
);
comment on table one_off is 'Keys of messages that came one by one: the same key again is the same message. Appended; erasing a contact puts a hash in place of the address in a key that names it.';
comment on column one_off.workspace_id is 'Tenant.';
comment on column one_off.campaign_id is 'The triggered campaign in which the key is unique; 0 = the message belongs to none, and its key is unique among those.';
comment on column one_off.key is 'Chosen by whoever sent it.';
comment on column one_off.run_id is 'The run of the message.';
comment on column one_off.seq is 'The message.';
comment on column one_off.digest is 'SHA-256 of what it was to say and through what, without its recipient: the same key with other content is refused.';
comment on column one_off.at is 'When it came.';

-- Beside the recipient, whose rows it would make wider in every run of bulk.
create table expiry (
  workspace_id int not null,
  run_id bigint not null,
  seq int not null,
  expires_at timestamptz not null,
  primary key (workspace_id, run_id, seq)
);
comment on table expiry is 'Messages that came one by one and are not to be sent late. Appended, never updated.';
comment on column expiry.workspace_id is 'Tenant.';
comment on column expiry.run_id is 'The run.';
comment on column expiry.seq is 'The message.';
comment on column expiry.expires_at is 'From then on it is not sent any more, by the clock that windows go by.';

comment on column recipient.seq is 'Number inside the run, from 0: without gaps, but that messages which come one by one are numbered in blocks where they keep hours.';
comment on column segment.zone is 'The time zone of its recipients, by its IANA name, if it has a window. Of a live run a segment is a block of the numbers of one zone; that without a zone has those that came before the run had windows.';
comment on column segment.after_address is 'Its source range begins after this address; unique with the wave, so that a repeated expand is harmless. Of a live run, which has no source, its first number.';

-- A campaign's own rate. Each of its runs keeps the pace, over all of its accounts together.

alter table campaign add column rate_count int, add column rate_per_us bigint,
  add check (num_nulls(rate_count, rate_per_us) in (0, 2)),
  add check (rate_count between 1 and rate_per_us),
  -- What comes one by one is sent as it comes.
  add check (rate_count is null or kind = 1);
comment on column campaign.rate_count is 'Messages that a run of it sends, in the mean, in rate_per_us; null = as many as its accounts let it.';
comment on column campaign.rate_per_us is 'The time for so many, in µs.';
alter table flow add column paced bool not null default false;
comment on column flow.paced is 'Whether its run keeps a pace of its own, in run_pace.';
comment on column lease.period_us is 'Distance of its slots, in µs: of those of the account, or where that has no cap, of the run''s own pace; 0 = neither.';

create table run_pace (
  workspace_id int not null,
  run_id bigint not null,
  period_us bigint not null check (period_us > 0),
  next_us bigint not null,
  primary key (workspace_id, run_id),
  foreign key (workspace_id, run_id) references run
) with (fillfactor = 20);
comment on table run_pace is 'The pace of a run whose campaign has a rate, while the run has flows. Whoever changes it holds one of them, a claim, or all.';
comment on column run_pace.workspace_id is 'Tenant.';
comment on column run_pace.run_id is 'The run.';
comment on column run_pace.period_us is 'Distance of two messages, in µs.';
comment on column run_pace.next_us is 'From then on the next message may be claimed, µs since the Unix epoch by the database''s clock.';

create function pace_due(p_flow flow, p_us bigint) returns bool language sql stable as $f$
  select exists (select from run_pace q
    where q.workspace_id = p_flow.workspace_id and q.run_id = p_flow.run_id and q.next_us <= p_us)
$f$;
comment on function pace_due is 'Whether a run that keeps a pace may send a message now.';

-- What the claim, the urgent claim and the questions to a provider have in common: the rate of an account.

create function booted() returns text language sql stable as $f$
  select extract(epoch from pg_postmaster_start_time())::text
$f$;
comment on function booted is 'Which life of the server this is.';

create function take_pace(
  p_workspace int,         -- tenant
  p_account bigint,        -- whose pace
  p_horizon_us bigint,     -- no slot further ahead than this
  p_lead_us bigint,        -- the first slot is at least this far ahead
  out pace account_pace,   -- the row, locked, with the counts of the day moved on to this hour
  out now_us bigint,       -- now, µs since the Unix epoch
  out slow int,            -- factor on the distance of slots, thousandths
  out tau bigint,          -- distance of slots; 0 = no cap
  out cur bigint,          -- the next slot to give out
  out most int             -- slots that may be given out; 0 = none now, or another has the row
) language plpgsql as $f$
declare
  hours bigint;            -- hours since the Unix epoch
begin
  most := 0;
  select x.* into pace from account_pace x
    where x.workspace_id = p_workspace and x.account_id = p_account for no key update skip locked;
  if not found then return; end if;
  perform 1 from account a
    where a.workspace_id = p_workspace and a.account_id = p_account and a.stopped_reason is not null;
  if found then return; end if;

  now_us := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
  if pace.closed_until_us > now_us then return; end if;

  -- After throttling the rate comes back by a fiftieth of the full rate each second. An account without
  -- a cap counts from 5,000 a second.
  slow := greatest(1000, 1000 / (1000.0 / pace.slow_permille + 0.02 * greatest(0, (now_us - pace.slowed_us) / 1000000)))::int;
  tau := case when slow > 1000 then greatest(pace.period_us, 200) * slow / 1000 else pace.period_us end;
  cur := greatest(pace.next_us, now_us + p_lead_us);
  -- Another server may have given out slots that this one has not heard of, up to a horizon ahead by
  -- a clock up to a second fast. They are waited for once.
  if pace.boot not in ('', booted()) and tau > 0 then
    cur := greatest(cur, now_us + least(pace.window_us, 1000000) + p_horizon_us + tau);
    update account_pace x set next_us = cur, boot = booted()
      where x.workspace_id = p_workspace and x.account_id = p_account;
  end if;

  -- A provider may ask for a wait of a day; what an account without a cap was asked for holds as well.
  if tau > 0 and cur > now_us + p_horizon_us or tau = 0 and pace.next_us > now_us then return; end if;
  most := case when pace.failures > 0 then 1
               when tau > 0 then least(1000000, (now_us + p_horizon_us - cur + tau) / tau)
               else 1000000 end;

  -- Also without a limit by the day: one that is set later counts what was sent before.
  hours := now_us / 3600000000;
  if hours > pace.day_hour then
    pace.day_counts := (array_fill(0, array[least(25, hours - pace.day_hour)::int]) || pace.day_counts)[1:25];
    pace.recipient_counts := (array_fill(0, array[least(25, hours - pace.day_hour)::int]) || pace.recipient_counts)[1:25];
    pace.day_hour := hours;
  end if;
end $f$;
comment on function take_pace is 'Locks an account''s pace and says what may be started at it now.';

create function spend_pace(
  p_pace account_pace,     -- as take_pace gave it, with the counts of the day raised
  p_now_us bigint,         -- its now
  p_slow int,              -- its factor
  p_next_us bigint,        -- the first slot not given out
  p_messages bool          -- whether messages get the slots: the first ones begin a ramp
) returns void language plpgsql as $f$
begin
  update account_pace x set
      next_us = p_next_us, boot = booted(), slow_permille = p_slow,
      slowed_us = case when p_slow <> p_pace.slow_permille then p_now_us else x.slowed_us end,
      -- The probe's answer opens the circuit; should its worker die, it opens by itself.
      closed_until_us = case when p_pace.failures > 0 then p_now_us + 20000000 else x.closed_until_us end,
      day_hour = p_pace.day_hour, day_counts = p_pace.day_counts, recipient_counts = p_pace.recipient_counts,
      warm_from_us = case when p_messages and x.warm_first > 0 and x.warm_from_us = 0 then p_now_us else x.warm_from_us end
    where x.workspace_id = p_pace.workspace_id and x.account_id = p_pace.account_id;
end $f$;
comment on function spend_pace is 'Writes down that slots of an account were given out.';

create function take_retries(
  p_flow flow,             -- through which flow, locked
  p_others bigint[],       -- accounts of its run that cannot send now
  p_want int,              -- most messages
  p_free bigint,           -- unreserved micro-credits
  p_due timestamptz,       -- those that are due by then
  p_now timestamptz,       -- now, by the clock that windows go by
  out seqs int[], out attempts smallint[], out kinds smallint[],
  out many int,            -- how many these are
  out unknowns int,        -- of them in doubt
  out fresh int,           -- of them never tried
  out extra bigint         -- micro-credits that they need beyond what those in doubt hold
) language plpgsql as $f$
#variable_conflict use_column
begin
  -- What was certainly not accepted may go through another account when its own cannot send; what is in
  -- doubt never does. An unknown brings its own reservation.
  with due as materialized (
    select r.seq, r.attempts, r.kind, r.reserved, r.due_at from retry r
    where r.workspace_id = p_flow.workspace_id and r.account_id = any (p_flow.account_id || p_others)
      and r.run_id = p_flow.run_id and r.due_at <= p_due and (r.kind <> 2 or r.account_id = p_flow.account_id)
      and (not p_flow.windowed or is_open(p_flow.workspace_id, p_flow.run_id, r.seq, p_now))
    order by r.due_at, r.seq limit p_want for update skip locked
  ), payable as (
    select d.*, sum(greatest(p_flow.reserve_each - d.reserved, 0)) over (order by d.due_at, d.seq) as need from due d
  ), gone as (
    delete from retry r using payable d
    where r.workspace_id = p_flow.workspace_id and r.run_id = p_flow.run_id and r.seq = d.seq
      and (p_flow.reserve_each = 0 or d.need <= p_free)
    returning r.seq, r.attempts, r.kind, r.reserved
  )
  select array_agg(g.seq order by g.seq), array_agg(g.attempts order by g.seq), array_agg(g.kind order by g.seq),
         count(*), count(*) filter (where g.kind = 2), count(*) filter (where g.kind = 3),
         coalesce(sum(p_flow.reserve_each - g.reserved), 0)
    into seqs, attempts, kinds, many, unknowns, fresh, extra from gone g;
end $f$;
comment on function take_retries is 'Takes due messages that wait one by one out of retry, as far as the credit pays for them.';

create function close_poor(p_flow flow) returns void language sql as $f$
  update flow x set runnable = false, closed = 1, epoch = x.epoch + 1
    where x.workspace_id = p_flow.workspace_id and x.account_id = p_flow.account_id and x.run_id = p_flow.run_id;
  with paused as (
    update run x set state = 3, paused_reason = 2
      where x.workspace_id = p_flow.workspace_id and x.run_id = p_flow.run_id and x.state = 2
        and not exists (select from flow o where o.workspace_id = p_flow.workspace_id and o.run_id = p_flow.run_id and o.runnable)
    returning x.campaign_id)
  insert into transition (workspace_id, campaign_id, run_id, at, from_state, to_state, actor, reason)
    select p_flow.workspace_id, x.campaign_id, p_flow.run_id, clock_timestamp(), 2, 3, 'worker', 'credit' from paused x
$f$;
comment on function close_poor is 'Closes a flow for want of credit; what costs less may go on through another account, and the last of them pauses the run.';

create function count_taken(p_workspace int, p_shard smallint, p_runs bigint[], p_retrying int[], p_unknown int[])
returns void language plpgsql as $f$
begin
  if cardinality(p_runs) = 0 then return; end if;
  insert into progress as g (workspace_id, run_id, shard, retrying, unknown)
    select p_workspace, u.r, p_shard, -u.a, -u.b from unnest(p_runs, p_retrying, p_unknown) as u(r, a, b)
    where u.a <> 0 or u.b <> 0 order by u.r
    on conflict (workspace_id, run_id, shard)
    do update set retrying = g.retrying + excluded.retrying, unknown = g.unknown + excluded.unknown;
end $f$;
comment on function count_taken is 'Takes messages that wait no more off their runs'' counters.';

-- As in 0016_accounts.sql, in terms of the above: for bulk runs only, and of what has a window only what is open.
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
  p_lead_us bigint,    -- first slot at least this far ahead
  p_lag_us bigint,     -- a run that is behind its own pace makes up for no more than this, nor starts anything later
  p_now timestamptz    -- now, by the clock that windows go by
) returns table (
  lease_id bigint, run_id bigint, epoch int, lo int, hi int, seqs int[], attempts smallint[], kinds smallint[],
  reserve_each bigint, slot_us bigint, period_us bigint, lateness_us bigint, now_us bigint, probe bool,
  paced bool
) language plpgsql as $f$
#variable_conflict use_column
declare
  p account_pace;      -- the account's rate state
  f flow;              -- the flow being served
  t bigint;            -- now, µs since the Unix epoch
  cur bigint;          -- next slot to give out
  tau bigint;          -- distance of slots
  rate record;         -- what may be started at its pace
  n int;               -- messages still wanted
  k int;               -- messages that this flow may still take of them
  q run_pace;          -- the run's own pace
  own bool;            -- whether that gives the slots, since the account has none
  first bigint;        -- the flow's next slot
  step bigint;         -- distance of its slots
  late bigint;         -- how long after its slot a message of it may start
  taken int;           -- messages of it leased so far
  m int;               -- messages of the lease being made
  paid bigint;         -- messages of this flow that the credit still covers
  free bigint;         -- unreserved micro-credits
  s record;            -- the range or list being leased
  room bigint;         -- messages that the limits by the day leave
  others bigint[];     -- accounts of the run that cannot send now
  fresh bigint;        -- messages of the cursor that this account may take
  last_lease bigint := p_lease + p_leases - 1;
  got int := 0;        -- messages leased so far
  taken_run bigint[] := '{}';
  taken_retrying int[] := '{}';
  taken_unknown int[] := '{}';
begin
  perform 1 from worker w where w.worker_id = p_worker for key share;
  if not found then
    raise exception 'worker % is not alive', p_worker using errcode = 'FF001';
  end if;
  select x.* into rate from take_pace(p_workspace, p_account, p_horizon_us, p_lead_us) x;
  if rate.most <= 0 then return; end if;
  p := rate.pace; t := rate.now_us; tau := rate.tau; cur := rate.cur;
  n := least(p_want, rate.most);
  if p.day_cap > 0 or p.warm_first > 0 or p.recipient_cap > 0 then
    room := day_room(p, t);
    n := least(n, room);
  end if;
  if n <= 0 then return; end if;

  for f in
    select x.* from flow x where x.workspace_id = p_workspace and x.account_id = p_account and x.runnable
      and x.lane = 1
      -- A flow that only waits, for its time, its pace or another account's turn, would keep its place at the
      -- head, and the others from theirs.
      and (not x.paced or pace_due(x, t))
      and ((exists (select from returned r where r.workspace_id = p_workspace and r.run_id = x.run_id
                      and (not x.windowed or is_open(p_workspace, x.run_id, r.lo, p_now)))
            or exists (select from segment g where g.workspace_id = p_workspace and g.run_id = x.run_id and g.next_seq < g.hi
                         and (not x.windowed or is_open(g, p_now))))
           and (x.sharing = 0 or turn(x, t) is distinct from 0)
        or exists (select from retry r where r.workspace_id = p_workspace and r.account_id = p_account
                     and r.run_id = x.run_id and r.due_at <= clock_timestamp()
                     and (not x.windowed or is_open(p_workspace, x.run_id, r.seq, p_now)))
        or x.sharing > 0 and exists (select from retry r
                     join flow o on o.workspace_id = p_workspace and o.account_id = r.account_id and o.run_id = r.run_id
                     where r.workspace_id = p_workspace and r.run_id = x.run_id and r.account_id <> p_account
                       and r.kind = 1 and r.due_at <= clock_timestamp() and not can_send(o, t)
                       and (not x.windowed or is_open(p_workspace, x.run_id, r.seq, p_now))))
    order by x.vtime, x.run_id limit 16
  loop
    exit when n <= 0 or p_lease > last_lease;
    -- It may have been paused since the snapshot.
    select x.* into f from flow x
      where x.workspace_id = p_workspace and x.account_id = p_account and x.run_id = f.run_id and x.runnable
      for no key update;
    continue when not found;
    k := n; taken := 0; own := f.paced and tau = 0; first := cur; step := tau; late := p.lateness_us;
    if f.paced then
      -- Another account's claim may hold it, or have taken what was due.
      select x.* into q from run_pace x
        where x.workspace_id = p_workspace and x.run_id = f.run_id and x.next_us <= t
        for no key update skip locked;
      continue when not found;
      q.next_us := greatest(q.next_us, t - p_lag_us);
      k := least(n, (t - q.next_us) / q.period_us + 1);
      late := case when own then p_lag_us else least(late, p_lag_us) end;
      if own then step := q.period_us; end if;
      -- It goes first while it gets less than its turn, but for no more than what its pace lets it take in a
      -- second: it is owed nothing for the time in which it had to wait.
      f.vtime := greatest(f.vtime, (
        select min(o.vtime) - 1000000000 / (q.period_us * f.weight) from flow o
        where o.workspace_id = p_workspace and o.account_id = p_account and o.run_id <> f.run_id
          and o.runnable and o.lane = 1 and not o.paced));
    end if;
    paid := k; free := 0;
    if f.reserve_each > 0 then
      select c.balance - c.reserved into free from credit c where c.workspace_id = p_workspace for no key update;
      paid := free / f.reserve_each;
    end if;

    others := '{}'; fresh := k;
    if f.sharing > 0 then
      select coalesce(array_agg(o.account_id), '{}') into others from flow o
        where o.workspace_id = p_workspace and o.run_id = f.run_id and o.account_id <> p_account
          and not can_send(o, t);
      fresh := least(k, turn(f, t));
    end if;

    -- 1. Due retries, as a list.
    select x.* into s from take_retries(f, others, least(k, p_list_max), free, clock_timestamp(), p_now) x;
    if s.many > 0 then
      m := s.many;
      insert into lease as l values (p_workspace, p_lease, p_account, f.run_id, p_worker, 0, m, s.seqs, s.attempts,
        s.kinds, f.reserve_each, m, '', first, step);
      return query select p_lease, f.run_id, p.epoch + f.epoch, 0, m, s.seqs, s.attempts, s.kinds, f.reserve_each,
        first, step, late, t, p.failures > 0, own;
      if s.extra <> 0 then
        update credit c set reserved = c.reserved + s.extra where c.workspace_id = p_workspace;
        free := free - s.extra;
        if f.reserve_each > 0 then paid := free / f.reserve_each; end if;
      end if;
      taken_run := taken_run || f.run_id;
      taken_retrying := taken_retrying || (m - s.unknowns - s.fresh);
      taken_unknown := taken_unknown || s.unknowns;
      f.vtime := f.vtime + m::bigint * 1000 / f.weight;
      p_lease := p_lease + 1; first := first + m * step; k := k - m; taken := taken + m;
    end if;

    -- Out of credit, unless a lease in flight may still give some back. The credit is locked, so that one of
    -- several accounts is the last.
    if paid <= 0 and s.many = 0 then
      if fresh > 0 and not exists (select from lease l where l.workspace_id = p_workspace and l.reserve_each > 0)
        and (exists (select from returned r where r.workspace_id = p_workspace and r.run_id = f.run_id)
          or exists (select from segment g where g.workspace_id = p_workspace and g.run_id = f.run_id and g.next_seq < g.hi)
          or exists (select from retry r where r.workspace_id = p_workspace and r.account_id = p_account
                       and r.run_id = f.run_id and r.due_at <= clock_timestamp()))
      then
        perform close_poor(f);
      end if;
      continue;
    end if;

    -- 2. Returned ranges, then the cursor.
    while k > 0 and fresh > 0 and paid > 0 and p_lease <= last_lease loop
      -- Another account's claim may hold these, and want what this one holds: it is waited for by nobody.
      select r.lo, r.hi, null::int as segment_no into s from returned r
        where r.workspace_id = p_workspace and r.run_id = f.run_id
          and (not f.windowed or is_open(p_workspace, f.run_id, r.lo, p_now))
        order by r.lo limit 1 for update skip locked;
      if not found then
        select g.next_seq as lo, g.hi, g.segment_no into s from segment g
          where g.workspace_id = p_workspace and g.run_id = f.run_id and g.next_seq < g.hi
            and (not f.windowed or is_open(g, p_now))
          order by g.segment_no limit 1 for no key update skip locked;
        exit when not found;
      end if;
      m := least(k, s.hi - s.lo, paid, fresh);
      if s.segment_no is not null then
        update segment g set next_seq = s.lo + m
          where g.workspace_id = p_workspace and g.run_id = f.run_id and g.segment_no = s.segment_no;
      else
        delete from returned r where r.workspace_id = p_workspace and r.run_id = f.run_id and r.lo = s.lo;
        if m < s.hi - s.lo then insert into returned values (p_workspace, f.run_id, s.lo + m, s.hi); end if;
      end if;
      insert into lease as l values (p_workspace, p_lease, p_account, f.run_id, p_worker, s.lo, s.lo + m, null, null, null,
        f.reserve_each, m, '', first, step);
      return query select p_lease, f.run_id, p.epoch + f.epoch, s.lo, s.lo + m, null::int[], null::smallint[], null::smallint[],
        f.reserve_each, first, step, late, t, p.failures > 0, own;
      if f.reserve_each > 0 then
        update credit c set reserved = c.reserved + m * f.reserve_each where c.workspace_id = p_workspace;
        paid := paid - m;
      end if;
      f.vtime := f.vtime + m::bigint * 1000 / f.weight;
      f.claimed := f.claimed + m; fresh := fresh - m;
      p_lease := p_lease + 1; first := first + m * step; k := k - m; taken := taken + m;
    end loop;
    cur := cur + taken * tau; n := n - taken; got := got + taken;
    if f.paced and taken > 0 then
      update run_pace x set next_us = q.next_us + taken * q.period_us
        where x.workspace_id = p_workspace and x.run_id = f.run_id;
    end if;
    update flow x set vtime = f.vtime, claimed = f.claimed
      where x.workspace_id = p_workspace and x.account_id = p_account and x.run_id = f.run_id and x.vtime <> f.vtime;
  end loop;

  perform count_taken(p_workspace, p_shard, taken_run, taken_retrying, taken_unknown);
  if got > 0 and (tau > 0 or p.failures > 0 or room is not null) then
    p.day_counts[1] := p.day_counts[1] + got;
    p.recipient_counts[1] := p.recipient_counts[1] + got;
    perform spend_pace(p, t, rate.slow, cur, true);
  end if;
end $f$;
comment on function claim is 'Leases up to p_want messages of an account''s bulk runs to a worker; no rows when there is nothing, or another claim is under way.';

-- As in 0018_poll.sql, in terms of the above.
create or replace function reserve_slot(
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
  rate record;         -- what may be started at its pace
  hours bigint;        -- hours since the Unix epoch
  busy bool;           -- whether something waits to be sent
  counts bool;         -- whether the account counts what it does by the day
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
  select x.* into rate from take_pace(p_workspace, p_account, p_horizon_us, p_lead_us) x;
  if rate.most <= 0 then return; end if;
  p := rate.pace; t := rate.now_us;
  select x.* into q from poller x
    where x.workspace_id = p_workspace and x.account_id = p_account for no key update;

  if q.worker_id <> p_worker and q.until_us > t
    and exists (select from worker w where w.worker_id = q.worker_id) then return; end if;

  -- Slots before it are for sending: a question takes the next one, or waits.
  if q.next_us > rate.cur then return; end if;

  busy := exists (
    select from flow x where x.workspace_id = p_workspace and x.account_id = p_account and x.runnable
      and (not x.paced or pace_due(x, t))
      and (exists (select from returned r where r.workspace_id = p_workspace and r.run_id = x.run_id)
        or exists (select from segment g where g.workspace_id = p_workspace and g.run_id = x.run_id and g.next_seq < g.hi)
        or exists (select from retry r where r.workspace_id = p_workspace and r.account_id = p_account
                     and r.run_id = x.run_id and r.due_at <= clock_timestamp())));
  -- What is sent tells best whether the account answers again.
  if p.failures > 0 and busy then return; end if;

  hours := t / 3600000000;
  counts := rate.tau > 0 or p.failures > 0 or p.day_cap > 0;
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
    perform spend_pace(p, t, rate.slow, rate.cur + rate.tau, false);
  end if;
  update poller x set
      worker_id = p_worker, until_us = rate.cur + p_lease_us,
      -- Without a cap ten a second: each holds the account's row for as long as a commit takes.
      next_us = case when busy then rate.cur + (case when rate.tau > 0 then p_share * rate.tau else 100000 end) else q.next_us end,
      day_hour = q.day_hour, day_counts = q.day_counts
    where x.workspace_id = p_workspace and x.account_id = p_account;
  return query select rate.cur, rate.tau, p.lateness_us, p.epoch, p.failures > 0;
end $f$;

create function bulk_waits(p_workspace int, p_account bigint, p_now timestamptz) returns bool language sql stable as $f$
  select exists (
    select from flow x where x.workspace_id = p_workspace and x.account_id = p_account and x.runnable and x.lane = 1
      and (not x.paced or pace_due(x, (extract(epoch from now()) * 1000000)::bigint))
      and (exists (select from returned r where r.workspace_id = p_workspace and r.run_id = x.run_id
                     and (not x.windowed or is_open(p_workspace, x.run_id, r.lo, p_now)))
        or exists (select from segment g where g.workspace_id = p_workspace and g.run_id = x.run_id and g.next_seq < g.hi
                     and (not x.windowed or is_open(g, p_now)))
        or exists (select from retry r where r.workspace_id = p_workspace and r.account_id = p_account
                     and r.run_id = x.run_id and r.due_at <= now()
                     and (not x.windowed or is_open(p_workspace, x.run_id, r.seq, p_now)))))
$f$;
comment on function bulk_waits is 'Whether an account has bulk messages that could be sent now.';

create function urgent_due(p_flow flow, p_us bigint, p_now timestamptz) returns timestamptz language sql stable as $f$
  select least(
    (select min(r.due_at) from retry r
     where r.workspace_id = p_flow.workspace_id and r.account_id = p_flow.account_id and r.run_id = p_flow.run_id
       and r.due_at <= now() and (not p_flow.windowed or is_open(r.workspace_id, r.run_id, r.seq, p_now))),
    case when p_flow.sharing > 0 then
      (select min(r.due_at) from flow o
       join retry r on r.workspace_id = o.workspace_id and r.account_id = o.account_id and r.run_id = o.run_id
       where o.workspace_id = p_flow.workspace_id and o.run_id = p_flow.run_id and o.account_id <> p_flow.account_id
         and r.kind <> 2 and r.due_at <= now() and not can_send(o, p_us)
         and (not p_flow.windowed or is_open(r.workspace_id, r.run_id, r.seq, p_now))) end)
$f$;
comment on function urgent_due is 'Since when a message waits that may be claimed through a flow now; null if none does.';

-- The urgent claim: due messages of the runs in the transactional lane, in the order of their times. Where bulk
-- holds the next slots it borrows: the worker that claims has slots of bulk and gives some of them away, each
-- counted by the day already. Else slots of its own, from the same row as the claim. While bulk waits, these
-- are taken one at a time, and only where nobody has claimed ahead: whoever has gives his away, so that bulk
-- keeps every other slot. Lock order as in the claim; borrowing, it leaves account_pace alone.
create function claim_urgent(
  p_workspace int,     -- tenant
  p_account bigint,    -- whose pace and flows
  p_worker bigint,     -- who claims
  p_lease bigint,      -- id of the first lease; the next ones count up
  p_leases int,        -- most leases
  p_shard smallint,    -- shard of progress
  p_want int,          -- most messages
  p_borrows bool,      -- whether the worker's bulk gives the slots
  p_horizon_us bigint, -- no slot further ahead than this
  p_lead_us bigint,    -- first slot at least this far ahead
  p_now timestamptz    -- now, by the clock that windows go by
) returns table (
  lease_id bigint, run_id bigint, epoch int, lo int, hi int, seqs int[], attempts smallint[], kinds smallint[],
  reserve_each bigint, slot_us bigint, period_us bigint, lateness_us bigint, now_us bigint, probe bool
) language plpgsql as $f$
#variable_conflict use_column
declare
  p account_pace;      -- the account's rate state
  f flow;              -- the flow being served
  rate record;         -- what may be started at its pace
  t bigint;            -- now, µs since the Unix epoch
  cur bigint;          -- next slot to give out
  tau bigint;          -- distance of slots
  busy bool;           -- whether bulk waits
  n int;               -- messages still wanted
  free bigint;         -- unreserved micro-credits
  s record;            -- the list being leased
  room bigint;         -- messages that the limits by the day leave
  others bigint[];     -- accounts of the run that cannot send now
  last_lease bigint := p_lease + p_leases - 1;
  got int := 0;        -- messages leased so far
  taken_run bigint[] := '{}';
  taken_retrying int[] := '{}';
  taken_unknown int[] := '{}';
begin
  perform 1 from worker w where w.worker_id = p_worker for key share;
  if not found then
    raise exception 'worker % is not alive', p_worker using errcode = 'FF001';
  end if;
  t := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
  select x.* into p from account_pace x
    join account a on a.workspace_id = x.workspace_id and a.account_id = x.account_id
    where x.workspace_id = p_workspace and x.account_id = p_account and a.stopped_reason is null
      and x.closed_until_us <= t;
  if not found then return; end if;
  if p_borrows then
    -- A probe is bulk's; its answer is waited for.
    if p.failures > 0 then return; end if;
    n := p_want; tau := p.period_us; cur := t;
  else
    busy := bulk_waits(p_workspace, p_account, p_now);
    -- A look beforehand: a claim that meets the lock below comes back with nothing.
    if busy and p.period_us > 0 and p.next_us > t + p_lead_us then return; end if;
    select x.* into rate from take_pace(p_workspace, p_account, p_horizon_us, p_lead_us) x;
    if rate.most <= 0 then return; end if;
    p := rate.pace; t := rate.now_us; tau := rate.tau; cur := rate.cur;
    n := least(p_want, rate.most);
    if busy and tau > 0 then
      if cur > t + p_lead_us then return; end if;
      n := least(n, 1);
    end if;
    if p.day_cap > 0 or p.warm_first > 0 or p.recipient_cap > 0 then
      room := day_room(p, t);
      n := least(n, room);
    end if;
  end if;
  if n <= 0 then return; end if;

  for f in
    select x.* from flow x cross join lateral urgent_due(x, t, p_now) as u(due)
    where x.workspace_id = p_workspace and x.account_id = p_account and x.runnable and x.lane = 0 and u.due is not null
    order by u.due, x.run_id limit 16
  loop
    exit when n <= 0 or p_lease > last_lease;
    -- It may have been paused since the snapshot; another worker may hold it, borrowing as well.
    select x.* into f from flow x
      where x.workspace_id = p_workspace and x.account_id = p_account and x.run_id = f.run_id and x.runnable
      for no key update skip locked;
    continue when not found;
    free := 0;
    if f.reserve_each > 0 then
      select c.balance - c.reserved into free from credit c where c.workspace_id = p_workspace for no key update;
    end if;
    others := '{}';
    if f.sharing > 0 then
      select coalesce(array_agg(o.account_id), '{}') into others from flow o
        where o.workspace_id = p_workspace and o.run_id = f.run_id and o.account_id <> p_account
          and not can_send(o, t);
    end if;
    select x.* into s from take_retries(f, others, n, free, clock_timestamp(), p_now) x;
    if s.many > 0 then
      insert into lease as l values (p_workspace, p_lease, p_account, f.run_id, p_worker, 0, s.many, s.seqs, s.attempts,
        s.kinds, f.reserve_each, s.many, '', cur, tau);
      return query select p_lease, f.run_id, p.epoch + f.epoch, 0, s.many, s.seqs, s.attempts, s.kinds, f.reserve_each,
        cur, tau, p.lateness_us, t, p.failures > 0;
      if s.extra <> 0 then
        update credit c set reserved = c.reserved + s.extra where c.workspace_id = p_workspace;
      end if;
      taken_run := taken_run || f.run_id;
      taken_retrying := taken_retrying || (s.many - s.unknowns - s.fresh);
      taken_unknown := taken_unknown || s.unknowns;
      if f.sharing > 0 and s.fresh > 0 then
        update flow x set claimed = f.claimed + s.fresh
          where x.workspace_id = p_workspace and x.account_id = p_account and x.run_id = f.run_id;
      end if;
      p_lease := p_lease + 1; cur := cur + s.many * tau; n := n - s.many; got := got + s.many;
    elsif f.reserve_each > free and not exists (select from lease l where l.workspace_id = p_workspace and l.reserve_each > 0) then
      perform close_poor(f);
    end if;
  end loop;

  perform count_taken(p_workspace, p_shard, taken_run, taken_retrying, taken_unknown);
  if not p_borrows and got > 0 and (tau > 0 or p.failures > 0 or room is not null) then
    p.day_counts[1] := p.day_counts[1] + got;
    p.recipient_counts[1] := p.recipient_counts[1] + got;
    perform spend_pace(p, t, rate.slow, cur, true);
  end if;
end $f$;
comment on function claim_urgent is 'Leases up to p_want messages of an account''s transactional runs to a worker; no rows when there is nothing, or no slot.';
