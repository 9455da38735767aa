//! What a worker reads to send the messages of a lease.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use fanfare_domain::message::Channel;
use fanfare_domain::price::Prices;
use fanfare_domain::state::{OnUnknown, RetryKind};
use fanfare_domain::window;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use super::claim::{Lease, Span};
use crate::pepper::{ERASED, ERASED_END, Pepper};
use crate::runs::RunArm;
use crate::{Error, Result, suppressions};

/// One frozen recipient, as the worker needs it.
#[derive(Debug, Clone, FromRow)]
pub struct Message {
    /// Number inside the run.
    pub seq: i32,
    /// Phone in E.164 or e-mail.
    pub address: String,
    /// For the price.
    pub country: Option<String>,
    /// How many times the price is due.
    pub units: i16,
    /// The template variant.
    pub variant: i16,
    /// Values of the run's variables, in order.
    pub params: Option<Json<Vec<serde_json::Value>>>,
    /// Suppressed since the audience was frozen, everywhere or for the account.
    pub suppressed: bool,
    /// The workspace suppresses erased addresses.
    any_erased: bool,
    /// Its run keeps hours.
    windowed: bool,
    /// It waited, and meanwhile there is proof that an earlier attempt was accepted.
    pub accepted: bool,
    /// From then on it is not sent, of one that came by itself and expires by itself.
    #[sqlx(default)]
    pub expires_at: Option<DateTime<Utc>>,
    /// When its window closes, of one that keeps hours.
    #[sqlx(default)]
    pub closes_at: Option<DateTime<Utc>>,
    /// When the recipient last wrote to the account, as far as [`heard`] was asked.
    #[sqlx(default)]
    pub heard_at: Option<DateTime<Utc>>,
}

/// The messages of a lease of an account, in its order, with suppression looked up afresh.
///
/// # Errors
/// [`Error::Corrupt`] when the frozen audience lacks one; else when the database fails.
pub async fn messages(
    c: &mut PgConnection,
    pepper: &Pepper,
    (workspace_id, account_id): (i32, i64),
    lease: &Lease,
) -> Result<Vec<Message>> {
    let mut rows: Vec<Message> = match &lease.span {
        Span::Range { lo, hi } => {
            sqlx::query_as(
                "-- messages of a range
                 select r.seq, r.address, r.country, r.units, r.variant, r.params,
                        s.address is not null or b.address is not null as suppressed, false as accepted,
                        (select exists (select from suppression e where e.workspace_id = $1
                                          and e.address >= $6 and e.address < $7)) as any_erased,
                        (select exists (select from flow f where f.workspace_id = $1 and f.account_id = $5
                                          and f.run_id = $2 and f.windowed)) as windowed
                 from recipient r
                 left join suppression s on s.workspace_id = r.workspace_id and s.address = r.address and s.account_id = 0
                 left join suppression b on b.workspace_id = r.workspace_id and b.address = r.address and b.account_id = $5
                 where r.workspace_id = $1 and r.run_id = $2 and r.seq >= $3 and r.seq < $4 order by r.seq",
            )
            .bind(workspace_id)
            .bind(lease.run_id)
            .bind(lo)
            .bind(hi)
            .bind(account_id)
            .bind(ERASED)
            .bind(ERASED_END)
            .fetch_all(&mut *c)
            .await?
        }
        Span::List { seqs, kinds, .. } => {
            let doubts: Vec<bool> = kinds.iter().map(|kind| *kind == RetryKind::Unknown).collect();
            sqlx::query_as(
                "-- messages of a list
                 select r.seq, r.address, r.country, r.units, r.variant, r.params,
                        s.address is not null or b.address is not null as suppressed,
                        (select exists (select from suppression e where e.workspace_id = $1
                                          and e.address >= $6 and e.address < $7)) as any_erased,
                        (select exists (select from flow f where f.workspace_id = $1 and f.account_id = $5
                                          and f.run_id = $2 and f.windowed)) as windowed,
                        -- A refusal that was answered may be reported too: that is no word of an acceptance.
                        exists (select from receipt c where c.workspace_id = $1 and c.run_id = $2 and c.seq = r.seq
                                  and (u.doubt or c.kind <> 4))
                          or exists (select from outcome o where o.workspace_id = $1 and o.run_id = $2 and o.seq = r.seq
                                       and o.class = 1) as accepted,
                        -- What came by itself is only ever claimed in lists.
                        (select e.expires_at from expiry e
                         where e.workspace_id = $1 and e.run_id = $2 and e.seq = r.seq) as expires_at
                 from unnest($3::int[], $4::bool[]) as u(seq, doubt)
                 join recipient r on r.workspace_id = $1 and r.run_id = $2 and r.seq = u.seq
                 left join suppression s on s.workspace_id = r.workspace_id and s.address = r.address and s.account_id = 0
                 left join suppression b on b.workspace_id = r.workspace_id and b.address = r.address and b.account_id = $5
                 order by r.seq",
            )
            .bind(workspace_id)
            .bind(lease.run_id)
            .bind(seqs)
            .bind(doubts)
            .bind(account_id)
            .bind(ERASED)
            .bind(ERASED_END)
            .fetch_all(&mut *c)
            .await?
        }
    };
    if rows.len() != lease.len() {
        return Err(Error::Corrupt(format!("lease {} has {} recipients of {}", lease.id, rows.len(), lease.len())));
    }
    if rows.first().is_some_and(|row| row.any_erased) {
        note_erased(c, pepper, workspace_id, &mut rows).await?;
    }
    if rows.first().is_some_and(|row| row.windowed) {
        note_closing(c, (workspace_id, lease.run_id), &mut rows).await?;
    }
    Ok(rows)
}

