//! `fanfare credits`: top-ups, the balance, the ledger.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use fanfare_store::credits::{self, Credit, Entry};
use serde::Serialize;
use serde_json::json;

use crate::context::Global;
use crate::output::{Output, Table, count, credits as shown, id, when};
use crate::parse;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add credit; campaigns that paused for want of it go on
    Topup {
        /// Micro-credits (1000000 = one credit)
        #[arg(value_parser = parse::micro)]
        micro: i64,
        /// Why, for the ledger
        #[arg(long)]
        note: Option<String>,
    },
    /// Show the balance, and what of it is reserved
    Balance,
    /// Show the newest movements
    Ledger {
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
}

pub async fn run(global: &Global, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    let made = matches!(command, Command::Topup { .. });
    global
        .with_workspace(made, async |context| {
            let (store, workspace_id) = (&context.store, context.workspace_id);
            let mut c = store.pool.acquire().await?;
            match command {
                Command::Topup { micro, note } => {
                    show(output, credits::topup(store, workspace_id, micro, note.as_deref()).await?)
                }
                Command::Balance => show(output, credits::balance(&mut c, workspace_id).await?),
                Command::Ledger { limit } => {
                    let entries = credits::ledger(&mut c, workspace_id, i64::from(limit)).await?;
                    let lines: Vec<Line<'_>> = entries.iter().map(Line::of).collect();
                    output.result(&json!({ "entries": lines }), |_| ledger(&entries))
                }
            }
        })
        .await?;
    Ok(ExitCode::SUCCESS)
}

/// An entry of the ledger as JSON has it.
#[derive(Serialize)]
struct Line<'a> {
    id: String,
    at: DateTime<Utc>,
    kind: &'a str,
    amount: i64,
    campaign: Option<&'a str>,
    run: Option<String>,
    messages: i32,
    note: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn of(e: &'a Entry) -> Self {
        Self {
            id: id(e.entry_id),
            at: e.at,
            kind: &e.kind,
            amount: e.amount,
            campaign: e.campaign.as_deref(),
            run: e.run_id.map(id),
            messages: e.messages,
            note: e.note.as_deref(),
        }
    }
}

fn show(output: Output, credit: Credit) -> anyhow::Result<()> {
    let value = json!({ "balance": credit.balance, "reserved": credit.reserved, "available": credit.available() });
    output.result(&value, |_| {
        format!(
            "{} credits, of which {} are reserved and {} available",
            shown(credit.balance),
            shown(credit.reserved),
            shown(credit.available())
        )
    })
}

fn ledger(entries: &[Entry]) -> String {
    let mut table = Table::new(&["when", "kind", "credits", "messages", "for"]);
    for e in entries {
        let what = e.campaign.clone().or_else(|| e.note.clone()).unwrap_or_default();
        table.row([when(e.at), e.kind.clone(), shown(e.amount), count(i64::from(e.messages)), what]);
    }
    if entries.is_empty() { "nothing yet: fanfare credits topup MICRO".to_owned() } else { table.render() }
}
