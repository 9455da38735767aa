//! What is in doubt is settled as the kind says, through the same faults, and is never accepted twice.

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_domain::clock::Clock;
use fanfare_domain::message::OutMessage;
use fanfare_domain::outcome::{Answer, FailureKind};
use fanfare_providers::kind::Doubt;
use fanfare_providers::{Adapter, Finding, Provider as _};
use fanfare_sim::{Config, Handle};
use futures::{StreamExt as _, stream};

use super::{AT_ONCE, MESSAGES, Play, Said, faults, is, is_accepted, patient, plays_and_others};

/// A message in doubt is asked for or repeated this often: the faults are not that many.
const TRIES_MAX: usize = 30;

/// An account whose messages were sent, some of them in doubt.
struct Doubtful {
    play: Play,
    sim: Handle,
    /// Before the first attempt.
    since: DateTime<Utc>,
    /// Whose clock still shows that time.
    now: Adapter,
    /// When a list of messages has everything.
    later: Adapter,
}

impl Doubtful {
    /// What is certain of a message in doubt in the end; `None` of what nothing may be done about.
    async fn settle(&self, message: &OutMessage) -> Option<Answer> {
        match self.play.kind.doubt {
            Doubt::Repeat => Some(self.repeat(message).await),
            Doubt::LookUp => Some(self.look_up(message).await),
            Doubt::Receipt | Doubt::Policy => {
                // Nobody to ask, and nothing is sent for it.
                let found = self.later.look_up(message, self.since, &|| true).await;
                assert_eq!(found, Finding::Unsure("no look-up"), "{}", self.play);
                None
            }
        }
    }

    /// Repeats it with its key until an answer says something of the attempts before: an acceptance does, and a
    /// final refusal.
    async fn repeat(&self, message: &OutMessage) -> Answer {
        for _ in 0..TRIES_MAX {
            let answer = self.now.send(message, &|| true).await;
            let refusals = [FailureKind::PermanentRecipient, FailureKind::PermanentContent];
            if is_accepted(&answer) || refusals.iter().any(|kind| is(&answer, *kind)) {
                return answer;
            }
        }
        panic!("{}: {} stays in doubt", self.play, message.to);
    }

    /// Looks it up. What is not there is absent once the list would have it, and no sooner.
    async fn look_up(&self, message: &OutMessage) -> Answer {
        let what = format!("{}: {}", self.play, message.to);
        let soon = self.found(&self.now, message).await;
        match self.found(&self.later, message).await {
            Finding::Sent { provider_id } => {
                assert!(provider_id.is_some(), "{what}");
                assert_eq!(soon, Finding::Sent { provider_id: provider_id.clone() }, "{what}");
                Answer::Sent { provider_id }
            }
            Finding::Absent => {
                let expected = match self.play.kind.name {
                    "twilio" => Finding::Unsure("too soon to be listed"),
                    // Nothing is said of how late its list may be: it is taken as it is.
                    _ => Finding::Absent,
                };
                assert_eq!(soon, expected, "{what}");
                Answer::NotStarted
            }
            other => panic!("{what}: {other:?}"),
        }
    }

    /// Asks until faults let an answer through.
    async fn found(&self, adapter: &Adapter, message: &OutMessage) -> Finding {
        for _ in 0..TRIES_MAX {
            match adapter.look_up(message, self.since, &|| true).await {
                Finding::Failed(_) | Finding::NotStarted => {}
                found => return found,
            }
        }
        panic!("{}: {} cannot be asked for", self.play, message.to);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_doubt_is_settled_as_the_kind_says() {
    // All at once: most of the time is spent in waiting for what does not come.
    futures::future::join_all(plays_and_others().map(check)).await;
}

async fn check(play: Play) {
    let since = Clock::system().now();
    let sim = play.simulator(Config { faults: faults(), seed: 3, ..Config::default() });
    let said = play.send(play.adapter(&sim, &patient(Clock::system())), MESSAGES).await;
    play.judge(&sim, &said);
    let before = sim.stats();

    let now = play.adapter(&sim, &patient(Clock::manual(since)));
    let later = play.adapter(&sim, &patient(Clock::manual(since + TimeDelta::minutes(10))));
    let doubtful = Doubtful { play, sim, since, now, later };
    let settling = stream::iter(said).map(async |(message, answer)| {
        let in_doubt = is(&answer, FailureKind::Unknown);
        let settled = if in_doubt { doubtful.settle(&message).await } else { None };
        let taken = settled.as_ref().map(is_accepted);
        ((message, settled.unwrap_or(answer)), taken)
    });
    let (said, settled): (Said, Vec<Option<bool>>) = settling.buffer_unordered(AT_ONCE).unzip().await;
    let count = |sought: bool| settled.iter().filter(|taken| **taken == Some(sought)).count();
    let (taken, not_taken) = (count(true), count(false));

    let Doubtful { play, sim, .. } = doubtful;
    let (kinds, after) = (play.judge(&sim, &said), sim.stats());
    let what = format!("{play}, seed 3: {taken} taken, {not_taken} not, {kinds:?} {after:?}");
    let sent = kinds.get("sent").copied().unwrap_or_default();
    assert!((1..MESSAGES / 2).contains(&(MESSAGES - sent)), "{what}");
    let unknown = kinds.get("Unknown").copied().unwrap_or_default();
    match play.kind.doubt {
        Doubt::Repeat => assert!(taken > 0 && unknown == 0 && after.repeats_answered > 0, "{what}"),
        Doubt::LookUp => assert!(taken > 0 && not_taken > 0 && unknown == 0, "{what}"),
        Doubt::Receipt | Doubt::Policy => assert!(unknown > 0 && after.requests == before.requests, "{what}"),
    }
    if play.kind.doubt != Doubt::Repeat {
        assert_eq!(after.accepted, before.accepted, "asking sends nothing: {what}");
    }
}
