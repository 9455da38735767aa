//! `fanfare campaign recipients` and `export`: every message of a run.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write as _};

use anyhow::bail;
use chrono::{DateTime, SecondsFormat, Utc};
use fanfare_domain::id::{message_id, message_of};
use fanfare_domain::limits::PROGRESS_SHARDS;
use fanfare_domain::outcome::Class;
use fanfare_domain::receipt::ReceiptKind;
use fanfare_domain::state::{MessageState, OnUnknown};
use fanfare_store::PgConnection;
use fanfare_store::deliveries::{self, Delivery};
use fanfare_store::queue::{self, Decision};
use fanfare_store::receipts::{self, Reported};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::run_of;
use crate::context::Context;
use crate::output::{self, Output, dim, id, written};
use crate::stream::{Objects, csv_failed};

/// Messages that are read at once.
const PAGE: i32 = 5_000;
/// Reports that have a column of their own.
const REPORTED: [ReceiptKind; 8] = [
    ReceiptKind::Sent,
    ReceiptKind::Delivered,
    ReceiptKind::Read,
    ReceiptKind::Failed,
    ReceiptKind::Confirmed,
    ReceiptKind::Cancelled,
    ReceiptKind::Interacted,
    ReceiptKind::Replied,
];

/// A message as JSON has it.
#[derive(Serialize)]
struct Line<'a> {
    /// The message id: the idempotency key that the provider saw.
    id: Uuid,
    seq: i32,
    address: &'a str,
    country: Option<&'a str>,
    state: MessageState,
    attempts: i16,
    class: Option<Class>,
    detail: Option<&'a str>,
    provider_id: Option<&'a str>,
    cost: i64,
    at: Option<DateTime<Utc>>,
    /// What was reported of it since, by kind.
    reports: BTreeMap<&'static str, Report<'a>>,
}

/// What a provider, or the recipient, reported.
#[derive(Serialize)]
struct Report<'a> {
    at: DateTime<Utc>,
    /// The provider's code of a failure; the payload of a button.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

/// The messages of one run.
struct Run {
    workspace_id: i32,
    run_id: i64,
    only: Option<MessageState>,
}

impl Run {
    fn line<'a>(&self, d: &'a Delivery, reported: &'a [Reported]) -> Line<'a> {
        let report = |r: &'a Reported| (r.kind.as_str(), Report { at: r.at, detail: r.detail.as_deref() });
        Line {
            id: message_id(self.workspace_id, self.run_id, d.seq),
            seq: d.seq,
            address: &d.address,
            country: d.country.as_deref(),
            state: d.state,
            attempts: d.attempts,
            class: d.class,
            detail: d.detail.as_deref(),
            provider_id: d.provider_id.as_deref(),
            cost: d.cost,
            at: d.at,
            reports: reported.iter().map(report).collect(),
        }
    }

