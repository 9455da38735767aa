//! What a person does with a schedule: pausing, resuming, ending it.

use chrono::{DateTime, Utc};
use fanfare_domain::state::{ScheduleState, TickVerdict};
use fanfare_store::schedules::{self, Schedule, Tick};
use fanfare_store::tx::run_tx;
use fanfare_store::{PgConnection, Store, campaigns};

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
    tx.commit().await?;
    Ok(Ok(state))
}

/// Notes the ticks that came while the schedule was paused; gives the first that comes now. One time that
/// passed meanwhile is still to be dealt with: it may be held.
async fn skip_paused(
    c: &mut PgConnection,
    key: (i32, i64),
    schedule: &Schedule,
    now: DateTime<Utc>,
) -> fanfare_store::Result<Option<DateTime<Utc>>> {
    let (Some(first), Some(recurrence)) = (schedule.next_at, schedule.recurrence()?) else {
        return Ok(schedule.next_at);
    };
    let (mut ticks, mut last) = (0, first);
    for tick in recurrence.from(first) {
        if tick.at > now || schedule.ends_at.is_some_and(|end| tick.at > end) {
            break;
        }
        (ticks, last) = (ticks + 1, tick.at);
    }
    if ticks == 0 {
        return Ok(schedule.next_at);
    }
    let verdict = TickVerdict::Paused;
    let tick = Tick { scheduled_for: first, through: last, ticks, verdict, run_id: None, why: None, decided_at: now };
    schedules::record(c, key.0, key.1, &tick).await?;
    schedule.after(last)
}
