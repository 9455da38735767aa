-- Credits: balance = top-ups − charges; what may be spent is the balance less the open reservations.

create table credit (
  workspace_id int primary key references workspace,
  balance bigint not null default 0 check (balance >= 0),
  reserved bigint not null default 0 check (reserved >= 0),
  check (reserved <= balance)
) with (fillfactor = 20);
comment on table credit is 'The credit of a workspace: the running total of its ledger, and what is reserved of it.';
comment on column credit.workspace_id is 'Tenant.';
comment on column credit.balance is 'Micro-credits: top-ups less charges, the sum of the ledger.';
comment on column credit.reserved is 'Micro-credits reserved by open leases and by messages in doubt.';

create table ledger (
  workspace_id int not null references workspace,
  entry_id bigint not null,
  at timestamptz not null,
  kind smallint not null check (kind between 1 and 2),
  amount bigint not null,
  run_id bigint,
  messages int not null,
  note text,
  primary key (workspace_id, entry_id),
  check ((kind = 1) = (amount > 0)),
  check ((kind = 2) = (run_id is not null))
);
comment on table ledger is 'Every movement of credit. Appended, never updated.';
comment on column ledger.workspace_id is 'Tenant.';
comment on column ledger.entry_id is 'Time-ordered id made by the program.';
comment on column ledger.at is 'When.';
comment on column ledger.kind is '1 top-up, 2 charge.';
comment on column ledger.amount is 'Micro-credits; a charge is negative.';
comment on column ledger.run_id is 'Of a charge: the run.';
comment on column ledger.messages is 'Of a charge: how many messages it pays for.';
comment on column ledger.note is 'Of a top-up: what the person wrote.';