/// Notes when the windows of messages close. What has no slot waits for a place in flight, however long its provider
/// takes.
async fn note_closing(
    c: &mut PgConnection,
    (workspace_id, run_id): (i32, i64),
    messages: &mut [Message],
) -> Result<()> {
    let (Some(first), Some(last)) = (messages.first(), messages.last()) else { return Ok(()) };
    let windows: Vec<(i32, i32, DateTime<Utc>)> = sqlx::query_as(
        "-- messages: closing
         select lo, hi, closes_at from segment
         where workspace_id = $1 and run_id = $2 and lo <= $4 and hi > $3 and closes_at is not null",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(first.seq)
    .bind(last.seq)
    .fetch_all(c)
    .await?;
    for (lo, hi, closes_at) in windows {
        // They come in the order of their numbers.
        let (from, to) = (messages.partition_point(|m| m.seq < lo), messages.partition_point(|m| m.seq < hi));
        messages[from..to].iter_mut().for_each(|m| m.closes_at = Some(closes_at));
    }
    Ok(())
}

/// Notes which messages go to addresses that were erased before somebody named them again.
async fn note_erased(c: &mut PgConnection, pepper: &Pepper, workspace_id: i32, messages: &mut [Message]) -> Result<()> {
    let addresses: Vec<&str> = messages.iter().map(|m| m.address.as_str()).collect();
    let erased: HashSet<String> =
        suppressions::erased_among(c, pepper, workspace_id, &addresses).await?.into_iter().collect();
    for message in messages {
        // What was erased while it waited has nothing left that it could be sent to.
        message.suppressed |= message.address.starts_with(ERASED) || erased.contains(&message.address);
    }
    Ok(())
}

/// Notes on the messages of a lease when their recipients last wrote to the account. Who wrote before its
/// provider said of the message that the window is closed counts as one who never did.
///
/// # Errors
/// When the database fails.
pub async fn heard(
    c: &mut PgConnection,
    (workspace_id, account_id): (i32, i64),
    run_id: i64,
    messages: &mut [Message],
) -> Result<()> {
    let seqs: Vec<i32> = messages.iter().map(|m| m.seq).collect();
    let addresses: Vec<&str> = messages.iter().map(|m| m.address.as_str()).collect();
    let rows: Vec<(i32, DateTime<Utc>)> = sqlx::query_as(
        "-- heard
         select u.seq, v.heard_at
         from unnest($4::int[], $5::text[]) as u(seq, address)
         join conversation v on v.workspace_id = $1 and v.account_id = $2 and v.address = u.address
         where not exists (
           select from outcome o
           where o.workspace_id = $1 and o.run_id = $3 and o.seq = u.seq and o.account_id = $2 and o.at >= v.heard_at
             and starts_with(o.detail, $6))",
    )
    .bind(workspace_id)
    .bind(account_id)
    .bind(run_id)
    .bind(&seqs)
    .bind(&addresses)
    .bind(window::CLOSED)
    .fetch_all(c)
    .await?;
    for (seq, heard_at) in rows {
        // They come in the order of their numbers.
        if let Ok(found) = messages.binary_search_by_key(&seq, |m| m.seq) {
            messages[found].heard_at = Some(heard_at);
        }
    }
    Ok(())
}

/// What does not change while a run is sent.
#[derive(Debug, Clone)]
pub struct RunInfo {
    /// The run.
    pub run_id: i64,
    /// Name of its campaign.
    pub campaign: String,
    /// What it says.
    pub arms: Vec<RunArm>,
    /// Its campaign, which divides recipients among the arms.
    pub campaign_id: i64,
    /// The campaign's fallback, and the version of it that it sends.
    pub fallback: Option<(i64, i32)>,
    /// By which channel.
    pub channel: Channel,
    /// Names of the values in a message's params.
    pub variables: Vec<String>,
    /// The account's prices, frozen at launch.
    pub prices: Prices,
    /// The address it sends from for this campaign, unless the account's own.
    pub sender: Option<String>,
    /// When it began: no message of it is older.
    pub started_at: DateTime<Utc>,
    /// From then on what is unsent expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// What to do with a message in doubt.
    pub on_unknown: OnUnknown,
}

/// What a worker needs to know of a run and an account of it, once.
///
/// # Errors
/// When the run does not exist or the database fails.
pub async fn run_info(c: &mut PgConnection, (workspace_id, account_id): (i32, i64), run_id: i64) -> Result<RunInfo> {
    #[derive(FromRow)]
    struct Row {
        name: String,
        campaign_id: i64,
        #[sqlx(json)]
        arms: Vec<RunArm>,
        fallback_id: Option<i64>,
        fallback_version: Option<i32>,
        channel: i16,
        variables: Vec<String>,
        prices: Json<Prices>,
        sender: Option<String>,
        started_at: DateTime<Utc>,
        expires_at: Option<DateTime<Utc>>,
        on_unknown: i16,
    }
    let row: Row = sqlx::query_as(
        "-- run_info
         select case c.kind when 3 then ltrim(t.name) else c.name end as name, c.campaign_id, run_arms(r) as arms, c.fallback_id, r.fallback_version, t.channel, r.variables, ra.prices,
                ra.sender,
                coalesce(r.started_at, r.scheduled_for) as started_at, r.expires_at, c.on_unknown
         from run r
         join run_account ra on ra.workspace_id = r.workspace_id and ra.run_id = r.run_id and ra.account_id = $3
         join campaign c on c.workspace_id = r.workspace_id and c.campaign_id = r.campaign_id
         join template t on t.workspace_id = c.workspace_id and t.template_id = c.template_id
         where r.workspace_id = $1 and r.run_id = $2",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(account_id)
    .fetch_one(c)
    .await?;
    Ok(RunInfo {
        run_id,
        campaign: row.name,
        arms: row.arms,
        campaign_id: row.campaign_id,
        fallback: row.fallback_id.zip(row.fallback_version),
        channel: Channel::from_i16(row.channel).ok_or_else(|| Error::Corrupt(format!("channel {}", row.channel)))?,
        variables: row.variables,
        prices: row.prices.0,
        sender: row.sender,
        started_at: row.started_at,
        expires_at: row.expires_at,
        on_unknown: OnUnknown::from_i16(row.on_unknown)
            .ok_or_else(|| Error::Corrupt(format!("on_unknown {}", row.on_unknown)))?,
    })
}
