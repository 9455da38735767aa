//! What a person does with a schedule: pausing, resuming, ending it, giving the campaign another one.

use chrono::{DateTime, Utc};
use fanfare_domain::state::{CampaignKind, ScheduleState, TickVerdict};
use fanfare_store::campaigns::Campaign;
use fanfare_store::schedules::{self, NewSchedule, Schedule, Tick};
use fanfare_store::tx::run_tx;
use fanfare_store::{PgConnection, Store, campaigns, hours, transitions};

use crate::{Error, Result};

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Its ticks are skipped until it is resumed; what waits in its queue waits on.
    Pause,
    /// Its ticks fire again. Those that came meanwhile are noted as skipped.
    Resume,
    /// No tick fires any more.
    End,
}

/// Changes the schedule of a campaign. Runs that are there go on.
///
/// # Errors
/// [`Error::State`] when the campaign has no schedule, or it is in no state for this; else when the campaign
/// does not exist or the database fails.
pub async fn change(store: &Store, workspace_id: i32, campaign: &str, change: Change) -> Result<ScheduleState> {
    let done = run_tx("change schedule", || try_change(store, workspace_id, campaign, change)).await?;
    let state = done.map_err(Error::State)?;
    tracing::info!(workspace_id, %state, "schedule changed");
    Ok(state)
}

async fn try_change(
    store: &Store,
    workspace_id: i32,
    campaign: &str,
    change: Change,
) -> fanfare_store::Result<std::result::Result<ScheduleState, String>> {
    let mut tx = store.pool.begin().await?;
    let campaign_id = campaigns::get(&mut tx, workspace_id, campaign).await?.campaign_id;
    schedules::lock(&mut tx, workspace_id, campaign_id).await?;
    let Some(schedule) = schedules::get(&mut tx, workspace_id, campaign_id).await? else {
        return Ok(Err(format!("campaign {campaign:?} has no schedule: it runs when it is launched")));
    };
    let (key, now) = ((workspace_id, campaign_id), store.clock.now());
    let state = match (change, schedule.state) {
        (Change::Pause, ScheduleState::Active) => {
            schedules::advance(&mut tx, key, ScheduleState::Paused, schedule.next_at, 0).await?;
            ScheduleState::Paused
        }
        (Change::Resume, ScheduleState::Paused) => {
            let next_at = skip_paused(&mut tx, key, &schedule, now).await?;
            // Its end came while it was paused.
            let over = next_at.is_none() && schedules::queued(&mut tx, workspace_id, campaign_id).await?.is_empty();
            let state = if over { ScheduleState::Ended } else { ScheduleState::Active };
            schedules::advance(&mut tx, key, state, next_at, 0).await?;
            state
        }
        (Change::End, ScheduleState::Active | ScheduleState::Paused | ScheduleState::Held) => {
            schedules::end(&mut tx, workspace_id, campaign_id, now).await?;
            ScheduleState::Ended
        }
        (_, state) => {
            let hint = match state {
                ScheduleState::Held => format!(": fanfare campaign launch {campaign} lets it go"),
                ScheduleState::Ended => ": it has no tick to come".to_owned(),
                ScheduleState::Active | ScheduleState::Paused => " already".to_owned(),
            };
            return Ok(Err(format!("the schedule of campaign {campaign:?} is {state}{hint}")));
        }
    };
    transitions::noted(&mut tx, key, &store.actor, &format!("its schedule is {state}")).await?;
    tx.commit().await?;
    Ok(Ok(state))
}

/// Gives a campaign another schedule, or one if it has none: its ticks fire from now on. What came by the one before
/// and was not dealt with is noted as missed, and what waited in its queue, or for a person, is dropped. Runs that
/// are there go on.
///
/// # Errors
/// [`Error::State`] for a campaign that cannot have one, or when it has no time to come; else when the campaign does not
/// exist or the database fails.
pub async fn reschedule(store: &Store, workspace_id: i32, campaign: &str, new: &NewSchedule<'_>) -> Result<()> {
    run_tx("reschedule", || try_reschedule(store, workspace_id, campaign, new)).await?.map_err(Error::State)?;
    tracing::info!(workspace_id, "a campaign has another schedule");
    Ok(())
}

