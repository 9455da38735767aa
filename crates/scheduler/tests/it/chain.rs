//! What follows a run: resends and follow-ups, and what they may say to whom.

use fanfare_domain::cohort::Member;
use fanfare_domain::price::Prices;
use fanfare_domain::state::{RunState, Sharing};
use fanfare_domain::template::Template;
use fanfare_scheduler::launch::{Launch, launch};
use fanfare_scheduler::life::{self, Edit, Verdict, judge};
use fanfare_scheduler::one_off::{Message, Of, submit};
use fanfare_scheduler::resend::resend;
use fanfare_scheduler::{Error, control, follow};
use fanfare_store::accounts::{Limits, NewAccount};
use fanfare_store::campaigns::Through;
use fanfare_store::follow_ups::{self, NewFollowUp};
use fanfare_store::progress::progress;
use fanfare_store::{accounts, audience, campaigns, templates};

use crate::scene::{CAMPAIGN, Scene, Setting, body, person};

/// A run to one contact, which is over; the message failed.
async fn failed() -> Scene {
    let scene = Scene::set(Setting::default(), &[person("+213555000001")]).await;
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    scene.expand_all().await;
    fail(&scene).await;
    scene
}

/// All that is open fails, and its runs are over.
async fn fail(scene: &Scene) {
    settle(scene, 2).await;
}

async fn settle(scene: &Scene, class: i16) {
    scene
        .sql(format!(
            "insert into outcome (workspace_id, seq, run_id, account_id, at, cost, latency_ms, attempt, class, late)
               select m.workspace_id, m.seq, m.run_id, 1, now(), 0, 1, 1, {class}, false
               from recipient m join run r using (workspace_id, run_id) where r.state < 5;
             update segment set next_seq = hi;
             delete from flow;
             update run set state = 5, finished_at = now() where state < 5"
        ))
        .await;
}

impl Scene {
    async fn resend(&self, run: Option<i64>, state: &str) -> Result<i64, Error> {
        let cohort: Vec<Member> = vec![state.parse().unwrap()];
        Ok(resend(&self.store, self.workspace_id, CAMPAIGN, run, &cohort).await?.run_id)
    }

    async fn approve(&self) {
        for verdict in [Verdict::Submit, Verdict::Approve] {
            judge(&self.store, self.workspace_id, CAMPAIGN, verdict).await.unwrap();
        }
    }

    async fn add_step(&self, name: &str) -> fanfare_store::Result<follow_ups::FollowUp> {
        let mut c = self.store.pool.acquire().await.unwrap();
        let campaign = campaigns::get(&mut c, self.workspace_id, CAMPAIGN).await.unwrap();
        let cohort = ["failed".parse().unwrap()];
        let new = NewFollowUp { name, of: None, template: "hello", after_s: 0, cohort: &cohort };
        follow_ups::add(&self.store, self.workspace_id, &campaign, new).await
    }

    async fn new_words(&self) {
        let template = Template::compile(self.campaign.channel, vec![body("", "Other words")]).unwrap();
        templates::add(&self.store, self.workspace_id, "hello", &template).await.unwrap();
    }

