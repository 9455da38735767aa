//! `fanfare account kinds` and `hook`: what each provider can do, and where it finds us.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::Args;
use fanfare_domain::clock::Clock;
use fanfare_domain::content::Feature;
use fanfare_domain::outcome::FailureKind;
use fanfare_providers::KINDS;
use fanfare_providers::kind::{Doubt, Keys, Kind, Offer, Receipts};
use fanfare_providers::sender::Origin;
use fanfare_providers::{Adapter, Client, ConfigError, Provider as _};
use fanfare_store::accounts::{self, Account};
use fanfare_store::hooks::{self, Address, Opening};
use serde_json::{Value, json};

use crate::account::read_short;
use crate::context::Context;
use crate::output::{Output, Table, Usage, bold, dim, fields};

/// The table of all kinds, or all about one.
pub fn show(kind: Option<&str>, output: Output) -> anyhow::Result<()> {
    let Some(name) = kind else {
        return output.result(&json!({ "kinds": KINDS }), |_| table());
    };
    match Kind::named(name) {
        Some(kind) => output.result(kind, about),
        None => Err(Usage(fanfare_providers::ConfigError::Kind(name.to_owned()).to_string()).into()),
    }
}

/// What each kind carries: a line for each content, a column for each kind.
fn table() -> String {
    let header: Vec<&str> = ["content"].into_iter().chain(KINDS.iter().map(|kind| kind.name)).collect();
    let mut table = Table::new(&header);
    for feature in Feature::ALL {
        let cells = KINDS.iter().map(|kind| letters(kind, feature));
        table.row([feature.name().to_owned()].into_iter().chain(cells));
    }
    let more = "w by WhatsApp, s by SMS, e by e-mail; fanfare account kinds KIND says all about one";
    format!("{}{}\n", table.render(), dim(more))
}

/// By which channels a kind carries something.
fn letters(kind: &Kind, feature: Feature) -> String {
    kind.channels().filter(|c| kind.carries(*c, feature)).map(|c| &c.as_str()[..1]).collect()
}

fn about(kind: &Kind) -> String {
    let words = |feature: &Feature| feature.name().to_owned();
    let carries: Vec<String> = kind
        .carries
        .iter()
        .map(|(channel, features)| match *features == Feature::BY_LINK {
            true => format!("{channel}: everything by links, and the server decides"),
            false => format!("{channel}: {}", features.iter().map(words).collect::<Vec<_>>().join(", ")),
        })
        .collect();
    // Neighbours of one reason share a line.
    let refuses: Vec<String> = kind
        .refuses
        .chunk_by(|a, b| a.1 == b.1)
        .map(|same| {
            let names: Vec<&str> = same.iter().map(|(feature, _)| feature.name()).collect();
            format!("{}: {}", names.join(", "), same[0].1)
        })
        .collect();
    let settings: Vec<String> = kind
        .settings
        .iter()
        .map(|s| format!("--set {}=…  {}{}", s.key, s.what, if s.required { "" } else { " (optional)" }))
        .collect();
    let keys = match kind.keys {
        Keys::Honoured => "dropped by their key",
        Keys::Ignored => "taken as new messages: there is no key",
        Keys::Said => "as --idempotent says",
    };
    let doubt = match kind.doubt {
        Doubt::Repeat => "settled by a repeat with the same key",
        Doubt::LookUp if kind.names_hook => "settled by its receipt, else looked up at the provider",
        Doubt::LookUp => "looked up at the provider",
        Doubt::Receipt => "settled by its receipt",
        Doubt::Policy => "by the campaign's --on-unknown, unless keys are honoured",
    };
    let receipts = match kind.receipts {
        Receipts::Webhook if kind.names_hook => "by webhook, which each message names",
        Receipts::Webhook => "by webhook",
        Receipts::Confirmations => "confirmations by webhook",
        Receipts::Poll => "asked for, of messages that were only queued",
        Receipts::None => "none",
    };
    let receipts = match kind.no_deliveries {
        Some(why) => format!("{receipts}; of deliveries nothing: {why}"),
        None => receipts.to_owned(),
    };
    let texts: Vec<String> =
        kind.text_chars_max.iter().map(|(channel, most)| format!("at most {most} characters by {channel}")).collect();
    let offers: Vec<&str> = kind.offers.iter().map(|offer| offered(*offer)).collect();
    let sender = match kind.origin {
        Origin::Email => "an e-mail address, with a name or without",
        Origin::Registered => "a phone, or what is registered at the provider",
        Origin::Settings => "none beside the settings",
    };
    let window = if kind.window { "24 hours after the recipient wrote; templates at any time" } else { "none" };
    fields([
        ("kind", bold(kind.name)),
        ("service", kind.service.to_owned()),
        ("carries", carries.join("\n")),
        ("refuses", refuses.join("\n")),
        ("url", kind.base_url.unwrap_or("to be given with --url").to_owned()),
        ("secret", kind.secret.unwrap_or("optional").to_owned()),
        ("settings", settings.join("\n")),
        ("caps", if kind.caps.is_empty() { "none documented".to_owned() } else { kind.caps.join(", ") }),
        ("texts", texts.join("\n")),
        ("repeats", keys.to_owned()),
        ("in doubt", doubt.to_owned()),
        ("receipts", receipts),
        ("window", window.to_owned()),
        ("sender", sender.to_owned()),
        ("offers", offers.join("\n")),
    ])
}

