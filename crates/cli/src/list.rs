//! `fanfare list`: lists, their contacts, and the addresses that must not be written to.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use fanfare_domain::phone::{self, Region};
use fanfare_store::PgConnection;
use fanfare_store::contacts::{self, Contact};
use fanfare_store::lists;
use fanfare_store::suppressions::{self, Reason};
use futures::TryStreamExt as _;
use serde_json::{Value, json};

use crate::context::{Context, Global};
use crate::output::{Output, Table, count, when, written};
use crate::stream::{Objects, csv_failed};
use crate::words;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the lists
    Ls,
    /// Write the contacts of a list to standard output, as CSV unless told otherwise
    Export {
        /// Which
        name: String,
        /// One JSON object a line
        #[arg(long, conflicts_with = "json")]
        json_lines: bool,
    },
    /// Never write to these addresses again, whatever list holds them
    Suppress(Addresses),
    /// Allow these addresses again
    Unsuppress(Addresses),
    /// List the suppressed addresses
    Suppressed,
    /// Show, add or remove the words by which recipients opt out, or come back
    Words(words::Options),
}

#[derive(Debug, Args)]
pub struct Addresses {
    /// Phones or e-mails
    #[arg(required = true)]
    addresses: Vec<String>,
    /// Country of phones that have no country code
    #[arg(long)]
    country: Option<Region>,
}

impl Addresses {
    /// As they are stored.
    fn read(&self) -> anyhow::Result<Vec<String>> {
        let read = |text: &String| match text.split_once('@') {
            Some((user, host)) if !user.is_empty() && host.contains('.') => Ok(text.trim().to_lowercase()),
            Some(_) => bail!("{text:?} is no e-mail: expected name@host.example"),
            None => {
                let phone = phone::parse(text, self.country);
                Ok(phone.with_context(|| format!("{text:?} is no phone, and no e-mail either"))?.e164)
            }
        };
        self.addresses.iter().map(read).collect()
    }
}

pub async fn run(global: &Global, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    let made = match &command {
        Command::Suppress(_) => true,
        Command::Words(options) => options.changes(),
        _ => false,
    };
    global
        .with_workspace(made, async |context| match command {
            Command::Ls => ls(context, output).await,
            Command::Export { name, json_lines } => export(context, &name, json_lines, output).await,
            Command::Suppress(addresses) => suppress(context, &addresses.read()?, output).await,
            Command::Unsuppress(addresses) => unsuppress(context, &addresses.read()?, output).await,
            Command::Suppressed => suppressed(context, output).await,
            Command::Words(options) => words::run(context, &options, output).await,
        })
        .await?;
    Ok(ExitCode::SUCCESS)
}

async fn ls(context: &Context, output: Output) -> anyhow::Result<()> {
    let all = lists::all(&mut *context.store.pool.acquire().await?, context.workspace_id).await?;
    let json: Vec<Value> =
        all.iter().map(|l| json!({ "name": l.name, "contacts": l.contacts, "created_at": l.created_at })).collect();
    output.result(&json!({ "lists": json }), |_| {
        let mut table = Table::new(&["list", "contacts", "since"]);
        for l in &all {
            table.row([l.name.clone(), count(l.contacts), when(l.created_at)]);
        }
        let none = "no lists yet: fanfare import FILE --list NAME";
        if all.is_empty() { none.to_owned() } else { table.render() }
    })
}

async fn export(context: &Context, name: &str, json_lines: bool, output: Output) -> anyhow::Result<()> {
    let mut c = context.store.pool.acquire().await?;
    let list_id = lists::get(&mut c, context.workspace_id, name).await?.list_id;
    let key = (context.workspace_id, list_id);
    if !json_lines && !output.json {
        return export_csv(&mut c, key).await;
    }
    let mut objects = match json_lines {
        true => Objects::lines(),
        false => Objects::array(&json!({ "list": name }), "contacts")?,
    };
    let mut stream = contacts::export(&mut c, key.0, key.1);
    while let Some(contact) = stream.try_next().await? {
        objects.put(&contact)?;
    }
    objects.end()
}

/// Read twice, since the header must name every attribute. A contact that is added in between keeps
/// those that the header names.
async fn export_csv(c: &mut PgConnection, (workspace_id, list_id): (i32, i64)) -> anyhow::Result<()> {
    let mut attributes: BTreeSet<String> = BTreeSet::new();
    let mut stream = contacts::export(&mut *c, workspace_id, list_id);
    while let Some(contact) = stream.try_next().await? {
        let names = contact.attributes.as_ref().and_then(Value::as_object).into_iter().flat_map(|o| o.keys());
        for name in names {
            if !attributes.contains(name) {
                attributes.insert(name.clone());
            }
        }
    }
    drop(stream);
    let mut csv = csv::Writer::from_writer(std::io::stdout().lock());
    let header =
        ["phone", "email", "name", "country", "language"].into_iter().chain(attributes.iter().map(String::as_str));
    csv.write_record(header).map_err(csv_failed)?;
    let mut stream = contacts::export(&mut *c, workspace_id, list_id);
    while let Some(contact) = stream.try_next().await? {
        csv.write_record(record(&contact, &attributes)).map_err(csv_failed)?;
    }
    written(csv.flush())
}

fn record(contact: &Contact, attributes: &BTreeSet<String>) -> Vec<String> {
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    let (phone, email) = match contact.address.starts_with('+') {
        true => (contact.address.clone(), text(&contact.email)),
        false => (String::new(), contact.address.clone()),
    };
    let mut record = vec![phone, email, text(&contact.name), text(&contact.country), text(&contact.language)];
    record.extend(attributes.iter().map(|name| match contact.attributes.as_ref().and_then(|a| a.get(name)) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }));
    record
}

async fn suppress(context: &Context, addresses: &[String], output: Output) -> anyhow::Result<()> {
    let (store, workspace_id) = (&context.store, context.workspace_id);
    let mut c = store.pool.acquire().await?;
    let rows: Vec<(String, String)> =
        addresses.iter().map(|a| (a.clone(), "fanfare list suppress".to_owned())).collect();
    let added = suppressions::add(&mut c, workspace_id, &rows, Reason::Person, store.clock.now()).await?;
    let known = addresses.len() as u64 - added;
    output.result(&json!({ "suppressed": added, "known": known }), |_| match known {
        0 => format!("{added} suppressed"),
        known => format!("{added} suppressed, {known} were before"),
    })
}

async fn unsuppress(context: &Context, addresses: &[String], output: Output) -> anyhow::Result<()> {
    let mut c = context.store.pool.acquire().await?;
    for address in addresses {
        suppressions::remove(&mut c, context.workspace_id, address).await?;
    }
    output.result(&json!({ "allowed": addresses.len() }), |_| format!("{} allowed again", addresses.len()))
}

async fn suppressed(context: &Context, output: Output) -> anyhow::Result<()> {
    let mut c = context.store.pool.acquire().await?;
    let mut stream = suppressions::all(&mut c, context.workspace_id);
    if output.json {
        let mut objects = Objects::array(&json!({}), "suppressed")?;
        while let Some(s) = stream.try_next().await? {
            objects.put(&s)?;
        }
        return objects.end();
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    while let Some(s) = stream.try_next().await? {
        written(writeln!(out, "{}  {}", s.address, s.origin))?;
    }
    written(out.flush())
}
