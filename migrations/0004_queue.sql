-- The queue: a frozen log of recipients, a cursor over it, leases, appended outcomes.
-- No updated column stands in an index, so that every update on the hot path stays on its page.

create table segment (
  workspace_id int not null,
  run_id bigint not null,
  segment_no int not null,
  lo int not null,
  hi int not null check (hi >= lo),
  next_seq int not null check (next_seq between lo and hi),
  after_address text not null,
  no_address int not null,
  duplicate int not null,
  suppressed int not null,
  missing int not null,
  primary key (workspace_id, run_id, segment_no),
  unique (workspace_id, run_id, after_address),
  foreign key (workspace_id, run_id) references run
) with (fillfactor = 50);
comment on table segment is 'A stretch of a run''s audience that is fully expanded and may be claimed.';
comment on column segment.workspace_id is 'Tenant.';
comment on column segment.run_id is 'The run.';
comment on column segment.segment_no is 'Counts from 0.';
comment on column segment.lo is 'Its first seq.';
comment on column segment.hi is 'One past its last seq.';
comment on column segment.next_seq is 'The cursor: first seq not yet claimed.';
comment on column segment.after_address is 'Its source range begins after this address; unique, so that a repeated expand is harmless.';
comment on column segment.no_address is 'Contacts of the source range left out: no address for the channel.';
comment on column segment.duplicate is 'Contacts left out: their address belongs to another contact of the list too.';
comment on column segment.suppressed is 'Contacts left out: suppressed.';
comment on column segment.missing is 'Contacts left out: they lack a variable, and the policy is skip.';

create table recipient (
  workspace_id int not null,
  seq int not null,
  run_id bigint not null,
  units smallint not null check (units > 0),
  variant smallint not null,
  address text not null,
  country text,
  params jsonb,
  primary key (workspace_id, run_id, seq)
);
comment on table recipient is 'The frozen audience: one immutable row for each message of a run.';
comment on column recipient.workspace_id is 'Tenant.';
comment on column recipient.seq is 'Number inside the run, from 0 without gaps.';
comment on column recipient.run_id is 'The run.';
comment on column recipient.units is 'How many times the price is due: the segments of an SMS, else 1.';
comment on column recipient.variant is 'The template variant it gets.';
comment on column recipient.address is 'Phone in E.164 or e-mail.';
comment on column recipient.country is 'ISO 3166 alpha-2, for the price.';
comment on column recipient.params is 'Values of run.variables, in order; null = the contact has none. Null when the template has no variables.';

create table flow (
  workspace_id int not null,
  account_id bigint not null,
  run_id bigint not null,
  weight int not null check (weight > 0),
  runnable bool not null,
  epoch int not null default 0,
  vtime bigint not null default 0,
  reserve_each bigint not null default 0 check (reserve_each >= 0),
  primary key (workspace_id, account_id, run_id),
  foreign key (workspace_id, run_id) references run
) with (fillfactor = 20);
comment on table flow is 'A run at an account: what may be claimed from.';
comment on column flow.workspace_id is 'Tenant.';
comment on column flow.account_id is 'The account.';
comment on column flow.run_id is 'The run.';
comment on column flow.weight is 'Its share beside the account''s other flows.';
comment on column flow.runnable is 'Whether it may be claimed from: false while paused, cancelling or done.';
comment on column flow.epoch is 'Raised by pause and cancel: the fleet drops what it holds from an older epoch.';
comment on column flow.vtime is 'Virtual time: messages claimed × 1000 / weight. The smallest goes first.';
comment on column flow.reserve_each is 'Micro-credits reserved for each claimed message: the dearest message of the run.';

create table lease (
  workspace_id int not null,
  lease_id bigint not null,
  account_id bigint not null,
  run_id bigint not null,
  worker_id bigint not null,
  lo int not null,
  hi int not null check (hi > lo),
  seqs int[],
  attempts smallint[],
  kinds smallint[],
  reserve_each bigint not null,
  open int not null check (open >= 0),
  done bytea not null default '',
  slot_us bigint not null,
  period_us bigint not null,
  primary key (workspace_id, lease_id),
  check (num_nulls(seqs, attempts, kinds) in (0, 3)),
  check (seqs is null or (lo = 0 and hi = cardinality(seqs) and hi = cardinality(attempts) and hi = cardinality(kinds)))
) with (fillfactor = 50);
comment on table lease is 'Messages claimed by a worker: a range of a run, or a list of retries.';
comment on column lease.workspace_id is 'Tenant.';
comment on column lease.lease_id is 'Time-ordered id made by the worker.';
comment on column lease.account_id is 'The account it sends through.';
comment on column lease.run_id is 'The run.';
comment on column lease.worker_id is 'Its owner. Only the owner may settle it.';
comment on column lease.lo is 'Range: first seq. List: 0.';
comment on column lease.hi is 'Range: one past the last seq. List: its length.';
comment on column lease.seqs is 'List: the seqs; null for a range.';
comment on column lease.attempts is 'List: attempts made before this one, by position; null for a range (none).';
comment on column lease.kinds is 'List: what each was before, as in retry.kind: doubt stays until it is resolved; null for a range.';
comment on column lease.reserve_each is 'Micro-credits reserved for each of its messages.';
comment on column lease.open is 'Messages not yet settled.';
comment on column lease.done is 'Bitmap of the settled, bit i for lo + i, least significant bit first; missing bytes are zero.';
comment on column lease.slot_us is 'Time of its first slot, in µs since the Unix epoch by the database''s clock.';
comment on column lease.period_us is 'Distance of its slots, in µs; 0 = no cap.';

