//! A stage: a database, a simulator, a campaign, and workers to come.

use std::net::SocketAddr;
use std::time::Duration;

use fanfare_api::Server;
use fanfare_domain::cap::Cap;
use fanfare_domain::clock::Clock;
use fanfare_domain::message::Channel;
use fanfare_domain::price::Prices;
use fanfare_domain::state::{OnUnknown, Sharing};
use fanfare_domain::template::{Template, Text, Variant};
use fanfare_providers::Kind;
use fanfare_scheduler::launch::{Launch, launch};
use fanfare_scheduler::one_off::{self, Message, Of, Submitted};
use fanfare_scheduler::{expand, tick};
use fanfare_sim::{Config, Handle, Sim};
use fanfare_store::accounts::{Limits, NewAccount};
use fanfare_store::campaigns::{NewCampaign, Through};
use fanfare_store::hooks::Opening;
use fanfare_store::hours::NewHours;
use fanfare_store::progress::{Progress, newest_run, progress};
use fanfare_store::seal::Seal;
use fanfare_store::{Store, accounts, audit, campaigns, credits, hooks, templates, workspaces};
use fanfare_testdb::TestDb;
use sqlx::postgres::PgPoolOptions;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const WORKSPACE: i32 = 1;
pub const CAMPAIGN: &str = "spring";
pub const PRICE: i64 = 5_000;

/// How often a condition is looked at. A state is awaited, never a time.
const LOOK: Duration = Duration::from_millis(20);
/// A condition not reached by then never will be.
const PATIENCE: Duration = Duration::from_secs(120);

/// What differs between tests.
pub struct Stage {
    pub contacts: i32,
    pub caps: &'static [&'static str],
    pub idempotent: bool,
    pub on_unknown: OnUnknown,
    pub credit: i64,
    /// Whether the simulator posts receipts, and somebody takes them.
    pub receipts: bool,
    pub account: Account,
    pub recipients_per_day: Option<i64>,
    pub warm_up: Option<&'static str>,
    pub sim: Config,
    /// Accounts of kind http beside the first, and how all of them divide the campaign.
    pub others: Vec<Other>,
    pub sharing: Sharing,
    pub share: Option<i32>,
    /// When recipients may be written to, by a clock that a test may set.
    pub hours: NewHours<'static>,
    pub clock: Clock,
    pub expires_after_s: Option<i64>,
    /// Contacts beside the others.
    pub people: Vec<Person>,
    /// More templates, by name and text.
    pub templates: &'static [(&'static str, &'static str)],
    /// What else is said of the campaign.
    pub campaign: for<'a> fn(NewCampaign<'a>) -> NewCampaign<'a>,
}

/// A contact with a phone in a country, and what it says of its zone.
pub struct Person {
    pub phone: String,
    pub country: &'static str,
    pub timezone: Option<&'static str>,
}

/// Another account, at a provider of its own.
#[derive(Default)]
pub struct Other {
    pub name: &'static str,
    pub caps: &'static [&'static str],
    pub share: Option<i32>,
    pub sim: Config,
}

/// The account, the simulator of its kind, and what is said through it.
pub struct Account {
    pub kind: &'static str,
    /// The URL is added.
    pub settings: serde_json::Value,
    pub channel: Channel,
    pub text: Text,
    /// What is said to those who may not be sent the text.
    pub fallback: Option<Text>,
}

impl Default for Account {
    fn default() -> Self {
        let text = Text::Body { subject: None, body: "Hello {{ name }}".into() };
        Self { kind: "http", settings: serde_json::json!({}), channel: Channel::Sms, text, fallback: None }
    }
}