    /// Calls `visit` with each message and what was reported of it, in order.
    async fn each(
        &self,
        c: &mut PgConnection,
        mut visit: impl FnMut(&Delivery, &[Reported]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let total = deliveries::total(c, self.workspace_id, self.run_id).await?;
        let mut lo = 0;
        while lo < total {
            let hi = total.min(lo.saturating_add(PAGE));
            let page = deliveries::page(c, self.workspace_id, self.run_id, (lo, hi), self.only).await?;
            let reported = receipts::of_messages(c, self.workspace_id, self.run_id, (lo, hi)).await?;
            for d in page {
                let from = reported.partition_point(|r| r.seq < d.seq);
                let to = reported.partition_point(|r| r.seq <= d.seq);
                visit(&d, &reported[from..to])?;
            }
            lo = hi;
        }
        Ok(())
    }

    async fn objects(&self, c: &mut PgConnection, mut objects: Objects) -> anyhow::Result<()> {
        self.each(c, |d, reported| objects.put(&self.line(d, reported))).await?;
        objects.end()
    }
}

/// One message, and the same as JSON; none if there is no such message.
pub async fn one(
    c: &mut PgConnection,
    workspace_id: i32,
    (run_id, seq): (i64, i32),
) -> anyhow::Result<Option<(Delivery, serde_json::Value)>> {
    let run = Run { workspace_id, run_id, only: None };
    // A seq is below the largest number that there is.
    let range = (seq, seq.saturating_add(1));
    let reported = receipts::of_messages(c, workspace_id, run_id, range).await?;
    let page = deliveries::page(c, workspace_id, run_id, range, None).await?;
    let found = page.into_iter().next();
    found.map(|d| serde_json::to_value(run.line(&d, &reported)).map(|value| (d, value))).transpose().map_err(Into::into)
}

/// For people, or as objects.
pub async fn list(
    context: &Context,
    (name, run_id): (&str, Option<i64>),
    only: Option<MessageState>,
    json_lines: bool,
    output: Output,
) -> anyhow::Result<()> {
    let mut c = context.store.pool.acquire().await?;
    let (_, run_id) = run_of(&mut c, context.workspace_id, name, run_id).await?;
    let run = Run { workspace_id: context.workspace_id, run_id, only };
    if json_lines {
        return run.objects(&mut c, Objects::lines()).await;
    }
    if output.json {
        let head = json!({ "campaign": name, "run": id(run_id) });
        return run.objects(&mut c, Objects::array(&head, "recipients")?).await;
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let head = format!("{:>9}  {:24}  {:10}  {:>8}  {}", "SEQ", "ADDRESS", "STATE", "ATTEMPTS", "LAST ANSWER");
    written(writeln!(out, "{}", dim(&head)))?;
    let mut any = false;
    run.each(&mut c, |d, reported| {
        any = true;
        let answer = answer(d, reported);
        let line = format!("{:>9}  {:24}  {:10}  {:>8}  {answer}", d.seq, d.address, d.state.as_str(), d.attempts);
        written(writeln!(out, "{}", line.trim_end()))
    })
    .await?;
    if !any {
        let which = only.map_or(String::new(), |s| format!(" {s}"));
        written(writeln!(out, "no{which} messages"))?;
    }
    written(out.flush())
}

/// What the provider said, and what is known since.
fn answer(d: &Delivery, reported: &[Reported]) -> String {
    let said = said(d);
    match reported.iter().max_by_key(|r| r.kind) {
        None => said,
        Some(last) => {
            let detail = last.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
            format!("{said}  {}{detail}", last.kind.as_str()).trim_start().to_owned()
        }
    }
}

fn said(d: &Delivery) -> String {
    match (d.class, &d.detail, &d.provider_id) {
        (None, ..) => String::new(),
        (Some(Class::Sent), _, Some(provider_id)) => provider_id.clone(),
        (Some(class), None, _) => class_name(class),
        (Some(class), Some(detail), _) => format!("{}: {detail}", class_name(class)),
    }
}

fn class_name(class: Class) -> String {
    // An enum without data serialises as a string.
    serde_json::to_value(class).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// As CSV, or as objects.
pub async fn export(
    context: &Context,
    (name, run_id): (&str, Option<i64>),
    json_lines: bool,
    output: Output,
) -> anyhow::Result<()> {
    if json_lines || output.json {
        return list(context, (name, run_id), None, json_lines, output).await;
    }
    let mut c = context.store.pool.acquire().await?;
    let (_, run_id) = run_of(&mut c, context.workspace_id, name, run_id).await?;
    let run = Run { workspace_id: context.workspace_id, run_id, only: None };
    let mut csv = csv::Writer::from_writer(std::io::stdout().lock());
    let header =
        ["seq", "id", "address", "country", "state", "attempts", "class", "detail", "provider_id", "cost", "at"];
    let reports = REPORTED.map(|kind| format!("{}_at", kind.as_str()));
    csv.write_record(header.into_iter().chain(reports.iter().map(String::as_str)).chain(["failure"]))
        .map_err(csv_failed)?;
    let written_out = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    run.each(&mut c, |d, reported| {
        let line = run.line(d, reported);
        let at = line.at.map(written_out).unwrap_or_default();
        let of = |kind: ReceiptKind| reported.iter().find(|r| r.kind == kind);
        let failure = of(ReceiptKind::Failed).and_then(|r| r.detail.clone()).unwrap_or_default();
        let times = REPORTED.map(|kind| of(kind).map(|r| written_out(r.at)).unwrap_or_default());
        let record = [
            d.seq.to_string(),
            line.id.to_string(),
            d.address.clone(),
            d.country.clone().unwrap_or_default(),
            d.state.to_string(),
            d.attempts.to_string(),
            d.class.map(class_name).unwrap_or_default(),
            d.detail.clone().unwrap_or_default(),
            d.provider_id.clone().unwrap_or_default(),
            d.cost.to_string(),
            at,
        ];
        csv.write_record(record.into_iter().chain(times).chain([failure])).map_err(csv_failed)
    })
    .await?;
    written(csv.flush())
}

/// Decides about one message in doubt.
pub async fn resolve(context: &Context, id: Uuid, verdict: OnUnknown, output: Output) -> anyhow::Result<()> {
    let store = &context.store;
    let found = message_of(id).filter(|(workspace_id, ..)| *workspace_id == context.workspace_id);
    let Some((workspace_id, run_id, seq)) = found else {
        bail!(
            "{id} is not the id of a message of this workspace: fanfare campaign recipients NAME --state unknown --json-lines shows them"
        );
    };
    let shard = store.rng.below(PROGRESS_SHARDS) as i16;
    let decided_at = store.clock.now();
    let decision = Decision { workspace_id, run_id, seq, verdict, decided_by: &store.actor, decided_at, shard };
    if !queue::decide(&store.pool, &store.ids, decision).await? {
        bail!("message {id} is not in doubt: there is nothing to decide");
    }
    let value = json!({ "id": id, "seq": seq, "run": output::id(run_id), "verdict": verdict, "by": &*store.actor });
    output.result(&value, |_| match verdict {
        OnUnknown::Resend => "it is sent again".to_owned(),
        OnUnknown::WriteOff => "it is written off, and paid".to_owned(),
        OnUnknown::Hold => "it is held".to_owned(),
    })
}
