-- Which key the secrets are sealed under. Without it a wrong key is noticed only when a worker needs a
-- token, long after other secrets have been sealed under it.

create table seal_canary (
  only_one bool primary key default true check (only_one),
  sealed bytea not null,
  sealed_at timestamptz not null
);
comment on table seal_canary is 'One row: a known word, sealed. A key that does not open it is not the key of this database.';
comment on column seal_canary.only_one is 'Always true: there is one row at most.';
comment on column seal_canary.sealed is 'The word, sealed as account.secret is: nonce, then ciphertext.';
comment on column seal_canary.sealed_at is 'When the key was adopted.';
