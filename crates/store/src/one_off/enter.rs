//! Entering a message is one transaction: a segment of the live run grows by a seq that counts as claimed, the
//! recipient is frozen, and the message waits in `retry` as one that was never tried, due at once, or when its
//! window opens.
//!
//! A run that keeps hours has a window for each zone, and a window is a property of a segment. So its numbers are
//! given out in blocks, each a segment of the recipients of one zone, and everything that holds of the segments of
//! bulk holds of them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use fanfare_domain::hours::Window;
use fanfare_domain::limits::ONE_OFF_BLOCK;
use sqlx::{FromRow, PgConnection, PgPool};

use super::{Standing, standing};
use crate::erase::lock_address;
use crate::suppressions::EVERYWHERE;
use crate::{Result, flows, hours};

/// A message to be entered.
#[derive(Debug, Clone, Copy)]
pub struct OneOff<'a> {
    /// The live run.
    pub run_id: i64,
    /// The campaign in which its key is unique; 0 for a message of none.
    pub campaign_id: i64,
    /// Its key, if it has one.
    pub key: Option<&'a str>,
    /// Hash of what it is to say.
    pub digest: &'a [u8],
    /// Phone in E.164 or e-mail.
    pub address: &'a str,
    /// What remains of that once it is erased.
    pub hash: &'a str,
    /// ISO 3166 alpha-2, for the price.
    pub country: Option<&'a str>,
    /// How many times the price is due.
    pub units: i16,
    /// The variant it gets.
    pub variant: i16,
    /// Values of the run's variables, as a JSON array.
    pub params: Option<&'a serde_json::Value>,
    /// Where the recipient lives, as far as anything of its own tells; for the hours of its campaign.
    pub zone: Option<Tz>,
    /// When it comes, by the clock that windows go by.
    pub now: DateTime<Utc>,
    /// From then on it is not sent any more.
    pub expires_at: Option<DateTime<Utc>>,
    /// What it costs through each account, micro-credits; in the order of their ids, in which flows are locked.
    pub costs: &'a [(i64, i64)],
}

/// What became of entering a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// It is due, at once or when its window opens.
    As(i32),
    /// Its key was used meanwhile.
    Used,
    /// The run takes none.
    Refused(Standing),
    /// Its address is suppressed, perhaps since it was judged.
    Suppressed,
}

/// Enters a message into a live run. It waits for its window, if the run keeps hours, and for the first of the
/// run's accounts that can send; of several that share the run by their shares, for the one that is behind.
///
/// # Errors
/// When the database fails; nothing is entered then.
pub async fn enter(pool: &PgPool, workspace_id: i32, m: OneOff<'_>) -> Result<Entered> {
    let mut tx = pool.begin().await?;
    // Before all else: whoever is erased meanwhile is so before this, which is refused then, or finds the message.
    lock_address(&mut tx, workspace_id, m.address, false).await?;
    if is_suppressed(&mut tx, workspace_id, m).await? {
        return Ok(Entered::Suppressed);
    }
    for (account_id, micro) in m.costs {
        // Flows before run.
        sqlx::query(
            "-- enter: flow
             update flow set reserve_each = $4
             where workspace_id = $1 and account_id = $2 and run_id = $3 and reserve_each < $4",
        )
        .bind(workspace_id)
        .bind(account_id)
        .bind(m.run_id)
        .bind(micro)
        .execute(&mut *tx)
        .await?;
    }
    // Whoever changes the run's state waits for this, and finds the message; or this waits, and enters none.
    let (state, paused_reason, stopped): (i16, Option<i16>, bool) = sqlx::query_as(
        "-- enter: run
         select state, paused_reason, expanded_at is not null from run where workspace_id = $1 and run_id = $2 for share",
    )
    .bind(workspace_id)
    .bind(m.run_id)
    .fetch_one(&mut *tx)
    .await?;
    let found = standing(state, paused_reason, stopped)?;
    let known: Vec<i64> = m.costs.iter().map(|(account_id, _)| *account_id).collect();
    // Through an account that was added meanwhile nobody knows what it costs.
    if found != Standing::Open || flows::any_but(&mut tx, (workspace_id, m.run_id), &known).await? {
        return Ok(Entered::Refused(found));
    }
    let place = place(&mut tx, workspace_id, m).await?;
    if !write(&mut tx, workspace_id, m, place).await? {
        return Ok(Entered::Used);
    }
    tx.commit().await?;
    Ok(Entered::As(place.seq))
}

async fn is_suppressed(c: &mut PgConnection, workspace_id: i32, m: OneOff<'_>) -> Result<bool> {
    let accounts: Vec<i64> = m.costs.iter().map(|(account_id, _)| *account_id).chain([EVERYWHERE]).collect();
    let found = sqlx::query_scalar(
        "-- enter: suppressed
         select exists (select from suppression where workspace_id = $1 and address in ($2, $3) and account_id = any ($4))",
    )
    .bind(workspace_id)
    .bind(m.address)
    .bind(m.hash)
    .bind(accounts)
    .fetch_one(c)
    .await?;
    Ok(found)
}

/// The number of a message, and when it may be sent.
#[derive(Debug, Clone, Copy, FromRow)]
struct Place {
    seq: i32,
    opens_at: Option<DateTime<Utc>>,
}

impl Place {
    /// How long the message waits before it is looked at: for its window, but no longer than for its expiry.
    fn wait(self, m: &OneOff<'_>) -> Duration {
        let until = self.opens_at.map(|opens_at| m.expires_at.map_or(opens_at, |expires_at| opens_at.min(expires_at)));
        // Negative where it opened before.
        until.and_then(|until| (until - m.now).to_std().ok()).unwrap_or_default()
    }
}

