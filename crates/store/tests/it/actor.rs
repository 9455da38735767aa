//! Workers of the queue as tests play them.

use std::time::Duration;

use fanfare_domain::outcome::Class;
use fanfare_domain::rng::Rng;
use fanfare_store::queue::{self, Fate, Flusher, Lane, Lease, Mark, Settlement};
use fanfare_store::workers;
use fanfare_testdb::TestDb;

use crate::scene::{ACCOUNT, SECOND, WORKSPACE};

const TTL: Duration = Duration::from_secs(3600);

/// A worker as the test plays it: what it holds, and the bitmaps it would have in memory.
pub struct Actor {
    pub worker_id: i64,
    pub account_id: i64,
    pub alive: bool,
    pub held: Vec<Held>,
}

pub struct Held {
    pub lease: Lease,
    pub settled: Vec<bool>,
}

impl Actor {
    pub async fn start(db: &TestDb, worker_id: i64) -> Self {
        workers::register(&db.store.pool, worker_id, "test", TTL).await.unwrap();
        Self { worker_id, account_id: ACCOUNT, alive: true, held: vec![] }
    }

    /// One of a fleet that serves two accounts.
    pub async fn start_of_two(db: &TestDb, worker_id: i64) -> Self {
        let account_id = if worker_id % 2 == 0 { SECOND } else { ACCOUNT };
        Self { account_id, ..Self::start(db, worker_id).await }
    }

    pub fn who(&self) -> Flusher {
        Flusher {
            workspace_id: WORKSPACE,
            account_id: self.account_id,
            worker_id: self.worker_id,
            shard: (self.worker_id % 3) as i16,
            correlates: false,
        }
    }

    pub async fn claim(&mut self, db: &TestDb, want: usize) -> usize {
        let mut c = db.store.pool.acquire().await.unwrap();
        let base = db.store.ids.next();
        let not_its = "select count(*) from retry where kind = 2 and account_id <> $1";
        let before: i64 = sqlx::query_scalar(not_its).bind(self.account_id).fetch_one(&mut *c).await.unwrap();
        let leases =
            queue::claim(&mut c, WORKSPACE, self.account_id, self.worker_id, base, 0, want, db.store.clock.now())
                .await
                .unwrap();
        let after: i64 = sqlx::query_scalar(not_its).bind(self.account_id).fetch_one(&mut *c).await.unwrap();
        assert_eq!(before, after, "what is in doubt goes through no other account");
        let claimed = leases.iter().map(Lease::len).sum();
        assert!(claimed <= want, "{claimed} claimed of {want} wanted");
        for lease in leases {
            queue::messages(&mut c, db.store.seal.pepper(), (WORKSPACE, self.account_id), &lease).await.unwrap();
            self.held.push(Held { settled: vec![false; lease.len()], lease });
        }
        claimed
    }

    /// Claims what is urgent, with slots of its own or without.
    pub async fn claim_urgent(&mut self, db: &TestDb, want: usize, lane: Lane) -> usize {
        let mut c = db.store.pool.acquire().await.unwrap();
        let (base, now, who) = (db.store.ids.next(), db.store.clock.now(), self.who());
        let leases = queue::claim_urgent(&mut c, WORKSPACE, self.account_id, who.worker_id, base, 0, (want, lane), now)
            .await
            .unwrap();
        let claimed = leases.iter().map(Lease::len).sum();
        assert!(claimed <= want, "{claimed} claimed of {want} wanted");
        for lease in leases {
            queue::messages(&mut c, db.store.seal.pepper(), (WORKSPACE, self.account_id), &lease).await.unwrap();
            self.held.push(Held { settled: vec![false; lease.len()], lease });
        }
        claimed
    }

    /// Settles a random part of one lease, or all of it, by `fate_of`.
    pub async fn flush(
        &mut self,
        db: &TestDb,
        rng: &Rng,
        all: bool,
        fate_of: impl Fn(&Rng, &Lease, usize) -> (Fate, Class),
    ) {
        if self.held.is_empty() {
            return;
        }
        let pick = rng.below(self.held.len() as u64) as usize;
        let held = &mut self.held[pick];
        let mut settlements = vec![];
        for position in 0..held.lease.len() {
            if !held.settled[position] && (all || rng.chance(0.5)) {
                held.settled[position] = true;
                let (fate, class) = fate_of(rng, &held.lease, position);
                settlements.push(Settlement::of(&held.lease, position, fate, class));
            }
        }
        let mark = held.mark();
        let ended = mark.open == 0;
        let (pool, ids, who) = (&db.store.pool, &db.store.ids, self.who());
        queue::flush(pool, ids, who, std::slice::from_ref(&mark), &settlements, false).await.unwrap();
        if rng.chance(0.3) {
            // The answer to the commit was lost, so the worker writes the same again.
            queue::flush(pool, ids, who, &[mark], &settlements, true).await.unwrap();
        }
        if ended {
            self.held.remove(pick);
        }
    }
}

impl Held {
    pub fn mark(&self) -> Mark {
        let mut done = vec![0u8; self.settled.len().div_ceil(8)];
        for i in (0..self.settled.len()).filter(|i| self.settled[*i]) {
            done[i / 8] |= 1 << (i % 8);
        }
        let open = self.settled.iter().filter(|s| !**s).count() as i32;
        Mark { lease_id: self.lease.id, reserve_each: self.lease.reserve_each, done, open }
    }
}

/// Runs these statements.
pub async fn sql(db: &TestDb, text: &'static str) {
    sqlx::raw_sql(text).execute(&db.store.pool).await.unwrap();
}