impl Account {
    /// A WhatsApp account of this kind, which says a text of its own.
    pub fn whatsapp(kind: &'static str, settings: serde_json::Value) -> Self {
        Self { kind, settings, channel: Channel::Whatsapp, ..Self::default() }
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            contacts: 500,
            caps: &[],
            idempotent: true,
            on_unknown: OnUnknown::Hold,
            credit: 1_000_000_000,
            receipts: false,
            account: Account::default(),
            recipients_per_day: None,
            warm_up: None,
            sim: Config::default(),
            others: Vec::new(),
            sharing: Sharing::Together,
            share: None,
            hours: NewHours::default(),
            clock: Clock::system(),
            expires_after_s: None,
            people: Vec::new(),
            templates: &[],
            campaign: |campaign| campaign,
        }
    }
}

/// The stage once it is set.
pub struct Play {
    pub db: TestDb,
    pub sim: Handle,
    /// The providers of the other accounts.
    pub others: Vec<Handle>,
    /// The address of the account's hook, where there is one.
    pub hook: String,
    kind: &'static str,
    key: Option<String>,
    over: CancellationToken,
}

/// A worker in this process.
pub struct Worker {
    stop: CancellationToken,
    task: JoinHandle<Result<(), fanfare_worker::Error>>,
}

impl Worker {
    /// Stops it gracefully and waits for its end.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// A worker in a runtime of its own, as if in a process of its own, that ends in the midst of whatever it does.
pub struct Mortal(Option<Runtime>);

impl Mortal {
    /// Kills it: not one of its tasks goes on, and its connections are closed.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        // Not to be waited for, which a test must not do within its own runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Stage {
    /// Sets the stage and launches the campaign: the audience is expanded, nothing is sent yet.
    pub async fn launch(self) -> Play {
        let mut db = TestDb::new().await;
        db.store.clock = self.clock.clone();
        let over = CancellationToken::new();
        let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
        let config =
            Config { kind: self.account.kind.parse().unwrap(), honour_keys: self.idempotent, ..self.sim.clone() };
        let serve = |config| {
            let sim = Sim::bind(config, loopback).unwrap();
            let handle = sim.handle();
            tokio::spawn(sim.serve(over.clone().cancelled_owned()));
            handle
        };
        let handle = serve(config);
        let others: Vec<Handle> = self.others.iter().map(|other| serve(other.sim.clone())).collect();
        self.fill(&db.store, &handle.url(), &others).await;
        let (kind, key) = (self.account.kind, self.sim.hook_key.clone());
        let mut play = Play { db, sim: handle, others, hook: String::new(), kind, key, over };
        if self.receipts {
            play.hook = play.open_hook().await;
            play.sim.post_receipts_to(play.hook.parse().unwrap());
        }
        let db = &play.db;
        launch(&db.store, WORKSPACE, CAMPAIGN, Launch::default()).await.unwrap();
        play.expand().await;
        play
    }

