//! Audiences: reading the contacts of lists, and freezing them as the recipients of a run.

mod filter;
pub mod pick;
mod source;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use fanfare_domain::cohort::Member;
use fanfare_domain::hours::Window;
use fanfare_domain::price::Prices;
use fanfare_domain::state::{Category, OnMissing, PausedReason};
use serde::Deserialize;
use sqlx::{FromRow, PgConnection};
use tokio::sync::mpsc;

use crate::copy::{self, Rows};
use crate::error::ensure_affected;
use crate::follow_ups::members;
use crate::runs::RunArm;
use crate::{Error, Result, flows};

pub use filter::{Barred, Cap, Filter, Whom, one};
pub use source::{Contact, Source, all_attribute_names, attribute_names, each_contact, explain, has_attribute, size};

/// Runs whose audience is not complete, those that started first in front, in every workspace. Forgets
/// those that were cancelled before.
///
/// # Errors
/// When the database fails.
pub async fn incomplete(c: &mut PgConnection) -> Result<Vec<(i32, i64)>> {
    sqlx::query(
        "-- incomplete: forget
         delete from expansion e using (
           select e.workspace_id, e.run_id from expansion e
           join run r on r.workspace_id = e.workspace_id and r.run_id = e.run_id
           where r.state > 3 for update of e skip locked
         ) gone where e.workspace_id = gone.workspace_id and e.run_id = gone.run_id",
    )
    .execute(&mut *c)
    .await?;
    let runs = sqlx::query_as(
        "-- incomplete
         select r.workspace_id, r.run_id from expansion e
         join run r on r.workspace_id = e.workspace_id and r.run_id = e.run_id
         where r.state in (2, 3) and r.paused_reason is distinct from $1 order by r.started_at, r.run_id",
    )
    // Its audience is that of its start.
    .bind(PausedReason::Late.as_i16())
    .fetch_all(c)
    .await?;
    Ok(runs)
}

