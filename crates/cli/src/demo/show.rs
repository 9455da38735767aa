//! The live view: the run, the provider, the credit. Where no person looks, a line a second.

use std::time::{Duration, Instant};

use fanfare_domain::cap::Cap;
use fanfare_sim::Stats;
use fanfare_store::credits::Credit;
use indicatif::{MultiProgress, ProgressBar};

use crate::bars;
use crate::campaign::status::Status;
use crate::campaign::watch::line;
use crate::output::{Output, count, credits};

/// How often a line is written where no person looks.
const LINE_EVERY: Duration = Duration::from_secs(1);

pub struct Show {
    cap: Cap,
    output: Output,
    bars: Option<Bars>,
    written: Option<Instant>,
}

struct Bars {
    all: MultiProgress,
    run: ProgressBar,
    provider: ProgressBar,
    credit: ProgressBar,
}

impl Show {
    pub fn new(cap: Cap, output: Output) -> Self {
        let bars = (bars::seen() && !output.json).then(|| {
            let all = bars::several(true);
            let bar = |label: &str| bars::plain(label, &all);
            Bars { run: bar("messages"), provider: bar("provider"), credit: bar("credit  "), all: all.clone() }
        });
        Self { cap, output, bars, written: None }
    }

    pub fn update(&mut self, s: &Status, seen: &Stats, credit: Credit) -> anyhow::Result<()> {
        let busiest = busiest(seen);
        let line = line(s);
        let Some(bars) = &self.bars else {
            if !self.output.json && self.written.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
                self.written = Some(Instant::now());
                self.output.line(&format!("  {line}"))?;
            }
            return Ok(());
        };
        let planned = s.planned.unwrap_or(s.total);
        bars.run.set_length(planned.unsigned_abs());
        bars.run.set_position((planned - s.to_do()).max(0).unsigned_abs());
        bars.run.set_message(line);
        bars.provider.set_length(self.cap.count.unsigned_abs());
        bars.provider.set_position(busiest);
        bars.provider.set_message(format!(
            "{} requests, {} at most in a window of {} · {} accepted, {} twice",
            count(seen.requests as i64),
            count(busiest as i64),
            self.cap,
            count(seen.accepted as i64),
            count(seen.accepted_twice as i64)
        ));
        bars.credit.set_length((credit.balance + s.cost).unsigned_abs());
        bars.credit.set_position(credit.balance.unsigned_abs());
        let (spent, reserved, left) = (credits(s.cost), credits(credit.reserved), credits(credit.balance));
        bars.credit.set_message(format!("{left} left · {spent} spent · {reserved} reserved"));
        Ok(())
    }

    /// Says something that happened.
    pub fn note(&self, text: &str) -> anyhow::Result<()> {
        match &self.bars {
            Some(bars) => bars.all.println(format!("  {text}")).map_err(Into::into),
            None if self.output.json => Ok(()),
            None => self.output.line(&format!("  {text}")),
        }
    }

    /// Leaves the bars as they stand.
    pub fn end(&self) {
        if let Some(bars) = &self.bars {
            for bar in [&bars.run, &bars.provider, &bars.credit] {
                bar.abandon();
            }
            eprintln!();
        }
    }
}

/// The most requests that the provider saw in a window of the cap.
pub fn busiest(seen: &Stats) -> u64 {
    seen.accounts.values().flat_map(|a| a.max_in_window.values()).copied().max().unwrap_or(0)
}
