//! Campaigns whose messages come one by one.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use fanfare_domain::state::CampaignKind;
use fanfare_scheduler::live;
use fanfare_scheduler::one_off::Of;
use fanfare_store::campaigns;
use serde_json::json;

use crate::context::Context;
use crate::message::{self, Addressed};
use crate::output::{Output, Usage, id};

/// Whether it is one.
pub async fn is(context: &Context, name: &str) -> anyhow::Result<bool> {
    let mut c = context.store.pool.acquire().await?;
    Ok(campaigns::get(&mut c, context.workspace_id, name).await?.kind == CampaignKind::Triggered)
}

/// Makes a new one live, unless somebody has to approve it first.
pub async fn begin(context: &Context, name: &str) -> anyhow::Result<()> {
    let mut c = context.store.pool.acquire().await?;
    if fanfare_store::workspaces::rules(&mut c, context.workspace_id).await?.review {
        return Ok(());
    }
    drop(c);
    live::open(&context.store, context.workspace_id, name).await.map(drop).with_context(|| {
        format!("campaign {name:?} is created and not live; once that is put right: fanfare campaign launch {name}")
    })
}

/// One message of it.
pub async fn enrol(context: &Context, name: &str, addressed: &Addressed, output: Output) -> anyhow::Result<ExitCode> {
    message::submit(context, Of::Campaign(name), addressed, output).await
}

/// Makes it live again after a stop, in the words that its template has now.
pub async fn launch(context: &Context, name: &str, at: Option<DateTime<Utc>>, output: Output) -> anyhow::Result<()> {
    if at.is_some() {
        return Err(Usage(format!("--at: campaign {name:?} is triggered, and live at once: leave it out")).into());
    }
    if !live::open(&context.store, context.workspace_id, name).await? {
        bail!("campaign {name:?} is live already: fanfare campaign enrol {name} --to …");
    }
    output.result(&json!({ "campaign": name, "live": true }), |_| {
        format!("campaign {name} is live\nnext: fanfare campaign enrol {name} --to …")
    })
}

/// Takes no more messages into it.
pub async fn stop(context: &Context, name: &str, output: Output) -> anyhow::Result<()> {
    let run_id = live::stop(&context.store, context.workspace_id, name).await?;
    let value = json!({ "campaign": name, "run": id(run_id), "live": false });
    output.result(&value, |_| format!("campaign {name} takes no more messages; those that came are sent"))
}
