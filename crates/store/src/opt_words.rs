//! Words by which recipients opt out, or come back: what a workspace changes about those that are built in.

use chrono::{DateTime, Utc};
use fanfare_domain::limits::{OPT_WORD_CHARS_MAX, OPT_WORDS_MAX};
use fanfare_domain::receipt::{Meaning, Words, normal};
use serde::Serialize;
use sqlx::PgConnection;

use crate::nearest::nearest;
use crate::{Error, Result};

/// A word of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OptWord {
    /// As it is looked for.
    pub word: String,
    /// What it means; nothing for one that was removed.
    pub means: Option<Meaning>,
    /// Whether it is built in; else it was added.
    pub built_in: bool,
}

/// The words of the workspace, to tell what a text means.
///
/// # Errors
/// When the database fails.
pub async fn load(c: &mut PgConnection, workspace_id: i32) -> Result<Words> {
    Ok(Words::changed(changes(c, workspace_id).await?))
}

/// All words of the workspace, those that were added behind the others.
///
/// # Errors
/// When the database fails.
pub async fn all(c: &mut PgConnection, workspace_id: i32) -> Result<Vec<OptWord>> {
    let changes = changes(c, workspace_id).await?;
    let changed = |word: &str| changes.iter().find(|(changed, _)| changed == word).map(|(_, meaning)| *meaning);
    let mut all: Vec<OptWord> = Words::built_in()
        .map(|(word, meaning)| OptWord {
            word: word.to_owned(),
            means: changed(word).unwrap_or(Some(meaning)),
            built_in: true,
        })
        .collect();
    let added = changes.iter().filter(|(word, _)| built_in(word).is_none());
    all.extend(added.map(|(word, means)| OptWord { word: word.clone(), means: *means, built_in: false }));
    Ok(all)
}

/// Lets a word opt out, or come back; one that was removed counts again. Gives it as it is looked for.
///
/// # Errors
/// [`Error::Conflict`] when it is no word, or there are too many; else when the database fails.
pub async fn add(
    c: &mut PgConnection,
    workspace_id: i32,
    word: &str,
    meaning: Meaning,
    now: DateTime<Utc>,
) -> Result<String> {
    let normal = normal(word);
    let chars = normal.chars().count();
    if !(1..=OPT_WORD_CHARS_MAX).contains(&chars) {
        let problem =
            format!("{word:?} is no word to opt out by: expected 1 to {OPT_WORD_CHARS_MAX} letters or digits");
        return Err(Error::Conflict(problem));
    }
    if built_in(&normal) == Some(meaning) {
        forget(c, workspace_id, &normal).await?;
        return Ok(normal);
    }
    let added: i64 = sqlx::query_scalar("-- add: count\n select count(*) from opt_word where workspace_id = $1")
        .bind(workspace_id)
        .fetch_one(&mut *c)
        .await?;
    if added >= OPT_WORDS_MAX {
        return Err(Error::Conflict(format!("a workspace changes at most {OPT_WORDS_MAX} words: remove some first")));
    }
    change(c, workspace_id, &normal, Some(meaning), now).await?;
    Ok(normal)
}

/// Lets a word mean nothing any more, be it built in or added. Gives it as it was looked for.
///
/// # Errors
/// [`Error::NotFound`] with the nearest words; else when the database fails.
pub async fn remove(c: &mut PgConnection, workspace_id: i32, word: &str, now: DateTime<Utc>) -> Result<String> {
    let normal = normal(word);
    let known = all(c, workspace_id).await?;
    match known.iter().find(|w| w.word == normal && w.means.is_some()) {
        Some(OptWord { built_in: true, .. }) => change(c, workspace_id, &normal, None, now).await?,
        Some(OptWord { built_in: false, .. }) => forget(c, workspace_id, &normal).await?,
        None => {
            let near = nearest(&normal, known.into_iter().filter(|w| w.means.is_some()).map(|w| w.word));
            return Err(Error::NotFound { what: "word to opt out by", name: word.to_owned(), near });
        }
    }
    Ok(normal)
}

fn built_in(word: &str) -> Option<Meaning> {
    Words::built_in().find(|(known, _)| *known == word).map(|(_, meaning)| meaning)
}

async fn changes(c: &mut PgConnection, workspace_id: i32) -> Result<Vec<(String, Option<Meaning>)>> {
    let rows: Vec<(String, Option<i16>)> =
        sqlx::query_as("-- changes\n select word, meaning from opt_word where workspace_id = $1 order by word")
            .bind(workspace_id)
            .fetch_all(c)
            .await?;
    let meaning = |n: i16| match n {
        n if n == Meaning::OptOut as i16 => Ok(Meaning::OptOut),
        n if n == Meaning::OptIn as i16 => Ok(Meaning::OptIn),
        n => Err(Error::Corrupt(format!("opt_word.meaning {n}"))),
    };
    rows.into_iter().map(|(word, n)| Ok((word, n.map(meaning).transpose()?))).collect()
}

async fn change(
    c: &mut PgConnection,
    workspace_id: i32,
    word: &str,
    meaning: Option<Meaning>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "-- change
         insert into opt_word (workspace_id, word, meaning, changed_at) values ($1, $2, $3, $4)
         on conflict (workspace_id, word) do update set meaning = excluded.meaning, changed_at = excluded.changed_at",
    )
    .bind(workspace_id)
    .bind(word)
    .bind(meaning.map(|meaning| meaning as i16))
    .bind(now)
    .execute(c)
    .await?;
    Ok(())
}

async fn forget(c: &mut PgConnection, workspace_id: i32, word: &str) -> Result<()> {
    sqlx::query("-- forget\n delete from opt_word where workspace_id = $1 and word = $2")
        .bind(workspace_id)
        .bind(word)
        .execute(c)
        .await?;
    Ok(())
}
