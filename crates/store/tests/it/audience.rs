//! Whom some lists, an expression and the rules of a workspace come to, against a model that reads the same
//! contacts in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_domain::rng::Rng;
use fanfare_domain::segment::Segment;
use fanfare_domain::state::{Category, Consent};
use fanfare_store::audience::pick::{self, Picked};
use fanfare_store::audience::{Barred, Contact, Filter, Source, Whom, each_contact};
use fanfare_store::workspaces::{self, Cap, Rules};
use fanfare_store::{Error, Result, segments};
use fanfare_testdb::TestDb;
use serde_json::{Value, json};

use crate::scene::{ACCOUNT, RUN, SECOND, Scene, WORKSPACE};

/// A second list, one to leave out, and a second campaign with its run.
const LISTS: [i64; 3] = [10, 11, 12];
const MINUS: i64 = 13;
const OTHER_RUN: i64 = 61;
/// A page that ends within every list.
const PAGE: i64 = 7;

#[derive(Debug, Clone, Default)]
struct Person {
    address: String,
    email: Option<String>,
    country: Option<&'static str>,
    language: Option<&'static str>,
    attributes: BTreeMap<&'static str, Value>,
    tags: Vec<&'static str>,
    consent: bool,
    source: Option<&'static str>,
}

impl Person {
    fn mailbox(&self) -> Option<&str> {
        if self.address.starts_with('+') { self.email.as_deref() } else { Some(&self.address) }
    }
}

/// A message that was made for an address.
#[derive(Debug, Clone)]
struct Message {
    address: String,
    run_id: i64,
    /// Accepted so many days ago.
    sent: Option<i64>,
    /// Kind of receipt, and how many days ago.
    receipts: Vec<(i16, i64)>,
}

/// What is in the database.
struct World {
    lists: BTreeMap<i64, BTreeMap<String, Person>>,
    messages: Vec<Message>,
}

type Holds = Box<dyn Fn(&World, &Person) -> bool>;

fn one<T: Copy>(rng: &Rng, of: &[T]) -> T {
    of[rng.below(of.len() as u64) as usize]
}

const CITIES: [&str; 4] = ["Oran", "Blida", "O'Brien \"; drop table contact; --", "42"];

impl World {
    fn random(rng: &Rng, people: u64) -> Self {
        let person = |address: String| {
            let mut p = Person { address, ..Person::default() };
            p.email =
                (p.address.starts_with('+') && rng.below(2) == 0).then(|| format!("m{}@x.dz", rng.below(people / 4)));
            p.country = one(rng, &[Some("DZ"), Some("FR"), None]);
            p.language = one(rng, &[Some("fr"), Some("fr-ca"), Some("fra"), Some("en"), None]);
            p.source = one(rng, &[Some("web"), Some("fair"), None]);
            p.consent = rng.below(2) == 0;
            p.tags = ["gold", "vip"].into_iter().filter(|_| rng.below(3) == 0).collect();
            if rng.below(4) > 0 {
                p.attributes.insert("city", json!(one(rng, &CITIES)));
            }
            match rng.below(4) {
                0 => drop(p.attributes.insert("age", json!(rng.below(60)))),
                1 => drop(p.attributes.insert("age", json!(rng.below(60).to_string()))),
                2 => drop(p.attributes.insert("age", json!(rng.below(2) == 0))),
                _ => {}
            }
            if rng.below(2) == 0 {
                p.attributes.insert("joined_on", json!(format!("2026-0{}-01", 1 + rng.below(9))));
            }
            p
        };
        let address = || match rng.below(4) {
            0 => format!("m{}@x.dz", rng.below(people / 4)),
            _ => format!("+2135550{:04}", rng.below(people)),
        };
        let list = |_| (0..people).map(|_| person(address())).map(|p| (p.address.clone(), p)).collect();
        let lists: BTreeMap<i64, BTreeMap<String, Person>> =
            LISTS.into_iter().chain([MINUS]).map(|id| (id, list(id))).collect();
        let message = |_| Message {
            address: address(),
            run_id: one(rng, &[RUN, OTHER_RUN]),
            sent: (rng.below(3) > 0).then(|| rng.below(20) as i64),
            receipts: [2, 3, 5, 7, 8]
                .into_iter()
                .filter(|_| rng.below(4) == 0)
                .map(|k| (k, rng.below(20) as i64))
                .collect(),
        };
        Self { lists, messages: (0..people * 2).map(message).collect() }
    }

