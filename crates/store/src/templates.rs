//! Templates and their versions.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use fanfare_domain::message::Channel;
use fanfare_domain::template::{Arms, Template, Text, Variant};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use crate::nearest::nearest;
use crate::runs::RunArm;
use crate::{Error, Result, Store};

/// A template, without its texts.
#[derive(Debug, Clone)]
pub struct Head {
    /// Its id.
    pub template_id: i64,
    /// What `--template` names.
    pub name: String,
    /// The channel it is written for.
    pub channel: Channel,
    /// The newest version.
    pub version: i32,
    /// When it was first added.
    pub created_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct HeadRow {
    template_id: i64,
    name: String,
    channel: i16,
    version: i32,
    created_at: DateTime<Utc>,
}

impl HeadRow {
    fn head(self) -> Result<Head> {
        let Self { template_id, name, version, created_at, .. } = self;
        Ok(Head { template_id, name, channel: channel(self.channel)?, version, created_at })
    }
}

/// Adds `template` under `name`, as a new version if the name exists, and says id and version.
///
/// # Errors
/// [`Error::Conflict`] when the name belongs to a template of another channel; else when the database
/// fails. Nothing is added then.
pub async fn add(store: &Store, workspace_id: i32, name: &str, template: &Template) -> Result<Head> {
    let mut tx = store.pool.begin().await?;
    // Also the lock that lets two new versions follow each other.
    let row: HeadRow = sqlx::query_as(
        "-- add
         insert into template as t (workspace_id, template_id, name, channel, version, created_at)
         values ($1, $2, $3, $4, 1, $5)
         on conflict (workspace_id, name) do update set version = t.version + 1
         returning template_id, name, channel, version, created_at",
    )
    .bind(workspace_id)
    .bind(store.ids.next())
    .bind(name)
    .bind(template.channel() as i16)
    .bind(store.clock.now())
    .fetch_one(&mut *tx)
    .await?;
    let head = row.head()?;
    if head.channel != template.channel() {
        let (was, is) = (head.channel, template.channel());
        return Err(Error::Conflict(format!(
            "template {name:?} is for {was}: a new version cannot be for {is}, choose another name"
        )));
    }
    for (number, variant) in template.variants().enumerate() {
        add_variant(&mut tx, workspace_id, &head, number as i16, variant).await?;
    }
    tx.commit().await?;
    tracing::info!(workspace_id, template_id = head.template_id, version = head.version, "template added");
    Ok(head)
}

async fn add_variant(c: &mut PgConnection, workspace_id: i32, head: &Head, number: i16, v: &Variant) -> Result<()> {
    let none = Vec::new();
    let (subject, body, approved, params, content) = match &v.text {
        Text::Body { subject, body } => (subject.as_deref(), Some(body.as_str()), None, &none, None),
        Text::Approved { name, params } => (None, None, Some(name.as_str()), params, None),
        Text::Rich(content) => (None, None, None, &none, Some(Json(content))),
    };
    sqlx::query(
        "-- add_variant
         insert into template_variant
           (workspace_id, template_id, version, variant, language, subject, body, provider_template, params, defaults,
            content)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(workspace_id)
    .bind(head.template_id)
    .bind(head.version)
    .bind(number)
    .bind(&v.language)
    .bind(subject)
    .bind(body)
    .bind(approved)
    .bind(Json(params))
    .bind(Json(&v.defaults))
    .bind(content)
    .execute(c)
    .await?;
    Ok(())
}

/// The template called `name`.
///
/// # Errors
/// [`Error::NotFound`] with the nearest names; else when the database fails.
pub async fn get(c: &mut PgConnection, workspace_id: i32, name: &str) -> Result<Head> {
    let found: Option<HeadRow> = sqlx::query_as(
        "-- get
         select template_id, name, channel, version, created_at from template where workspace_id = $1 and name = $2",
    )
    .bind(workspace_id)
    .bind(name)
    .fetch_optional(&mut *c)
    .await?;
    match found {
        Some(row) => row.head(),
        None => {
            let near = nearest(name, list(c, workspace_id).await?.into_iter().map(|h| h.name));
            Err(Error::NotFound { what: "template", name: name.to_owned(), near })
        }
    }
}

/// The name of the template that says nothing but a text it is given, by a channel. Nobody can choose a name
/// that begins with a blank.
pub fn of_text(channel: Channel) -> String {
    format!(" text, {channel}")
}

/// All templates that somebody has named, by name.
///
/// # Errors
/// When the database fails.
pub async fn list(c: &mut PgConnection, workspace_id: i32) -> Result<Vec<Head>> {
    let rows: Vec<HeadRow> = sqlx::query_as(
        "-- list
         select template_id, name, channel, version, created_at from template
         where workspace_id = $1 and name not like ' %' order by name",
    )
    .bind(workspace_id)
    .fetch_all(c)
    .await?;
    rows.into_iter().map(HeadRow::head).collect()
}

/// What a run says, ready to be rendered. `campaign_id` is that of its campaign.
///
/// # Errors
/// As [`compile`].
pub async fn arms(c: &mut PgConnection, workspace_id: i32, campaign_id: i64, arms: &[RunArm]) -> Result<Arms> {
    let mut templates = Vec::new();
    for arm in arms {
        templates.push((compile(c, workspace_id, arm.template_id, arm.version).await?, arm.weight));
    }
    Arms::new(campaign_id, templates).map_err(|e| Error::Corrupt(format!("templates of campaign {campaign_id}: {e}")))
}

/// A version of a template, ready to be rendered.
///
/// # Errors
/// [`Error::Corrupt`] when it does not compile; else when it does not exist or the database fails.
pub async fn compile(c: &mut PgConnection, workspace_id: i32, template_id: i64, version: i32) -> Result<Template> {
    #[derive(FromRow)]
    struct Row {
        channel: i16,
        language: String,
        subject: Option<String>,
        body: Option<String>,
        provider_template: Option<String>,
        params: Json<Vec<String>>,
        defaults: Json<BTreeMap<String, String>>,
        content: Option<Json<serde_json::Value>>,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "-- compile
         select t.channel, v.language, v.subject, v.body, v.provider_template, v.params, v.defaults, v.content
         from template t join template_variant v on v.workspace_id = t.workspace_id and v.template_id = t.template_id
         where t.workspace_id = $1 and t.template_id = $2 and v.version = $3 order by v.variant",
    )
    .bind(workspace_id)
    .bind(template_id)
    .bind(version)
    .fetch_all(c)
    .await?;
    let corrupt = |why: String| Error::Corrupt(format!("template {template_id}, version {version}: {why}"));
    let number = rows.first().map(|r| r.channel).ok_or_else(|| corrupt("it has no variants".into()))?;
    let variants = rows.into_iter().map(|r| {
        let text = match (r.body, r.provider_template, r.content) {
            (Some(body), None, None) => Text::Body { subject: r.subject, body },
            (None, Some(name), None) => Text::Approved { name, params: r.params.0 },
            (None, None, Some(content)) => Text::Rich(content.0),
            _ => return Err(corrupt("a variant is none or several of text, approved template and content".into())),
        };
        Ok(Variant { language: r.language, text, defaults: r.defaults.0 })
    });
    Template::compile(channel(number)?, variants.collect::<Result<_>>()?).map_err(|e| corrupt(e.to_string()))
}

pub(crate) fn channel(number: i16) -> Result<Channel> {
    Channel::from_i16(number).ok_or_else(|| Error::Corrupt(format!("channel {number}")))
}
