//! Expanding: the contacts of a list become the recipients of a run.
//!
//! One segment is one transaction, so a scheduler that dies leaves whole segments behind and the next
//! one goes on after them. A segment holds the contacts as they were when it was written: a contact
//! that is changed, added or removed while a large list is being expanded is taken as the segment that
//! reaches its address finds it. Nothing of the run changes any more once its segment is written.
//!
//! Of a run with windows a stretch of contacts gives a segment for each wave ([`divided`]).

mod divided;

use std::ops::ControlFlow;

use fanfare_domain::cohort::Member;
use fanfare_domain::limits::{FIRST_SEGMENT_CONTACTS, SEGMENT_BYTES_MAX, SEGMENT_CONTACTS};
use fanfare_domain::split::{self, Purpose};
use fanfare_domain::template::{Fallback, TemplateError};
use fanfare_store::audience::{self as store_audience, Contact, Filter, LeftOut, NewSegment, Priced, Unfinished, Whom};
use fanfare_store::cohorts::{self, Cohort, Missing};
use fanfare_store::copy::Rows;
use fanfare_store::tx::run_tx;
use fanfare_store::{
    Error, PgConnection, Result, Store, accounts, campaigns, deliveries, hours, runs, segments, templates, workspaces,
};
use tokio::sync::mpsc;

use crate::approved::measured;
use crate::audience::{Audience, Exclusion};
use divided::Divided;

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
    let filter = filter(c, store, (workspace_id, run_id), &run).await?;
    let (chunks, coming) = mpsc::unbounded_channel();
    let mut stretch = Stretch::new(workspace_id, run_id, &run);
    let windowed = hours::windowed(c, workspace_id, run_id).await?;
    let times = windowed.as_ref().map(|windowed| windowed.rules.clone());
    stretch.divided = windowed.map(|windowed| Divided::new((workspace_id, run_id), windowed));
    // Beside a second connection that reads, this one writes meanwhile. Else it reads all, then writes.
    let (stretch, written) = match store.pool.try_acquire() {
        Some(mut reader) => {
            tokio::join!(
                stretch.read(&mut reader, &run, &filter, audience, chunks),
                store_audience::write_recipients(c, coming)
            )
        }
        None => {
            (stretch.read(c, &run, &filter, audience, chunks).await, store_audience::write_recipients(c, coming).await)
        }
    };
    let Stretch { contacts, complete, priced, next_seq, left_out, last, divided, .. } = stretch?;
    let written = written?;
    if contacts > 0 {
        let (segment_no, lo, hi) = (run.segment_no, run.seq, next_seq);
        let after_address = run.expanded_to.clone().unwrap_or_default();
        let whole = NewSegment { segment_no, lo, hi, after_address, left_out, wave: None };
        let segments = match divided {
            Some(divided) => divided.segments(&whole, store.clock.now()),
            None => vec![whole],
        };
        store_audience::write_segments(c, (workspace_id, run_id), &segments, written).await?;
    }
    let dearest: Vec<(i64, i64)> = priced.iter().map(|(account, dearest)| (account.account_id, *dearest)).collect();
    let (expanded_to, complete_at) = (last.or(run.expanded_to), complete.then(|| store.clock.now()));
    if !store_audience::advance(c, (workspace_id, run_id), expanded_to.as_deref(), &dearest, complete_at).await? {
        return Ok(Expanded::Skipped);
    }
    // Its flows are locked by now. If the hours were changed meanwhile, the segment has windows of before.
    if hours::windowed(c, workspace_id, run_id).await?.map(|windowed| windowed.rules) != times {
        return Ok(Expanded::Skipped);
    }
    tracing::info!(workspace_id, run_id, segment = run.segment_no, contacts, complete, "segment expanded");
    Ok(if complete { Expanded::Complete } else { Expanded::More })
}

