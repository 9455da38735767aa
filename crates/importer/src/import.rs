//! The whole of an import.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fanfare_store::Store;
use fanfare_store::contacts::Place;
use fanfare_store::imports::{self, Counts, Identity, Import};
use fanfare_store::lists;
use fanfare_store::load::{Load, Rehearsal};
use tokio::sync::{Notify, mpsc};

use crate::error::{ImportError, Result};
use crate::input::{Input, Stop};
use crate::load::{Target, load};
use crate::map::{Mapping, SAMPLE_ROWS, columns};
use crate::options::{self, Options, Source};
use crate::progress::{Position, Progress, Stage};
use crate::rejects::Rejects;
use crate::rows::{Walk, Walked};
use crate::summary::{Summary, peak_rss_bytes};
use crate::table::Table;

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Imports a file into a list of the workspace, and says what became of each of its rows.
///
/// The same file, list and options are the same import: what was killed goes on where it stopped, what is
/// finished changes nothing more and reports its rows as unchanged. Dropping the future stops the import
/// between two transactions.
///
/// # Errors
/// What is wrong with the file or the options; nothing was written then. Or what the database said: batches
/// that were committed stay, and the same command goes on behind them.
pub async fn import(
    store: &Store,
    workspace_id: i32,
    source: Source,
    options: Options,
    progress: &mut dyn Progress,
) -> Result<Summary> {
    let began = Instant::now();
    if options.list.trim().is_empty() {
        return Err(ImportError::NoList);
    }
    let stop = Stop::default();
    let _stop_when_dropped = stop.guard();
    let done = Arc::new(AtomicU64::new(0));
    let total = Arc::new(AtomicU64::new(0));
    let opening = {
        let (options, done, total) = (options.clone(), done.clone(), total.clone());
        tokio::task::spawn_blocking(move || open(source, stop, &options, &done, &total))
    };
    let mut tell = || {
        let (bytes, bytes_total) = (done.load(Ordering::Relaxed), total.load(Ordering::Relaxed));
        progress.at(Position { stage: Stage::Checking, bytes, bytes_total, rows: 0 });
    };
    let opened = watched(opening, &Notify::new(), &mut tell).await;
    let (walk, content_sha256) = opened.map_err(|e| ImportError::Broken(e.to_string()))??;
    let identity = options.identity();
    let run = Run { store, workspace_id, options: &options, began };
    run.load(walk, &content_sha256, &identity, progress).await
}

/// The first walk over the file.
fn open(
    source: Source,
    stop: Stop,
    options: &Options,
    done: &AtomicU64,
    total: &AtomicU64,
) -> Result<(Walk, [u8; 32])> {
    let input = Arc::new(Input::open(source, stop)?);
    total.store(input.bytes_total, Ordering::Relaxed);
    let mut table = Table::open(&input, options, &mut |bytes| done.store(bytes, Ordering::Relaxed))?;
    let mut sample = Vec::new();
    table.rows(&AtomicU64::new(0), &mut |record| {
        sample.push(record.clone());
        Ok(if sample.len() > SAMPLE_ROWS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    if sample.is_empty() {
        return Err(ImportError::Empty(input.name.clone()));
    }
    let region = options.country;
    let mapping = Mapping::find(&input.name, &sample, options, region, table.is_sheet())?;
    if mapping.skip >= sample.len() {
        return Err(ImportError::NoRows { file: input.name.clone(), columns: columns(&mapping.headers) });
    }
    if options.rejects.as_ref().is_some_and(|path| input.is_at(path)) && !mapping.of_rejects() {
        return Err(ImportError::RejectsOverContacts(input.name.clone()));
    }
    let content_sha256 = input.sha256()?;
    let (policy, given) = (options.on_duplicate, options.given.clone());
    Ok((Walk { input, table, mapping, region, policy, given }, content_sha256))
}

/// Does `work`, and tells how far it is: now and then, and whenever it has `moved` on.
async fn watched<T>(work: impl Future<Output = T>, moved: &Notify, tell: &mut (dyn FnMut() + Send)) -> T {
    let mut work = pin!(work);
    let mut tick = tokio::time::interval(TELL_EVERY);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = moved.notified() => tell(),
            _ = tick.tick() => tell(),
        }
    }
}

/// An import of a file that can be read.
struct Run<'a> {
    store: &'a Store,
    workspace_id: i32,
    options: &'a Options,
    began: Instant,
}

