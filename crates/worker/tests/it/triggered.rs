//! Messages that come one by one and keep hours, or expire: by a clock that is set forward by hand.

use chrono::{DateTime, Utc};
use fanfare_domain::clock::Clock;
use fanfare_domain::id::message_of;
use fanfare_domain::state::{CampaignKind, Category};
use fanfare_scheduler::hours::{apply, roll_shut};
use fanfare_scheduler::life::{Edit, edit};
use fanfare_scheduler::one_off::{self, Message, Of, Submitted};
use fanfare_scheduler::{live, tick};
use fanfare_sim::{Config, Control, Faults};
use fanfare_store::campaigns::{self, NewCampaign, Through};
use fanfare_store::hours::{self, NewHours, Written};
use fanfare_store::one_off::{Times, times};
use fanfare_store::progress::Progress;
use fanfare_store::{credits, queue};

use crate::drain::faults_of;
use crate::stage::{Other, PRICE, Play, Stage, WORKSPACE};

const ALGIERS: &str = "+213555000001";
const LONDON: &str = "+447900000001";
const TOKYO: &str = "+819012345678";
const NEW_YORK: &str = "+12125550100";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A triggered campaign, and the clock of its fleet.
struct Live {
    play: Play,
    clock: Clock,
}

/// Not at night, by the recipients' clocks.
fn quiet() -> NewHours<'static> {
    NewHours { quiet: Some("21:00-08:00"), ..NewHours::default() }
}

