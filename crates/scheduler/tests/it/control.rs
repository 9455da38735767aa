//! Pausing, resuming, cancelling: from every state.

use chrono::TimeDelta;
use fanfare_domain::clock::Clock;
use fanfare_domain::price::Prices;
use fanfare_domain::state::{OnUnknown, RunState, Sharing};
use fanfare_scheduler::expand::{self, Expanded, expand_next};
use fanfare_scheduler::launch::{Launch, launch};
use fanfare_scheduler::life::{self, Edit};
use fanfare_scheduler::{Error, control};
use fanfare_store::accounts::{Limits, NewAccount};
use fanfare_store::audience;
use fanfare_store::campaigns::Through;
use fanfare_store::queue::{Decision, decide};
use fanfare_store::{accounts, credits};
use serde_json::json;

use crate::scene::{CAMPAIGN, Scene, Setting, person};

async fn running() -> Scene {
    let scene = Scene::set(Setting::default(), &[person("+213555000001")]).await;
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    scene
}

#[track_caller]
fn says(result: Result<control::Changed, Error>, words: &str) {
    match result {
        Err(Error::State(why)) => assert!(why.contains(words), "{why}"),
        other => panic!("{other:?} does not say {words}"),
    }
}

#[tokio::test]
async fn a_run_is_paused_resumed_and_cancelled() {
    let scene = running().await;
    let (store, workspace_id) = (&scene.store, scene.workspace_id);

    says(control::resume(store, workspace_id, CAMPAIGN).await, "is running already");
    let changed = control::pause(store, workspace_id, CAMPAIGN).await.unwrap();
    assert_eq!(changed.state, Some(RunState::Paused));
    assert_eq!((scene.state().await, scene.flow().await), ((3, Some(1)), (false, 1)));
    says(control::pause(store, workspace_id, CAMPAIGN).await, "is paused already");

    control::resume(store, workspace_id, CAMPAIGN).await.unwrap();
    assert_eq!((scene.state().await, scene.flow().await), ((2, None), (true, 1)));

    control::cancel(store, workspace_id, CAMPAIGN).await.unwrap();
    assert_eq!((scene.state().await, scene.flow().await), ((4, None), (false, 2)));
    for result in [
        control::pause(store, workspace_id, CAMPAIGN).await,
        control::resume(store, workspace_id, CAMPAIGN).await,
        control::cancel(store, workspace_id, CAMPAIGN).await,
    ] {
        says(result, "campaign \"spring\" is being cancelled already");
    }

    scene.sql("update run set state = 5, finished_at = now(); delete from flow").await;
    says(control::pause(store, workspace_id, CAMPAIGN).await, "campaign \"spring\" is already finished");
    says(control::cancel(store, workspace_id, CAMPAIGN).await, "is already finished");
}

#[tokio::test]
async fn an_account_that_was_closed_to_a_run_is_opened_to_it_again() {
    let scene = running().await;
    let (store, workspace_id) = (&scene.store, scene.workspace_id);
    scene
        .sql(
            "insert into flow (workspace_id, account_id, run_id, weight, runnable, sharing, rank, closed, closed_detail)
             select workspace_id, account_id + 1, run_id, 1, false, 1, 1, 2, '132015' from flow",
        )
        .await;
    control::resume(store, workspace_id, CAMPAIGN).await.unwrap();
    assert_eq!(scene.state().await, (2, None));
    assert_eq!(scene.number("select count(*) from flow where runnable and closed is null").await, 2);
    says(control::resume(store, workspace_id, CAMPAIGN).await, "is running already");
}