    async fn write(&self, db: &TestDb, now: DateTime<Utc>) {
        let mut c = db.store.pool.acquire().await.unwrap();
        for sql in [
            "insert into list select 1, x, 'l' || x, now() from unnest(array[11, 12, 13]) x",
            "insert into campaign (workspace_id, campaign_id, name, template_id, list_id, weight, on_missing, on_unknown, created_at, sharing)
             select 1, 41, 'other', template_id, list_id, weight, on_missing, on_unknown, created_at, sharing from campaign",
            "insert into run (workspace_id, run_id, campaign_id, scheduled_for, variables, planned, state, started_at, finished_at)
             values (1, 61, 41, now(), '{}', 0, 5, now(), now())",
        ] {
            sqlx::query(sql).execute(&mut *c).await.unwrap();
        }
        for (list_id, p) in self.lists.iter().flat_map(|(id, all)| all.values().map(move |p| (id, p))) {
            let attributes = (!p.attributes.is_empty()).then(|| json!(p.attributes));
            sqlx::query(
                "insert into contact (workspace_id, list_id, import_id, row_no, address, email, country, language, attributes,
                   tags, consent, source) values (1, $1, 1, 1, $2, $3, $4, $5, $6, $7, $8, $9)",
            )
            .bind(list_id)
            .bind(&p.address)
            .bind(&p.email)
            .bind(p.country)
            .bind(p.language)
            .bind(attributes)
            .bind((!p.tags.is_empty()).then_some(&p.tags))
            .bind(i16::from(p.consent))
            .bind(p.source)
            .execute(&mut *c)
            .await
            .unwrap();
        }
        for (seq, m) in (0..).zip(&self.messages) {
            let ago = |days: i64| now - TimeDelta::days(days) - TimeDelta::hours(1);
            let recipient = "insert into recipient (workspace_id, run_id, seq, units, variant, address) values (1, $1, $2, 1, 0, $3)";
            sqlx::query(recipient).bind(m.run_id).bind(seq).bind(&m.address).execute(&mut *c).await.unwrap();
            let outcome = "insert into outcome (workspace_id, run_id, seq, account_id, at, cost, latency_ms, attempt, class, late)
                           values (1, $1, $2, 20, $3, 0, 1, 1, case when $4 then 1 else 2 end, false)";
            let at = ago(m.sent.unwrap_or(0));
            sqlx::query(outcome)
                .bind(m.run_id)
                .bind(seq)
                .bind(at)
                .bind(m.sent.is_some())
                .execute(&mut *c)
                .await
                .unwrap();
            for (kind, days) in &m.receipts {
                let receipt = "insert into receipt values (1, $1, $2, $3, 20, $4, $4, null)";
                sqlx::query(receipt)
                    .bind(m.run_id)
                    .bind(seq)
                    .bind(kind)
                    .bind(ago(*days))
                    .execute(&mut *c)
                    .await
                    .unwrap();
            }
        }
    }

    /// The contacts of the lists, of each address the first.
    fn union(&self, lists: &[i64]) -> BTreeMap<&str, &Person> {
        let mut union = BTreeMap::new();
        for p in lists.iter().flat_map(|id| self.lists[id].values()) {
            union.entry(p.address.as_str()).or_insert(p);
        }
        union
    }

    fn had(&self, p: &Person, kinds: &[i16], run_id: Option<i64>, days: Option<i64>) -> bool {
        self.messages.iter().any(|m| {
            let addressed = m.address == p.address || Some(&m.address) == p.email.as_ref();
            let recent = |at: i64| days.is_none_or(|days| at < days);
            let happened = match kinds {
                [] => m.sent.is_some_and(recent),
                kinds => m.receipts.iter().any(|(kind, at)| kinds.contains(kind) && recent(*at)),
            };
            addressed && run_id.is_none_or(|run_id| run_id == m.run_id) && happened
        })
    }
}

