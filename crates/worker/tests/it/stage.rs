//! A stage: a database, a simulator, a campaign, and workers to come.

use std::net::SocketAddr;
use std::time::Duration;

use fanfare_api::Server;
use fanfare_domain::cap::Cap;
use fanfare_domain::message::Channel;
use fanfare_domain::price::Prices;
use fanfare_domain::state::{OnMissing, OnUnknown};
use fanfare_domain::template::{Template, Text, Variant};
use fanfare_providers::Kind;
use fanfare_scheduler::launch::{Launch, launch};
use fanfare_scheduler::{expand, tick};
use fanfare_sim::{Config, Handle, Sim};
use fanfare_store::accounts::NewAccount;
use fanfare_store::campaigns::NewCampaign;
use fanfare_store::hooks::Opening;
use fanfare_store::progress::{Progress, newest_run, progress};
use fanfare_store::{Store, accounts, audit, campaigns, credits, hooks, templates, workspaces};
use fanfare_testdb::TestDb;
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
    pub sim: Config,
}

/// The account, the simulator of its kind, and what is said through it.
pub struct Account {
    pub kind: &'static str,
    /// The URL is added.
    pub settings: serde_json::Value,
    pub channel: Channel,
    pub text: Text,
}

impl Default for Account {
    fn default() -> Self {
        let text = Text::Body { subject: None, body: "Hello {{ name }}".into() };
        Self { kind: "http", settings: serde_json::json!({}), channel: Channel::Sms, text }
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
            sim: Config::default(),
        }
    }
}

/// The stage once it is set.
pub struct Play {
    pub db: TestDb,
    pub sim: Handle,
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

impl Stage {
    /// Sets the stage and launches the campaign: the audience is expanded, nothing is sent yet.
    pub async fn launch(self) -> Play {
        let db = TestDb::new().await;
        let over = CancellationToken::new();
        let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
        let config =
            Config { kind: self.account.kind.parse().unwrap(), honour_keys: self.idempotent, ..self.sim.clone() };
        let sim = Sim::bind(config, loopback).unwrap();
        let handle = sim.handle();
        tokio::spawn(sim.serve(over.clone().cancelled_owned()));
        self.fill(&db.store, &handle.url()).await;
        let (kind, key) = (self.account.kind, self.sim.hook_key.clone());
        let mut play = Play { db, sim: handle, hook: String::new(), kind, key, over };
        if self.receipts {
            play.hook = play.open_hook().await;
            play.sim.post_receipts_to(play.hook.parse().unwrap());
        }
        let db = &play.db;
        let run = launch(&db.store, WORKSPACE, CAMPAIGN, Launch::default()).await.unwrap();
        while expand::expand_next(&db.store, WORKSPACE, run.run_id).await.unwrap() == expand::Expanded::More {}
        play
    }

    async fn fill(&self, store: &Store, url: &str) {
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
        drop(c);
        let caps: Vec<Cap> = self.caps.iter().map(|c| c.parse().unwrap()).collect();
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
            caps: &caps,
            prices: &Prices([(String::new(), PRICE)].into()),
        };
        accounts::add(store, WORKSPACE, account).await.unwrap();
        credits::topup(store, WORKSPACE, self.credit, None).await.unwrap();
        let text = self.account.text.clone();
        let variant = Variant { language: String::new(), text, defaults: Default::default() };
        let template = Template::compile(self.account.channel, vec![variant]).unwrap();
        templates::add(store, WORKSPACE, "hello", &template).await.unwrap();
        let campaign = NewCampaign {
            name: CAMPAIGN,
            template: "hello",
            list: "l",
            account: "demo",
            weight: 1,
            on_missing: OnMissing::Refuse,
            on_unknown: self.on_unknown,
            expires_after_s: None,
        };
        campaigns::create(store, WORKSPACE, campaign).await.unwrap();
    }
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

    pub async fn assert_books(&self) {
        let mut c = self.db.store.pool.acquire().await.unwrap();
        let audit = audit::audit(&mut c, WORKSPACE).await.unwrap();
        assert!(audit.ok, "{:#?}", audit.checks.iter().filter(|c| !c.ok).collect::<Vec<_>>());
    }
}
