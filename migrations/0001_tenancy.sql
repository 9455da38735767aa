-- Workspaces, and the processes of the fleet. These two tables are the only ones without a leading
-- workspace_id: small reference tables, the same for every tenant.

create table workspace (
  workspace_id int primary key,
  name text not null unique,
  created_at timestamptz not null
);
comment on table workspace is 'A tenant. Its id leads every key of tenant data.';
comment on column workspace.workspace_id is 'Assigned by the program, counting from 1.';
comment on column workspace.name is 'What --workspace names.';
comment on column workspace.created_at is 'When it was first used.';

create table worker (
  worker_id bigint primary key,
  host text not null,
  pid int not null,
  version text not null,
  started_at timestamptz not null,
  alive_until timestamptz not null
) with (fillfactor = 20);
comment on table worker is 'A live worker process. Reclaim deletes the row of a dead one, and with it the right to claim or to settle.';
comment on column worker.worker_id is 'New at each start: the fence of every lease.';
comment on column worker.host is 'Where it runs, for the operator.';
comment on column worker.pid is 'Its process id on that host, for the operator.';
comment on column worker.version is 'Version of the program it runs.';
comment on column worker.started_at is 'When it registered.';
comment on column worker.alive_until is 'Moved on by each heartbeat; past it the worker counts as dead.';
