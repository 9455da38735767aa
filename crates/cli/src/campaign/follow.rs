//! `fanfare campaign follow-up`: what comes after a campaign, and to whom.

use clap::{Args, Subcommand};
use fanfare_domain::cohort::Member;
use fanfare_store::follow_ups::{self, FollowUp, NewFollowUp};
use serde_json::json;

use crate::context::Context;
use crate::output::{Output, Table, duration};
use crate::parse;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a step: so long after the end of a run, to those of its recipients for whom something holds
    Add(Add),
    /// List the steps of a campaign
    Ls {
        /// Which campaign
        campaign: String,
    },
    /// Remove a step that nothing follows; what it has sent stays on record
    Rm {
        /// Which campaign
        campaign: String,
        /// Which step
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct Add {
    /// Which campaign
    campaign: String,
    /// What the commands will call the step
    #[arg(value_parser = parse::name)]
    name: String,
    /// What it says
    #[arg(long)]
    template: String,
    /// To whom: unread, no_reply, not_delivered, delivered, read, confirmed, replied, replied=TEXT, failed … of the
    /// run that it follows, as it stands when the step is due; several are separated by commas
    #[arg(long, value_name = "COHORT", value_delimiter = ',', required = true)]
    to: Vec<Member>,
    /// So long after the end of that run, e.g. 2h, 3d
    #[arg(long, value_name = "TIME", value_parser = parse::seconds)]
    after: i64,
    /// The step that it follows [default: the campaign itself]
    #[arg(long, value_name = "STEP")]
    of: Option<String>,
}

pub async fn run(context: &Context, command: Command, output: Output) -> anyhow::Result<()> {
    let (store, workspace_id) = (&context.store, context.workspace_id);
    let get = async |name: &str| -> anyhow::Result<_> {
        let mut c = store.pool.acquire().await?;
        Ok(fanfare_store::campaigns::get(&mut c, workspace_id, name).await?)
    };
    match command {
        Command::Add(add) => {
            let campaign = get(&add.campaign).await?;
            let new = NewFollowUp {
                name: &add.name,
                of: add.of.as_deref(),
                template: &add.template,
                after_s: add.after,
                cohort: &add.to,
            };
            let made = follow_ups::add(store, workspace_id, &campaign, new).await?;
            output.result(&value(&campaign.name, &made), |_| in_words(&made))
        }
        Command::Ls { campaign } => {
            let campaign = get(&campaign).await?;
            let steps = follow_ups::all(&mut *store.pool.acquire().await?, workspace_id, campaign.campaign_id).await?;
            let values: Vec<_> = steps.iter().map(|step| value(&campaign.name, step)).collect();
            output.result(&json!({ "campaign": campaign.name, "steps": values }), |_| table(&steps))
        }
        Command::Rm { campaign, name } => {
            let campaign = get(&campaign).await?;
            follow_ups::remove(store, workspace_id, &campaign, &name).await?;
            output.result(&json!({ "campaign": campaign.name, "removed": name }), |_| format!("step {name} removed"))
        }
    }
}

fn value(campaign: &str, step: &FollowUp) -> serde_json::Value {
    json!({
        "campaign": campaign, "step": step.name, "of": step.of, "template": step.template,
        "after_seconds": step.after_s, "to": step.cohort,
    })
}

fn cohort(step: &FollowUp) -> String {
    step.cohort.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn in_words(step: &FollowUp) -> String {
    let of = step.of.as_deref().map_or("the campaign".to_owned(), |of| format!("step {of}"));
    let after = duration(step.after_s as f64);
    format!("step {}: template {}, {after} after the end of {of}, to those {}", step.name, step.template, cohort(step))
}

fn table(steps: &[FollowUp]) -> String {
    if steps.is_empty() {
        return "nothing follows: fanfare campaign follow-up add CAMPAIGN STEP --template T --to unread --after 2d"
            .to_owned();
    }
    let mut table = Table::new(&["step", "follows", "after", "to", "template"]);
    for step in steps {
        let of = step.of.clone().unwrap_or_else(|| "the campaign".to_owned());
        table.row([step.name.clone(), of, duration(step.after_s as f64), cohort(step), step.template.clone()]);
    }
    table.render()
}
