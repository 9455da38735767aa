//! Each adapter against the simulator of its interface: what it says became of a message is what became of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fanfare_domain::clock::Clock;
use fanfare_domain::content::Content;
use fanfare_domain::message::OutMessage;
use fanfare_domain::outcome::{Answer, FailureKind};
use fanfare_providers::kind::{Kind, Offer};
use fanfare_providers::{Adapter, Client, Provider as _, open};
use fanfare_sim::{Acceptance, Config, Faults, Handle, Sim};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::files::OneFile;
use crate::peer;

const MESSAGES: usize = 400;
/// Requests at once.
const AT_ONCE: usize = 16;
const FAULTS: &str = "429=0.04 500=0.04 500-accepted=0.06 503=0.04 reset=0.04 reset-accepted=0.04 \
                      silence-accepted=0.01 malformed=0.06 recipient=0.06";

/// A kind that a simulator speaks, and the account of its fixtures.
struct Play {
    kind: &'static Kind,
    spoken: fanfare_sim::Kind,
    account: Value,
}

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/providers")
}

fn plays() -> impl Iterator<Item = Play> {
    fanfare_sim::Kind::ALL.iter().filter_map(|(name, spoken)| {
        let account = std::fs::read_to_string(fixtures().join(name).join("account.json")).ok()?;
        let account = serde_json::from_str(&account).unwrap();
        Some(Play { kind: Kind::named(name).unwrap(), spoken: *spoken, account })
    })
}

impl Play {
    /// Starts the simulator. It ends with the test's runtime.
    fn simulator(&self, config: Config) -> Handle {
        // Whom the fixtures write to has just written.
        let sim =
            Sim::bind(Config { kind: self.spoken, open_window: true, ..config }, ([127, 0, 0, 1], 0).into()).unwrap();
        let handle = sim.handle();
        tokio::spawn(sim.serve(std::future::pending()));
        handle
    }

    fn adapter(&self, url: &str) -> Adapter {
        let mut settings = self.account["settings"].clone();
        settings["url"] = url.into();
        let client = Client::new(Clock::system()).with_timeouts(Duration::from_secs(5), Duration::from_millis(300));
        // As the simulator gives ids out.
        let client = client.with_files(Arc::new(OneFile::known_as("1037000000160")));
        open(self.kind.name, &settings, Some(self.secret()), &client).unwrap()
    }

    fn secret(&self) -> &str {
        self.account["secret"].as_str().unwrap()
    }

    /// The contents of its requests.
    fn contents(&self) -> Vec<Value> {
        let requests = std::fs::read_to_string(fixtures().join(self.kind.name).join("requests.json")).unwrap();
        let mut requests: Vec<Value> = serde_json::from_str(&requests).unwrap();
        requests.iter_mut().filter(|case| case.get("channel").is_none()).map(|case| case["content"].take()).collect()
    }

    fn message(&self, number: usize) -> OutMessage {
        self.saying(number, &self.account["plain"])
    }

    /// A message to a person of this number.
    fn saying(&self, number: usize, content: &Value) -> OutMessage {
        let content = Content::deserialize(content).unwrap();
        let (to, channel) = (format!("+2135{:08}", 50_000_000 + number), self.kind.channels().next().unwrap());
        let id = uuid::Uuid::from_u128(number as u128 + 1);
        let from = self.account["from"].as_str().map(str::to_owned);
        OutMessage { id, to, from, channel, content, seq: number as i32, ..peer::message() }
    }

    /// Sends them all; what the adapter says of each.
    async fn send(&self, adapter: Adapter) -> Vec<(OutMessage, Answer)> {
        let adapter = Arc::new(adapter);
        let mut sending = JoinSet::new();
        let mut said = Vec::new();
        for number in 0..MESSAGES {
            if sending.len() == AT_ONCE {
                said.extend(sending.join_next().await.map(Result::unwrap));
            }
            let (adapter, message) = (adapter.clone(), self.message(number));
            sending.spawn(async move {
                let answer = adapter.send(&message, &|| true).await;
                (message, answer)
            });
        }
        said.extend(sending.join_all().await);
        said
    }
}

