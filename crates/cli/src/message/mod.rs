//! `fanfare message`: one message to one recipient, ahead of all bulk.

mod args;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::{Args, Subcommand};
use fanfare_domain::id::message_of;
use fanfare_domain::message::Channel;
use fanfare_domain::state::{CampaignKind, MessageState};
use fanfare_scheduler::one_off::{self, Message, Of, Submitted};
use fanfare_store::deliveries::Delivery;
use fanfare_store::one_off::{self as store_one_off, Times};
use fanfare_store::{PgConnection, Store, workers};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::campaign::plan::waves::local;
use crate::campaign::recipients;
use crate::context::{Context, Global};
use crate::output::{Output, credits, fields, id as written, when};
pub use args::Addressed;

/// How often the result of a message is looked for.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send one message, ahead of all bulk; the same key again is the same message
    Send(Send),
    /// What became of a message
    Show {
        /// Its id, as message send and campaign recipients show it
        id: Uuid,
    },
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("says").required(true).args(["text", "template"]))]
pub struct Send {
    /// Through which account
    #[arg(long)]
    account: String,
    /// What is said
    #[arg(long)]
    text: Option<String>,
    /// Or the template that says it
    #[arg(long)]
    template: Option<String>,
    /// By which channel a text goes, where the account carries several: whatsapp, sms or email
    #[arg(long, requires = "text")]
    channel: Option<Channel>,
    #[command(flatten)]
    addressed: Addressed,
}

impl Send {
    fn of(&self) -> Of<'_> {
        let account = &self.account;
        match (&self.text, &self.template) {
            (Some(text), _) => Of::Text { account, channel: self.channel, text },
            (None, template) => Of::Template { account, template: template.as_deref().unwrap_or_default() },
        }
    }
}

pub async fn run(global: &Global, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Send(send) => {
            // Bad usage is refused before the database is opened.
            send.addressed.params()?;
            global.with(async |context| submit(context, send.of(), &send.addressed, output).await).await
        }
        Command::Show { id } => global.with(async |context| show(context, id, output).await).await,
    }
}

/// Enters a message, waits for what becomes of it as long as is wanted, and says that.
pub async fn submit(context: &Context, of: Of<'_>, addressed: &Addressed, output: Output) -> anyhow::Result<ExitCode> {
    let (store, workspace_id) = (&context.store, context.workspace_id);
    let params = addressed.params()?;
    let key = addressed.key.as_deref();
    let began = Instant::now();
    let message = Message { of, to: &addressed.to, params: &params, key, expires_after_s: addressed.expires_after };
    let submitted = one_off::submit(store, workspace_id, message).await?;
    let mut c = store.pool.acquire().await?;
    let Submitted { run_id, seq, repeated, .. } = submitted;
    let served = workers::any_alive(&mut c).await?;
    let wait = if served { addressed.wait() } else { Duration::ZERO };
    let mut now = found(&mut c, store, (workspace_id, run_id, seq)).await?;
    // What waits for its hours does so for longer than anybody who looks on.
    while !is_over(now.delivery.state) && now.times.opens.is_none() && began.elapsed() < wait {
        tokio::time::sleep(LOOK).await;
        now = found(&mut c, store, (workspace_id, run_id, seq)).await?;
    }
    if let Value::Object(object) = &mut now.value {
        object.insert("key".to_owned(), json!(key));
        object.insert("repeated".to_owned(), json!(repeated));
    }
    let Found { delivery, times, value } = now;
    output.result(&value, |_| {
        let again = if repeated { "this key was used before: " } else { "" };
        let state = match (delivery.state, served || times.opens.is_some()) {
            (MessageState::Queued, false) => "queued; no worker is running: fanfare worker, or fanfare up".to_owned(),
            _ => in_words(&delivery, &times),
        };
        let next = format!("fanfare message show {}", submitted.id);
        fields([("message", format!("{again}{}", submitted.id)), ("state", state), ("next", next)])
    })?;
    Ok(code(delivery.state))
}

async fn show(context: &Context, id: Uuid, output: Output) -> anyhow::Result<ExitCode> {
    let mut c = context.store.pool.acquire().await?;
    let known = message_of(id).filter(|(workspace_id, ..)| *workspace_id == context.workspace_id);
    let Some((workspace_id, run_id, seq)) = known else {
        bail!(
            "{id} is not the id of a message of this workspace: fanfare message send and campaign recipients show them"
        );
    };
    let Found { delivery, times, value } = found(&mut c, &context.store, (workspace_id, run_id, seq)).await?;
    output.result(&value, |value| {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        fields([
            ("message", id.to_string()),
            ("campaign", text("campaign")),
            ("template", text("template")),
            ("to", delivery.address.clone()),
            ("state", in_words(&delivery, &times)),
            ("attempts", delivery.attempts.to_string()),
            ("at", delivery.at.map(when).unwrap_or_default()),
            ("cost", format!("{} credits", credits(delivery.cost))),
        ])
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Where a message stands, what it waits for, and both as JSON.
struct Found {
    delivery: Delivery,
    times: Times,
    value: Value,
}

async fn found(
    c: &mut PgConnection,
    store: &Store,
    (workspace_id, run_id, seq): (i32, i64, i32),
) -> anyhow::Result<Found> {
    let Some(of) = store_one_off::of_run(c, workspace_id, run_id).await? else {
        bail!("there is no such message in this workspace");
    };
    let Some((delivery, mut value)) = recipients::one(c, workspace_id, (run_id, seq)).await? else {
        bail!("there is no such message in this workspace");
    };
    let times = store_one_off::times(c, workspace_id, (run_id, seq), store.clock.now()).await?;
    if let Value::Object(object) = &mut value {
        let campaign = (of.kind()? != CampaignKind::Single).then_some(of.campaign);
        object.insert("campaign".to_owned(), json!(campaign));
        object.insert("template".to_owned(), json!(Some(of.template).filter(|name| !name.starts_with(' '))));
        object.insert("run".to_owned(), json!(written(run_id)));
        object.insert("opens".to_owned(), json!(times.opens));
        object.insert("expires_at".to_owned(), json!(times.expires_at));
    }
    Ok(Found { delivery, times, value })
}

fn is_over(state: MessageState) -> bool {
    use MessageState::{Cancelled, Expired, Failed, Sent, Suppressed};
    matches!(state, Sent | Failed | Suppressed | Expired | Cancelled)
}

fn in_words(d: &Delivery, times: &Times) -> String {
    let said = match (&d.provider_id, &d.detail) {
        (Some(id), _) => format!(", as {id}"),
        (None, Some(detail)) => format!(": {detail}"),
        (None, None) => String::new(),
    };
    format!("{}{said}{}", d.state, waits(d.state, times))
}

/// `; waits for Mon 2026-03-02 09:00 in Africa/Algiers; expires at 2026-03-02 12:00:00 +01:00`.
fn waits(state: MessageState, times: &Times) -> String {
    if is_over(state) {
        return String::new();
    }
    let opens = times.opens.as_ref().map(|opening| match &opening.zone {
        Some(zone) => format!("; waits for {} in {zone}", local(zone, Some(opening.opens_at))),
        None => format!("; waits for {}", when(opening.opens_at)),
    });
    let expires = times.expires_at.map(|at| format!("; expires at {}", when(at)));
    [opens, expires].into_iter().flatten().collect()
}

/// What will certainly not be sent is a failure.
fn code(state: MessageState) -> ExitCode {
    if is_over(state) && state != MessageState::Sent { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