/// A random expression, and what it means.
fn expression(rng: &Rng, depth: u32) -> (String, Holds) {
    if depth > 0 && rng.below(3) > 0 {
        let (a, f) = expression(rng, depth - 1);
        let (b, g) = expression(rng, depth - 1);
        return match rng.below(4) {
            0 => (format!("not ({a})"), Box::new(move |w, p| !f(w, p))),
            1 => (format!("({a} or {b})"), Box::new(move |w, p| f(w, p) || g(w, p))),
            _ => (format!("{a} and {b}"), Box::new(move |w, p| f(w, p) && g(w, p))),
        };
    }
    term(rng)
}

fn term(rng: &Rng) -> (String, Holds) {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let city = |p: &Person| p.attributes.get("city").and_then(|c| c.as_str().map(str::to_owned));
    let number = |p: &Person| p.attributes.get("age").and_then(Value::as_f64);
    let n = rng.below(60) as u32;
    match rng.below(16) {
        0 => {
            let wanted = one(rng, &CITIES);
            (format!("city = {}", quoted(wanted)), Box::new(move |_, p| city(p).as_deref() == Some(wanted)))
        }
        1 => {
            let (a, b) = (one(rng, &CITIES), one(rng, &CITIES));
            let text = format!("CITY not in ({}, {})", quoted(a), quoted(b));
            (text, Box::new(move |_, p| city(p).is_none_or(|c| c != a && c != b)))
        }
        2 => (format!("age >= {n}"), Box::new(move |_, p| number(p).is_some_and(|age| age >= f64::from(n)))),
        3 => (
            format!("age = {n}"),
            Box::new(move |_, p| {
                number(p) == Some(f64::from(n)) || p.attributes.get("age").is_some_and(|a| *a == json!(n.to_string()))
            }),
        ),
        4 => ("age = true".to_owned(), Box::new(|_, p| p.attributes.get("age") == Some(&json!(true)))),
        5 => ("age is missing".to_owned(), Box::new(|_, p| !p.attributes.contains_key("age"))),
        6 => (
            "@\"joined on\" < 2026-05-01".to_owned(),
            Box::new(|_, p| p.attributes.get("joined_on").and_then(Value::as_str).is_some_and(|at| at < "2026-05-01")),
        ),
        7 => ("tag in (VIP, other)".to_owned(), Box::new(|_, p| p.tags.contains(&"vip"))),
        8 => ("tag is missing".to_owned(), Box::new(|_, p| p.tags.is_empty())),
        9 => ("consent = yes".to_owned(), Box::new(|_, p| p.consent)),
        10 => ("language = FR".to_owned(), Box::new(|_, p| matches!(p.language, Some("fr" | "fr-ca")))),
        11 => ("country != dz".to_owned(), Box::new(|_, p| p.country != Some("DZ"))),
        12 => {
            ("source in (web, \"x'); delete from contact; --\")".to_owned(), Box::new(|_, p| p.source == Some("web")))
        }
        13 => ("email contains m1".to_owned(), Box::new(|_, p| p.mailbox().is_some_and(|m| m.contains("m1")))),
        14 => ("phone starts with +21355500".to_owned(), Box::new(|_, p| p.address.starts_with("+21355500"))),
        _ => {
            let (word, kinds): (_, &'static [i16]) = one(
                rng,
                &[("sent", &[][..]), ("delivered", &[2, 3]), ("read", &[3]), ("replied", &[7, 8]), ("confirmed", &[5])],
            );
            let (campaign, run_id) =
                one(rng, &[("", None), (" in c", Some(RUN)), (" in campaign other", Some(OTHER_RUN))]);
            let (within, days) = one(rng, &[("", None), (" within 5 days", Some(5)), (" within 2 weeks", Some(14))]);
            (format!("{word}{campaign}{within}"), Box::new(move |w, p| w.had(p, kinds, run_id, days)))
        }
    }
}

/// What is read of each contact: its address, whether it is a duplicate, and why it is left out.
async fn read(db: &TestDb, source: Source<'_>) -> Vec<(String, bool, Option<Barred>)> {
    let mut c = db.store.pool.acquire().await.unwrap();
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = |contact: Contact<'_>| {
            all.push((contact.address.to_owned(), contact.duplicate, contact.barred));
            ControlFlow::Continue(())
        };
        if each_contact(&mut c, source, &after, PAGE, page).await.unwrap() < PAGE {
            return all;
        }
        after.clone_from(&all.last().unwrap().0);
    }
}

fn source<'a>(lists: &'a [i64], filter: &'a Filter) -> Source<'a> {
    Source { workspace_id: WORKSPACE, lists, by_phone: true, attributes: true, heard_by: &[], filter }
}