    async fn recipients_of(&self, run_id: i64) -> i64 {
        sqlx::query_scalar("select count(*) from recipient where run_id = $1")
            .bind(run_id)
            .fetch_one(&self.store.pool)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn what_nobody_has_approved_is_neither_resent_nor_follows() {
    let scene = failed().await;
    scene.sql("update workspace set review = true").await;
    let refused = scene.resend(None, "failed").await.unwrap_err().to_string();
    assert!(refused.contains("is not approved"), "{refused}");
    scene.approve().await;
    scene.new_words().await;
    scene.sql("update run set finished_at = now() + interval '1 hour'").await;
    scene.add_step("remind").await.unwrap();
    scene
        .sql("update run set finished_at = now() - interval '1 hour'; update follow_up set created_at = '2000-01-01'")
        .await;
    follow::begin_due(&scene.store).await.unwrap();
    assert_eq!(scene.number("select count(*) from run").await, 1, "a step said what was not approved");
    scene.approve().await;
    follow::begin_due(&scene.store).await.unwrap();
    assert_eq!(scene.number("select count(*) from run where kind = 3").await, 1);
    scene.expand_all().await;
    let launched = scene.number("select run_id from run where kind = 1").await;
    let refused = scene.resend(Some(launched), "failed").await.unwrap_err().to_string();
    assert!(refused.contains("said hello v1, and hello v2 was approved since"), "{refused}");
    scene.resend(None, "failed").await.unwrap();
}

#[tokio::test]
async fn a_resend_says_what_was_said_whatever_is_new_since() {
    let scene = failed().await;
    scene.sql("update workspace set review = true").await;
    scene.approve().await;
    scene.new_words().await;
    let run_id = scene.resend(None, "failed").await.unwrap();
    let says = fanfare_store::arms::of_run(&mut scene.store.pool.acquire().await.unwrap(), 1, run_id).await.unwrap();
    assert_eq!(says.iter().map(|arm| arm.version).collect::<Vec<_>>(), [1]);
    scene.expand_all().await;
    assert_eq!(scene.recipients_of(run_id).await, 1);
}

#[tokio::test]
async fn who_was_reached_by_a_resend_of_a_resend_is_reached() {
    let scene = failed().await;
    let launched = scene.number("select run_id from run").await;
    let first = scene.resend(None, "failed").await.unwrap();
    scene.expand_all().await;
    fail(&scene).await;
    let second = scene.resend(Some(first), "failed").await.unwrap();
    scene.expand_all().await;
    settle(&scene, 1).await;
    assert_eq!((scene.recipients_of(first).await, scene.recipients_of(second).await), (1, 1));
    for parent in [launched, first] {
        let third = scene.resend(Some(parent), "failed").await.unwrap();
        scene.expand_all().await;
        assert_eq!(scene.recipients_of(third).await, 0, "sent once more after resend {second}");
        settle(&scene, 1).await;
    }
}

#[tokio::test]
async fn whoever_is_not_among_the_recipients_yet_is_not_forgotten_by_a_resend() {
    let scene = Scene::set(Setting::default(), &[person("+213555000001")]).await;
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    let refused = scene.resend(None, "failed").await.unwrap_err().to_string();
    assert!(refused.contains("a launch of campaign \"spring\" is being put together"), "{refused}");
    scene.expand_all().await;
    scene.resend(None, "failed").await.unwrap();
}

#[tokio::test]
async fn a_resend_is_planned_for_whom_it_is_for_and_for_nobody_knows_whom_before() {
    let scene = Scene::set(Setting::default(), &[]).await;
    scene.add_many(10).await;
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    scene.expand_all().await;
    settle(&scene, 1).await;
    scene.sql("update outcome set class = 2 where seq < 3").await;
    scene.suppress("+213000000001").await;
    let run_id = scene.resend(None, "failed").await.unwrap();
    let standing = async || {
        let p = progress(&mut scene.store.pool.acquire().await.unwrap(), scene.workspace_id, run_id).await.unwrap();
        (p.expanded, p.planned, p.total, p.left_out_suppressed)
    };
    assert_eq!(standing().await, (false, None, 0, 0));
    scene.expand_all().await;
    assert_eq!(standing().await, (true, Some(3), 2, 1), "three failed, and one of them is suppressed since");
}

#[tokio::test]
async fn the_number_of_a_step_that_ran_is_not_given_again() {
    let scene = failed().await;
    scene.add_step("early").await.unwrap();
    scene.sql("update follow_up set created_at = '2000-01-01'").await;
    follow::begin_due(&scene.store).await.unwrap();
    assert_eq!(scene.number("select count(*) from run where step = 1").await, 1);
    let mut c = scene.store.pool.acquire().await.unwrap();
    let campaign = campaigns::get(&mut c, scene.workspace_id, CAMPAIGN).await.unwrap();
    follow_ups::remove(&scene.store, scene.workspace_id, &campaign, "early").await.unwrap();
    assert_eq!(scene.add_step("late").await.unwrap().step, 2);
}

#[tokio::test]
async fn a_cancel_reaches_the_step_that_has_not_begun() {
    let scene = failed().await;
    scene.add_step("remind").await.unwrap();
    scene.sql("update follow_up set created_at = '2000-01-01'").await;
    let cancelled = control::cancel(&scene.store, scene.workspace_id, CAMPAIGN).await.unwrap();
    assert_eq!((cancelled.state, cancelled.runs.len()), (Some(RunState::Cancelled), 1));
    follow::begin_due(&scene.store).await.unwrap();
    assert_eq!(scene.number("select count(*) from run where kind = 3 and state = 6").await, 1);
    assert_eq!(scene.number("select count(*) from run where kind = 3").await, 1, "the step began all the same");
}

#[tokio::test]
async fn what_comes_one_by_one_is_neither_resent_nor_followed() {
    let scene = failed().await;
    scene.sql("update run set kind = 6").await;
    let refused = scene.resend(None, "failed").await.unwrap_err().to_string();
    assert!(refused.contains("come one by one") && refused.contains("fanfare campaign enrol spring"), "{refused}");
    scene.sql("update campaign set kind = 2, list_id = null").await;
    let refused = scene.add_step("remind").await.unwrap_err().to_string();
    assert!(refused.contains("come one by one"), "{refused}");
}

#[tokio::test]
async fn a_message_of_nobodys_campaign_lets_it_go_on_after_the_provider_paused_it() {
    let scene = Scene::set(Setting::default(), &[]).await;
    let params = serde_json::Map::new();
    let of = Of::Template { account: "demo", template: "hello" };
    let message = Message { of, to: "+213555000001", params: &params, key: None, expires_after_s: None };
    let first = submit(&scene.store, scene.workspace_id, message).await.unwrap();
    scene.sql("update run set state = 3, paused_reason = 3; update flow set runnable = false, closed = 2").await;
    let second = submit(&scene.store, scene.workspace_id, message).await.unwrap();
    assert_eq!(second.run_id, first.run_id);
    assert_eq!((scene.state().await, scene.flow().await.0), ((2, None), true));
}

#[tokio::test]
async fn an_account_that_is_added_while_a_segment_is_written_reserves_what_its_messages_cost() {
    let scene = Scene::set(Setting::default(), &[person("+213555000001")]).await;
    let (store, workspace_id) = (&scene.store, scene.workspace_id);
    let prices = Prices([(String::new(), 7_000)].into());
    let new = NewAccount {
        name: "dear",
        kind: "http",
        settings: &serde_json::json!({"url": "http://127.0.0.1:1/"}),
        secret: Some("s3cret"),
        sender: None,
        idempotent: true,
        looks_up: false,
        correlates: false,
        waits_for_echo: false,
        limits: Limits::default(),
        prices: &prices,
    };
    accounts::add(store, workspace_id, new).await.unwrap();
    let run_id = launch(store, workspace_id, CAMPAIGN, Launch::default()).await.unwrap().run_id;
    let through = [Through::account("demo"), Through::account("dear")];
    let edit = Edit { through: Some((&through, Sharing::Together)), ..Edit::default() };
    // The audience is read once the expand has asked for the accounts.
    let mut writing = store.pool.begin().await.unwrap();
    assert!(audience::take(&mut writing, workspace_id, run_id).await.unwrap());
    let seen = audience::unfinished(&mut writing, workspace_id, run_id).await.unwrap().unwrap();
    life::edit(store, workspace_id, CAMPAIGN, edit).await.unwrap();
    let dearest: Vec<(i64, i64)> = seen.accounts.iter().map(|account| (account.account_id, 0)).collect();
    assert!(!audience::advance(&mut writing, (workspace_id, run_id), None, &dearest, None).await.unwrap());
    writing.rollback().await.unwrap();
    scene.expand_all().await;
    assert_eq!(scene.number("select max(reserve_each) from flow").await, 7_000);
}
