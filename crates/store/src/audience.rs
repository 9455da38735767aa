//! Audiences: reading the contacts of a list, and freezing them as the recipients of a run.

use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use fanfare_domain::cohort::Member;
use fanfare_domain::price::Prices;
use fanfare_domain::state::{OnMissing, RunKind};
use futures::TryStreamExt as _;
use serde::Deserialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row as _};
use tokio::sync::mpsc;

use crate::copy::{self, Rows};
use crate::error::ensure_affected;
use crate::follow_ups::members;
use crate::runs::RunArm;
use crate::{Error, Result, flows};

/// Contacts that are looked at to learn which attributes a list has.
const ATTRIBUTE_SAMPLE_CONTACTS: i64 = 10_000;

/// The contacts of a list, as a channel sees them.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Tenant.
    pub workspace_id: i32,
    /// The list.
    pub list_id: i64,
    /// Whether the channel writes to phones (else to e-mails).
    pub by_phone: bool,
    /// Whether attributes are wanted.
    pub attributes: bool,
    /// The accounts whose conversations are wanted, of a channel that writes to phones.
    pub heard_by: &'a [i64],
    /// The campaign, and the run that is being expanded, if contacts are to be told whom another run of the
    /// campaign reaches.
    pub reached_in: Option<(i64, Option<i64>)>,
}

/// A contact, borrowed from the row it was read in.
#[derive(Debug, Clone, Copy)]
pub struct Contact<'r> {
    /// Phone in E.164, else the e-mail.
    pub address: &'r str,
    /// The e-mail, where the address is a phone.
    pub email: Option<&'r str>,
    /// Full name.
    pub name: Option<&'r str>,
    /// ISO 3166 alpha-2.
    pub country: Option<&'r str>,
    /// BCP 47 tag.
    pub language: Option<&'r str>,
    /// A JSON object; `None` also when not asked for.
    pub attributes: Option<&'r str>,
    /// Whether the address for the channel is suppressed.
    pub suppressed: bool,
    /// Whether a contact with a smaller address has the same e-mail; false for phones.
    pub duplicate: bool,
    /// Whether another run of the campaign has reached it, or may still; false also when not asked for.
    pub reached: bool,
    /// Row of the file it came from, from 1.
    pub row_no: i32,
    /// The import of that file.
    pub import_id: i64,
    /// Since when they have written to every one of the accounts; `None` also when not asked for.
    pub heard_at: Option<DateTime<Utc>>,
}

impl<'r> Contact<'r> {
    pub(crate) fn of(row: &'r PgRow, heard: bool) -> Result<Self> {
        Ok(Self {
            address: row.try_get_unchecked(0)?,
            email: row.try_get_unchecked(1)?,
            name: row.try_get_unchecked(2)?,
            country: row.try_get_unchecked(3)?,
            language: row.try_get_unchecked(4)?,
            attributes: row.try_get_unchecked(5)?,
            suppressed: row.try_get_unchecked(6)?,
            duplicate: row.try_get_unchecked(7)?,
            row_no: row.try_get_unchecked(8)?,
            import_id: row.try_get_unchecked(9)?,
            reached: row.try_get_unchecked(10)?,
            heard_at: if heard { row.try_get_unchecked(11)? } else { None },
        })
    }
}

const BY_PHONE: &str = "-- each_contact by phone
    select c.address, c.email, c.name, c.country, c.language, case when $5 then c.attributes::text end,
           s.address is not null, false, c.row_no, c.import_id,
           case when $6::bigint is null then false else reached($1, $6, $7, c.address) end
    from contact c
    left join suppression s on s.workspace_id = c.workspace_id and s.address = c.address
    where c.workspace_id = $1 and c.list_id = $2 and c.address > $3 order by c.address limit $4";

const BY_PHONE_HEARD: &str = "-- each_contact by phone, heard
    select c.address, c.email, c.name, c.country, c.language, case when $5 then c.attributes::text end,
           s.address is not null, false, c.row_no, c.import_id,
           case when $6::bigint is null then false else reached($1, $6, $7, c.address) end, v.heard_at
    from contact c
    left join suppression s on s.workspace_id = c.workspace_id and s.address = c.address
    left join lateral (
      select min(v.heard_at) as heard_at from conversation v
      where v.workspace_id = c.workspace_id and v.account_id = any ($8) and v.address = c.address
      having count(*) = cardinality($8)) v on true
    where c.workspace_id = $1 and c.list_id = $2 and c.address > $3 order by c.address limit $4";

const BY_EMAIL: &str = "-- each_contact by e-mail
    select c.address, c.email, c.name, c.country, c.language, case when $5 then c.attributes::text end,
           s.address is not null,
           exists (select from contact d where d.workspace_id = $1 and d.list_id = $2
                     and d.email = m.email and d.address < c.address)
           or (c.email < c.address
               and exists (select from contact d where d.workspace_id = $1 and d.list_id = $2 and d.address = c.email)),
           c.row_no, c.import_id,
           case when $6::bigint is null then false else reached($1, $6, $7, m.email) end
    from contact c
    cross join lateral (select case when c.address like '+%' then c.email else c.address end as email) m
    left join suppression s on s.workspace_id = c.workspace_id and s.address = m.email
    where c.workspace_id = $1 and c.list_id = $2 and c.address > $3 order by c.address limit $4";

