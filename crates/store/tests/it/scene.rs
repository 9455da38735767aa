//! A run that is ready to be claimed from, set up by plain SQL: these tests are about the queue alone.

use fanfare_domain::state::Sharing;
use fanfare_store::{credits, workspaces};
use fanfare_testdb::TestDb;

pub const WORKSPACE: i32 = 1;
pub const ACCOUNT: i64 = 20;
pub const SECOND: i64 = 21;
pub const RUN: i64 = 60;

/// What is set up.
pub struct Scene {
    pub recipients: i32,
    pub segments: i32,
    pub idempotent: bool,
    pub reserve_each: i64,
    pub credit: i64,
}

impl Scene {
    pub async fn set(&self, db: &TestDb) {
        let mut c = db.store.pool.acquire().await.unwrap();
        assert_eq!(workspaces::ensure(&mut c, "default", db.store.clock.now()).await.unwrap(), WORKSPACE);
        if self.credit > 0 {
            credits::topup(&db.store, WORKSPACE, self.credit, Some("test")).await.unwrap();
        }
        for sql in [
            "insert into list values (1, 10, 'l', now())",
            "insert into account values (1, 20, 'a', 'http', '{}', null, null, $1, '[]', null, now())",
            "insert into account_pace (workspace_id, account_id) values (1, 20)",
            "insert into template values (1, 30, 't', 2, 1, now())",
            "insert into campaign values (1, 40, 'c', 30, 10, 1, 1, 1, null, now(), 1)",
            "insert into campaign_account values (1, 40, 0, 20, null, null)",
            "insert into run values (1, 60, 40, now(), '{}', $2, 2, null, null, 'z', now(), now(), null)",
            "insert into run_arm values (1, 60, 0, 30, 1, 1)",
            "insert into run_account values (1, 60, 20, 0, null, null, '{}')",
            "insert into flow (workspace_id, account_id, run_id, weight, runnable, reserve_each) values (1, 20, 60, 1, true, $3)",
            "insert into recipient select 1, s, 60, 1, 0, '+2135550' || s, 'DZ', null from generate_series(0, $2::int - 1) s",
            "insert into segment select 1, 60, s, s * $2::int / $4, (s + 1) * $2::int / $4, s * $2::int / $4, s::text, 0, 0, 0, 0
             from generate_series(0, $4::int - 1) s",
        ] {
            let typed = format!("with p as (select $1::bool, $2::int, $3::bigint, $4::int) {sql}");
            sqlx::query(sqlx::AssertSqlSafe(typed))
                .bind(self.idempotent)
                .bind(self.recipients)
                .bind(self.reserve_each)
                .bind(self.segments)
                .execute(&mut *c)
                .await
                .unwrap();
        }
    }

    /// Lets the run go through another account, too.
    pub async fn second_account(db: &TestDb, sharing: Sharing) {
        for sql in [
            "insert into account select 1, 21, 'b', kind, settings, secret, sender, idempotent, caps, null, now() from account where $1 > 0",
            "insert into account_pace (workspace_id, account_id) select 1, 21 where $1 > 0",
            "insert into run_account select 1, 60, 21, 1, 1, null, '{}' where $1 > 0",
            "insert into flow (workspace_id, account_id, run_id, weight, runnable, reserve_each, rank)
             select 1, 21, 60, 1, true, reserve_each / 2, 1 from flow where $1 > 0",
            "update flow set sharing = $1",
        ] {
            sqlx::query(sql).bind(sharing.as_i16()).execute(&db.store.pool).await.unwrap();
        }
    }

    pub async fn pause(db: &TestDb, pause: bool) {
        run_sql(db, "update flow set runnable = not $1, epoch = epoch + 1, closed = null", pause).await;
        run_sql(
            db,
            "update run set state = case when $1 then 3 else 2 end, paused_reason = case when $1 then 1 end where state in (2, 3)",
            pause,
        )
        .await;
    }

    pub async fn cancel(db: &TestDb) {
        run_sql(db, "update flow set runnable = not $1, epoch = epoch + 1", true).await;
        run_sql(db, "update run set state = 4, paused_reason = null where $1", true).await;
    }
}

async fn run_sql(db: &TestDb, sql: &'static str, flag: bool) {
    sqlx::query(sql).bind(flag).execute(&db.store.pool).await.unwrap();
}
