//! The templates that accounts have at their providers, as last listed.

use chrono::{DateTime, Utc};
use fanfare_domain::content::Listed;
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::error::ensure_affected;
use crate::tx::run_tx;
use crate::{Error, Result, Store};

/// A list that is kept.
#[derive(Debug, Clone)]
pub struct Kept {
    /// When it was fetched.
    pub fetched_at: DateTime<Utc>,
    /// What stood in it, by name and language.
    pub templates: Vec<Listed>,
}

/// Keeps this list in place of the one before.
///
/// # Errors
/// When the account does not exist or the database fails; the list before stays then.
pub async fn replace(store: &Store, workspace_id: i32, account_id: i64, templates: &[Listed]) -> Result<()> {
    let now = store.clock.now();
    run_tx("replace templates", || async {
        let mut tx = store.pool.begin().await?;
        // Also the lock that lets two lists follow each other.
        let done = sqlx::query(
            "-- replace: when
             update account set templates_fetched_at = $3 where workspace_id = $1 and account_id = $2",
        )
        .bind(workspace_id)
        .bind(account_id)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        ensure_affected("replace", done.rows_affected(), 1)?;
        sqlx::query("-- replace: old\n delete from account_template where workspace_id = $1 and account_id = $2")
            .bind(workspace_id)
            .bind(account_id)
            .execute(&mut *tx)
            .await?;
        for template in templates {
            put(&mut tx, (workspace_id, account_id), template).await?;
        }
        Ok(tx.commit().await?)
    })
    .await
}

async fn put(c: &mut PgConnection, (workspace_id, account_id): (i32, i64), template: &Listed) -> Result<()> {
    // A provider that lists one twice has changed its list between two pages: the later one counts.
    sqlx::query(
        "-- put
         insert into account_template (workspace_id, account_id, name, language, title, status, category, shape)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (workspace_id, account_id, name, language) do update
         set title = excluded.title, status = excluded.status, category = excluded.category, shape = excluded.shape",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(&template.name)
    .bind(&template.language)
    .bind(&template.title)
    .bind(&template.status)
    .bind(&template.category)
    .bind(Json(&template.shape))
    .execute(c)
    .await?;
    Ok(())
}

/// The account's list; `None` if none was ever fetched.
///
/// # Errors
/// When the database fails, or what is stored cannot be read.
pub async fn kept(c: &mut PgConnection, workspace_id: i32, account_id: i64) -> Result<Option<Kept>> {
    let fetched_at: Option<DateTime<Utc>> = sqlx::query_scalar(
        "-- kept: when
         select templates_fetched_at from account where workspace_id = $1 and account_id = $2",
    )
    .bind(workspace_id)
    .bind(account_id)
    .fetch_one(&mut *c)
    .await?;
    let Some(fetched_at) = fetched_at else { return Ok(None) };
    type Row = (String, String, Option<String>, String, String, serde_json::Value);
    let rows: Vec<Row> = sqlx::query_as(
        "-- kept
         select name, language, title, status, category, shape from account_template
         where workspace_id = $1 and account_id = $2 order by name, language",
    )
    .bind(workspace_id)
    .bind(account_id)
    .fetch_all(c)
    .await?;
    let template = |(name, language, title, status, category, shape): Row| {
        let shape = serde_json::from_value(shape)
            .map_err(|e| Error::Corrupt(format!("shape of template {name:?} of account {account_id}: {e}")))?;
        Ok(Listed { name, title, language, status, category, shape })
    };
    let templates = rows.into_iter().map(template).collect::<Result<_>>()?;
    Ok(Some(Kept { fetched_at, templates }))
}
