//! `fanfare db`: the database itself.

use std::process::ExitCode;

use clap::Subcommand;
use fanfare_store::Store;
use fanfare_store::embedded::{self, Place};
use fanfare_store::key::Forgotten;
use fanfare_store::workspaces::DEFAULT;
use serde_json::json;

use crate::context::Global;
use crate::output::{Output, Usage, count};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stop the program's own server; roles that use it end
    Stop,
    /// Say where the database is and whether it runs
    Status,
    /// When the key is lost for good: take the present one, or a new one, and forget every secret that it
    /// does not open; the accounts stop until they have their secrets anew
    Rekey,
}

pub async fn run(global: &Global, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Stop => {
            let stopped = embedded::stop(&own(global)?).await?;
            let text = if stopped { "stopped" } else { "it did not run" };
            output.result(&json!({ "stopped": stopped }), |_| text.to_owned())?;
        }
        Command::Status => status(&own(global)?, output)?,
        Command::Rekey => {
            let forgotten = Store::rekey(global.config()?).await?;
            let accounts: Vec<_> =
                forgotten.iter().map(|f| json!({ "workspace": f.workspace, "account": f.account })).collect();
            output.result(&json!({ "forgotten": accounts }), |_| rekeyed(&forgotten))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the program's own server is.
fn own(global: &Global) -> anyhow::Result<Place> {
    if global.database_url.is_some() {
        let text = "--database-url names a server that is not the program's own: stop or look at it with its own tools";
        return Err(Usage(text.to_owned()).into());
    }
    Ok(global.config()?.place())
}

fn status(place: &Place, output: Output) -> anyhow::Result<()> {
    let s = embedded::status(place);
    let value = json!({ "running": s.pid.is_some(), "pid": s.pid, "major": s.major, "url": s.url, "data": s.data, "log": s.log });
    output.result(&value, |_| {
        let state = s.pid.map_or("stopped".to_owned(), |pid| format!("running, process {pid}"));
        let major = s.major.map_or("not made yet".to_owned(), |m| format!("PostgreSQL {m}"));
        format!(
            "state  {state}\nserver {major}\nurl    {}\ndata   {}\nlog    {}",
            s.url,
            s.data.display(),
            s.log.display()
        )
    })
}

/// What was forgotten, and what to do about it.
fn rekeyed(forgotten: &[Forgotten]) -> String {
    if forgotten.is_empty() {
        return "the present key is the database's; it opens every secret, and nothing was forgotten".to_owned();
    }
    let line = |f: &Forgotten| {
        let workspace = if f.workspace == DEFAULT { String::new() } else { format!(" --workspace {}", f.workspace) };
        let account = &f.account;
        format!(
            "  fanfare{workspace} account set {account} --secret - && fanfare{workspace} account resume {account}\n"
        )
    };
    let lines: String = forgotten.iter().map(line).collect();
    let many = count(forgotten.len() as i64);
    format!(
        "the present key is the database's now; {many} secrets were forgotten, and their accounts are stopped:\n\
         {lines}roles that run under the old key must be started again"
    )
}
