//! `fanfare campaign`: from the definition to the last message.

pub mod plan;
mod recipients;
pub mod status;
mod stuck;
pub mod watch;

use std::collections::HashSet;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use fanfare_domain::state::{MessageState, OnMissing, OnUnknown, Sharing};
use fanfare_providers::{Kind, sender};
use fanfare_scheduler::control::{self, Changed};
use fanfare_scheduler::launch::{Launch, launch};
use fanfare_store::campaigns::{self, Campaign, CampaignAccount, NewCampaign, Through};
use fanfare_store::{PgConnection, Store, accounts, progress};
use serde_json::json;
use uuid::Uuid;

use crate::context::{Context, Global};
use crate::output::{Output, Table, Usage, count, duration, fields, id, when};
use crate::parse;
use status::Status;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Define a campaign: what to say, to whom, through which account
    Create(Create),
    /// The dry run: whom a launch would reach, what it would cost, what stands in its way
    Plan {
        /// Which
        name: String,
        /// For a campaign that was sent before: plan to send it once more
        #[arg(long)]
        again: bool,
    },
    /// Freeze the audience and begin to send, now or at a time
    Launch {
        /// Which
        name: String,
        /// When, with its offset: 2026-12-01T09:00+01:00 [default: now]
        #[arg(long, value_parser = parse::time)]
        at: Option<DateTime<Utc>>,
        /// A campaign that was sent before goes to the whole list once more
        #[arg(long)]
        again: bool,
    },
    /// Send nothing more until resumed
    Pause {
        /// Which
        name: String,
    },
    /// Go on
    Resume {
        /// Which
        name: String,
    },
    /// Send nothing more, ever; what was sent stays on record
    Cancel {
        /// Which
        name: String,
    },
    /// Where the newest run stands
    Status {
        /// Which
        name: String,
    },
    /// Follow the newest run until it is over
    Watch {
        /// Which
        name: String,
    },
    /// List the messages of the newest run
    Recipients {
        /// Which
        name: String,
        /// Only those in this state: queued, leased, retrying, sent, failed, suppressed, expired, cancelled or unknown
        #[arg(long)]
        state: Option<MessageState>,
        /// One JSON object a line
        #[arg(long, conflicts_with = "json")]
        json_lines: bool,
    },
    /// Decide about a message in doubt; the decision is kept, with who made it and when
    #[command(group = clap::ArgGroup::new("verdict").required(true).args(["resend", "write_off", "hold"]))]
    Resolve {
        /// The message's id, as campaign recipients --state unknown --json-lines shows it
        id: Uuid,
        /// Send it again, at the risk of a second one
        #[arg(long)]
        resend: bool,
        /// Count it as lost, and as paid
        #[arg(long)]
        write_off: bool,
        /// Keep it in doubt
        #[arg(long)]
        hold: bool,
    },
    /// Write every message of the newest run to standard output as CSV: state, attempts, cost, provider's id
    Export {
        /// Which
        name: String,
        /// One JSON object a line
        #[arg(long, conflicts_with = "json")]
        json_lines: bool,
    },
    /// List the campaigns
    Ls,
}

#[derive(Debug, Args)]
pub struct Create {
    /// What the commands will call it
    #[arg(value_parser = parse::name)]
    name: String,
    /// What is said
    #[arg(long)]
    template: String,
    /// Template, approved by the provider, for those who have not written within 24 hours, where they may be
    /// sent nothing else [default: they are sent nothing]
    #[arg(long, value_name = "TEMPLATE")]
    fallback: Option<String>,
    /// To whom
    #[arg(long)]
    list: String,
    /// Through which account; repeat it for several, which then send together, the fastest most
    #[arg(long = "account", value_name = "ACCOUNT", required = true)]
    accounts: Vec<String>,
    /// Divide it by shares, one for each account, e.g. --share main=3 --share other=1
    #[arg(long = "share", value_name = "ACCOUNT=N", value_parser = parse::share, conflicts_with = "in_order")]
    shares: Vec<(String, i32)>,
    /// Prefer the accounts in the order given: a later one sends only what the earlier ones cannot, since
    /// they are stopped, down, or at the end of their day
    #[arg(long)]
    in_order: bool,
    /// The address that an account sends from for this campaign [default: the account's own]
    #[arg(long = "sender", value_name = "ACCOUNT=ADDRESS", value_parser = parse::sender)]
    senders: Vec<(String, String)>,
    /// Its share of each account beside other campaigns, 1 to 1000
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=1000))]
    weight: i32,
    /// When recipients lack a variable: refuse the launch, skip them, or by default send with nothing in
    /// its place
    #[arg(long, value_name = "refuse|skip|default", default_value_t = OnMissing::Refuse)]
    on_missing: OnMissing,
    /// A message in doubt, at a provider without idempotency keys: hold it for a person, resend it at the
    /// risk of a second one, or write_off
    #[arg(long, value_name = "hold|resend|write_off", default_value_t = OnUnknown::Hold)]
    on_unknown: OnUnknown,
    /// What is not sent this long after the launch is not sent at all, e.g. 90m, 24h, 7d [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse::seconds)]
    expires_after: Option<i64>,
}