/// Calls `visit` with the contacts whose address comes after `after`, in the order of the address, at
/// most `limit` of them, until it breaks off. Says how many it was called with.
///
/// # Errors
/// When the database fails.
pub async fn each_contact(
    c: &mut PgConnection,
    source: Source<'_>,
    after: &str,
    limit: i64,
    mut visit: impl FnMut(Contact<'_>) -> ControlFlow<()>,
) -> Result<i64> {
    let heard = source.by_phone && !source.heard_by.is_empty();
    let query = match (source.by_phone, heard) {
        (true, false) => BY_PHONE,
        (true, true) => BY_PHONE_HEARD,
        (false, _) => BY_EMAIL,
    };
    let query = sqlx::query(query)
        .bind(source.workspace_id)
        .bind(source.list_id)
        .bind(after)
        .bind(limit)
        .bind(source.attributes)
        .bind(source.reached_in.map(|(campaign_id, _)| campaign_id))
        .bind(source.reached_in.and_then(|(_, run_id)| run_id));
    let mut rows = if heard { query.bind(source.heard_by) } else { query }.fetch(c);
    let mut visited = 0;
    while let Some(row) = rows.try_next().await? {
        visited += 1;
        if visit(Contact::of(&row, heard)?).is_break() {
            break;
        }
    }
    Ok(visited)
}

/// How many contacts the list has.
///
/// # Errors
/// When the database fails.
pub async fn size(c: &mut PgConnection, workspace_id: i32, list_id: i64) -> Result<i64> {
    let n = sqlx::query_scalar("-- size\n select count(*) from contact where workspace_id = $1 and list_id = $2")
        .bind(workspace_id)
        .bind(list_id)
        .fetch_one(c)
        .await?;
    Ok(n)
}

/// Names of the attributes that the first contacts of the list have.
///
/// # Errors
/// When the database fails.
pub async fn attribute_names(c: &mut PgConnection, workspace_id: i32, list_id: i64) -> Result<Vec<String>> {
    let names = sqlx::query_scalar(
        "-- attribute_names
         select distinct k from (
           select attributes from contact
           where workspace_id = $1 and list_id = $2 and attributes is not null order by address limit $3
         ) c, jsonb_object_keys(c.attributes) k order by k",
    )
    .bind(workspace_id)
    .bind(list_id)
    .bind(ATTRIBUTE_SAMPLE_CONTACTS)
    .fetch_all(c)
    .await?;
    Ok(names)
}

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
         where r.state in (2, 3) order by r.started_at, r.run_id",
    )
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
    /// The list.
    pub list_id: i64,
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
    /// Why there is a run.
    kind: i16,
    /// The run whose messages decide who its recipients are.
    pub parent_run_id: Option<i64>,
    /// The runs that one follows in turn.
    pub ancestors: Vec<i64>,
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

    /// To which of its parent's recipients it goes, if it goes to those.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for words that say nothing.
    pub fn cohort(&self) -> Result<Option<Vec<Member>>> {
        self.cohort.clone().map(members).transpose()
    }

    /// Whether those are left out whom another run of its kind reaches.
    pub fn is_resend(&self) -> bool {
        self.kind == RunKind::Resend.as_i16()
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
         select c.list_id, c.campaign_id, run_arms(r) as arms, c.fallback_id, r.fallback_version, r.variables, c.on_missing,
                c.once_per_contact,
                r.kind, r.parent_run_id, r.cohort, r.part_from, r.part_to, r.expanded_to, g.segment_no, g.seq,
                array(with recursive up as (
                        select p.parent_run_id as id from run p where p.workspace_id = $1 and p.run_id = r.parent_run_id
                        union all
                        select p.parent_run_id from run p join up on p.run_id = up.id where p.workspace_id = $1)
                      select id from up where id is not null) as ancestors,
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

/// Writes the segment of the `written` recipients before it.
///
/// # Errors
/// When they are not as many, the segment exists already, or the database fails.
pub async fn write_segment(
    c: &mut PgConnection,
    (workspace_id, run_id): (i32, i64),
    segment: &NewSegment,
    written: u64,
) -> Result<()> {
    ensure_affected("write_recipients", written, u64::from((segment.hi - segment.lo).unsigned_abs()))?;
    let left_out = segment.left_out;
    sqlx::query(
        "-- write_segment
         insert into segment (workspace_id, run_id, segment_no, lo, hi, next_seq, after_address,
           no_address, duplicate, suppressed, missing, reached, other_part, gone, answered)
         values ($1, $2, $3, $4, $5, $4, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
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
    .bind(left_out.reached)
    .bind(left_out.other_part)
    .bind(left_out.gone)
    .bind(left_out.answered)
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
