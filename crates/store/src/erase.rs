//! Erasing a person: what is known of them goes, what was done stays, under a keyed hash of their address.
//!
//! The log keeps its messages, so that every book still balances and no run changes; who they were to cannot
//! be read any more. The hash is suppressed, so that the address is known again when a file, a campaign or a
//! message names it.
//!
//! A message that comes by itself while its address is erased is entered before, and hashed with the others, or
//! after, and refused: whoever enters one holds the address with others until it is committed, whoever erases it
//! holds it alone ([`lock_address`]), both before all else that they lock.

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::suppressions::{self, New, Reason};
use crate::tx::run_tx;
use crate::{Result, Store};

/// What was erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Addresses: the one that was named, and those that stand beside it in a contact.
    pub addresses: u64,
    /// Contacts that were deleted.
    pub contacts: u64,
    /// Messages whose recipient is now a hash, and whose values are gone.
    pub messages: u64,
    /// Notes of what was written by them, and when.
    pub heard: u64,
}

/// Keeps messages to an address from being entered while it is erased: who enters one holds it with others, who
/// erases it alone, both until they commit. To be taken before anything else is locked.
///
/// # Errors
/// When the database fails.
pub(crate) async fn lock_address(c: &mut PgConnection, workspace_id: i32, address: &str, alone: bool) -> Result<()> {
    // Of addresses with one hash one waits for the other; the locks of doubts have one key, and are others.
    let sql = match alone {
        true => "select pg_advisory_xact_lock($1, hashtext($2)) -- lock_address: alone",
        false => "select pg_advisory_xact_lock_shared($1, hashtext($2)) -- lock_address: with others",
    };
    sqlx::query(sql).bind(workspace_id).bind(address).execute(c).await?;
    Ok(())
}

/// Erases the person at this address, in one transaction; then waits for the segments that are being written from
/// contacts read before, and erases the person there. To do it again is harmless.
///
/// # Errors
/// When the database fails; nothing is erased then.
pub async fn erase(store: &Store, workspace_id: i32, address: &str, by: &str) -> Result<Erased> {
    // Two who erase persons that share an address may wait for each other.
    let (mut erased, addresses) = run_tx("erase", || try_erase(store, workspace_id, address, by)).await?;
    erased.messages += hash_segments(store, workspace_id, &addresses).await?;
    tracing::info!(workspace_id, contacts = erased.contacts, messages = erased.messages, "a contact was erased");
    Ok(erased)
}

async fn try_erase(store: &Store, workspace_id: i32, address: &str, by: &str) -> Result<(Erased, BTreeSet<String>)> {
    let mut tx = store.pool.begin().await?;
    lock_address(&mut tx, workspace_id, address, true).await?;
    let addresses = delete_contacts(&mut tx, workspace_id, address).await?;
    let mut erased = Erased { contacts: addresses.len() as u64, ..Erased::default() };
    let addresses: BTreeSet<String> =
        addresses.into_iter().flat_map(|(a, e)| [Some(a), e]).flatten().chain([address.to_owned()]).collect();
    for address in &addresses {
        lock_address(&mut tx, workspace_id, address, true).await?;
    }
    for address in &addresses {
        let hash = store.seal.pepper().hash(workspace_id, address);
        erased.addresses += 1;
        erased.contacts += delete_beside(&mut tx, workspace_id, address).await?;
        erased.messages += hash_messages(&mut tx, workspace_id, address, &hash).await?;
        erased.heard += hash_heard(&mut tx, workspace_id, address, &hash).await?;
        hash_suppressions(&mut tx, workspace_id, address, &hash).await?;
        let new = New {
            addresses: &[(hash, format!("erased by {by}"))],
            reason: Reason::Erased,
            account_id: None,
            now: store.clock.now(),
        };
        suppressions::put(&mut tx, workspace_id, new).await?;
    }
    tx.commit().await?;
    Ok((erased, addresses))
}

/// The messages of segments that were being written during the erasure. What is read from now on has no such contact.
async fn hash_segments(store: &Store, workspace_id: i32, addresses: &BTreeSet<String>) -> Result<u64> {
    let mut tx = store.pool.begin().await?;
    sqlx::query("-- hash_segments\n select from expansion where workspace_id = $1 order by run_id for update")
        .bind(workspace_id)
        .execute(&mut *tx)
        .await?;
    let mut messages = 0;
    for address in addresses {
        let hash = store.seal.pepper().hash(workspace_id, address);
        messages += hash_messages(&mut tx, workspace_id, address, &hash).await?;
    }
    tx.commit().await?;
    Ok(messages)
}

/// Deletes the contacts at this address from all lists, and gives the addresses of each.
async fn delete_contacts(
    c: &mut PgConnection,
    workspace_id: i32,
    address: &str,
) -> Result<Vec<(String, Option<String>)>> {
    let gone = sqlx::query_as(
        "-- delete_contacts
         delete from contact where workspace_id = $1
           and list_id in (select l.list_id from list l where l.workspace_id = $1) and (address = $2 or email = $2)
         returning address, email",
    )
    .bind(workspace_id)
    .bind(address)
    .fetch_all(c)
    .await?;
    Ok(gone)
}

