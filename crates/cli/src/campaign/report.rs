//! `fanfare campaign report`: what was expected of a run beside what came of it.

use fanfare_domain::interval::{Share, share};
use fanfare_store::reports::{self, ArmCounts, CountryCost};
use fanfare_store::{arms, progress, runs};
use serde::Serialize;

use super::run_of;
use crate::context::Context;
use crate::output::{Output, Table, count, credits, duration, fields, id};

/// What was expected and what came of a run. Scripts rely on the keys.
#[derive(Debug, Serialize)]
struct Report {
    campaign: String,
    run: String,
    kind: &'static str,
    state: &'static str,
    messages: Pair<i64>,
    /// Micro-credits.
    cost: Pair<i64>,
    /// From its start to its last message.
    seconds: Pair<f64>,
    countries: Vec<CountryCost>,
    variants: Vec<Variant>,
}

#[derive(Debug, Serialize)]
struct Pair<T> {
    /// At the launch; none where a run was not forecast.
    forecast: Option<T>,
    /// Until now, if the run is not over.
    fact: Option<T>,
}

/// What became of those who got one of the templates.
#[derive(Debug, Serialize)]
struct Variant {
    template: String,
    version: i32,
    #[serde(flatten)]
    counts: ArmCounts,
    /// Of those sent, with the bounds of 95 % confidence.
    delivered_share: Share,
    read_share: Share,
    replied_share: Share,
    confirmed_share: Share,
}

pub async fn run(context: &Context, name: &str, run_id: Option<i64>, output: Output) -> anyhow::Result<()> {
    let (mut c, workspace_id) = (context.store.pool.acquire().await?, context.workspace_id);
    let (campaign, run_id) = run_of(&mut c, workspace_id, name, run_id).await?;
    let p = progress::progress(&mut c, workspace_id, run_id).await?;
    let listed = runs::list(&mut c, workspace_id, campaign.campaign_id).await?;
    let listed = listed.into_iter().find(|run| run.standing.run_id == run_id);
    let expected = listed.as_ref().and_then(|run| run.forecast.clone()).unwrap_or_default();
    let seconds = p.started_at.zip(p.finished_at).map(|(from, to)| (to - from).as_seconds_f64());
    let mut variants = Vec::new();
    let names = arms::names(&mut c, workspace_id, run_id).await?;
    for counts in reports::by_arm(&mut c, workspace_id, run_id).await? {
        let arm = usize::try_from(counts.arm).unwrap_or(0);
        let (template, version) = names.get(arm).cloned().unwrap_or_default();
        variants.push(Variant::of(template, version, counts));
    }
    let report = Report {
        campaign: campaign.name.clone(),
        run: id(run_id),
        kind: listed.map_or("launch", |run| run.standing.kind.as_str()),
        state: p.state()?.as_str(),
        messages: Pair { forecast: expected["recipients"].as_i64(), fact: Some(p.total) },
        cost: Pair { forecast: expected["cost"].as_i64(), fact: Some(p.cost) },
        seconds: Pair { forecast: expected["seconds"].as_f64(), fact: seconds },
        countries: reports::by_country(&mut c, workspace_id, run_id).await?,
        variants,
    };
    output.result(&report, render)
}

impl Variant {
    fn of(template: String, version: i32, counts: ArmCounts) -> Self {
        let of_sent = |hits| share(hits, counts.sent);
        Self {
            template,
            version,
            counts,
            delivered_share: of_sent(counts.delivered),
            read_share: of_sent(counts.read),
            replied_share: of_sent(counts.replied),
            confirmed_share: of_sent(counts.confirmed),
        }
    }
}

fn render(r: &Report) -> String {
    let head = fields([("campaign", r.campaign.clone()), ("run", format!("{}, a {}, {}", r.run, r.kind, r.state))]);
    let none = || "–".to_owned();
    let mut table = Table::new(&["", "forecast", "fact", "off by"]);
    let row = |name: &str, pair: &Pair<f64>, shown: &dyn Fn(f64) -> String| {
        let off = pair.forecast.zip(pair.fact).filter(|(forecast, _)| *forecast > 0.0);
        [
            name.to_owned(),
            pair.forecast.map_or_else(none, shown),
            pair.fact.map_or_else(none, shown),
            off.map_or_else(none, |(forecast, fact)| format!("{:+.1} %", (fact - forecast) * 100.0 / forecast)),
        ]
    };
    let float =
        |pair: &Pair<i64>| Pair { forecast: pair.forecast.map(|n| n as f64), fact: pair.fact.map(|n| n as f64) };
    table.row(row("messages", &float(&r.messages), &|n| count(n as i64)));
    table.row(row("credits", &float(&r.cost), &|n| credits(n as i64)));
    table.row(row("time", &r.seconds, &|s| duration(s)));
    let mut countries = Table::new(&["country", "messages", "credits"]);
    for line in &r.countries {
        let name = line.country.clone().unwrap_or_else(|| "unknown".to_owned());
        countries.row([name, count(line.messages), credits(line.cost)]);
    }
    let mut variants = Table::new(&["says", "sent", "delivered", "read", "answered", "opted out"]);
    for v in &r.variants {
        variants.row([
            format!("{} v{}", v.template, v.version),
            count(v.counts.sent),
            percent(v.delivered_share),
            percent(v.read_share),
            percent(v.replied_share),
            count(v.counts.opted_out),
        ]);
    }
    [head, table.render(), countries.render(), variants.render()].join("\n")
}

/// `12.5 % (10.1 to 15.2)`.
fn percent(share: Share) -> String {
    format!("{:.1} % ({:.1} to {:.1})", share.share * 100.0, share.from * 100.0, share.to * 100.0)
}
