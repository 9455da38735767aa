//! Expanding: the contacts of a list become the recipients of a run.
//!
//! One segment is one transaction, so a scheduler that dies leaves whole segments behind and the next
//! one goes on after them. A segment holds the contacts as they were when it was written: a contact
//! that is changed, added or removed while a large list is being expanded is taken as the segment that
//! reaches its address finds it. Nothing of the run changes any more once its segment is written.

use std::ops::ControlFlow;

use fanfare_domain::cohort::Member;
use fanfare_domain::limits::{FIRST_SEGMENT_CONTACTS, SEGMENT_BYTES_MAX, SEGMENT_CONTACTS};
use fanfare_domain::split::{self, Purpose};
use fanfare_domain::template::{Fallback, TemplateError};
use fanfare_store::audience::{self as store_audience, Contact, LeftOut, NewSegment, Priced, Source, Unfinished};
use fanfare_store::cohorts::{self, Cohort, Missing};
use fanfare_store::copy::Rows;
use fanfare_store::tx::run_tx;
use fanfare_store::{Error, PgConnection, Result, Store, accounts, deliveries, runs, templates};
use tokio::sync::mpsc;

use crate::approved::measured;
use crate::audience::{Audience, Exclusion};

/// Recipients are written in pieces of about this size.
const CHUNK_BYTES: usize = 64 * 1024;

/// What became of an attempt to expand a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expanded {
    /// A segment was written, and more contacts follow.
    More,
    /// The audience is complete.
    Complete,
    /// Nothing was done: another scheduler is at it, or there is nothing to do.
    Skipped,
}

/// Starts the runs whose time has come, and lists all that need to be expanded, as workspace and run.
///
/// # Errors
/// When the database fails.
pub async fn due(store: &Store) -> Result<Vec<(i32, i64)>> {
    let now = store.clock.now();
    let (started, incomplete) = run_tx("start due runs", || async {
        let mut tx = store.pool.begin().await?;
        let started = runs::start_due(&mut tx, now).await?;
        let incomplete = store_audience::incomplete(&mut tx).await?;
        tx.commit().await?;
        Ok((started, incomplete))
    })
    .await?;
    for (workspace_id, run_id) in started {
        tracing::info!(workspace_id, run_id, "scheduled run started");
    }
    Ok(incomplete)
}

/// Writes the next segment of the run, in one transaction.
///
/// # Errors
/// When the database fails, or the run's template does not compile; nothing is written then.
pub async fn expand_next(store: &Store, workspace_id: i32, run_id: i64) -> Result<Expanded> {
    let mut tx = store.pool.begin().await?;
    let expanded = expand_in(&mut tx, store, workspace_id, run_id).await?;
    match expanded {
        // Also when the run was cancelled while the segment was being written: the segment goes.
        Expanded::Skipped => tx.rollback().await?,
        Expanded::More | Expanded::Complete => tx.commit().await?,
    }
    Ok(expanded)
}