impl Run<'_> {
    async fn load(
        &self,
        walk: Walk,
        content_sha256: &[u8; 32],
        identity: &serde_json::Value,
        progress: &mut dyn Progress,
    ) -> Result<Summary> {
        let path = self.options.rejects.as_deref().filter(|_| !self.options.dry_run);
        let delimiter = self.options.delimiter.unwrap_or_else(|| walk.table.delimiter());
        let rejects = Rejects::new(&walk.mapping, delimiter, path)?;
        let options_sha256 = options::hash(identity);
        let begun = self.begin(&walk.input.name, content_sha256, &options_sha256, identity).await?;
        tracing::info!(
            import_id = begun.place.import_id,
            list_id = begun.place.list_id,
            rows = begun.counts.rows,
            finished = begun.finished,
            dry_run = self.options.dry_run,
            "import begins"
        );
        let skip = if begun.finished { i64::MAX } else { begun.counts.rows };
        let (counts, walked) = self.run(walk, rejects, skip, &begun, progress).await?;
        let counts = match (begun.finished, self.options.dry_run) {
            (true, _) => again(begun.counts),
            (false, true) => counts,
            (false, false) => {
                let mut c = self.store.pool.acquire().await.map_err(fanfare_store::Error::from)?;
                imports::finish(&mut c, self.store, self.workspace_id, begun.place.import_id, walked.rows).await?
            }
        };
        // Only now: an import that fails leaves an older rejects file as it is.
        let (rejects, rejects_omitted) = walked.rejects.finish()?;
        Ok(Summary {
            counts,
            rejects,
            rejects_omitted,
            seconds: self.began.elapsed().as_secs_f64(),
            peak_rss_bytes: peak_rss_bytes(),
        })
    }

    /// The second walk, and the database behind it.
    async fn run(
        &self,
        walk: Walk,
        rejects: Rejects,
        skip: i64,
        begun: &Begun,
        progress: &mut dyn Progress,
    ) -> Result<(Counts, Walked)> {
        let target = self.target(begun).await?;
        let (sender, receiver) = mpsc::channel(1);
        let done = Arc::new(AtomicU64::new(0));
        let bytes_total = walk.input.bytes_total;
        let walking = {
            let done = done.clone();
            tokio::task::spawn_blocking(move || walk.run(skip, rejects, &done, &sender))
        };
        let mut counts = begun.counts;
        let (rows, moved) = (AtomicI64::new(counts.rows), Notify::new());
        let mut committed = |batch| {
            counts += batch;
            rows.store(counts.rows, Ordering::Relaxed);
            moved.notify_one();
        };
        let mut tell = || {
            let (bytes, rows) = (done.load(Ordering::Relaxed).min(bytes_total), rows.load(Ordering::Relaxed));
            progress.at(Position { stage: Stage::Loading, bytes, bytes_total, rows: rows as u64 });
        };
        watched(load(target, receiver, &mut committed), &moved, &mut tell).await?;
        tell();
        let walked = walking.await.map_err(|e| ImportError::Broken(e.to_string()))??;
        Ok((counts, walked))
    }

    async fn target(&self, begun: &Begun) -> Result<Target> {
        let (store, policy) = (self.store, self.options.on_duplicate);
        Ok(if self.options.dry_run && !begun.finished {
            Target::Rehearsal(Box::new(Rehearsal::begin(store, begun.place, policy).await?))
        } else {
            Target::List(Arc::new(Load::new(store.clone(), begun.place, policy)))
        })
    }

    /// The list and the import, which are made if they do not exist; a dry run only looks for them.
    async fn begin(
        &self,
        file: &str,
        content_sha256: &[u8; 32],
        options_sha256: &[u8; 32],
        options: &serde_json::Value,
    ) -> Result<Begun> {
        let (store, workspace_id) = (self.store, self.workspace_id);
        let mut c = store.pool.acquire().await.map_err(fanfare_store::Error::from)?;
        let name = self.options.list.trim();
        let list_id = match self.options.dry_run {
            false => lists::ensure(&mut c, store, workspace_id, name).await?.list_id,
            true => {
                lists::find(&mut c, workspace_id, name).await?.map_or_else(|| store.ids.next(), |list| list.list_id)
            }
        };
        let identity = Identity { list_id, content_sha256, options_sha256 };
        let found = match self.options.dry_run {
            true => imports::find(&mut c, workspace_id, identity).await?,
            false => {
                drop(c);
                Some(imports::begin(store, workspace_id, identity, file, options).await?)
            }
        };
        let Import { import_id, finished, counts } =
            found.unwrap_or_else(|| Import { import_id: store.ids.next(), finished: false, counts: Counts::default() });
        Ok(Begun { place: Place { workspace_id, list_id, import_id }, finished, counts })
    }
}

/// An import as it was found.
struct Begun {
    place: Place,
    finished: bool,
    counts: Counts,
}

/// The account of a finished import that is run again: its contacts are there.
fn again(first: Counts) -> Counts {
    let unchanged = first.imported + first.updated + first.unchanged;
    Counts { imported: 0, updated: 0, unchanged, ..first }
}