/// What leaves contacts out. Spans of time count back from the start of the run, for all of its segments.
async fn filter(
    c: &mut PgConnection,
    store: &Store,
    (workspace_id, run_id): (i32, i64),
    run: &Unfinished,
) -> Result<Filter> {
    // Of another run's recipients: whom the campaign chooses was decided then.
    let chooses = run.parent_run_id.is_none() || run.cohort()?.is_none();
    let segment = match run.audience.as_ref().filter(|_| chooses) {
        Some(text) => Some(segments::bind(c, workspace_id, &run.lists, &campaigns::segment(text)?).await?),
        None => None,
    };
    let accounts: Vec<i64> = run.accounts.iter().map(|account| account.account_id).collect();
    let minus = if chooses { run.minus.as_slice() } else { &[] };
    let (category, now) = (run.category()?, run.started_at);
    let whom = Whom { minus, segment: segment.as_ref(), category, accounts: &accounts, now };
    let mut filter = Filter::of(c, store.seal.pepper(), workspace_id, whom).await?;
    filter.reached = (chooses && run.once_per_contact).then_some((run.campaign_id, run_id));
    if filter.cap.is_some() {
        // Before the contacts are read: of two runs for a contact the second must see the first.
        workspaces::hold(c, workspace_id).await?;
    }
    Ok(filter)
}

/// The contacts of one segment, being turned into recipients.
struct Stretch<'r> {
    workspace_id: i32,
    run_id: i64,
    /// The accounts, and the dearest message through each, micro-credits.
    priced: Vec<(&'r Priced, i64)>,
    rows: Rows,
    /// Sent in chunks so far, or put aside by wave.
    bytes: usize,
    /// By wave, where the run has windows: then nothing is sent before all are read.
    divided: Option<Divided>,
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
            divided: None,
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
        filter: &Filter,
        mut audience: Audience,
        chunks: mpsc::UnboundedSender<Vec<u8>>,
    ) -> Result<Self> {
        if let Some(cohort) = run.cohort()? {
            return self.read_cohort(c, run, (&cohort, filter), audience, chunks).await;
        }
        let mut source = audience.source(self.workspace_id, &run.lists, filter);
        source.attributes |= self.divided.is_some();
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
        self.send_all(&chunks);
        self.complete = self.last.is_none();
        Ok(self)
    }

    /// The same for a run that goes to some of another run's recipients.
    async fn read_cohort(
        mut self,
        c: &mut PgConnection,
        run: &Unfinished,
        (members, filter): (&[Member], &Filter),
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
            lists: &run.lists,
            filter,
            by_phone: audience.says().channel().by_phone(),
            parent_run_id,
            members,
            ancestors: &run.ancestors,
            resends: &run.resends,
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
        self.send_all(&chunks);
        self.complete = hi >= total;
        self.last = Some(hi.to_string());
        Ok(self)
    }

    /// Sends what is left, and what was put aside.
    fn send_all(&mut self, chunks: &mpsc::UnboundedSender<Vec<u8>>) {
        self.send(chunks);
        if let Some(divided) = &mut self.divided {
            self.next_seq = divided.send(self.next_seq, chunks);
        }
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
            Err(Exclusion::Minus) => return self.left_out.minus += 1,
            Err(Exclusion::Outside) => return self.left_out.outside += 1,
            Err(Exclusion::NoConsent) => return self.left_out.no_consent += 1,
            Err(Exclusion::Capped) => return self.left_out.capped += 1,
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
        for (account, dearest) in &mut self.priced {
            *dearest = (*dearest).max(account.prices.of(recipient.country, recipient.units));
        }
        let (how, whom) = ((recipient.units, recipient.variant), (recipient.address, recipient.country));
        if let Some(divided) = &mut self.divided {
            self.bytes += divided.push(contact, how, whom, params.as_deref());
            return;
        }
        let key = (self.workspace_id, self.run_id, self.next_seq);
        store_audience::push_recipient(&mut self.rows, key, how, whom, params.as_deref());
        self.next_seq += 1;
    }
}
