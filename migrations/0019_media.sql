-- What a provider offers beside sending: its list of an account's templates.

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
