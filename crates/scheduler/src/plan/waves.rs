//! By whose clocks a run would be sent, and when that is.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use fanfare_domain::limits::{FIRST_SEGMENT_CONTACTS, LOCAL_LEAD, SEGMENT_CONTACTS};
use fanfare_domain::spread::{Course, Stretch, spread};
use fanfare_domain::zone::{By, instant};
use fanfare_store::audience::Contact;
use fanfare_store::hours::Rules;
use fanfare_store::{PgConnection, Result, imports};
use serde::Serialize;

use super::Plan;
use crate::Problem;
use crate::waves::Waves;

/// Most contacts that are named whose zone does not exist.
const INVALID_NAMED_MAX: usize = 5;

/// Recipients whose clocks agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaveLine {
    /// Its number, from 0.
    pub wave: i16,
    /// The zone of the first of them, by its IANA name; the others keep the same time.
    pub zone: String,
    /// How many.
    pub recipients: i64,
    /// When their first window opens, or now if one is open.
    pub opens_at: DateTime<Utc>,
    /// When that closes, if it does.
    pub closes_at: Option<DateTime<Utc>>,
    /// When the first of them is expected to be sent to; `None` = not before the campaign's expiry.
    pub starts_at: Option<DateTime<Utc>>,
    /// And the last; `None` if some are not.
    pub finishes_at: Option<DateTime<Utc>>,
    /// How many are not.
    pub expired: i64,
}

/// How recipients stand to their hours, and how their zones are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HoursLine {
    /// The zone of whoever is not known to live elsewhere.
    pub zone: String,
    /// Nothing is sent before this time of the recipients' clocks.
    pub local: Option<NaiveDateTime>,
    /// Recipients who have to wait for their window at the start.
    pub outside: i64,
    /// Recipients whose clocks are past the local time already.
    pub late: i64,
    /// Whose zone an attribute says.
    pub by_attribute: i64,
    /// Whose number or country tells it.
    pub by_number: i64,
    /// Whose country has several, of which their number does not tell one: they count as where most live.
    pub by_country: i64,
    /// Of whom nothing is known: they count as in the campaign's zone.
    pub by_campaign: i64,
    /// Recipients who name a zone that does not exist; they are counted by their number or country above.
    pub invalid: i64,
    /// The first of them.
    pub invalid_first: Vec<InvalidZone>,
}

/// A contact with a zone that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InvalidZone {
    /// The file it came from, if that is known.
    pub file: Option<String>,
    /// Row of the file.
    pub row: i32,
    /// What it says.
    pub zone: String,
}

/// The recipients by wave, as they are met.
#[derive(Debug)]
pub(crate) struct Divided {
    rules: Rules,
    from: DateTime<Utc>,
    waves: Waves,
    /// Recipients by stretch of the audience and wave.
    stretches: BTreeMap<(i64, i16), i64>,
    found: [i64; 4],
    invalid: i64,
    invalid_first: Vec<(i64, i32, String)>,
}

impl Divided {
    /// None yet, of a run that would start at `from`; `None` if all may be sent to at any time.
    pub fn new(rules: Rules, from: DateTime<Utc>) -> Option<Self> {
        let waves = Waves::new(rules.zone, from);
        let none = Self {
            from,
            waves,
            stretches: BTreeMap::new(),
            found: [0; 4],
            invalid: 0,
            invalid_first: Vec::new(),
            rules,
        };
        none.rules.any().then_some(none)
    }

    /// Adds a recipient, the `nth` contact of the audience, from 1.
    pub fn add(&mut self, contact: &Contact<'_>, nth: i64) {
        let placed = self.waves.of(contact);
        let later = nth - FIRST_SEGMENT_CONTACTS;
        let stretch = if later <= 0 { 0 } else { 1 + (later - 1) / SEGMENT_CONTACTS };
        *self.stretches.entry((stretch, placed.wave)).or_default() += 1;
        let by = match placed.found.by {
            By::Attribute => 0,
            By::Number => 1,
            By::Country => 2,
            By::Campaign => 3,
        };
        self.found[by] += 1;
        if let Some(zone) = placed.invalid {
            self.invalid += 1;
            if self.invalid_first.len() < INVALID_NAMED_MAX {
                let zone = zone.chars().take(60).collect();
                self.invalid_first.push((contact.import_id, contact.row_no, zone));
            }
        }
    }

    /// When a run by local time has to start: a little before the first clocks show it, or now.
    fn starts_at(&self) -> DateTime<Utc> {
        let Some(local) = self.rules.local else { return self.from };
        let first = self.waves.zones().map(|zone| instant(zone, local)).min();
        let lead = TimeDelta::from_std(LOCAL_LEAD).unwrap_or_default();
        first.map_or(self.from, |first| (first - lead).max(self.from))
    }

    fn of_wave(&self, wave: i16) -> i64 {
        self.stretches.iter().filter(|((_, w), _)| *w == wave).map(|(_, n)| n).sum()
    }
}

/// What a plan says of time.
pub(super) struct Timed {
    pub hours: Option<HoursLine>,
    pub waves: Vec<WaveLine>,
    /// When the run would start.
    pub starts_at: DateTime<Utc>,
}

