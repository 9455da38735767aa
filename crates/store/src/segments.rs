//! Segments: an expression held against what lists and campaigns there are, and turned into SQL. Its values
//! are bound, never pasted.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_domain::segment::{Event, Expr, Field, Happened, Named, Order, Segment, SegmentError, Value};
use fanfare_domain::template::variable_name;
use sqlx::{PgConnection, Postgres, QueryBuilder};

use crate::audience::{all_attribute_names, attribute_names, has_attribute};
use crate::nearest::nearest;
use crate::{Error, Result};

/// Names that are listed where none is near.
const LISTED_MAX: usize = 20;

/// An expression whose names are known.
#[derive(Debug, Clone)]
pub struct Bound {
    segment: Segment,
    campaigns: HashMap<String, i64>,
    attributes: HashMap<String, String>,
}

/// Finds the attributes and campaigns that the expression names, in any spelling of an attribute.
///
/// # Errors
/// [`Error::Segment`] with the place of a name that does not exist and the nearest that do; else when the
/// database fails.
pub async fn check(c: &mut PgConnection, workspace_id: i32, lists: &[i64], segment: &Segment) -> Result<Bound> {
    let bound = bind(c, workspace_id, lists, segment).await?;
    for named in segment.attributes() {
        if !bound.attributes.contains_key(&named.name) {
            let known = all_attribute_names(c, workspace_id, lists).await?;
            return Err(unknown("attribute", named, &known, "none of the contacts has it"));
        }
    }
    for named in segment.campaigns() {
        if !bound.campaigns.contains_key(&named.name) {
            let names: Vec<String> = sqlx::query_scalar(
                "-- check: campaigns\n select name from campaign where workspace_id = $1 order by name",
            )
            .bind(workspace_id)
            .fetch_all(&mut *c)
            .await?;
            return Err(unknown("campaign", named, &names, "see fanfare campaign ls"));
        }
    }
    Ok(bound)
}

/// The same for an expression that was checked before: a name that has gone since is one that no contact has.
///
/// # Errors
/// When the database fails.
pub async fn bind(c: &mut PgConnection, workspace_id: i32, lists: &[i64], segment: &Segment) -> Result<Bound> {
    let mut attributes = HashMap::new();
    let wanted = segment.attributes();
    let sampled = if wanted.is_empty() { Vec::new() } else { attribute_names(c, workspace_id, lists).await? };
    for named in wanted {
        let alike = |known: &&String| variable_name(known) == variable_name(&named.name);
        let name = match sampled.contains(&named.name) || has_attribute(c, workspace_id, lists, &named.name).await? {
            true => Some(&named.name),
            false => sampled.iter().find(alike),
        };
        attributes.extend(name.map(|name| (named.name.clone(), name.clone())));
    }
    let names: Vec<&str> = segment.campaigns().iter().map(|named| named.name.as_str()).collect();
    let campaigns: Vec<(String, i64)> = sqlx::query_as(
        "-- bind: campaigns\n select name, campaign_id from campaign where workspace_id = $1 and name = any ($2::text[])",
    )
    .bind(workspace_id)
    .bind(names)
    .fetch_all(c)
    .await?;
    Ok(Bound { segment: segment.clone(), attributes, campaigns: campaigns.into_iter().collect() })
}

fn unknown(what: &str, named: &Named, known: &[String], otherwise: &str) -> Error {
    let near = nearest(&named.name, known);
    let remedy = match (near.is_empty(), known) {
        (false, _) => format!("did you mean {}?", near.join(", ")),
        (true, []) => otherwise.to_owned(),
        (true, known) => {
            let more = if known.len() > LISTED_MAX { ", …" } else { "" };
            format!("there are {}{more}", known[..known.len().min(LISTED_MAX)].join(", "))
        }
    };
    Error::Segment(SegmentError { at: named.at, problem: format!("no {what} {:?}: {remedy}", named.name) })
}

/// A statement in the making.
pub(crate) type Query = QueryBuilder<Postgres>;

impl Bound {
    /// Appends the condition that it holds for the contact `c`: true or false, never null.
    pub(crate) fn push(&self, q: &mut Query, workspace_id: i32, now: DateTime<Utc>) {
        Writer { bound: self, workspace_id, now }.expr(q, self.segment.expr());
    }
}

struct Writer<'a> {
    bound: &'a Bound,
    workspace_id: i32,
    now: DateTime<Utc>,
}

