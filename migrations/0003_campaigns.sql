-- Accounts, templates, campaigns, runs.

create table account (
  workspace_id int not null references workspace,
  account_id bigint not null,
  name text not null,
  kind text not null,
  settings jsonb not null,
  secret bytea,
  sender text,
  idempotent bool not null,
  caps jsonb not null,
  stopped_reason text,
  created_at timestamptz not null,
  primary key (workspace_id, account_id),
  unique (workspace_id, name)
);
comment on table account is 'One set of credentials at one provider.';
comment on column account.workspace_id is 'Tenant.';
comment on column account.account_id is 'Time-ordered id made by the program.';
comment on column account.name is 'What --account names.';
comment on column account.kind is 'Which provider module speaks for it, e.g. http.';
comment on column account.settings is 'What that kind needs to know, e.g. {"url": …}. No secrets.';
comment on column account.secret is 'The provider''s token, sealed with XChaCha20-Poly1305 under the installation''s key: nonce, then ciphertext.';
comment on column account.sender is 'The address it sends from, where the provider wants one.';
comment on column account.idempotent is 'Whether the provider accepts a message once only per Idempotency-Key.';
comment on column account.caps is 'Limits as given: [{"count": 500, "per_us": 1000000}, …].';
comment on column account.stopped_reason is 'Why it sends nothing (bad credentials, bad configuration); null while it may send.';
comment on column account.created_at is 'When it was added.';

create table account_pace (
  workspace_id int not null,
  account_id bigint not null,
  epoch int not null default 0,
  period_us bigint not null default 0,
  window_us bigint not null default 0,
  next_us bigint not null default 0,
  slow_permille int not null default 1000 check (slow_permille >= 1000),
  slowed_us bigint not null default 0,
  closed_until_us bigint not null default 0,
  failures smallint not null default 0,
  day_cap bigint not null default 0,
  day_hour bigint not null default 0,
  day_counts int[] not null default array_fill(0, array[25]),
  boot text not null default '',
  primary key (workspace_id, account_id),
  foreign key (workspace_id, account_id) references account
) with (fillfactor = 20);
comment on table account_pace is 'The rate state of an account: the one row that every claim of the fleet locks.';
comment on column account_pace.workspace_id is 'Tenant.';
comment on column account_pace.account_id is 'The account.';
comment on column account_pace.epoch is 'Raised to make the fleet drop the slots it holds.';
comment on column account_pace.period_us is 'Distance of two slots at full speed, in µs; 0 = no cap. See domain::limits for the formula.';
comment on column account_pace.window_us is 'The window that gave period_us, in µs.';
comment on column account_pace.next_us is 'First slot not yet given out, in µs since the Unix epoch by the database''s clock.';
comment on column account_pace.slow_permille is 'Factor on period_us after throttling, in thousandths; 1000 = full speed.';
comment on column account_pace.slowed_us is 'When slow_permille last changed, in µs since the Unix epoch.';
comment on column account_pace.closed_until_us is 'Circuit breaker: no slot before this time, in µs since the Unix epoch.';
comment on column account_pace.failures is 'How often the circuit has opened in a row; while it is above 0 a claim gets one message, the probe.';
comment on column account_pace.day_cap is 'Most sends in any 24 hours; 0 = none.';
comment on column account_pace.day_hour is 'Hour (since the Unix epoch) of day_counts[1].';
comment on column account_pace.day_counts is 'Slots given out in that hour and the 24 before it.';
comment on column account_pace.boot is 'Start time of the database server that wrote next_us last.';

create table price (
  workspace_id int not null,
  account_id bigint not null,
  country text not null,
  micro bigint not null check (micro >= 0),
  primary key (workspace_id, account_id, country),
  foreign key (workspace_id, account_id) references account
);
comment on table price is 'What a message costs at an account.';
comment on column price.workspace_id is 'Tenant.';
comment on column price.account_id is 'The account.';
comment on column price.country is 'ISO 3166 alpha-2 of the recipient; empty = every other country.';
comment on column price.micro is 'Micro-credits for each segment of an SMS, or for each message of another channel.';

create table template (
  workspace_id int not null references workspace,
  template_id bigint not null,
  name text not null,
  channel smallint not null check (channel between 1 and 3),
  version int not null,
  created_at timestamptz not null,
  primary key (workspace_id, template_id),
  unique (workspace_id, name)
);
comment on table template is 'What is said. Its texts are versioned: a run keeps the version it was launched with.';
comment on column template.workspace_id is 'Tenant.';
comment on column template.template_id is 'Time-ordered id made by the program.';
comment on column template.name is 'What --template names.';
comment on column template.channel is '1 whatsapp, 2 sms, 3 email.';
comment on column template.version is 'The newest version.';
comment on column template.created_at is 'When it was first added.';

