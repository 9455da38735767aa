//! `fanfare list count`, `clone`, `merge` and `export`: the contacts of some lists, less others, for whom an
//! expression holds.

use std::collections::BTreeSet;

use clap::Args;
use fanfare_domain::segment::Segment;
use fanfare_store::audience::pick::{self, Picked};
use fanfare_store::audience::{Filter, Source};
use fanfare_store::contacts::Contact;
use fanfare_store::{PgConnection, lists, segments};
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::{Output, Usage, count, fields, quoted, written};
use crate::parse;
use crate::stream::{Objects, csv_failed};

/// What an expression may say; shown by `--help`.
pub const EXPRESSIONS: &str = "\
Expressions:
  city = Oran, city != Oran, city in (Oran, Blida)    the value is (not) one of these
  age >= 18, joined < 2026-03-01                      numbers by size, dates as year-month-day
  name contains \"Ben\", phone starts with +213         part of the text, as it is written
  city is known, city is missing                      there is (no) value
  tag = vip, tag in (vip, gold), tag is missing       tags
  consent = yes, consent = unknown                    has opted in, or that is not known
  sent, delivered, read, replied, confirmed           what happened to a message,
    in CAMPAIGN, within 30 days                       of that campaign, so long ago at most
  and, or, not, ( )                                   and binds closer than or
Fields are name, phone, email, country, language, source, tag, consent and the attributes of the contacts;
@read or @\"Full name\" is always an attribute.";

#[derive(Debug, Args)]
pub struct Pick {
    /// Leave out the contacts of this list; repeat it for several
    #[arg(long = "minus", value_name = "LIST")]
    minus: Vec<String>,
    /// Only contacts for whom this holds, e.g. "country = DZ and not read in spring within 30 days"
    #[arg(long, value_name = "EXPRESSION", value_parser = parse::segment)]
    segment: Option<Segment>,
}

/// Lists that were found, and what leaves contacts of them out.
struct Found {
    workspace_id: i32,
    lists: Vec<i64>,
    filter: Filter,
}

impl Found {
    fn source(&self) -> Source<'_> {
        let Self { workspace_id, lists, filter } = self;
        Source { workspace_id: *workspace_id, lists, by_phone: true, attributes: true, heard_by: &[], filter }
    }
}

impl Pick {
    async fn find(&self, context: &Context, names: &[String]) -> anyhow::Result<Found> {
        let workspace_id = context.workspace_id;
        let mut c = context.store.pool.acquire().await?;
        let lists = ids(&mut c, workspace_id, names).await?;
        let segment = match &self.segment {
            Some(segment) => Some(segments::check(&mut c, workspace_id, &lists, segment).await?),
            None => None,
        };
        let minus = ids(&mut c, workspace_id, &self.minus).await?;
        let filter = Filter { minus, segment, now: context.store.clock.now(), ..Filter::default() };
        Ok(Found { workspace_id, lists, filter })
    }

    /// `, less a, where country = DZ`.
    fn in_words(&self) -> String {
        let minus = if self.minus.is_empty() { String::new() } else { format!(", less {}", self.minus.join(", ")) };
        let segment = self.segment.as_ref().map(|segment| format!(", where {segment}")).unwrap_or_default();
        format!("{minus}{segment}")
    }
}