#[tokio::test]
async fn what_was_never_launched_or_has_not_started_says_so() {
    let scene = Scene::set(Setting::default(), &[person("+213555000001")]).await;
    let (store, workspace_id) = (&scene.store, scene.workspace_id);
    says(control::pause(store, workspace_id, CAMPAIGN).await, "was never launched: fanfare campaign launch spring");

    let at = store.clock.now() + TimeDelta::days(1);
    launch(store, workspace_id, CAMPAIGN, Launch { at: Some(at), ..Launch::default() }).await.unwrap();
    says(control::pause(store, workspace_id, CAMPAIGN).await, "has not started yet");
    let changed = control::cancel(store, workspace_id, CAMPAIGN).await.unwrap();
    assert_eq!((changed.state, scene.state().await), (Some(RunState::Cancelled), (6, None)));
    assert_eq!(scene.number("select (select count(*) from flow) + (select count(*) from expansion)").await, 0);
    launch(store, workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
}

#[tokio::test]
async fn a_run_out_of_credit_is_resumed_by_credit_and_held_by_a_person() {
    let setting = Setting { prices: Prices([(String::new(), 5000)].into()), credit: 5000, ..Setting::default() };
    let scene = Scene::set(setting, &[person("+213555000001")]).await;
    let (store, workspace_id) = (&scene.store, scene.workspace_id);
    launch(store, workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    scene.sql("update run set state = 3, paused_reason = 2; update flow set runnable = false; update credit set reserved = 1").await;
    says(control::resume(store, workspace_id, CAMPAIGN).await, "is out of credit: a message needs 5000");
    control::pause(store, workspace_id, CAMPAIGN).await.unwrap();
    assert_eq!(scene.state().await, (3, Some(1)));
    scene.sql("update credit set reserved = 0").await;
    control::resume(store, workspace_id, CAMPAIGN).await.unwrap();
    assert_eq!((scene.state().await, scene.flow().await.0), ((2, None), true));
}

#[tokio::test]
async fn a_run_expires_by_the_clock_of_its_machine() {
    let mut scene =
        Scene::set(Setting { expires_after_s: Some(3600), ..Setting::default() }, &[person("+213555000001")]).await;
    // A machine of long ago: by the database's clock all of it has expired.
    scene.store.clock = Clock::manual("2020-01-01T00:00:00Z".parse().unwrap());
    let (store, workspace_id) = (&scene.store, scene.workspace_id);
    let run_id = launch(store, workspace_id, CAMPAIGN, Launch::default()).await.unwrap().run_id;
    scene.expand_all().await;
    scene
        .sql(
            "update segment set next_seq = hi;
             insert into retry (workspace_id, run_id, seq, attempts, kind, account_id, due_at, reserved)
               select workspace_id, run_id, 0, 1, 2, account_id, 'infinity', 0 from flow",
        )
        .await;
    let resend = async || {
        let (verdict, decided_at) = (OnUnknown::Resend, store.clock.now());
        let decision = Decision { workspace_id, run_id, seq: 0, verdict, decided_by: "test", decided_at, shard: 0 };
        decide(&store.pool, &store.ids, decision).await
    };
    assert!(resend().await.unwrap(), "a doubt of a run that still sends");
    scene.sql("update retry set kind = 2").await;
    store.clock.advance_us(TimeDelta::hours(1).num_microseconds().unwrap());
    assert!(resend().await.unwrap_err().to_string().contains("past its expiry"));
    says(control::cancel(store, workspace_id, CAMPAIGN).await, "is past its expiry");
    store.clock.advance_us(-1);
    control::cancel(store, workspace_id, CAMPAIGN).await.unwrap();
}

#[tokio::test]
async fn a_run_out_of_credit_goes_on_through_the_accounts_that_are_left() {
    let setting = Setting { prices: Prices([(String::new(), 5000)].into()), credit: 5000, ..Setting::default() };
    let scene = Scene::set(setting, &[person("+213555000001")]).await;
    let (store, workspace_id) = (&scene.store, scene.workspace_id);
    let (settings, limits, prices) = (json!({"url": "http://127.0.0.1:2/"}), Limits::default(), Prices::default());
    let other = NewAccount {
        name: "other",
        kind: "http",
        settings: &settings,
        secret: Some("s3cret"),
        sender: None,
        idempotent: true,
        looks_up: false,
        correlates: false,
        waits_for_echo: false,
        limits,
        prices: &prices,
    };
    accounts::add(store, workspace_id, other).await.unwrap();
    launch(store, workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    scene.expand_all().await;
    scene.sql("select close_poor(f) from flow f").await;
    assert_eq!(scene.state().await, (3, Some(2)));
    let through = [Through::account("other")];
    let edit = Edit { through: Some((&through, Sharing::Together)), ..Edit::default() };
    life::edit(store, workspace_id, CAMPAIGN, edit).await.unwrap();
    credits::topup(store, workspace_id, 5000, None).await.unwrap();
    assert_eq!(scene.state().await, (2, None));
    let open = "select count(*) from flow f join account a using (workspace_id, account_id)
                where f.runnable = (a.name = 'other') and coalesce(f.closed, 0) = case a.name when 'other' then 0 else 3 end";
    assert_eq!(scene.number(open).await, 2, "through the one that is left, and only through it");
}

/// A pause must be felt at once, however long a segment takes to be written.
#[tokio::test]
async fn a_pause_does_not_wait_for_an_expand() {
    let scene = running().await;
    let (store, workspace_id) = (&scene.store, scene.workspace_id);
    let [(_, run_id)] = expand::due(store).await.unwrap()[..] else { panic!("one run is due") };
    let mut expanding = store.pool.begin().await.unwrap();
    assert!(audience::take(&mut expanding, workspace_id, run_id).await.unwrap());
    assert!(audience::unfinished(&mut expanding, workspace_id, run_id).await.unwrap().is_some());
    sqlx::query("insert into segment values ($1, $2, 0, 0, 0, 0, '', 0, 0, 0, 0)")
        .bind(workspace_id)
        .bind(run_id)
        .execute(&mut *expanding)
        .await
        .unwrap();
    control::pause(store, workspace_id, CAMPAIGN).await.unwrap();
    control::cancel(store, workspace_id, CAMPAIGN).await.unwrap();
    assert!(
        !audience::advance(
            &mut expanding,
            (workspace_id, run_id),
            None,
            &[(scene.campaign.accounts[0].account_id, 0)],
            None
        )
        .await
        .unwrap()
    );
    expanding.rollback().await.unwrap();
    assert_eq!(expand_next(store, workspace_id, run_id).await.unwrap(), Expanded::Skipped);
}

#[tokio::test]
async fn a_pause_of_two_runs_holds_one_of_them_at_a_time() {
    let scene = running().await;
    let (store, workspace_id) = (&scene.store, scene.workspace_id);
    launch_once_more(&scene).await;
    // A claim takes the flow of the newer run first, then that of the older one.
    let mut claim = store.pool.begin().await.unwrap();
    let lock =
        |order: &'static str| format!("select run_id from flow order by run_id {order} limit 1 for no key update");
    let locks = [lock("desc"), lock("asc")];
    sqlx::query(sqlx::AssertSqlSafe(locks[0].clone())).execute(&mut *claim).await.unwrap();
    let claimed = async {
        let waiting =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        while scene.number(waiting).await == 0 {
            tokio::task::yield_now().await;
        }
        sqlx::query(sqlx::AssertSqlSafe(format!("{} nowait", locks[1]))).execute(&mut *claim).await.unwrap();
        claim.rollback().await.unwrap();
    };
    let (paused, ()) = tokio::join!(control::pause(store, workspace_id, CAMPAIGN), claimed);
    assert_eq!(paused.unwrap().runs.len(), 2);
}

/// Another run beside the one that runs.
async fn launch_once_more(scene: &Scene) {
    scene.sql("update run set state = 5, finished_at = now()").await;
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch { again: true, ..Launch::default() }).await.unwrap();
    scene.sql("update run set state = 2, finished_at = null").await;
}

#[tokio::test]
async fn a_rest_that_is_held_does_not_go_on_with_what_was_only_paused() {
    let scene = running().await;
    let (store, workspace_id) = (&scene.store, scene.workspace_id);
    launch_once_more(&scene).await;
    scene.sql("update run set state = 3, paused_reason = case when run_id = (select min(run_id) from run) then 5 else 1 end").await;
    let resumed = control::resume(store, workspace_id, CAMPAIGN).await.unwrap();
    assert_eq!(resumed.runs.len(), 1);
    assert_eq!(scene.number("select count(*) from run where state = 3 and paused_reason = 5").await, 1);
    assert_eq!(control::resume(store, workspace_id, CAMPAIGN).await.unwrap().runs.len(), 1, "and on its own it does");
}

#[tokio::test]
async fn a_cancel_reaches_the_rest_that_has_not_begun() {
    let scene = running().await;
    let (store, workspace_id) = (&scene.store, scene.workspace_id);
    scene
        .sql(
            "insert into first_part (workspace_id, campaign_id, ppm, rest_after_s)
               select workspace_id, campaign_id, 100000, 3600 from campaign;
             update run set part_from = 0, part_to = 1000, state = 5, finished_at = now(); delete from flow",
        )
        .await;
    let changed = control::cancel(store, workspace_id, CAMPAIGN).await.unwrap();
    assert_eq!((changed.state, changed.runs.len()), (Some(RunState::Cancelled), 1));
    assert_eq!(scene.number("select count(*) from run where kind = 5 and state = 6").await, 1);
    assert_eq!(scene.number("select count(*) from flow").await, 0);
    scene.sql("update first_part set rest_after_s = 0").await;
    fanfare_scheduler::rest::begin_due(store).await.unwrap();
    assert_eq!(scene.number("select count(*) from run where kind = 5").await, 1, "the rest began all the same");
    says(control::cancel(store, workspace_id, CAMPAIGN).await, "is already cancelled");
}
