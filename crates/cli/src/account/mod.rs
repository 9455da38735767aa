//! `fanfare account`: credentials at providers, with their limits and prices.

mod show;

use std::io::{IsTerminal as _, Read as _};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, ensure};
use clap::{ArgGroup, Args, Subcommand};
use fanfare_domain::cap::Cap;
use fanfare_domain::clock::Clock;
use fanfare_domain::pace::WarmUp;
use fanfare_domain::phone::Region;
use fanfare_domain::price::Prices;
use fanfare_providers::kind::Keys;
use fanfare_providers::{Client, ConfigError, Kind, sender};
use fanfare_store::accounts::{self, Account, Limits, NewAccount};
use serde_json::{Value, json};

use crate::context::{Context, Global};
use crate::kinds;
use crate::offers;
use crate::output::{Output, Usage};
use crate::parse;

/// A longer secret is none.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add an account at a provider
    Add(Add),
    /// List the accounts
    Ls,
    /// Show an account; never its secret
    Show {
        /// Which
        name: String,
    },
    /// Change an account; it may be sending
    Set(Set),
    /// Let an account that was stopped send again
    Resume {
        /// Which
        name: String,
    },
    /// Make a harmless call with an account's credentials, where its provider has one
    Check {
        /// Which
        name: String,
    },
    /// Fetch the list of an account's templates at its provider, which plans are checked against from then on
    Templates {
        /// Which
        name: String,
    },
    /// Show what credit is left at an account's provider
    Balance {
        /// Which
        name: String,
    },
    /// Ask an account's provider whether a phone can be written to
    Contact(offers::Contact),
    /// Let its provider post receipts and replies: gives the address to enter there, once
    Hook(kinds::HookOptions),
    /// List the kinds of provider, or with a name, all about one
    Kinds {
        /// Which
        kind: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct Add {
    /// What the commands will call it
    #[arg(value_parser = parse::name)]
    name: String,
    /// Kind of provider: see fanfare account kinds
    #[arg(long, default_value = fanfare_providers::http::KIND.name, value_parser = kind)]
    kind: &'static Kind,
    /// Where the provider's interface is [default: as its documents say]
    #[arg(long, alias = "base-url")]
    url: Option<String>,
    /// What the kind wants to know: see fanfare account kinds KIND; repeat it for several
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    #[command(flatten)]
    secret: Secret,
    /// The address it sends from, where the provider wants one
    #[arg(long)]
    sender: Option<String>,
    /// A limit, e.g. 80/s, 60/min, 1000/h, 10000/d; repeat it for several [default: as the provider's
    /// documents say]
    #[arg(long = "cap", value_name = "COUNT/UNIT")]
    caps: Vec<Cap>,
    /// Most different recipients in any 24 hours: the tier that the provider grants, e.g. 250 or 10000
    #[arg(long, value_name = "COUNT")]
    recipients_per_day: Option<NonZeroU32>,
    /// A new sender's ramp: so many sends on the first day, and by the factor more each day, e.g. 500x1.5
    #[arg(long, value_name = "FIRSTxFACTOR")]
    warm_up: Option<WarmUp>,
    /// For kind http: whether the server accepts a message once only per Idempotency-Key. Where it does
    /// not, a message in doubt is not sent again [default: false]
    #[arg(long, value_name = "true|false", action = clap::ArgAction::Set)]
    idempotent: Option<bool>,
    /// Micro-credits for a message (a segment, for SMS), or COUNTRY=MICRO; repeat it for several [default: 0]
    #[arg(long = "price", value_name = "[COUNTRY=]MICRO", value_parser = price)]
    prices: Vec<(String, i64)>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true)
    .args(["secret", "secret_file", "caps", "no_cap", "recipients_per_day", "warm_up", "prices"]))]
pub struct Set {
    /// Which
    name: String,
    #[command(flatten)]
    secret: Secret,
    /// A limit that replaces all the old ones; repeat it for several
    #[arg(long = "cap", value_name = "COUNT/UNIT")]
    caps: Vec<Cap>,
    /// Take all limits away
    #[arg(long, conflicts_with = "caps")]
    no_cap: bool,
    /// Most different recipients in any 24 hours; none takes the limit away
    #[arg(long, value_name = "COUNT|none", value_parser = or_none::<NonZeroU32>)]
    recipients_per_day: Option<OrNone<NonZeroU32>>,
    /// The ramp, e.g. 500x1.5; none ends it
    #[arg(long, value_name = "FIRSTxFACTOR|none", value_parser = or_none::<WarmUp>)]
    warm_up: Option<OrNone<WarmUp>>,
    /// A price for runs to come; repeat it for several
    #[arg(long = "price", value_name = "[COUNTRY=]MICRO", value_parser = price)]
    prices: Vec<(String, i64)>,
}

