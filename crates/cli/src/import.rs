//! `fanfare import`: from contact files to a list.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use fanfare_domain::phone::Region;
use fanfare_domain::segment::tag;
use fanfare_importer::{
    Encoding, Given, Options, Position, Progress, Reject, Source, Stage, Summary, import, parse_country,
    parse_delimiter, parse_encoding,
};
use fanfare_store::contacts::OnDuplicate;
use fanfare_store::workspaces::DEFAULT;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::bars;
use crate::context::{Context, Global};
use crate::output::{Output, Usage, bold, count, dim, on_terminal, paint, quoted};
use crate::parse::{self, name};

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
    /// A tag that every contact of the files gets; repeat it for several
    #[arg(long = "tag", value_name = "TAG", value_parser = tag)]
    tags: Vec<String>,
    /// Whether the contacts have opted in to marketing, where their row does not say it
    #[arg(long, value_name = "yes|unknown", value_parser = parse::consent)]
    consent: Option<bool>,
    /// Where the contacts come from, where their row does not say it [default: the file's name]
    #[arg(long, value_name = "TEXT", value_parser = parse::name)]
    source: Option<String>,
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
    let all = [OnDuplicate::Skip, OnDuplicate::Overwrite, OnDuplicate::Merge];
    let found = all.into_iter().find(|policy| policy.to_string() == text);
    found.ok_or_else(|| format!("policy {text:?} is none of skip, overwrite, merge"))
}

/// The account of one file.
#[derive(Debug, Clone, Serialize)]
pub struct Imported {
    pub file: String,
    pub list: String,
    pub dry_run: bool,
    /// The file that has all refused rows.
    pub rejects_file: Option<PathBuf>,
    /// What the command was told beside the files, as it is to be told again for the rejects.
    #[serde(skip)]
    pub told: String,
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
    /// Why the rest was not imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
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
            given: self.given(),
            rejects,
            dry_run: self.dry_run,
        }
    }

    fn given(&self) -> Given {
        Given { tags: self.tags.clone(), consent: self.consent, source: self.source.clone() }
    }

    /// The rejects files, one for each file: as given, or of several `rejects-contacts.xlsx.csv`.
    fn rejects_files(&self) -> anyhow::Result<Vec<Option<PathBuf>>> {
        let Some(given) = &self.rejects else { return Ok(vec![None; self.files.len()]) };
        if self.files.len() == 1 {
            return Ok(vec![Some(given.clone())]);
        }
        let stem = given.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let mut all: Vec<Option<PathBuf>> = Vec::new();
        for (i, file) in self.files.iter().enumerate() {
            let name = match Path::new(file).file_name() {
                Some(name) if file != "-" => name.to_string_lossy(),
                _ => "stdin".into(),
            };
            let plain = given.with_file_name(format!("{stem}-{name}.csv"));
            // Files of the same name in two folders.
            let taken = all.iter().flatten().any(|path| *path == plain);
            let path = if taken { given.with_file_name(format!("{stem}-{name}-{}.csv", i + 1)) } else { plain };
            ensure_none_of(&self.files, &path)?;
            all.push(Some(path));
        }
        Ok(all)
    }

    /// Options that a rejects file needs as the contacts did.
    fn told(&self, workspace: &str) -> String {
        let mut told = format!(" --list {}", quoted(&self.list));
        let country = self.country.map(|c| c.to_string());
        let policy = (self.on_duplicate != OnDuplicate::Skip).then(|| self.on_duplicate.to_string());
        let delimiter = self.delimiter.map(|d| char::from(d).to_string());
        let workspace = (workspace != DEFAULT).then(|| workspace.to_owned());
        let tags = self.tags.iter().map(|tag| ("tag", Some(tag.clone())));
        let consent = self.consent.map(|consents| if consents { "yes" } else { "unknown" }.to_owned());
        let maps = self.map.iter().map(|(field, column)| ("map", Some(format!("{field}={column}"))));
        let one = [("country", country), ("on-duplicate", policy), ("delimiter", delimiter), ("workspace", workspace)];
        let given = [("consent", consent), ("source", self.source.clone())];
        for (option, value) in one.into_iter().chain(maps).chain(tags).chain(given) {
            if let Some(value) = value {
                told.push_str(&format!(" --{option} {}", quoted(&value)));
            }
        }
        told
    }
}

/// Holds that the rejects of one file do not replace another.
fn ensure_none_of(files: &[String], path: &Path) -> anyhow::Result<()> {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    match real(path).and_then(|at| files.iter().find(|file| real(Path::new(file)).as_ref() == Some(&at))) {
        Some(file) => {
            let why =
                format!("the rejects would replace {file}, which is to be imported: name another file with --rejects");
            Err(Usage(why).into())
        }
        None => Ok(()),
    }
}

