-- Lists, contacts, imports, suppression.

create table list (
  workspace_id int not null references workspace,
  list_id bigint not null,
  name text not null,
  created_at timestamptz not null,
  primary key (workspace_id, list_id),
  unique (workspace_id, name)
);
comment on table list is 'A named set of contacts, filled by imports.';
comment on column list.workspace_id is 'Tenant.';
comment on column list.list_id is 'Time-ordered id made by the program.';
comment on column list.name is 'What --list names.';
comment on column list.created_at is 'When the first import named it.';

create table contact (
  workspace_id int not null,
  list_id bigint not null,
  import_id bigint not null,
  row_no int not null,
  address text collate "C" not null,
  email text collate "C",
  name text,
  country text,
  language text,
  attributes jsonb,
  primary key (workspace_id, list_id, address),
  check (email is null or address like '+%')
);
comment on table contact is 'One person of a list. The address is the identity: no list holds it twice.';
-- Why collate "C": bytes compare several times faster than words, and every server orders them alike.
comment on column contact.workspace_id is 'Tenant.';
comment on column contact.list_id is 'The list it belongs to.';
comment on column contact.import_id is 'The import that last met this contact, whether it changed it or not: a later row of the same file is a repeat.';
comment on column contact.row_no is 'Row of that import''s file, counting from 1 after the header.';
comment on column contact.address is 'The phone in E.164 (with +) if the contact has one, else the e-mail in lower case.';
comment on column contact.email is 'The e-mail in lower case, where the address is a phone.';
comment on column contact.name is 'Full name, as the file gave it.';
comment on column contact.country is 'ISO 3166 alpha-2 of the phone.';
comment on column contact.language is 'BCP 47 tag, lower case; chooses the template variant.';
comment on column contact.attributes is 'The other columns, by name: text, number, ISO date as text, or bool. Null when there are none.';

-- Why: an e-mail campaign must not write twice to one mailbox that two phones of the list share. Without the
-- address, which is looked up in the row: an import spends most of its time on this index.
create index contact_email on contact (workspace_id, list_id, email) where email is not null;

create table suppression (
  workspace_id int not null references workspace,
  address text collate "C" not null,
  reason smallint not null check (reason between 1 and 3),
  origin text not null,
  created_at timestamptz not null,
  primary key (workspace_id, address)
);
comment on table suppression is 'Addresses that must not be written to, whatever list holds them.';
comment on column suppression.workspace_id is 'Tenant.';
comment on column suppression.address is 'Phone in E.164 or e-mail in lower case.';
comment on column suppression.reason is '1 opt-out column of a file, 2 added by a person, 3 asked for by the recipient.';
comment on column suppression.origin is 'Where it came from: file and row, or who.';
comment on column suppression.created_at is 'When it was first suppressed.';

create table import (
  workspace_id int not null,
  import_id bigint not null,
  list_id bigint not null,
  content_sha256 bytea not null check (length(content_sha256) = 32),
  options_sha256 bytea not null check (length(options_sha256) = 32),
  file_name text not null,
  options jsonb not null,
  state smallint not null check (state between 1 and 2),
  rows bigint not null default 0,
  imported bigint not null default 0,
  updated bigint not null default 0,
  unchanged bigint not null default 0,
  duplicates bigint not null default 0,
  rejected bigint not null default 0,
  suppressed bigint not null default 0,
  started_at timestamptz not null,
  finished_at timestamptz,
  primary key (workspace_id, import_id),
  unique (workspace_id, list_id, content_sha256, options_sha256),
  foreign key (workspace_id, list_id) references list,
  check (rows = imported + updated + unchanged + duplicates + rejected),
  check ((state = 2) = (finished_at is not null))
);
comment on table import is 'One load of one file into one list under one set of options: its checkpoint while it runs, its account afterwards.';
comment on column import.workspace_id is 'Tenant.';
comment on column import.import_id is 'Time-ordered id made by the program.';
comment on column import.list_id is 'The list it fills.';
comment on column import.content_sha256 is 'Hash of the file''s bytes: the file''s identity.';
comment on column import.options_sha256 is 'Hash of the options that change the result: mapping, country, sheet, policy.';
comment on column import.file_name is 'As named on the command line, for people.';
comment on column import.options is 'The options themselves.';
comment on column import.state is '1 running (or killed: the same command resumes it), 2 finished.';
comment on column import.rows is 'Data rows dealt with so far: the checkpoint. Each is in exactly one of the next five.';
comment on column import.imported is 'Rows that made a new contact.';
comment on column import.updated is 'Rows that changed a contact of the list.';
comment on column import.unchanged is 'Rows that found their contact as it is.';
comment on column import.duplicates is 'Rows that repeat an address and were dropped or folded in by the policy.';
comment on column import.rejected is 'Rows that were refused; they are in the rejects file.';
comment on column import.suppressed is 'Of all rows, those whose address is suppressed. They count as imported too, and are never written to.';
comment on column import.started_at is 'When it was first started.';
comment on column import.finished_at is 'When its last row was committed.';
