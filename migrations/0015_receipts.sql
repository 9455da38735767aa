-- Receipts and replies: what providers report of messages, and what recipients write back.

drop table receipt;
create table receipt (
  workspace_id int not null,
  run_id bigint not null,
  seq int not null,
  kind smallint not null check (kind between 1 and 8),
  account_id bigint not null,
  at timestamptz not null,
  received_at timestamptz not null,
  detail text,
  primary key (workspace_id, run_id, seq, kind)
);
comment on table receipt is 'What became of a message after its acceptance, each kind once: the first report counts. Appended, never updated.';
comment on column receipt.workspace_id is 'Tenant.';
comment on column receipt.run_id is 'The run of the message it speaks of.';
comment on column receipt.seq is 'That message.';
comment on column receipt.kind is '1 sent, 2 delivered, 3 read, 4 failed, 5 confirmed, 6 cancelled, 7 interacted, 8 replied. A read message counts as delivered too.';
comment on column receipt.account_id is 'The account that was told.';
comment on column receipt.at is 'When it happened, as the provider says; else when it was received.';
comment on column receipt.received_at is 'When it was stored.';
comment on column receipt.detail is 'The provider''s code of a failure; the payload of a button.';

create table sent_id (
  workspace_id int not null,
  account_id bigint not null,
  provider_id text not null,
  run_id bigint not null,
  seq int not null,
  primary key (workspace_id, account_id, provider_id)
);
comment on table sent_id is 'Messages by their provider''s ids: only of accounts whose receipts name no reference of ours.';
comment on column sent_id.workspace_id is 'Tenant.';
comment on column sent_id.account_id is 'The account.';
comment on column sent_id.provider_id is 'The provider''s id of the message.';
comment on column sent_id.run_id is 'The run.';
comment on column sent_id.seq is 'The message.';

create table receipt_early (
  workspace_id int not null,
  account_id bigint not null,
  provider_id text not null,
  kind smallint not null check (kind between 1 and 8),
  at timestamptz not null,
  received_at timestamptz not null,
  detail text,
  primary key (workspace_id, account_id, provider_id, kind)
);
comment on table receipt_early is 'Receipts of messages not known yet: they come before the worker has written down the acceptance, or speak of messages that are not ours.';
comment on column receipt_early.workspace_id is 'Tenant.';
comment on column receipt_early.account_id is 'The account that was told.';
comment on column receipt_early.provider_id is 'The provider''s id of the message.';
comment on column receipt_early.kind is 'As in receipt.';
comment on column receipt_early.at is 'When it happened, as the provider says; else when it was received.';
comment on column receipt_early.received_at is 'When it was stored; after an hour it is forgotten.';
comment on column receipt_early.detail is 'As in receipt.';

create table inbound (
  workspace_id int not null,
  account_id bigint not null,
  provider_id text not null,
  address text not null,
  at timestamptz not null,
  received_at timestamptz not null,
  meaning smallint not null check (meaning between 1 and 4),
  run_id bigint,
  seq int,
  primary key (workspace_id, account_id, provider_id)
);
comment on table inbound is 'Messages from recipients. Their text is not kept. Appended, never updated.';
comment on column inbound.workspace_id is 'Tenant.';
comment on column inbound.account_id is 'The account that was written to.';
comment on column inbound.provider_id is 'The provider''s id of the message; made of its content where there is none, so that it counts once.';
comment on column inbound.address is 'Who wrote: phone in E.164, or e-mail in lower case.';
comment on column inbound.at is 'When it was written, as the provider says.';
comment on column inbound.received_at is 'When it was stored.';
comment on column inbound.meaning is '1 a reply, 2 a button, 3 opts out, 4 comes back.';
comment on column inbound.run_id is 'The run of the message that it answers, where that is said.';
comment on column inbound.seq is 'That message.';

create table conversation (
  workspace_id int not null,
  account_id bigint not null,
  address text not null,
  heard_at timestamptz not null,
  primary key (workspace_id, account_id, address)
);
comment on table conversation is 'When each recipient last wrote to an account: within 24 hours of it anything may be sent to them.';
comment on column conversation.workspace_id is 'Tenant.';
comment on column conversation.account_id is 'The account.';
comment on column conversation.address is 'The recipient.';
comment on column conversation.heard_at is 'When they last wrote.';

alter table progress add column delivered bigint not null default 0;
alter table progress add column read bigint not null default 0;
alter table progress add column undelivered bigint not null default 0;
alter table progress add column replied bigint not null default 0;
comment on column progress.delivered is 'Messages reported as delivered, or as read.';
comment on column progress.read is 'Messages reported as read.';
comment on column progress.undelivered is 'Accepted messages reported as failed.';
comment on column progress.replied is 'Answers to messages, by a text or a button; each kind of answer counts.';

alter table account add column hook_sha256 bytea;
alter table account add column hook_key bytea;
alter table account add column correlates bool not null default false;
comment on column account.hook_sha256 is 'Hash of the secret in the address that its provider posts to; null while it takes no posts.';
comment on column account.hook_key is 'The sealed key that its provider signs posts with, where it does.';
comment on column account.correlates is 'Whether its receipts are found by the provider''s ids, which are then kept in sent_id.';