impl Timed {
    /// When the last wave is done, if all will be.
    pub fn finishes_at(&self) -> Option<DateTime<Utc>> {
        let ends: Option<Vec<DateTime<Utc>>> = self.waves.iter().map(|wave| wave.finishes_at).collect();
        ends?.into_iter().max()
    }
}

/// Times the waves, if there are any, of a run that would start at `from`, sends `per_second` messages, or all at
/// once, and lets them expire some seconds after its start.
pub(super) async fn timed(
    c: &mut PgConnection,
    workspace_id: i32,
    divided: Option<Divided>,
    per_second: Option<f64>,
    (from, expires_after_s): (DateTime<Utc>, Option<i64>),
) -> Result<Timed> {
    let Some(mut divided) = divided else { return Ok(Timed { hours: None, waves: Vec::new(), starts_at: from }) };
    let mut invalid_first = Vec::new();
    for (import_id, row, zone) in std::mem::take(&mut divided.invalid_first) {
        invalid_first.push(InvalidZone { file: imports::file_name(c, workspace_id, import_id).await?, row, zone });
    }
    let (starts_at, rules) = (divided.starts_at(), &divided.rules);
    let zones: Vec<_> = divided.waves.zones().collect();
    let stretches = divided.stretches.iter().map(|((_, wave), n)| Stretch {
        // Waves count from 0.
        wave: *wave as usize,
        messages: n.unsigned_abs(),
    });
    let stretches: Vec<Stretch> = stretches.collect();
    let expires_at = expires_after_s.and_then(TimeDelta::try_seconds).and_then(|s| starts_at.checked_add_signed(s));
    let next = |wave: usize, from| rules.first(zones[wave], from);
    let courses = spread(&stretches, zones.len(), per_second, (starts_at, expires_at), next);
    let line = |((wave, zone), course): ((i16, &chrono_tz::Tz), Course)| {
        let window = rules.window_or_wait(*zone, starts_at);
        WaveLine {
            wave,
            zone: zone.name().to_owned(),
            recipients: divided.of_wave(wave),
            opens_at: window.opens,
            closes_at: window.closes,
            starts_at: course.starts_at,
            finishes_at: course.finishes_at,
            expired: course.expired as i64,
        }
    };
    let waves: Vec<WaveLine> = (0..).zip(&zones).zip(courses).map(line).collect();
    let late = rules.local.map_or(0, |local| {
        let past = (0..).zip(&zones).filter(|(_, zone)| instant(**zone, local) < divided.from);
        past.map(|(wave, _)| divided.of_wave(wave)).sum()
    });
    let [by_attribute, by_number, by_country, by_campaign] = divided.found;
    let hours = HoursLine {
        zone: rules.zone.name().to_owned(),
        local: rules.local,
        outside: waves.iter().filter(|wave| wave.opens_at > starts_at).map(|wave| wave.recipients).sum(),
        late,
        by_attribute,
        by_number,
        by_country,
        by_campaign,
        invalid: divided.invalid,
        invalid_first,
    };
    Ok(Timed { hours: Some(hours), waves, starts_at })
}

/// What the rules themselves have against a launch.
pub(super) fn never_opens(rules: &Rules) -> Option<Problem> {
    rules.hours.is_never().then(|| {
        Problem::new(
            "the hours of the campaign and those of the workspace have no minute in common: nothing would ever be sent",
            "change those of the workspace, fanfare workspace set --quiet … --hours …, or create the campaign with others",
        )
    })
}

impl Plan {
    pub(super) fn note_hours(&mut self) {
        let Some(hours) = self.hours.clone() else { return };
        if let Some(local) = hours.local {
            let local = local.format("%Y-%m-%d %H:%M");
            if hours.late > 0 && hours.late == self.recipients {
                let problem = format!("{local} is past wherever its recipients are");
                self.refusals.push(Problem::new(problem, "create the campaign with a later --local-date"));
            } else if hours.late > 0 {
                let problem = format!("{local} is past already where {} recipients are", hours.late);
                self.warnings.push(Problem::new(problem, "they are sent to as soon as their hours allow"));
            }
        }
        if hours.invalid > 0 {
            let named = hours.invalid_first.iter().map(|i| match &i.file {
                Some(file) => format!("{:?} in row {} of {file}", i.zone, i.row),
                None => format!("{:?} in row {}", i.zone, i.row),
            });
            let mut named = named.collect::<Vec<_>>().join(", ");
            if hours.invalid > hours.invalid_first.len() as i64 {
                named.push_str(", …");
            }
            let name = if hours.invalid == 1 { "recipient names" } else { "recipients name" };
            let problem = format!("{} {name} a time zone that does not exist: {named}", hours.invalid);
            let remedy = "they count as where their number is; correct the file, and import it again, to change that";
            self.warnings.push(Problem::new(problem, remedy));
        }
        let expired: i64 = self.waves.iter().map(|wave| wave.expired).sum();
        if expired > 0 {
            let problem = format!("{expired} messages would expire before their hours let them be sent");
            self.warnings.push(Problem::new(problem, "create the campaign with a longer --expires-after"));
        }
    }
}