/// Gives the message its number: the next one of the run's segment, or where the run keeps hours, of a block of
/// the recipient's zone.
async fn place(c: &mut PgConnection, workspace_id: i32, m: OneOff<'_>) -> Result<Place> {
    if let Some(place) = next_number(c, workspace_id, m.run_id).await? {
        return Ok(place);
    }
    // As they are now: whoever changes them waits for this message, or this has waited for them.
    let rules = hours::of_run(c, workspace_id, m.run_id).await?;
    let zone = m.zone.unwrap_or(rules.zone);
    let window = rules.window_at(zone, m.now);
    loop {
        if let Some(place) = next_of_block(c, (workspace_id, m.run_id), zone, window, m.now).await? {
            return Ok(place);
        }
        // Should somebody else have opened one meanwhile, this opens none.
        open_block(c, (workspace_id, m.run_id), zone, window).await?;
    }
}

/// The next number of a run that keeps no hours; none for one that does.
async fn next_number(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<Option<Place>> {
    let place = sqlx::query_as(
        "-- enter: next number
         update segment set hi = hi + 1, next_seq = next_seq + 1
         where workspace_id = $1 and run_id = $2 and segment_no = 0
           and not exists (select from flow f where f.workspace_id = $1 and f.run_id = $2 and f.windowed)
         returning hi - 1 as seq, null::timestamptz as opens_at",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_optional(c)
    .await?;
    Ok(place)
}

/// The next number of the newest block of a zone; none if that is full. One that is shut gets its next window
/// now, so that nothing is due in it.
async fn next_of_block(
    c: &mut PgConnection,
    (workspace_id, run_id): (i32, i64),
    zone: Tz,
    window: Window,
    now: DateTime<Utc>,
) -> Result<Option<Place>> {
    let place = sqlx::query_as(
        "-- enter: next of block
         update segment g set hi = g.hi + 1, next_seq = g.next_seq + 1,
           opens_at = case when g.closes_at <= $4 + interval '6 seconds' then $5 else g.opens_at end,
           closes_at = case when g.closes_at <= $4 + interval '6 seconds' then $6 else g.closes_at end
         where g.workspace_id = $1 and g.run_id = $2 and g.hi < g.lo + $7 and g.segment_no = (
           select max(o.segment_no) from segment o where o.workspace_id = $1 and o.run_id = $2 and o.zone = $3)
         returning g.hi - 1 as seq, g.opens_at",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(zone.name())
    .bind(now)
    .bind(window.opens)
    .bind(window.closes)
    .bind(ONE_OFF_BLOCK)
    .fetch_optional(c)
    .await?;
    Ok(place)
}

/// Opens a block of a zone behind all others, unless somebody else does, or it has one with a number to give.
async fn open_block(c: &mut PgConnection, (workspace_id, run_id): (i32, i64), zone: Tz, window: Window) -> Result<()> {
    sqlx::query(
        "-- enter: open block
         insert into segment (workspace_id, run_id, segment_no, lo, hi, next_seq, after_address,
           no_address, duplicate, suppressed, missing, zone, opens_at, closes_at)
         select $1, $2, n.segment_no, n.lo, n.lo, n.lo, n.lo::text, 0, 0, 0, 0, $3, $4, $5
         from (select max(g.segment_no) + 1 as segment_no, max(case when g.zone is null then g.hi else g.lo + $6 end) as lo
               from segment g where g.workspace_id = $1 and g.run_id = $2
               having not coalesce(bool_or(g.zone = $3 and g.hi < g.lo + $6), false)) n
         on conflict do nothing",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(zone.name())
    .bind(window.opens)
    .bind(window.closes)
    .bind(ONE_OFF_BLOCK)
    .execute(c)
    .await?;
    Ok(())
}

/// Writes the message's rows; false if its key is used.
async fn write(c: &mut PgConnection, workspace_id: i32, m: OneOff<'_>, place: Place) -> Result<bool> {
    let is_new = sqlx::query_scalar(
        "-- enter
         with kept as (
           insert into one_off (workspace_id, campaign_id, key, run_id, seq, digest, at)
           select $1, $3, $4, $2, $11, $5, clock_timestamp() where $4 is not null
           on conflict do nothing returning seq
         ), frozen as (
           insert into recipient (workspace_id, seq, run_id, units, variant, address, country, params)
           values ($1, $11, $2, $6, $7, $8, $9, $10)
         ), expiring as (
           insert into expiry (workspace_id, run_id, seq, expires_at)
           select $1, $2, $11, $13 where $13::timestamptz is not null
         ), through as (
           select f.account_id from flow f
           where f.workspace_id = $1 and f.run_id = $2
           order by not can_send(f, (extract(epoch from clock_timestamp()) * 1000000)::bigint),
                    case when f.sharing = 2 then f.claimed::numeric / f.share end, f.rank limit 1
         ), waiting as (
           insert into retry (workspace_id, run_id, seq, attempts, kind, account_id, due_at, reserved, not_before)
           select $1, $2, $11, 0, 3, t.account_id, clock_timestamp() + make_interval(secs => $12), 0,
                  case when $12 > 0 then clock_timestamp() end from through t
           returning seq
         )
         select $4 is null or exists (select from kept) from waiting w",
    )
    .bind(workspace_id)
    .bind(m.run_id)
    .bind(m.campaign_id)
    .bind(m.key)
    .bind(m.digest)
    .bind(m.units)
    .bind(m.variant)
    .bind(m.address)
    .bind(m.country)
    .bind(m.params)
    .bind(place.seq)
    .bind(place.wait(&m).as_secs_f64())
    .bind(m.expires_at)
    .fetch_one(c)
    .await?;
    Ok(is_new)
}
