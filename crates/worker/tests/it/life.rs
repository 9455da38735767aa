//! First parts, variants, follow-ups and resends: each goes to exactly those that a query over the receipts gives,
//! which is written here without a look at how the program asks.

use std::collections::BTreeSet;

use fanfare_domain::cap::Cap;
use fanfare_domain::cohort::Member;
use fanfare_domain::id::message_id;
use fanfare_domain::rng::Rng;
use fanfare_domain::state::{Measure, RunState, Sharing};
use fanfare_scheduler::life::{self, Edit};
use fanfare_scheduler::resend::resend;
use fanfare_scheduler::{control, tick};
use fanfare_sim::{Config, Faults};
use fanfare_store::campaigns::{NewCampaign, Through};
use fanfare_store::first_part::FirstPart;
use fanfare_store::follow_ups::{self, NewFollowUp};
use fanfare_store::{campaigns, suppressions};
use serde_json::json;

use crate::receipts::post;
use crate::stage::{CAMPAIGN, Other, Play, Stage, WORKSPACE};

const SEED: u64 = 41;

/// The addresses of a query with the workspace's runs.
async fn addresses(play: &Play, sql: &'static str, run_id: i64) -> BTreeSet<String> {
    let found: Vec<String> = sqlx::query_scalar(sql).bind(run_id).fetch_all(&play.db.store.pool).await.unwrap();
    let set: BTreeSet<String> = found.iter().cloned().collect();
    assert_eq!(set.len(), found.len(), "nobody twice");
    set
}

async fn recipients(play: &Play, run_id: i64) -> BTreeSet<String> {
    addresses(play, "select address from recipient where run_id = $1", run_id).await
}

/// The runs of a kind, the oldest first.
async fn runs(play: &Play, kind: i16) -> Vec<i64> {
    let sql = "select run_id from run where kind = $1 order by run_id";
    sqlx::query_scalar(sql).bind(kind).fetch_all(&play.db.store.pool).await.unwrap()
}

/// Waits until nothing is under way any more, and the runs are closed.
async fn settled(play: &Play) {
    loop {
        tick::close_once(&play.db.store).await.unwrap();
        let sql = "select count(*) from run where state < 5";
        let open: i64 = sqlx::query_scalar(sql).fetch_one(&play.db.store.pool).await.unwrap();
        if open == 0 {
            return;
        }
        play.until("a run ends", |_| true).await;
    }
}

/// Posts what became of the messages of a run that were sent: by chance, each message with its own rate of reading.
async fn report(play: &Play, rng: &Rng, run_id: i64, read_percent: impl Fn(i16) -> u64) {
    let sql = "select r.seq, r.variant from recipient r where r.run_id = $1
                 and exists (select from outcome o where o.run_id = $1 and o.seq = r.seq and o.class = 1) order by 1";
    let sent: Vec<(i32, i16)> = sqlx::query_as(sql).bind(run_id).fetch_all(&play.db.store.pool).await.unwrap();
    let mut reports = Vec::new();
    for (seq, variant) in sent {
        let id = message_id(WORKSPACE, run_id, seq);
        let mut say =
            |status: &str, code: Option<&str>| reports.push(json!({ "id": id, "status": status, "code": code }));
        match rng.below(100) {
            0..5 => say("failed", Some("131026")),
            5..15 => {}
            _ => {
                say("delivered", None);
                if rng.below(100) < read_percent(variant) {
                    say("read", None);
                    match rng.below(10) {
                        0 => say("replied", None),
                        1 => say("interacted", Some("Yes")),
                        2 => say("confirmed", None),
                        _ => {}
                    }
                }
            }
        }
    }
    for chunk in reports.chunks(5_000) {
        let body = serde_json::to_vec(chunk).unwrap();
        assert_eq!(post(&play.hook, "", &body).await.0, 200);
    }
}

/// Points below `$2` of the whole, by the formula of the documents.
const PART: &str = "select address from contact
    where ('x' || encode(substring(sha256(convert_to($1 || ':part:' || address, 'UTF8')) from 1 for 4), 'hex'))::bit(32)::bigint";

