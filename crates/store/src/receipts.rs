//! Receipts: what providers report of messages after their acceptance.
//!
//! Each kind counts once for a message, in whatever order and however often it comes. A receipt also
//! settles a message in doubt: who reports of it has accepted it.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use fanfare_domain::limits::PROGRESS_SHARDS;
use fanfare_domain::outcome::Class;
use fanfare_domain::receipt::{About, Receipt, ReceiptKind};
use sqlx::{FromRow, PgConnection};

use crate::queue::{BY_RECEIPT, Verdict, settle};
use crate::{Error, Result, Store};

/// What became of receipts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Stored, and counted.
    pub new: u64,
    /// Known already.
    pub repeated: u64,
    /// Kept until their message is known.
    pub early: u64,
    /// Of no message of ours.
    pub unknown: u64,
    /// Messages in doubt that they settled.
    pub settled: i64,
}

/// Early receipts that are taken at once.
const EARLY_PAGE: usize = 5_000;

/// One row to store.
struct Line<'a> {
    run_id: i64,
    seq: i32,
    kind: ReceiptKind,
    receipt: &'a Receipt,
}

/// Stores receipts that an account was told, and counts each once, and settles the doubts
/// that they end. All of them; after an error the same call may be repeated.
///
/// # Errors
/// When the database fails.
pub async fn take(store: &Store, workspace_id: i32, account_id: i64, receipts: &[Receipt]) -> Result<Taken> {
    let mut tx = store.pool.begin().await?;
    let known = known_ids(&mut tx, workspace_id, account_id, receipts).await?;
    let mut taken = Taken::default();
    let mut lines = Vec::with_capacity(receipts.len());
    let mut early = Vec::new();
    for receipt in receipts {
        let found = match &receipt.about {
            About::Message { run_id, seq } => Some((*run_id, *seq)),
            About::ProviderId(id) => known.get(id.as_str()).copied(),
        };
        let Some((run_id, seq)) = found else {
            early.push(receipt);
            continue;
        };
        lines.push(Line { run_id, seq, kind: receipt.kind, receipt });
        if receipt.kind == ReceiptKind::Read {
            // What was read was delivered, said or not.
            lines.push(Line { run_id, seq, kind: ReceiptKind::Delivered, receipt });
        }
    }
    taken.early = keep_early(&mut tx, workspace_id, account_id, &early).await?;
    let stored = insert(&mut tx, workspace_id, account_id, &lines).await?;
    taken.unknown = stored.unknown;
    let told = lines.iter().filter(|l| l.kind == l.receipt.kind).count() as u64;
    let delivered = told_delivered(&lines);
    let was_told = |(run_id, seq, kind): &&(i64, i32, i16)| {
        *kind != ReceiptKind::Delivered.as_i16() || delivered.contains(&(*run_id, *seq))
    };
    let new = stored.new.iter().filter(was_told).count() as u64;
    (taken.new, taken.repeated) = (new, told.saturating_sub(new + stored.unknown));
    // Below 16.
    let shard = store.rng.below(PROGRESS_SHARDS) as i16;
    count(&mut tx, workspace_id, &stored.new, shard).await?;
    tx.commit().await?;
    // Only once the receipts are there for everybody: a flush whose doubts cannot be seen yet looks for
    // receipts after its own commit, and so one of the two sees the other.
    let mut tx = store.pool.begin().await?;
    taken.settled = settle_all(store, &mut tx, (workspace_id, account_id), &lines, shard).await?;
    tx.commit().await?;
    Ok(taken)
}

