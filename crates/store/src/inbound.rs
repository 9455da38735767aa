//! What recipients write: who may be answered freely, who opts out, who answers which message.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use fanfare_domain::receipt::{Inbound, Meaning, Receipt};

use crate::suppressions::{self, Reason};
use crate::{Result, Store, receipts};

/// Stores messages from recipients: notes that they wrote, suppresses who opts out and brings back who
/// comes back, and counts answers to messages of ours. All of them, or after an error none of the first
/// part; a repeat does nothing.
///
/// # Errors
/// When the database fails.
pub async fn take(store: &Store, workspace_id: i32, account_id: i64, all: &[Inbound]) -> Result<u64> {
    let now = store.clock.now();
    let mut tx = store.pool.begin().await?;
    let mut heard: BTreeMap<&str, DateTime<Utc>> = BTreeMap::new();
    let mut new = Vec::new();
    // In one order, so that two of these at once cannot wait for each other.
    let mut sorted: Vec<&Inbound> = all.iter().collect();
    sorted.sort_by(|a, b| a.provider_id.cmp(&b.provider_id));
    for inbound in sorted {
        let at = inbound.at.unwrap_or(now);
        let done = sqlx::query(
            "-- inbound: take
             insert into inbound (workspace_id, account_id, provider_id, address, at, received_at, meaning)
             values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
        )
        .bind(workspace_id)
        .bind(account_id)
        .bind(&inbound.provider_id)
        .bind(&inbound.address)
        .bind(at)
        .bind(now)
        .bind(inbound.meaning as i16)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 1 {
            new.push(inbound);
            // A fast clock of the provider must not keep the window open for longer than it is.
            let at = at.min(now);
            let last = heard.entry(&inbound.address).or_insert(at);
            *last = at.max(*last);
        }
    }
    // In order of the addresses, so that two of these at once cannot wait for each other.
    let (addresses, ats): (Vec<&str>, Vec<DateTime<Utc>>) = heard.into_iter().unzip();
    sqlx::query(
        "-- inbound: conversations
         insert into conversation as c (workspace_id, account_id, address, heard_at)
         select $1, $2, u.address, u.at from unnest($3::text[], $4::timestamptz[]) as u(address, at)
         on conflict (workspace_id, account_id, address) do update set heard_at = greatest(c.heard_at, excluded.heard_at)",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(&addresses)
    .bind(&ats)
    .execute(&mut *tx)
    .await?;
    // By address, and each one's wishes in the order in which they were written.
    new.sort_by_key(|i| (&i.address, i.at));
    for inbound in &new {
        let (address, at) = (&inbound.address, inbound.at.unwrap_or(now).min(now));
        match inbound.meaning {
            Meaning::OptOut => {
                let origin = [(address.clone(), "opted out".to_owned())];
                suppressions::add(&mut tx, workspace_id, &origin, Reason::Recipient, at).await?;
            }
            Meaning::OptIn => suppressions::come_back(&mut tx, workspace_id, address, at).await?,
            Meaning::Reply | Meaning::Button => {}
        }
    }
    tx.commit().await?;
    // Of all of them: the first try may have failed here, and a receipt counts once.
    let answers: Vec<Receipt> = all.iter().filter_map(answer).collect();
    if !answers.is_empty() {
        receipts::take(store, workspace_id, account_id, &answers).await?;
    }
    Ok(new.len() as u64)
}

/// The answer as a receipt of the message that it answers.
fn answer(inbound: &Inbound) -> Option<Receipt> {
    let (kind, detail) = inbound.answer.clone();
    Some(Receipt { about: inbound.about.clone()?, kind, at: inbound.at, detail })
}