async fn part(play: &Play, campaign_id: i64, which: &'static str) -> BTreeSet<String> {
    let sql = sqlx::AssertSqlSafe(format!("{PART} {which} 4294967296 / 5"));
    let found: Vec<String> =
        sqlx::query_scalar(sql).bind(campaign_id.to_string()).fetch_all(&play.db.store.pool).await.unwrap();
    found.into_iter().collect()
}

const UNREAD: &str = "select address from recipient r where run_id = $1
    and exists (select from outcome o where o.run_id = $1 and o.seq = r.seq and o.class = 1)
    and not exists (select from receipt p where p.run_id = $1 and p.seq = r.seq and p.kind in (3, 5, 6, 7, 8))
    and address not in (select address from suppression)";
const ANSWERED: &str = "select address from recipient r where run_id = $1
    and exists (select from receipt p where p.run_id = $1 and p.seq = r.seq and (p.kind = 5 or p.detail = 'Yes'))
    and address not in (select address from suppression)";

/// The steps that follow a run, each once, go to whom they are meant for; gives the run of the first.
async fn assert_steps(play: &Play, parent: i64) -> i64 {
    let sql = "select step, run_id from run where kind = 3 and parent_run_id = $1 order by step";
    let steps: Vec<(i16, i64)> = sqlx::query_as(sql).bind(parent).fetch_all(&play.db.store.pool).await.unwrap();
    assert_eq!(steps.iter().map(|s| s.0).collect::<Vec<_>>(), [1, 2], "each once");
    for (step, run_id) in &steps {
        let expected = addresses(play, if *step == 1 { UNREAD } else { ANSWERED }, parent).await;
        assert!(expected.len() > 20, "seed {SEED}: step {step}: {}", expected.len());
        assert_eq!(recipients(play, *run_id).await, expected, "seed {SEED}: step {step}");
    }
    steps[0].1
}