async fn try_reschedule(
    store: &Store,
    workspace_id: i32,
    name: &str,
    new: &NewSchedule<'_>,
) -> fanfare_store::Result<std::result::Result<(), String>> {
    let mut tx = store.pool.begin().await?;
    let campaign = campaigns::get(&mut tx, workspace_id, name).await?;
    let key = (workspace_id, campaign.campaign_id);
    let rules = hours::of_campaign(&mut tx, workspace_id, campaign.campaign_id).await?;
    if let Some(why) = runs_once(&campaign, rules.local.is_some()) {
        return Ok(Err(format!("campaign {name:?} {why}: it cannot have a schedule")));
    }
    schedules::lock(&mut tx, workspace_id, campaign.campaign_id).await?;
    // What came before the lock has been dealt with, if it was.
    let now = store.clock.now();
    if let Some(before) = schedules::get(&mut tx, workspace_id, campaign.campaign_id).await? {
        let why = "the schedule was changed";
        match before.state {
            ScheduleState::Active => {
                let verdict = TickVerdict::Missed;
                skip_due(&mut tx, key, &before, (verdict, Some(why)), now).await?;
            }
            ScheduleState::Paused => {
                skip_due(&mut tx, key, &before, (TickVerdict::Paused, None), now).await?;
            }
            ScheduleState::Held | ScheduleState::Ended => {}
        }
        schedules::drop_waiting(&mut tx, key, why, now).await?;
    }
    schedules::put(&mut tx, workspace_id, campaign.campaign_id, new).await?;
    if new.next_at <= now && !begin_later(&mut tx, key, now).await? {
        return Ok(Err(format!("{} is past by now, or at its end: give a time to come", new.expression)));
    }
    let what = format!("its schedule is {}, by the clocks of {}", new.expression, new.zone.name());
    transitions::noted(&mut tx, key, &store.actor, &what).await?;
    tx.commit().await?;
    Ok(Ok(()))
}

/// Moves a schedule on whose first tick has come since it was chosen: it is the schedule of before that has dealt with
/// it, or is noted to have missed it. False when it has no other.
async fn begin_later(c: &mut PgConnection, key: (i32, i64), now: DateTime<Utc>) -> fanfare_store::Result<bool> {
    let Some(schedule) = schedules::get(c, key.0, key.1).await? else { return Ok(false) };
    let Some(next) = schedule.after(now)? else { return Ok(false) };
    schedules::advance(c, key, ScheduleState::Active, Some(next), 0).await?;
    Ok(true)
}

/// Why a campaign cannot run again and again.
fn runs_once(campaign: &Campaign, is_local: bool) -> Option<&'static str> {
    match campaign.kind {
        CampaignKind::Broadcast if campaign.first_part.is_some() => Some("goes to a part first"),
        CampaignKind::Broadcast if is_local => Some("goes to everybody on one day where they are"),
        CampaignKind::Broadcast => None,
        CampaignKind::Triggered | CampaignKind::Single => Some("sends its messages as they come"),
    }
}

/// Notes the ticks that came while the schedule was paused; gives the first that comes now. One time that
/// passed meanwhile is still to be dealt with: it may be held.
async fn skip_paused(
    c: &mut PgConnection,
    key: (i32, i64),
    schedule: &Schedule,
    now: DateTime<Utc>,
) -> fanfare_store::Result<Option<DateTime<Utc>>> {
    if schedule.recurrence()?.is_none() {
        return Ok(schedule.next_at);
    }
    skip_due(c, key, schedule, (TickVerdict::Paused, None), now).await
}

/// Notes that the ticks which are due have no run, and why; gives the first that is not.
async fn skip_due(
    c: &mut PgConnection,
    key: (i32, i64),
    schedule: &Schedule,
    (verdict, why): (TickVerdict, Option<&str>),
    now: DateTime<Utc>,
) -> fanfare_store::Result<Option<DateTime<Utc>>> {
    let Some(first) = schedule.next_at.filter(|first| *first <= now) else { return Ok(schedule.next_at) };
    let (mut ticks, mut last) = (1, first);
    while let Some(next) = schedule.after(last)?.filter(|next| *next <= now) {
        (ticks, last) = (ticks + 1, next);
    }
    let why = why.map(str::to_owned);
    let tick = Tick { scheduled_for: first, through: last, ticks, verdict, run_id: None, why, decided_at: now };
    schedules::record(c, key.0, key.1, &tick).await?;
    schedule.after(last)
}