create table returned (
  workspace_id int not null,
  run_id bigint not null,
  lo int not null,
  hi int not null check (hi > lo),
  primary key (workspace_id, run_id, lo)
);
comment on table returned is 'Ranges handed back unsent; claimed again before the cursor moves on.';
comment on column returned.workspace_id is 'Tenant.';
comment on column returned.run_id is 'The run.';
comment on column returned.lo is 'First seq.';
comment on column returned.hi is 'One past the last seq.';

create table retry (
  workspace_id int not null,
  run_id bigint not null,
  seq int not null,
  attempts smallint not null check (attempts >= 0),
  kind smallint not null check (kind between 1 and 2),
  account_id bigint not null,
  due_at timestamptz not null,
  reserved bigint not null check (reserved >= 0),
  reason text,
  primary key (workspace_id, run_id, seq)
);
comment on table retry is 'Messages that wait one by one: a retry for its time, an unknown for its resolution. Deleted by the claim.';
comment on column retry.workspace_id is 'Tenant.';
comment on column retry.run_id is 'The run.';
comment on column retry.seq is 'The message.';
comment on column retry.attempts is 'Attempts made so far.';
comment on column retry.kind is '1 retry (certainly not accepted), 2 unknown (may have been accepted).';
comment on column retry.account_id is 'The account that tries again.';
comment on column retry.due_at is 'When it may be claimed; infinity = only a person decides.';
comment on column retry.reserved is 'Micro-credits still reserved for it: an unknown keeps its reservation.';
comment on column retry.reason is 'What happened last, in a few words.';
-- Why: a claim takes a flow's due retries in order of their time.
create index retry_due on retry (workspace_id, account_id, run_id, due_at);

create table outcome (
  workspace_id int not null,
  seq int not null,
  run_id bigint not null,
  account_id bigint not null,
  at timestamptz not null,
  cost bigint not null check (cost >= 0),
  latency_ms int not null,
  attempt smallint not null,
  class smallint not null check (class between 1 and 9),
  late bool not null,
  provider_id text,
  detail text,
  primary key (workspace_id, run_id, seq, attempt)
);
comment on table outcome is 'What became of each attempt. Appended, never updated.';
comment on column outcome.workspace_id is 'Tenant.';
comment on column outcome.seq is 'The message.';
comment on column outcome.run_id is 'The run.';
comment on column outcome.account_id is 'The account that tried.';
comment on column outcome.at is 'When the answer came.';
comment on column outcome.cost is 'Micro-credits charged.';
comment on column outcome.latency_ms is 'From the start of the request to its answer, in ms.';
comment on column outcome.attempt is 'Counts from 1.';
comment on column outcome.class is '1 sent, 2 permanent recipient, 3 permanent content, 4 throttled, 5 transient, 6 unknown, 7 suppressed, 8 expired, 9 written off.';
comment on column outcome.late is 'Came from a worker that had lost its lease and found the message decided without it: history only.';
comment on column outcome.provider_id is 'The provider''s id of the message.';
comment on column outcome.detail is 'The provider''s code or the kind of failure, shortened; never message text.';

create table receipt (
  workspace_id int not null,
  account_id bigint not null,
  receipt_id bigint not null,
  run_id bigint not null,
  seq int not null,
  kind smallint not null check (kind between 1 and 4),
  at timestamptz not null,
  detail text,
  primary key (workspace_id, account_id, receipt_id)
);
comment on table receipt is 'Delivery events reported by providers. Appended, never updated.';
comment on column receipt.workspace_id is 'Tenant.';
comment on column receipt.account_id is 'The account that was told.';
comment on column receipt.receipt_id is 'Time-ordered id made by the program.';
comment on column receipt.run_id is 'The run of the message it speaks of.';
comment on column receipt.seq is 'That message.';
comment on column receipt.kind is '1 delivered, 2 read, 3 failed, 4 replied.';
comment on column receipt.at is 'When it happened, as the provider says.';
comment on column receipt.detail is 'The provider''s code.';

create table progress (
  workspace_id int not null,
  run_id bigint not null,
  shard smallint not null,
  sent bigint not null default 0,
  failed bigint not null default 0,
  suppressed bigint not null default 0,
  expired bigint not null default 0,
  cancelled bigint not null default 0,
  unknown bigint not null default 0,
  retrying bigint not null default 0,
  cost bigint not null default 0,
  primary key (workspace_id, run_id, shard),
  foreign key (workspace_id, run_id) references run
) with (fillfactor = 20);
comment on table progress is 'Counters of a run, spread over shards so that workers do not wait for each other. Their sum counts.';
comment on column progress.workspace_id is 'Tenant.';
comment on column progress.run_id is 'The run.';
comment on column progress.shard is 'Chosen by the writer.';
comment on column progress.sent is 'Accepted by the provider.';
comment on column progress.failed is 'Refused for good, or out of attempts.';
comment on column progress.suppressed is 'Not sent: suppressed after the audience was frozen.';
comment on column progress.expired is 'Not sent: too late.';
comment on column progress.cancelled is 'Not sent: the run was cancelled.';
comment on column progress.unknown is 'In doubt: parked in retry with kind 2, or written off.';
comment on column progress.retrying is 'Waiting in retry with kind 1.';
comment on column progress.cost is 'Micro-credits charged.';
