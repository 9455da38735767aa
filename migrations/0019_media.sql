-- What a provider offers beside sending: its list of an account's templates, and keeping files of ours.

alter table account add column templates_fetched_at timestamptz;
comment on column account.templates_fetched_at is 'When the list of its templates was last fetched; null before the first time.';

create table account_template (
  workspace_id int not null references workspace,
  account_id bigint not null,
  name text not null,
  language text not null,
  title text,
  status text not null,
  category text not null,
  shape jsonb not null,
  primary key (workspace_id, account_id, name, language),
  foreign key (workspace_id, account_id) references account
);
comment on table account_template is 'The templates of an account as its provider listed them. Replaced whole, in the transaction that sets account.templates_fetched_at.';
comment on column account_template.workspace_id is 'Tenant.';
comment on column account_template.account_id is 'The account.';
comment on column account_template.name is 'What a message names it by: its name there, or its id.';
comment on column account_template.language is 'Its language as the provider writes it; empty if it has none.';
comment on column account_template.title is 'What people call it, where messages name it by an id.';
comment on column account_template.status is 'The provider''s word for whether it may be sent, lower case; empty where its list says nothing.';
comment on column account_template.category is 'The provider''s word for what it is, lower case; empty where its list does not say.';
comment on column account_template.shape is 'What its header, body, buttons, offer and cards take, as domain::content::listed::Shape.';

create table media (
  workspace_id int not null references workspace,
  sha256 bytea not null check (length(sha256) = 32),
  mime text not null,
  bytes bytea not null check (length(bytes) between 1 and 104857600),
  added_at timestamptz not null,
  primary key (workspace_id, sha256)
);
comment on table media is 'Files of ours that templates name instead of a link, each once. Never changed.';
comment on column media.workspace_id is 'Tenant.';
comment on column media.sha256 is 'Hash of the bytes: what a template names it by.';
comment on column media.mime is 'What it is, by its bytes.';
comment on column media.bytes is 'The file itself.';
comment on column media.added_at is 'When it was first added.';
-- Pictures and films are compressed already.
alter table media alter column bytes set storage external;

create table account_media (
  workspace_id int not null references workspace,
  account_id bigint not null,
  sha256 bytea not null,
  provider_id text,
  good_until timestamptz,
  primary key (workspace_id, account_id, sha256),
  foreign key (workspace_id, account_id) references account,
  foreign key (workspace_id, sha256) references media,
  check ((provider_id is null) = (good_until is null))
);
comment on table account_media is 'Files that an account''s provider keeps, for the whole fleet. A row is locked while a worker hands its file over, so that the others wait and use what that brings.';
comment on column account_media.workspace_id is 'Tenant.';
comment on column account_media.account_id is 'The account.';
comment on column account_media.sha256 is 'The file.';
comment on column account_media.provider_id is 'What the provider calls it; null while it is first handed over, and when the provider did not know it any more.';
comment on column account_media.good_until is 'Until when that is used, somewhat before the provider forgets it.';
