//! What a plan says, against figures worked out by hand.

use fanfare_domain::cap::Cap;
use fanfare_domain::message::Channel;
use fanfare_domain::price::Prices;
use fanfare_domain::state::OnMissing;
use fanfare_domain::template::{Text, Variant};
use fanfare_scheduler::launch::{Launch, launch};
use fanfare_scheduler::life::{self, Edit};
use fanfare_scheduler::plan::{CountryLine, Excluded, MissingVariable, Plan};
use fanfare_scheduler::preview::preview;
use fanfare_store::campaigns::{NewCampaign, Through};
use fanfare_store::first_part::FirstPart;
use fanfare_store::{accounts, campaigns};
use serde_json::json;

use crate::scene::{CAMPAIGN, Person, Scene, Setting, body, mail, person};

fn prices(all: &[(&str, i64)]) -> Prices {
    Prices(all.iter().map(|(country, micro)| ((*country).to_owned(), *micro)).collect())
}

fn line(country: Option<&str>, messages: i64, segments: i64, cost: i64) -> CountryLine {
    CountryLine { country: country.map(str::to_owned), messages, segments, cost }
}

fn refusals(plan: &Plan) -> String {
    plan.refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn warnings(plan: &Plan) -> String {
    plan.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_plan_counts_prices_and_times_what_would_be_sent() {
    let text = "Hello {{ name | default('friend') }}, your code is {{ code }}.";
    let setting = Setting {
        variants: vec![body("en", text), body("fr", "Bonjour, votre code : {{ code }}.")],
        caps: vec!["1/s".parse().unwrap()],
        prices: prices(&[("", 5000), ("FR", 12_000)]),
        credit: 60_000,
        ..Setting::default()
    };
    let code = |code: &str| Some(json!({"Code": code, "other": [1, {"x": null}]}));
    let people = [
        Person { name: Some("Ali"), country: Some("DZ"), attributes: code("A1"), ..person("+213555000001") },
        Person { country: Some("DZ"), attributes: code(&"x".repeat(160)), ..person("+213555000002") },
        Person { country: Some("FR"), language: Some("fr-ca"), attributes: code("ç"), ..person("+33600000001") },
        Person { country: Some("FR"), attributes: code("A4"), ..person("+33600000002") },
        Person { name: Some("No phone"), attributes: code("A5"), ..person("mail@example.com") },
        Person { name: Some("Unknown land"), attributes: code("A6"), ..person("+8812345678") },
    ];
    let scene = Scene::set(setting, &people).await;
    scene.suppress("+33600000002").await;
    scene.suppress("nobody@example.com").await;

    let plan = scene.plan().await;
    assert_eq!((plan.audience, plan.recipients, plan.segments), (6, 4, 5));
    assert_eq!(plan.excluded, Excluded { no_address: 1, suppressed: 1, ..Excluded::default() });
    let expected = [line(None, 1, 1, 5000), line(Some("DZ"), 2, 3, 15_000), line(Some("FR"), 1, 1, 12_000)];
    assert_eq!(plan.countries, expected);
    assert_eq!((plan.cost, plan.accounts[0].dearest), (32_000, 12_000));
    assert_eq!((plan.credit.available, plan.credit.enough, plan.credit.covers), (60_000, true, 4));
    // One message a second, and the slack of a window for each.
    assert!(plan.seconds.is_some_and(|s| (4.0..4.2).contains(&s)), "{:?}", plan.seconds);
    assert!(plan.finishes_at.is_some_and(|at| at > scene.store.clock.now()));
    assert_eq!(plan.missing, []);
    assert_eq!((refusals(&plan), warnings(&plan)), (String::new(), String::new()));

    let said: Vec<_> = plan.samples.iter().map(|s| (s.address.as_str(), s.text.as_deref().unwrap())).collect();
    assert_eq!(said[0], ("+213555000001", "Hello Ali, your code is A1."));
    assert_eq!(said[1], ("+33600000001", "Bonjour, votre code : ç."));
    assert_eq!(said[2], ("+8812345678", "Hello Unknown land, your code is A6."));
    assert_eq!(plan.samples[1].beyond_gsm7, "ç");
    assert_eq!(plan.samples[1].language, "fr");
}

#[tokio::test]
async fn an_email_goes_to_each_mailbox_once() {
    let setting = Setting {
        channel: Channel::Email,
        variants: vec![mail(
            "For {{ first_name }}",
            "Your address is {{ email }}, your phone {{ phone | default('none') }}",
        )],
        on_missing: OnMissing::Default,
        ..Setting::default()
    };
    let people = [
        Person { email: Some("a@example.com"), name: Some("Ada Lovelace"), ..person("+213555000001") },
        Person { email: Some("a@example.com"), name: Some("Second"), ..person("+213555000002") },
        person("+213555000003"),
        Person { name: Some("Bob"), ..person("b@example.com") },
        Person { email: Some("b@example.com"), name: Some("Bob's phone"), ..person("+213555000004") },
        Person { attributes: Some(json!({"First Name": "Cleo"})), name: Some("Ms Cleo"), ..person("c@example.com") },
        person("d@example.com"),
    ];
    let scene = Scene::set(setting, &people).await;
    scene.suppress("d@example.com").await;
    // Suppressed as a phone: it may still be written to by e-mail.
    scene.suppress("+213555000001").await;
    let plan = scene.plan().await;
    assert_eq!((plan.audience, plan.recipients), (7, 3));
    assert_eq!(plan.excluded, Excluded { no_address: 1, duplicate: 2, suppressed: 1, ..Excluded::default() });
    let said: Vec<_> =
        plan.samples.iter().map(|s| (s.subject.as_deref().unwrap(), s.text.as_deref().unwrap())).collect();
    assert_eq!(said[0], ("For Ada", "Your address is a@example.com, your phone +213555000001"));
    assert_eq!(said.last().unwrap(), &("For Cleo", "Your address is c@example.com, your phone none"));
}

/// Three people, of whom one lacks the name and one the city.
fn gaps() -> [Person; 3] {
    let city = Some(json!({"city": "Oran"}));
    [
        Person { name: Some("Ali"), attributes: city.clone(), ..person("+213555000001") },
        Person { name: Some("  "), attributes: city, ..person("+213555000002") },
        Person { name: Some("Zoé"), attributes: Some(json!({"city": ""})), ..person("+213555000003") },
    ]
}

async fn with_gaps(on_missing: OnMissing, text: &str) -> Plan {
    let setting = Setting { on_missing, variants: vec![body("", text)], ..Setting::default() };
    Scene::set(setting, &gaps()).await.plan().await
}

#[tokio::test]
async fn what_recipients_lack_is_counted_and_dealt_with_by_the_policy() {
    let lacking =
        ["name", "city"].map(|variable| MissingVariable { variable: variable.to_owned(), recipients: 1 }).to_vec();

    let plan = with_gaps(OnMissing::Refuse, "{{ name }} in {{ city }}").await;
    assert_eq!((plan.missing.clone(), plan.recipients), (lacking.clone(), 1));
    assert!(refusals(&plan).contains("1 recipients lack \"city\""), "{}", refusals(&plan));
    assert!(refusals(&plan).contains("--on-missing skip"), "{}", refusals(&plan));

    let plan = with_gaps(OnMissing::Skip, "{{ name }} in {{ city }}").await;
    assert_eq!((plan.missing.clone(), plan.recipients, plan.excluded.missing), (lacking.clone(), 1, 2));
    assert_eq!((plan.refusals.len(), plan.warnings.len()), (0, 2));

    let plan = with_gaps(OnMissing::Default, "{{ name }} in {{ city }}").await;
    assert_eq!((plan.missing.clone(), plan.recipients, plan.excluded.missing), (lacking, 3, 0));
    assert_eq!(plan.samples[1].text.as_deref(), Some(" in Oran"));
    assert_eq!((plan.refusals.len(), plan.warnings.len()), (0, 2));

    let plan = with_gaps(OnMissing::Refuse, "{{ name | default('you') }} in {{ city | default('town') }}").await;
    assert_eq!((plan.missing.len(), plan.recipients, plan.refusals.len()), (0, 3, 0));
}

#[tokio::test]
async fn a_variable_that_nobody_has_is_refused_with_the_nearest_names() {
    let plan = with_gaps(OnMissing::Refuse, "{{ name | default('you') }} in {{ citi | default('town') }}").await;
    assert!(refusals(&plan).contains("no contact of list \"people\" has the variable \"citi\": did you mean city?"));
    let plan = with_gaps(OnMissing::Skip, "{{ nmae }}").await;
    assert!(refusals(&plan).contains("did you mean name?"), "{}", refusals(&plan));
    let plan = with_gaps(OnMissing::Default, "Hello {{ voucher | default('you') }}").await;
    assert!(warnings(&plan).contains("its contacts have city"), "{}", warnings(&plan));
    assert_eq!(refusals(&plan), "");
}

#[tokio::test]
async fn a_text_that_does_not_work_for_a_contact_is_refused() {
    let text = "Only {{ city - 1 }} left";
    assert!(refusals(&with_gaps(OnMissing::Refuse, text).await).contains("does not work for 2 contacts"));
    assert!(refusals(&with_gaps(OnMissing::Default, text).await).contains("does not work for"));
    let plan = with_gaps(OnMissing::Skip, text).await;
    assert_eq!(plan.excluded.missing, 3);
    assert!(refusals(&plan).contains("nobody of list"), "{}", refusals(&plan));
}

#[tokio::test]
async fn credit_that_pays_for_a_part_is_a_warning_and_none_is_a_refusal() {
    let setting = || Setting { prices: prices(&[("", 5000)]), ..Setting::default() };
    let people = [person("+213555000001"), person("+213555000002"), person("+213555000003")];

    let plan = Scene::set(Setting { credit: 10_000, ..setting() }, &people).await.plan().await;
    assert_eq!((plan.cost, plan.credit.covers, plan.credit.enough), (15_000, 2, false));
    assert!(warnings(&plan).contains("covers 2 of 3 messages: fanfare credits topup 5000"), "{}", warnings(&plan));
    assert_eq!(refusals(&plan), "");

    let plan = Scene::set(Setting { credit: 4999, ..setting() }, &people).await.plan().await;
    assert!(refusals(&plan).contains("4999 micro-credits are left; a message costs up to 5000"), "{}", refusals(&plan));

    let plan = Scene::set(Setting::default(), &people).await.plan().await;
    assert_eq!((plan.cost, plan.credit.enough, plan.refusals.len()), (0, true, 0));
}

#[tokio::test]
async fn a_stopped_account_an_empty_list_and_a_foreign_channel_are_refused() {
    let scene = Scene::set(Setting::default(), &[]).await;
    let mut c = scene.store.pool.acquire().await.unwrap();
    accounts::stop(&mut c, scene.workspace_id, scene.campaign.accounts[0].account_id, "401 bad token").await.unwrap();
    accounts::stop(&mut c, scene.workspace_id, scene.campaign.accounts[0].account_id, "later").await.unwrap();
    scene.sql("update account set kind = 'meta'").await;
    let plan = scene.plan().await;
    let all = refusals(&plan);
    for expected in ["stopped: 401 bad token", "does not carry sms", "list \"people\" is empty"] {
        assert!(all.contains(expected), "{expected} in {all}");
    }
    assert_eq!(plan.samples, []);

    assert!(accounts::resume(&mut c, scene.workspace_id, "demo").await.unwrap());
    assert!(!accounts::resume(&mut c, scene.workspace_id, "demo").await.unwrap());
    let error = accounts::resume(&mut c, scene.workspace_id, "dmeo").await.unwrap_err().to_string();
    assert!(error.contains("no account \"dmeo\"") && error.contains("did you mean demo?"), "{error}");
}

#[tokio::test]
async fn a_large_list_is_read_page_by_page_and_reports_its_progress() {
    let scene = Scene::set(Setting::default(), &[]).await;
    scene.add_many(120_001).await;
    let mut told = Vec::new();
    let plan = fanfare_scheduler::plan::plan(&scene.store, scene.workspace_id, CAMPAIGN, false, |read, all| {
        told.push((read, all))
    })
    .await
    .unwrap();
    assert_eq!((plan.audience, plan.recipients), (120_001, 120_001));
    assert_eq!((told.first(), told.last()), (Some(&(10_000, 120_001)), Some(&(120_001, 120_001))));
    let addresses: Vec<_> = plan.samples.iter().map(|s| s.address.as_str()).collect();
    assert_eq!(addresses, ["+213000000001", "+213000060001", "+213000120001"]);
}

#[tokio::test]
async fn a_preview_shows_real_contacts_and_what_is_the_matter_with_them() {
    let setting = Setting { variants: vec![body("", "{{ name }} in {{ city }}")], ..Setting::default() };
    let scene = Scene::set(setting, &gaps()).await;
    scene.suppress("+213555000003").await;
    let seen = preview(&scene.store, scene.workspace_id, "hello", "people", 3).await.unwrap();
    assert_eq!(seen[0].sample.as_ref().unwrap().text.as_deref(), Some("Ali in Oran"));
    assert_eq!((seen[1].missing.clone(), seen[1].left_out.clone()), (vec!["name".to_owned()], None));
    assert_eq!(seen[2].left_out.as_deref(), Some("its address is suppressed"));
    assert!(preview(&scene.store, scene.workspace_id, "hello", "peple", 3).await.is_err());
}

#[tokio::test]
async fn what_the_account_cannot_carry_is_refused_with_the_reason() {
    let setting = Setting { channel: Channel::Whatsapp, ..Setting::default() };
    let scene = Scene::set(setting, &[person("+213555000001")]).await;
    let kind = |kind: &str| scene.sql(format!("update account set kind = '{kind}'"));
    kind("meta").await;
    assert_eq!(refusals(&scene.plan().await), "");
    kind("one_confirmed").await;
    let all = refusals(&scene.plan().await);
    let expected = "of kind one_confirmed does not carry text by whatsapp: single messages are templates only";
    assert!(all.contains(expected) && all.contains("fanfare account kinds one_confirmed"), "{all}");
}

#[tokio::test]
async fn a_text_too_long_for_one_is_named_by_its_row_and_limit() {
    let plan_for = async |kind: &str, channel: Channel, chars: usize, on_missing: OnMissing| {
        let setting = Setting { channel, on_missing, variants: vec![body("", "{{ note }}")], ..Setting::default() };
        let note = |chars: usize| Some(json!({ "note": "x".repeat(chars) }));
        let people = [
            Person { attributes: note(5), ..person("+213555000001") },
            Person { attributes: note(chars), ..person("+213555000002") },
        ];
        let scene = Scene::set(setting, &people).await;
        scene.sql(format!("update account set kind = '{kind}'")).await;
        scene.plan().await
    };
    // Rows count from 0 here.
    let expected = "does not work for 1 contacts: row 1: body: has 1601 characters: expected at most 1600";
    let plan = plan_for("twilio", Channel::Sms, 1601, OnMissing::Refuse).await;
    assert!(refusals(&plan).contains(expected), "{}", refusals(&plan));
    assert_eq!((plan.unfit.len(), plan.unfit[0].row, plan.recipients, plan.excluded.missing), (1, 1, 1, 1));
    let plan = plan_for("twilio", Channel::Sms, 1601, OnMissing::Skip).await;
    assert!(refusals(&plan).is_empty() && warnings(&plan).contains(expected), "{}", warnings(&plan));
    assert!(!refusals(&plan_for("twilio", Channel::Sms, 1601, OnMissing::Default).await).is_empty());
    for (kind, channel, most) in
        [("twilio", Channel::Sms, 1600), ("grow", Channel::Sms, 320), ("meta", Channel::Whatsapp, 4096)]
    {
        assert_eq!(refusals(&plan_for(kind, channel, most, OnMissing::Refuse).await), "", "{kind}");
        let said = refusals(&plan_for(kind, channel, most + 1, OnMissing::Refuse).await);
        assert!(said.contains(&format!("expected at most {most}")), "{kind}: {said}");
    }
}

#[tokio::test]
async fn a_part_that_becomes_too_long_is_named_too() {
    let content = json!({ "type": "buttons", "body": "Come?", "buttons": [{ "id": "y", "title": "Yes, {{ name }}" }] });
    let variant = Variant { text: Text::Rich(content), ..body("", "") };
    let setting = Setting { channel: Channel::Whatsapp, variants: vec![variant], ..Setting::default() };
    let people = [
        Person { name: Some("Ali"), ..person("+213555000001") },
        Person { name: Some("Abderrahmane Ali"), ..person("+213555000002") },
    ];
    let plan = Scene::set(setting, &people).await.plan().await;
    let expected = "row 1: buttons[0].title: has 21 characters: expected at most 20";
    assert!(refusals(&plan).contains(expected), "{}", refusals(&plan));
}

#[tokio::test]
async fn a_plan_knows_the_rate_of_its_campaign_and_of_those_beside_it() {
    let setting = Setting { caps: vec!["100/s".parse().unwrap()], ..Setting::default() };
    let scene = Scene::set(setting, &[]).await;
    scene.add_many(1_000).await;
    let rate = |count| Some(Cap { count, per_us: 1_000_000 });
    let through = [Through::account("demo")];
    let other = NewCampaign { rate: rate(20), ..NewCampaign::of("other", "hello", "people", &through) };
    campaigns::create(&scene.store, scene.workspace_id, other).await.unwrap();
    let alone = scene.plan().await.seconds.unwrap();
    launch(&scene.store, scene.workspace_id, "other", Launch::default()).await.unwrap();
    let beside = scene.plan().await.seconds.unwrap() / alone;
    assert!((1.24..1.26).contains(&beside), "it has four fifths of the account: {beside}");
    let edit = Edit { rate: Some(rate(5)), ..Edit::default() };
    life::edit(&scene.store, scene.workspace_id, CAMPAIGN, edit).await.unwrap();
    let plan = scene.plan().await;
    assert_eq!((plan.rate.as_deref(), plan.seconds), (Some("5/s"), Some(200.0)));
    launch(&scene.store, scene.workspace_id, CAMPAIGN, Launch::default()).await.unwrap();
    assert_eq!(scene.number("select sum(period_us)::bigint from run_pace").await, 50_000 + 200_000);
}

#[tokio::test]
async fn a_plan_counts_of_another_campaign_what_its_first_part_has_to_send() {
    let scene = Scene::set(Setting::default(), &[]).await;
    scene.add_many(20).await;
    let through = [Through::account("demo")];
    let other = NewCampaign {
        first_part: Some(FirstPart::new(Some(250_000), None)),
        ..NewCampaign::of("other", "hello", "people", &through)
    };
    campaigns::create(&scene.store, scene.workspace_id, other).await.unwrap();
    launch(&scene.store, scene.workspace_id, "other", Launch::default()).await.unwrap();
    assert_eq!(scene.plan().await.accounts[0].beside, 5);
    scene
        .sql(
            "insert into segment (workspace_id, run_id, segment_no, lo, hi, next_seq, after_address,
                 no_address, duplicate, suppressed, missing, minus, outside, other_part)
               select workspace_id, run_id, 0, 0, 0, 0, '', 0, 0, 0, 0, 4, 8, 8 from run",
        )
        .await;
    assert_eq!(scene.plan().await.accounts[0].beside, 0, "all of its contacts are known, and left out");
}