/// What the judge has, by the digits of the address.
fn accepted(sim: &Handle) -> BTreeMap<String, Vec<Acceptance>> {
    let mut accepted = BTreeMap::<String, Vec<Acceptance>>::new();
    for acceptance in sim.accepted(0).accepted {
        accepted.entry(digits(&acceptance.to)).or_default().push(acceptance);
    }
    accepted
}

fn digits(address: &str) -> String {
    address.chars().filter(char::is_ascii_digit).collect()
}

#[tokio::test]
async fn what_is_said_of_a_message_is_what_became_of_it() {
    for play in plays() {
        let name = play.kind.name;
        let faults = FAULTS.split_whitespace().map(|chance| chance.parse().unwrap());
        let faults = faults.fold(Faults::default(), |faults, chance| faults.with(chance).unwrap());
        let sim = play.simulator(Config { faults, seed: 11, ..Config::default() });
        let said = play.send(play.adapter(&sim.url())).await;
        let (accepted, mut kinds) = (accepted(&sim), BTreeMap::<String, usize>::new());
        for (message, answer) in &said {
            let found = accepted.get(&digits(&message.to)).map_or(&[][..], Vec::as_slice);
            let what = format!("{name}, seed 11, {}: {answer:?}, {found:?}", message.to);
            assert!(found.len() <= 1, "{what}");
            match answer {
                Answer::Sent { provider_id } => {
                    assert_eq!(found.len(), 1, "{what}");
                    // Some answers say no id.
                    provider_id.iter().for_each(|id| assert_eq!(id, &found[0].provider_id, "{what}"));
                    *kinds.entry("sent".into()).or_default() += 1;
                }
                Answer::Queued { provider_id } => {
                    assert_eq!((found.len(), provider_id), (1, &found[0].provider_id), "{what}");
                    *kinds.entry("sent".into()).or_default() += 1;
                }
                Answer::Failed(failure) => {
                    assert!(failure.kind == FailureKind::Unknown || found.is_empty(), "{what}");
                    assert!(!failure.detail.contains(play.secret()), "{what}");
                    *kinds.entry(format!("{:?}", failure.kind)).or_default() += 1;
                }
                Answer::NotStarted => panic!("{what}"),
            }
        }
        let least = [("sent", MESSAGES / 2), ("PermanentRecipient", 5), ("Throttled", 5), ("Unknown", 20)];
        for (kind, least) in least {
            assert!(kinds.get(kind).is_some_and(|n| *n >= least), "{name}, seed 11: {kind} {kinds:?}");
        }
    }
}

#[tokio::test]
async fn each_content_is_one_that_the_simulator_knows() {
    for play in plays() {
        let sim = play.simulator(Config::default());
        let adapter = play.adapter(&sim.url());
        for (number, content) in play.contents().iter().enumerate() {
            let answer = adapter.send(&play.saying(number, content), &|| true).await;
            let accepted = matches!(answer, Answer::Sent { .. } | Answer::Queued { .. });
            assert!(accepted, "{}: {content}: {answer:?}", play.kind.name);
        }
        assert_eq!(sim.stats().accepted_messages, play.contents().len() as u64, "{}", play.kind.name);
    }
}

#[tokio::test]
async fn a_wrong_secret_stops_the_account_and_a_right_one_is_told_so() {
    for play in plays() {
        let name = play.kind.name;
        let wrong = play.simulator(Config { secret: Some("another".into()), ..Config::default() });
        let adapter = play.adapter(&wrong.url());
        let is_refused = |kind| assert_eq!(kind, FailureKind::Configuration, "{name}");
        match adapter.send(&play.message(0), &|| true).await {
            Answer::Failed(failure) => is_refused(failure.kind),
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(wrong.stats().accepted, 0, "{name}");
        if play.kind.offers(Offer::Check) {
            is_refused(adapter.check().await.unwrap_err().kind);
            let right = play.simulator(Config::default());
            let said = play.adapter(&right.url()).check().await;
            assert!(said.as_ref().is_ok_and(|said| !said.contains(play.secret())), "{name}: {said:?}");
        }
    }
}
