//! `fanfare workspace`: the rules that hold for all of its campaigns.

mod hours;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use fanfare_store::hours as store_hours;

use crate::context::{Context, Global};
use crate::output::{Output, Usage, fields};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the rules
    Show,
    /// Change them
    Set(Set),
}

#[derive(Debug, Args)]
pub struct Set {
    #[command(flatten)]
    hours: hours::SetHours,
}

pub async fn run(global: &Global, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    if let Command::Set(Set { hours }) = &command
        && hours.is_empty()
    {
        return Err(Usage("say what is to change: --quiet, --hours or --zone".to_owned()).into());
    }
    let made = matches!(command, Command::Set(_));
    global.with_workspace(made, async |context| changed(context, command, output).await).await?;
    Ok(ExitCode::SUCCESS)
}

async fn changed(context: &Context, command: Command, output: Output) -> anyhow::Result<()> {
    if let Command::Set(set) = command {
        set.hours.set(context).await?;
    }
    let mut c = context.store.pool.acquire().await?;
    let now = store_hours::of_workspace(&mut c, context.workspace_id).await?;
    output.result(&hours::json(&now), |_| fields(hours::rows(&now)))
}