/// Takes the run's expansion for this transaction. False when another scheduler has it, or when the
/// audience is complete.
///
/// # Errors
/// When the database fails.
pub async fn take(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<bool> {
    let taken: Option<i64> = sqlx::query_scalar(
        "-- take
         select run_id from expansion where workspace_id = $1 and run_id = $2 for update skip locked",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_optional(c)
    .await?;
    Ok(taken.is_some())
}

/// Takes the expansions of all runs of a campaign for this transaction: of runs that leave out whom another
/// one reaches, only one is expanded at a time, so that each sees what the others hold. False when another
/// scheduler has one of them.
///
/// # Errors
/// When the database fails.
pub async fn take_all(c: &mut PgConnection, workspace_id: i32, campaign_id: i64) -> Result<bool> {
    let taken = sqlx::query(
        "-- take_all
         select from expansion e join run r on r.workspace_id = e.workspace_id and r.run_id = e.run_id
         where e.workspace_id = $1 and r.campaign_id = $2 for update of e skip locked",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .execute(&mut *c)
    .await?;
    let all: i64 = sqlx::query_scalar(
        "-- take_all: how many
         select count(*) from expansion e join run r on r.workspace_id = e.workspace_id and r.run_id = e.run_id
         where e.workspace_id = $1 and r.campaign_id = $2",
    )
    .bind(workspace_id)
    .bind(campaign_id)
    .fetch_one(c)
    .await?;
    Ok(taken.rows_affected() == all.unsigned_abs())
}

/// An account of a run with its frozen prices.
#[derive(Debug, Clone, Deserialize)]
pub struct Priced {
    /// The account.
    pub account_id: i64,
    /// What its messages cost.
    pub prices: Prices,
}

/// What a run is expanded from, and how far it is.
#[derive(Debug, Clone, FromRow)]
pub struct Unfinished {
    /// Its lists.
    pub lists: Vec<i64>,
    /// The lists that it leaves out.
    pub minus: Vec<i64>,
    /// Which contacts of the lists are meant.
    pub audience: Option<String>,
    category: i16,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// Its accounts, in their order.
    #[sqlx(json)]
    pub accounts: Vec<Priced>,
    /// Its campaign.
    pub campaign_id: i64,
    /// What it says.
    #[sqlx(json)]
    pub arms: Vec<RunArm>,
    /// The campaign's fallback.
    pub fallback_id: Option<i64>,
    /// The frozen version of it.
    pub fallback_version: Option<i32>,
    /// The frozen variables, in order.
    pub variables: Vec<String>,
    on_missing: i16,
    /// Whether a contact whom another run of the campaign reaches is left out.
    pub once_per_contact: bool,
    /// The run whose messages decide who its recipients are.
    pub parent_run_id: Option<i64>,
    /// The runs that one follows in turn.
    pub ancestors: Vec<i64>,
    /// Of a resend: the resends since its parent, of that or of what that resends itself; this one among them.
    pub resends: Vec<i64>,
    cohort: Option<Vec<String>>,
    part_from: Option<i64>,
    part_to: Option<i64>,
    /// Last contact address that was expanded; of a cohort, one past the last of the parent's seqs.
    pub expanded_to: Option<String>,
    /// Number of the next segment.
    pub segment_no: i32,
    /// The next seq.
    pub seq: i32,
}

impl Unfinished {
    /// The campaign's policy.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a number that is no policy.
    pub fn on_missing(&self) -> Result<OnMissing> {
        OnMissing::from_i16(self.on_missing).ok_or_else(|| Error::Corrupt(format!("on_missing {}", self.on_missing)))
    }

    /// What the campaign is for.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a number that is no category.
    pub fn category(&self) -> Result<Category> {
        Category::from_i16(self.category).ok_or_else(|| Error::Corrupt(format!("category {}", self.category)))
    }

    /// To which of its parent's recipients it goes, if it goes to those.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for words that say nothing.
    pub fn cohort(&self) -> Result<Option<Vec<Member>>> {
        self.cohort.clone().map(members).transpose()
    }

    /// Whether an address with this point (`domain::split`) is in its part.
    pub fn has(&self, point: impl FnOnce() -> u32) -> bool {
        self.part_from.zip(self.part_to).is_none_or(|(from, to)| (from..to).contains(&i64::from(point())))
    }
}

/// What the run is expanded from; `None` when it is neither running nor paused. To be asked in a
/// statement of its own after [`take`]: one that waited for the lock would see what was before.
///
/// # Errors
/// When the database fails.
pub async fn unfinished(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> Result<Option<Unfinished>> {
    let row = sqlx::query_as(
        "-- unfinished
         select array_prepend(c.list_id, array(
                  select l.list_id from campaign_list l where l.workspace_id = $1 and l.campaign_id = c.campaign_id
                    and not l.minus order by l.rank)) as lists,
                array(select l.list_id from campaign_list l where l.workspace_id = $1 and l.campaign_id = c.campaign_id
                    and l.minus order by l.rank) as minus,
                c.audience, c.category, coalesce(r.started_at, r.scheduled_for) as started_at, c.campaign_id,
                run_arms(r) as arms, c.fallback_id, r.fallback_version, r.variables, c.on_missing,
                c.once_per_contact,
                r.parent_run_id, r.cohort, r.part_from, r.part_to, r.expanded_to, g.segment_no, g.seq,
                array(with recursive up as (
                        select p.parent_run_id as id from run p where p.workspace_id = $1 and p.run_id = r.parent_run_id
                        union all
                        select p.parent_run_id from run p join up on p.run_id = up.id where p.workspace_id = $1)
                      select id from up where id is not null) as ancestors,
                array(with recursive up as (
                        select p.run_id, p.kind, p.parent_run_id from run p
                        where p.workspace_id = $1 and p.run_id = r.parent_run_id
                        union all
                        select p.run_id, p.kind, p.parent_run_id from run p
                        join up on p.run_id = up.parent_run_id and up.kind = 4 where p.workspace_id = $1
                      ), tree as (
                        select run_id from up where kind <> 4
                        union all
                        select p.run_id from run p join tree on p.parent_run_id = tree.run_id
                        where p.workspace_id = $1 and p.campaign_id = r.campaign_id and p.kind = 4)
                      select run_id from tree where r.kind = 4 and run_id > r.parent_run_id) as resends,
                (select jsonb_agg(jsonb_build_object('account_id', a.account_id, 'prices', a.prices) order by a.rank)
                 from run_account a where a.workspace_id = $1 and a.run_id = $2) as accounts
         from run r
         join campaign c on c.workspace_id = r.workspace_id and c.campaign_id = r.campaign_id
         cross join lateral (
           select coalesce(max(segment_no) + 1, 0) as segment_no, coalesce(max(hi), 0) as seq from segment
           where workspace_id = $1 and run_id = $2) g
         where r.workspace_id = $1 and r.run_id = $2 and r.state in (2, 3) and r.expanded_at is null",
    )
    .bind(workspace_id)
    .bind(run_id)
    .fetch_optional(c)
    .await?;
    Ok(row)
}

/// Contacts of a source range that are not written to, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// No address for the channel.
    pub no_address: i32,
    /// The mailbox of another contact too.
    pub duplicate: i32,
    /// Suppressed.
    pub suppressed: i32,
    /// A variable is missing, or the text does not fit the contact's values.
    pub missing: i32,
    /// Another run of the campaign has reached it, or may.
    pub reached: i32,
    /// On a list that is left out.
    pub minus: i32,
    /// The expression does not hold for it.
    pub outside: i32,
    /// Has not opted in.
    pub no_consent: i32,
    /// Has had as many marketing messages as a contact may.
    pub capped: i32,
    /// They belong to the other part of the campaign.
    pub other_part: i32,
    /// No list of the campaign has them any more.
    pub gone: i32,
    /// They have answered.
    pub answered: i32,
}

/// A segment to be written.
#[derive(Debug, Clone)]
pub struct NewSegment {
    /// Its number.
    pub segment_no: i32,
    /// Its first seq.
    pub lo: i32,
    /// One past its last seq.
    pub hi: i32,
    /// Its source range begins after this address; empty for the first.
    pub after_address: String,
    /// Contacts of the source range that were left out.
    pub left_out: LeftOut,
    /// The wave of its recipients, of a run with windows.
    pub wave: Option<Wave>,
}

/// A wave, and when it may be sent to.
#[derive(Debug, Clone, Copy)]
pub struct Wave {
    /// Its number.
    pub wave: i16,
    /// Where its recipients live.
    pub zone: Tz,
    /// When they may be sent to first.
    pub window: Window,
}

/// Appends a recipient to the rows of a segment; `params` is a JSON array.
pub fn push_recipient(
    rows: &mut Rows,
    (workspace_id, run_id, seq): (i32, i64, i32),
    (units, variant): (i16, i16),
    (address, country): (&str, Option<&str>),
    params: Option<&str>,
) {
    rows.row(8).i32(workspace_id).i32(seq).i64(run_id).i16(units).i16(variant);
    rows.text(Some(address)).text(country).jsonb(params);
}

/// Writes recipients, which come in chunks as put together by [`push_recipient`], and says how many.
///
/// # Errors
/// When the database fails.
pub async fn write_recipients(c: &mut PgConnection, chunks: mpsc::UnboundedReceiver<Vec<u8>>) -> Result<u64> {
    copy::stream(
        c,
        "-- write_recipients
         copy recipient (workspace_id, seq, run_id, units, variant, address, country, params)
         from stdin (format binary)",
        chunks,
    )
    .await
}

/// Writes the segments of the `written` recipients before them.
///
/// # Errors
/// When they are not as many, a segment exists already, or the database fails.
pub async fn write_segments(
    c: &mut PgConnection,
    key: (i32, i64),
    segments: &[NewSegment],
    written: u64,
) -> Result<()> {
    let covered: u64 = segments.iter().map(|s| u64::from((s.hi - s.lo).unsigned_abs())).sum();
    ensure_affected("write_recipients", written, covered)?;
    for segment in segments {
        write_segment(c, key, segment).await?;
    }
    Ok(())
}

async fn write_segment(c: &mut PgConnection, (workspace_id, run_id): (i32, i64), segment: &NewSegment) -> Result<()> {
    let (left_out, wave) = (segment.left_out, segment.wave);
    sqlx::query(
        "-- write_segment
         insert into segment (workspace_id, run_id, segment_no, lo, hi, next_seq, after_address,
           no_address, duplicate, suppressed, missing, minus, outside, no_consent, capped, other_part, gone, answered,
           wave, zone, opens_at, closes_at, reached)
         values ($1, $2, $3, $4, $5, $4, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
           $19, $20, $21, $22)",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(segment.segment_no)
    .bind(segment.lo)
    .bind(segment.hi)
    .bind(&segment.after_address)
    .bind(left_out.no_address)
    .bind(left_out.duplicate)
    .bind(left_out.suppressed)
    .bind(left_out.missing)
    .bind(left_out.minus)
    .bind(left_out.outside)
    .bind(left_out.no_consent)
    .bind(left_out.capped)
    .bind(left_out.other_part)
    .bind(left_out.gone)
    .bind(left_out.answered)
    .bind(wave.map_or(0, |w| w.wave))
    .bind(wave.map(|w| w.zone.name()))
    .bind(wave.map(|w| w.window.opens))
    .bind(wave.and_then(|w| w.window.closes))
    .bind(left_out.reached)
    .execute(c)
    .await?;
    Ok(())
}

/// Notes how far the run is expanded, and the dearest message so far through each account, micro-credits. With `complete_at`
/// the audience is complete, and the run is taken from the list of those to be expanded. False when the
/// run was cancelled meanwhile: the transaction must then be rolled back.
///
/// # Errors
/// When the database fails.
pub async fn advance(
    c: &mut PgConnection,
    (workspace_id, run_id): (i32, i64),
    expanded_to: Option<&str>,
    dearest: &[(i64, i64)],
    complete_at: Option<DateTime<Utc>>,
) -> Result<bool> {
    // Flows before run: the order of the claim and of a pause.
    flows::lock(c, workspace_id, run_id).await?;
    // A person may have added an account meanwhile, whose prices these recipients were not held to.
    let known: Vec<i64> = dearest.iter().map(|(account_id, _)| *account_id).collect();
    if flows::any_but(c, (workspace_id, run_id), &known).await? {
        return Ok(false);
    }
    for (account_id, micro) in dearest {
        sqlx::query(
            "-- advance: flow
             update flow set reserve_each = $4
             where workspace_id = $1 and account_id = $2 and run_id = $3 and reserve_each < $4",
        )
        .bind(workspace_id)
        .bind(account_id)
        .bind(run_id)
        .bind(micro)
        .execute(&mut *c)
        .await?;
    }
    let done = sqlx::query(
        "-- advance
         update run set expanded_to = $3, expanded_at = $4 where workspace_id = $1 and run_id = $2 and state in (2, 3)",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(expanded_to)
    .bind(complete_at)
    .execute(&mut *c)
    .await?;
    if complete_at.is_some() {
        sqlx::query("-- advance: complete\n delete from expansion where workspace_id = $1 and run_id = $2")
            .bind(workspace_id)
            .bind(run_id)
            .execute(c)
            .await?;
    }
    Ok(done.rows_affected() == 1)
}
