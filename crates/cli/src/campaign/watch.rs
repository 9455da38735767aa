//! `fanfare campaign watch`: follows a run until it is over.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fanfare_store::Store;
use fanfare_store::campaigns::Campaign;
use fanfare_store::progress;
use indicatif::ProgressBar;

use super::run_of;
use super::status::{self, Status};
use crate::bars;
use crate::context::Context;
use crate::output::{Output, count, duration};

/// How often the run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often a line is written where no person looks.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// The rate is over this long.
const RATE_OVER: Duration = Duration::from_secs(3);
/// When nothing has moved for this long, something is missing.
const STILL_MAX: Duration = Duration::from_secs(5);
/// Longest absence of the database that is waited out.
const ABSENCE_MAX: Duration = Duration::from_secs(120);

pub async fn run(context: &Context, name: &str, run_id: Option<i64>, output: Output) -> anyhow::Result<()> {
    let (store, workspace_id) = (&context.store, context.workspace_id);
    let (campaign, run_id) = run_of(&mut *store.pool.acquire().await?, workspace_id, name, run_id).await?;
    let follow = follow(store, workspace_id, &campaign, run_id, output);
    // A watch may take hours: like the roles, it sees to it that the embedded database lives.
    let status = tokio::select! {
        status = follow => status?,
        kept = store.keep_alive(std::future::pending()) => return Ok(kept?),
    };
    output.result(&status, status::render)
}

async fn follow(
    store: &Store,
    workspace_id: i32,
    campaign: &Campaign,
    run_id: i64,
    output: Output,
) -> anyhow::Result<Status> {
    let mut view = View::new(&campaign.name, output);
    let mut meter = Meter::default();
    let mut heard = Instant::now();
    loop {
        match look(store, workspace_id, campaign, run_id, &mut meter).await {
            Ok(status) => {
                heard = Instant::now();
                if status.is_over() {
                    view.end();
                    return Ok(status);
                }
                view.show(&status, meter.still())?;
            }
            Err(e) if heard.elapsed() < ABSENCE_MAX && is_transient(&e) => {
                view.note("the database is away, waiting for it")
            }
            Err(e) => return Err(e.context("the run could not be followed further; it goes on without this command")),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn look(
    store: &Store,
    workspace_id: i32,
    campaign: &Campaign,
    run_id: i64,
    meter: &mut Meter,
) -> anyhow::Result<Status> {
    let mut c = store.pool.acquire().await.map_err(fanfare_store::Error::from)?;
    let p = progress::progress(&mut c, workspace_id, run_id).await.context("campaign status")?;
    meter.note(p.total - p.queued - p.leased - p.retrying, [p.total, p.queued, p.leased, p.retrying, p.unknown]);
    Status::of(campaign, &p, meter.rate())
}

fn is_transient(e: &anyhow::Error) -> bool {
    e.downcast_ref::<fanfare_store::Error>().is_some_and(fanfare_store::Error::is_transient)
}

/// Measures how fast the decided messages grow, and how long nothing has moved.
#[derive(Default)]
struct Meter {
    seen: VecDeque<(Instant, i64)>,
    last: Option<(Instant, [i64; 5])>,
}

impl Meter {
    fn note(&mut self, decided: i64, counts: [i64; 5]) {
        let now = Instant::now();
        self.seen.push_back((now, decided));
        while self.seen.len() > 2 && now.duration_since(self.seen[0].0) > RATE_OVER {
            self.seen.pop_front();
        }
        if self.last.is_none_or(|(_, before)| before != counts) {
            self.last = Some((now, counts));
        }
    }

    /// Messages decided a second.
    fn rate(&self) -> f64 {
        match (self.seen.front(), self.seen.back()) {
            (Some((from, few)), Some((to, many))) if to > from => {
                (many - few).max(0) as f64 / to.duration_since(*from).as_secs_f64()
            }
            _ => 0.0,
        }
    }

    fn still(&self) -> bool {
        self.last.is_some_and(|(since, _)| since.elapsed() > STILL_MAX)
    }
}

/// What is shown meanwhile: a bar, or lines, or with --json nothing but what needs a person.
struct View {
    bar: Option<ProgressBar>,
    output: Output,
    line: String,
    at: Option<Instant>,
    note: String,
}

impl View {
    fn new(name: &str, output: Output) -> Self {
        let bar = (bars::seen() && !output.json).then(|| bars::plain(name, &bars::several(true)));
        Self { bar, output, line: String::new(), at: None, note: String::new() }
    }

    fn show(&mut self, s: &Status, still: bool) -> anyhow::Result<()> {
        let hint = "nothing moves: is a scheduler running? fanfare scheduler, or all in one, fanfare up";
        let waits = s.started_at.is_some() && s.leased == 0 && (s.queued > 0 || !s.expanded);
        match &s.stuck {
            Some(why) => self.note(why),
            None if still && waits => self.note(hint),
            None => self.note.clear(),
        }
        let line = line(s);
        if let Some(bar) = &self.bar {
            bar.set_length((s.total.max(s.total - s.queued - s.leased - s.retrying + s.to_do())).unsigned_abs());
            bar.set_position((s.total - s.queued - s.leased - s.retrying).unsigned_abs());
            bar.set_message(line);
        } else if !self.output.json && line != self.line && self.at.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
            self.output.line(&line)?;
            self.at = Some(Instant::now());
            self.line = line;
        }
        Ok(())
    }

    /// Says something once, on standard error.
    fn note(&mut self, text: &str) {
        if self.note == text {
            return;
        }
        self.note = text.to_owned();
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A status on one line.
pub fn line(s: &Status) -> String {
    let classes = [
        (s.sent, "sent"),
        (s.failed, "failed"),
        (s.retrying, "retrying"),
        (s.unknown, "unknown"),
        (s.suppressed, "suppressed"),
        (s.expired, "expired"),
        (s.cancelled, "cancelled"),
    ];
    let mut parts = vec![s.state_in_words()];
    parts.extend(classes.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(*n))));
    parts.push(format!("{} to go{}", count(s.to_do()), if s.is_vague() { " so far" } else { "" }));
    if s.rate_per_second > 0.0 {
        parts.push(format!("{:.0}/s", s.rate_per_second));
    }
    if let Some(eta) = s.eta_seconds.filter(|_| s.to_do() > 0) {
        parts.push(format!("{} left", duration(eta)));
    }
    parts.join(" · ")
}