pub async fn run(global: &Global, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    if let Command::Create(new) = &command {
        // Bad usage is refused before the database is opened.
        new.through()?;
    }
    global.with(async |context| dispatch(context, command, output).await).await
}

async fn dispatch(context: &Context, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    let (store, workspace_id) = (&context.store, context.workspace_id);
    match command {
        Command::Create(new) => create(context, &new, output).await?,
        Command::Plan { name, again } => return plan::run(context, &name, again, output).await,
        Command::Launch { name, at, again } => {
            launched(store, workspace_id, &name, Launch { at, again }, output).await?;
        }
        Command::Pause { name } => changed(output, &control::pause(store, workspace_id, &name).await?)?,
        Command::Resume { name } => changed(output, &control::resume(store, workspace_id, &name).await?)?,
        Command::Cancel { name } => changed(output, &control::cancel(store, workspace_id, &name).await?)?,
        Command::Status { name } => status::run(context, &name, output).await?,
        Command::Watch { name } => watch::run(context, &name, output).await?,
        Command::Recipients { name, state, json_lines } => {
            recipients::list(context, &name, state, json_lines, output).await?;
        }
        Command::Resolve { id, resend, write_off, .. } => {
            let verdict = match (resend, write_off) {
                (true, _) => OnUnknown::Resend,
                (false, true) => OnUnknown::WriteOff,
                (false, false) => OnUnknown::Hold,
            };
            recipients::resolve(context, id, verdict, output).await?;
        }
        Command::Export { name, json_lines } => recipients::export(context, &name, json_lines, output).await?,
        Command::Ls => ls(context, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Create {
    /// The accounts with what was said of each.
    fn through(&self) -> Result<(Vec<Through<'_>>, Sharing), Usage> {
        fn of<'v, T>(all: &'v [(String, T)], account: &str) -> Option<&'v T> {
            all.iter().find(|(name, _)| name == account).map(|(_, value)| value)
        }
        let named = self.shares.iter().map(|(name, _)| name).chain(self.senders.iter().map(|(name, _)| name));
        if let Some(stranger) = named.into_iter().find(|name| !self.accounts.contains(name)) {
            return Err(Usage(format!("--account {stranger:?} is not given: name each account with --account first")));
        }
        for named in [
            self.shares.iter().map(|(name, _)| name).collect(),
            self.senders.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        ] {
            let mut seen = HashSet::new();
            if let Some(twice) = named.into_iter().find(|name| !seen.insert(*name)) {
                return Err(Usage(format!("account {twice:?} is given two shares or two senders: give one of each")));
            }
        }
        let share = |account: &String| of(&self.shares, account).copied();
        if let (false, Some(without)) = (self.shares.is_empty(), self.accounts.iter().find(|a| share(a).is_none())) {
            return Err(Usage(format!(
                "account {without:?} has no share: give every account one, --share {without}=N"
            )));
        }
        let sharing = match (self.in_order, self.shares.is_empty()) {
            (true, _) => Sharing::InOrder,
            (false, false) => Sharing::Shares,
            (false, true) => Sharing::Together,
        };
        let sender = |account: &String| of(&self.senders, account).map(String::as_str);
        let through = self.accounts.iter().map(|a| Through { account: a, share: share(a), sender: sender(a) });
        Ok((through.collect(), sharing))
    }
}

async fn create(context: &Context, new: &Create, output: Output) -> anyhow::Result<()> {
    let (accounts, sharing) = new.through()?;
    let campaign = NewCampaign {
        name: &new.name,
        template: &new.template,
        fallback: new.fallback.as_deref(),
        list: &new.list,
        accounts: &accounts,
        sharing,
        weight: new.weight,
        on_missing: new.on_missing,
        on_unknown: new.on_unknown,
        expires_after_s: new.expires_after,
    };
    for through in &accounts {
        fits(context, through).await?;
    }
    let made = campaigns::create(&context.store, context.workspace_id, campaign).await?;
    let value = json!({
        "id": id(made.campaign_id), "name": made.name, "template": made.template,
        "fallback": made.fallback.as_ref().map(|f| &f.name), "list": made.list,
        "accounts": made.accounts, "sharing": made.sharing, "channel": made.channel, "weight": made.weight, "on_missing": made.on_missing,
        "on_unknown": made.on_unknown, "expires_after_seconds": made.expires_after_s,
    });
    output.result(&value, |_| definition(&made))
}

/// Refuses a sender that the account cannot send from.
async fn fits(context: &Context, through: &Through<'_>) -> anyhow::Result<()> {
    let Some(address) = through.sender else { return Ok(()) };
    let mut c = context.store.pool.acquire().await?;
    let account = accounts::get(&mut c, context.workspace_id, through.account).await?;
    let kind = Kind::named(&account.kind).with_context(|| format!("account {:?} is of no known kind", account.name))?;
    sender::check(kind, &account.settings, address)
        .map_err(|why| Usage(format!("--sender {}={address}: {why}", through.account)).into())
}

fn definition(c: &Campaign) -> String {
    let expires = c.expires_after_s.map_or("never".to_owned(), |s| format!("{} after the launch", duration(s as f64)));
    let fallback = c.fallback.as_ref().map(|f| format!("; outside the 24-hour window template {}", f.name));
    fields([
        ("campaign", c.name.clone()),
        ("says", format!("template {}, by {}{}", c.template, c.channel, fallback.unwrap_or_default())),
        ("to", format!("list {}", c.list)),
        ("through", through(c)),
        (
            "policies",
            format!("variable missing: {}; message in doubt: {}; expires: {expires}", c.on_missing, c.on_unknown),
        ),
        ("next", format!("fanfare campaign plan {}", c.name)),
    ])
}

/// `accounts main (3 of 4), other (1 of 4), by shares; weight 1`.
fn through(c: &Campaign) -> String {
    let all: i32 = c.accounts.iter().filter_map(|a| a.share).sum();
    let each = |a: &CampaignAccount| {
        let share = a.share.map(|share| format!(" ({share} of {all})")).unwrap_or_default();
        let sender = a.sender.as_ref().map(|sender| format!(" from {sender}")).unwrap_or_default();
        format!("{}{share}{sender}", a.name)
    };
    let names = c.accounts.iter().map(each).collect::<Vec<_>>().join(", ");
    match (c.accounts.len(), c.sharing) {
        (1, _) => format!("account {names}, weight {}", c.weight),
        (_, Sharing::Together) => format!("accounts {names}, together; weight {}", c.weight),
        (_, Sharing::Shares) => format!("accounts {names}, by shares; weight {}", c.weight),
        (_, Sharing::InOrder) => format!("accounts {names}, in this order; weight {}", c.weight),
    }
}

/// The names of its accounts.
pub fn account_names(c: &Campaign) -> String {
    c.accounts.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join(", ")
}

async fn launched(store: &Store, workspace_id: i32, name: &str, how: Launch, output: Output) -> anyhow::Result<()> {
    let run = match launch(store, workspace_id, name, how).await {
        Err(fanfare_scheduler::Error::Refused(problems)) => {
            let list: String = problems.iter().map(|p| format!("\n  {}\n    {}", p.problem, p.remedy)).collect();
            bail!("campaign {name:?} cannot be launched:{list}");
        }
        done => done?,
    };
    let value = json!({
        "campaign": run.campaign, "run": id(run.run_id), "state": run.state, "scheduled_for": run.scheduled_for,
        "recipients": run.plan.recipients, "cost": run.plan.cost, "warnings": run.plan.warnings,
    });
    output.result(&value, |_| {
        let start = match how.at {
            Some(at) => format!("starts {}", when(at)),
            None => "launched".to_owned(),
        };
        let to = count(run.plan.recipients);
        let warnings: String =
            run.plan.warnings.iter().map(|w| format!("note: {}: {}\n", w.problem, w.remedy)).collect();
        format!("{warnings}{start}: {to} recipients, {}\nnext: fanfare campaign watch {name}", plan::cost(&run.plan))
    })
}

fn changed(output: Output, changed: &Changed) -> anyhow::Result<()> {
    let value = json!({ "campaign": changed.campaign, "run": id(changed.run_id), "state": changed.state });
    output.result(&value, |_| format!("campaign {} is {}", changed.campaign, changed.state))
}

/// The campaign's newest run.
async fn newest_run(c: &mut PgConnection, workspace_id: i32, name: &str) -> anyhow::Result<(Campaign, i64)> {
    let campaign = campaigns::get(c, workspace_id, name).await?;
    match progress::newest_run(c, workspace_id, campaign.campaign_id).await? {
        Some(run_id) => Ok((campaign, run_id)),
        None => bail!("campaign {name:?} has not been launched: fanfare campaign launch {name}"),
    }
}

async fn ls(context: &Context, output: Output) -> anyhow::Result<()> {
    let mut c = context.store.pool.acquire().await?;
    let mut all: Vec<(Campaign, Option<Status>)> = Vec::new();
    for campaign in campaigns::list(&mut c, context.workspace_id).await? {
        let status = match progress::newest_run(&mut c, context.workspace_id, campaign.campaign_id).await? {
            Some(run_id) => Some(status::read(&mut c, context.workspace_id, &campaign, run_id).await?),
            None => None,
        };
        all.push((campaign, status));
    }
    let json: Vec<_> = all
        .iter()
        .map(|(c, s)| json!({ "id": id(c.campaign_id), "name": c.name, "template": c.template, "list": c.list, "accounts": c.accounts, "status": s }))
        .collect();
    output.result(&json!({ "campaigns": json }), |_| {
        let mut table = Table::new(&["campaign", "template", "list", "account", "state", "sent", "total"]);
        for (c, s) in &all {
            let (state, sent, total) = match s {
                Some(s) => (s.state_in_words(), count(s.sent), count(s.total)),
                None => ("not launched".to_owned(), String::new(), String::new()),
            };
            table.row([c.name.clone(), c.template.clone(), c.list.clone(), account_names(c), state, sent, total]);
        }
        let none = "no campaigns yet: fanfare campaign create NAME --template T --list L --account A";
        if all.is_empty() { none.to_owned() } else { table.render() }
    })
}
