//! What is known of the runs being sent: read once, kept while they last.

use std::collections::HashMap;
use std::sync::Arc;

use fanfare_domain::template::{Arms, Fallback};
use fanfare_providers::Kind;
use fanfare_store::queue::{self, RunInfo};
use fanfare_store::{Error, PgConnection, Result, templates};

/// Runs that are remembered; beyond it the oldest knowledge is dropped.
const KNOWN_MAX: usize = 256;

/// A run, ready to send.
#[derive(Debug)]
pub struct Run {
    pub info: RunInfo,
    pub says: Arms,
    pub fallback: Option<Fallback>,
    /// Whether some of what it says may be said only to those who wrote to the account lately.
    pub window: bool,
}

/// The runs of one account.
#[derive(Debug)]
pub struct Runs {
    kind: Option<&'static Kind>,
    known: HashMap<i64, Arc<Run>>,
}

impl Runs {
    /// Of an account of this kind.
    pub fn new(kind: Option<&'static Kind>) -> Self {
        Self { kind, known: HashMap::new() }
    }

    /// The run, read at its first lease.
    pub async fn get(
        &mut self,
        c: &mut PgConnection,
        (workspace_id, account_id): (i32, i64),
        run_id: i64,
    ) -> Result<Arc<Run>> {
        if let Some(run) = self.known.get(&run_id) {
            return Ok(run.clone());
        }
        let info = queue::run_info(c, (workspace_id, account_id), run_id).await?;
        let corrupt = |e| Error::Corrupt(format!("template of run {run_id}: {e}"));
        let says = templates::arms(c, workspace_id, info.campaign_id, &info.arms).await?;
        let says = says.ordered_as(&info.variables).map_err(corrupt)?;
        let fallback = match info.fallback {
            Some((id, version)) => {
                let fallback = templates::compile(c, workspace_id, id, version).await?;
                Some(Fallback::ordered_as(fallback, &info.variables).map_err(corrupt)?)
            }
            None => None,
        };
        let window = says.has_free_form() && self.kind.is_some_and(|kind| kind.has_window(info.channel));
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        let run = Arc::new(Run { info, says, fallback, window });
        self.known.insert(run_id, run.clone());
        Ok(run)
    }
}
