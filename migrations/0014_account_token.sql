-- Tokens that an account has to fetch from its provider. They are kept here so that the fleet has one:
-- a login may end the sessions before it.

create table account_token (
  workspace_id int not null references workspace,
  account_id bigint not null,
  credentials bytea not null check (length(credentials) = 32),
  sealed bytea,
  fetched_at timestamptz,
  primary key (workspace_id, account_id),
  foreign key (workspace_id, account_id) references account,
  check ((sealed is null) = (fetched_at is null))
);
comment on table account_token is 'The fetched token of an account that logs in. Its row is locked while a worker fetches it, so that the others wait and use what it brings.';
comment on column account_token.workspace_id is 'Tenant.';
comment on column account_token.account_id is 'The account.';
comment on column account_token.credentials is 'SHA-256 of the account''s kind, settings and sealed secret when the token was fetched: with others it is void.';
comment on column account_token.sealed is 'The token, sealed as account.secret is; null while the first is being fetched.';
comment on column account_token.fetched_at is 'When it was fetched; null while the first is being fetched.';
