-- What a run is, what it says, and when its segments may be sent. A campaign may have several runs at once.

alter table run add column kind smallint not null default 1 check (kind between 1 and 6);
alter table run add column parent_run_id bigint;
alter table run add column step smallint;
alter table run add foreign key (workspace_id, parent_run_id) references run (workspace_id, run_id);
alter table run add check ((kind in (3, 4, 5)) = (parent_run_id is not null));
comment on column run.kind is '1 a launch, 2 a tick of the campaign''s schedule, 3 a follow-up, 4 a resend, 5 the rest that a first part left, 6 live: messages come one by one.';
comment on column run.parent_run_id is 'The run whose messages decide who its recipients are; null for a launch, a tick and a live run.';
comment on column run.step is 'Of a follow-up: which of the campaign''s.';

create table run_arm (
  workspace_id int not null,
  run_id bigint not null,
  arm smallint not null check (arm between 0 and 4),
  template_id bigint not null,
  template_version int not null,
  weight int not null check (weight > 0),
  primary key (workspace_id, run_id, arm),
  foreign key (workspace_id, run_id) references run,
  foreign key (workspace_id, template_id) references template
);
comment on table run_arm is 'What a run says, frozen at its launch: one template, or the variants that are tried against each other.';
comment on column run_arm.workspace_id is 'Tenant.';
comment on column run_arm.run_id is 'The run.';
comment on column run_arm.arm is 'Counts from 0.';
comment on column run_arm.template_id is 'The template.';
comment on column run_arm.template_version is 'The version of it.';
comment on column run_arm.weight is 'Its part of the recipients beside the others'' weights.';
insert into run_arm
  select r.workspace_id, r.run_id, 0, c.template_id, r.template_version, 1
  from run r join campaign c on c.workspace_id = r.workspace_id and c.campaign_id = r.campaign_id;
alter table run drop column template_version;
comment on column recipient.variant is 'What it gets: the arm of the run times 256, plus the language variant of that arm''s template.';

create function run_arms(p_run run) returns jsonb language sql stable as $f$
  select jsonb_agg(jsonb_build_object('template_id', a.template_id, 'version', a.template_version, 'weight', a.weight)
                   order by a.arm)
  from run_arm a where a.workspace_id = p_run.workspace_id and a.run_id = p_run.run_id
$f$;
comment on function run_arms is 'What a run says: its arms in their order, as JSON.';

-- Why: everything ever sent to an address is a question to the log.
create index recipient_address on recipient (workspace_id, (address collate "C"));

alter table segment add column wave smallint not null default 0;
alter table segment add column zone text;
alter table segment add column opens_at timestamptz;
alter table segment add column closes_at timestamptz;
alter table segment drop constraint segment_workspace_id_run_id_after_address_key;
alter table segment add unique (workspace_id, run_id, after_address, wave);
comment on column segment.wave is 'Contacts of one source range that may be sent at different times: one segment for each wave, counted from 0.';
comment on column segment.zone is 'The time zone of its recipients, by its IANA name, if it has a window.';
comment on column segment.opens_at is 'Nothing of it is sent before; null = no bound.';
comment on column segment.closes_at is 'Nothing of it is sent from then on, until the window is moved on; null = no bound.';
comment on column segment.after_address is 'Its source range begins after this address; unique with the wave, so that a repeated expand is harmless.';
-- Why: a retry is claimed only while the segment of its message is open. Neither column is ever updated.
create index segment_lo on segment (workspace_id, run_id, lo);

alter table flow add column lane smallint not null default 1 check (lane in (0, 1));
alter table flow add column windowed bool not null default false;
comment on column flow.lane is '0 transactional: messages that come one by one, and go first; 1 bulk.';
comment on column flow.windowed is 'Whether its segments have windows.';

alter table retry drop constraint retry_kind_check;
alter table retry add check (kind between 1 and 3);
comment on column retry.kind is '1 retry (certainly not accepted), 2 unknown (may have been accepted), 3 new (came by itself, never tried).';
comment on column lease.kinds is 'List: what each was before, as in retry.kind: doubt stays until it is resolved; null for a range.';

create table transition (
  workspace_id int not null,
  campaign_id bigint not null,
  run_id bigint not null,
  at timestamptz not null,
  from_state smallint not null check (from_state between 0 and 14),
  to_state smallint not null check (to_state between 1 and 14),
  actor text not null,
  reason text,
  primary key (workspace_id, campaign_id, run_id, at),
  foreign key (workspace_id, campaign_id) references campaign
);
comment on table transition is 'Every change of state of a campaign and of its runs. Appended, never updated.';
comment on column transition.workspace_id is 'Tenant.';
comment on column transition.campaign_id is 'The campaign.';
comment on column transition.run_id is 'The run; 0 = the campaign itself.';
comment on column transition.at is 'When, by the database''s clock.';
comment on column transition.from_state is 'As run.state, or campaign.approval; 0 = there was none.';
comment on column transition.to_state is 'As run.state, or campaign.approval.';
comment on column transition.actor is 'The person, or the role of the program, that changed it.';
comment on column transition.reason is 'Why, in a few words.';

create function is_open(p_segment segment, p_now timestamptz) returns bool language sql immutable as $f$
  -- What is claimed now is sent a horizon and the lateness of its slot later at most.
  select coalesce(p_segment.opens_at <= p_now, true)
     and coalesce(p_segment.closes_at > p_now + interval '6 seconds', true)
$f$;
comment on function is_open(segment, timestamptz) is 'Whether messages of a segment may be claimed now.';

create function is_open(p_workspace int, p_run bigint, p_seq int, p_now timestamptz) returns bool
language sql stable as $f$
  select is_open(g, p_now) from segment g
  where g.workspace_id = p_workspace and g.run_id = p_run and g.lo <= p_seq and g.hi > p_seq
  order by g.lo desc limit 1
$f$;
comment on function is_open(int, bigint, int, timestamptz) is 'Whether a message may be claimed now, by the window of its segment.';

-- As in 0016_accounts.sql, for bulk runs only, and of what has a window only what is open.
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
  p_now timestamptz    -- now, by the clock that windows go by
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
      and x.lane = 1
      -- A flow that only waits, for its time or for another account's, would keep its place at the head, and
      -- the others from theirs.
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
        and (not f.windowed or is_open(p_workspace, f.run_id, r.seq, p_now))
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
        with paused as (
          update run x set state = 3, paused_reason = 2
            where x.workspace_id = p_workspace and x.run_id = f.run_id and x.state = 2
              and not exists (select from flow o where o.workspace_id = p_workspace and o.run_id = f.run_id and o.runnable)
          returning x.campaign_id)
        insert into transition (workspace_id, campaign_id, run_id, at, from_state, to_state, actor, reason)
          select p_workspace, x.campaign_id, f.run_id, clock_timestamp(), 2, 3, 'worker', 'credit' from paused x;
      end if;
      continue;
    end if;

    -- 2. Returned ranges, then the cursor.
    while n > 0 and fresh > 0 and paid > 0 and p_lease <= last_lease loop
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
comment on function claim is 'Leases up to p_want messages of an account''s bulk runs to a worker; no rows when there is nothing, or another claim is under way.';