fn tried(campaign: NewCampaign<'_>) -> NewCampaign<'_> {
    let first = FirstPart::new(Some(200_000), None).with_measure(Some(Measure::Read));
    NewCampaign { arms: &[("hello", 1), ("sale", 2)], first_part: Some(first), ..campaign }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_set_is_what_the_receipts_say() {
    let faults = Faults::default().with("recipient=0.04".parse().unwrap()).unwrap();
    let sim = Config { faults, receipts: Vec::new(), seed: SEED, ..Config::default() };
    let templates = &[("sale", "{{ name }}, all is half price"), ("remind", "Did you see it?"), ("last", "Last call")];
    let play = Stage { contacts: 10_000, receipts: true, sim, templates, campaign: tried, ..Stage::default() };
    let play = play.launch().await;
    let (store, rng) = (&play.db.store, Rng::seeded(SEED));
    let campaign = campaigns::get(&mut store.pool.acquire().await.unwrap(), WORKSPACE, CAMPAIGN).await.unwrap();
    for (name, of, template, cohort) in [
        ("remind", None, "remind", vec![Member::Unread]),
        ("thank", None, "last", vec![Member::Confirmed, Member::RepliedWith("yes".to_owned())]),
        ("last", Some("remind"), "last", vec![Member::NoReply]),
    ] {
        let new = NewFollowUp { name, of, template, after_s: 0, cohort: &cohort };
        follow_ups::add(store, WORKSPACE, &campaign, new).await.unwrap();
    }

    // The first part, and its arms.
    let first = runs(&play, 1).await[0];
    let went = recipients(&play, first).await;
    assert_eq!(went, part(&play, campaign.campaign_id, "<").await);
    assert!((1_800..2_200).contains(&went.len()), "{}", went.len());
    let sql = "select count(*) from recipient r join run using (run_id) where run_id = $1
        and (variant / 256 = 0) is distinct from (
          ('x' || encode(substring(sha256(convert_to(campaign_id || ':arm:' || address, 'UTF8')) from 1 for 4), 'hex'))::bit(32)::bigint
            * 3 / 4294967296 < 1)";
    let misplaced: i64 = sqlx::query_scalar(sql).bind(first).fetch_one(&store.pool).await.unwrap();
    assert_eq!(misplaced, 0);
    let worker = play.worker();
    settled(&play).await;
    report(&play, &rng, first, |variant| if variant < 256 { 30 } else { 60 }).await;

    // The rest gets what was read most, and nobody of the first part.
    tick::follow_on(store).await.unwrap();
    let rest = runs(&play, 5).await[0];
    play.expand().await;
    assert_steps(&play, first).await;
    assert_eq!(recipients(&play, rest).await, part(&play, campaign.campaign_id, ">=").await);
    let sql = "select t.name from run_arm join template t using (template_id) where run_id = $1";
    let says: Vec<String> = sqlx::query_scalar(sql).bind(rest).fetch_all(&store.pool).await.unwrap();
    assert_eq!(says, ["sale"]);
    let sql = "select avg(((select bool_or(kind = 3) from receipt p where p.run_id = $1 and p.seq = r.seq) is true)::int)::float8
               from recipient r where r.run_id = $1 and exists (
                 select from outcome o where o.run_id = $1 and o.seq = r.seq and o.class = 1) group by variant / 256 order by variant / 256";
    let read: Vec<f64> = sqlx::query_scalar(sql).bind(first).fetch_all(&store.pool).await.unwrap();
    assert!(read[1] > read[0], "seed {SEED}: {read:?}");
    settled(&play).await;
    report(&play, &rng, rest, |_| 50).await;

    // Somebody leaves between the receipts and the step.
    let leaver = recipients(&play, rest).await.into_iter().next().unwrap();
    let reason = suppressions::Reason::Recipient;
    let mut c = store.pool.acquire().await.unwrap();
    suppressions::add(&mut c, WORKSPACE, &[(leaver.clone(), "STOP".to_owned())], reason, store.clock.now())
        .await
        .unwrap();
    tick::follow_on(store).await.unwrap();
    tick::follow_on(store).await.unwrap();
    play.expand().await;
    let reminder = assert_steps(&play, rest).await;
    assert!(!recipients(&play, reminder).await.contains(&leaver));

    // The last step: to those of the reminder who said nothing, to that or to what it reminded of.
    settled(&play).await;
    report(&play, &rng, reminder, |_| 40).await;
    let sql = "select r.seq, m.address from recipient r join recipient m using (address)
               where r.run_id = $1 and m.run_id = $2 and not exists (
                 select from receipt p where p.run_id = $1 and p.seq = r.seq) order by r.seq limit 1";
    let _: (i32, String) = sqlx::query_as(sql).bind(rest).bind(reminder).fetch_one(&store.pool).await.unwrap();
    let (late, who): (i32, String) =
        sqlx::query_as(sql).bind(rest).bind(reminder).fetch_one(&store.pool).await.unwrap();
    let reply = json!({ "id": message_id(WORKSPACE, rest, late), "status": "replied" }).to_string();
    assert_eq!(post(&play.hook, "", reply.as_bytes()).await.0, 200);
    tick::follow_on(store).await.unwrap();
    play.expand().await;
    let sql = "select run_id from run where kind = 3 and step = 3 and parent_run_id = $1";
    let last: i64 = sqlx::query_scalar(sql).bind(reminder).fetch_one(&store.pool).await.unwrap();
    const SILENT: &str = "select address from recipient r where run_id = $1
        and exists (select from outcome o where o.run_id = $1 and o.seq = r.seq and o.class = 1)
        and not exists (select from receipt p where p.run_id = $1 and p.seq = r.seq and p.kind >= 5)
        and not exists (select from receipt p join recipient m using (run_id, seq) join run u using (run_id)
                        where m.address = r.address and u.kind in (1, 5) and p.kind >= 5)
        and address not in (select address from suppression)";
    let expected = addresses(&play, SILENT, reminder).await;
    assert!(expected.len() > 20 && !expected.contains(&who), "seed {SEED}: {who}");
    assert_eq!(recipients(&play, last).await, expected, "seed {SEED}");
    settled(&play).await;

    // Once more to those whom it did not reach, and once only.
    let cohort = [Member::Failed, Member::Undelivered];
    resend(store, WORKSPACE, CAMPAIGN, Some(rest), &cohort).await.unwrap();
    play.expand().await;
    const UNREACHED: &str =
        "select address from recipient r where run_id = $1 and address not in (select address from suppression)
        and (not exists (select from outcome o where o.run_id = $1 and o.seq = r.seq and o.class = 1)
             or exists (select from receipt p where p.run_id = $1 and p.seq = r.seq and p.kind = 4))";
    let expected = addresses(&play, UNREACHED, rest).await;
    let resent = runs(&play, 4).await[0];
    assert!(expected.len() > 100, "seed {SEED}: {}", expected.len());
    assert_eq!(recipients(&play, resent).await, expected, "seed {SEED}");
    settled(&play).await;
    resend(store, WORKSPACE, CAMPAIGN, Some(rest), &cohort).await.unwrap();
    play.expand().await;
    settled(&play).await;
    const FAILED_AGAIN: &str = "select address from recipient r where run_id = $1
        and not exists (select from outcome o where o.run_id = $1 and o.seq = r.seq and o.class = 1)";
    let expected = addresses(&play, FAILED_AGAIN, resent).await;
    assert_eq!(recipients(&play, runs(&play, 4).await[1]).await, expected, "whom the first resend reached is left out");

    worker.stop().await;
    play.assert_books().await;
    assert_eq!(play.sim.stats().accepted_twice, 0);
}

fn staged(campaign: NewCampaign<'_>) -> NewCampaign<'_> {
    let mut first = FirstPart::new(None, Some(300));
    first.failed_permille = Some(50);
    NewCampaign { first_part: Some(first), ..campaign }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rest_is_held_when_the_first_part_did_not_go_well() {
    let faults = Faults::default().with("recipient=0.2".parse().unwrap()).unwrap();
    let sim = Config { faults, seed: SEED, ..Config::default() };
    let play = Stage { contacts: 2_000, sim, campaign: staged, ..Stage::default() }.launch().await;
    let store = &play.db.store;
    let worker = play.worker();
    assert_eq!(play.status().await.total, 300, "exactly so many first");
    settled(&play).await;
    tick::follow_on(store).await.unwrap();
    play.expand().await;
    let held = play.status().await;
    assert_eq!((held.state().unwrap(), held.total, held.sent), (RunState::Paused, 1_700, 0));
    let why = held.paused_detail.unwrap();
    assert!(why.contains("of 300 failed, more than 5 %"), "{why}");
    // Nothing goes out by itself, and a person may let it go all the same.
    tick::follow_on(store).await.unwrap();
    control::resume(store, WORKSPACE, CAMPAIGN).await.unwrap();
    settled(&play).await;
    assert_eq!(runs(&play, 5).await.len(), 1);
    let both: i64 =
        sqlx::query_scalar("select count(distinct address) from recipient").fetch_one(&store.pool).await.unwrap();
    assert_eq!(both, 2_000);
    worker.stop().await;
    play.assert_books().await;
}

fn guarded(campaign: NewCampaign<'_>) -> NewCampaign<'_> {
    NewCampaign { fails_at_permille: Some(300), ..campaign }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_which_too_much_fails_is_paused_once_for_a_person_to_look_at() {
    let faults = Faults::default().with("recipient=0.6".parse().unwrap()).unwrap();
    let sim = Config { faults, seed: SEED, ..Config::default() };
    let play = Stage { contacts: 3_000, caps: &["300/s"], sim, campaign: guarded, ..Stage::default() }.launch().await;
    let store = &play.db.store;
    let worker = play.worker();
    play.until("enough is decided", |p| p.sent + p.failed >= 120).await;
    tick::follow_on(store).await.unwrap();
    let paused = play.status().await;
    assert_eq!(paused.state().unwrap(), RunState::Paused);
    assert!(paused.sent + paused.failed < 3_000 && paused.failed > 0);
    assert!(paused.paused_detail.unwrap().contains("failed, more than 30 %"));
    // What the person has seen counts no more.
    control::resume(store, WORKSPACE, CAMPAIGN).await.unwrap();
    tick::follow_on(store).await.unwrap();
    assert_eq!(play.status().await.state().unwrap(), RunState::Running);
    control::cancel(store, WORKSPACE, CAMPAIGN).await.unwrap();
    settled(&play).await;
    worker.stop().await;
    play.assert_books().await;
    let sql = "select from_state, to_state, actor, reason is not null from transition where run_id > 0 order by at";
    let all: Vec<(i16, i16, String, bool)> = sqlx::query_as(sql).fetch_all(&store.pool).await.unwrap();
    let changes: Vec<(i16, i16, &str, bool)> =
        all.iter().map(|(f, t, who, why)| (*f, *t, who.as_str(), *why)).collect();
    let person = "unknown";
    assert_eq!(
        changes,
        [
            (0, 2, person, false),
            (2, 3, "scheduler", true),
            (3, 2, person, false),
            (2, 4, person, false),
            (4, 6, "scheduler", false)
        ]
    );
}

/// Changes something of the campaign while it runs, by chance.
async fn edit(play: &Play, rng: &Rng) {
    let by = |share| Through { share: Some(share), ..Through::account("demo") };
    let both = [Through::account("demo"), Through::account("other")];
    let shared = [by(3), Through { share: Some(1), ..Through::account("other") }];
    let only = [Through::account("other")];
    let rate = Cap { count: 20_000, per_us: 1_000_000 };
    let edit = match rng.below(7) {
        0 => Edit { weight: Some(1 + rng.below(100) as i32), ..Edit::default() },
        1 => Edit { through: Some((&both, Sharing::Together)), ..Edit::default() },
        2 => Edit { through: Some((&shared, Sharing::Shares)), ..Edit::default() },
        3 => Edit { through: Some((&both, Sharing::InOrder)), ..Edit::default() },
        4 => Edit { rate: Some(Some(rate)), ..Edit::default() },
        5 => Edit { rate: Some(None), ..Edit::default() },
        _ => Edit { through: Some((&only, Sharing::Together)), ..Edit::default() },
    };
    life::edit(&play.db.store, WORKSPACE, CAMPAIGN, edit).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_paused_changed_resumed_and_cancelled_at_any_moment() {
    let faults = |seed| Config { faults: Faults::preset("light").unwrap(), seed, ..Config::default() };
    let other = Other { name: "other", sim: faults(SEED + 1), ..Other::default() };
    let stage = Stage { contacts: 50_000, sim: faults(SEED), others: vec![other], ..Stage::default() };
    let (play, rng) = (stage.launch().await, Rng::seeded(SEED));
    let store = &play.db.store;
    let workers = [play.worker(), play.worker()];
    play.scheduler();
    let mut moments: Vec<i64> = (0..20).map(|_| 500 + rng.below(44_000) as i64).collect();
    moments.sort_unstable();
    for (i, moment) in moments.iter().enumerate() {
        play.until("so many are sent", |p| p.sent >= *moment).await;
        control::pause(store, WORKSPACE, CAMPAIGN).await.unwrap();
        // What was in flight is settled, and then nothing moves.
        play.until("nothing is leased", |p| p.leased == 0).await;
        let still = play.sim.stats().requests;
        edit(&play, &rng).await;
        play.assert_books().await;
        assert_eq!(play.sim.stats().requests, still, "seed {SEED}: paused at {moment}");
        match i {
            19 => control::cancel(store, WORKSPACE, CAMPAIGN).await.unwrap(),
            _ => control::resume(store, WORKSPACE, CAMPAIGN).await.unwrap(),
        };
        play.assert_books().await;
    }
    let done = play.until("cancelled", |p| p.state().unwrap() == RunState::Cancelled).await;
    play.assert_books().await;
    assert!(done.cancelled > 0 && done.sent >= moments[19], "seed {SEED}: {done:?}");
    for sim in [&play.sim, &play.others[0]] {
        assert_eq!(sim.stats().accepted_twice, 0, "seed {SEED}");
    }
    let sql = "select count(*) from (select seq from outcome where class = 1 group by seq having count(distinct account_id) > 1) t";
    let twice: i64 = sqlx::query_scalar(sql).fetch_one(&store.pool).await.unwrap();
    assert_eq!(twice, 0, "seed {SEED}: nobody through both");
    for worker in workers {
        worker.stop().await;
    }
}
