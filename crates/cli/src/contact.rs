//! `fanfare contact`: everything about one person.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use fanfare_domain::id::message_id;
use fanfare_domain::phone::Region;
use fanfare_domain::segment::tag;
use fanfare_domain::state::{Category, MessageState};
use fanfare_store::deliveries::{self, Delivery};
use fanfare_store::erase::erase;
use fanfare_store::person::{self, Card, Changes, Heard};
use fanfare_store::receipts::{self, Reported};
use fanfare_store::suppressions::{self, Suppression};
use fanfare_store::{PgConnection, lists};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::context::{Context, Global};
use crate::list::addresses::{self, address};
use crate::output::{Output, Table, Usage, bold, count, fields, id, when};
use crate::parse;

/// Messages that a person is shown; JSON has all.
const SHOWN_MAX: usize = 50;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what is known of a contact: in which lists, whether suppressed, everything ever sent
    Show {
        #[command(flatten)]
        who: Who,
    },
    /// Change tags, attributes or consent of a contact, in every list that has it unless told otherwise
    Set(Set),
    /// Erase a contact: it is deleted from all lists and can be read nowhere any more; the messages stay
    /// on record under a keyed hash of the address, which is suppressed. This cannot be undone
    Erase {
        #[command(flatten)]
        who: Who,
    },
}

#[derive(Debug, Args)]
pub struct Who {
    /// Phone or e-mail
    address: String,
    /// Country of a phone that has no country code
    #[arg(long)]
    country: Option<Region>,
}

#[derive(Debug, Args)]
pub struct Set {
    #[command(flatten)]
    who: Who,
    /// Only in this list
    #[arg(long)]
    list: Option<String>,
    /// A tag it gets; repeat it for several
    #[arg(long = "tag", value_name = "TAG", value_parser = tag)]
    tags: Vec<String>,
    /// A tag it loses
    #[arg(long = "untag", value_name = "TAG", value_parser = tag)]
    untags: Vec<String>,
    /// An attribute it gets, e.g. city=Oran; a number or true or false is kept as one
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = parse::pair)]
    attributes: Vec<(String, String)>,
    /// An attribute it loses
    #[arg(long = "unset", value_name = "NAME")]
    unset: Vec<String>,
    /// Whether it has opted in to marketing
    #[arg(long, value_name = "yes|unknown", value_parser = parse::consent)]
    consent: Option<bool>,
    /// Its full name
    #[arg(long)]
    name: Option<String>,
    /// Its language, e.g. fr
    #[arg(long)]
    language: Option<String>,
    /// Where it came from
    #[arg(long)]
    source: Option<String>,
}

pub async fn run(global: &Global, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    if let Command::Set(set) = &command
        && set.changes() == Changes::default()
    {
        let what =
            "say what is to change: --tag, --untag, --attribute, --unset, --consent, --name, --language or --source";
        return Err(Usage(what.to_owned()).into());
    }
    global
        .with(async |context| match command {
            Command::Show { who } => show(context, &who.read()?, output).await,
            Command::Set(set) => change(context, &set, output).await,
            Command::Erase { who } => erased(context, &who.read()?, output).await,
        })
        .await?;
    Ok(ExitCode::SUCCESS)
}

impl Who {
    fn read(&self) -> anyhow::Result<String> {
        address(&self.address, self.country)
    }
}

impl Set {
    fn changes(&self) -> Changes<'_> {
        let value = |text: &String| match serde_json::from_str(text) {
            Ok(scalar @ (Value::Number(_) | Value::Bool(_))) => scalar,
            _ => Value::from(text.as_str()),
        };
        Changes {
            tags: &self.tags,
            untags: &self.untags,
            attributes: self.attributes.iter().map(|(name, text)| (name.clone(), value(text))).collect::<Map<_, _>>(),
            unset: &self.unset,
            consent: self.consent,
            name: self.name.as_deref(),
            language: self.language.as_deref(),
            source: self.source.as_deref(),
        }
    }
}

/// A message to the contact.
#[derive(Serialize)]
struct Message {
    id: Uuid,
    campaign: String,
    run: String,
    category: Option<Category>,
    address: String,
    state: MessageState,
    at: Option<chrono::DateTime<chrono::Utc>>,
    /// What was reported of it, in the order of time.
    reports: Vec<Value>,
}

/// What is known.
#[derive(Serialize)]
struct Known {
    address: String,
    contacts: Vec<Card>,
    suppressed: Vec<Suppression>,
    wrote: Vec<Heard>,
    messages: Vec<Message>,
}

