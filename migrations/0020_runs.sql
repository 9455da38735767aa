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

create function is_open(p_segment segment, p_now timestamptz) returns bool language sql stable as $f$
  -- What is claimed now is sent a horizon and the lateness of its slot later at most.
  select coalesce(p_segment.opens_at <= p_now, true)
     and coalesce(p_segment.closes_at > p_now + interval '6 seconds', true)
$f$;
comment on function is_open(segment, timestamptz) is 'Whether messages of a segment may be claimed now.';

-- In PL/pgSQL, whose plans are kept: what waits for its window is met by every claim.
create function is_open(p_workspace int, p_run bigint, p_seq int, p_now timestamptz) returns bool
language plpgsql stable as $f$
begin
  return (
    select is_open(g, p_now) from segment g
    where g.workspace_id = p_workspace and g.run_id = p_run and g.lo <= p_seq and g.hi > p_seq
    order by g.lo desc limit 1);
end $f$;
comment on function is_open(int, bigint, int, timestamptz) is 'Whether a message may be claimed now, by the window of its segment.';
