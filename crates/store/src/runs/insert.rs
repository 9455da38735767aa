//! Inserting runs: what is frozen of a campaign when a run of it is made.

use chrono::{DateTime, Utc};
use fanfare_domain::cohort::Member;
use fanfare_domain::price::Prices;
use fanfare_domain::state::{PausedReason, RunKind, RunState, Sharing};
use serde::Deserialize;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use crate::campaigns::Campaign;
use crate::{Error, Result, flows, transitions};

/// A run to be inserted.
#[derive(Debug, Clone)]
pub struct NewRun<'a> {
    /// Its id.
    pub run_id: i64,
    /// Its campaign.
    pub campaign_id: i64,
    /// Who makes it: a person, or a role of the program.
    pub actor: &'a str,
    /// Its accounts, in their order; at least one.
    pub accounts: &'a [NewRunAccount<'a>],
    /// How they divide it.
    pub sharing: Sharing,
    /// To which of its parent's recipients.
    pub cohort: &'a [Member],
    /// Points (`domain::split`) of those it goes to, from and to; `None` = to all.
    pub part: Option<(i64, i64)>,
    /// What is expected of it.
    pub forecast: Option<serde_json::Value>,
    /// Why it starts paused, if it does.
    pub held: Option<PausedReason>,
    /// When it is to start.
    pub scheduled_for: DateTime<Utc>,
    /// Whether it starts at once; else it waits for `scheduled_for`.
    pub starts_now: bool,
    /// Why there is one.
    pub kind: RunKind,
    /// The run whose messages decide who its recipients are.
    pub parent_run_id: Option<i64>,
    /// Of a follow-up: which of the campaign's.
    pub step: Option<i16>,
    /// What it says; at least one.
    pub arms: &'a [RunArm],
    /// The version of the campaign's fallback, if it has one.
    pub fallback_version: Option<i32>,
    /// The template's variables, in order.
    pub variables: &'a [String],
    /// Contacts of the list.
    pub planned: i64,
    /// Its share of each account.
    pub weight: i32,
    /// From then on what is unsent expires; set at the start of a run that waits.
    pub expires_at: Option<DateTime<Utc>>,
}

/// What a run says, or one of the variants that it tries against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, FromRow)]
pub struct RunArm {
    /// The template.
    pub template_id: i64,
    /// The frozen version of it.
    pub version: i32,
    /// Its part of the recipients beside the others' weights.
    pub weight: i32,
}

/// An account of a run to be inserted.
#[derive(Debug, Clone, Copy)]
pub struct NewRunAccount<'a> {
    /// The account.
    pub account_id: i64,
    /// Its part of the messages, where the run is divided by shares.
    pub share: Option<i32>,
    /// The address it sends from, unless the account's own.
    pub sender: Option<&'a str>,
    /// What its messages cost.
    pub prices: &'a Prices,
    /// Its dearest message, micro-credits.
    pub reserve_each: i64,
}

impl<'a> NewRun<'a> {
    /// A run of this campaign that starts at once, with what the campaign says of it.
    pub fn of(campaign: &Campaign, run_id: i64, actor: &'a str, now: DateTime<Utc>) -> Self {
        Self {
            run_id,
            campaign_id: campaign.campaign_id,
            actor,
            accounts: &[],
            sharing: campaign.sharing,
            scheduled_for: now,
            starts_now: true,
            kind: RunKind::Launch,
            parent_run_id: None,
            step: None,
            arms: &[],
            cohort: &[],
            part: None,
            forecast: None,
            held: None,
            fallback_version: campaign.fallback.as_ref().map(|f| f.version),
            variables: &[],
            planned: 0,
            weight: campaign.weight,
            expires_at: campaign.expires_at(now),
        }
    }
}

