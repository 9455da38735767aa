//! The rules that every table keeps, read from the catalogue of a migrated database.

use fanfare_testdb::TestDb;

/// What belongs to no tenant.
const SHARED: [&str; 4] = ["workspace", "worker", "seal_canary", "_sqlx_migrations"];

/// Holds that `sql`, which names offenders, finds none; `$1` are the shared tables.
async fn nothing(sql: &'static str) {
    let db = TestDb::new().await;
    let shared: Vec<String> = SHARED.map(String::from).to_vec();
    let found: Vec<String> =
        sqlx::query_scalar(sql).bind(shared).fetch_all(&db.store.pool).await.expect("the catalogue can be read");
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_of_a_tenant_has_a_primary_key() {
    nothing(
        "select c.relname::text from pg_class c
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and c.relname <> all($1)
           and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workspace_leads_every_key_and_index() {
    nothing(
        "select format('%s of %s', x.relname, c.relname)
         from pg_index i join pg_class x on x.oid = i.indexrelid join pg_class c on c.oid = i.indrelid
         left join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
         where c.relnamespace = 'public'::regnamespace and c.relname <> all($1)
           and a.attname is distinct from 'workspace_id'",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workspace_leads_every_foreign_key() {
    nothing(
        "select format('%s of %s', f.conname, f.conrelid::regclass)
         from pg_constraint f
         join pg_attribute a on a.attrelid = f.conrelid and a.attnum = f.conkey[1]
         join pg_attribute b on b.attrelid = f.confrelid and b.attnum = f.confkey[1]
         where f.contype = 'f' and f.conrelid::regclass::text <> all($1)
           and (a.attname <> 'workspace_id' or b.attname <> 'workspace_id')",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_happens_behind_a_statement() {
    nothing(
        "select format('trigger %s', tgname) from pg_trigger where not tgisinternal and $1::text[] is not null
         union all select format('rule %s', rulename) from pg_rules where schemaname = 'public'",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_survives_a_crash_and_no_id_comes_from_a_sequence() {
    nothing(
        "select relname::text from pg_class
         where relnamespace = 'public'::regnamespace and $1::text[] is not null
           and (relpersistence <> 'p' or relkind = 'S')",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_and_column_says_what_it_is() {
    nothing(
        "select concat_ws('.', c.relname, a.attname)
         from pg_class c
         join (select attrelid, attnum, attname from pg_attribute where attnum > 0 and not attisdropped
               union all select oid, 0, null from pg_class) a on a.attrelid = c.oid
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')
           and c.relname <> '_sqlx_migrations' and $1::text[] is not null
           and coalesce(col_description(c.oid, a.attnum), obj_description(c.oid, 'pg_class')) is null",
    )
    .await;
}