    async fn fill(&self, store: &Store, url: &str, others: &[Handle]) {
        let mut c = store.pool.acquire().await.unwrap();
        assert_eq!(workspaces::ensure(&mut c, "default", store.clock.now()).await.unwrap(), WORKSPACE);
        sqlx::query("insert into list values (1, 10, 'l', now())").execute(&mut *c).await.unwrap();
        sqlx::query(
            "insert into contact (workspace_id, list_id, import_id, row_no, address, name, country)
             select 1, 10, 1, i, '+2135' || (50000000 + i), 'Amina ' || i, 'DZ' from generate_series(1, $1) i",
        )
        .bind(self.contacts)
        .execute(&mut *c)
        .await
        .unwrap();
        for person in &self.people {
            sqlx::query(
                "insert into contact (workspace_id, list_id, import_id, row_no, address, name, country, attributes)
                 values (1, 10, 1, 1, $1, 'Amina', $2, case when $3::text is not null then jsonb_build_object('Timezone', $3) end)",
            )
            .bind(&person.phone)
            .bind(person.country)
            .bind(person.timezone)
            .execute(&mut *c)
            .await
            .unwrap();
        }
        drop(c);
        let own = caps(self.caps);
        let mut settings = self.account.settings.clone();
        settings["url"] = url.into();
        let known = Kind::named(self.account.kind).unwrap();
        let account = NewAccount {
            name: "demo",
            kind: self.account.kind,
            settings: &settings,
            secret: Some("s3cret"),
            sender: Some("Fanfare"),
            idempotent: self.idempotent,
            looks_up: known.looks_up(),
            correlates: known.correlates(),
            waits_for_echo: known.waits_for_echo(),
            limits: Limits {
                caps: &own,
                recipients_per_day: self.recipients_per_day,
                warm_up: self.warm_up.map(|ramp| ramp.parse().unwrap()),
            },
            prices: &Prices([(String::new(), PRICE)].into()),
        };
        accounts::add(store, WORKSPACE, account).await.unwrap();
        let mut through = vec![Through { share: self.share, ..Through::account("demo") }];
        for (other, sim) in self.others.iter().zip(others) {
            let (settings, caps) = (serde_json::json!({ "url": sim.url() }), caps(other.caps));
            let limits = Limits { caps: &caps, ..Limits::default() };
            let account = NewAccount { name: other.name, kind: "http", settings: &settings, limits, ..account };
            accounts::add(store, WORKSPACE, account).await.unwrap();
            through.push(Through { share: other.share, ..Through::account(other.name) });
        }
        credits::topup(store, WORKSPACE, self.credit, None).await.unwrap();
        let text = [("hello", Some(&self.account.text)), ("approved", self.account.fallback.as_ref())];
        for (name, text) in text.into_iter().filter_map(|(name, text)| Some((name, text?.clone()))) {
            let variant = Variant { language: String::new(), text, defaults: Default::default() };
            let template = Template::compile(self.account.channel, vec![variant]).unwrap();
            templates::add(store, WORKSPACE, name, &template).await.unwrap();
        }
        for (name, body) in self.templates {
            let text = Text::Body { subject: None, body: (*body).to_owned() };
            let variant = Variant { language: String::new(), text, defaults: Default::default() };
            let template = Template::compile(self.account.channel, vec![variant]).unwrap();
            templates::add(store, WORKSPACE, name, &template).await.unwrap();
        }
        let campaign = NewCampaign {
            fallback: self.account.fallback.as_ref().map(|_| "approved"),
            sharing: self.sharing,
            on_unknown: self.on_unknown,
            hours: self.hours,
            expires_after_s: self.expires_after_s,
            ..NewCampaign::of(CAMPAIGN, "hello", "l", &through)
        };
        campaigns::create(store, WORKSPACE, (self.campaign)(campaign)).await.unwrap();
    }
}

fn caps(texts: &[&str]) -> Vec<Cap> {
    texts.iter().map(|c| c.parse().unwrap()).collect()
}

impl Drop for Play {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

impl Play {
    pub fn worker(&self) -> Worker {
        let (store, stop) = (self.db.store.clone(), self.over.child_token());
        let task = tokio::spawn(fanfare_worker::run(store, "test", stop.clone(), || ()));
        Worker { stop, task }
    }

    /// A worker that can be killed.
    pub fn mortal_worker(&self) -> Mortal {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let url = self.db.url.clone();
        runtime.spawn(async move {
            // Connections belong to the runtime that opened them.
            let pool = PgPoolOptions::new().connect(&url).await.unwrap();
            let store = Store::from_pool(pool, Seal::from_base64(fanfare_testdb::KEY).unwrap());
            fanfare_worker::run(store, "mortal", CancellationToken::new(), || ()).await.unwrap();
        });
        Mortal(Some(runtime))
    }

    /// Has the fleet find out now that a worker is dead, rather than once its time has run out.
    pub async fn bury(&self) {
        sqlx::query("update worker set alive_until = 'epoch'").execute(&self.db.store.pool).await.unwrap();
        tick::reclaim_all(&self.db.store).await.unwrap();
    }

