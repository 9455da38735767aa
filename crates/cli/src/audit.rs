//! `fanfare audit`: every book against what it is kept of.

use std::process::ExitCode;

use fanfare_store::audit::{Audit, audit};

use crate::context::Global;
use crate::output::{Output, on_terminal, paint};

/// Exit code 1 when a check is violated.
pub async fn run(global: &Global, output: Output) -> anyhow::Result<ExitCode> {
    let audit = global
        .with(async |context| Ok(audit(&mut *context.store.pool.acquire().await?, context.workspace_id).await?))
        .await?;
    output.result(&audit, render)?;
    Ok(if audit.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One line for each check.
pub fn render(audit: &Audit) -> String {
    let width = audit.checks.iter().map(|c| c.name.len()).max().unwrap_or(0);
    let line = |c: &fanfare_store::audit::Check| {
        let mark = if c.ok { paint("ok  ", "32", on_terminal()) } else { paint("FAIL", "31;1", on_terminal()) };
        format!("{mark}  {:width$}  {}", c.name, c.detail)
    };
    let lines: Vec<String> = audit.checks.iter().map(line).collect();
    let verdict = if audit.ok { "the books balance" } else { "the books do not balance" };
    format!("{}\n{verdict}", lines.join("\n"))
}