impl Live {
    /// Half past eight in the evening in London, half past nine in Algiers, half past five in Tokyo.
    async fn at_night(stage: Stage, new: impl for<'a> Fn(NewCampaign<'a>) -> NewCampaign<'a>) -> Self {
        let clock = Clock::manual(at("2026-03-02T20:30:00Z"));
        let names: Vec<&str> = std::iter::once("demo").chain(stage.others.iter().map(|other| other.name)).collect();
        let play = Stage { contacts: 1, clock: clock.clone(), ..stage }.launch().await;
        let through: Vec<Through<'_>> = names.into_iter().map(Through::account).collect();
        let campaign = NewCampaign { kind: CampaignKind::Triggered, ..NewCampaign::of("live", "hello", "", &through) };
        campaigns::create(&play.db.store, WORKSPACE, new(campaign)).await.unwrap();
        assert!(live::open(&play.db.store, WORKSPACE, "live").await.unwrap());
        Self { play, clock }
    }

    async fn enrol_for(&self, to: &str, expires_after_s: Option<i64>) -> Submitted {
        let params = serde_json::Map::from_iter([("name".to_owned(), "Ali".into())]);
        let message = Message { of: Of::Campaign("live"), to, params: &params, key: Some(to), expires_after_s };
        one_off::submit(&self.play.db.store, WORKSPACE, message).await.unwrap()
    }

    async fn enrol(&self, to: &str) -> Submitted {
        self.enrol_for(to, None).await
    }

    /// What a message waits for.
    async fn times(&self, of: &Submitted) -> Times {
        let store = &self.play.db.store;
        times(&mut store.pool.acquire().await.unwrap(), WORKSPACE, (of.run_id, of.seq), store.clock.now())
            .await
            .unwrap()
    }

    async fn opens_at(&self, of: &Submitted) -> Option<DateTime<Utc>> {
        self.times(of).await.opens.map(|opening| opening.opens_at)
    }

    /// Sets the clock; whatever waited has waited for so long, and the scheduler has looked at it.
    async fn set(&self, time: &str) {
        let passed = at(time) - self.clock.now();
        self.clock.advance_us(passed.num_microseconds().unwrap());
        sqlx::query("update retry set due_at = due_at - make_interval(secs => $1) where due_at < 'infinity'")
            .bind(passed.as_seconds_f64())
            .execute(&self.play.db.store.pool)
            .await
            .unwrap();
        self.look().await;
    }

    /// What a scheduler does every other second.
    async fn look(&self) {
        roll_shut(&self.play.db.store).await.unwrap();
        tick::expire(&self.play.db.store).await.unwrap();
    }

    /// Nothing is to be sent now, and nothing is under way.
    async fn assert_still(&self, of: &Submitted, waiting: i64) {
        let status =
            self.play.until_of(std::slice::from_ref(of), "nothing is under way", |p: &Progress| p.leased == 0).await;
        assert_eq!(status.queued + status.retrying, waiting, "{status:?}");
        let store = &self.play.db.store;
        let due = queue::urgent(&mut store.pool.acquire().await.unwrap(), store.clock.now()).await.unwrap();
        assert_eq!(due, [], "{status:?}");
    }

    async fn sent(&self, of: &Submitted, n: i64) -> Progress {
        let sent = self.play.until_of(std::slice::from_ref(of), "sent", |p| p.sent == n && p.leased == 0).await;
        self.play.assert_books().await;
        sent
    }

    /// When messages to somebody were tried, by the clock.
    async fn tried(&self, to: &str) -> Vec<DateTime<Utc>> {
        sqlx::query_scalar(
            "select o.at from outcome o join recipient r using (workspace_id, run_id, seq) where r.address = $1 order by 1",
        )
        .bind(to)
        .fetch_all(&self.play.db.store.pool)
        .await
        .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn marketing_waits_for_everybodys_morning() {
    let live = Live::at_night(Stage::default(), |new| NewCampaign { hours: quiet(), ..new }).await;
    let worker = live.play.worker();
    let mut entered = Vec::new();
    for to in [ALGIERS, LONDON, TOKYO, NEW_YORK] {
        entered.push(live.enrol(to).await);
    }
    live.sent(&entered[0], 2).await;
    assert_eq!(live.opens_at(&entered[0]).await, Some(at("2026-03-03T07:00:00Z")));
    assert_eq!(live.opens_at(&entered[2]).await, Some(at("2026-03-02T23:00:00Z")));
    assert_eq!(live.opens_at(&entered[3]).await, None, "sent");
    live.assert_still(&entered[0], 2).await;

    live.set("2026-03-02T22:59:59Z").await;
    live.assert_still(&entered[0], 2).await;
    live.set("2026-03-02T23:00:00Z").await;
    live.sent(&entered[0], 3).await;
    // London has closed meanwhile, New York is about to.
    live.set("2026-03-03T01:59:57Z").await;
    let (london, new_york) = (live.enrol("+447900000002").await, live.enrol("+12125550101").await);
    assert_eq!(live.opens_at(&london).await, Some(at("2026-03-03T08:00:00Z")));
    assert_eq!(live.opens_at(&new_york).await, Some(at("2026-03-03T13:00:00Z")));
    live.assert_still(&london, 3).await;
    live.set("2026-03-03T07:00:00Z").await;
    live.sent(&london, 4).await;
    live.set("2026-03-03T13:00:00Z").await;
    let done = live.sent(&london, 6).await;
    assert_eq!((done.total, done.cost), (6, 6 * PRICE));
    for (to, time) in [
        (ALGIERS, "2026-03-03T07:00:00Z"),
        (LONDON, "2026-03-02T20:30:00Z"),
        (TOKYO, "2026-03-02T23:00:00Z"),
        (NEW_YORK, "2026-03-02T20:30:00Z"),
        // It opens at eight: the clock stood at seven, and next at one.
        ("+447900000002", "2026-03-03T13:00:00Z"),
    ] {
        let tried = live.tried(to).await;
        assert_eq!(tried, [at(time)], "{to}");
    }
    assert_eq!(live.play.sim.stats().accepted_twice, 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_transactional_is_sent_at_any_hour() {
    let live = Live::at_night(Stage::default(), |new| NewCampaign { category: Category::Transactional, ..new }).await;
    let store = &live.play.db.store;
    let night = Written { quiet: Some("00:00-23:59".to_owned()), hours: None };
    hours::set(&mut store.pool.acquire().await.unwrap(), WORKSPACE, None, &night).await.unwrap();
    apply(store, WORKSPACE, None).await.unwrap();
    let entered = live.enrol(ALGIERS).await;
    assert_eq!(live.times(&entered).await, Times::default());
    let worker = live.play.worker();
    live.sent(&entered, 1).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_falls_into_the_night_waits_for_the_morning() {
    let live = Live::at_night(
        Stage { sim: Config { faults: faults_of("503=1"), ..Config::default() }, ..Stage::default() },
        |new| NewCampaign { hours: quiet(), ..new },
    )
    .await;
    let worker = live.play.worker();
    let entered = live.enrol(LONDON).await;
    live.play.until_of(&[entered], "it waits for another attempt", |p| p.retrying == 1).await;
    let passed = at("2026-03-02T21:00:00Z") - live.clock.now();
    live.clock.advance_us(passed.num_microseconds().unwrap());
    live.play.until_of(&[entered], "nothing is under way", |p| p.leased == 0 && p.retrying == 1).await;
    live.play.sim.control(Control { faults: Some(Faults::default()), ..Control::default() }).await;
    // It is due at once; then it waits until eleven hours later.
    sqlx::query("update retry set due_at = now()").execute(&live.play.db.store.pool).await.unwrap();
    live.assert_still(&entered, 1).await;
    live.look().await;
    let put_off: bool = sqlx::query_scalar("select due_at > now() + interval '10 h' from retry where run_id = $1")
        .bind(entered.run_id)
        .fetch_one(&live.play.db.store.pool)
        .await
        .unwrap();
    assert!(put_off, "it is not looked at all night");
    live.set("2026-03-03T07:59:00Z").await;
    live.assert_still(&entered, 1).await;
    live.set("2026-03-03T08:00:00Z").await;
    live.sent(&entered, 1).await;
    let tried = live.tried(LONDON).await;
    let (evening, morning) = (at("2026-03-02T20:30:00Z"), at("2026-03-03T08:00:00Z"));
    assert!(tried.iter().rev().skip(1).all(|time| *time == evening) && tried.last() == Some(&morning), "{tried:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_hours_hold_at_once_for_what_waits_and_for_what_comes() {
    // It begins without any.
    let live = Live::at_night(Stage::default(), |new| new).await;
    let store = &live.play.db.store;
    let before = live.enrol(ALGIERS).await;
    assert_eq!(live.opens_at(&before).await, None);
    let set = async |quiet: Option<&str>| {
        let edited = edit(store, WORKSPACE, "live", Edit { quiet: Some(quiet), ..Edit::default() }).await.unwrap();
        assert_eq!(edited.undivided, 0, "whoever comes from now on is divided");
    };
    set(Some("20:00-08:00")).await;
    let (algiers, london) = (live.enrol("+213555000002").await, live.enrol(LONDON).await);
    // What came before counts as in the campaign's zone, that is UTC.
    assert_eq!(live.opens_at(&before).await, Some(at("2026-03-03T08:00:00Z")));
    assert_eq!(live.opens_at(&algiers).await, Some(at("2026-03-03T07:00:00Z")));
    let worker = live.play.worker();
    live.assert_still(&before, 3).await;

    // Half past eight is early enough now, half past nine is not.
    set(Some("21:00-07:00")).await;
    live.sent(&before, 2).await;
    assert_eq!(live.opens_at(&algiers).await, Some(at("2026-03-03T06:00:00Z")));
    assert_eq!((live.opens_at(&before).await, live.opens_at(&london).await), (None, None));
    live.assert_still(&before, 1).await;
    set(None).await;
    live.sent(&before, 3).await;
    let after = live.enrol("+213555000003").await;
    live.sent(&after, 4).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_in_time_is_expired_and_never_sent() {
    let live =
        Live::at_night(Stage::default(), |new| NewCampaign { hours: quiet(), expires_after_s: Some(6 * 3600), ..new })
            .await;
    let store = &live.play.db.store;
    let worker = live.play.worker();
    // Until half past two: Tokyo opens before, Algiers does not; and one that may be sent until noon.
    let (algiers, tokyo) = (live.enrol(ALGIERS).await, live.enrol(TOKYO).await);
    let noon = live.enrol_for("+213555000002", Some(16 * 3600)).await;
    assert_eq!(live.times(&algiers).await.expires_at, Some(at("2026-03-03T02:30:00Z")));
    assert_eq!(live.enrol_for(ALGIERS, Some(1)).await, Submitted { repeated: true, ..algiers }, "its key is used");
    live.set("2026-03-02T23:00:00Z").await;
    live.sent(&tokyo, 1).await;
    live.set("2026-03-03T02:29:59Z").await;
    live.assert_still(&algiers, 2).await;
    live.set("2026-03-03T02:30:00Z").await;
    let status = live.play.until_of(&[algiers], "expired", |p| p.expired == 1).await;
    assert_eq!((status.queued, status.sent), (1, 1), "{status:?}");
    live.set("2026-03-03T07:00:00Z").await;
    live.sent(&noon, 2).await;
    worker.stop().await;

    // Nobody has looked at this one before a worker does, when it is too late.
    let late = live.enrol_for("+213555000003", Some(60)).await;
    live.clock.advance_us(60_000_000);
    let worker = live.play.worker();
    let done = live.play.until_of(&[late], "expired", |p| p.expired == 2 && p.leased == 0).await;
    assert_eq!((done.total, done.sent, done.cost), (4, 2, 2 * PRICE), "{done:?}");
    live.play.assert_books().await;
    worker.stop().await;
    let balance = credits::balance(&mut store.pool.acquire().await.unwrap(), WORKSPACE).await.unwrap();
    assert_eq!(balance.reserved, 0);
    assert_eq!(live.tried(ALGIERS).await, [at("2026-03-03T02:30:00Z")], "its end, not an attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_an_account_expires_too_and_a_run_ends_without_it() {
    let live = Live::at_night(Stage::default(), |new| NewCampaign { expires_after_s: Some(60), ..new }).await;
    let store = &live.play.db.store;
    let entered = live.enrol(ALGIERS).await;
    sqlx::query("update account set stopped_reason = '401'").execute(&store.pool).await.unwrap();
    let worker = live.play.worker();
    live.set("2026-03-02T20:31:00Z").await;
    let status = live.play.until_of(&[entered], "expired", |p| p.expired == 1).await;
    assert_eq!((status.queued, status.cost), (0, 0), "{status:?}");
    live::stop(store, WORKSPACE, "live").await.unwrap();
    tick::close_once(store).await.unwrap();
    live.play.until_of(&[entered], "finished", |p| p.state().unwrap().as_str() == "finished").await;
    live.play.assert_books().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_hold_through_whichever_account() {
    let others = vec![Other { name: "backup", ..Other::default() }];
    let live = Live::at_night(Stage { others, ..Stage::default() }, |new| NewCampaign { hours: quiet(), ..new }).await;
    let store = &live.play.db.store;
    let worker = live.play.worker();
    let night = [live.enrol(ALGIERS).await, live.enrol("+213555000002").await];
    // The account that they wait for fails over night.
    sqlx::query("update account set stopped_reason = '401' where name = 'demo'").execute(&store.pool).await.unwrap();
    live.assert_still(&night[0], 2).await;
    live.set("2026-03-03T06:59:59Z").await;
    live.assert_still(&night[0], 2).await;
    live.set("2026-03-03T07:00:00Z").await;
    let done = live.sent(&night[0], 2).await;
    assert_eq!(done.cost, 2 * PRICE);
    let through_other = live.play.others[0].accepted(0).accepted;
    let of_run =
        through_other.iter().filter(|a| message_of(a.id).is_some_and(|(_, run_id, _)| run_id == night[0].run_id));
    assert_eq!(of_run.count(), 2);
    worker.stop().await;
}
