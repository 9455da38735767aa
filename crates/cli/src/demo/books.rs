//! The final account of the demo: each row, each message, each credit, and what the provider saw.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use fanfare_domain::receipt::ReceiptKind;
use fanfare_domain::state::MessageState;
use fanfare_providers::kind::Receipts;
use fanfare_scheduler::plan::Plan;
use fanfare_sim::{Handle, Stats};
use fanfare_store::audit::{Audit, audit};
use fanfare_store::queue::BY_RECEIPT;
use fanfare_store::{PgConnection, credits, deliveries, polls, progress, receipts as reports};
use serde::Serialize;

use super::show::busiest;
use super::{Demo, Drain, Killed, provider};
use crate::campaign::status::Status;
use crate::context::Context;
use crate::import::Imported;
use crate::output::{bold, count, credits as shown, duration, on_terminal, paint};

/// Messages that are read at once.
const PAGE: i32 = 5_000;
/// Longest wait for receipts after the last message, and how often they are looked for.
const RECEIPTS_WAIT: Duration = Duration::from_secs(15);
const RECEIPTS_LOOK: Duration = Duration::from_millis(100);
/// Entries of the ledger that are read; a run has one or two for each flush.
const LEDGER_MAX: i64 = 10_000_000;

/// The final account.
#[derive(Debug, Serialize)]
pub struct Books {
    pub ok: bool,
    pub seconds: f64,
    pub files: Vec<Imported>,
    pub plan: Plan,
    pub run: Status,
    pub killed: Killed,
    pub credits: Credits,
    pub provider: Provider,
    pub checks: Vec<Check>,
    pub audit: Audit,
}

/// Micro-credits.
#[derive(Debug, Serialize)]
pub struct Credits {
    pub topups: i64,
    pub charges: i64,
    pub balance: i64,
    pub reserved: i64,
}

/// What the provider saw.
#[derive(Debug, Serialize)]
pub struct Provider {
    pub cap: String,
    /// The most requests in any window of the cap.
    pub busiest_window: u64,
    #[serde(flatten)]
    pub stats: Stats,
}

/// One comparison.
#[derive(Debug, Serialize)]
pub struct Check {
    pub name: String,
    pub ok: bool,
    pub detail: String,
}

/// Puts the account together.
pub async fn close(
    context: &Context,
    demo: &Demo,
    files: Vec<Imported>,
    plan: Plan,
    drain: Drain,
    handle: &Handle,
    began: Instant,
) -> anyhow::Result<Books> {
    let mut c = context.store.pool.acquire().await?;
    let Drain { status, killed } = drain;
    let receipts = demo.provider.receipts;
    let status = if demo.provider.has_hook() { reported(context, status, receipts, handle).await? } else { status };
    let credits = credits_of(&mut c, context.workspace_id).await?;
    let stats = handle.stats();
    let agreed = compare(&mut c, context.workspace_id, &status, handle).await?;
    let provider = Provider { cap: demo.cap.to_string(), busiest_window: busiest(&stats), stats };
    let audit = audit(&mut c, context.workspace_id).await?;
    let mut checks: Vec<Check> = files.iter().map(rows).collect();
    checks.push(list(&files, &plan));
    checks.push(messages(&status));
    checks.push(agreed);
    checks.push(once(&provider));
    checks.extend(told(&mut c, context.workspace_id, receipts, (&status, &provider)).await?);
    checks.push(cap(&provider, demo));
    checks.push(balance(&credits, &status));
    checks.push(audited(&audit));
    let ok = checks.iter().all(|c| c.ok);
    let seconds = began.elapsed().as_secs_f64();
    Ok(Books { ok, seconds, files, plan, run: status, killed, credits, provider, checks, audit })
}

/// Waits for the receipts that are still on their way; the status with all of them.
async fn reported(
    context: &Context,
    mut status: Status,
    receipts: Receipts,
    handle: &Handle,
) -> anyhow::Result<Status> {
    let (c, workspace_id) = (&mut *context.store.pool.acquire().await?, context.workspace_id);
    let until = Instant::now() + RECEIPTS_WAIT;
    let run_id: i64 = status.run.parse()?;
    loop {
        // The schedulers are gone, and some receipts came before their message was written down.
        reports::match_early(&context.store).await?;
        let p = progress::progress(c, workspace_id, run_id).await?;
        (status.delivered, status.read, status.replied) = (p.delivered, p.read, p.replied);
        (status.sent, status.unknown, status.cost) = (p.sent, p.unknown, p.cost);
        let stats = handle.stats();
        let all = i64::try_from(stats.receipts.posted + stats.receipts.failed)? >= wanted(handle, receipts);
        let told = if receipts == Receipts::Webhook { p.delivered.min(p.read) } else { p.replied };
        if all && told >= named(c, workspace_id, run_id).await? || Instant::now() > until {
            return Ok(status);
        }
        tokio::time::sleep(RECEIPTS_LOOK).await;
    }
}