async fn scene() -> TestDb {
    let db = TestDb::new().await;
    Scene { recipients: 0, segments: 1, idempotent: true, reserve_each: 0, credit: 0 }.set(&db).await;
    db
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audience_is_what_the_model_says() {
    let seed = Rng::from_os().below(1 << 32);
    let rng = Rng::seeded(seed);
    let db = scene().await;
    let (world, now) = (World::random(&rng, 40), db.store.clock.now());
    world.write(&db, now).await;
    for round in 0..150 {
        let lists: Vec<i64> = one(&rng, &[&[10][..], &[10, 11], &[12, 10, 11]]).to_vec();
        let minus: Vec<i64> = if rng.below(2) == 0 { vec![MINUS] } else { vec![] };
        let (text, holds) = expression(&rng, 1 + round % 4);
        let segment: Segment = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let bound = segments::check(&mut db.store.pool.acquire().await.unwrap(), WORKSPACE, &lists, &segment).await;
        let filter = Filter { minus, segment: Some(bound.expect(&text)), now, ..Filter::default() };
        for by_phone in [true, false] {
            let found = read(&db, Source { by_phone, ..source(&lists, &filter) }).await;
            let union = world.union(&lists);
            let expected: Vec<_> = union
                .values()
                .map(|p| {
                    let left = world.union(&filter.minus);
                    let on_minus = left.contains_key(p.address.as_str())
                        || !by_phone && p.mailbox().is_some_and(|m| left.values().any(|q| q.mailbox() == Some(m)));
                    let barred = match (on_minus, holds(&world, p)) {
                        (true, _) => Some(Barred::Minus),
                        (false, false) => Some(Barred::Outside),
                        (false, true) => None,
                    };
                    let twin = |q: &&Person| q.address < p.address && q.mailbox() == p.mailbox();
                    let duplicate = !by_phone && p.mailbox().is_some() && union.values().any(twin);
                    (p.address.clone(), duplicate, barred)
                })
                .collect();
            assert_eq!(
                found, expected,
                "seed {seed}: {text}, lists {lists:?} minus {:?}, phones {by_phone}",
                filter.minus
            );
        }
        let found = read(&db, source(&lists, &filter)).await;
        let n = |barred| found.iter().filter(|(_, _, b)| *b == barred).count() as i64;
        let counted = pick::count(&mut db.store.pool.acquire().await.unwrap(), source(&lists, &filter)).await.unwrap();
        let (minus, outside, picked) = (n(Some(Barred::Minus)), n(Some(Barred::Outside)), n(None));
        assert_eq!(counted, Picked { contacts: found.len() as i64, minus, outside, picked }, "seed {seed}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_exist_is_told_with_its_place_and_the_nearest() {
    let db = scene().await;
    World::random(&Rng::seeded(1), 20).write(&db, db.store.clock.now()).await;
    let mut c = db.store.pool.acquire().await.unwrap();
    for (text, expected) in [
        ("country = DZ and ctiy = Oran", "character 18: no attribute \"ctiy\": did you mean city?"),
        ("shoe_size > 40", "character 1: no attribute \"shoe_size\": there are age, city, joined_on"),
        ("read in oter", "character 9: no campaign \"oter\": did you mean other?"),
        ("read in winter", "character 9: no campaign \"winter\": there are c, other"),
        (
            "city = a or @\"x'); drop table contact; --\" = 1",
            "character 13: no attribute \"x'); drop table contact; --\": there are",
        ),
    ] {
        let found = segments::check(&mut c, WORKSPACE, &[10], &text.parse().unwrap()).await;
        let Err(Error::Segment(e)) = found else { panic!("{text}: {found:?}") };
        assert!(e.to_string().starts_with(expected), "{text}: {e}");
    }
    // One that has gone since holds for nobody.
    let gone = segments::bind(&mut c, WORKSPACE, &[10], &"ctiy = Oran or read in oter".parse().unwrap()).await.unwrap();
    let filter = Filter { segment: Some(gone), ..Filter::default() };
    assert_eq!(pick::count(&mut c, source(&[10], &filter)).await.unwrap().picked, 0);
}

/// The filter of a campaign of this category through the first account.
async fn rules(db: &TestDb, category: Category) -> Result<Filter> {
    let mut c = db.store.pool.acquire().await.unwrap();
    let now = db.store.clock.now();
    let whom = Whom { minus: &[], segment: None, category, accounts: &[ACCOUNT], now };
    Filter::of(&mut c, db.store.seal.pepper(), WORKSPACE, whom).await
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_and_the_cap_by_contact_hold_for_marketing_only() {
    let db = scene().await;
    let mut c = db.store.pool.acquire().await.unwrap();
    sqlx::raw_sql(
        "insert into contact (workspace_id, list_id, import_id, row_no, address, email, consent)
         select 1, 10, 1, i, '+21355500000' || i, case i when 8 then 'h@x.dz' end, case i when 1 then 0 else 1 end from generate_series(1, 9) i;
         insert into campaign (workspace_id, campaign_id, name, template_id, list_id, weight, on_missing, on_unknown, created_at, sharing, category)
         select 1, 41, 'bill', template_id, list_id, weight, on_missing, on_unknown, created_at, sharing, 2 from campaign;
         insert into run (workspace_id, run_id, campaign_id, scheduled_for, variables, planned, state, started_at, finished_at)
         select 1, r, case r when 63 then 41 else 40 end, now() + r * interval '1 s', '{}', 0, case r when 65 then 2 else 5 end, now(), case r when 65 then null else now() end
         from generate_series(61, 65) r;
         -- Contact i is i - 2 below: two sent; one of them of another category; one of them failed; one too long
         -- ago; one still open; one in doubt; to its phone and its e-mail; cancelled with its run.
         insert into recipient (workspace_id, run_id, seq, units, variant, address)
         select 1, r, s, 1, 0, a from (values
           (61, 0, '+213555000002'), (62, 0, '+213555000002'), (61, 1, '+213555000003'), (63, 0, '+213555000003'),
           (61, 2, '+213555000004'), (62, 2, '+213555000004'), (61, 3, '+213555000005'), (62, 3, '+213555000005'),
           (61, 4, '+213555000006'), (65, 4, '+213555000006'), (61, 5, '+213555000007'), (62, 5, '+213555000007'),
           (61, 6, '+213555000008'), (62, 6, 'h@x.dz'), (61, 7, '+213555000009'), (64, 7, '+213555000009')) m (r, s, a);
         insert into outcome (workspace_id, run_id, seq, account_id, at, cost, latency_ms, attempt, class, late)
         select 1, r.run_id, r.seq, 20, now() - case when r.run_id = 62 and r.seq = 3 then interval '30 h' else interval '1 h' end, 0, 1, 1,
                case when r.run_id = 62 and r.seq = 2 then 2 when r.run_id = 62 and r.seq = 5 then 6 else 1 end, false
         from recipient r where r.run_id <> 65 and r.run_id <> 64",
    )
    .execute(&mut *c)
    .await
    .unwrap();
    let lists = [10];
    let left = async |filter: &Filter| -> Vec<(char, Barred)> {
        let found = read(&db, source(&lists, filter)).await;
        found.into_iter().filter_map(|(a, _, barred)| Some((a.chars().last()?, barred?))).collect()
    };
    assert_eq!(left(&rules(&db, Category::Marketing).await.unwrap()).await, [], "by default nothing changes");
    let cap = Some(Cap { messages: 2, hours: 24 });
    workspaces::set_rules(&mut c, WORKSPACE, Rules { consent: Consent::Required, cap, review: false }).await.unwrap();
    let expected: Vec<_> =
        [('1', Barred::NoConsent)].into_iter().chain("2678".chars().map(|n| (n, Barred::Capped))).collect();
    assert_eq!(left(&rules(&db, Category::Marketing).await.unwrap()).await, expected);
    for category in [Category::Transactional, Category::Utility] {
        assert_eq!(left(&rules(&db, category).await.unwrap()).await, [], "{category}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_suppressed_for_one_account_goes_through_another() {
    let db = scene().await;
    Scene::second_account(&db, fanfare_domain::state::Sharing::Together).await;
    let mut c = db.store.pool.acquire().await.unwrap();
    sqlx::raw_sql(
        "insert into contact (workspace_id, list_id, import_id, row_no, address) select 1, 10, 1, i, '+2135550000' || i from generate_series(1, 3) i;
         insert into suppression values (1, '+21355500001', 2, 'all', now(), 0), (1, '+21355500002', 2, 'one', now(), 20)",
    )
    .execute(&mut *c)
    .await
    .unwrap();
    for (accounts, expected) in [(&[ACCOUNT][..], "12"), (&[SECOND], "1"), (&[ACCOUNT, SECOND], "12"), (&[], "1")] {
        let whom = Whom { minus: &[], segment: None, category: Category::Utility, accounts, now: db.store.clock.now() };
        let filter = Filter::of(&mut c, db.store.seal.pepper(), WORKSPACE, whom).await.unwrap();
        let mut suppressed = String::new();
        each_contact(&mut c, source(&[10], &filter), "", 10, |contact| {
            suppressed.extend(contact.suppressed.then(|| contact.address.chars().last()).flatten());
            ControlFlow::Continue(())
        })
        .await
        .unwrap();
        assert_eq!(suppressed, expected, "accounts {accounts:?}");
    }
}

/// A page of a long list is a range of its key, and a page of several lists is merged from theirs.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_sorts_no_list() {
    let db = scene().await;
    let mut c = db.store.pool.acquire().await.unwrap();
    sqlx::raw_sql(
        "insert into list select 1, x, 'l' || x, now() from unnest(array[11, 12, 13]) x;
         insert into contact (workspace_id, list_id, import_id, row_no, address, country)
         select 1, l, 1, i, '+2135' || lpad((i * 3 + l)::text, 8, '0'), 'DZ'
         from generate_series(1, 200000) i, unnest(array[10, 11, 12]) l where l = 10 or i <= 50000;
         analyze contact",
    )
    .execute(&mut *c)
    .await
    .unwrap();
    let nothing = Filter::default();
    let segment: Segment = "country = DZ and not read within 30 days".parse().unwrap();
    let bound = segments::check(&mut c, WORKSPACE, &LISTS, &segment).await.unwrap();
    let some = Filter { minus: vec![MINUS], segment: Some(bound), now: db.store.clock.now(), ..Filter::default() };
    for (lists, filter) in [(&LISTS[..1], &nothing), (&LISTS[..1], &some), (&LISTS[..], &nothing), (&LISTS[..], &some)]
    {
        let explained = fanfare_store::audience::explain(&mut c, source(lists, filter), "+", 50_000).await.unwrap();
        assert!(!explained.contains("Sort Key: c"), "{} lists: {explained}", lists.len());
        assert_eq!(explained.contains("Merge Append"), lists.len() > 1, "{explained}");
        assert_eq!(explained.matches("contact_pkey on contact c").count(), lists.len(), "{explained}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_put_together_once_for_each_address() {
    let rng = Rng::seeded(7);
    let db = scene().await;
    let world = World::random(&rng, 30);
    world.write(&db, db.store.clock.now()).await;
    let mut c = db.store.pool.acquire().await.unwrap();
    let segment = segments::check(&mut c, WORKSPACE, &LISTS, &"consent = yes".parse().unwrap()).await.unwrap();
    let filter = Filter { minus: vec![MINUS], segment: Some(segment), ..Filter::default() };
    sqlx::query("insert into list values (1, 14, 'all', now())").execute(&mut *c).await.unwrap();
    let left = world.union(&[MINUS]);
    let union = world.union(&[11, 10]);
    let expected: BTreeSet<&str> = union
        .values()
        .filter(|p| p.consent && !left.contains_key(p.address.as_str()))
        .map(|p| p.address.as_str())
        .collect();
    let first = pick::copy(&db.store, source(&[11, 10], &filter), 14, "lists l11, l10").await.unwrap();
    assert_eq!((first.rows, first.imported), (expected.len() as i64, expected.len() as i64));
    let again = pick::copy(&db.store, source(&[11, 10], &filter), 14, "lists l11, l10").await.unwrap();
    assert_eq!((again.imported, again.duplicates), (0, first.imported));
    let mut copied = Vec::new();
    pick::each(&mut c, source(&[14], &Filter::default()), |contact| -> Result<()> {
        assert_eq!(contact.source.as_deref(), union[contact.address.as_str()].source);
        copied.push(contact.address);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(copied, expected.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
    let only: bool = fanfare_store::imports::is_only(&mut c, WORKSPACE, 14, 1).await.unwrap();
    assert!(!only, "an import into the list must know of its contacts");
}