/// Deletes what else holds an address that stood beside the one that was named: contacts of their own, and
/// the mailbox of somebody else who shares it and stays.
async fn delete_beside(c: &mut PgConnection, workspace_id: i32, address: &str) -> Result<u64> {
    let of_workspace = "list_id in (select l.list_id from list l where l.workspace_id = $1)";
    let gone = sqlx::query(AssertSqlSafe(format!(
        "-- delete_beside\n delete from contact where workspace_id = $1 and {of_workspace} and address = $2"
    )))
    .bind(workspace_id)
    .bind(address)
    .execute(&mut *c)
    .await?;
    sqlx::query(AssertSqlSafe(format!(
        "-- delete_beside: mailbox\n update contact set email = null where workspace_id = $1 and {of_workspace} and email = $2"
    )))
    .bind(workspace_id)
    .bind(address)
    .execute(c)
    .await?;
    Ok(gone.rows_affected())
}

/// Also what providers wrote of the messages, and the keys that they came with, as far as these name the address.
async fn hash_messages(c: &mut PgConnection, workspace_id: i32, address: &str, hash: &str) -> Result<u64> {
    let keys: Vec<(i64, i32)> = sqlx::query_as(
        "-- hash_messages
         update recipient set address = $3, params = null
         where workspace_id = $1 and address collate \"C\" = $2 returning run_id, seq",
    )
    .bind(workspace_id)
    .bind(address)
    .bind(hash)
    .fetch_all(&mut *c)
    .await?;
    let (runs, seqs): (Vec<i64>, Vec<i32>) = keys.iter().copied().unzip();
    let digits = address.trim_start_matches('+');
    for statement in [
        "-- hash_messages: outcomes
         update outcome o set detail = replace(o.detail, $4, 'erased') from unnest($2::bigint[], $3::int[]) m (run_id, seq)
         where o.workspace_id = $1 and o.run_id = m.run_id and o.seq = m.seq and position($4 in o.detail) > 0",
        "-- hash_messages: receipts
         update receipt o set detail = replace(o.detail, $4, 'erased') from unnest($2::bigint[], $3::int[]) m (run_id, seq)
         where o.workspace_id = $1 and o.run_id = m.run_id and o.seq = m.seq and position($4 in o.detail) > 0",
        "-- hash_messages: retries
         update retry o set reason = replace(o.reason, $4, 'erased') from unnest($2::bigint[], $3::int[]) m (run_id, seq)
         where o.workspace_id = $1 and o.run_id = m.run_id and o.seq = m.seq and position($4 in o.reason) > 0",
    ] {
        let query = sqlx::query(statement).bind(workspace_id).bind(&runs).bind(&seqs).bind(digits);
        query.execute(&mut *c).await?;
    }
    // The hash, so that keys of two persons stay two.
    sqlx::query(
        "-- hash_messages: keys
         update one_off o set key = replace(o.key, $4, $5) from unnest($2::bigint[], $3::int[]) m (run_id, seq)
         where o.workspace_id = $1 and o.run_id = m.run_id and o.seq = m.seq and position($4 in o.key) > 0",
    )
    .bind(workspace_id)
    .bind(&runs)
    .bind(&seqs)
    .bind(digits)
    .bind(hash)
    .execute(&mut *c)
    .await?;
    Ok(keys.len() as u64)
}

async fn hash_heard(c: &mut PgConnection, workspace_id: i32, address: &str, hash: &str) -> Result<u64> {
    let mut heard = 0;
    for statement in [
        "-- hash_heard: inbound\n update inbound set address = $3 where workspace_id = $1 and address = $2",
        // What was written under the hash since an erasure before stays the newer one.
        "-- hash_heard: conversations, older ones
         delete from conversation v using conversation w
         where v.workspace_id = $1 and v.address = $3
           and w.workspace_id = $1 and w.account_id = v.account_id and w.address = $2",
        "-- hash_heard: conversations
         update conversation set address = $3 where workspace_id = $1 and address = $2",
        "-- hash_heard: contacted, older ones
         delete from contacted v using contacted w
         where v.workspace_id = $1 and v.address = $3
           and w.workspace_id = $1 and w.account_id = v.account_id and w.address = $2",
        "-- hash_heard: contacted\n update contacted set address = $3 where workspace_id = $1 and address = $2",
    ] {
        let query = sqlx::query(statement).bind(workspace_id).bind(address).bind(hash);
        heard += query.execute(&mut *c).await?.rows_affected();
    }
    Ok(heard)
}

/// Suppressions of the address hold for its hash; of two for the same account the older one stays.
async fn hash_suppressions(c: &mut PgConnection, workspace_id: i32, address: &str, hash: &str) -> Result<()> {
    sqlx::query(
        "-- hash_suppressions
         with gone as (delete from suppression where workspace_id = $1 and address = $2 returning *)
         insert into suppression (workspace_id, address, reason, origin, created_at, account_id)
         select workspace_id, $3, reason, replace(origin, $4, 'erased'), created_at, account_id from gone
         on conflict do nothing",
    )
    .bind(workspace_id)
    .bind(address)
    .bind(hash)
    .bind(address.trim_start_matches('+'))
    .execute(c)
    .await?;
    Ok(())
}
