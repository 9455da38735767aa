//! `fanfare list suppress`, `unsuppress` and `suppressed`: addresses that must not be written to.

use std::fs::File;
use std::io::{Read, Write as _};

use anyhow::{Context as _, bail};
use clap::Args;
use fanfare_domain::phone::{self, Region};
use fanfare_store::pepper::ERASED;
use fanfare_store::suppressions::{self, New, Reason, Suppression};
use fanfare_store::{PgConnection, accounts};
use futures::TryStreamExt as _;
use serde_json::json;

use crate::context::Context;
use crate::output::{Output, Table, when, written};
use crate::stream::{Objects, csv_failed};

/// Bad rows of a file that are shown.
const BAD_SHOWN_MAX: usize = 10;
/// Columns of a file of suppressions, as `suppressed --csv` writes them.
const COLUMNS: [&str; 5] = ["address", "account", "reason", "origin", "since"];
/// Names under which files call the first of them.
const ADDRESS_COLUMNS: [&str; 5] = ["address", "phone", "email", "e-mail", "number"];

#[derive(Debug, Args)]
pub struct Addresses {
    /// Phones or e-mails
    #[arg(required_unless_present = "file")]
    addresses: Vec<String>,
    /// Country of phones that have no country code
    #[arg(long)]
    country: Option<Region>,
    /// Only for this account, which must not write to them [default: nobody may]
    #[arg(long)]
    account: Option<String>,
    /// A CSV of them, as suppressed --csv writes it, or - for standard input: a column address, phone or
    /// email, and if you like account, reason and origin. One bad row, and nothing of it is taken
    #[arg(long, value_name = "FILE", conflicts_with = "addresses")]
    file: Option<String>,
    /// Why, in a few words
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct Allowed {
    /// Phones or e-mails
    #[arg(required = true)]
    addresses: Vec<String>,
    /// Country of phones that have no country code
    #[arg(long)]
    country: Option<Region>,
    /// What was suppressed for this account only
    #[arg(long)]
    account: Option<String>,
}

/// An address as it is stored.
pub fn address(text: &str, country: Option<Region>) -> anyhow::Result<String> {
    match text.split_once('@') {
        Some((user, host)) if !user.trim().is_empty() && host.contains('.') => Ok(text.trim().to_lowercase()),
        Some(_) => bail!("{text:?} is no e-mail: expected name@host.example"),
        None => {
            let phone = phone::parse(text, country);
            Ok(phone.with_context(|| format!("{text:?} is no phone, and no e-mail either"))?.e164)
        }
    }
}

/// A row of suppressions to be added.
struct Row {
    address: String,
    account: Option<String>,
    reason: Reason,
    origin: String,
}

/// Rows that go in together: addresses, each with its origin.
struct Group<'a> {
    account: Option<&'a str>,
    reason: Reason,
    addresses: Vec<(String, String)>,
}

impl Addresses {
    fn rows(&self) -> anyhow::Result<Vec<Row>> {
        if let Some(file) = &self.file {
            return self.read(file);
        }
        let origin = match &self.reason {
            Some(reason) => format!("fanfare list suppress: {reason}"),
            None => "fanfare list suppress".to_owned(),
        };
        let row = |text: &String| {
            let address = address(text, self.country)?;
            Ok(Row { address, account: self.account.clone(), reason: Reason::Person, origin: origin.clone() })
        };
        self.addresses.iter().map(row).collect()
    }

    fn read(&self, file: &str) -> anyhow::Result<Vec<Row>> {
        let input: Box<dyn Read> = match file {
            "-" => Box::new(std::io::stdin().lock()),
            path => Box::new(File::open(path).with_context(|| format!("cannot read {path}"))?),
        };
        let mut csv = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(input);
        let headers = csv.headers().with_context(|| format!("cannot read {file}"))?.clone();
        let column =
            |name: &str| headers.iter().position(|h| h.trim_start_matches('\u{feff}').eq_ignore_ascii_case(name));
        let Some(at) = ADDRESS_COLUMNS.iter().find_map(|name| column(name)) else {
            let found = headers.iter().collect::<Vec<_>>().join(", ");
            bail!("{file} has no column {}; it has {found}", ADDRESS_COLUMNS.join(", "));
        };
        let (account, reason, origin) = (column("account"), column("reason"), column("origin"));
        let (mut rows, mut bad, mut bad_count) = (Vec::new(), Vec::new(), 0);
        for (number, record) in (1..).zip(csv.records()) {
            let record = record.with_context(|| format!("{file}, row {number}"))?;
            let cell = |at: Option<usize>| at.and_then(|i| record.get(i)).filter(|cell| !cell.is_empty());
            let Some(text) = cell(Some(at)) else { continue };
            // What remains of an erased address goes from one file to the next as it is.
            let address = if text.starts_with(ERASED) { Ok(text.to_owned()) } else { address(text, self.country) };
            match address {
                Ok(address) => rows.push(Row {
                    address,
                    account: cell(account).map(str::to_owned).or_else(|| self.account.clone()),
                    reason: cell(reason).and_then(named).unwrap_or(Reason::List),
                    origin: cell(origin)
                        .or(cell(reason))
                        .or(self.reason.as_deref())
                        .map_or_else(|| format!("{file}, row {number}"), |why| why.to_owned()),
                }),
                Err(e) => {
                    bad_count += 1;
                    if bad.len() < BAD_SHOWN_MAX {
                        bad.push(format!("\n  row {number}: {e:#}"));
                    }
                }
            }
        }
        if bad_count > 0 {
            bail!("nothing was taken from {file}: {bad_count} rows are no addresses{}", bad.concat());
        }
        Ok(rows)
    }
}

