//! `fanfare campaign plan`: the dry run of a launch.

pub mod waves;

use std::process::ExitCode;

use fanfare_domain::state::{Category, Consent, Sharing};
use fanfare_scheduler::Problem;
use fanfare_scheduler::plan::{self, AccountLine, Plan};
use fanfare_scheduler::window::WindowLine;

use crate::bars;
use crate::context::Context;
use crate::output::{Output, Table, bold, count, credits, dim, duration, fields, on_terminal, paint, when};
use crate::sample;
use crate::workspace::cap_in_words;

/// Lines of countries that are shown; the rest is summed up.
const COUNTRIES_SHOWN_MAX: usize = 8;

/// Exit code 1 when a launch would be refused.
pub async fn run(context: &Context, name: &str, again: bool, output: Output) -> anyhow::Result<ExitCode> {
    let bar = bars::counting("reading contacts", !output.json);
    let plan = plan::plan(&context.store, context.workspace_id, name, again, |read, all| {
        bar.set_length(all.unsigned_abs());
        bar.set_position(read.unsigned_abs());
    })
    .await?;
    bar.finish_and_clear();
    output.result(&plan, |plan| match plan.refusals.is_empty() {
        true => {
            let again = if again { " --again" } else { "" };
            let next = match plan.next_at {
                Some(_) => format!("its schedule runs it by itself: fanfare campaign schedule {}", plan.campaign),
                None => format!("next: fanfare campaign launch {}{again}", plan.campaign),
            };
            format!("{}\n{}", render(plan), dim(&next))
        }
        false => render(plan),
    })?;
    Ok(if plan.refusals.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The plan as people read it.
pub fn render(p: &Plan) -> String {
    let x = p.excluded;
    let excluded = [
        (x.minus, "on a list left out"),
        (x.outside, "outside the segment"),
        (x.no_address, "without address"),
        (x.duplicate, "twice in the list"),
        (x.suppressed, "suppressed"),
        (x.reached, "reached by an earlier run"),
        (x.no_consent, "not opted in"),
        (x.capped, "at the cap by contact"),
        (x.missing, "variable missing, or text unfit"),
    ];
    let excluded: Vec<String> =
        excluded.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{} {why}", count(*n))).collect();
    let segments = if p.segments == p.recipients { String::new() } else { format!(", {} segments", count(p.segments)) };
    let pays = match p.credit.enough {
        true => "enough".to_owned(),
        false => format!("for {} messages", count(p.credit.covers)),
    };
    let time = match (p.seconds, p.finishes_at) {
        (Some(seconds), Some(at)) => format!("{} at the limits, until {}", duration(seconds), when(at)),
        (Some(seconds), None) => format!("{} at the limits", duration(seconds)),
        _ => "no limit".to_owned(),
    };
    let head = fields([
        ("campaign", bold(&p.campaign)),
        ("template", format!("{} v{}, by {}", p.template, p.template_version, p.channel)),
        (if p.list.contains(", ") { "lists" } else { "list" }, audience(p)),
        ("rules", rules(p)),
        (if p.accounts.len() > 1 { "accounts" } else { "account" }, accounts(p)),
        ("pace", p.rate.as_ref().map(|rate| format!("at most {rate}")).unwrap_or_default()),
        ("window", p.window.map(|w| window(p, w)).unwrap_or_default()),
        ("runs", p.next_at.map(|at| format!("by itself, next {}", when(at))).unwrap_or_default()),
        ("messages", format!("{}{segments}", bold(&count(p.recipients)))),
        ("first part", p.first.map(|first| format!("{}, then the rest", count(first.messages))).unwrap_or_default()),
        ("left out", excluded.join(", ")),
        ("cost", cost(p)),
        ("credit", format!("{} credits available: {pays}", credits(p.credit.available))),
        ("time", time),
        ("hours", p.hours.as_ref().map(|hours| waves::hours(p, hours)).unwrap_or_default()),
    ]);
    let samples: String = p.samples.iter().map(|s| sample::render(s, "")).collect();
    let parts = [
        head,
        countries(p),
        waves::table(p),
        samples,
        problems("note", "33", &p.warnings),
        problems("refused", "31;1", &p.refusals),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The lists and what is chosen of them.
fn audience(p: &Plan) -> String {
    let minus = p.minus.as_ref().map(|minus| format!(" but not {minus}")).unwrap_or_default();
    let segment = p.segment.as_ref().map(|segment| format!("\nwhere {segment}")).unwrap_or_default();
    format!("{}{minus}, {} contacts{segment}", p.list, count(p.audience))
}

/// What the category and the workspace ask for.
fn rules(p: &Plan) -> String {
    match (p.category, p.rules.consent, p.rules.cap) {
        (Category::Marketing, Consent::Assumed, None) => "marketing; consent is assumed".to_owned(),
        (Category::Marketing, Consent::Assumed, Some(_)) => {
            format!("marketing; consent is assumed, {}", cap_in_words(p.rules))
        }
        (Category::Marketing, Consent::Required, None) => "marketing, to those who opted in".to_owned(),
        (Category::Marketing, Consent::Required, Some(_)) => {
            format!("marketing, to those who opted in, {}", cap_in_words(p.rules))
        }
        (category, ..) => format!("{category}: goes to everybody who is not suppressed"),
    }
}

/// The account; of several, what is expected to go through each.
fn accounts(p: &Plan) -> String {
    let each = |a: &AccountLine| {
        let sender = a.sender.as_ref().map(|sender| format!(" from {sender}")).unwrap_or_default();
        let part = if p.accounts.len() > 1 { format!(" {}", count(a.messages)) } else { String::new() };
        let beside =
            if a.beside > 0 { format!(", beside {} of other campaigns", count(a.beside)) } else { String::new() };
        format!("{}{sender}{part}{beside}", a.account)
    };
    let how = match (p.accounts.len(), p.sharing) {
        (1, _) => "",
        (_, Sharing::Together) => ", together",
        (_, Sharing::Shares) => ", by shares",
        (_, Sharing::InOrder) => ", in this order",
    };
    format!("{}{how}", p.accounts.iter().map(each).collect::<Vec<_>>().join(", "))
}

/// `; 100 of them first`.
pub fn first_part(p: &Plan) -> String {
    p.first.map(|first| format!("; {} of them first", count(first.messages))).unwrap_or_default()
}

/// What it costs; where the accounts differ, about.
pub fn cost(p: &Plan) -> String {
    match p.cost == p.cost_at_most {
        true => format!("{} credits", credits(p.cost)),
        false => format!("about {} credits, at most {}", credits(p.cost), credits(p.cost_at_most)),
    }
}

/// Who may be sent the template's own words, and what becomes of the others.
fn window(p: &Plan, w: WindowLine) -> String {
    let fallback = p.fallback.as_deref().unwrap_or_default();
    let closed = match (w.fallback, w.refused) {
        (0, 0) => String::new(),
        (0, refused) => format!(", {} did not and are sent nothing", count(refused)),
        (n, _) => format!(", {} did not and get {fallback} v{}", count(n), p.fallback_version.unwrap_or_default()),
    };
    format!("{} wrote within 24 hours{closed}", count(w.open))
}

fn countries(p: &Plan) -> String {
    let mut lines: Vec<_> = p.countries.iter().collect();
    lines.sort_by_key(|c| std::cmp::Reverse(c.messages));
    let mut table = Table::new(&["country", "messages", "segments", "credits"]);
    let rest = lines.split_off(lines.len().min(COUNTRIES_SHOWN_MAX));
    for line in &lines {
        let name = line.country.clone().unwrap_or_else(|| "unknown".to_owned());
        table.row([name, count(line.messages), count(line.segments), credits(line.cost)]);
    }
    if !rest.is_empty() {
        let sum = |of: fn(&fanfare_scheduler::plan::CountryLine) -> i64| rest.iter().map(|c| of(c)).sum::<i64>();
        let (messages, segments, cost) = (sum(|c| c.messages), sum(|c| c.segments), sum(|c| c.cost));
        table.row([format!("{} more", rest.len()), count(messages), count(segments), credits(cost)]);
    }
    table.render()
}

fn problems(label: &str, sgr: &str, all: &[Problem]) -> String {
    let label = paint(label, sgr, on_terminal());
    all.iter().map(|p| format!("{label}: {}\n  {}\n", p.problem, p.remedy)).collect()
}
