//! `fanfare account check`, `templates`, `balance` and `contact`: what an account's provider is asked beside
//! sending. A person asks, so these calls are made here and not by a worker.

use anyhow::{anyhow, ensure};
use clap::Args;
use fanfare_domain::clock::Clock;
use fanfare_domain::content::Listed;
use fanfare_domain::content::listed::{Part, Press};
use fanfare_domain::outcome::{Failure, FailureKind};
use fanfare_domain::phone::{self, Region};
use fanfare_providers::kind::Offer;
use fanfare_providers::{Adapter, Client, KINDS, Kind, Provider as _};
use fanfare_store::account_templates;
use fanfare_store::accounts::{self, Account};
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::{Output, Table, Usage};

/// Asks the provider whether it knows the account.
pub async fn check(context: &Context, name: &str, output: Output) -> anyhow::Result<()> {
    let (account, adapter) = open(context, name).await?;
    let made = Kind::named(&account.kind).is_some_and(|kind| kind.offers(Offer::Check));
    let said = adapter.check().await.map_err(|failure| match is_silence(&failure) {
        true => silent(name, "be checked", &failure),
        false => anyhow!("account {name:?} does not work: its provider said {}", failure.detail),
    })?;
    output.result(&json!({ "account": name, "checked": made, "said": said }), |_| {
        if made { format!("account {name} works: {said}") } else { said.clone() }
    })
}

/// Fetches the account's list of templates, keeps it for plans, and shows it.
pub async fn templates(context: &Context, name: &str, output: Output) -> anyhow::Result<()> {
    let (account, adapter) = open_for(context, name, (Offer::Templates, "list of templates")).await?;
    let all = adapter.templates().await.map_err(|failure| refused(name, "list its templates", &failure))?;
    account_templates::replace(&context.store, context.workspace_id, account.account_id, &all).await?;
    let json: Vec<Value> = all.iter().map(template).collect();
    output.result(&json!({ "account": name, "templates": json }), |_| table(name, &all))
}

/// Shows what credit is left at the provider.
pub async fn balance(context: &Context, name: &str, output: Output) -> anyhow::Result<()> {
    let (_, adapter) = open_for(context, name, (Offer::Balance, "call for a balance")).await?;
    let balance = adapter.balance().await.map_err(|failure| refused(name, "show its balance", &failure))?;
    let value = json!({ "account": name, "amount": balance.amount, "unit": balance.unit });
    output.result(&value, |_| format!("account {name} has {} {}", balance.amount, balance.unit))
}

#[derive(Debug, Args)]
pub struct Contact {
    /// Which account
    name: String,
    /// The phone to ask for
    #[arg(long, value_name = "PHONE")]
    to: String,
    /// Country of a phone that has no country code
    #[arg(long)]
    country: Option<Region>,
}

/// Asks the provider whether a phone can be written to.
pub async fn contact(context: &Context, asked: &Contact, output: Output) -> anyhow::Result<()> {
    let phone = phone::parse(&asked.to, asked.country).map_err(|e| Usage(format!("--to: {e}")))?.e164;
    let name = asked.name.as_str();
    let (_, adapter) = open_for(context, name, (Offer::ContactCheck, "call that looks for a contact")).await?;
    let there = adapter.contact(&phone).await.map_err(|failure| refused(name, "look for the contact", &failure))?;
    output.result(&json!({ "account": name, "phone": phone, "reachable": there }), |_| match there {
        true => format!("{phone} can be written to"),
        false => format!("{phone} cannot be written to: the provider does not know it"),
    })
}

async fn open(context: &Context, name: &str) -> anyhow::Result<(Account, Adapter)> {
    let account = accounts::get(&mut *context.store.pool.acquire().await?, context.workspace_id, name).await?;
    let secret = accounts::secret(&account, &context.store.seal)?;
    let client = Client::new(Clock::system());
    let adapter = fanfare_providers::open(&account.kind, &account.settings, secret.as_deref(), &client)?;
    Ok((account, adapter))
}

/// Opens an account whose kind has this call.
async fn open_for(context: &Context, name: &str, (offer, what): (Offer, &str)) -> anyhow::Result<(Account, Adapter)> {
    let (account, adapter) = open(context, name).await?;
    let with: Vec<&str> = KINDS.iter().filter(|kind| kind.offers(offer)).map(|kind| kind.name).collect();
    let kind = account.kind.as_str();
    ensure!(
        with.contains(&kind),
        "account {name:?} of kind {kind}: its provider documents no {what}; those that do are of kind {}",
        with.join(", ")
    );
    Ok((account, adapter))
}

/// Whether the provider has said neither yes nor no.
fn is_silence(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::Unreachable | FailureKind::Unknown)
}

fn silent(name: &str, what: &str, failure: &Failure) -> anyhow::Error {
    let detail = &failure.detail;
    anyhow!("account {name:?} could not {what}, its provider gave no clear answer: {detail}")
}

fn refused(name: &str, what: &str, failure: &Failure) -> anyhow::Error {
    if is_silence(failure) {
        return silent(name, what, failure);
    }
    let next = format!("fanfare account check {name} says whether it works at all");
    anyhow!("account {name:?} could not {what}, its provider said {}: {next}", failure.detail)
}

fn template(listed: &Listed) -> Value {
    json!({
        "name": listed.name, "title": listed.title, "language": listed.language, "status": listed.status,
        "category": listed.category, "usable": listed.is_usable(), "shape": listed.shape,
    })
}

fn table(name: &str, all: &[Listed]) -> String {
    if all.is_empty() {
        return format!("account {name} has no templates at its provider");
    }
    let titled = all.iter().any(|listed| listed.title.is_some());
    let columns = ["template", "language", "status", "category", "header", "body", "buttons"];
    let title = titled.then_some("title");
    let header: Vec<&str> = columns[..1].iter().copied().chain(title).chain(columns[1..].iter().copied()).collect();
    let mut table = Table::new(&header);
    for listed in all {
        let title = titled.then(|| listed.title.clone().unwrap_or_default());
        let more = match (listed.shape.offer, listed.shape.cards.len()) {
            (true, _) => ", an offer's end".to_owned(),
            (_, 0) => String::new(),
            (_, cards) => format!(", {cards} cards"),
        };
        let part = &listed.shape.part;
        let takes = [
            listed.language.clone(),
            listed.status.clone(),
            listed.category.clone(),
            part.header.map_or("-", |fill| fill.name()).to_owned(),
            format!("{}{more}", body(part)),
            buttons(part),
        ];
        table.row([listed.name.clone()].into_iter().chain(title).chain(takes));
    }
    table.render()
}

/// What a body takes: how many variables, or their names.
fn body(part: &Part) -> String {
    match part.params.iter().all(|name| name.bytes().all(|b| b.is_ascii_digit())) {
        true => part.params.len().to_string(),
        false => part.params.join(" "),
    }
}

/// The buttons that take something, by their places.
fn buttons(part: &Part) -> String {
    let takes = part.buttons.iter().enumerate().filter(|(_, press)| **press != Press::Fixed);
    let all: Vec<String> = takes.map(|(i, press)| format!("{i}:{}", press.name())).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(" ") }
}
