//! Whose clocks show what: the waves of a plan.

use chrono::{DateTime, Utc};
use fanfare_domain::zone;
use fanfare_scheduler::plan::{HoursLine, Plan};

use crate::output::{Table, count};

/// Waves that are shown; the rest is summed up.
const WAVES_SHOWN_MAX: usize = 12;

/// `2026-12-01 09:00 where they are; 300 wait for their window; zone by number 4,700, …`.
pub fn hours(p: &Plan, h: &HoursLine) -> String {
    let local = h.local.map(|local| format!("{} where they are", local.format("%Y-%m-%d %H:%M")));
    let outside = match h.outside {
        0 => "everybody may be written to at the start".to_owned(),
        n if n == p.recipients => "nobody may be written to before their window opens".to_owned(),
        n => format!("{} wait for their window", count(n)),
    };
    let known = [
        (h.by_attribute, "by attribute"),
        (h.by_number, "by number"),
        (h.by_country, "by country, as most people there"),
        (h.by_campaign, h.zone.as_str()),
    ];
    let known = known.iter().filter(|(n, _)| *n > 0).map(|(n, how)| format!("{} {how}", count(*n)));
    let known = format!("zones: {}", known.collect::<Vec<_>>().join(", "));
    [local, Some(outside), Some(known)].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// The waves, those that start first in front, by their own clocks.
pub fn table(p: &Plan) -> String {
    let mut waves: Vec<_> = p.waves.iter().collect();
    waves.sort_by_key(|wave| (wave.starts_at.is_none(), wave.starts_at, wave.wave));
    let rest = waves.split_off(waves.len().min(WAVES_SHOWN_MAX));
    let mut table = Table::new(&["wave", "messages", "starts there", "ends there", "starts in UTC"]);
    for wave in waves {
        let utc = wave.starts_at.map(|at| at.format("%Y-%m-%d %H:%M").to_string()).unwrap_or_default();
        let (starts, ends) = (local(&wave.zone, wave.starts_at), local(&wave.zone, wave.finishes_at));
        table.row([wave.zone.clone(), count(wave.recipients), starts, ends, utc]);
    }
    if !rest.is_empty() {
        let messages = rest.iter().map(|wave| wave.recipients).sum();
        let none = String::new;
        table.row([format!("{} more", rest.len()), count(messages), none(), none(), none()]);
    }
    table.render()
}

/// What the clocks of a zone show.
pub fn local(name: &str, at: Option<DateTime<Utc>>) -> String {
    match (at, zone::parse(name)) {
        (Some(at), Ok(zone)) => at.with_timezone(&zone).format("%a %Y-%m-%d %H:%M").to_string(),
        _ => "not before its expiry".to_owned(),
    }
}