/// Where the provider's token comes from.
#[derive(Debug, Args)]
struct Secret {
    /// The provider's token; - reads it from standard input. Others on this machine can see arguments:
    /// better are - , --secret-file or FANFARE_SECRET
    #[arg(long, env = "FANFARE_SECRET", hide_env_values = true, value_name = "TOKEN")]
    secret: Option<String>,
    /// A file that holds the provider's token
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    secret_file: Option<PathBuf>,
}

impl Secret {
    fn read(&self) -> anyhow::Result<Option<String>> {
        let text = match (&self.secret, &self.secret_file) {
            (Some(dash), _) if dash == "-" => {
                if std::io::stdin().is_terminal() {
                    eprintln!("type the secret, then Enter and Ctrl-D");
                }
                read_short(std::io::stdin()).context("cannot read the secret from standard input")?
            }
            (Some(secret), _) => secret.clone(),
            (None, Some(path)) => {
                let file = std::fs::File::open(path);
                let shown = path.display();
                file.and_then(read_short).with_context(|| format!("cannot read the secret from {shown}"))?
            }
            (None, None) => return Ok(None),
        };
        let secret = text.trim_end_matches(['\r', '\n']);
        ensure!(!secret.is_empty(), "the secret is empty: give the provider's token, or leave it out if there is none");
        Ok(Some(secret.to_owned()))
    }
}

pub fn read_short(from: impl std::io::Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(SECRET_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// A kind of provider by its name.
pub fn kind(name: &str) -> Result<&'static Kind, String> {
    Kind::named(name).ok_or_else(|| ConfigError::Kind(name.to_owned()).to_string())
}

/// `phone_number_id=106540352242922`.
fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not KEY=VALUE: write for example phone_number_id=106540352242922")),
    }
}

/// `5000`, or `FR=12000`.
fn price(text: &str) -> Result<(String, i64), String> {
    let (country, micro) = text.split_once('=').unwrap_or(("", text));
    let country = match country {
        "" if !text.contains('=') => String::new(),
        code => code.parse::<Region>().map_err(|e| e.to_string())?.as_str().to_owned(),
    };
    match micro.trim().parse() {
        Ok(micro) if (0..=1_000_000_000_000).contains(&micro) => Ok((country, micro)),
        _ => Err(format!("{micro:?} is no price: write micro-credits from 0 to 1000000000000, e.g. 5000 or FR=12000")),
    }
}

