-- A file may be imported again after another one: it then changes the list, and is an import of its own.

alter table import drop constraint import_workspace_id_list_id_content_sha256_options_sha256_key;

-- Why: of the programs that are told to import one file into one list, all go on with the same import.
create unique index import_running on import (workspace_id, list_id, content_sha256, options_sha256) where state = 1;

-- Why: each batch of an import looks at the other imports of its list.
create index import_of_list on import (workspace_id, list_id);

comment on column import.content_sha256 is 'Hash of the file''s bytes: the file''s identity. Once another import of the list has come after it, the same file is a new import.';