async fn expand_in(c: &mut PgConnection, store: &Store, workspace_id: i32, run_id: i64) -> Result<Expanded> {
    if !store_audience::take(c, workspace_id, run_id).await? {
        return Ok(Expanded::Skipped);
    }
    let Some(run) = store_audience::unfinished(c, workspace_id, run_id).await? else {
        return Ok(Expanded::Skipped);
    };
    if run.once_per_contact && !store_audience::take_all(c, workspace_id, run.campaign_id).await? {
        return Ok(Expanded::Skipped);
    }
    let corrupt = |e: TemplateError| Error::Corrupt(format!("template of run {run_id}: {e}"));
    let says = templates::arms(c, workspace_id, run.campaign_id, &run.arms).await?;
    // What the providers take counts here as it did in the plan.
    let mut through = Vec::new();
    for account in &run.accounts {
        through.push(accounts::by_id(c, workspace_id, account.account_id).await?);
    }
    let says =
        says.try_map(|template| Ok(measured(template.ordered_as(&run.variables)?, &through))).map_err(corrupt)?;
    let fallback = match run.fallback_id.zip(run.fallback_version) {
        Some((id, version)) => {
            let fallback = templates::compile(c, workspace_id, id, version).await?;
            Some(Fallback::ordered_as(measured(fallback, &through), &run.variables).map_err(corrupt)?)
        }
        None => None,
    };
    let audience = Audience::new(says, run.on_missing()?).with_fallback(fallback);
    let (chunks, coming) = mpsc::unbounded_channel();
    let stretch = Stretch::new(workspace_id, run_id, &run);
    // Beside a second connection that reads, this one writes meanwhile. Else it reads all, then writes.
    let (stretch, written) = match store.pool.try_acquire() {
        Some(mut reader) => {
            tokio::join!(stretch.read(&mut reader, &run, audience, chunks), store_audience::write_recipients(c, coming))
        }
        None => (stretch.read(c, &run, audience, chunks).await, store_audience::write_recipients(c, coming).await),
    };
    let Stretch { contacts, complete, priced, next_seq, left_out, last, .. } = stretch?;
    let written = written?;
    if contacts > 0 {
        let (segment_no, lo, hi) = (run.segment_no, run.seq, next_seq);
        let after_address = run.expanded_to.clone().unwrap_or_default();
        let segment = NewSegment { segment_no, lo, hi, after_address, left_out };
        store_audience::write_segment(c, (workspace_id, run_id), &segment, written).await?;
    }
    let dearest: Vec<(i64, i64)> = priced.iter().map(|(account, dearest)| (account.account_id, *dearest)).collect();
    let (expanded_to, complete_at) = (last.or(run.expanded_to), complete.then(|| store.clock.now()));
    if !store_audience::advance(c, (workspace_id, run_id), expanded_to.as_deref(), &dearest, complete_at).await? {
        return Ok(Expanded::Skipped);
    }
    tracing::info!(workspace_id, run_id, segment = run.segment_no, contacts, complete, "segment expanded");
    Ok(if complete { Expanded::Complete } else { Expanded::More })
}

/// The contacts of one segment, being turned into recipients.
struct Stretch<'r> {
    workspace_id: i32,
    run_id: i64,
    /// The accounts, and the dearest message through each, micro-credits.
    priced: Vec<(&'r Priced, i64)>,
    rows: Rows,
    /// Sent in chunks so far.
    bytes: usize,
    next_seq: i32,
    left_out: LeftOut,
    contacts: i64,
    /// Address of the last contact, if there may be more behind it.
    last: Option<String>,
    complete: bool,
}

impl<'r> Stretch<'r> {
    fn new(workspace_id: i32, run_id: i64, run: &'r Unfinished) -> Self {
        Self {
            workspace_id,
            run_id,
            priced: run.accounts.iter().map(|account| (account, 0)).collect(),
            rows: Rows::default(),
            bytes: 0,
            next_seq: run.seq,
            left_out: LeftOut::default(),
            contacts: 0,
            last: None,
            complete: false,
        }
    }

    /// Reads the contacts, and sends the recipients on in chunks. What is sent and not yet written is
    /// at most [`SEGMENT_BYTES_MAX`]. `chunks` closes at the end.
    async fn read(
        mut self,
        c: &mut PgConnection,
        run: &Unfinished,
        mut audience: Audience,
        chunks: mpsc::UnboundedSender<Vec<u8>>,
    ) -> Result<Self> {
        if let Some(cohort) = run.cohort()? {
            return self.read_cohort(c, run, &cohort, audience, chunks).await;
        }
        let reached_in = run.once_per_contact.then_some((run.campaign_id, Some(self.run_id)));
        let source = Source { reached_in, ..audience.source(self.workspace_id, run.list_id) };
        let limit = if run.segment_no == 0 { FIRST_SEGMENT_CONTACTS } else { SEGMENT_CONTACTS };
        let after = run.expanded_to.as_deref().unwrap_or_default();
        store_audience::each_contact(c, source, after, limit, |contact| {
            self.add(run, &mut audience, &contact);
            if self.contacts == limit || self.bytes + self.rows.bytes() >= SEGMENT_BYTES_MAX {
                self.last = Some(contact.address.to_owned());
                return ControlFlow::Break(());
            }
            if self.rows.bytes() >= CHUNK_BYTES {
                self.send(&chunks);
            }
            ControlFlow::Continue(())
        })
        .await?;
        self.send(&chunks);
        self.complete = self.last.is_none();
        Ok(self)
    }

