//! Firing: the ticks of schedules become runs.
//!
//! A tick is dealt with in one transaction, which holds the schedule's row: what becomes of it, its run, and
//! that the next tick is the next. So a scheduler that dies leaves a tick dealt with or not, and another one
//! goes on; of many schedulers one does it. The contacts are not examined, since that may take seconds: what
//! only a plan can refuse is left out by the expand and counted.

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_domain::limits::{TICKS_AT_ONCE_MAX, TICKS_QUEUED_MAX};
use fanfare_domain::schedule::{Fate, Missed, Stretch, judge};
use fanfare_domain::state::{Overlap, RunKind, ScheduleState, TickVerdict};
use fanfare_store::runs::{self, NewRun, NewRunAccount};
use fanfare_store::schedules::{self, Schedule, Tick};
use fanfare_store::transitions::SCHEDULER;
use fanfare_store::tx::run_tx;
use fanfare_store::{PgConnection, Store, campaigns};

use crate::plan::prepare;
use crate::{Error, Result};

/// Deals with every tick that is due.
///
/// # Errors
/// When the database fails.
pub async fn fire_due(store: &Store) -> fanfare_store::Result<()> {
    let mut c = store.pool.acquire().await?;
    let due = schedules::due(&mut c, store.clock.now()).await?;
    drop(c);
    for (workspace_id, campaign_id) in due {
        // One broken campaign must not keep the others from running.
        if let Err(error) = fire(store, workspace_id, campaign_id).await {
            tracing::error!(workspace_id, campaign_id, ?error, "cannot deal with the ticks of a schedule");
        }
    }
    Ok(())
}

/// Deals with the due ticks of one schedule, in one transaction; with many, the first of them.
///
/// # Errors
/// When the database fails; nothing has become of the ticks then.
pub async fn fire(store: &Store, workspace_id: i32, campaign_id: i64) -> fanfare_store::Result<()> {
    run_tx("fire", || async {
        let mut tx = store.pool.begin().await?;
        if !schedules::take(&mut tx, workspace_id, campaign_id).await? {
            return Ok(());
        }
        let Some(schedule) = schedules::get(&mut tx, workspace_id, campaign_id).await? else { return Ok(()) };
        if schedule.state != ScheduleState::Active {
            return Ok(());
        }
        campaigns::lock(&mut tx, workspace_id, campaign_id).await?;
        let busy = schedules::is_busy(&mut tx, workspace_id, campaign_id).await?;
        let queued = schedules::queued(&mut tx, workspace_id, campaign_id).await?;
        let now = store.clock.now();
        let (left, next_at) = (schedule.runs_left(), schedule.next_at);
        let key = (workspace_id, campaign_id);
        let mut firing = Firing { store, c: &mut tx, key, schedule, now, busy, queued, left, next_at, fired: 0 };
        firing.serve_queue().await?;
        firing.serve_due().await?;
        firing.close().await?;
        tx.commit().await?;
        Ok(())
    })
    .await
}

/// A schedule whose ticks are being dealt with.
struct Firing<'a> {
    store: &'a Store,
    c: &'a mut PgConnection,
    /// Workspace and campaign.
    key: (i32, i64),
    schedule: Schedule,
    now: DateTime<Utc>,
    /// A run of a launch or of an earlier tick is not over.
    busy: bool,
    /// Ticks that wait for its end, oldest first.
    queued: Vec<DateTime<Utc>>,
    /// How many more runs there may be.
    left: i32,
    next_at: Option<DateTime<Utc>>,
    fired: i32,
}

