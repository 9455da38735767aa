//! The second walk over a file: rows to contacts, on a thread of its own.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use fanfare_domain::limits::IMPORT_ROWS_MAX;
use fanfare_domain::phone::Region;
use fanfare_store::contacts::OnDuplicate;
use fanfare_store::load::Batch;
use tokio::sync::mpsc;

use crate::batch::Batcher;
use crate::check::Checker;
use crate::error::{ImportError, Result};
use crate::input::Input;
use crate::map::Mapping;
use crate::options::Given;
use crate::rejects::Rejects;
use crate::table::Table;

/// A file that is known to be whole, and how its rows are read.
pub(crate) struct Walk {
    pub(crate) input: Arc<Input>,
    pub(crate) table: Table,
    pub(crate) mapping: Mapping,
    pub(crate) region: Option<Region>,
    pub(crate) policy: OnDuplicate,
    pub(crate) given: Given,
}

/// What a walk came to.
pub(crate) struct Walked {
    pub(crate) rows: i64,
    pub(crate) rejects: Rejects,
}

impl Walk {
    /// Sends the rows after the first `skip` in batches, and refuses rows. Ends early, without an error,
    /// when nobody takes the batches any more.
    pub(crate) fn run(
        mut self,
        skip: i64,
        mut rejects: Rejects,
        done: &AtomicU64,
        batches: &mpsc::Sender<Batch>,
    ) -> Result<Walked> {
        let mut checker = Checker::new(&self.mapping, self.region, &self.given);
        let mut batcher = Batcher::new(self.policy, &self.input.name);
        let (mut record_no, mut row): (usize, u32) = (0, 0);
        let mut unheard = false;
        let above = self.mapping.skip;
        self.table.rows(done, &mut |record| {
            record_no += 1;
            if record_no <= above {
                return Ok(ControlFlow::Continue(()));
            }
            if row == IMPORT_ROWS_MAX {
                return Err(ImportError::TooManyRows(self.input.name.clone()));
            }
            row += 1;
            let old = i64::from(row) <= skip;
            match checker.check(record, row) {
                Ok(contact) if old => batcher.skip(Some(&contact)),
                Ok(contact) => batcher.accept(contact),
                Err(refusal) => {
                    rejects.add(record, row, refusal)?;
                    if old { batcher.skip(None) } else { batcher.reject() }
                }
            }
            unheard = batcher.is_full() && batches.blocking_send(batcher.take()).is_err();
            Ok(if unheard { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        self.input.ensure_same()?;
        if !unheard && !batcher.is_empty() {
            // Not taken means that the import has failed, which is told elsewhere.
            let _ = batches.blocking_send(batcher.take());
        }
        Ok(Walked { rows: i64::from(row), rejects })
    }
}
