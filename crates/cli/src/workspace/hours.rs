//! When the campaigns of a workspace may write to people, by their clocks.

use chrono_tz::Tz;
use clap::Args;
use fanfare_domain::state::Category;
use fanfare_domain::zone;
use fanfare_store::PgConnection;
use fanfare_store::hours::{self, WorkspaceHours, Written};
use serde_json::{Value, json};

use crate::output::Usage;
use crate::parse;

/// Options of `workspace set`.
#[derive(Debug, Args)]
#[command(next_help_heading = "By the recipients' clocks")]
pub struct SetHours {
    /// Hours of the day in which nothing is sent, e.g. 21:00-08:00; none to take them back
    #[arg(long, value_name = "FROM-TO|none", value_parser = quiet)]
    quiet: Option<Change>,
    /// Windows in which something is, e.g. 'mon-fri 09:00-18:00, sat 10:00-14:00'; none to take them back
    #[arg(long, value_name = "WINDOWS|none", value_parser = windows)]
    hours: Option<Change>,
    /// For these campaigns only: marketing or utility [default: all but transactional ones, which are sent at any
    /// hour]
    #[arg(long, value_parser = category)]
    category: Option<Category>,
    /// Where those live of whom nothing is known, e.g. Europe/Paris
    #[arg(long, value_parser = zone::parse)]
    zone: Option<Tz>,
}

/// What is to be there, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change(pub Option<String>);

fn change(text: &str, read: fn(&str) -> Result<String, String>) -> Result<Change, String> {
    if text == "none" { Ok(Change(None)) } else { read(text).map(|text| Change(Some(text))) }
}

/// Quiet hours, or `none`.
pub fn quiet(text: &str) -> Result<Change, String> {
    change(text, parse::quiet)
}

/// Windows, or `none`.
pub fn windows(text: &str) -> Result<Change, String> {
    change(text, parse::hours)
}

fn category(text: &str) -> Result<Category, String> {
    match text.parse() {
        Ok(Category::Transactional) => Err("transactional messages are sent at any hour".to_owned()),
        Ok(category) => Ok(category),
        Err(e) => Err(e),
    }
}

impl SetHours {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.quiet.is_none() && self.hours.is_none() && self.zone.is_none()
    }

    /// Changes the hours. What runs has to be given them as well.
    pub async fn set(self, c: &mut PgConnection, workspace_id: i32) -> anyhow::Result<()> {
        if let Some(zone) = self.zone {
            hours::set_zone(c, workspace_id, zone).await?;
        }
        if self.quiet.is_some() || self.hours.is_some() {
            let now = hours::of_workspace(c, workspace_id).await?;
            let standing = now.of.into_iter().find(|(of, _)| *of == self.category);
            let mut written = standing.map(|(_, written)| written).unwrap_or_default();
            if let Some(Change(quiet)) = self.quiet {
                written.quiet = quiet;
            }
            if let Some(Change(hours)) = self.hours {
                written.hours = hours;
            }
            if written.read().map_err(|e| Usage(e.to_string()))?.is_never() {
                let Written { quiet, hours } = written;
                let (quiet, hours) = (quiet.unwrap_or_default(), hours.unwrap_or_default());
                let why = format!("{hours:?} lies within the quiet hours {quiet}, so nothing would ever be sent");
                return Err(Usage(format!("{why}: leave some time, or take one of them back with none")).into());
            }
            hours::set(c, workspace_id, self.category, &written).await?;
        }
        Ok(())
    }
}

/// As programs read them.
pub fn json(hours: &WorkspaceHours) -> Value {
    let of = hours
        .of
        .iter()
        .map(|(category, written)| json!({ "category": category, "quiet": written.quiet, "hours": written.hours }));
    of.collect()
}

/// As people do: labels and what they stand for.
pub fn rows(hours: &WorkspaceHours) -> Vec<(&'static str, String)> {
    let mut rows = vec![("zone", hours.zone.clone().unwrap_or_else(|| "UTC".to_owned()))];
    for (category, written) in &hours.of {
        let whose = category.map_or("all but transactional".to_owned(), |category| format!("{category} only"));
        let quiet = written.quiet.as_ref().map(|quiet| format!("not {quiet}"));
        let parts: Vec<String> = [quiet, written.hours.clone()].into_iter().flatten().collect();
        rows.push(("hours", format!("{} ({whose})", parts.join("; "))));
    }
    if hours.of.is_empty() {
        rows.push(("hours", "any".to_owned()));
    }
    rows
}

/// That there are runs whose recipients nobody has divided by their zones.
pub fn undivided(runs: usize, zone: &str) -> String {
    match runs {
        0 => String::new(),
        n => format!(
            "{n} {} without hours: whoever they go to counts as in {zone}; to go by each one's clocks, cancel and launch again",
            if n == 1 { "run began" } else { "runs began" }
        ),
    }
}