impl Writer<'_> {
    fn expr(&self, q: &mut Query, expr: &Expr) {
        match expr {
            Expr::All(parts) => self.joined(q, parts, " and "),
            Expr::Any(parts) => self.joined(q, parts, " or "),
            Expr::Not(part) => {
                q.push("not ");
                self.expr(q, part);
            }
            term => {
                q.push("coalesce(");
                self.term(q, term);
                q.push(", false)");
            }
        }
    }

    fn joined(&self, q: &mut Query, parts: &[Expr], between: &str) {
        q.push("(");
        for (i, part) in parts.iter().enumerate() {
            q.push(if i == 0 { "" } else { between });
            self.expr(q, part);
        }
        q.push(")");
    }

    fn term(&self, q: &mut Query, term: &Expr) {
        match term {
            Expr::OneOf(field, values) => self.one_of(q, field, values),
            Expr::Compare(field, order, value) => self.compare(q, field, *order, value),
            Expr::Contains(field, text) => {
                q.push("position(").push_bind(text.clone()).push("::text in ");
                self.text(q, field);
                q.push(") > 0");
            }
            Expr::StartsWith(field, text) => {
                q.push("starts_with(");
                self.text(q, field);
                q.push(", ").push_bind(text.clone()).push(")");
            }
            Expr::Known(field) => {
                self.text(q, field);
                q.push(" <> ''");
            }
            Expr::Consents => {
                q.push("c.consent = 1");
            }
            Expr::Tagged(tags) => {
                q.push("c.tags && ").push_bind(tags.clone());
            }
            Expr::HasTags => {
                q.push("c.tags is not null");
            }
            Expr::Happened(happened) => self.happened(q, happened),
            // Written by `expr`.
            Expr::All(_) | Expr::Any(_) | Expr::Not(_) => {}
        }
    }

    /// The field as text; null when there is none.
    fn text(&self, q: &mut Query, field: &Field) {
        q.push(match field {
            Field::Name => "c.name",
            Field::Phone => "case when c.address like '+%' then c.address end",
            Field::Email => "case when c.address like '+%' then c.email else c.address end",
            Field::Country => "c.country",
            Field::Language => "c.language",
            Field::Source => "c.source",
            Field::Attribute(_) => "(c.attributes ->> ",
        });
        if let Field::Attribute(named) = field {
            q.push_bind(self.key(named)).push("::text)");
        }
    }

    /// As the contacts have it.
    fn key(&self, named: &Named) -> String {
        self.bound.attributes.get(&named.name).unwrap_or(&named.name).clone()
    }

    fn one_of(&self, q: &mut Query, field: &Field, values: &[Value]) {
        let texts: Vec<String> = values.iter().map(|value| value.text.clone()).collect();
        q.push("(");
        self.text(q, field);
        q.push(" = any (").push_bind(texts.clone()).push(")");
        if *field == Field::Language {
            let regions: Vec<String> = texts.iter().map(|text| format!("{text}-")).collect();
            q.push(" or exists (select from unnest(").push_bind(regions).push(") l where starts_with(c.language, l))");
        }
        let numbers: Vec<f64> = values.iter().filter_map(|value| value.number).collect();
        if let (Field::Attribute(named), false) = (field, numbers.is_empty()) {
            q.push(" or ");
            self.number(q, named);
            q.push(" = any (").push_bind(numbers).push(")");
        }
        q.push(")");
    }

    /// The attribute as a number; null when it is none.
    fn number(&self, q: &mut Query, named: &Named) {
        let key = self.key(named);
        q.push("case jsonb_typeof(c.attributes -> ").push_bind(key.clone()).push("::text)");
        q.push(" when 'number' then (c.attributes ->> ").push_bind(key).push("::text)::float8 end");
    }

    fn compare(&self, q: &mut Query, field: &Field, order: Order, value: &Value) {
        let sign = match order {
            Order::Less => " < ",
            Order::AtMost => " <= ",
            Order::More => " > ",
            Order::AtLeast => " >= ",
        };
        match (field, value.number) {
            (Field::Attribute(named), Some(number)) => {
                self.number(q, named);
                q.push(sign).push_bind(number);
            }
            (Field::Attribute(named), None) => {
                let key = self.key(named);
                q.push("case jsonb_typeof(c.attributes -> ").push_bind(key.clone()).push("::text)");
                q.push(" when 'string' then (c.attributes ->> ").push_bind(key).push("::text) end collate \"C\"");
                q.push(sign).push_bind(value.text.clone());
            }
            _ => {
                q.push("(");
                self.text(q, field);
                q.push(") collate \"C\"").push(sign).push_bind(value.text.clone());
            }
        }
    }

    /// A message to one of the contact's addresses of which that is on record.
    fn happened(&self, q: &mut Query, happened: &Happened) {
        let kinds: &[i16] = match happened.event {
            Event::Sent => &[],
            Event::Delivered => &[2, 3],
            Event::Read => &[3],
            Event::Replied => &[7, 8],
            Event::Confirmed => &[5],
        };
        q.push("(select true from recipient r ");
        q.push(match happened.event {
            Event::Sent => "join outcome e",
            _ => "join receipt e",
        });
        q.push(" on e.workspace_id = r.workspace_id and e.run_id = r.run_id and e.seq = r.seq where r.workspace_id = ");
        q.push_bind(self.workspace_id).push(" and r.address collate \"C\" = any (array[c.address, c.email])");
        match happened.event {
            Event::Sent => q.push(" and e.class = 1"),
            _ => q.push(" and e.kind = any (").push_bind(kinds.to_vec()).push(")"),
        };
        if let Some(within) = happened.within_hours {
            // The longest that an expression looks back fits.
            let since = self.now.checked_sub_signed(TimeDelta::hours(i64::from(within)));
            q.push(" and e.at >= ").push_bind(since.unwrap_or(DateTime::UNIX_EPOCH));
        }
        if let Some(named) = &happened.campaign {
            let campaign_id = self.bound.campaigns.get(&named.name).copied().unwrap_or_default();
            q.push(" and r.run_id in (select u.run_id from run u where u.workspace_id = ").push_bind(self.workspace_id);
            q.push(" and u.campaign_id = ").push_bind(campaign_id).push(")");
        }
        q.push(" limit 1)");
    }
}
