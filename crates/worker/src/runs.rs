//! What is known of the runs being sent: read once, kept while they last.

use std::collections::HashMap;
use std::sync::Arc;

use fanfare_domain::template::Template;
use fanfare_store::queue::{self, RunInfo};
use fanfare_store::{Error, PgConnection, Result, templates};

/// Runs that are remembered; beyond it the oldest knowledge is dropped.
const KNOWN_MAX: usize = 256;

/// A run, ready to send.
#[derive(Debug)]
pub struct Run {
    pub info: RunInfo,
    pub template: Template,
}

/// The runs of one account.
#[derive(Debug, Default)]
pub struct Runs(HashMap<i64, Arc<Run>>);

impl Runs {
    /// The run, read at its first lease.
    pub async fn get(
        &mut self,
        c: &mut PgConnection,
        (workspace_id, account_id): (i32, i64),
        run_id: i64,
    ) -> Result<Arc<Run>> {
        if let Some(run) = self.0.get(&run_id) {
            return Ok(run.clone());
        }
        let info = queue::run_info(c, (workspace_id, account_id), run_id).await?;
        let template = templates::compile(c, workspace_id, info.template_id, info.template_version)
            .await?
            .ordered_as(&info.variables)
            .map_err(|e| Error::Corrupt(format!("template of run {run_id}: {e}")))?;
        if self.0.len() >= KNOWN_MAX {
            self.0.clear();
        }
        let run = Arc::new(Run { info, template });
        self.0.insert(run_id, run.clone());
        Ok(run)
    }
}