/// Messages whose delivery was said, rather than followed from their being read.
fn told_delivered(lines: &[Line<'_>]) -> HashSet<(i64, i32)> {
    let told = lines.iter().filter(|l| l.receipt.kind == ReceiptKind::Delivered);
    told.map(|l| (l.run_id, l.seq)).collect()
}

/// The messages of the provider's ids that are known.
async fn known_ids(
    c: &mut PgConnection,
    workspace_id: i32,
    account_id: i64,
    receipts: &[Receipt],
) -> Result<HashMap<String, (i64, i32)>> {
    let ids: Vec<&str> = receipts
        .iter()
        .filter_map(|r| match &r.about {
            About::ProviderId(id) => Some(id.as_str()),
            About::Message { .. } => None,
        })
        .collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(String, i64, i32)> = sqlx::query_as(
        "-- known_ids
         select provider_id, run_id, seq from sent_id
         where workspace_id = $1 and account_id = $2 and provider_id = any ($3)",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(&ids)
    .fetch_all(c)
    .await?;
    Ok(rows.into_iter().map(|(id, run_id, seq)| (id, (run_id, seq))).collect())
}

async fn keep_early(c: &mut PgConnection, workspace_id: i32, account_id: i64, early: &[&Receipt]) -> Result<u64> {
    if early.is_empty() {
        return Ok(0);
    }
    let ids: Vec<&str> = early
        .iter()
        .map(|r| match &r.about {
            About::ProviderId(id) => id.as_str(),
            About::Message { .. } => "",
        })
        .collect();
    let kinds: Vec<i16> = early.iter().map(|r| r.kind.as_i16()).collect();
    let ats: Vec<Option<DateTime<Utc>>> = early.iter().map(|r| r.at).collect();
    let details: Vec<Option<&str>> = early.iter().map(|r| r.detail.as_deref()).collect();
    let done = sqlx::query(
        "-- keep_early
         insert into receipt_early (workspace_id, account_id, provider_id, kind, at, received_at, detail)
         select $1, $2, u.id, u.kind, coalesce(u.at, clock_timestamp()), clock_timestamp(), u.detail
         from unnest($3::text[], $4::smallint[], $5::timestamptz[], $6::text[]) as u(id, kind, at, detail)
         order by u.id, u.kind on conflict do nothing",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(&ids)
    .bind(&kinds)
    .bind(&ats)
    .bind(&details)
    .execute(c)
    .await?;
    Ok(done.rows_affected())
}

struct Stored {
    /// Run, message and kind of what was not known before.
    new: Vec<(i64, i32, i16)>,
    /// Lines of messages that do not exist.
    unknown: u64,
}

async fn insert(c: &mut PgConnection, workspace_id: i32, account_id: i64, lines: &[Line<'_>]) -> Result<Stored> {
    let runs: Vec<i64> = lines.iter().map(|l| l.run_id).collect();
    let seqs: Vec<i32> = lines.iter().map(|l| l.seq).collect();
    let kinds: Vec<i16> = lines.iter().map(|l| l.kind.as_i16()).collect();
    let told: Vec<bool> = lines.iter().map(|l| l.kind == l.receipt.kind).collect();
    let ats: Vec<Option<DateTime<Utc>>> = lines.iter().map(|l| l.receipt.at).collect();
    let details: Vec<Option<&str>> = lines.iter().map(|l| l.receipt.detail.as_deref()).collect();
    let rows: Vec<(i64, i32, i16, bool)> = sqlx::query_as(
        "-- receipts: insert
         with told as (
           select u.*, m.seq is null as unknown
           from unnest($3::bigint[], $4::int[], $5::smallint[], $6::bool[], $7::timestamptz[], $8::text[])
                as u(run_id, seq, kind, told, at, detail)
           -- Of this account: another one's secret says nothing here.
           left join (run r join campaign c on c.workspace_id = r.workspace_id and c.campaign_id = r.campaign_id)
             on r.workspace_id = $1 and r.run_id = u.run_id and c.account_id = $2
           left join recipient m on m.workspace_id = $1 and m.run_id = r.run_id and m.seq = u.seq
         ), stored as (
           insert into receipt (workspace_id, run_id, seq, kind, account_id, at, received_at, detail)
           select $1, run_id, seq, kind, $2, coalesce(at, clock_timestamp()), clock_timestamp(), detail
           from told where not unknown
           -- In one order, so that two of these at once cannot wait for each other; what was said before
           -- what follows from it.
           order by run_id, seq, kind, told desc
           on conflict do nothing returning run_id, seq, kind
         )
         select run_id, seq, kind, false as unknown from stored
         union all select run_id, seq, kind, true from told where unknown and told",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(&runs)
    .bind(&seqs)
    .bind(&kinds)
    .bind(&told)
    .bind(&ats)
    .bind(&details)
    .fetch_all(c)
    .await?;
    let unknown = rows.iter().filter(|r| r.3).count() as u64;
    let new = rows.into_iter().filter(|r| !r.3).map(|(run_id, seq, kind, _)| (run_id, seq, kind)).collect();
    Ok(Stored { new, unknown })
}

/// Settles the messages in doubt among those that were reported of. A failure says too that it was accepted.
async fn settle_all(
    store: &Store,
    c: &mut PgConnection,
    (workspace_id, account_id): (i32, i64),
    lines: &[Line<'_>],
    shard: i16,
) -> Result<i64> {
    let mut by_run: BTreeMap<i64, Vec<i32>> = BTreeMap::new();
    for line in lines {
        by_run.entry(line.run_id).or_default().push(line.seq);
    }
    // All of them are locked before the first is settled: retries before credit, as in every flush.
    let mut doubts = Vec::new();
    for (run_id, seqs) in by_run {
        let in_doubt: Vec<i32> = sqlx::query_scalar(
            "-- receipts: in doubt
             select seq from retry
             where workspace_id = $1 and run_id = $2 and seq = any ($3) and kind = 2 and account_id = $4
             order by seq for update",
        )
        .bind(workspace_id)
        .bind(run_id)
        .bind(&seqs)
        .bind(account_id)
        .fetch_all(&mut *c)
        .await?;
        doubts.extend((!in_doubt.is_empty()).then_some((run_id, in_doubt)));
    }
    let mut settled = 0;
    for (run_id, in_doubt) in doubts {
        let (class, detail) = (Class::Sent, Some(BY_RECEIPT));
        let verdict = Verdict { workspace_id, run_id, seqs: Some(&in_doubt), class, detail, shard };
        settled += settle(c, &store.ids, verdict).await?;
    }
    Ok(settled)
}

/// Adds what is new to the counters of its runs.
async fn count(c: &mut PgConnection, workspace_id: i32, new: &[(i64, i32, i16)], shard: i16) -> Result<()> {
    let mut runs: BTreeMap<i64, [i64; 4]> = BTreeMap::new();
    for (run_id, _, kind) in new {
        let kind = ReceiptKind::from_i16(*kind).ok_or_else(|| Error::Corrupt(format!("receipt kind {kind}")))?;
        let column = match kind {
            ReceiptKind::Sent => continue,
            ReceiptKind::Delivered => 0,
            ReceiptKind::Read => 1,
            ReceiptKind::Failed => 2,
            // Each answer of its own; a message may have several.
            _ => 3,
        };
        runs.entry(*run_id).or_default()[column] += 1;
    }
    for (run_id, [delivered, read, undelivered, replied]) in runs {
        sqlx::query(
            "-- receipts: count
             insert into progress as p (workspace_id, run_id, shard, delivered, read, undelivered, replied)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (workspace_id, run_id, shard) do update set
               delivered = p.delivered + excluded.delivered, read = p.read + excluded.read,
               undelivered = p.undelivered + excluded.undelivered, replied = p.replied + excluded.replied",
        )
        .bind(workspace_id)
        .bind(run_id)
        .bind(shard)
        .bind(delivered)
        .bind(read)
        .bind(undelivered)
        .bind(replied)
        .execute(&mut *c)
        .await?;
    }
    Ok(())
}

#[derive(FromRow)]
struct Early {
    workspace_id: i32,
    account_id: i64,
    provider_id: String,
    kind: i16,
    at: DateTime<Utc>,
    detail: Option<String>,
}

/// Takes receipts that came before their message was known, and forgets those of which none came within
/// an hour. Gives how many were taken.
///
/// # Errors
/// When the database fails.
pub async fn match_early(store: &Store) -> Result<u64> {
    let mut taken = 0;
    loop {
        let (found, new) = match_some(store).await?;
        taken += new;
        if found < EARLY_PAGE {
            break;
        }
    }
    sqlx::query(
        "-- match_early: forget
         delete from receipt_early e where e.received_at < clock_timestamp() - interval '1 hour'
           and not exists (select from sent_id s where s.workspace_id = e.workspace_id and s.account_id = e.account_id
                             and s.provider_id = e.provider_id)",
    )
    .execute(&store.pool)
    .await?;
    Ok(taken)
}

/// Takes a page of them; how many there were, and how many of them were new.
async fn match_some(store: &Store) -> Result<(usize, u64)> {
    let mut c = store.pool.acquire().await?;
    let found: Vec<Early> = sqlx::query_as(
        "-- match_early
         select e.workspace_id, e.account_id, e.provider_id, e.kind, e.at, e.detail
         from receipt_early e join sent_id s
           on s.workspace_id = e.workspace_id and s.account_id = e.account_id and s.provider_id = e.provider_id
         order by e.workspace_id, e.account_id limit $1",
    )
    .bind(EARLY_PAGE as i64)
    .fetch_all(&mut *c)
    .await?;
    let mut taken = 0;
    for group in found.chunk_by(|a, b| (a.workspace_id, a.account_id) == (b.workspace_id, b.account_id)) {
        let (workspace_id, account_id) = (group[0].workspace_id, group[0].account_id);
        let receipts: Result<Vec<Receipt>> = group.iter().map(Early::receipt).collect();
        taken += take(store, workspace_id, account_id, &receipts?).await?.new;
        let ids: Vec<&str> = group.iter().map(|e| e.provider_id.as_str()).collect();
        let kinds: Vec<i16> = group.iter().map(|e| e.kind).collect();
        sqlx::query(
            "-- match_early: taken
             delete from receipt_early e using unnest($3::text[], $4::smallint[]) as u(id, kind)
             where e.workspace_id = $1 and e.account_id = $2 and e.provider_id = u.id and e.kind = u.kind",
        )
        .bind(workspace_id)
        .bind(account_id)
        .bind(&ids)
        .bind(&kinds)
        .execute(&mut *c)
        .await?;
    }
    Ok((found.len(), taken))
}

impl Early {
    fn receipt(&self) -> Result<Receipt> {
        Ok(Receipt {
            about: About::ProviderId(self.provider_id.clone()),
            kind: ReceiptKind::from_i16(self.kind)
                .ok_or_else(|| Error::Corrupt(format!("receipt kind {}", self.kind)))?,
            at: Some(self.at),
            detail: self.detail.clone(),
        })
    }
}

/// One report of a message, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// The message.
    pub seq: i32,
    /// What became of it.
    pub kind: ReceiptKind,
    /// When.
    pub at: DateTime<Utc>,
    /// The provider's code, or a button's payload.
    pub detail: Option<String>,
}

/// What was reported of the messages from `lo` to `hi` − 1, in their order.
///
/// # Errors
/// When the database fails.
pub async fn of_messages(
    c: &mut PgConnection,
    workspace_id: i32,
    run_id: i64,
    (lo, hi): (i32, i32),
) -> Result<Vec<Reported>> {
    let rows: Vec<(i32, i16, DateTime<Utc>, Option<String>)> = sqlx::query_as(
        "-- of_messages
         select seq, kind, at, detail from receipt
         where workspace_id = $1 and run_id = $2 and seq >= $3 and seq < $4 order by seq, kind",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(lo)
    .bind(hi)
    .fetch_all(c)
    .await?;
    rows.into_iter()
        .map(|(seq, kind, at, detail)| {
            let kind = ReceiptKind::from_i16(kind).ok_or_else(|| Error::Corrupt(format!("receipt kind {kind}")))?;
            Ok(Reported { seq, kind, at, detail })
        })
        .collect()
}
