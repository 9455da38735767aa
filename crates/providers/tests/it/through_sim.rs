//! Adapters against a simulator of their provider, with its faults: what an adapter says of a message is
//! held against what the judge accepted.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use fanfare_domain::clock::Clock;
use fanfare_domain::content::Content;
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Action, Answer, FailureKind};
use fanfare_providers::kind::{Doubt, Kind};
use fanfare_providers::{Adapter, Client, Finding, Provider as _, open};
use fanfare_sim::{Config, Faults, Handle, Sim};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::peer;

const MESSAGES: u32 = 400;
const IN_FLIGHT: usize = 16;
/// A message in doubt is asked for or repeated this often: the faults are not that many.
const TRIES_MAX: usize = 30;

/// A simulator, and an account at it.
struct Stage {
    sim: Handle,
    adapter: Adapter,
    kind: &'static Kind,
    content: Content,
    channel: Channel,
    _over: DropGuard,
}

/// Of this kind with these settings, which the URL is added to.
fn stage(kind: &str, mut settings: Value, channel: Channel, content: Value, faults: &str) -> Stage {
    let over = CancellationToken::new();
    let config = Config {
        kind: kind.parse().unwrap(),
        faults: Faults::preset(faults).unwrap(),
        secret: Some("s3cret".into()),
        ..Config::default()
    };
    let sim = Sim::bind(config, ([127, 0, 0, 1], 0).into()).unwrap();
    let handle = sim.handle();
    tokio::spawn(sim.serve(over.clone().cancelled_owned()));
    settings["url"] = handle.url().into();
    let client = Client::new(Clock::system()).with_timeouts(Duration::from_secs(5), Duration::from_millis(1500));
    let adapter = open(kind, &settings, Some("s3cret"), &client).unwrap();
    let content = serde_json::from_value(content).unwrap();
    Stage { sim: handle, adapter, kind: Kind::named(kind).unwrap(), content, channel, _over: over.drop_guard() }
}

impl Stage {
    fn message(&self, n: u32) -> OutMessage {
        let to = match self.channel {
            Channel::Email => format!("amina{n}@example.com"),
            _ => format!("+2135500{n:05}"),
        };
        let (id, content) = (Uuid::from_u128(n.into()), self.content.clone());
        OutMessage { id, to, content, channel: self.channel, ..peer::message() }
    }

    /// Sends a message, and settles a doubt as the kind's documents allow. What was said last.
    async fn send(&self, n: u32, since: DateTime<Utc>) -> Answer {
        let message = self.message(n);
        let mut answer = self.adapter.send(&message, &|| true).await;
        let mut in_doubt = is(&answer, FailureKind::Unknown);
        for _ in 0..TRIES_MAX {
            if !in_doubt {
                return answer;
            }
            match self.kind.doubt {
                Doubt::Repeat => {
                    answer = self.adapter.send(&message, &|| true).await;
                    // Only an acceptance or a final refusal says something of the attempt before.
                    let settled = [FailureKind::PermanentRecipient, FailureKind::PermanentContent];
                    in_doubt = !is_accepted(&answer) && !settled.iter().any(|kind| is(&answer, *kind));
                }
                Doubt::LookUp => match self.adapter.look_up(&message, since, &|| true).await {
                    Finding::Sent { provider_id } => return Answer::Sent { provider_id },
                    Finding::Absent => return Answer::NotStarted,
                    _ => {}
                },
                _ => return answer,
            }
        }
        panic!("message {n} stays in doubt: {answer:?}");
    }