impl Firing<'_> {
    /// Runs what has waited longest, once nothing is going on.
    async fn serve_queue(&mut self) -> fanfare_store::Result<()> {
        while !self.busy && self.left > 0 && !self.queued.is_empty() {
            let at = self.queued.remove(0);
            self.launch(at).await?;
        }
        Ok(())
    }

    async fn serve_due(&mut self) -> fanfare_store::Result<()> {
        let Some(first) = self.next_at.filter(|at| *at <= self.now) else { return Ok(()) };
        let Some(latest) = self.schedule.latest_after_s else { return self.serve_ticks(first).await };
        self.next_at = None;
        let latest = TimeDelta::try_seconds(latest).unwrap_or(TimeDelta::MAX);
        if self.now - first <= latest {
            return self.launch(first).await;
        }
        let late = (self.now - first).num_minutes();
        let why = format!("nobody could start it until {late} minutes after its time");
        self.schedule.state = ScheduleState::Held;
        tracing::warn!(campaign_id = self.key.1, "a start is held for a person, since it is too late");
        self.record(first, TickVerdict::Held, Some(why)).await
    }

    /// Deals with the ticks that are due, from `first` on.
    async fn serve_ticks(&mut self, first: DateTime<Utc>) -> fanfare_store::Result<()> {
        let Some(recurrence) = self.schedule.recurrence()? else { return Ok(()) };
        let end = self.schedule.ends_at.unwrap_or(DateTime::<Utc>::MAX_UTC);
        let mut ticks = recurrence.from(first).map(|tick| tick.at).take_while(|at| *at <= end).peekable();
        let mut due = Vec::new();
        while let Some(at) = ticks.next_if(|at| *at <= self.now && due.len() < TICKS_AT_ONCE_MAX) {
            due.push(at);
        }
        let next = ticks.next();
        let more = next.is_some_and(|next| next <= self.now);
        self.next_at = next;
        for stretch in judge(&due, more, self.now, self.schedule.missed) {
            if self.left == 0 {
                break;
            }
            self.serve(stretch).await?;
        }
        Ok(())
    }

    async fn serve(&mut self, stretch: Stretch) -> fanfare_store::Result<()> {
        let verdict = match stretch.fate {
            Fate::OnTime | Fate::MadeUp => return self.run(stretch.first, stretch.fate).await,
            Fate::Skipped => TickVerdict::Missed,
            Fate::Merged => TickVerdict::Merged,
        };
        tracing::warn!(campaign_id = self.key.1, ticks = stretch.ticks, %verdict, "ticks were missed");
        let (scheduled_for, through, ticks) = (stretch.first, stretch.last, stretch.ticks);
        let tick = Tick { scheduled_for, through, ticks, verdict, run_id: None, why: None, decided_at: self.now };
        schedules::record(self.c, self.key.0, self.key.1, &tick).await
    }

    /// Runs a tick, unless a run is going on and the policy has something against that. What is made up for
    /// one by one waits for its turn: it would be none if all but the first were skipped.
    async fn run(&mut self, at: DateTime<Utc>, fate: Fate) -> fanfare_store::Result<()> {
        let each = fate == Fate::MadeUp && matches!(self.schedule.missed, Missed::RunEach(_));
        let waits = self.busy || !self.queued.is_empty();
        match self.schedule.overlap {
            _ if !waits => self.launch(at).await,
            Overlap::Parallel => self.launch(at).await,
            Overlap::Skip if !each => {
                let why = "the run before it was not over".to_owned();
                self.record(at, TickVerdict::Overlap, Some(why)).await
            }
            Overlap::Skip | Overlap::Queue if self.queued.len() as i64 >= TICKS_QUEUED_MAX => {
                let why = format!("{TICKS_QUEUED_MAX} ticks wait already");
                self.record(at, TickVerdict::Overlap, Some(why)).await
            }
            Overlap::Skip | Overlap::Queue => {
                self.queued.push(at);
                self.record(at, TickVerdict::Queued, None).await
            }
        }
    }

    /// Makes the run of a tick, to be started at once; or notes why there is none.
    async fn launch(&mut self, at: DateTime<Utc>) -> fanfare_store::Result<()> {
        let run_id = match insert_run(self.store, self.c, self.key.0, &self.schedule.campaign, at).await {
            Ok(run_id) => run_id,
            Err(Error::Store(error)) if is_of_database(&error) => return Err(error),
            Err(why) => {
                tracing::warn!(campaign_id = self.key.1, "a tick has no run, since the campaign cannot be launched");
                return self.record(at, TickVerdict::Refused, Some(why.to_string())).await;
            }
        };
        (self.busy, self.fired, self.left) = (true, self.fired + 1, self.left - 1);
        tracing::info!(campaign_id = self.key.1, run_id, scheduled_for = %at, "a tick fired");
        let verdict = TickVerdict::Fired;
        let tick = Tick {
            scheduled_for: at,
            through: at,
            ticks: 1,
            verdict,
            run_id: Some(run_id),
            why: None,
            decided_at: self.now,
        };
        schedules::record(self.c, self.key.0, self.key.1, &tick).await
    }

    async fn record(
        &mut self,
        at: DateTime<Utc>,
        verdict: TickVerdict,
        why: Option<String>,
    ) -> fanfare_store::Result<()> {
        let tick = Tick { scheduled_for: at, through: at, ticks: 1, verdict, run_id: None, why, decided_at: self.now };
        schedules::record(self.c, self.key.0, self.key.1, &tick).await
    }

    /// Notes how far the schedule is, and ends it when nothing comes any more.
    async fn close(self) -> fanfare_store::Result<()> {
        let (mut state, mut next_at) = (self.schedule.state, self.next_at);
        if self.left == 0 {
            next_at = None;
            schedules::drop_waiting(self.c, self.key, "the schedule has had its runs", self.now).await?;
        }
        if state == ScheduleState::Active && next_at.is_none() && (self.left == 0 || self.queued.is_empty()) {
            state = ScheduleState::Ended;
        }
        schedules::advance(self.c, self.key, state, next_at, self.fired).await
    }
}

/// Whether the database failed, so that the tick is to be dealt with again; else the campaign is at fault.
fn is_of_database(error: &fanfare_store::Error) -> bool {
    error.is_transient() || matches!(error, fanfare_store::Error::Sql(_))
}

/// Inserts the run of a tick; the schedulers start it at once.
async fn insert_run(
    store: &Store,
    c: &mut PgConnection,
    workspace_id: i32,
    campaign: &str,
    at: DateTime<Utc>,
) -> Result<i64> {
    let prepared = prepare(c, store, workspace_id, campaign).await?;
    if !prepared.refusals.is_empty() {
        return Err(Error::Refused(prepared.refusals));
    }
    let campaign = &prepared.campaign;
    let mut accounts = Vec::new();
    for (account, prices) in campaign.accounts.iter().zip(&prepared.prices) {
        let (account_id, share, sender) = (account.account_id, account.share, account.sender.as_deref());
        // The dearest message is known when the first segment is written, before anything is claimed.
        accounts.push(NewRunAccount { account_id, share, sender, prices, reserve_each: 0 });
    }
    let run = NewRun {
        accounts: &accounts,
        scheduled_for: at,
        starts_now: false,
        kind: RunKind::Tick,
        arms: &prepared.arms,
        variables: &prepared.variables,
        planned: prepared.size,
        expires_at: None,
        ..NewRun::of(campaign, store.ids.next(), SCHEDULER, store.clock.now())
    };
    runs::insert(c, workspace_id, &run).await?;
    Ok(run.run_id)
}
