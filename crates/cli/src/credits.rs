//! `fanfare credits`: top-ups, the balance, the ledger.

use std::process::ExitCode;

use anyhow::ensure;
use clap::Subcommand;
use fanfare_store::credits::{self, Credit, Entry};
use serde_json::json;

use crate::context::Global;
use crate::output::{Output, Table, count, credits as shown};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add credit; campaigns that paused for want of it go on
    Topup {
        /// Micro-credits (1,000,000 = one credit)
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
    if let Command::Topup { micro, .. } = &command {
        ensure!(*micro > 0, "a top-up of {micro} micro-credits adds nothing: give a number above 0");
    }
    let context = global.open().await?;
    let mut c = context.store.pool.acquire().await?;
    match command {
        Command::Topup { micro, note } => {
            let credit = credits::topup(&context.store, context.workspace_id, micro, note.as_deref()).await?;
            show(output, credit)?;
        }
        Command::Balance => show(output, credits::balance(&mut c, context.workspace_id).await?)?,
        Command::Ledger { limit } => {
            let entries = credits::ledger(&mut c, context.workspace_id, i64::from(limit)).await?;
            output.result(&json!({ "entries": entries }), |_| ledger(&entries))?;
        }
    }
    drop(c);
    context.store.close().await?;
    Ok(ExitCode::SUCCESS)
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
        let when = e.at.format("%Y-%m-%d %H:%M:%S").to_string();
        table.row([when, e.kind.clone(), shown(e.amount), count(i64::from(e.messages)), what]);
    }
    table.render()
}
