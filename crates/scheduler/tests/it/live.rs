//! Live runs that nobody has named: stopped when nothing comes, and no message is refused for it.

use fanfare_domain::clock::Clock;
use fanfare_domain::limits::LIVE_IDLE;
use fanfare_scheduler::Result;
use fanfare_scheduler::live::stop_idle;
use fanfare_scheduler::one_off::{Message, Of, Submitted, submit};
use serde_json::Map;

use crate::scene::{Scene, Setting};

const TO: &str = "+213770123456";
/// All messages are sent, and answered now by the clock of the machine.
const SENT: &str =
    "insert into outcome (workspace_id, seq, run_id, account_id, at, cost, latency_ms, attempt, class, late)
    select t.workspace_id, t.seq, t.run_id, t.account_id, $1, 0, 1, 1, 1, false from retry t";

async fn send(scene: &Scene, to: &str) -> Result<Submitted> {
    let of = Of::Text { account: "demo", channel: None, text: "Your code is 482910" };
    submit(&scene.store, scene.workspace_id, Message { of, to, params: &Map::new(), key: None, expires_after_s: None })
        .await
}

impl Scene {
    async fn send_all(&self) {
        sqlx::query(SENT).bind(self.store.clock.now()).execute(&self.store.pool).await.unwrap();
        self.sql("delete from retry").await;
    }

    /// How many live runs take messages.
    async fn open(&self) -> i64 {
        self.number("select count(*) from run where kind = 6 and state = 2 and expanded_at is null").await
    }

    fn wait(&self, us: i64) {
        self.store.clock.advance_us(us);
    }
}

fn idle_us() -> i64 {
    LIVE_IDLE.as_micros().try_into().unwrap()
}

async fn scene() -> Scene {
    let clock = Clock::manual("2026-03-01T09:00:00Z".parse().unwrap());
    Scene::set(Setting { clock, ..Setting::default() }, &[]).await
}

#[tokio::test]
async fn a_run_is_stopped_once_nothing_came_for_long_and_the_next_message_opens_another() {
    let scene = scene().await;
    let first = send(&scene, TO).await.unwrap();
    scene.wait(2 * idle_us());
    stop_idle(&scene.store).await.unwrap();
    assert_eq!(scene.open().await, 1, "a message waits");
    scene.send_all().await;
    scene.wait(idle_us());
    stop_idle(&scene.store).await.unwrap();
    assert_eq!(scene.open().await, 1, "the last was answered no longer ago");
    for table in ["retry (workspace_id, run_id, seq, attempts, kind, account_id, due_at, reserved)
                     select workspace_id, run_id, 0, 1, 2, account_id, 'infinity', 0 from flow",
                  "worker (worker_id, host, pid, version, started_at, alive_until)
                     values (7, 'here', 1, 'test', now(), now() + interval '1 hour');
                   insert into lease (workspace_id, lease_id, account_id, run_id, worker_id, lo, hi, open, reserve_each, slot_us, period_us)
                     select workspace_id, 1, account_id, run_id, 7, 0, 1, 1, 0, 0, 0 from flow"] {
        scene.sql(format!("insert into {table}")).await;
        scene.wait(1);
        stop_idle(&scene.store).await.unwrap();
        assert_eq!(scene.open().await, 1, "{table}");
        scene.sql("delete from retry; delete from lease").await;
    }
    stop_idle(&scene.store).await.unwrap();
    assert_eq!(scene.open().await, 0);
    let next = send(&scene, TO).await.unwrap();
    assert_ne!(next.run_id, first.run_id);
    scene.wait(idle_us());
    stop_idle(&scene.store).await.unwrap();
    assert_eq!(scene.open().await, 1);
}

#[tokio::test]
async fn a_campaign_that_has_a_name_stays_live() {
    let scene = scene().await;
    send(&scene, TO).await.unwrap();
    scene.send_all().await;
    scene.sql("update campaign set kind = 2 where kind = 3").await;
    scene.wait(10 * idle_us());
    stop_idle(&scene.store).await.unwrap();
    assert_eq!(scene.open().await, 1);
}

#[tokio::test]
async fn a_message_that_meets_a_run_which_is_stopped_is_entered_into_the_next() {
    let scene = scene().await;
    let first = send(&scene, TO).await.unwrap();
    scene.send_all().await;
    scene.wait(idle_us() + 1);
    // Whoever enters a message to this address waits, when its run was found live.
    let mut held = scene.store.pool.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(1, hashtext($1))").bind(TO).execute(&mut *held).await.unwrap();
    let stopped = async {
        let waiting =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        while scene.number(waiting).await == 0 {
            tokio::task::yield_now().await;
        }
        stop_idle(&scene.store).await.unwrap();
        assert_eq!(scene.open().await, 0);
        held.commit().await.unwrap();
    };
    let (sent, ()) = tokio::join!(send(&scene, TO), stopped);
    assert_ne!(sent.unwrap().run_id, first.run_id);
    assert_eq!((scene.open().await, scene.number("select count(*) from retry where kind = 3").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_refused_however_often_its_run_is_stopped() {
    let scene = scene().await;
    for round in 0..10 {
        send(&scene, TO).await.unwrap();
        scene.send_all().await;
        scene.wait(idle_us() + 1);
        let (store, now) = (&scene.store, || send(&scene, TO));
        let (a, stopped, b, again, c) = tokio::join!(now(), stop_idle(store), now(), stop_idle(store), now());
        stopped.and(again).unwrap();
        for sent in [a, b, c] {
            sent.unwrap_or_else(|e| panic!("round {round}: {e}"));
        }
        assert_eq!(scene.number("select count(*) from retry where kind = 3").await, 3, "round {round}");
        scene.send_all().await;
    }
}