    /// Sends many, and compares.
    async fn compare(&self) {
        let since = Clock::system().now();
        let sent = stream::iter(1..=MESSAGES).map(|n| async move { (n, self.send(n, since).await) });
        let answers: Vec<_> = sent.buffer_unordered(IN_FLIGHT).collect().await;
        let mut accepted: HashMap<String, u32> = HashMap::new();
        for acceptance in self.sim.accepted(0).accepted {
            *accepted.entry(acceptance.to.trim_start_matches('+').to_owned()).or_default() += 1;
        }
        let mut failures = 0;
        for (n, answer) in answers {
            let to = self.message(n).to;
            let times = accepted.get(to.trim_start_matches('+')).copied().unwrap_or_default();
            let what = format!("{}, message {n}: {answer:?}, accepted {times} times", self.kind.name);
            failures += u32::from(!is_accepted(&answer));
            match answer {
                answer if is_accepted(&answer) => assert_eq!(times, 1, "{what}"),
                answer if is(&answer, FailureKind::Unknown) => assert!(times <= 1, "{what}"),
                _ => assert_eq!(times, 0, "{what}"),
            }
        }
        let stats = self.sim.stats();
        assert_eq!(stats.accepted_twice, 0, "{}: {stats:?}", self.kind.name);
        assert!((1..MESSAGES / 2).contains(&failures), "{}: {failures} failures", self.kind.name);
    }
}

fn is_accepted(answer: &Answer) -> bool {
    matches!(answer, Answer::Sent { .. } | Answer::Queued { .. })
}

fn is(answer: &Answer, kind: FailureKind) -> bool {
    matches!(answer, Answer::Failed(failure) if failure.kind == kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_grow_accepted_is_what_is_said() {
    let template = json!({ "type": "template", "name": "spring", "params": ["Amina"] });
    stage("grow", json!({}), Channel::Whatsapp, template, "heavy").compare().await;
    let text = json!({ "type": "text", "subject": "Spring", "body": "Hello" });
    stage("grow", json!({}), Channel::Email, text, "heavy").compare().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_system_accepted_is_what_is_said() {
    let settings = json!({ "session_id": "3" });
    let text = json!({ "type": "text", "body": "Hello Amina" });
    stage("one_system", settings.clone(), Channel::Whatsapp, text, "heavy").compare().await;
    let template = json!({ "type": "template", "name": "5", "params": ["name=Amina"] });
    let stage = stage("one_system", settings, Channel::Whatsapp, template, "none");
    assert!(matches!(stage.send(1, Clock::system().now()).await, Answer::Sent { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_confirmed_accepted_is_what_is_said() {
    let template = json!({ "type": "template", "name": "12", "params": ["name=Amina"] });
    stage("one_confirmed", json!({}), Channel::Whatsapp, template.clone(), "heavy").compare().await;
    let settings = json!({ "email": "owner@example.com", "template_account_flow_id": "3" });
    stage("one_confirmed", settings, Channel::Whatsapp, template.clone(), "light").compare().await;
    let settings = json!({ "email": "2fa@example.com" });
    let stage = stage("one_confirmed", settings, Channel::Whatsapp, template, "none");
    assert!(is(&stage.send(1, Clock::system().now()).await, FailureKind::Configuration));
}

#[tokio::test]
async fn a_check_says_what_the_provider_says() {
    let text = json!({ "type": "text", "body": "Hello" });
    for (kind, settings, said) in [
        ("one_confirmed", json!({}), "credit: 150"),
        ("one_confirmed", json!({ "email": "owner@example.com" }), "credit: 150"),
        ("grow", json!({}), "WhatsApp numbers: 1"),
        ("one_system", json!({ "session_id": "3" }), "session 3: connected"),
    ] {
        let stage = stage(kind, settings, Channel::Whatsapp, text.clone(), "none");
        assert_eq!(stage.adapter.check().await.unwrap(), said);
    }
}

#[tokio::test]
async fn a_template_of_one_system_is_named_by_its_id() {
    let template = json!({ "type": "template", "name": "../spring" });
    let stage = stage("one_system", json!({ "session_id": "3" }), Channel::Whatsapp, template, "none");
    let Answer::Failed(failure) = stage.send(1, Clock::system().now()).await else { panic!("sent") };
    assert_eq!((failure.kind, failure.action), (FailureKind::PermanentContent, Some(Action::PauseRun)));
    assert_eq!(stage.sim.stats().requests, 0);
}
