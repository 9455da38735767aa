//! `fanfare import`: from contact files to a list.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::ensure;
use clap::Args;
use fanfare_domain::phone::Region;
use fanfare_importer::{
    Encoding, Options, Position, Progress, Reject, Source, Stage, Summary, import, parse_country, parse_delimiter,
    parse_encoding,
};
use fanfare_store::contacts::OnDuplicate;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::bars;
use crate::context::{Context, Global};
use crate::output::{Output, bold, count, dim, on_terminal, paint};
use crate::parse::name;

/// Refused rows that people are shown.
const REJECTS_SHOWN_MAX: usize = 8;

/// With fewer rows there is no telling how fast it goes.
const RATE_ROWS_MIN: i64 = 1_000;

#[derive(Debug, Args)]
pub struct Import {
    /// CSV or Excel files (.csv, .xlsx, .xls, .xlsb, .ods, each also as .gz), or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// The list to fill; it is made if it does not exist
    #[arg(long, value_parser = name)]
    list: String,
    /// Country of phones without a country code, e.g. DZ
    #[arg(long, value_name = "CODE", value_parser = parse_country)]
    country: Option<Region>,
    /// Which column a field comes from, e.g. phone=Mobile or name=3; repeat it for several
    #[arg(long, value_name = "FIELD=COLUMN", value_parser = mapping)]
    map: Vec<(String, String)>,
    /// The first row is data
    #[arg(long)]
    no_header: bool,
    /// Sheet of a workbook, by name or number [default: the first that is not empty]
    #[arg(long)]
    sheet: Option<String>,
    /// What separates the fields of a CSV: , ; | or tab [default: found out]
    #[arg(long, value_parser = parse_delimiter)]
    delimiter: Option<u8>,
    /// Encoding of a CSV, e.g. windows-1256 [default: found out]
    #[arg(long, value_name = "NAME", value_parser = parse_encoding)]
    encoding: Option<&'static Encoding>,
    /// An address that the list has, or an earlier row: skip keeps the first, overwrite the last, merge
    /// fills in what is missing [default: skip]
    #[arg(long, value_name = "skip|overwrite|merge", default_value = "skip", hide_default_value = true, value_parser = on_duplicate)]
    on_duplicate: OnDuplicate,
    /// Where refused rows go, to be put right and imported again; of several files, each gets its own,
    /// with the file's name in it
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Write nothing
    #[arg(long)]
    dry_run: bool,
}

fn mapping(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((field, column)) if !field.trim().is_empty() && !column.trim().is_empty() => {
            Ok((field.trim().to_owned(), column.trim().to_owned()))
        }
        _ => Err(format!("{text:?} is not FIELD=COLUMN: write for example phone=Mobile")),
    }
}

fn on_duplicate(text: &str) -> Result<OnDuplicate, String> {
    match text {
        "skip" => Ok(OnDuplicate::Skip),
        "overwrite" => Ok(OnDuplicate::Overwrite),
        "merge" => Ok(OnDuplicate::Merge),
        _ => Err(format!("policy {text:?} is none of skip, overwrite, merge")),
    }
}

/// The account of one file.
#[derive(Debug, Clone, Serialize)]
pub struct Imported {
    pub file: String,
    pub list: String,
    pub dry_run: bool,
    /// The file that has all refused rows.
    pub rejects_file: Option<PathBuf>,
    #[serde(flatten)]
    pub summary: Summary,
}

impl Imported {
    /// Whether every row was refused.
    fn failed(&self) -> bool {
        self.summary.counts.rejected == self.summary.counts.rows
    }
}

/// The account of several files: sums, and each file on its own.
#[derive(Debug, Serialize)]
struct Several<'a> {
    #[serde(flatten)]
    sum: Summary,
    files: &'a [Imported],
}

impl Import {
    fn options(&self, rejects: Option<PathBuf>) -> Options {
        Options {
            list: self.list.clone(),
            country: self.country,
            map: self.map.clone(),
            no_header: self.no_header,
            sheet: self.sheet.clone(),
            delimiter: self.delimiter,
            encoding: self.encoding,
            on_duplicate: self.on_duplicate,
            rejects,
            dry_run: self.dry_run,
        }
    }

    /// The rejects file of `file`: as given, or of several `rejects-contacts.xlsx.csv`.
    fn rejects_of(&self, file: &str) -> Option<PathBuf> {
        let given = self.rejects.as_ref()?;
        if self.files.len() == 1 {
            return Some(given.clone());
        }
        let of = |path: &Path| path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let name = Path::new(file).file_name().map_or_else(|| "stdin".into(), |n| n.to_string_lossy());
        let name = if file == "-" { "stdin".into() } else { name };
        Some(given.with_file_name(format!("{}-{name}.csv", of(given))))
    }
}

