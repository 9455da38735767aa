-- Schedules: when a campaign runs by itself, and what became of every instant of that.

alter table campaign add column once_per_contact bool not null default false;
comment on column campaign.once_per_contact is 'Whether a contact whom an earlier run has reached, or may still reach, is left out.';
alter table segment add column reached int not null default 0;
comment on column segment.reached is 'Contacts left out: another run of the campaign has reached them, or may.';

create table schedule (
  workspace_id int not null,
  campaign_id bigint not null,
  form smallint not null check (form between 1 and 3),
  expression text not null,
  zone text not null,
  starts_at timestamptz not null,
  ends_at timestamptz check (ends_at > starts_at),
  runs_max int check (runs_max > 0),
  missed smallint not null check (missed between 1 and 3),
  missed_max int not null check (missed_max > 0),
  overlap smallint not null check (overlap between 1 and 3),
  latest_after_s bigint check (latest_after_s > 0),
  state smallint not null check (state between 1 and 4),
  next_at timestamptz,
  fired int not null default 0,
  primary key (workspace_id, campaign_id),
  foreign key (workspace_id, campaign_id) references campaign,
  check ((form = 3) = (latest_after_s is not null))
);
comment on table schedule is 'When a campaign runs by itself. Whoever deals with a tick holds the row locked.';
comment on column schedule.workspace_id is 'Tenant.';
comment on column schedule.campaign_id is 'The campaign.';
comment on column schedule.form is 'How it is written: 1 cron, 2 words, 3 one time.';
comment on column schedule.expression is 'As it was written; of one time, that time by the clocks of the zone.';
comment on column schedule.zone is 'The time zone by whose clocks it goes, by its IANA name.';
comment on column schedule.starts_at is 'It has no tick before.';
comment on column schedule.ends_at is 'It has no tick after; null = no end.';
comment on column schedule.runs_max is 'It ends after so many runs; null = no bound.';
comment on column schedule.missed is 'Of ticks that nobody dealt with in time: 1 skip, 2 run once for all of them, 3 run each.';
comment on column schedule.missed_max is 'Of those that are to run each, only so many, the newest.';
comment on column schedule.overlap is 'Of a tick whose predecessor''s run is not over: 1 skip, 2 queue, 3 run in parallel.';
comment on column schedule.latest_after_s is 'Of one time: later than so many seconds after it, it is held for a person.';
comment on column schedule.state is '1 active, 2 paused by a person, 3 held for a person since it is too late, 4 ended.';
comment on column schedule.next_at is 'The first tick not dealt with; null when there is none left.';
comment on column schedule.fired is 'Runs so far.';

create table tick (
  workspace_id int not null,
  campaign_id bigint not null,
  scheduled_for timestamptz not null,
  through timestamptz not null check (through >= scheduled_for),
  ticks int not null check (ticks > 0),
  verdict smallint not null check (verdict between 1 and 9),
  run_id bigint,
  why text,
  decided_at timestamptz not null,
  primary key (workspace_id, campaign_id, scheduled_for),
  unique (workspace_id, run_id),
  foreign key (workspace_id, campaign_id) references schedule,
  foreign key (workspace_id, run_id) references run,
  check ((verdict = 1) = (run_id is not null)),
  check (ticks = 1 or verdict in (2, 3, 8))
);
comment on table tick is 'What became of every instant of a schedule that has come.';
comment on column tick.workspace_id is 'Tenant.';
comment on column tick.campaign_id is 'The campaign of the schedule.';
comment on column tick.scheduled_for is 'The instant; of several with one fate, the first.';
comment on column tick.through is 'Of several with one fate, the last; else the same.';
comment on column tick.ticks is 'How many instants these are.';
comment on column tick.verdict is '1 fired, 2 missed and skipped, 3 missed and merged into the run of a later one, 4 skipped since a run was going on, 5 queued behind a run, 6 held for a person, 7 refused, 8 the schedule was paused, 9 dropped from the queue.';
comment on column tick.run_id is 'The run that it fired.';
comment on column tick.why is 'Why it was refused, held or dropped.';
comment on column tick.decided_at is 'When that was decided.';
-- Why: each look for due schedules asks for those with something in the queue.
create index tick_queued on tick (workspace_id, campaign_id, scheduled_for) where verdict = 5;

create function reached(p_workspace int, p_campaign bigint, p_run bigint, p_address text) returns bool
language sql stable as $f$
  select exists (
    select from recipient m
    join run r on r.workspace_id = m.workspace_id and r.run_id = m.run_id
    where m.workspace_id = p_workspace and m.address collate "C" = p_address
      and r.campaign_id = p_campaign and r.run_id is distinct from p_run
      and (exists (select from outcome o
                   where o.workspace_id = p_workspace and o.run_id = m.run_id and o.seq = m.seq and o.class = 1)
        -- In doubt, written off, or counted as sent.
        or coalesce((select o.class in (6, 9) from outcome o
                     where o.workspace_id = p_workspace and o.run_id = m.run_id and o.seq = m.seq and not o.late
                     order by o.attempt desc limit 1), false)
        or exists (select from retry t where t.workspace_id = p_workspace and t.run_id = m.run_id and t.seq = m.seq)
        or r.state < 5 and (
          exists (select from segment g where g.workspace_id = p_workspace and g.run_id = m.run_id
                    and g.next_seq <= m.seq and g.hi > m.seq)
          or exists (select from returned w where w.workspace_id = p_workspace and w.run_id = m.run_id
                       and w.lo <= m.seq and w.hi > m.seq)
          or exists (select from lease l where l.workspace_id = p_workspace and l.run_id = m.run_id
                       and (l.seqs is null and l.lo <= m.seq and l.hi > m.seq or m.seq = any (l.seqs))))))
$f$;
comment on function reached is 'Whether another run of the campaign has reached an address, or may still: the message was sent, is in doubt, or is open.';
