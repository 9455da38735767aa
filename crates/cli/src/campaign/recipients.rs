//! `fanfare campaign recipients` and `export`: every message of a run.

use std::io::{BufWriter, Write as _};

use chrono::{DateTime, SecondsFormat, Utc};
use fanfare_domain::id::message_id;
use fanfare_domain::outcome::Class;
use fanfare_domain::state::MessageState;
use fanfare_store::PgConnection;
use fanfare_store::deliveries::{self, Delivery};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::newest_run;
use crate::context::Context;
use crate::output::{Output, dim, id, written};
use crate::stream::{Objects, csv_failed};

/// Messages that are read at once.
const PAGE: i32 = 5_000;

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
}

/// The messages of one run.
struct Run {
    workspace_id: i32,
    run_id: i64,
    only: Option<MessageState>,
}

impl Run {
    fn line<'a>(&self, d: &'a Delivery) -> Line<'a> {
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
        }
    }

    /// Calls `visit` with each message, in order.
    async fn each(
        &self,
        c: &mut PgConnection,
        mut visit: impl FnMut(&Delivery) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let total = deliveries::total(c, self.workspace_id, self.run_id).await?;
        let mut lo = 0;
        while lo < total {
            let hi = total.min(lo.saturating_add(PAGE));
            for d in deliveries::page(c, self.workspace_id, self.run_id, (lo, hi), self.only).await? {
                visit(&d)?;
            }
            lo = hi;
        }
        Ok(())
    }

    async fn objects(&self, c: &mut PgConnection, mut objects: Objects) -> anyhow::Result<()> {
        self.each(c, |d| objects.put(&self.line(d))).await?;
        objects.end()
    }
}

/// For people, or as objects.
pub async fn list(
    context: &Context,
    name: &str,
    only: Option<MessageState>,
    json_lines: bool,
    output: Output,
) -> anyhow::Result<()> {
    let mut c = context.store.pool.acquire().await?;
    let (_, run_id) = newest_run(&mut c, context.workspace_id, name).await?;
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
    run.each(&mut c, |d| {
        any = true;
        let answer = answer(d);
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

fn answer(d: &Delivery) -> String {
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
pub async fn export(context: &Context, name: &str, json_lines: bool, output: Output) -> anyhow::Result<()> {
    if json_lines || output.json {
        return list(context, name, None, json_lines, output).await;
    }
    let mut c = context.store.pool.acquire().await?;
    let (_, run_id) = newest_run(&mut c, context.workspace_id, name).await?;
    let run = Run { workspace_id: context.workspace_id, run_id, only: None };
    let mut csv = csv::Writer::from_writer(std::io::stdout().lock());
    let header =
        ["seq", "id", "address", "country", "state", "attempts", "class", "detail", "provider_id", "cost", "at"];
    csv.write_record(header).map_err(csv_failed)?;
    run.each(&mut c, |d| {
        let line = run.line(d);
        let at = line.at.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)).unwrap_or_default();
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
        csv.write_record(record).map_err(csv_failed)
    })
    .await?;
    written(csv.flush())
}