/// Inserts a run, its accounts, its flows and the mark that its audience is to be expanded; of a live run
/// instead the segment that its messages are to be entered into.
///
/// # Errors
/// When the campaign has a run of that time already, or the database fails.
pub async fn insert(c: &mut PgConnection, workspace_id: i32, run: &NewRun<'_>) -> Result<()> {
    let state = match (run.starts_now, run.held) {
        (false, _) => RunState::Scheduled,
        (true, None) => RunState::Running,
        (true, Some(_)) => RunState::Paused,
    };
    let done = sqlx::query(
        "-- insert
         insert into run (workspace_id, run_id, campaign_id, scheduled_for, variables, planned,
           state, expires_at, started_at, fallback_version, kind, parent_run_id, step, cohort, part_from, part_to, forecast,
           paused_reason)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
         on conflict do nothing",
    )
    .bind(workspace_id)
    .bind(run.run_id)
    .bind(run.campaign_id)
    .bind(run.scheduled_for)
    .bind(run.variables)
    .bind(run.planned)
    .bind(state.as_i16())
    .bind(run.expires_at)
    .bind(run.starts_now.then_some(run.scheduled_for))
    .bind(run.fallback_version)
    .bind(run.kind.as_i16())
    .bind(run.parent_run_id)
    .bind(run.step)
    .bind((!run.cohort.is_empty()).then(|| run.cohort.iter().map(Member::to_string).collect::<Vec<_>>()))
    .bind(run.part.map(|part| part.0))
    .bind(run.part.map(|part| part.1))
    .bind(&run.forecast)
    .bind(run.held.map(PausedReason::as_i16))
    .execute(&mut *c)
    .await?;
    if done.rows_affected() == 0 {
        let at = run.scheduled_for;
        return Err(Error::Conflict(format!("the campaign has such a run of {at} already: choose another time")));
    }
    for (number, arm) in (0..).zip(run.arms) {
        insert_arm(c, workspace_id, run.run_id, number, arm).await?;
    }
    for (rank, account) in (0..).zip(run.accounts) {
        insert_account(c, workspace_id, run, rank, account).await?;
    }
    // As the rate is now: it may have been set since the campaign was read.
    flows::pace(c, workspace_id, run.run_id).await?;
    let sql = match run.kind {
        // It grows, and is claimed already as far as it goes. Messages that keep hours are entered into others.
        RunKind::Live => {
            "-- insert: segment
             insert into segment (workspace_id, run_id, segment_no, lo, hi, next_seq, after_address,
               no_address, duplicate, suppressed, missing) values ($1, $2, 0, 0, 0, 0, '', 0, 0, 0, 0)"
        }
        _ => "-- insert: expansion\n insert into expansion (workspace_id, run_id) values ($1, $2)",
    };
    sqlx::query(sql).bind(workspace_id).bind(run.run_id).execute(&mut *c).await?;
    if state == RunState::Running {
        flows::open(c, workspace_id, run.run_id).await?;
    }
    transitions::of_run(c, (workspace_id, run.run_id), (None, state), run.actor, run.held.map(PausedReason::as_str))
        .await
}

async fn insert_arm(c: &mut PgConnection, workspace_id: i32, run_id: i64, number: i16, arm: &RunArm) -> Result<()> {
    sqlx::query(
        "-- insert: arm
         insert into run_arm (workspace_id, run_id, arm, template_id, template_version, weight)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(workspace_id)
    .bind(run_id)
    .bind(number)
    .bind(arm.template_id)
    .bind(arm.version)
    .bind(arm.weight)
    .execute(c)
    .await?;
    Ok(())
}

async fn insert_account(
    c: &mut PgConnection,
    workspace_id: i32,
    run: &NewRun<'_>,
    rank: i16,
    account: &NewRunAccount<'_>,
) -> Result<()> {
    sqlx::query(
        "-- insert: account
         insert into run_account (workspace_id, run_id, account_id, rank, share, sender, prices)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(workspace_id)
    .bind(run.run_id)
    .bind(account.account_id)
    .bind(rank)
    .bind(account.share)
    .bind(account.sender)
    .bind(Json(account.prices))
    .execute(&mut *c)
    .await?;
    let sharing = if run.accounts.len() == 1 { 0 } else { run.sharing.as_i16() };
    sqlx::query(
        "-- insert: flow
         insert into flow (workspace_id, account_id, run_id, weight, runnable, reserve_each, sharing, rank, share, lane, windowed)
         values ($1, $2, $3, $4, false, $5, $6, $7, $8, $9, is_windowed($1, $10))",
    )
    .bind(workspace_id)
    .bind(account.account_id)
    .bind(run.run_id)
    .bind(run.weight)
    .bind(account.reserve_each)
    .bind(sharing)
    .bind(rank)
    .bind(account.share.unwrap_or(1))
    .bind(i16::from(run.kind != RunKind::Live))
    .bind(run.campaign_id)
    .execute(c)
    .await?;
    Ok(())
}
