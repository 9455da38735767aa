//! Accounts as they are shown; never their secrets.

use chrono::{DateTime, Utc};
use fanfare_domain::price::Prices;
use fanfare_providers::Kind;
use fanfare_store::accounts::{self, Account};
use fanfare_store::{PgConnection, prices};
use serde::Serialize;
use serde_json::{Value, json};

use crate::context::Context;
use crate::kinds;
use crate::output::{Output, Table, count, credits, fields, when};

/// An account as JSON has it.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    kind: String,
    settings: Value,
    secret: bool,
    sender: Option<String>,
    idempotent: bool,
    caps: Vec<String>,
    recipients_per_day: Option<i64>,
    warm_up: Option<String>,
    prices: Prices,
    stopped_reason: Option<String>,
    created_at: DateTime<Utc>,
}

/// Shows an account.
pub async fn show(context: &Context, name: &str, output: Output) -> anyhow::Result<()> {
    let mut c = context.store.pool.acquire().await?;
    let account = accounts::get(&mut c, context.workspace_id, name).await?;
    let shown = shown(&mut c, account).await?;
    output.result(&shown, |a| {
        fields([
            ("account", a.name.clone()),
            ("kind", a.kind.clone()),
            ("url", url(a)),
            ("settings", kinds::settings(&a.settings)),
            ("secret", if a.secret { "set".into() } else { "none".into() }),
            ("sender", a.sender.clone().unwrap_or_default()),
            ("idempotent", if a.idempotent { "yes".into() } else { "no: what is in doubt is not sent again".into() }),
            ("caps", listed(&a.caps)),
            ("recipients", a.recipients_per_day.map(|n| format!("{} in 24 hours", count(n))).unwrap_or_default()),
            ("ramp", a.warm_up.clone().unwrap_or_default()),
            ("price", prices_in_words(&a.prices)),
            ("state", state(a)),
            ("added", when(a.created_at)),
        ])
    })
}

/// Lists the accounts.
pub async fn ls(context: &Context, output: Output) -> anyhow::Result<()> {
    let mut c = context.store.pool.acquire().await?;
    let mut all = Vec::new();
    for account in accounts::list(&mut c, context.workspace_id).await? {
        all.push(shown(&mut c, account).await?);
    }
    output.result(&json!({ "accounts": all }), |_| {
        let mut table = Table::new(&["account", "kind", "url", "caps", "price", "state"]);
        for a in &all {
            table.row([a.name.clone(), a.kind.clone(), url(a), listed(&a.caps), prices_in_words(&a.prices), state(a)]);
        }
        let none = "no accounts yet: fanfare account add NAME --url URL";
        if all.is_empty() { none.to_owned() } else { table.render() }
    })
}

async fn shown(c: &mut PgConnection, account: Account) -> anyhow::Result<Shown> {
    let prices = prices::load(c, account.workspace_id, account.account_id).await?;
    Ok(Shown {
        secret: account.has_secret(),
        name: account.name,
        kind: account.kind,
        settings: account.settings,
        sender: account.sender,
        idempotent: account.idempotent,
        caps: account.caps.iter().map(ToString::to_string).collect(),
        recipients_per_day: account.recipients_per_day,
        warm_up: account.warm_up.map(|ramp| ramp.to_string()),
        prices,
        stopped_reason: account.stopped_reason,
        created_at: account.created_at,
    })
}

fn url(a: &Shown) -> String {
    let documented = || Kind::named(&a.kind).and_then(|kind| kind.base_url);
    a.settings.get("url").and_then(Value::as_str).or_else(documented).unwrap_or_default().to_owned()
}

fn listed(caps: &[String]) -> String {
    if caps.is_empty() { "none".to_owned() } else { caps.join(" ") }
}

fn prices_in_words(prices: &Prices) -> String {
    let each = |(country, micro): (&String, &i64)| match country.as_str() {
        "" => credits(*micro),
        country => format!("{country} {}", credits(*micro)),
    };
    let all: Vec<String> = prices.0.iter().map(each).collect();
    if all.is_empty() { "free".to_owned() } else { all.join(", ") }
}

fn state(a: &Shown) -> String {
    match &a.stopped_reason {
        None => "may send".to_owned(),
        Some(reason) => format!("stopped: {reason}; put it right, then fanfare account resume {}", a.name),
    }
}
