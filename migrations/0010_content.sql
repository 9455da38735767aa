-- Contents of other kinds than a text: pictures, buttons, lists, approved templates with headers and cards.

alter table template_variant add column content jsonb;
comment on column template_variant.content is 'A typed content whose texts hold {{ variables }}; null for a text or a plain approved template.';
alter table template_variant drop constraint template_variant_check;
alter table template_variant add constraint template_variant_says_one_thing
  check (num_nonnulls(body, provider_template, content) = 1);