/// A call beside sending, and the command that makes it.
fn offered(offer: Offer) -> &'static str {
    match offer {
        Offer::Check => "whether it knows the account: fanfare account check NAME",
        Offer::Templates => "the account's templates, for plans too: fanfare account templates NAME",
        Offer::Balance => "the credit left there: fanfare account balance NAME",
        Offer::ContactCheck => "whether a phone can be written to: fanfare account contact NAME --to PHONE",
        Offer::MediaUpload => "keeping a file of yours: workers hand it over once",
    }
}

/// An account's settings beside its URL.
pub fn settings(settings: &Value) -> String {
    let all = settings.as_object().into_iter().flatten().filter(|(key, _)| *key != "url");
    all.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect::<Vec<_>>().join(" ")
}

#[derive(Debug, Args)]
pub struct HookOptions {
    /// Which
    name: String,
    /// Where the server is reached from outside, e.g. https://fanfare.example.com
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    public_url: String,
    /// A file with the key that the provider signs its posts with, e.g. Meta's app secret
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// Opens the account's hook under a new address.
pub async fn hook(context: &Context, what: &HookOptions, output: Output) -> anyhow::Result<()> {
    let key = match &what.key_file {
        None => None,
        Some(path) => {
            let read = std::fs::File::open(path).and_then(read_short);
            let text = read.with_context(|| format!("cannot read the key from {}", path.display()))?;
            let key = text.trim().to_owned();
            ensure!(!key.is_empty(), "{}: the file is empty: expected the key", path.display());
            Some(key)
        }
    };
    let account = accounts::get(&mut *context.store.pool.acquire().await?, context.workspace_id, &what.name).await?;
    let Some(kind) = Kind::named(&account.kind).filter(|kind| kind.has_hook()) else {
        let kind = &account.kind;
        bail!("account {:?} of kind {kind}: its provider posts nothing, see fanfare account kinds {kind}", what.name);
    };
    // What the provider would not post to is refused before the old address is gone.
    let like = format!("{}/hooks/0/0", what.public_url.trim_end_matches('/'));
    let adapter = open(context, &account, Some(like)).map_err(|error| match error.downcast_ref() {
        Some(ConfigError::Field { .. }) => Usage(error.to_string()).into(),
        _ => error,
    })?;
    let opening = Opening { public_url: &what.public_url, key: key.as_deref(), named: kind.names_hook };
    let Address { url, secret } = hooks::open(&context.store, context.workspace_id, &what.name, opening).await?;
    let entered = enter(&account, &adapter, &url).await?;
    let answer = json!({
        "account": what.name, "url": url, "verify_token": secret, "entered": entered, "named": kind.names_hook,
    });
    output.result(&answer, |_| {
        if entered {
            return format!("{url}\nIts provider posts there from now on.");
        }
        let signed = match (&key, kind.names_hook) {
            (Some(_), _) => "",
            (None, true) => "\nif its posts are signed with another token than the secret, give it with --key-file",
            (None, false) => "\nif its posts are signed, give the key with --key-file",
        };
        if kind.names_hook {
            return format!(
                "{url}\nEach message names it from now on. Enter it at the provider for what recipients write: it is shown this once.{signed}"
            );
        }
        format!("{url}\nEnter it at the provider now: it is shown this once. A verify token, where one is asked for, is its last part.{signed}")
    })
}

/// The account's adapter, with a hook at this address.
fn open(context: &Context, account: &Account, hook_url: Option<String>) -> anyhow::Result<Adapter> {
    let secret = accounts::secret(account, &context.store.seal)?;
    let client = Client::new(Clock::system()).with_hook_url(hook_url);
    Ok(fanfare_providers::open(&account.kind, &account.settings, secret.as_deref(), &client)?)
}

/// Has the provider post to the address, where it has a call for that.
async fn enter(account: &Account, adapter: &Adapter, url: &str) -> anyhow::Result<bool> {
    adapter.listen(url).await.map_err(|failure| {
        let Account { name, kind, .. } = account;
        let what = match failure.kind {
            FailureKind::Unreachable | FailureKind::Unknown => "gave no clear answer",
            _ => "refused it",
        };
        anyhow!(
            "account {name:?}: its provider, {kind}, was to post to the new address and {what}: {}. \
             Run this again: until then it posts nowhere",
            failure.detail
        )
    })
}