create table template_variant (
  workspace_id int not null,
  template_id bigint not null,
  version int not null,
  variant smallint not null,
  language text not null,
  subject text,
  body text,
  provider_template text,
  params jsonb not null,
  defaults jsonb not null,
  primary key (workspace_id, template_id, version, variant),
  unique (workspace_id, template_id, version, language),
  foreign key (workspace_id, template_id) references template,
  check ((body is null) <> (provider_template is null))
);
comment on table template_variant is 'One language of one version of a template. Never changed once written.';
comment on column template_variant.workspace_id is 'Tenant.';
comment on column template_variant.template_id is 'The template.';
comment on column template_variant.version is 'Its version.';
comment on column template_variant.variant is 'Number of the variant inside the version; 0 is the fallback.';
comment on column template_variant.language is 'BCP 47 tag, lower case; empty for the only variant of a template without languages.';
comment on column template_variant.subject is 'Subject line of an e-mail, a template text of its own.';
comment on column template_variant.body is 'The text with {{ variables }}; null for a provider''s approved template.';
comment on column template_variant.provider_template is 'Name of an approved template at the provider.';
comment on column template_variant.params is 'For an approved template: its positional parameters, each a template text, e.g. ["{{ name }}"].';
comment on column template_variant.defaults is 'Value of a variable that a recipient lacks, by name.';

create table campaign (
  workspace_id int not null references workspace,
  campaign_id bigint not null,
  name text not null,
  template_id bigint not null,
  list_id bigint not null,
  account_id bigint not null,
  weight int not null check (weight between 1 and 1000),
  on_missing smallint not null check (on_missing between 1 and 3),
  on_unknown smallint not null check (on_unknown between 1 and 3),
  expires_after_s bigint check (expires_after_s > 0),
  created_at timestamptz not null,
  primary key (workspace_id, campaign_id),
  unique (workspace_id, name),
  foreign key (workspace_id, template_id) references template,
  foreign key (workspace_id, list_id) references list,
  foreign key (workspace_id, account_id) references account
);
comment on table campaign is 'What the manager defines: what to say, to whom, through which account, under which policies.';
comment on column campaign.workspace_id is 'Tenant.';
comment on column campaign.campaign_id is 'Time-ordered id made by the program.';
comment on column campaign.name is 'What the commands name.';
comment on column campaign.template_id is 'The template; a run takes its newest version at launch.';
comment on column campaign.list_id is 'The list its audience is frozen from.';
comment on column campaign.account_id is 'The account it sends through.';
comment on column campaign.weight is 'Share of the account it gets beside other campaigns.';
comment on column campaign.on_missing is 'When a recipient lacks a variable: 1 refuse the launch, 2 skip the recipient, 3 leave it blank.';
comment on column campaign.on_unknown is 'What becomes of a message in doubt at a provider without idempotency keys: 1 hold for a person, 2 send again, 3 write off.';
comment on column campaign.expires_after_s is 'A message not sent this many seconds after the launch is not sent at all; null = never.';
comment on column campaign.created_at is 'When it was created.';

create table run (
  workspace_id int not null,
  run_id bigint not null,
  campaign_id bigint not null,
  scheduled_for timestamptz not null,
  template_version int not null,
  variables text[] not null,
  prices jsonb not null,
  planned bigint not null,
  state smallint not null check (state between 1 and 6),
  paused_reason smallint check (paused_reason between 1 and 2),
  expires_at timestamptz,
  expanded_to text,
  expanded_at timestamptz,
  started_at timestamptz,
  finished_at timestamptz,
  primary key (workspace_id, run_id),
  unique (workspace_id, campaign_id, scheduled_for),
  foreign key (workspace_id, campaign_id) references campaign,
  check ((state = 3) = (paused_reason is not null)),
  check ((state in (5, 6)) = (finished_at is not null))
);
comment on table run is 'One execution of a campaign over its frozen audience.';
comment on column run.workspace_id is 'Tenant.';
comment on column run.run_id is 'Time-ordered id made by the program.';
comment on column run.campaign_id is 'The campaign.';
comment on column run.scheduled_for is 'When it was to start; unique per campaign, so that a tick fires once only.';
comment on column run.template_version is 'The version of the template it sends.';
comment on column run.variables is 'Names of the values in recipient.params, in order.';
comment on column run.prices is 'Prices frozen at launch: {"": micro-credits, "FR": …}.';
comment on column run.planned is 'Contacts of the list at launch; the exact total is the sum of its segments.';
comment on column run.state is '1 scheduled, 2 running, 3 paused, 4 cancelling, 5 finished, 6 cancelled.';
comment on column run.paused_reason is '1 by a person, 2 out of credit; null unless paused.';
comment on column run.expires_at is 'From then on what is unsent expires; null = never.';
comment on column run.expanded_to is 'Last contact address that was expanded; null before the first segment.';
comment on column run.expanded_at is 'When the last segment was written: the audience is complete.';
comment on column run.started_at is 'When it began to run.';
comment on column run.finished_at is 'When its last message reached a final class.';
