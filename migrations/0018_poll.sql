-- Receipts that have to be asked for, and doubt that waits for its receipt.

alter table account add column waits_for_echo bool not null default false;
comment on column account.waits_for_echo is 'Whether a message in doubt waits for the receipt that would settle it before the campaign''s policy has it sent again.';
update account set waits_for_echo = true where kind = 'meta';
