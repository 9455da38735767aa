//! Schedules: which ticks become runs, whatever dies and however late it is.

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_domain::clock::Clock;
use fanfare_domain::schedule::{Missed, Tz};
use fanfare_domain::state::{Overlap, ScheduleForm, ScheduleState};
use fanfare_scheduler::fire::{fire, fire_due};
use fanfare_scheduler::launch::{Launch, launch};
use fanfare_scheduler::schedule::{Change, change, reschedule};
use fanfare_scheduler::{Error, control};
use fanfare_store::schedules::{self, NewSchedule};

use crate::scene::{CAMPAIGN, Person, Scene, Setting, mail, person};

/// A Sunday.
const START: &str = "2026-03-01T09:00:00Z";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Every ten minutes from nine o'clock on, UTC.
fn every_ten_minutes() -> NewSchedule<'static> {
    NewSchedule {
        form: ScheduleForm::Cron,
        expression: "*/10 * * * *",
        zone: Tz::UTC,
        starts_at: at(START),
        ends_at: None,
        runs_max: None,
        missed: Missed::Skip,
        overlap: Overlap::Parallel,
        latest_after_s: None,
        next_at: at(START),
    }
}

/// At nine o'clock, at most half an hour late.
fn once() -> NewSchedule<'static> {
    NewSchedule {
        form: ScheduleForm::Once,
        expression: "2026-03-01T09:00:00",
        latest_after_s: Some(1800),
        runs_max: Some(1),
        ..every_ten_minutes()
    }
}

/// A campaign with a schedule, whose clock stands at its start.
async fn scene(new: NewSchedule<'_>, people: &[Person]) -> Scene {
    scene_of(Setting::default(), new, people).await
}

async fn scene_of(setting: Setting, new: NewSchedule<'_>, people: &[Person]) -> Scene {
    let mut scene = Scene::set(setting, people).await;
    scene.store.clock = Clock::manual(at(START));
    let mut c = scene.store.pool.acquire().await.unwrap();
    schedules::put(&mut c, scene.workspace_id, scene.campaign.campaign_id, &new).await.unwrap();
    scene
}

fn ann() -> Vec<Person> {
    vec![person("+213555000001")]
}

impl Scene {
    /// `minutes` pass, and then a scheduler looks.
    async fn tick_after(&self, minutes: i64) {
        self.store.clock.advance_us(TimeDelta::minutes(minutes).num_microseconds().unwrap());
        fire_due(&self.store).await.unwrap();
    }

    /// What became of the ticks so far, in their order: `09:00 fired`, `09:10+5 missed`.
    async fn ticks(&self) -> Vec<String> {
        let mut c = self.store.pool.acquire().await.unwrap();
        let ticks = schedules::ticks(&mut c, self.workspace_id, self.campaign.campaign_id, 1000).await.unwrap();
        let words = |t: &schedules::Tick| {
            let more = if t.ticks > 1 { format!("+{}", t.ticks - 1) } else { String::new() };
            format!("{}{more} {}", t.scheduled_for.format("%H:%M"), t.verdict)
        };
        ticks.iter().rev().map(words).collect()
    }

    async fn schedule(&self) -> schedules::Schedule {
        let mut c = self.store.pool.acquire().await.unwrap();
        schedules::get(&mut c, self.workspace_id, self.campaign.campaign_id).await.unwrap().unwrap()
    }

    /// Every message of the runs going on is sent, and they are over.
    pub async fn finish_runs(&self) {
        self.expand_all().await;
        self.sql(
            "insert into outcome (workspace_id, seq, run_id, account_id, at, cost, latency_ms, attempt, class, late)
               select m.workspace_id, m.seq, m.run_id, 1, now(), 0, 1, 1, 1, false from recipient m
               on conflict do nothing;
             update segment set next_seq = hi;
             delete from flow;
             update run set state = 5, finished_at = now() where state < 5",
        )
        .await;
    }
}

