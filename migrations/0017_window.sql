-- The window of a conversation: what goes to those who have not written within a day, in place of words of
-- our own.

alter table campaign add column fallback_id bigint;
alter table campaign add foreign key (workspace_id, fallback_id) references template;
comment on column campaign.fallback_id is 'The approved template for those who may not be sent words of our own; null = they are sent nothing.';

alter table run add column fallback_version int;
comment on column run.fallback_version is 'The version of the campaign''s fallback that it sends; null without one.';
comment on column run.variables is 'Names of the values in recipient.params, in order: those of its template, then those that its fallback needs beside them.';

-- Why: bytes, as contact.address; of two collations the key could not be used to join them.
alter table conversation alter column address type text collate "C";
