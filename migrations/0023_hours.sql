-- When recipients may be written to, by their own clocks.

alter table workspace add column zone text;
comment on column workspace.zone is 'IANA name of the time zone of whoever is not known to live elsewhere, unless the campaign says so; null = UTC.';

create table workspace_hours (
  workspace_id int not null references workspace,
  category smallint not null check (category in (0, 1, 3)),
  quiet text,
  hours text,
  primary key (workspace_id, category),
  check (quiet is not null or hours is not null)
);
comment on table workspace_hours is 'When the workspace''s campaigns may write to people, by their clocks. Several that hold for a campaign hold together.';
comment on column workspace_hours.workspace_id is 'Tenant.';
comment on column workspace_hours.category is 'The campaigns it holds for: 0 all, else those of a category, 1 marketing, 3 utility. Transactional ones are exempt.';
comment on column workspace_hours.quiet is 'Hours of the day in which nothing is sent, e.g. 21:00-08:00.';
comment on column workspace_hours.hours is 'Windows in which something is, e.g. mon-fri 09:00-18:00, sat 10:00-14:00.';

alter table campaign add column quiet text;
alter table campaign add column hours text;
alter table campaign add column zone text;
alter table campaign add column local_date date;
alter table campaign add column local_time time;
alter table campaign add check ((local_date is null) = (local_time is null));
comment on column campaign.quiet is 'Hours of the day in which nothing is sent, by the recipients'' clocks; beside those of the workspace.';
comment on column campaign.hours is 'Windows in which something is, likewise.';
comment on column campaign.zone is 'IANA name of the time zone of whoever is not known to live elsewhere; null = the workspace''s.';
comment on column campaign.local_date is 'Nothing is sent before this day, by the recipients'' clocks; null = as soon as the run starts.';
comment on column campaign.local_time is 'And before this time of that day.';

alter table retry add column not_before timestamptz;
comment on column retry.not_before is 'Of one that was put off until a window opens: when it would have been due, by its back-off or the provider''s word; null = it was not put off.';

create function is_windowed(p_workspace int, p_campaign bigint) returns bool language sql stable as $f$
  select c.category <> 2
     and (c.quiet is not null or c.hours is not null or c.local_date is not null
          or exists (select from workspace_hours h
                     where h.workspace_id = c.workspace_id and h.category in (0, c.category)))
  from campaign c where c.workspace_id = p_workspace and c.campaign_id = p_campaign
$f$;
comment on function is_windowed is 'Whether a run of the campaign that is launched now has windows.';