/// The reason of a word of [`Reason`].
fn named(word: &str) -> Option<Reason> {
    serde_json::from_value(json!(word.to_lowercase())).ok()
}

/// The account of this name.
async fn account_id(c: &mut PgConnection, workspace_id: i32, name: Option<&str>) -> anyhow::Result<Option<i64>> {
    Ok(match name {
        Some(name) => Some(accounts::get(c, workspace_id, name).await?.account_id),
        None => None,
    })
}

pub async fn suppress(context: &Context, what: &Addresses, output: Output) -> anyhow::Result<()> {
    let (store, workspace_id) = (&context.store, context.workspace_id);
    let rows = what.rows()?;
    let mut tx = store.pool.begin().await?;
    let mut added = 0;
    // Rows of one account and reason go in together; most files have one or two of these.
    let mut groups: Vec<Group<'_>> = Vec::new();
    for row in &rows {
        let pair = (row.address.clone(), row.origin.clone());
        let account = row.account.as_deref();
        match groups.iter_mut().find(|g| (g.account, g.reason) == (account, row.reason)) {
            Some(group) => group.addresses.push(pair),
            None => groups.push(Group { account, reason: row.reason, addresses: vec![pair] }),
        }
    }
    for Group { account, reason, addresses } in &groups {
        let account_id = account_id(&mut tx, workspace_id, *account).await?;
        let new = New { addresses, reason: *reason, account_id, now: store.clock.now() };
        added += suppressions::put(&mut tx, workspace_id, new).await?;
    }
    tx.commit().await?;
    let known = rows.len() as u64 - added;
    output.result(&json!({ "suppressed": added, "known": known }), |_| match known {
        0 => format!("{added} suppressed"),
        known => format!("{added} suppressed, {known} were before"),
    })
}

pub async fn unsuppress(context: &Context, what: &Allowed, output: Output) -> anyhow::Result<()> {
    let (store, workspace_id) = (&context.store, context.workspace_id);
    let read = what.addresses.iter().map(|text| address(text, what.country));
    let addresses = read.collect::<anyhow::Result<Vec<String>>>()?;
    let mut tx = store.pool.begin().await?;
    let account_id = account_id(&mut tx, workspace_id, what.account.as_deref()).await?;
    for address in &addresses {
        suppressions::remove(&mut tx, store.seal.pepper(), workspace_id, address, account_id).await?;
    }
    tx.commit().await?;
    output.result(&json!({ "allowed": addresses.len() }), |_| format!("{} allowed again", addresses.len()))
}

pub async fn suppressed(context: &Context, as_csv: bool, output: Output) -> anyhow::Result<()> {
    let mut c = context.store.pool.acquire().await?;
    let mut stream = suppressions::all(&mut c, context.workspace_id);
    if output.json {
        let mut objects = Objects::array(&json!({}), "suppressed")?;
        while let Some(s) = stream.try_next().await? {
            objects.put(&s)?;
        }
        return objects.end();
    }
    if as_csv {
        let mut csv = csv::Writer::from_writer(std::io::stdout().lock());
        csv.write_record(COLUMNS).map_err(csv_failed)?;
        while let Some(s) = stream.try_next().await? {
            let since = s.created_at.to_rfc3339();
            let account = s.account.clone().unwrap_or_default();
            csv.write_record([&s.address, &account, &word(s.reason), &s.origin, &since]).map_err(csv_failed)?;
        }
        return written(csv.flush());
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    while let Some(s) = stream.try_next().await? {
        let account = s.account.as_ref().map(|account| format!("  account {account}")).unwrap_or_default();
        written(writeln!(out, "{}{account}  {}", s.address, s.origin))?;
    }
    written(out.flush())
}

/// As files and JSON have it.
fn word(reason: Reason) -> String {
    json!(reason).as_str().unwrap_or_default().to_owned()
}

/// Suppressions as a person reads them.
pub fn table(all: &[Suppression]) -> String {
    let mut table = Table::new(&["suppressed", "for", "why", "since"]);
    for s in all {
        let account = s.account.as_ref().map_or("everybody".to_owned(), |account| format!("account {account}"));
        table.row([s.address.clone(), account, s.origin.clone(), when(s.created_at)]);
    }
    table.render()
}
