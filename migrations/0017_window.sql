-- The window of a conversation: what goes to those who have not written within a day, in place of words of
-- our own. And the words by which recipients opt out.

alter table campaign add column fallback_id bigint;
alter table campaign add foreign key (workspace_id, fallback_id) references template;
comment on column campaign.fallback_id is 'The approved template for those who may not be sent words of our own; null = they are sent nothing.';

alter table run add column fallback_version int;
comment on column run.fallback_version is 'The version of the campaign''s fallback that it sends; null without one.';
comment on column run.variables is 'Names of the values in recipient.params, in order: those of its template, then those that its fallback needs beside them.';

-- Why: bytes, as contact.address; of two collations the key could not be used to join them.
alter table conversation alter column address type text collate "C";

create table opt_word (
  workspace_id int not null references workspace,
  word text not null,
  meaning smallint check (meaning between 3 and 4),
  changed_at timestamptz not null,
  primary key (workspace_id, word)
);
comment on table opt_word is 'What a workspace changes about the words by which recipients opt out or come back. The others are built in.';
comment on column opt_word.workspace_id is 'Tenant.';
comment on column opt_word.word is 'In lower case, with single spaces, and without what stands around it.';
comment on column opt_word.meaning is 'As inbound.meaning: 3 opts out, 4 comes back; null for a built-in word that does not count here.';
comment on column opt_word.changed_at is 'When.';
