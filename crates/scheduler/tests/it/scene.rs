//! A list, an account, a template and a campaign, to be changed by each test.

use std::collections::BTreeMap;

use fanfare_domain::cap::Cap;
use fanfare_domain::clock::Clock;
use fanfare_domain::message::Channel;
use fanfare_domain::price::Prices;
use fanfare_domain::state::OnMissing;
use fanfare_domain::template::{Template, Text, Variant};
use fanfare_scheduler::expand::{self, Expanded};
use fanfare_scheduler::plan::{Plan, plan};
use fanfare_store::accounts::{Limits, NewAccount};
use fanfare_store::campaigns::{Campaign, NewCampaign, Through};
use fanfare_store::hours::NewHours;
use fanfare_store::{Store, accounts, campaigns, credits, lists, templates, workspaces};
use fanfare_testdb::TestDb;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;

pub const CAMPAIGN: &str = "spring";

/// A contact; the default is one with a phone and nothing else.
#[derive(Clone, Default)]
pub struct Person {
    pub address: String,
    pub email: Option<&'static str>,
    pub name: Option<&'static str>,
    pub country: Option<&'static str>,
    pub language: Option<&'static str>,
    pub attributes: Option<Value>,
}

pub fn person(address: &str) -> Person {
    Person { address: address.to_owned(), ..Person::default() }
}

/// What a test may choose.
pub struct Setting {
    pub channel: Channel,
    pub variants: Vec<Variant>,
    /// Those of the fallback; none without one.
    pub fallback: Vec<Variant>,
    pub caps: Vec<Cap>,
    pub prices: Prices,
    pub on_missing: OnMissing,
    pub credit: i64,
    pub expires_after_s: Option<i64>,
    pub hours: NewHours<'static>,
    pub clock: Clock,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            channel: Channel::Sms,
            variants: vec![body("", "Hello {{ name | default('friend') }}")],
            fallback: Vec::new(),
            caps: Vec::new(),
            prices: Prices::default(),
            on_missing: OnMissing::Refuse,
            credit: 0,
            expires_after_s: None,
            hours: NewHours::default(),
            clock: Clock::system(),
        }
    }
}

pub fn body(language: &str, text: &str) -> Variant {
    let text = Text::Body { subject: None, body: text.to_owned() };
    Variant { language: language.to_owned(), text, defaults: BTreeMap::new() }
}

pub fn mail(subject: &str, text: &str) -> Variant {
    let text = Text::Body { subject: Some(subject.to_owned()), body: text.to_owned() };
    Variant { language: String::new(), text, defaults: BTreeMap::new() }
}

pub fn approved(language: &str, param: &str) -> Variant {
    let text = Text::Approved { name: "spring".to_owned(), params: vec![param.to_owned()] };
    Variant { language: language.to_owned(), text, defaults: BTreeMap::new() }
}

pub struct Scene {
    pub store: Store,
    pub workspace_id: i32,
    pub campaign: Campaign,
    db: TestDb,
}

impl Scene {
    pub async fn set(setting: Setting, people: &[Person]) -> Self {
        let db = TestDb::new().await;
        let mut store = db.store.clone();
        store.clock = setting.clock.clone();
        let mut c = store.pool.acquire().await.unwrap();
        let workspace_id = workspaces::ensure(&mut c, "default", store.clock.now()).await.unwrap();
        lists::ensure(&mut c, &store, workspace_id, "people").await.unwrap();
        drop(c);
        let new = NewAccount {
            name: "demo",
            kind: "http",
            settings: &json!({"url": "http://127.0.0.1:1/"}),
            secret: Some("s3cret"),
            sender: None,
            idempotent: true,
            looks_up: false,
            correlates: false,
            waits_for_echo: false,
            limits: Limits { caps: &setting.caps, ..Limits::default() },
            prices: &setting.prices,
        };
        accounts::add(&store, workspace_id, new).await.unwrap();
        if setting.credit > 0 {
            credits::topup(&store, workspace_id, setting.credit, None).await.unwrap();
        }
        let template = Template::compile(setting.channel, setting.variants).unwrap();
        templates::add(&store, workspace_id, "hello", &template).await.unwrap();
        let fallback = (!setting.fallback.is_empty()).then_some("approved");
        if let Some(name) = fallback {
            let template = Template::compile(setting.channel, setting.fallback).unwrap();
            templates::add(&store, workspace_id, name, &template).await.unwrap();
        }
        let through = [Through::account("demo")];
        let new = NewCampaign {
            fallback,
            on_missing: setting.on_missing,
            expires_after_s: setting.expires_after_s,
            hours: setting.hours,
            ..NewCampaign::of(CAMPAIGN, "hello", "people", &through)
        };
        let campaign = campaigns::create(&store, workspace_id, new).await.unwrap();
        let scene = Self { store, workspace_id, campaign, db };
        scene.add(people).await;
        scene
    }

