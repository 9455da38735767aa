-- The life of a campaign: who let it go and why it stopped, variants and first parts, what follows a run.

alter table workspace add column review bool not null default false;
comment on column workspace.review is 'Whether a campaign has to be approved by somebody before it is launched.';

alter table campaign add column approval smallint not null default 11 check (approval between 11 and 14);
alter table campaign add column approved_says text;
alter table campaign add column fails_at_permille int check (fails_at_permille between 1 and 1000);
comment on column campaign.approval is '11 draft, 12 in review, 13 approved, 14 refused.';
comment on column campaign.approved_says is 'What was approved: the versions of its templates; approval holds for these alone.';
comment on column campaign.fails_at_permille is 'A run of it is paused once more of its messages failed than this, in thousandths; null = never.';

create table campaign_arm (
  workspace_id int not null,
  campaign_id bigint not null,
  arm smallint not null check (arm between 0 and 4),
  template_id bigint not null,
  weight int not null check (weight between 1 and 1000),
  primary key (workspace_id, campaign_id, arm),
  unique (workspace_id, campaign_id, template_id),
  foreign key (workspace_id, campaign_id) references campaign,
  foreign key (workspace_id, template_id) references template
);
comment on table campaign_arm is 'The templates that a campaign tries against each other; none where it has one.';
comment on column campaign_arm.workspace_id is 'Tenant.';
comment on column campaign_arm.campaign_id is 'The campaign.';
comment on column campaign_arm.arm is 'Counts from 0, which is campaign.template_id.';
comment on column campaign_arm.template_id is 'The template.';
comment on column campaign_arm.weight is 'Its part of the recipients beside the others'' weights.';

create table first_part (
  workspace_id int not null,
  campaign_id bigint not null,
  ppm int check (ppm between 1 and 999999),
  messages int check (messages > 0),
  rest_after_s bigint not null check (rest_after_s >= 0),
  failed_permille int check (failed_permille between 0 and 1000),
  opted_out_permille int check (opted_out_permille between 0 and 1000),
  measure smallint check (measure between 1 and 4),
  primary key (workspace_id, campaign_id),
  foreign key (workspace_id, campaign_id) references campaign,
  check (num_nonnulls(ppm, messages) = 1)
);
comment on table first_part is 'Of a campaign that goes to a few first: how many, and when the rest follows.';
comment on column first_part.workspace_id is 'Tenant.';
comment on column first_part.campaign_id is 'The campaign.';
comment on column first_part.ppm is 'The first part, in millionths of the recipients.';
comment on column first_part.messages is 'The first part, as a number of messages.';
comment on column first_part.rest_after_s is 'The rest follows so many seconds after the end of the first part.';
comment on column first_part.failed_permille is 'It is held if more of the first part failed, in thousandths; null = whatever failed.';
comment on column first_part.opted_out_permille is 'It is held if more of those reached opted out, in thousandths; null = whoever did.';
comment on column first_part.measure is 'By what the best of the arms is found, which the rest gets: 1 delivered, 2 read, 3 replied, 4 confirmed; null = the rest is divided like the first part.';

create table follow_up (
  workspace_id int not null,
  campaign_id bigint not null,
  step smallint not null check (step > 0),
  name text not null,
  of_step smallint not null check (of_step >= 0),
  template_id bigint not null,
  after_s bigint not null check (after_s >= 0),
  cohort text[] not null,
  created_at timestamptz not null,
  primary key (workspace_id, campaign_id, step),
  unique (workspace_id, campaign_id, name),
  foreign key (workspace_id, campaign_id) references campaign,
  foreign key (workspace_id, template_id) references template,
  check (of_step < step)
);
comment on table follow_up is 'What follows a run of a campaign, to whom of its recipients.';
comment on column follow_up.workspace_id is 'Tenant.';
comment on column follow_up.campaign_id is 'The campaign.';
comment on column follow_up.step is 'Counts from 1.';
comment on column follow_up.name is 'What the commands call it.';
comment on column follow_up.of_step is 'Which step it follows; 0 = the campaign''s own runs. An earlier one, so that no step follows itself.';
comment on column follow_up.template_id is 'What it says.';
comment on column follow_up.after_s is 'So many seconds after the end of the run that it follows.';
comment on column follow_up.cohort is 'To whom: words of domain::cohort, of which one must hold.';
comment on column follow_up.created_at is 'Runs that this should have followed before then are followed by nothing.';

alter table run drop constraint run_paused_reason_check;
alter table run add check (paused_reason between 1 and 6);
alter table run add column cohort text[];
alter table run add column part_from bigint;
alter table run add column part_to bigint;
alter table run add column forecast jsonb;
alter table run add column forgiven_failed bigint not null default 0;
alter table run add column forgiven_decided bigint not null default 0;
alter table run add check ((part_from is null) = (part_to is null) and part_from < part_to);
comment on column run.paused_reason is '1 a person, 2 out of credit, 3 an answer of its provider, 4 too many of its messages failed, 5 the rest is held since the first part did not go well, 6 held since its time was over before anybody could start it; null when not paused.';
comment on column run.planned is 'Contacts of the list at launch; of a run with a cohort all of its parent''s recipients. The exact total is the sum of its segments.';
comment on column run.cohort is 'To which of the parent''s recipients, as in follow_up.cohort; null for other kinds.';
comment on column run.part_from is 'It goes to those whose point (domain::split) is not below this; null = to all.';
comment on column run.part_to is 'And below this, at most 2^32.';
comment on column run.forecast is 'What was expected at its launch: recipients, cost (micro-credits), seconds.';
comment on column run.forgiven_failed is 'Failed messages that a person who resumed the run has seen: they do not pause it again.';
comment on column run.forgiven_decided is 'Messages sent or failed by then.';
-- Why: whichever scheduler finds that a step, or the rest, is due: there is one.
create unique index run_once on run (workspace_id, parent_run_id, kind, coalesce(step, 0::smallint)) where kind in (3, 5);

alter table segment add column other_part int not null default 0;
alter table segment add column gone int not null default 0;
alter table segment add column answered int not null default 0;
comment on column segment.other_part is 'Contacts left out: they belong to the other part of the campaign.';
comment on column segment.gone is 'Recipients of the parent run left out: no list of the campaign has them any more.';
comment on column segment.answered is 'Recipients of the parent run left out: they have answered.';

alter table flow drop constraint flow_closed_check;
alter table flow add check (closed between 1 and 3);
comment on column flow.closed is 'Why this account sends nothing of a run that runs: 1 the credit does not pay for its messages, 2 an answer of its provider, 3 a person took it out; null while it does.';