/// Exit code 1 when of some file every row was refused.
pub async fn run(global: &Global, what: &Import, output: Output) -> anyhow::Result<ExitCode> {
    ensure!(what.files.iter().filter(|f| *f == "-").count() <= 1, "standard input can be read once only: give - once");
    let done = global
        .with(async |context| {
            let mut done = Vec::new();
            for file in &what.files {
                let options = what.options(what.rejects_of(file));
                let imported = one(context, Source::named(file), options, !output.json).await?;
                if !output.json {
                    output.line(&render(&imported))?;
                }
                done.push(imported);
            }
            match done.as_slice() {
                _ if !output.json => {}
                [only] => output.result(only, |_| String::new())?,
                several => output.result(&Several { sum: sum(several), files: several }, |_| String::new())?,
            }
            Ok(done)
        })
        .await?;
    Ok(if done.iter().any(Imported::failed) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Imports one file, with a bar if `bar` and a person looks.
pub async fn one(context: &Context, source: Source, options: Options, bar: bool) -> anyhow::Result<Imported> {
    let file = source.name();
    let (list, dry_run, rejects_file) = (options.list.clone(), options.dry_run, options.rejects.clone());
    let mut watch = Bar::new(&file, bar);
    let summary = import(&context.store, context.workspace_id, source, options, &mut watch).await;
    watch.bar.finish_and_clear();
    let summary = summary?;
    let rejects_file = rejects_file.filter(|_| summary.counts.rejected > 0 && !dry_run);
    Ok(Imported { file, list, dry_run, rejects_file, summary })
}

/// The progress of an import on a bar.
struct Bar {
    bar: ProgressBar,
    label: String,
    stage: Option<(Stage, Instant)>,
}

impl Bar {
    fn new(file: &str, wanted: bool) -> Self {
        let label = Path::new(file).file_name().map_or_else(|| file.to_owned(), |n| n.to_string_lossy().into_owned());
        Self { bar: bars::bytes(&label, wanted), label, stage: None }
    }
}

impl Progress for Bar {
    fn at(&mut self, position: Position) {
        let since = match self.stage {
            Some((stage, since)) if stage == position.stage => since,
            _ => {
                let what = if position.stage == Stage::Checking { "checking" } else { "loading" };
                self.bar.reset();
                self.bar.set_prefix(format!("{what} {}", self.label));
                let now = Instant::now();
                self.stage = Some((position.stage, now));
                now
            }
        };
        self.bar.set_length(position.bytes_total);
        self.bar.set_position(position.bytes);
        let seconds = since.elapsed().as_secs_f64();
        if position.rows > 0 && seconds > 0.2 {
            let rate = (position.rows as f64 / seconds) as i64;
            self.bar.set_message(format!("{} rows, {}/s", count(position.rows as i64), count(rate)));
        }
    }
}

fn sum(all: &[Imported]) -> Summary {
    let mut sum = Summary::default();
    for Imported { summary: s, .. } in all {
        sum.counts.rows += s.counts.rows;
        sum.counts.imported += s.counts.imported;
        sum.counts.updated += s.counts.updated;
        sum.counts.unchanged += s.counts.unchanged;
        sum.counts.duplicates += s.counts.duplicates;
        sum.counts.rejected += s.counts.rejected;
        sum.counts.suppressed += s.counts.suppressed;
        sum.rejects.extend(s.rejects.iter().cloned());
        sum.rejects_omitted += s.rejects_omitted;
        sum.seconds += s.seconds;
        sum.peak_rss_bytes = sum.peak_rss_bytes.max(s.peak_rss_bytes);
    }
    sum
}

/// The account of a file as people read it.
pub fn render(i: &Imported) -> String {
    let c = &i.summary.counts;
    let rehearsed = if i.dry_run { ", dry run: nothing was written" } else { "" };
    let rate = (c.rows as f64 / i.summary.seconds.max(0.001)) as i64;
    let rate = if c.rows >= RATE_ROWS_MIN { format!(", {} rows a second", count(rate)) } else { String::new() };
    let mut text = format!("{} → list {}, {:.1} s{rate}{rehearsed}\n", bold(&i.file), i.list, i.summary.seconds);
    let width = count(c.rows).len();
    let lines = [
        ("rows", c.rows, ""),
        ("imported", c.imported, ""),
        ("updated", c.updated, ""),
        ("unchanged", c.unchanged, "in the list as they are"),
        ("duplicates", c.duplicates, "repeat an address"),
        ("rejected", c.rejected, ""),
        ("suppressed", c.suppressed, "among them, never written to"),
    ];
    for (label, n, note) in lines.into_iter().filter(|(label, n, _)| *n > 0 || matches!(*label, "rows" | "imported")) {
        text.push_str(format!("  {label:10}  {:>width$}  {}", count(n), dim(note)).trim_end());
        text.push('\n');
    }
    text.push_str(&rejects(i));
    text
}

fn rejects(i: &Imported) -> String {
    let all = i.summary.counts.rejected;
    if all == 0 {
        return String::new();
    }
    let shown = &i.summary.rejects[..i.summary.rejects.len().min(REJECTS_SHOWN_MAX)];
    let width = |of: fn(&Reject) -> String| shown.iter().map(|r| of(r).chars().count()).max().unwrap_or(0);
    let (rows, columns) = (width(|r| r.row.to_string()), width(|r| r.column.clone()));
    let mut text = format!("{}\n", paint("rejected rows", "33", on_terminal()));
    for r in shown {
        let value = if r.value.is_empty() { String::new() } else { format!("{:?}: ", r.value) };
        text.push_str(&format!("  row {:>rows$}  {:columns$}  {value}{}\n", r.row, r.column, r.reason));
    }
    let more = all - shown.len() as i64;
    if more > 0 {
        text.push_str(&format!("  and {} more\n", count(more)));
    }
    let list = &i.list;
    text.push_str(&match &i.rejects_file {
        Some(file) => {
            let file = file.display();
            format!("All of them are in {file}: put them right there, then fanfare import {file} --list {list}\n")
        }
        None => {
            "With --rejects rejects.csv they are written to a file, to be put right and imported again\n".to_owned()
        }
    });
    text
}