    pub async fn add(&self, people: &[Person]) {
        for (i, p) in people.iter().enumerate() {
            sqlx::query("insert into contact values ($1, $2, 1, $3, $4, $5, $6, $7, $8, $9)")
                .bind(self.workspace_id)
                .bind(self.campaign.list_id)
                .bind(i as i32)
                .bind(&p.address)
                .bind(p.email)
                .bind(p.name)
                .bind(p.country)
                .bind(p.language)
                .bind(&p.attributes)
                .execute(&self.store.pool)
                .await
                .unwrap();
        }
    }

    /// `n` contacts called Ali, in Algeria.
    pub async fn add_many(&self, n: i32) {
        sqlx::query(
            "insert into contact (workspace_id, list_id, import_id, row_no, address, name, country)
             select $1, $2, 1, i, '+213' || lpad(i::text, 9, '0'), 'Ali', 'DZ' from generate_series(1, $3) i",
        )
        .bind(self.workspace_id)
        .bind(self.campaign.list_id)
        .bind(n)
        .execute(&self.store.pool)
        .await
        .unwrap();
    }

    /// From now on the store has a single connection.
    pub async fn one_connection(&mut self) {
        self.store.pool = PgPoolOptions::new().max_connections(1).connect(&self.db.url).await.unwrap();
    }

    pub async fn suppress(&self, address: &str) {
        self.sql(format!("insert into suppression values (1, '{address}', 2, 'test', now())")).await;
    }

    pub async fn sql(&self, sql: impl Into<String>) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.into())).execute(&self.store.pool).await.unwrap();
    }

    pub async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.store.pool).await.unwrap()
    }

    pub async fn plan(&self) -> Plan {
        plan(&self.store, self.workspace_id, CAMPAIGN, false, |_, _| {}).await.unwrap()
    }

    /// Expands everything that is due, to its end.
    pub async fn expand_all(&self) {
        for (workspace_id, run_id) in expand::due(&self.store).await.unwrap() {
            while expand::expand_next(&self.store, workspace_id, run_id).await.unwrap() == Expanded::More {}
        }
    }

    /// The frozen audience: seq, address, units, variant, params.
    pub async fn recipients(&self) -> Vec<(i32, String, i16, i16, Option<Value>)> {
        sqlx::query_as("select seq, address, units, variant, params from recipient order by run_id, seq")
            .fetch_all(&self.store.pool)
            .await
            .unwrap()
    }

    /// State and reason of the newest run.
    pub async fn state(&self) -> (i16, Option<i16>) {
        sqlx::query_as("select state, paused_reason from run order by run_id desc limit 1")
            .fetch_one(&self.store.pool)
            .await
            .unwrap()
    }

    /// Whether the newest flow may be claimed from, and its epoch.
    pub async fn flow(&self) -> (bool, i32) {
        sqlx::query_as("select runnable, epoch from flow order by run_id desc limit 1")
            .fetch_one(&self.store.pool)
            .await
            .unwrap()
    }
}
