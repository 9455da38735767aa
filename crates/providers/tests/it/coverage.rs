//! What the services' documents list as single sends, beside what the kinds carry.

use std::fmt::Write as _;

use fanfare_domain::content::Feature;
use fanfare_domain::message::Channel;
use fanfare_providers::Kind;
use serde::Deserialize;

const SENDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/providers/coverage.json");
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/COVERAGE.md");

/// A single send that a service's documents list.
#[derive(Deserialize)]
struct Send {
    kind: String,
    channel: Channel,
    send: String,
    /// What it takes of the typed content; empty if that has no such message.
    features: Vec<String>,
    /// Why there is no such message.
    refused: Option<String>,
}

impl Send {
    fn features(&self) -> Vec<Feature> {
        let named = |name: &String| {
            let found = Feature::ALL.into_iter().find(|f| serde_json::to_value(f).unwrap() == **name);
            found.unwrap_or_else(|| panic!("{}: no feature {name:?}", self.send))
        };
        self.features.iter().map(named).collect()
    }

    /// `carried`, or why it is refused: in the words of its kind, or of the list.
    fn verdict(&self) -> String {
        let kind = Kind::named(&self.kind).unwrap();
        if let Some(why) = &self.refused {
            assert!(self.features.is_empty(), "{}: refused, and yet there is such a message", self.send);
            return format!("refused: {why}");
        }
        assert!(!self.features.is_empty(), "{}: neither carried nor refused", self.send);
        let refused = self.features().into_iter().find(|feature| !kind.carries(self.channel, *feature));
        let Some(feature) = refused else { return "carried".to_owned() };
        let documented = kind.refuses.iter().find(|(f, _)| *f == feature).map(|(_, why)| *why);
        let why = documented.unwrap_or_else(|| panic!("{} of {}: refused without a reason", self.send, self.kind));
        format!("refused: {why}")
    }
}

fn sends() -> Vec<Send> {
    serde_json::from_str(&std::fs::read_to_string(SENDS).unwrap()).unwrap()
}

fn table() -> String {
    let mut table =
        "| kind | channel | send, as its documents list it | content | |\n|---|---|---|---|---|\n".to_owned();
    for send in sends() {
        let content: Vec<&str> = send.features().into_iter().map(Feature::name).collect();
        let (kind, channel, name) = (&send.kind, send.channel, &send.send);
        writeln!(table, "| `{kind}` | {channel} | {name} | {} | {} |", content.join(", "), send.verdict()).unwrap();
    }
    table
}

#[test]
fn every_send_that_the_documents_list_is_carried_or_refused_with_its_reason() {
    let kept = std::fs::read_to_string(TABLE).unwrap();
    assert!(kept.contains(&table()), "docs/COVERAGE.md has another table than:\n{}", table());
}

#[test]
fn every_kind_but_the_generic_one_is_in_the_list() {
    let sends = sends();
    for kind in fanfare_providers::KINDS.iter().filter(|kind| kind.name != "http") {
        for (channel, features) in kind.carries {
            let listed = |f: &Feature| {
                sends.iter().any(|s| s.kind == kind.name && s.channel == *channel && s.features().contains(f))
            };
            let missing: Vec<_> = features.iter().filter(|f| !listed(f)).collect();
            assert!(missing.is_empty(), "{} carries {missing:?} by {channel}, which the list does not have", kind.name);
        }
    }
}