pub async fn run(global: &Global, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Kinds { kind } => kinds::show(kind.as_deref(), output)?,
        // What is given is looked at before the database is opened.
        Command::Add(new) => {
            let given = Given::of(&new.secret, &new.prices)?;
            let settings = new.stored()?;
            let idempotent = new.keys()?;
            check(new.kind.name, &settings, given.secret.as_deref())
                .with_context(|| format!("account {:?} cannot be added", new.name))?;
            if let Some(address) = &new.sender {
                sender::check(new.kind, &settings, address).map_err(|why| Usage(format!("--sender: {why}")))?;
            }
            global
                .with_workspace(true, async |context| add(context, &new, &settings, idempotent, &given, output).await)
                .await?;
        }
        Command::Set(change) => {
            let given = Given::of(&change.secret, &change.prices)?;
            global.with(async |context| set(context, &change, &given, output).await).await?;
        }
        Command::Ls => global.with(async |context| show::ls(context, output).await).await?,
        Command::Show { name } => global.with(async |context| show::show(context, &name, output).await).await?,
        Command::Check { name } => global.with(async |context| offers::check(context, &name, output).await).await?,
        Command::Templates { name } => {
            global.with(async |context| offers::templates(context, &name, output).await).await?;
        }
        Command::Balance { name } => global.with(async |context| offers::balance(context, &name, output).await).await?,
        Command::Contact(asked) => {
            global.with(async |context| offers::contact(context, &asked, output).await).await?;
        }
        Command::Hook(hook) => global.with(async |context| kinds::hook(context, &hook, output).await).await?,
        Command::Resume { name } => global.with(async |context| resume(context, &name, output).await).await?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Add {
    /// The settings as they are stored.
    fn stored(&self) -> anyhow::Result<Value> {
        let mut settings = serde_json::Map::new();
        settings.extend(self.url.iter().map(|url| ("url".to_owned(), url.clone().into())));
        for (key, value) in &self.settings {
            if settings.insert(key.clone(), value.clone().into()).is_some() {
                return Err(Usage(format!("{key} is given twice: give it once")).into());
            }
        }
        Ok(settings.into())
    }

    /// Whether the provider honours keys: as its kind says, or where that leaves it open, as was given.
    fn keys(&self) -> anyhow::Result<bool> {
        let known = match self.kind.keys {
            Keys::Said => return Ok(self.idempotent.unwrap_or(false)),
            Keys::Honoured => true,
            Keys::Ignored => false,
        };
        if self.idempotent.is_some_and(|said| said != known) {
            let does = if known { "honours idempotency keys" } else { "has no idempotency keys" };
            return Err(Usage(format!("--idempotent: {} {does}, leave it out", self.kind.service)).into());
        }
        Ok(known)
    }

    /// The limits: as given, or as documented.
    fn caps(&self) -> Vec<Cap> {
        let documented = || self.kind.caps.iter().map(|cap| cap.parse().expect("the documented caps are caps"));
        if self.caps.is_empty() { documented().collect() } else { self.caps.clone() }
    }
}

fn per_day(recipients: NonZeroU32) -> i64 {
    i64::from(recipients.get())
}

/// A value, or none.
#[derive(Debug, Clone, Copy)]
struct OrNone<T>(Option<T>);

fn or_none<T: FromStr<Err: ToString>>(text: &str) -> Result<OrNone<T>, String> {
    match text {
        "none" => Ok(OrNone(None)),
        value => value.parse().map(|value| OrNone(Some(value))).map_err(|e: T::Err| e.to_string()),
    }
}

impl Set {
    /// The limits that the account has after the change; `None` if they stay as they are.
    fn limits<'a>(&'a self, account: &'a Account) -> Option<Limits<'a>> {
        let caps = self.no_cap || !self.caps.is_empty();
        (caps || self.recipients_per_day.is_some() || self.warm_up.is_some()).then(|| Limits {
            caps: if caps { &self.caps } else { &account.caps },
            recipients_per_day: self
                .recipients_per_day
                .map_or(account.recipients_per_day, |given| given.0.map(per_day)),
            warm_up: self.warm_up.map_or(account.warm_up, |given| given.0),
        })
    }
}

/// What an account is given, read.
struct Given {
    secret: Option<String>,
    prices: Prices,
}

impl Given {
    fn of(secret: &Secret, prices: &[(String, i64)]) -> anyhow::Result<Self> {
        Ok(Self { prices: distinct(prices)?, secret: secret.read()? })
    }
}

fn distinct(given: &[(String, i64)]) -> anyhow::Result<Prices> {
    let mut prices = Prices::default();
    for (country, micro) in given {
        if prices.0.insert(country.clone(), *micro).is_some() {
            let whose = if country.is_empty() { "every other country" } else { country };
            return Err(Usage(format!("two prices for {whose}: give one")).into());
        }
    }
    Ok(prices)
}

/// Refuses here what the worker would refuse.
fn check(kind: &str, settings: &Value, secret: Option<&str>) -> anyhow::Result<()> {
    match fanfare_providers::open(kind, settings, secret, &Client::new(Clock::system())) {
        Ok(_) => Ok(()),
        Err(e @ (ConfigError::Settings { .. } | ConfigError::NoRoots | ConfigError::Tls(_))) => Err(e.into()),
        Err(e) => Err(Usage(e.to_string()).into()),
    }
}

async fn add(
    context: &Context,
    new: &Add,
    settings: &Value,
    idempotent: bool,
    given: &Given,
    output: Output,
) -> anyhow::Result<()> {
    let account = NewAccount {
        name: &new.name,
        kind: new.kind.name,
        settings,
        secret: given.secret.as_deref(),
        sender: new.sender.as_deref(),
        idempotent,
        looks_up: new.kind.looks_up(),
        correlates: new.kind.correlates(),
        waits_for_echo: new.kind.waits_for_echo(),
        limits: Limits {
            caps: &new.caps(),
            recipients_per_day: new.recipients_per_day.map(per_day),
            warm_up: new.warm_up,
        },
        prices: &given.prices,
    };
    accounts::add(&context.store, context.workspace_id, account).await?;
    show::show(context, &new.name, output).await
}

async fn set(context: &Context, change: &Set, given: &Given, output: Output) -> anyhow::Result<()> {
    let (store, workspace_id, name) = (&context.store, context.workspace_id, change.name.as_str());
    if let Some(secret) = &given.secret {
        let account = accounts::get(&mut *store.pool.acquire().await?, workspace_id, name).await?;
        check(&account.kind, &account.settings, Some(secret))?;
        accounts::set_secret(store, workspace_id, name, Some(secret)).await?;
    }
    if let Some(limits) = change.limits(&accounts::get(&mut *store.pool.acquire().await?, workspace_id, name).await?) {
        accounts::set_limits(store, workspace_id, name, limits).await?;
    }
    for (country, micro) in &given.prices.0 {
        accounts::set_price(&mut *store.pool.acquire().await?, workspace_id, name, country, *micro).await?;
    }
    show::show(context, name, output).await
}

async fn resume(context: &Context, name: &str, output: Output) -> anyhow::Result<()> {
    let mut c = context.store.pool.acquire().await?;
    let resumed = accounts::resume(&mut c, context.workspace_id, name).await?;
    output.result(&json!({ "name": name, "resumed": resumed }), |_| match resumed {
        true => format!("account {name} may send again"),
        false => format!("account {name} was not stopped"),
    })
}