#[tokio::test]
async fn ticks_fire_at_their_instants_and_their_runs_start() {
    let scene = scene(every_ten_minutes(), &ann()).await;
    scene.tick_after(0).await;
    scene.tick_after(9).await;
    assert_eq!(scene.ticks().await, ["09:00 fired"]);
    scene.tick_after(1).await;
    scene.expand_all().await;
    assert_eq!(scene.ticks().await, ["09:00 fired", "09:10 fired"]);
    let sql = "select count(*) from run r join tick t using (workspace_id, run_id)
               where r.state = 2 and r.kind = 2 and r.scheduled_for = t.scheduled_for and r.expanded_at is not null";
    assert_eq!(scene.number(sql).await, 2, "each tick has its run, which runs");
    assert_eq!(scene.recipients().await.len(), 2, "the audience is taken anew");
    assert_eq!(scene.schedule().await.next_at, Some(at("2026-03-01T09:20:00Z")));
}

#[tokio::test]
async fn missed_ticks_go_by_their_policy() {
    let cases: [(Missed, &[&str], &[&str]); 4] = [
        // Down from 09:00 to 09:40 and to 09:45.
        (Missed::Skip, &["09:00+3 missed", "09:40 fired"], &["09:00+4 missed"]),
        (Missed::RunOnce, &["09:00+3 merged", "09:40 fired"], &["09:00+3 merged", "09:40 fired"]),
        (
            Missed::RunEach(2),
            &["09:00+1 missed", "09:20 fired", "09:30 fired", "09:40 fired"],
            &["09:00+2 missed", "09:30 fired", "09:40 fired"],
        ),
        (
            Missed::RunEach(100),
            &["09:00 fired", "09:10 fired", "09:20 fired", "09:30 fired", "09:40 fired"],
            &["09:00 fired", "09:10 fired", "09:20 fired", "09:30 fired", "09:40 fired"],
        ),
    ];
    for (missed, in_time, late) in cases {
        for (minutes, expected) in [(40, in_time), (45, late)] {
            let scene = scene(NewSchedule { missed, ..every_ten_minutes() }, &ann()).await;
            scene.tick_after(minutes).await;
            assert_eq!(scene.ticks().await, expected, "{missed}, after {minutes} minutes");
            let fired = expected.iter().filter(|t| t.ends_with("fired")).count();
            assert_eq!(scene.number("select count(*) from run").await, fired as i64);
            assert_eq!(scene.schedule().await.next_at, Some(at("2026-03-01T09:50:00Z")));
        }
    }
}

#[tokio::test]
async fn a_long_outage_is_accounted_for_tick_by_tick() {
    let every_minute = NewSchedule { expression: "* * * * *", missed: Missed::RunOnce, ..every_ten_minutes() };
    let scene = scene(every_minute, &ann()).await;
    let minutes = 25 * 1440;
    scene.tick_after(minutes).await;
    // More than fit in one transaction: the scheduler looks again.
    for _ in 0..4 {
        scene.tick_after(0).await;
    }
    assert_eq!(scene.number("select sum(ticks) from tick").await, minutes + 1);
    assert_eq!(scene.number("select count(*) from run").await, 1);
    assert_eq!(scene.schedule().await.next_at, Some(at(START) + TimeDelta::minutes(minutes + 1)));
}

#[tokio::test]
async fn a_tick_during_a_run_goes_by_its_policy() {
    let cases: [(Overlap, &[&str], &[&str]); 3] = [
        (
            Overlap::Skip,
            &["09:00 fired", "09:10 overlap", "09:20 overlap"],
            &["09:00 fired", "09:10 overlap", "09:20 overlap"],
        ),
        (
            Overlap::Queue,
            &["09:00 fired", "09:10 queued", "09:20 queued"],
            &["09:00 fired", "09:10 fired", "09:20 queued"],
        ),
        (
            Overlap::Parallel,
            &["09:00 fired", "09:10 fired", "09:20 fired"],
            &["09:00 fired", "09:10 fired", "09:20 fired"],
        ),
    ];
    for (overlap, during, after) in cases {
        let scene = scene(NewSchedule { overlap, ..every_ten_minutes() }, &ann()).await;
        for minutes in [0, 10, 10] {
            scene.tick_after(minutes).await;
        }
        assert_eq!(scene.ticks().await, during, "{overlap}");
        scene.finish_runs().await;
        scene.tick_after(1).await;
        assert_eq!(scene.ticks().await, after, "{overlap}, after its end");
        // What waits is not run beside what has waited longer.
        scene.tick_after(1).await;
        assert_eq!(scene.ticks().await, after, "{overlap}, while that runs");
    }
}

