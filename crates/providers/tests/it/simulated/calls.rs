//! Every content of the fixtures, and the calls that prove an account.

use fanfare_domain::message::Channel;
use fanfare_domain::outcome::FailureKind;
use fanfare_providers::Provider as _;
use fanfare_providers::kind::Offer;
use fanfare_sim::Config;
use serde::Deserialize as _;

use super::{Play, hasty, is, is_accepted, play, plays, plays_and_others, read};

#[tokio::test]
async fn each_content_is_one_that_the_simulator_knows() {
    for play in plays() {
        let sim = play.simulator(Config::default());
        let cases = read(play.kind.name, "requests.json");
        let cases = cases.as_array().unwrap();
        for (number, case) in cases.iter().enumerate() {
            // Some cases are of an account that is told more.
            let more = case["settings"].as_object().into_iter().flatten();
            let account = Play { kind: play.kind, channel: play.channel, account: play.account.clone() };
            let account = more.fold(account, |account, (key, value)| account.set(key, value.as_str().unwrap()));
            let channel = Option::<Channel>::deserialize(&case["channel"]).unwrap().unwrap_or(play.channel);
            let mut message = play.saying(number, channel, &case["content"]);
            message.from = case["from"].as_str().map(str::to_owned).or(message.from);
            message.to = case["to"].as_str().map_or(message.to, str::to_owned);
            let answer = account.adapter(&sim, &hasty()).send(&message, &|| true).await;
            assert!(is_accepted(&answer), "{play}: {}: {answer:?}", case["source"]);
        }
        let seen = sim.stats();
        assert_eq!((seen.accepted_messages, seen.rejected), (cases.len() as u64, 0), "{play}");
    }
}

#[tokio::test]
async fn a_wrong_secret_stops_the_account_and_a_right_one_is_told_so() {
    for play in plays() {
        let wrong = play.simulator(Config { secret: Some("another".into()), ..Config::default() });
        let adapter = play.adapter(&wrong, &hasty());
        let answer = adapter.send(&play.message(0), &|| true).await;
        assert!(is(&answer, FailureKind::Configuration), "{play}: {answer:?}");
        assert_eq!(wrong.stats().accepted, 0, "{play}");
        assert!(play.kind.offers(Offer::Check), "{play}");
        assert_eq!(adapter.check().await.unwrap_err().kind, FailureKind::Configuration, "{play}");
        let right = play.simulator(Config::default());
        let adapter = play.adapter(&right, &hasty());
        let said = adapter.check().await;
        assert!(said.as_ref().is_ok_and(|said| !said.contains(play.secret())), "{play}: {said:?}");
        assert!(!format!("{adapter:?}").contains(play.secret()), "{play}");
    }
}

/// What the check of an account says.
fn words(play: &Play) -> &'static str {
    match play.kind.name {
        "one_confirmed" => "credit: 150",
        "one_msg" => "channel connected",
        "pabbly" => "key accepted, 6 templates",
        "grow" => "WhatsApp numbers: 1",
        "one_system" => "session 3: connected",
        "meta" => "number +1 555 0100, quality GREEN",
        "twilio" if play.account["settings"]["key_sid"].is_string() => "the key may read messages",
        "twilio" => "account active",
        "smtp" => "signed in",
        other => panic!("{other}: what does its check say?"),
    }
}

#[tokio::test]
async fn a_check_says_what_the_provider_says() {
    for play in plays_and_others().chain([play("twilio").set("key_sid", "SK1")]) {
        let sim = play.simulator(Config::default());
        assert_eq!(play.adapter(&sim, &hasty()).check().await, Ok(words(&play).to_owned()), "{play}");
        assert_eq!(sim.stats().accepted, 0, "{play}");
    }
}