async fn ids(c: &mut PgConnection, workspace_id: i32, names: &[String]) -> anyhow::Result<Vec<i64>> {
    let mut ids = Vec::new();
    for name in names {
        let id = lists::get(c, workspace_id, name).await?.list_id;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

pub async fn counted(context: &Context, names: &[String], what: &Pick, output: Output) -> anyhow::Result<()> {
    let found = what.find(context, names).await?;
    let n = pick::count(&mut *context.store.pool.acquire().await?, found.source()).await?;
    let Picked { contacts, minus, outside, picked } = n;
    let value = json!({
        "lists": names, "minus": what.minus, "segment": what.segment, "contacts": contacts, "on_minus": minus,
        "outside": outside, "count": picked,
    });
    output.result(&value, |_| {
        let some = |n: i64| if n == 0 { String::new() } else { count(n) };
        fields([
            ("contacts", format!("{} in {}", count(contacts), names.join(", "))),
            ("on a list left out", some(minus)),
            ("outside the segment", some(outside)),
            ("count", count(picked)),
        ])
    })
}

/// Puts the contacts into a list: a new one for a clone, one that may exist for a merge.
pub async fn copied(
    context: &Context,
    names: &[String],
    (into, is_new): (&str, bool),
    what: &Pick,
    output: Output,
) -> anyhow::Result<()> {
    let (store, workspace_id) = (&context.store, context.workspace_id);
    if names.iter().any(|name| name == into) {
        return Err(Usage(format!("list {into:?} is among those it is filled from: name another one")).into());
    }
    let found = what.find(context, names).await?;
    let mut c = store.pool.acquire().await?;
    if is_new && lists::find(&mut c, workspace_id, into).await?.is_some() {
        let from = quoted(&names.join(" "));
        let remedy = format!("choose another name, or add to it: fanfare list merge {from} --into {}", quoted(into));
        return Err(fanfare_store::Error::Conflict(format!("list {into:?} exists already: {remedy}")).into());
    }
    let list_id = lists::ensure(&mut c, store, workspace_id, into).await?.list_id;
    drop(c);
    let origin = format!("list {}{}", names.join(", "), what.in_words());
    let counts = pick::copy(store, found.source(), list_id, &origin).await?;
    let value = json!({ "list": into, "from": names, "added": counts.imported, "known": counts.duplicates });
    output.result(&value, |_| {
        let known = match counts.duplicates {
            0 => String::new(),
            n => format!(", which had {} of them", count(n)),
        };
        format!("{} contacts put into list {into}{known}", count(counts.imported))
    })
}

pub async fn export(
    context: &Context,
    names: &[String],
    what: &Pick,
    json_lines: bool,
    output: Output,
) -> anyhow::Result<()> {
    let found = what.find(context, names).await?;
    let mut c = context.store.pool.acquire().await?;
    if !json_lines && !output.json {
        return export_csv(&mut c, found.source()).await;
    }
    let mut objects = match json_lines {
        true => Objects::lines(),
        false => Objects::array(&json!({ "list": names.join(", ") }), "contacts")?,
    };
    pick::each(&mut c, found.source(), |contact| objects.put(&contact)).await?;
    objects.end()
}

/// Read twice, since the header must name every attribute. A contact that is added in between keeps
/// those that the header names.
async fn export_csv(c: &mut PgConnection, source: Source<'_>) -> anyhow::Result<()> {
    let mut attributes: BTreeSet<String> = BTreeSet::new();
    pick::each(c, source, |contact| {
        let names = contact.attributes.as_ref().and_then(Value::as_object).into_iter().flat_map(|o| o.keys());
        for name in names {
            if !attributes.contains(name) {
                attributes.insert(name.clone());
            }
        }
        anyhow::Ok(())
    })
    .await?;
    let mut csv = csv::Writer::from_writer(std::io::stdout().lock());
    let own = ["phone", "email", "name", "country", "language", "tags", "consent", "source"];
    csv.write_record(own.into_iter().chain(attributes.iter().map(String::as_str))).map_err(csv_failed)?;
    pick::each(c, source, |contact| csv.write_record(record(&contact, &attributes)).map_err(csv_failed)).await?;
    written(csv.flush())
}

fn record(contact: &Contact, attributes: &BTreeSet<String>) -> Vec<String> {
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    let (phone, email) = match contact.address.starts_with('+') {
        true => (contact.address.clone(), text(&contact.email)),
        false => (String::new(), contact.address.clone()),
    };
    let consent = if contact.consent == 1 { "yes" } else { "" }.to_owned();
    let tags = contact.tags.as_ref().map(|tags| tags.join(", ")).unwrap_or_default();
    let (name, country, language) = (text(&contact.name), text(&contact.country), text(&contact.language));
    let mut record = vec![phone, email, name, country, language, tags, consent, text(&contact.source)];
    record.extend(attributes.iter().map(|name| match contact.attributes.as_ref().and_then(|a| a.get(name)) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }));
    record
}
