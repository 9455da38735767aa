//! What only one kind has.

use fanfare_domain::message::OutMessage;
use fanfare_domain::outcome::{Action, Answer, FailureKind};
use fanfare_providers::Provider as _;
use fanfare_sim::{Config, Faults};
use serde_json::json;

use super::{hasty, is, is_accepted, play};
use crate::peer;

#[tokio::test]
async fn twilio_sends_by_a_service_or_a_sender_and_not_without() {
    let twilio = play("twilio").set("key_sid", "SK1");
    let sim = twilio.simulator(Config::default());
    let adapter = twilio.adapter(&sim, &hasty());
    let mut message = twilio.message(0);
    let from = message.from.take();
    let none = adapter.send(&message, &|| true).await;
    assert_eq!(none, peer::failed(FailureKind::Configuration, "no sender and no messaging_service_sid"));
    assert_eq!(sim.stats().requests, 0);
    let service = play("twilio").set("messaging_service_sid", "MG1").adapter(&sim, &hasty());
    assert!(is_accepted(&service.send(&message, &|| true).await));
    let message = OutMessage { from, ..twilio.message(1) };
    assert!(is_accepted(&adapter.send(&message, &|| true).await));
    assert_eq!(sim.stats().accepted, 2);
}

#[tokio::test]
async fn an_email_is_known_by_its_message_id_whatever_fails_at_whichever_stage() {
    let smtp = play("smtp");
    let faults = Faults::preset("heavy").unwrap();
    let sim = smtp.simulator(Config { faults, seed: 4, ..Config::default() });
    let said = smtp.send(smtp.adapter(&sim, &hasty()), 800).await;
    let kinds = smtp.judge(&sim, &said);
    assert!(["sent", "Unknown"].iter().all(|kind| kinds.contains_key(*kind)), "seed 4: {kinds:?}");
    for (message, answer) in &said {
        if let Answer::Sent { provider_id } = answer {
            assert_eq!(provider_id.as_deref(), Some(format!("{}@example.com", message.id).as_str()));
        }
    }
    let seen = sim.stats();
    assert!(seen.by_fault.values().filter(|n| **n > 0).count() >= 10, "seed 4: {seen:?}");
}

#[tokio::test]
async fn an_account_of_one_confirmed_with_a_second_factor_sends_nothing() {
    let play = play("one_confirmed").set("email", "2fa@example.com");
    let sim = play.simulator(Config::default());
    let answer = play.adapter(&sim, &hasty()).send(&play.message(0), &|| true).await;
    assert!(is(&answer, FailureKind::Configuration), "{answer:?}");
    assert_eq!(sim.stats().accepted, 0);
}

#[tokio::test]
async fn a_template_of_one_system_is_named_by_its_id() {
    let play = play("one_system");
    let sim = play.simulator(Config::default());
    let path = play.saying(0, play.channel, &json!({ "type": "template", "name": "../spring" }));
    let Answer::Failed(failure) = play.adapter(&sim, &hasty()).send(&path, &|| true).await else { panic!("sent") };
    assert_eq!((failure.kind, failure.action), (FailureKind::PermanentContent, Some(Action::PauseRun)));
    assert_eq!(sim.stats().requests, 0);
}