/// Exit code 1 when of some file every row was refused.
pub async fn run(global: &Global, what: &Import, output: Output) -> anyhow::Result<ExitCode> {
    if what.files.iter().filter(|f| *f == "-").count() > 1 {
        return Err(Usage("standard input can be read once only: give - once".to_owned()).into());
    }
    let rejects = what.rejects_files()?;
    global
        .with_workspace(!what.dry_run, async |context| {
            let mut done = Vec::new();
            let failed = all(context, what, &rejects, &global.workspace, &mut done, output).await.err();
            let code = match failed.is_some() || done.iter().any(Imported::failed) {
                true => ExitCode::FAILURE,
                false => ExitCode::SUCCESS,
            };
            match (failed, done.as_slice()) {
                // What is in is on record, whatever came after it.
                (error, several) if output.json && (error.is_none() || !several.is_empty()) && what.files.len() > 1 => {
                    let error = error.map(|e| format!("{e:#}"));
                    output.result(&Several { sum: sum(several), files: several, error }, |_| String::new())?;
                }
                (Some(error), _) => return Err(error),
                (None, [only]) if output.json => output.result(only, |_| String::new())?,
                (None, _) => {}
            }
            Ok(code)
        })
        .await
}

/// Imports the files one after the other; what is in is in `done`.
async fn all(
    context: &Context,
    what: &Import,
    rejects: &[Option<PathBuf>],
    workspace: &str,
    done: &mut Vec<Imported>,
    output: Output,
) -> anyhow::Result<()> {
    for (i, (file, rejects)) in what.files.iter().zip(rejects).enumerate() {
        let imported = one(context, Source::named(file), what.options(rejects.clone()), !output.json).await;
        let imported = imported.map_err(|e| match i {
            0 if what.files.len() == 1 => e,
            before => {
                let all = what.files.len();
                e.context(format!(
                    "{before} of {all} files are in, from this one on none is; run the same command again"
                ))
            }
        })?;
        let imported = Imported { told: what.told(workspace), ..imported };
        if !output.json {
            output.line(&render(&imported))?;
        }
        done.push(imported);
    }
    Ok(())
}

/// Imports one file, with a bar if `bar` and a person looks.
pub async fn one(context: &Context, source: Source, options: Options, bar: bool) -> anyhow::Result<Imported> {
    let file = source.name();
    let (list, dry_run, rejects_file) = (options.list.clone(), options.dry_run, options.rejects.clone());
    let mut watch = Bar::new(&file, bar, dry_run);
    let summary = import(&context.store, context.workspace_id, source, options, &mut watch).await?;
    watch.rows_in = 0;
    drop(watch);
    let rejects_file = rejects_file.filter(|_| summary.counts.rejected > 0 && !dry_run);
    Ok(Imported { file, list, dry_run, rejects_file, told: String::new(), summary })
}

/// The progress of an import on a bar.
struct Bar {
    bar: ProgressBar,
    label: String,
    stage: Option<(Stage, Instant, u64)>,
    dry_run: bool,
    /// Rows that are in for good while the import is not.
    rows_in: u64,
}

impl Bar {
    fn new(file: &str, wanted: bool, dry_run: bool) -> Self {
        let label = Path::new(file).file_name().map_or_else(|| file.to_owned(), |n| n.to_string_lossy().into_owned());
        Self { bar: bars::bytes(&label, wanted), label, stage: None, dry_run, rows_in: 0 }
    }
}

/// Whatever ends the import before its end, a signal too, people are told what became of the first rows.
impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        if self.rows_in > 0 {
            let rows = count(self.rows_in as i64);
            eprintln!("{rows} rows of {} are in; the same command goes on behind them", self.label);
        }
    }
}

impl Progress for Bar {
    fn at(&mut self, position: Position) {
        let (since, first) = match self.stage {
            Some((stage, since, first)) if stage == position.stage => (since, first),
            _ => {
                let what = if position.stage == Stage::Checking { "checking" } else { "loading" };
                self.bar.reset();
                self.bar.set_prefix(format!("{what} {}", self.label));
                let now = Instant::now();
                self.stage = Some((position.stage, now, position.rows));
                (now, position.rows)
            }
        };
        if !self.dry_run {
            self.rows_in = position.rows;
        }
        self.bar.set_length(position.bytes_total);
        self.bar.set_position(position.bytes);
        let seconds = since.elapsed().as_secs_f64();
        if position.rows > 0 && seconds > 0.2 {
            let rate = ((position.rows - first) as f64 / seconds) as i64;
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
    text.push_str(&match &i.rejects_file {
        Some(file) => {
            let (shown, word) = (file.display(), quoted(&file.to_string_lossy()));
            format!("All of them are in {shown}: put them right there, then fanfare import {word}{}\n", i.told)
        }
        None => {
            "With --rejects rejects.csv they are written to a file, to be put right and imported again\n".to_owned()
        }
    });
    text
}
