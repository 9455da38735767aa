//! Batches into the database, two at a time, committed in their order.

use std::sync::Arc;

use fanfare_store::imports::Counts;
use fanfare_store::load::{Batch, Load, Rehearsal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::error::{ImportError, Result};

/// Batches that are with the database at once.
const LANES: usize = 2;

/// Where the batches go.
pub(crate) enum Target {
    /// Into the list.
    List(Arc<Load>),
    /// Into tables that vanish.
    Rehearsal(Box<Rehearsal>),
}

/// Loads all batches; tells `committed` the account of each.
pub(crate) async fn load(
    target: Target,
    mut batches: mpsc::Receiver<Batch>,
    committed: &mut (dyn FnMut(Counts) + Send),
) -> Result<()> {
    match target {
        Target::List(load) => Lanes::new(load).run(batches, committed).await,
        Target::Rehearsal(mut rehearsal) => {
            while let Some(batch) = batches.recv().await {
                committed(rehearsal.settle(&batch).await?);
            }
            Ok(())
        }
    }
}

/// Batches in flight. Dropping this ends them; what is not committed is rolled back.
struct Lanes {
    load: Arc<Load>,
    running: JoinSet<Option<Result<Counts>>>,
    /// Says that the last batch handed out is committed.
    last: oneshot::Receiver<()>,
}

impl Lanes {
    fn new(load: Arc<Load>) -> Self {
        let (committed, last) = oneshot::channel();
        // Before the first batch there is nothing to wait for; the receiver lives in this very struct.
        let _ = committed.send(());
        Self { load, running: JoinSet::new(), last }
    }

    async fn run(
        mut self,
        mut batches: mpsc::Receiver<Batch>,
        committed: &mut (dyn FnMut(Counts) + Send),
    ) -> Result<()> {
        let mut open = true;
        while open || !self.running.is_empty() {
            tokio::select! {
                batch = batches.recv(), if open && self.running.len() < LANES => match batch {
                    Some(batch) => self.begin(batch),
                    None => open = false,
                },
                Some(done) = self.running.join_next() => match done {
                    Ok(Some(counts)) => committed(counts?),
                    // The batch before failed: its own error follows.
                    Ok(None) => {}
                    Err(e) => return Err(ImportError::Broken(e.to_string())),
                },
            }
        }
        Ok(())
    }

    fn begin(&mut self, batch: Batch) {
        let (committed, next) = oneshot::channel();
        let before = std::mem::replace(&mut self.last, next);
        let load = self.load.clone();
        self.running.spawn(async move {
            let prepared = match load.prepare(&batch).await {
                Ok(prepared) => prepared,
                Err(e) => return Some(Err(e.into())),
            };
            before.await.ok()?;
            let counts = prepared.settle(&batch).await;
            if counts.is_ok() {
                // The next batch may not have come yet, or never will.
                let _ = committed.send(());
            }
            Some(counts.map_err(ImportError::from))
        });
    }
}