    /// The same for a run that goes to some of another run's recipients.
    async fn read_cohort(
        mut self,
        c: &mut PgConnection,
        run: &Unfinished,
        members: &[Member],
        mut audience: Audience,
        chunks: mpsc::UnboundedSender<Vec<u8>>,
    ) -> Result<Self> {
        let corrupt = || Error::Corrupt(format!("run {} has no parent, or is expanded to no number", self.run_id));
        let parent_run_id = run.parent_run_id.ok_or_else(corrupt)?;
        let lo: i32 = run.expanded_to.as_deref().map_or(Ok(0), str::parse).map_err(|_| corrupt())?;
        let total = deliveries::total(c, self.workspace_id, parent_run_id).await?;
        let hi = total.min(lo.saturating_add(SEGMENT_CONTACTS as i32));
        let cohort = Cohort {
            workspace_id: self.workspace_id,
            lists: &[run.list_id],
            by_phone: audience.says().channel().by_phone(),
            parent_run_id,
            members,
            ancestors: &run.ancestors,
            once: run.is_resend(),
        };
        cohorts::each_member(c, cohort, (lo, hi), |member| {
            match member {
                Ok(contact) => self.add(run, &mut audience, &contact),
                Err(why) => {
                    self.contacts += 1;
                    match why {
                        Missing::Gone => self.left_out.gone += 1,
                        Missing::Answered => self.left_out.answered += 1,
                    }
                }
            }
            if self.rows.bytes() >= CHUNK_BYTES {
                self.send(&chunks);
            }
            ControlFlow::Continue(())
        })
        .await?;
        self.send(&chunks);
        self.complete = hi >= total;
        self.last = Some(hi.to_string());
        Ok(self)
    }

    fn send(&mut self, chunks: &mpsc::UnboundedSender<Vec<u8>>) {
        self.bytes += self.rows.bytes();
        // Fails only when the writer has failed, which then says why.
        let _ = chunks.send(self.rows.take());
    }

    fn add(&mut self, run: &Unfinished, audience: &mut Audience, contact: &Contact<'_>) {
        self.contacts += 1;
        let recipient = match audience.judge(contact) {
            Ok(recipient) => recipient,
            Err(Exclusion::NoAddress) => return self.left_out.no_address += 1,
            Err(Exclusion::Duplicate) => return self.left_out.duplicate += 1,
            Err(Exclusion::Suppressed) => return self.left_out.suppressed += 1,
            Err(Exclusion::Reached) => return self.left_out.reached += 1,
            // A launch under `refuse` found none; contacts that came since are left out rather than
            // written to with a gap.
            Err(Exclusion::Missing | Exclusion::Unfit(_)) => return self.left_out.missing += 1,
        };
        if !run.has(|| split::point(run.campaign_id, Purpose::Part, recipient.address)) {
            return self.left_out.other_part += 1;
        }
        let params = match audience.values() {
            [] => None,
            // Strings, numbers and nulls always serialise.
            values => Some(serde_json::to_string(values).unwrap_or_default()),
        };
        let key = (self.workspace_id, self.run_id, self.next_seq);
        let (how, whom) = ((recipient.units, recipient.variant), (recipient.address, recipient.country));
        store_audience::push_recipient(&mut self.rows, key, how, whom, params.as_deref());
        for (account, dearest) in &mut self.priced {
            *dearest = (*dearest).max(account.prices.of(recipient.country, recipient.units));
        }
        self.next_seq += 1;
    }
}
