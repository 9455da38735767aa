-- Whom a campaign goes to: tags, consent and source of contacts; several lists, lists left out and an
-- expression; the category of a campaign; suppression for one account; erased addresses.

alter table contact add column tags text[];
alter table contact add column consent smallint not null default 0 check (consent between 0 and 1);
alter table contact add column consent_at timestamptz;
alter table contact add column source text;
alter table contact add check (cardinality(tags) > 0);
comment on column contact.tags is 'In lower case, each once, by their bytes. Null when there are none.';
comment on column contact.consent is '1 has opted in to marketing, 0 that is not known.';
comment on column contact.consent_at is 'When we came to know of the consent.';
comment on column contact.source is 'Where the contact came from: the source column of its file, else the file''s name.';

alter table workspace add column consent smallint not null default 1 check (consent between 1 and 2);
alter table workspace add column cap_messages int check (cap_messages > 0);
alter table workspace add column cap_hours int check (cap_hours > 0);
alter table workspace add check (num_nulls(cap_messages, cap_hours) in (0, 2));
comment on column workspace.consent is 'Whom marketing may go to: 1 assumed (every contact counts as opted in), 2 required (only those of whom it is known).';
comment on column workspace.cap_messages is 'Most marketing messages to a contact in cap_hours, over all campaigns; null = no limit.';
comment on column workspace.cap_hours is 'See cap_messages.';

alter table campaign add column category smallint not null default 1 check (category between 1 and 3);
alter table campaign add column audience text;
comment on column campaign.category is '1 marketing, 2 transactional, 3 utility. Consent and the cap by contact hold for marketing only.';
comment on column campaign.list_id is 'The first of its lists. Of an address on several of them, the contact of the first counts.';
comment on column campaign.audience is 'Expression that says which contacts of the lists are meant (domain::segment); null = all.';

create table campaign_list (
  workspace_id int not null,
  campaign_id bigint not null,
  list_id bigint not null,
  rank smallint not null check (rank >= 0),
  minus bool not null,
  primary key (workspace_id, campaign_id, list_id),
  foreign key (workspace_id, campaign_id) references campaign,
  foreign key (workspace_id, list_id) references list
);
comment on table campaign_list is 'Lists of a campaign beside the first: more of those it goes to, and those it leaves out.';
comment on column campaign_list.workspace_id is 'Tenant.';
comment on column campaign_list.campaign_id is 'The campaign.';
comment on column campaign_list.list_id is 'The list.';
comment on column campaign_list.rank is 'Its place among them, as they were given.';
comment on column campaign_list.minus is 'Whether its contacts are left out.';

alter table segment add column minus int not null default 0;
alter table segment add column outside int not null default 0;
alter table segment add column no_consent int not null default 0;
alter table segment add column capped int not null default 0;
comment on column segment.minus is 'Contacts left out: they are on a list that the campaign leaves out.';
comment on column segment.outside is 'Contacts left out: the campaign''s expression does not hold for them.';
comment on column segment.no_consent is 'Contacts left out: they have not opted in, and marketing needs that.';
comment on column segment.capped is 'Contacts left out: they have had as many marketing messages as a contact may.';

alter table suppression add column account_id bigint not null default 0;
alter table suppression drop constraint suppression_pkey;
alter table suppression add primary key (workspace_id, address, account_id);
-- Why: whether an account has any suppression of its own is asked before each page of contacts.
create index suppression_account on suppression (workspace_id, account_id) where account_id <> 0;
alter table suppression drop constraint suppression_reason_check;
alter table suppression add constraint suppression_reason_check check (reason between 1 and 5);
comment on column suppression.account_id is 'The account that must not write to it; 0 = nobody of the workspace may.';
comment on column suppression.address is 'Phone in E.164 or e-mail in lower case; of an erased one, its keyed hash (store::erase).';
comment on column suppression.reason is '1 opt-out column of a file, 2 added by a person, 3 asked for by the recipient, 4 imported from a list of suppressions, 5 erased.';

comment on table recipient is 'The frozen audience: one immutable row for each message of a run. Only erasing a contact changes it.';
comment on column recipient.address is 'Phone in E.164 or e-mail; of an erased contact, the keyed hash of it.';
