//! Many accounts of one process, for tests of what they share.

use std::sync::atomic::{AtomicUsize, Ordering};

use fanfare_domain::price::Prices;
use fanfare_store::accounts::{self, Account, Limits, NewAccount};
use fanfare_store::{Store, workspaces};
use fanfare_testdb::TestDb;

/// Ten accounts of a kind, of one workspace.
pub async fn accounts(store: &Store, kind: &str) -> Vec<Account> {
    let mut c = store.pool.acquire().await.unwrap();
    let workspace_id = workspaces::ensure(&mut c, "w", store.clock.now()).await.unwrap();
    let mut all = Vec::new();
    for i in 0..10 {
        let new = NewAccount {
            name: &i.to_string(),
            kind,
            settings: &serde_json::json!({}),
            secret: None,
            sender: None,
            idempotent: false,
            looks_up: false,
            correlates: false,
            waits_for_echo: false,
            limits: Limits::default(),
            prices: &Prices([(String::new(), 0)].into()),
        };
        let account_id = accounts::add(store, workspace_id, new).await.unwrap();
        all.push(accounts::by_id(&mut c, workspace_id, account_id).await.unwrap());
    }
    all
}

/// Counts calls that are under way at a time.
pub struct Counted {
    elsewhere: TestDb,
    under_way: AtomicUsize,
    most: AtomicUsize,
}

impl Counted {
    pub async fn new() -> Self {
        Self { elsewhere: TestDb::new().await, under_way: AtomicUsize::new(0), most: AtomicUsize::new(0) }
    }

    /// A call, for a while in which the others come as far as they can.
    pub async fn call(&self) {
        self.most.fetch_max(self.under_way.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        for _ in 0..20 {
            drop(self.elsewhere.store.pool.begin().await.unwrap());
        }
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}
