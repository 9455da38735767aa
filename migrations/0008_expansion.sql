-- Which runs still have to be expanded. A row of its own, because expanding a segment holds it locked
-- for as long as that takes, and a pause must not wait for the run's row or its flow's.

create table expansion (
  workspace_id int not null,
  run_id bigint not null,
  primary key (workspace_id, run_id),
  foreign key (workspace_id, run_id) references run
);
comment on table expansion is 'A run whose audience is not complete. The scheduler that expands it holds the row locked; the last segment deletes it.';
comment on column expansion.workspace_id is 'Tenant.';
comment on column expansion.run_id is 'The run.';
