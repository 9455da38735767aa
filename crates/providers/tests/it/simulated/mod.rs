//! Each adapter against the simulator of its interface: what it says became of a message is what became of it.
//!
//! Every kind but the generic one is here, by the account of its fixtures; so is whichever else of its accounts
//! is played differently: one that logs in, one that sends through a service, one by another channel.

mod believed;
mod calls;
mod doubt;
mod particular;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fanfare_domain::clock::Clock;
use fanfare_domain::content::Content;
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Answer, FailureKind};
use fanfare_providers::kind::Kind;
use fanfare_providers::{Adapter, Client, KINDS, Provider as _, open};
use fanfare_sim::{Acceptance, Config, Faults, Handle, Sim};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::files::OneFile;
use crate::peer;

const MESSAGES: usize = 400;
/// Requests at once.
const AT_ONCE: usize = 16;
/// All that requests can meet but what is the matter with a template.
const FAULTS: &str = "429=0.04 429-retry-after=0.01 500=0.04 500-accepted=0.06 503=0.04 reset=0.04 reset-accepted=0.04 \
                      silence-accepted=0.01 slow-body=0.01 malformed=0.06 recipient=0.06";

/// An account of a kind, as it is played.
struct Play {
    kind: &'static Kind,
    channel: Channel,
    /// That of the fixtures, with what is played differently.
    account: Value,
}

/// What an adapter said of the messages that it was given.
type Said = Vec<(OutMessage, Answer)>;

/// The kind's account as the fixtures have it.
fn play(name: &'static str) -> Play {
    let kind = Kind::named(name).unwrap();
    let account = read(name, "account.json");
    Play { kind, channel: kind.channels().next().unwrap(), account }
}

/// That of every kind but the generic one.
fn plays() -> impl Iterator<Item = Play> {
    KINDS.iter().filter(|kind| kind.name != "http").map(|kind| play(kind.name))
}

/// The same, and the accounts that are played differently.
fn plays_and_others() -> impl Iterator<Item = Play> {
    let login = play("one_confirmed").set("email", "owner@example.com");
    let service = play("twilio").set("messaging_service_sid", "MG1");
    let by_email = play("grow").by(Channel::Email, json!({ "type": "text", "subject": "Spring", "body": "Hi Amina" }));
    plays().chain([login, service, by_email])
}