/// Receipts that the service has to post at least.
fn wanted(handle: &Handle, receipts: Receipts) -> i64 {
    let each = if receipts == Receipts::Webhook { provider::RECEIPTS.len() } else { 1 };
    handle.stats().accepted_messages as i64 * each as i64
}

/// Sent messages that a receipt can name: by our reference, or by the id that the service gave them. Some
/// answers have none.
async fn named(c: &mut PgConnection, workspace_id: i32, run_id: i64) -> anyhow::Result<i64> {
    let (mut named, total) = (0, deliveries::total(c, workspace_id, run_id).await?);
    for lo in (0..total).step_by(PAGE as usize) {
        let page = deliveries::page(c, workspace_id, run_id, (lo, total.min(lo + PAGE)), Some(MessageState::Sent));
        named +=
            page.await?.iter().filter(|d| d.provider_id.is_some() || d.detail.as_deref() == Some(BY_RECEIPT)).count()
                as i64;
    }
    Ok(named)
}

/// Every message that a receipt can name has been reported on, whatever came twice or late.
async fn told(
    c: &mut PgConnection,
    workspace_id: i32,
    receipts: Receipts,
    (s, p): (&Status, &Provider),
) -> anyhow::Result<Option<Check>> {
    let run_id = s.run.parse()?;
    let posted = count(p.stats.receipts.posted as i64);
    let (ok, detail) = match receipts {
        Receipts::None => return Ok(None),
        Receipts::Webhook => {
            let named = named(c, workspace_id, run_id).await?;
            let detail = format!("{} delivered and {} read, of {posted} receipts", count(s.delivered), count(s.read));
            ((s.delivered, s.read) == (named, named), detail)
        }
        Receipts::Confirmations => {
            let named = named(c, workspace_id, run_id).await?;
            (s.replied == named, format!("{} confirmed, of {posted} posts", count(s.replied)))
        }
        Receipts::Poll => {
            let [sent, failed] = ended(c, workspace_id, run_id, s.total).await?;
            let open = polls::open(c, workspace_id, run_id).await?;
            let detail = format!("of those queued there {} were sent and {} failed", count(sent), count(failed));
            (open == 0 && sent + failed > 0, detail)
        }
    };
    Ok(Some(Check { name: "receipts".to_owned(), ok, detail }))
}

/// Reports that a message was sent on, and that it failed.
async fn ended(c: &mut PgConnection, workspace_id: i32, run_id: i64, total: i64) -> anyhow::Result<[i64; 2]> {
    let reported = reports::of_messages(c, workspace_id, run_id, (0, i32::try_from(total)?)).await?;
    let many = |kind| reported.iter().filter(|r| r.kind == kind).count() as i64;
    Ok([many(ReceiptKind::Sent), many(ReceiptKind::Failed)])
}

async fn credits_of(c: &mut PgConnection, workspace_id: i32) -> anyhow::Result<Credits> {
    let ledger = credits::ledger(c, workspace_id, LEDGER_MAX).await?;
    let credit = credits::balance(c, workspace_id).await?;
    let sum = |topup: bool| ledger.iter().filter(|e| (e.amount > 0) == topup).map(|e| e.amount).sum::<i64>();
    Ok(Credits { topups: sum(true), charges: -sum(false), balance: credit.balance, reserved: credit.reserved })
}

fn rows(f: &Imported) -> Check {
    let c = &f.summary.counts;
    let parts = [
        (c.imported, "imported"),
        (c.updated, "updated"),
        (c.unchanged, "unchanged"),
        (c.duplicates, "repeated"),
        (c.rejected, "rejected"),
    ];
    Check::sum(&f.file, (c.rows, "rows"), &parts)
}

fn list(files: &[Imported], plan: &Plan) -> Check {
    let excluded = plan.excluded.sum();
    let imported: i64 = files.iter().map(|f| f.summary.counts.imported).sum();
    let parts = [(plan.recipients, "written to"), (excluded, "left out")];
    Check::sum("list", (imported, "contacts"), &parts)
}

fn messages(s: &Status) -> Check {
    let parts = [
        (s.sent, "sent"),
        (s.failed, "failed"),
        (s.suppressed, "suppressed"),
        (s.expired, "expired"),
        (s.cancelled, "cancelled"),
        (s.unknown, "unknown"),
    ];
    Check::sum("messages", (s.total, "messages"), &parts)
}

/// An address, however a service writes it.
fn plain(address: &str) -> String {
    address.trim_start_matches('+').to_lowercase()
}

