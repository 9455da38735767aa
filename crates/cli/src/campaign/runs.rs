//! `fanfare campaign runs` and `history`: every run of a campaign, and every change of its states.

use fanfare_store::transitions::Transition;
use fanfare_store::{campaigns, runs, transitions};
use serde_json::json;

use crate::context::Context;
use crate::output::{Output, Table, count, id, when};

pub async fn list(context: &Context, name: &str, output: Output) -> anyhow::Result<()> {
    let mut c = context.store.pool.acquire().await?;
    let campaign = campaigns::get(&mut c, context.workspace_id, name).await?;
    let all = runs::list(&mut c, context.workspace_id, campaign.campaign_id).await?;
    let value = |run: &runs::Listed| {
        let s = run.standing;
        json!({
            "run": id(s.run_id), "kind": s.kind, "step": run.step, "parent": run.parent_run_id.map(id),
            "state": s.state, "paused_reason": s.paused_reason, "paused_detail": run.paused_detail,
            "scheduled_for": s.scheduled_for, "started_at": s.started_at, "finished_at": run.finished_at,
            "total": run.total, "sent": run.sent,
        })
    };
    let values: Vec<_> = all.iter().map(value).collect();
    output.result(&json!({ "campaign": name, "runs": values }), |_| {
        if all.is_empty() {
            return format!("no runs yet: fanfare campaign launch {name}");
        }
        let mut table = Table::new(&["run", "kind", "state", "for", "messages", "sent", "of run"]);
        for run in &all {
            let s = run.standing;
            let kind = run.step.as_ref().map_or(s.kind.to_string(), |step| format!("{} {step}", s.kind));
            let state = s.paused_reason.map_or(s.state.to_string(), |why| format!("{} ({why})", s.state));
            let parent = run.parent_run_id.map(id).unwrap_or_default();
            table.row([id(s.run_id), kind, state, when(s.scheduled_for), count(run.total), count(run.sent), parent]);
        }
        table.render()
    })
}

pub async fn history(context: &Context, name: &str, output: Output) -> anyhow::Result<()> {
    let mut c = context.store.pool.acquire().await?;
    let campaign = campaigns::get(&mut c, context.workspace_id, name).await?;
    let all = transitions::all(&mut c, context.workspace_id, campaign.campaign_id).await?;
    let value = |t: &Transition| {
        json!({
            "at": t.at, "run": t.run_id.map(id), "from": t.from, "to": t.to, "by": t.actor, "reason": t.reason,
        })
    };
    let values: Vec<_> = all.iter().map(value).collect();
    output.result(&json!({ "campaign": name, "transitions": values }), |_| {
        let mut table = Table::new(&["at", "what", "from", "to", "by", "why"]);
        for t in &all {
            let what = t.run_id.map_or("campaign".to_owned(), |run| format!("run {}", id(run)));
            let from = t.from.filter(|from| *from != t.to).map_or(String::new(), |state| state.as_str().to_owned());
            let why = t.reason.clone().unwrap_or_default();
            table.row([when(t.at), what, from, t.to.as_str().to_owned(), t.actor.clone(), why]);
        }
        table.render()
    })
}
