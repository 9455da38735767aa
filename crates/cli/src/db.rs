//! `fanfare db`: the database itself.

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use fanfare_store::embedded;
use serde_json::json;

use crate::context::Global;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stop the program's own server; roles that use it end
    Stop,
    /// Say where the database is and whether it runs
    Status,
}

pub async fn run(global: &Global, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    if global.database_url.is_some() {
        bail!("--database-url names a server that is not the program's own: stop or look at it with its own tools");
    }
    let place = global.config()?.place();
    match command {
        Command::Stop => {
            let stopped = embedded::stop(&place).await?;
            let text = if stopped { "stopped" } else { "it did not run" };
            output.result(&json!({ "stopped": stopped }), |_| text.to_owned())?;
        }
        Command::Status => {
            let s = embedded::status(&place);
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
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