async fn show(context: &Context, address: &str, output: Output) -> anyhow::Result<()> {
    let (store, workspace_id) = (&context.store, context.workspace_id);
    let mut c = store.pool.acquire().await?;
    let contacts = person::cards(&mut c, workspace_id, address).await?;
    // The other address of the same contact is the same person.
    let mut own: Vec<&str> = vec![address];
    own.extend(contacts.iter().flat_map(|card| [Some(card.address.as_str()), card.email.as_deref()]).flatten());
    own.sort_unstable();
    own.dedup();
    let pepper = store.seal.pepper();
    let suppressed = suppressions::of(&mut c, pepper, workspace_id, &own).await?;
    let addresses = person::with_hashes(pepper, workspace_id, &own);
    let wrote = person::heard(&mut c, workspace_id, &addresses).await?;
    let messages = messages(&mut c, workspace_id, &addresses).await?;
    let known = Known { address: address.to_owned(), contacts, suppressed, wrote, messages };
    if known.contacts.is_empty() && known.suppressed.is_empty() && known.wrote.is_empty() && known.messages.is_empty() {
        let (what, name, near) = ("contact", address.to_owned(), Vec::new());
        return Err(fanfare_store::Error::NotFound { what, name, near }.into());
    }
    output.result(&known, render)
}

async fn messages(c: &mut PgConnection, workspace_id: i32, addresses: &[String]) -> anyhow::Result<Vec<Message>> {
    let mut all = Vec::new();
    for sent in person::messages(c, workspace_id, addresses).await? {
        let range = (sent.seq, sent.seq + 1);
        let page = deliveries::page(c, workspace_id, sent.run_id, range, None).await?;
        let reported = receipts::of_messages(c, workspace_id, sent.run_id, range).await?;
        let report = |r: &Reported| json!({ "kind": r.kind.as_str(), "at": r.at });
        all.extend(page.into_iter().map(|d: Delivery| Message {
            id: message_id(workspace_id, sent.run_id, sent.seq),
            campaign: sent.campaign.clone(),
            run: id(sent.run_id),
            category: sent.category(),
            address: d.address,
            state: d.state,
            at: d.at,
            reports: reported.iter().map(report).collect(),
        }));
    }
    Ok(all)
}

fn render(k: &Known) -> String {
    let mut parts = vec![format!("{}\n", bold(&k.address))];
    parts.extend(k.contacts.iter().map(card));
    parts.push(addresses::table(&k.suppressed));
    let mut wrote = Table::new(&["last wrote to", "from", "at"]);
    for heard in &k.wrote {
        wrote.row([heard.account.clone(), heard.address.clone(), when(heard.heard_at)]);
    }
    parts.push(wrote.render());
    let mut table = Table::new(&["campaign", "state", "at", "reported"]);
    for m in k.messages.iter().take(SHOWN_MAX) {
        let reports: Vec<&str> = m.reports.iter().filter_map(|r| r["kind"].as_str()).collect();
        table.row([m.campaign.clone(), m.state.to_string(), m.at.map(when).unwrap_or_default(), reports.join(", ")]);
    }
    parts.push(table.render());
    let more = k.messages.len().saturating_sub(SHOWN_MAX);
    parts.push(if more > 0 {
        format!("and {} older: with --json all of them\n", count(more as i64))
    } else {
        String::new()
    });
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn card(card: &Card) -> String {
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    let attributes = card.attributes.as_ref().and_then(Value::as_object).into_iter().flatten();
    let attribute = |(name, value): (&String, &Value)| match value.as_str() {
        Some(text) => format!("{name} {text}"),
        None => format!("{name} {value}"),
    };
    let source = match (&card.source, &card.file) {
        (Some(source), Some(file)) if !file.ends_with(source.as_str()) => format!("{source}; {file}"),
        (source, file) => source.clone().or_else(|| file.clone()).unwrap_or_default(),
    };
    fields([
        ("list", card.list.clone()),
        ("address", card.address.clone()),
        ("email", of(&card.email)),
        ("name", of(&card.name)),
        ("country", of(&card.country)),
        ("language", of(&card.language)),
        ("tags", card.tags.as_ref().map(|tags| tags.join(", ")).unwrap_or_default()),
        ("opted in", card.consent_at.map_or("not known".to_owned(), |at| format!("known since {}", when(at)))),
        ("source", source),
        ("attributes", attributes.map(attribute).collect::<Vec<_>>().join(", ")),
    ])
}

async fn change(context: &Context, set: &Set, output: Output) -> anyhow::Result<()> {
    let (store, workspace_id) = (&context.store, context.workspace_id);
    let address = set.who.read()?;
    let mut c = store.pool.acquire().await?;
    let list_id = match &set.list {
        Some(name) => Some(lists::get(&mut c, workspace_id, name).await?.list_id),
        None => None,
    };
    let n = person::change(&mut c, (workspace_id, list_id), &address, &set.changes(), store.clock.now()).await?;
    output.result(&json!({ "address": address, "lists": n }), |_| format!("{address} changed in {n} lists"))
}

async fn erased(context: &Context, address: &str, output: Output) -> anyhow::Result<()> {
    let done = erase(&context.store, context.workspace_id, address, &context.store.actor).await?;
    output.result(&done, |e| {
        format!(
            "erased: {} addresses, {} contacts, {} messages; files that hold the contact are yours to clean",
            e.addresses,
            e.contacts,
            count(e.messages as i64)
        )
    })
}
