//! The template: a database with all migrations applied, made once for each set of migrations.

use fanfare_store::migrate;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::server::Result;

/// Held while a template is made; any number will do.
const LOCK: i64 = 0x7e57_db00;

/// The name of the template of this program's migrations, which is made if it does not exist.
pub(crate) async fn ensure(admin: &mut PgConnection, options: &PgConnectOptions) -> Result<String> {
    let name = name();
    sqlx::query("select pg_advisory_lock($1)").bind(LOCK).execute(&mut *admin).await?;
    let there: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(&name)
        .fetch_one(&mut *admin)
        .await?;
    if !there {
        make(admin, options, &name).await?;
        remove_old(admin).await?;
    }
    sqlx::query("select pg_advisory_unlock($1)").bind(LOCK).execute(&mut *admin).await?;
    Ok(name)
}

/// It gets its name when it is complete.
async fn make(admin: &mut PgConnection, options: &PgConnectOptions, name: &str) -> Result<()> {
    let unfinished = format!("{name}_unfinished");
    admin.execute(AssertSqlSafe(format!("drop database if exists {unfinished} with (force)"))).await?;
    admin.execute(AssertSqlSafe(format!("create database {unfinished} template template0"))).await?;
    let mut connection = PgConnection::connect_with(&options.clone().database(&unfinished)).await?;
    migrate::to_newest(&mut connection).await?;
    connection.close().await?;
    admin.execute(AssertSqlSafe(format!("alter database {unfinished} rename to {name}"))).await?;
    // Nobody else connects, which would be in the way of a clone.
    admin.execute(AssertSqlSafe(format!("alter database {name} allow_connections false"))).await?;
    Ok(())
}

/// Other checkouts may use the newest ones.
async fn remove_old(admin: &mut PgConnection) -> Result<()> {
    let old: Vec<String> = sqlx::query_scalar(
        r"select datname from pg_database where datname like 'fanfare\_template\_%' order by oid desc offset 8",
    )
    .fetch_all(&mut *admin)
    .await?;
    for name in old {
        admin.execute(AssertSqlSafe(format!("drop database if exists {name} with (force)"))).await?;
    }
    Ok(())
}

fn name() -> String {
    let mut hash = Sha256::new();
    for migration in migrate::MIGRATIONS.iter() {
        hash.update(migration.version.to_be_bytes());
        hash.update(&migration.checksum);
    }
    let hex: String = hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("fanfare_template_{hex}")
}