    /// Serves the account's hook at a new address, which it gives.
    pub async fn open_hook(&self) -> String {
        let (store, server) = (&self.db.store, Server::bind(([127, 0, 0, 1], 0).into()).await.unwrap());
        let public_url = format!("http://{}", server.address());
        let named = Kind::named(self.kind).unwrap().names_hook;
        let opening = Opening { public_url: &public_url, key: self.key.as_deref(), named };
        let url = hooks::open(store, WORKSPACE, "demo", opening).await.unwrap().url;
        tokio::spawn(server.run(store.clone(), self.over.child_token()));
        url
    }

    pub fn scheduler(&self) {
        let (store, stop) = (self.db.store.clone(), self.over.child_token());
        tokio::spawn(async move { tick::run(store, stop, || ()).await });
    }

    pub async fn status(&self) -> Progress {
        let mut c = self.db.store.pool.acquire().await.unwrap();
        let campaign = campaigns::get(&mut c, WORKSPACE, CAMPAIGN).await.unwrap();
        let run = newest_run(&mut c, WORKSPACE, campaign.campaign_id).await.unwrap().unwrap();
        progress(&mut c, WORKSPACE, run).await.unwrap()
    }

    /// Waits until the run is as it should be; the law of conservation holds at every look.
    pub async fn until(&self, what: &str, reached: impl Fn(&Progress) -> bool) -> Progress {
        let began = std::time::Instant::now();
        loop {
            let status = self.status().await;
            assert_eq!(status.imbalance(), 0, "{status:?}");
            if reached(&status) {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: never reached: {status:?}\n{:?}", self.sim.stats());
            tokio::time::sleep(LOOK).await;
        }
    }

    pub async fn finished(&self) -> Progress {
        let done = self.until("finished", |p| p.state().unwrap().as_str() == "finished").await;
        self.assert_books().await;
        done
    }

    /// Expands whatever is to be expanded.
    pub async fn expand(&self) {
        let store = &self.db.store;
        loop {
            let due = expand::due(store).await.unwrap();
            for (workspace_id, run_id) in &due {
                expand::expand_next(store, *workspace_id, *run_id).await.unwrap();
            }
            if due.is_empty() {
                return;
            }
        }
    }

    /// Submits messages that come one by one, each to a recipient of its own, through the same account.
    pub async fn submit(&self, recipients: std::ops::Range<u32>) -> Vec<Submitted> {
        let mut all = Vec::new();
        for i in recipients {
            let (to, of) = (format!("+2136{:08}", 60_000_000 + i), Of::Template { account: "demo", template: "hello" });
            let params = serde_json::Map::from_iter([("name".to_owned(), "Ali".into())]);
            let message = Message { of, to: &to, params: &params, key: Some(&to), expires_after_s: None };
            all.push(one_off::submit(&self.db.store, WORKSPACE, message).await.unwrap());
        }
        all
    }

    /// Waits until the run of these messages is as it should be.
    pub async fn until_of(&self, of: &[Submitted], what: &str, reached: impl Fn(&Progress) -> bool) -> Progress {
        let began = std::time::Instant::now();
        loop {
            let mut c = self.db.store.pool.acquire().await.unwrap();
            let status = progress(&mut c, WORKSPACE, of[0].run_id).await.unwrap();
            drop(c);
            assert_eq!(status.imbalance(), 0, "{status:?}");
            if reached(&status) {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: never reached: {status:?}\n{:?}", self.sim.stats());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Launches the campaign once more, and expands its audience.
    pub async fn launch_again(&self) {
        let again = Launch { again: true, ..Launch::default() };
        launch(&self.db.store, WORKSPACE, CAMPAIGN, again).await.unwrap();
        self.expand().await;
    }

    pub async fn assert_books(&self) {
        let mut c = self.db.store.pool.acquire().await.unwrap();
        let audit = audit::audit(&mut c, WORKSPACE).await.unwrap();
        assert!(audit.ok, "{:#?}", audit.checks.iter().filter(|c| !c.ok).collect::<Vec<_>>());
    }
}
