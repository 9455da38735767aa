//! Under faults, an adapter is to be believed: accepted once if it says so, not at all if it says that, and at
//! most once if it cannot tell.

use fanfare_sim::Config;

use super::{MESSAGES, faults, hasty, plays_and_others};

#[tokio::test]
async fn what_is_said_of_a_message_is_what_became_of_it() {
    for play in plays_and_others() {
        let sim = play.simulator(Config { faults: faults(), seed: 11, ..Config::default() });
        let said = play.send(play.adapter(&sim, &hasty()), MESSAGES).await;
        let kinds = play.judge(&sim, &said);
        let what = format!("{play}, seed 11: {kinds:?} {:?}", sim.stats());
        let least = [("sent", MESSAGES / 2), ("PermanentRecipient", 5), ("Throttled", 5), ("Unknown", 20)];
        for (kind, least) in least {
            assert!(kinds.get(kind).is_some_and(|n| *n >= least), "{kind}: {what}");
        }
        assert!(!kinds.contains_key("not started"), "{what}");
        assert!(sim.stats().by_fault.len() >= 10, "{what}");
        // A login is a request of its own, and a mail server is tried again as long as nothing is handed over.
        if play.kind.name != "smtp" && play.account["settings"]["email"].is_null() {
            assert_eq!(sim.stats().requests, MESSAGES as u64, "nothing is repeated: {what}");
        }
    }
}
