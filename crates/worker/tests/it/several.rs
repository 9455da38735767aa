//! Several accounts for one campaign, and limits by the day.

use std::collections::HashSet;

use fanfare_domain::state::Sharing;
use fanfare_sim::{Chance, Config, Control, Fault, Faults, Handle};
use fanfare_store::accounts;

use crate::stage::{Other, Play, Stage, WORKSPACE};

/// The messages that a provider accepted, and to whom; each once.
fn accepted(sim: &Handle) -> (HashSet<String>, HashSet<String>) {
    let (mut ids, mut to, mut after) = (HashSet::new(), HashSet::new(), 0);
    loop {
        let page = sim.accepted(after);
        if page.accepted.is_empty() {
            return (ids, to);
        }
        after = page.next;
        for a in page.accepted {
            assert!(ids.insert(a.id.to_string()), "accepted twice");
            to.insert(a.to);
        }
    }
}

/// What went through each of two accounts; no message through both.
fn through_both(play: &Play) -> (usize, usize) {
    let (first, second) = (accepted(&play.sim).0, accepted(&play.others[0]).0);
    assert_eq!(first.intersection(&second).count(), 0, "no message goes through both");
    (first.len(), second.len())
}

fn backup() -> Other {
    Other { name: "backup", ..Other::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_share_the_cursor_and_the_fastest_sends_most() {
    let others = vec![Other { caps: &["100/s"], ..backup() }];
    let play = Stage { contacts: 1_200, caps: &["300/s"], others, ..Stage::default() }.launch().await;
    play.scheduler();
    let (a, b) = (play.worker(), play.worker());
    assert_eq!(play.finished().await.sent, 1_200);
    let (fast, slow) = through_both(&play);
    assert_eq!(fast + slow, 1_200);
    assert!(fast > slow && slow > 100, "{fast} and {slow}");
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_divide_a_campaign() {
    let (sharing, share) = (Sharing::Shares, Some(3));
    let others = vec![Other { share: Some(1), ..backup() }];
    let play = Stage { contacts: 2_000, others, sharing, share, ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    assert_eq!(play.finished().await.sent, 2_000);
    let (three, one) = through_both(&play);
    assert!(three.abs_diff(1_500) <= 100 && one.abs_diff(500) <= 100, "{three} and {one}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_order_the_next_account_takes_what_the_day_leaves() {
    let (sharing, others) = (Sharing::InOrder, vec![backup()]);
    let play = Stage { contacts: 900, caps: &["350/d"], sharing, others, ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    assert_eq!(play.finished().await.sent, 900);
    assert_eq!(through_both(&play), (350, 550));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_first_account_can_send_the_next_waits() {
    let (sharing, others) = (Sharing::InOrder, vec![backup()]);
    let play = Stage { contacts: 400, caps: &["200/s"], sharing, others, ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    assert_eq!(play.finished().await.sent, 400);
    assert_eq!(through_both(&play), (400, 0));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_account_hands_over_and_nothing_in_doubt_does() {
    let (sharing, others) = (Sharing::InOrder, vec![backup()]);
    // Some of the first account's messages are in doubt, some are to be tried again, when it is refused.
    let chances = [(Fault::ResetAccepted, 0.1), (Fault::Unavailable, 0.1)];
    let faults = chances
        .into_iter()
        .fold(Faults::default(), |faults, (fault, probability)| faults.with(Chance { fault, probability }).unwrap());
    let sim = Config { faults, ..Config::default() };
    let stage =
        Stage { contacts: 1_500, caps: &["500/s"], idempotent: false, sim, sharing, others, ..Stage::default() };
    let play = stage.launch().await;
    play.scheduler();
    let worker = play.worker();
    play.until("under way", |p| p.sent > 300 && p.unknown > 0 && p.retrying > 0).await;
    let store = &play.db.store;
    let mut c = store.pool.acquire().await.unwrap();
    let first = accounts::get(&mut c, WORKSPACE, "demo").await.unwrap();
    accounts::stop(&mut c, WORKSPACE, first.account_id, "401 bad token").await.unwrap();
    drop(c);
    let done = play.finished().await;
    assert_eq!((done.failed, done.retrying, done.queued), (0, 0, 0), "{done:?}");
    assert_eq!(done.sent + done.unknown, 1_500, "{done:?}");
    let (first, second) = through_both(&play);
    assert!(first > 300 && second > 300, "{first} and {second}");
    // What is in doubt was not sent by the other account: one acceptance at most, whichever it was.
    assert!(first + second <= 1_500 && first + second >= done.sent as usize, "{first}, {second}: {done:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_down_hands_over_until_it_answers() {
    let (sharing, others) = (Sharing::InOrder, vec![Other { caps: &["200/s"], ..backup() }]);
    let play = Stage { contacts: 1_000, caps: &["200/s"], sharing, others, ..Stage::default() }.launch().await;
    play.sim.control(Control { outage: Some(true), ..Control::default() }).await;
    play.scheduler();
    let worker = play.worker();
    play.until("the other one sends", |p| p.sent > 100).await;
    play.sim.control(Control { outage: Some(false), ..Control::default() }).await;
    assert_eq!(play.finished().await.sent, 1_000);
    let (first, second) = through_both(&play);
    assert_eq!(first + second, 1_000);
    assert!(second > 100, "{first} and {second}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_counts_once_in_a_day() {
    let play = Stage { contacts: 200, recipients_per_day: Some(300), ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    assert_eq!(play.finished().await.sent, 200);
    let store = &play.db.store;
    sqlx::query(
        "insert into contact (workspace_id, list_id, import_id, row_no, address, name, country)
         select 1, 10, 1, i, '+2135' || (50000000 + i), 'Amina ' || i, 'DZ' from generate_series(201, 400) i",
    )
    .execute(&store.pool)
    .await
    .unwrap();
    play.launch_again().await;
    // The 200 count already: of the others a hundred are left for today.
    let full = "select day_room(p, (extract(epoch from clock_timestamp()) * 1000000)::bigint) from account_pace p";
    let all = play.until("the day is full", |p| p.sent == 300 && p.leased == 0).await;
    assert_eq!((all.queued, all.failed), (100, 0), "{all:?}");
    assert_eq!(sqlx::query_scalar::<_, i64>(full).fetch_one(&store.pool).await.unwrap(), 0);
    assert_eq!(accepted(&play.sim).1.len(), 300, "different recipients");
    // A day later there is room again.
    sqlx::query("update account_pace set day_hour = day_hour - 25").execute(&store.pool).await.unwrap();
    assert_eq!(play.finished().await.sent, 400);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ramp_lets_more_through_each_day() {
    let play = Stage { contacts: 250, warm_up: Some("100x1.5"), ..Stage::default() }.launch().await;
    play.scheduler();
    let worker = play.worker();
    let store = &play.db.store;
    let first = play.until("the first day is over", |p| p.sent == 100 && p.leased == 0).await;
    assert_eq!(first.accounts[0].day_room, Some(0), "{first:?}");
    let a_day_passes = "update account_pace set day_hour = day_hour - 25, warm_from_us = warm_from_us - 90000000000";
    sqlx::query(a_day_passes).execute(&store.pool).await.unwrap();
    assert_eq!(play.finished().await.sent, 250, "150 on the second day");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_cannot_be_used_is_stopped_and_the_next_goes_on() {
    let (sharing, others) = (Sharing::InOrder, vec![backup()]);
    let play = Stage { contacts: 100, sharing, others, ..Stage::default() }.launch().await;
    // As no program of this version would have stored it.
    let unusable = "update account set settings = '{}' where name = 'demo'";
    sqlx::query(unusable).execute(&play.db.store.pool).await.unwrap();
    play.scheduler();
    let worker = play.worker();
    let done = play.finished().await;
    assert_eq!((done.sent, done.accounts[0].stopped.is_some()), (100, true), "{done:?}");
    assert_eq!(through_both(&play), (0, 100));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_asked_to_wait_keeps_nobody_waiting() {
    let (sharing, others) = (Sharing::InOrder, vec![backup()]);
    let play = Stage { contacts: 100, sharing, others, ..Stage::default() }.launch().await;
    let waits = "update account_pace set next_us = (extract(epoch from now()) * 1000000)::bigint + 3600000000
                 where account_id = (select account_id from account where name = 'demo')";
    sqlx::query(waits).execute(&play.db.store.pool).await.unwrap();
    play.scheduler();
    let worker = play.worker();
    assert_eq!(play.finished().await.sent, 100);
    assert_eq!(through_both(&play), (0, 100));
    worker.stop().await;
}