/// Every message by its address: what we call sent the provider has accepted, and what we call failed it has not.
async fn compare(c: &mut PgConnection, workspace_id: i32, s: &Status, handle: &Handle) -> anyhow::Result<Check> {
    let mut accepted: HashSet<String> = HashSet::new();
    let mut page = handle.accepted(0);
    while !page.accepted.is_empty() {
        accepted.extend(page.accepted.iter().map(|a| plain(&a.to)));
        page = handle.accepted(page.next);
    }
    let run_id: i64 = s.run.parse()?;
    let (mut agreed, mut differ, mut doubtful) = (0, 0, 0);
    let total = deliveries::total(c, workspace_id, run_id).await?;
    for lo in (0..total).step_by(PAGE as usize) {
        for d in deliveries::page(c, workspace_id, run_id, (lo, total.min(lo + PAGE)), None).await? {
            let has_it = accepted.remove(&plain(&d.address));
            match (d.state, has_it) {
                (MessageState::Unknown, _) => doubtful += 1,
                (MessageState::Sent, true) => agreed += 1,
                (MessageState::Sent, false) | (_, true) => differ += 1,
                (_, false) => agreed += 1,
            }
        }
    }
    let strangers = accepted.len();
    let mut detail = format!("{} as the provider has them", count(agreed));
    let extra = [(differ, "otherwise"), (strangers as i64, "that we do not know of"), (doubtful, "in doubt")];
    for (n, what) in extra.into_iter().filter(|(n, _)| *n > 0) {
        detail.push_str(&format!(", {} {what}", count(n)));
    }
    Ok(Check { name: "each message".to_owned(), ok: differ == 0 && strangers == 0, detail })
}

fn once(p: &Provider) -> Check {
    let s = &p.stats;
    let (accepted, twice) = (count(s.accepted as i64), count(s.accepted_twice as i64));
    let detail = format!("{accepted} messages accepted, {twice} of them twice; {} requests", count(s.requests as i64));
    Check { name: "once each".to_owned(), ok: s.accepted_twice == 0 && s.accepted == s.accepted_messages, detail }
}

fn cap(p: &Provider, demo: &Demo) -> Check {
    let busiest = p.busiest_window as i64;
    let detail = format!("at most {} in any window, {} allowed", count(busiest), demo.cap);
    Check { name: "limit".to_owned(), ok: busiest > 0 && busiest <= demo.cap.count, detail }
}

fn balance(c: &Credits, s: &Status) -> Check {
    let ok = c.topups - c.charges == c.balance && c.charges == s.cost && (c.reserved == 0 || s.unknown > 0);
    let reserved = if c.reserved == 0 { String::new() } else { format!(", {} reserved", shown(c.reserved)) };
    let detail =
        format!("{} topped up − {} charged = {} left{reserved}", shown(c.topups), shown(c.charges), shown(c.balance));
    Check { name: "credits".to_owned(), ok, detail }
}

fn audited(audit: &Audit) -> Check {
    let failed: Vec<String> =
        audit.checks.iter().filter(|c| !c.ok).map(|c| format!("{}: {}", c.name, c.detail)).collect();
    let detail = if failed.is_empty() { format!("{} checks hold", audit.checks.len()) } else { failed.join("; ") };
    Check { name: "audit".to_owned(), ok: audit.ok, detail }
}

impl Check {
    /// Holds that the parts make the whole.
    fn sum(name: &str, whole: (i64, &str), parts: &[(i64, &str)]) -> Self {
        let ok = parts.iter().map(|(n, _)| n).sum::<i64>() == whole.0;
        let some = parts.iter().filter(|(n, _)| *n != 0);
        let some: Vec<String> = some.map(|(n, what)| format!("{} {what}", count(*n))).collect();
        let sign = if ok { "=" } else { "≠" };
        let some = if some.is_empty() { "0".to_owned() } else { some.join(" + ") };
        Self { name: name.to_owned(), ok, detail: format!("{} {} {sign} {some}", count(whole.0), whole.1) }
    }
}

/// The account as people read it.
pub fn render(b: &Books) -> String {
    let width = b.checks.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
    let line = |c: &Check| {
        let mark = if c.ok { paint("ok  ", "32", on_terminal()) } else { paint("FAIL", "31;1", on_terminal()) };
        format!("  {mark}  {:width$}  {}\n", c.name, c.detail)
    };
    let lines: String = b.checks.iter().map(line).collect();
    let verdict = match b.ok {
        true => paint("The books balance.", "32;1", on_terminal()),
        false => paint("The books do not balance.", "31;1", on_terminal()),
    };
    let killed =
        format!("Worker process {} was killed after {} messages", b.killed.process, count(b.killed.at_messages));
    let time = format!("{killed}; all in all it took {}.", duration(b.seconds));
    format!("\n{}\n{lines}\n{verdict} {time}", bold("Account"))
}
