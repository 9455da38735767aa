//! `fanfare list`: lists, their contacts, and the addresses that must not be written to.

pub mod addresses;
mod pick;

use std::process::ExitCode;

use clap::Subcommand;
use fanfare_store::lists;
use serde_json::{Value, json};

use crate::context::{Context, Global};
use crate::output::{Output, Table, count, when};
use crate::{parse, words};
use addresses::{Addresses, Allowed};
use pick::Pick;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the lists
    Ls,
    /// Count the contacts of some lists, less others, for whom an expression holds
    #[command(after_help = pick::EXPRESSIONS)]
    Count {
        /// Which lists; an address on several of them counts once
        #[arg(required = true)]
        lists: Vec<String>,
        #[command(flatten)]
        pick: Pick,
    },
    /// Write the contacts of a list, or of several, to standard output, as CSV unless told otherwise
    Export {
        /// Which
        #[arg(required = true)]
        lists: Vec<String>,
        #[command(flatten)]
        pick: Pick,
        /// One JSON object a line
        #[arg(long, conflicts_with = "json")]
        json_lines: bool,
    },
    /// Make a list of the contacts of another, all or some
    Clone {
        /// From which
        list: String,
        /// What the new one is called
        #[arg(value_parser = parse::name)]
        name: String,
        #[command(flatten)]
        pick: Pick,
    },
    /// Put the contacts of some lists into one, which is made if it does not exist: of an address that it
    /// has, its own contact stays, else that of the first list
    Merge {
        /// From which
        #[arg(required = true)]
        lists: Vec<String>,
        /// Into which
        #[arg(long, value_name = "LIST", value_parser = parse::name)]
        into: String,
        #[command(flatten)]
        pick: Pick,
    },
    /// Never write to these addresses again, whatever list holds them
    Suppress(Addresses),
    /// Allow these addresses again
    Unsuppress(Allowed),
    /// List the suppressed addresses
    Suppressed {
        /// As a CSV that suppress --file takes
        #[arg(long, conflicts_with = "json")]
        csv: bool,
    },
    /// Show, add or remove the words by which recipients opt out, or come back
    Words(words::Options),
}

pub async fn run(global: &Global, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    let made = match &command {
        Command::Suppress(_) => true,
        Command::Words(options) => options.changes(),
        _ => false,
    };
    global
        .with_workspace(made, async |context| match command {
            Command::Ls => ls(context, output).await,
            Command::Count { lists, pick } => pick::counted(context, &lists, &pick, output).await,
            Command::Export { lists, pick, json_lines } => {
                pick::export(context, &lists, &pick, json_lines, output).await
            }
            Command::Clone { list, name, pick } => pick::copied(context, &[list], (&name, true), &pick, output).await,
            Command::Merge { lists, into, pick } => pick::copied(context, &lists, (&into, false), &pick, output).await,
            Command::Suppress(what) => addresses::suppress(context, &what, output).await,
            Command::Unsuppress(what) => addresses::unsuppress(context, &what, output).await,
            Command::Suppressed { csv } => addresses::suppressed(context, csv, output).await,
            Command::Words(options) => words::run(context, &options, output).await,
        })
        .await?;
    Ok(ExitCode::SUCCESS)
}

async fn ls(context: &Context, output: Output) -> anyhow::Result<()> {
    let all = lists::all(&mut *context.store.pool.acquire().await?, context.workspace_id).await?;
    let json: Vec<Value> =
        all.iter().map(|l| json!({ "name": l.name, "contacts": l.contacts, "created_at": l.created_at })).collect();
    output.result(&json!({ "lists": json }), |_| {
        let mut table = Table::new(&["list", "contacts", "since"]);
        for l in &all {
            table.row([l.name.clone(), count(l.contacts), when(l.created_at)]);
        }
        let none = "no lists yet: fanfare import FILE --list NAME";
        if all.is_empty() { none.to_owned() } else { table.render() }
    })
}