fn read(name: &str, file: &str) -> Value {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/providers");
    let path = root.join(name).join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn faults() -> Faults {
    let chances = FAULTS.split_whitespace().map(|chance| chance.parse().unwrap());
    chances.fold(Faults::default(), |faults, chance| faults.with(chance).unwrap())
}

/// Gives up on an answer before a slow body has come.
fn hasty() -> Client {
    Client::new(Clock::system()).with_timeouts(Duration::from_secs(5), Duration::from_millis(300))
}

/// Waits for a slow body, and not for silence.
fn patient(clock: Clock) -> Client {
    Client::new(clock).with_timeouts(Duration::from_secs(5), Duration::from_millis(1500))
}

impl Play {
    fn set(mut self, key: &str, value: &str) -> Self {
        self.account["settings"][key] = value.into();
        self
    }

    fn by(mut self, channel: Channel, plain: Value) -> Self {
        self.account["plain"] = plain;
        Self { channel, ..self }
    }

    /// Starts the simulator, which lets in the account alone. It ends with the test's runtime.
    fn simulator(&self, config: Config) -> Handle {
        let kind = self.kind.name.parse().unwrap();
        let secret = config.secret.or_else(|| Some(self.secret().to_owned()));
        // Whom the fixtures write to has just written.
        let config = Config { kind, secret, open_window: true, ..config };
        let sim = Sim::bind(config, ([127, 0, 0, 1], 0).into()).unwrap();
        let handle = sim.handle();
        tokio::spawn(sim.serve(std::future::pending()));
        handle
    }

    fn adapter(&self, sim: &Handle, client: &Client) -> Adapter {
        let mut settings = self.account["settings"].clone();
        settings["url"] = sim.url().into();
        // As the simulator gives ids out.
        let client = client.clone().with_files(Arc::new(OneFile::known_as("1037000000160")));
        open(self.kind.name, &settings, Some(self.secret()), &client).unwrap()
    }

    fn secret(&self) -> &str {
        self.account["secret"].as_str().unwrap()
    }

    /// The plain message to a person of this number, each in words of its own, not all of which can go over the
    /// line as they are.
    fn message(&self, number: usize) -> OutMessage {
        let own = format!("Amina {number}, 5% & more");
        let plain = self.account["plain"].to_string().replace("Amina", &own);
        self.saying(number, self.channel, &serde_json::from_str(&plain).unwrap())
    }

    fn saying(&self, number: usize, channel: Channel, content: &Value) -> OutMessage {
        let to = match channel {
            Channel::Email => format!("amina{number}@example.org"),
            _ => format!("+2135{:08}", 50_000_000 + number),
        };
        let content = Content::deserialize(content).unwrap();
        let id = uuid::Uuid::from_u128(number as u128 + 1);
        let from = self.account["from"].as_str().map(str::to_owned);
        OutMessage { id, to, from, channel, content, seq: number as i32, ..peer::message() }
    }

    /// Sends so many messages; what the adapter says of each.
    async fn send(&self, adapter: Adapter, messages: usize) -> Said {
        let adapter = Arc::new(adapter);
        let mut sending = JoinSet::new();
        let mut said = Vec::new();
        for number in 0..messages {
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

    /// Holds what was said of each message against what the judge saw; how many there were of each answer.
    fn judge(&self, sim: &Handle, said: &Said) -> BTreeMap<String, usize> {
        let (accepted, mut kinds) = (accepted(sim), BTreeMap::<String, usize>::new());
        for (message, answer) in said {
            let found = accepted.get(&digits(&message.to)).map_or(&[][..], Vec::as_slice);
            let what = format!("{self}, {}: {answer:?}, {found:?}", message.to);
            assert!(found.len() <= 1, "{what}");
            let kind = match answer {
                Answer::Sent { provider_id } => {
                    assert_eq!(found.len(), 1, "{what}");
                    // Some answers say no id.
                    provider_id.iter().for_each(|id| assert_eq!(id, &self.id_of(&found[0]), "{what}"));
                    "sent".to_owned()
                }
                Answer::Queued { provider_id } => {
                    assert_eq!((found.len(), provider_id), (1, &self.id_of(&found[0])), "{what}");
                    "sent".to_owned()
                }
                Answer::Failed(failure) => {
                    assert!(failure.kind == FailureKind::Unknown || found.is_empty(), "{what}");
                    assert!(!failure.detail.contains(self.secret()), "{what}");
                    format!("{:?}", failure.kind)
                }
                Answer::NotStarted => {
                    assert!(found.is_empty(), "{what}");
                    "not started".to_owned()
                }
            };
            *kinds.entry(kind).or_default() += 1;
        }
        let seen = sim.stats();
        assert_eq!((seen.accepted_twice, seen.rejected), (0, 0), "{self}: {seen:?}");
        assert_eq!(seen.accounts.keys().collect::<Vec<_>>(), [self.secret()], "{self}");
        kinds
    }

    /// What an acceptance is known by: the provider's id, or of an e-mail its Message-ID.
    fn id_of(&self, acceptance: &Acceptance) -> String {
        match self.kind.name {
            "smtp" => format!("{}@example.com", acceptance.id),
            _ => acceptance.provider_id.clone(),
        }
    }
}

impl std::fmt::Display for Play {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} by {} with {}", self.kind.name, self.channel, self.account["settings"])
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

fn is(answer: &Answer, kind: FailureKind) -> bool {
    matches!(answer, Answer::Failed(failure) if failure.kind == kind)
}

fn is_accepted(answer: &Answer) -> bool {
    matches!(answer, Answer::Sent { .. } | Answer::Queued { .. })
}