#[tokio::test]
async fn what_is_made_up_for_one_by_one_waits_for_its_turn() {
    let new = NewSchedule { overlap: Overlap::Skip, missed: Missed::RunEach(2), ..every_ten_minutes() };
    let scene = scene(new, &ann()).await;
    scene.tick_after(35).await;
    assert_eq!(scene.ticks().await, ["09:00+1 missed", "09:20 fired", "09:30 queued"]);
    scene.finish_runs().await;
    scene.tick_after(1).await;
    assert_eq!(scene.ticks().await, ["09:00+1 missed", "09:20 fired", "09:30 fired"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_schedulers_fire_a_tick_once() {
    let scene = scene(NewSchedule { missed: Missed::RunEach(100), ..every_ten_minutes() }, &ann()).await;
    for _ in 0..5 {
        scene.store.clock.advance_us(TimeDelta::minutes(10).num_microseconds().unwrap());
        let mut looks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = scene.store.clone();
            let (workspace_id, campaign_id) = (scene.workspace_id, scene.campaign.campaign_id);
            looks.spawn(async move { fire(&store, workspace_id, campaign_id).await });
        }
        for look in looks.join_all().await {
            look.unwrap();
        }
    }
    assert_eq!(scene.number("select count(*) from tick where verdict = 1").await, 6);
    assert_eq!(scene.number("select count(*) from run").await, 6);
    assert_eq!(scene.schedule().await.fired, 6);
}

#[tokio::test]
async fn a_schedule_ends_after_its_runs_or_at_its_end() {
    let scene_runs = scene(NewSchedule { runs_max: Some(2), ..every_ten_minutes() }, &ann()).await;
    for minutes in [0, 10, 10] {
        scene_runs.tick_after(minutes).await;
    }
    assert_eq!(scene_runs.ticks().await, ["09:00 fired", "09:10 fired"]);
    assert_eq!(scene_runs.schedule().await.state, ScheduleState::Ended);

    let ends_at = Some(at("2026-03-01T09:10:00Z"));
    let scene_end = scene(NewSchedule { ends_at, ..every_ten_minutes() }, &ann()).await;
    for minutes in [0, 10, 10] {
        scene_end.tick_after(minutes).await;
    }
    assert_eq!(scene_end.ticks().await, ["09:00 fired", "09:10 fired"]);
    let schedule = scene_end.schedule().await;
    assert_eq!((schedule.state, schedule.next_at), (ScheduleState::Ended, None));
}

#[tokio::test]
async fn a_paused_schedule_skips_and_an_ended_one_drops_what_waits() {
    let scene = scene(NewSchedule { overlap: Overlap::Queue, ..every_ten_minutes() }, &ann()).await;
    let change = |wanted| change(&scene.store, scene.workspace_id, CAMPAIGN, wanted);
    scene.tick_after(0).await;
    change(Change::Pause).await.unwrap();
    scene.tick_after(25).await;
    assert_eq!(scene.ticks().await, ["09:00 fired"]);
    assert!(matches!(change(Change::Pause).await.unwrap_err(), Error::State(why) if why.contains("paused already")));
    change(Change::Resume).await.unwrap();
    scene.tick_after(5).await;
    assert_eq!(scene.ticks().await, ["09:00 fired", "09:10+1 paused", "09:30 queued"]);
    change(Change::End).await.unwrap();
    scene.finish_runs().await;
    scene.tick_after(10).await;
    assert_eq!(scene.ticks().await, ["09:00 fired", "09:10+1 paused", "09:30 dropped"]);
    assert!(matches!(change(Change::Resume).await.unwrap_err(), Error::State(why) if why.contains("no tick to come")));
}

#[tokio::test]
async fn a_cancelled_campaign_has_no_further_tick() {
    let scene = scene(every_ten_minutes(), &ann()).await;
    scene.tick_after(0).await;
    scene.expand_all().await;
    control::cancel(&scene.store, scene.workspace_id, CAMPAIGN).await.unwrap();
    scene.tick_after(10).await;
    assert_eq!(scene.ticks().await, ["09:00 fired"]);
    assert_eq!(scene.schedule().await.state, ScheduleState::Ended);
}

#[tokio::test]
async fn a_campaign_is_cancelled_between_its_ticks_too_and_while_it_is_held() {
    let cancel = async |scene: &Scene| control::cancel(&scene.store, scene.workspace_id, CAMPAIGN).await;
    let early = scene(every_ten_minutes(), &ann()).await;
    assert_eq!(cancel(&early).await.unwrap().run_id, None);
    early.tick_after(10).await;
    assert_eq!((early.ticks().await, early.schedule().await.state), (Vec::new(), ScheduleState::Ended));
    let words = matches!(cancel(&early).await, Err(Error::State(why)) if why.contains("never launched"));
    assert!(words, "there is nothing left to cancel");

    let between = scene(every_ten_minutes(), &ann()).await;
    between.tick_after(0).await;
    between.finish_runs().await;
    assert_eq!(cancel(&between).await.unwrap().runs, Vec::<i64>::new());
    between.tick_after(10).await;
    assert_eq!(between.ticks().await, ["09:00 fired"]);

    let held = scene(once(), &ann()).await;
    held.tick_after(31).await;
    cancel(&held).await.unwrap();
    assert_eq!((held.ticks().await, held.schedule().await.state), (vec!["09:00 dropped".into()], ScheduleState::Ended));
}

#[tokio::test]
async fn a_schedule_whose_end_came_while_it_was_paused_has_ended() {
    let scene = scene(NewSchedule { ends_at: Some(at("2026-03-01T09:15:00Z")), ..every_ten_minutes() }, &ann()).await;
    let change = async |what| change(&scene.store, scene.workspace_id, CAMPAIGN, what).await.unwrap();
    change(Change::Pause).await;
    scene.tick_after(60).await;
    assert_eq!(change(Change::Resume).await, ScheduleState::Ended);
    assert_eq!(scene.ticks().await, ["09:00+1 paused"]);
}

#[tokio::test]
async fn a_plan_is_that_of_the_next_tick() {
    let scene = scene(NewSchedule { next_at: at("2026-03-01T12:00:00Z"), ..every_ten_minutes() }, &ann()).await;
    let plan = scene.plan().await;
    assert_eq!((plan.next_at, plan.starts_at), (Some(at("2026-03-01T12:00:00Z")), at("2026-03-01T12:00:00Z")));
    control::cancel(&scene.store, scene.workspace_id, CAMPAIGN).await.unwrap();
    let plan = scene.plan().await;
    assert_eq!((plan.next_at, plan.starts_at), (None, at(START)));
}

#[tokio::test]
async fn a_tick_that_cannot_be_launched_says_why_and_the_next_one_tries_again() {
    let scene = scene(every_ten_minutes(), &[]).await;
    scene.tick_after(0).await;
    scene.add(&ann()).await;
    scene.tick_after(10).await;
    assert_eq!(scene.ticks().await, ["09:00 refused", "09:10 fired"]);
    let mut c = scene.store.pool.acquire().await.unwrap();
    let ticks = schedules::ticks(&mut c, scene.workspace_id, scene.campaign.campaign_id, 10).await.unwrap();
    assert!(ticks[1].why.as_deref().is_some_and(|why| why.contains("is empty")), "{ticks:?}");
}

#[tokio::test]
async fn a_single_run_that_is_too_late_is_held_until_a_person_lets_it_go() {
    let in_time = scene(once(), &ann()).await;
    in_time.tick_after(30).await;
    assert_eq!(
        (in_time.ticks().await, in_time.schedule().await.state),
        (vec!["09:00 fired".into()], ScheduleState::Ended)
    );

    let late = scene(once(), &ann()).await;
    late.tick_after(31).await;
    late.tick_after(100).await;
    assert_eq!((late.ticks().await, late.schedule().await.state), (vec!["09:00 held".into()], ScheduleState::Held));
    assert_eq!(late.number("select count(*) from run").await, 0);
    let run = launch(&late.store, late.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    assert_eq!((late.ticks().await, late.schedule().await.state), (vec!["09:00 fired".into()], ScheduleState::Ended));
    assert_eq!(late.number("select run_id from tick").await, run.run_id);
}

#[tokio::test]
async fn a_launch_takes_the_place_of_a_single_start_that_waits_or_is_paused() {
    let noon = "2026-03-01T12:00:00Z";
    for (paused, past, ticks) in
        [(false, false, vec![]), (true, false, vec![]), (true, true, vec!["12:00 fired".to_owned()])]
    {
        let scene = scene(NewSchedule { next_at: at(noon), ..once() }, &ann()).await;
        let (store, workspace_id, case) = (&scene.store, scene.workspace_id, format!("paused {paused}, past {past}"));
        if paused {
            change(store, workspace_id, CAMPAIGN, Change::Pause).await.unwrap();
        }
        if past {
            scene.tick_after(200).await;
        }
        launch(store, workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
        let schedule = scene.schedule().await;
        assert_eq!((scene.ticks().await, schedule.state, schedule.fired), (ticks, ScheduleState::Ended, 1), "{case}");
        let resumed = change(store, workspace_id, CAMPAIGN, Change::Resume).await;
        assert!(resumed.unwrap_err().to_string().contains("no tick to come"), "{case}");
        let noted = "select count(*) from transition where reason = 'its schedule is ended: launched in its place'";
        assert_eq!(scene.number(noted).await, 1, "{case}");
        scene.finish_runs().await;
        scene.tick_after(200).await;
        assert_eq!(scene.number("select count(*) from run").await, 1, "{case}: everybody was sent to twice");
        if !past {
            // What has not come yet may be given to it once more.
            let again = NewSchedule { next_at: scene.store.clock.now() + TimeDelta::minutes(10), ..once() };
            reschedule(store, workspace_id, CAMPAIGN, &again).await.unwrap();
            scene.tick_after(10).await;
            assert_eq!(scene.number("select count(*) from run").await, 2, "{case}");
        }
    }
}

#[tokio::test]
async fn a_launch_between_the_ticks_of_a_schedule_leaves_it_as_it_is() {
    let scene = scene(every_ten_minutes(), &ann()).await;
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    scene.finish_runs().await;
    scene.tick_after(10).await;
    assert_eq!(scene.schedule().await.state, ScheduleState::Active);
}

#[tokio::test]
async fn a_campaign_runs_by_another_schedule_from_its_change_on() {
    let scene = scene(NewSchedule { runs_max: Some(3), ..every_ten_minutes() }, &ann()).await;
    scene.tick_after(0).await;
    // Nobody dealt with those of 09:10 and 09:20.
    scene.store.clock.advance_us(TimeDelta::minutes(25).num_microseconds().unwrap());
    let hourly = NewSchedule {
        expression: "0 * * * *",
        starts_at: at("2026-03-01T09:25:00Z"),
        next_at: at("2026-03-01T10:00:00Z"),
        ..every_ten_minutes()
    };
    reschedule(&scene.store, scene.workspace_id, CAMPAIGN, &hourly).await.unwrap();
    scene.tick_after(20).await;
    scene.tick_after(15).await;
    assert_eq!(scene.ticks().await, ["09:00 fired", "09:10+1 missed", "10:00 fired"]);
    assert_eq!((scene.schedule().await.fired, scene.schedule().await.expression.as_str()), (1, "0 * * * *"));

    // One that is held, or over, runs again.
    let late = scene_of(Setting::default(), once(), &ann()).await;
    late.tick_after(31).await;
    let again = NewSchedule { next_at: at("2026-03-01T10:00:00Z"), expression: "2026-03-01T10:00:00", ..once() };
    reschedule(&late.store, late.workspace_id, CAMPAIGN, &again).await.unwrap();
    late.tick_after(29).await;
    assert_eq!(late.ticks().await, ["09:00 dropped", "10:00 fired"]);

    late.sql("insert into first_part (workspace_id, campaign_id, messages, rest_after_s) select workspace_id, campaign_id, 1, 0 from campaign").await;
    let refused = reschedule(&late.store, late.workspace_id, CAMPAIGN, &again).await;
    assert!(matches!(refused, Err(Error::State(why)) if why.contains("a part first")));
}

#[tokio::test]
async fn a_first_tick_that_has_come_by_the_time_of_the_change_is_not_dealt_with_twice() {
    // What a person chose at 09:09:59, and what reaches the database a second later.
    let chosen = NewSchedule { next_at: at("2026-03-01T09:10:00Z"), ..every_ten_minutes() };
    for fired in [true, false] {
        let scene = scene(every_ten_minutes(), &ann()).await;
        scene.tick_after(0).await;
        scene.store.clock.advance_us(TimeDelta::minutes(10).num_microseconds().unwrap());
        if fired {
            fire_due(&scene.store).await.unwrap();
        }
        reschedule(&scene.store, scene.workspace_id, CAMPAIGN, &chosen).await.unwrap();
        scene.tick_after(0).await;
        scene.tick_after(10).await;
        let second = if fired { "09:10 fired" } else { "09:10 missed" };
        assert_eq!(scene.ticks().await, ["09:00 fired", second, "09:20 fired"]);
    }
    let scene = scene(every_ten_minutes(), &ann()).await;
    for over in [once(), NewSchedule { ends_at: Some(at("2026-03-01T09:05:00Z")), ..every_ten_minutes() }] {
        let refused = reschedule(&scene.store, scene.workspace_id, CAMPAIGN, &over).await;
        assert!(matches!(refused, Err(Error::State(why)) if why.contains("give a time to come")));
    }
    assert_eq!(scene.schedule().await.next_at, Some(at(START)), "the one before goes on");
}

/// What the next run of a once-per-contact campaign leaves out, and whom it writes to.
async fn second_run(scene: &Scene) -> (i64, Vec<String>) {
    scene.sql("update campaign set once_per_contact = true").await;
    scene.tick_after(10).await;
    scene.expand_all().await;
    let newest = "(select max(run_id) from run)";
    let left_out =
        sqlx::query_scalar("select sum(reached)::bigint from segment where run_id = (select max(run_id) from run)");
    let left_out: i64 = left_out.fetch_one(&scene.store.pool).await.unwrap();
    let sql = format!("select address from recipient where run_id = {newest} order by address");
    let to = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&scene.store.pool).await.unwrap();
    (left_out, to)
}

#[tokio::test]
async fn once_per_contact_leaves_out_whom_a_run_has_reached_or_may() {
    let scene = scene(every_ten_minutes(), &[]).await;
    scene.add_many(10).await;
    scene.tick_after(0).await;
    scene.expand_all().await;
    // 0 sent, 1 in doubt, 2 written off, 3 sent by a late word, 4 waits for a retry, 5 leased, 6 handed back,
    // 7 failed, 8 suppressed since, 9 expired, unclaimed none.
    scene
        .sql(
            "insert into outcome (workspace_id, seq, run_id, account_id, at, cost, latency_ms, attempt, class, late)
               select 1, seq, (select run_id from run), 1, now(), 0, 1, 1, class, late
               from (values (0, 1, false), (1, 6, false), (2, 9, false), (3, 2, false), (4, 5, false),
                            (7, 2, false), (8, 7, false), (9, 8, false)) o (seq, class, late);
             insert into outcome (workspace_id, seq, run_id, account_id, at, cost, latency_ms, attempt, class, late)
               select 1, 3, run_id, 1, now(), 0, 1, 2, 1, true from run;
             insert into retry (workspace_id, run_id, seq, kind, due_at, attempts, account_id, reserved)
               select 1, run_id, 4, 1, now(), 1, 1, 0 from run;
             insert into worker (worker_id, host, pid, version, started_at, alive_until)
               values (7, 'here', 1, 'test', now(), now() + interval '1 hour');
             insert into lease (workspace_id, lease_id, account_id, run_id, worker_id, lo, hi, open, reserve_each, slot_us, period_us)
               select 1, 1, 1, run_id, 7, 5, 6, 1, 0, 0, 0 from run;
             insert into returned (workspace_id, run_id, lo, hi) select 1, run_id, 6, 7 from run;
             update segment set next_seq = hi",
        )
        .await;
    let (left_out, to) = second_run(&scene).await;
    assert_eq!(left_out, 7);
    assert_eq!(to, ["+213000000008", "+213000000009", "+213000000010"], "7 failed, 8 suppressed then, 9 expired");
}

#[tokio::test]
async fn once_per_contact_goes_by_the_mailbox_for_e_mail() {
    let setting = Setting {
        channel: fanfare_domain::message::Channel::Email,
        variants: vec![mail("Hi", "Hello")],
        ..Setting::default()
    };
    let people = [Person { email: Some("ann@example.com"), ..person("+213555000001") }, person("bob@example.com")];
    let scene = scene_of(setting, every_ten_minutes(), &people).await;
    scene.sql("update account set kind = 'smtp'").await;
    scene.tick_after(0).await;
    scene.finish_runs().await;
    scene.add(&[person("cem@example.com")]).await;
    assert_eq!(second_run(&scene).await, (2, vec!["cem@example.com".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_expanded_side_by_side_never_share_a_contact() {
    let scene = scene(every_ten_minutes(), &[]).await;
    scene.sql("update campaign set once_per_contact = true").await;
    scene.add_many(12_000).await;
    for minutes in [0, 10, 10] {
        scene.tick_after(minutes).await;
    }
    let mut expanding = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = scene.store.clone();
        expanding.spawn(async move {
            // Until nobody has anything to expand; who is skipped looks again, as the scheduler does.
            loop {
                let due = fanfare_scheduler::expand::due(&store).await.unwrap();
                if due.is_empty() {
                    return;
                }
                for (workspace_id, run_id) in due {
                    fanfare_scheduler::expand::expand_next(&store, workspace_id, run_id).await.unwrap();
                }
            }
        });
    }
    expanding.join_all().await;
    assert_eq!(scene.number("select count(*) from recipient").await, 12_000);
    assert_eq!(scene.number("select count(distinct address) from recipient").await, 12_000);
    assert_eq!(scene.number("select sum(reached) from segment").await, 24_000);
}

#[tokio::test]
async fn a_cancel_between_two_ticks_ends_the_schedule() {
    let scene = scene(every_ten_minutes(), &ann()).await;
    let cancelled = control::cancel(&scene.store, scene.workspace_id, CAMPAIGN).await.unwrap();
    assert_eq!((cancelled.schedule_ended, cancelled.run_id), (true, None));
    assert_eq!(scene.schedule().await.state, ScheduleState::Ended);
    scene.tick_after(30).await;
    assert_eq!(scene.number("select count(*) from run").await, 0);
    let again = control::cancel(&scene.store, scene.workspace_id, CAMPAIGN).await;
    assert!(again.unwrap_err().to_string().contains("was never launched"));
}
