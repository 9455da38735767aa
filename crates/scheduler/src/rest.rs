//! The rest of a campaign, after its first part: whether it goes on, and what it says.

use fanfare_domain::state::{Measure, PausedReason, RunKind};
use fanfare_store::campaigns::Campaign;
use fanfare_store::first_part::{self, DueRest, FirstPart};
use fanfare_store::reports::{self, ArmCounts};
use fanfare_store::runs::RunArm;
use fanfare_store::transitions::SCHEDULER;
use fanfare_store::tx::run_tx;
use fanfare_store::{Error, PgConnection, Result, Store, campaigns};

use crate::first::First;
use crate::run::{Particulars, as_frozen, begin, begin_cancelled};

/// Begins the rest of every first part that is over for as long as was asked for. Two schedulers never begin
/// the same one.
///
/// # Errors
/// When the database fails.
pub async fn begin_due(store: &Store) -> Result<()> {
    let due = first_part::due(&mut *store.pool.acquire().await?, store.clock.now()).await?;
    for rest in due {
        match run_tx("begin rest", || begin_one(store, &rest)).await {
            Ok(Some((run_id, None))) => tracing::info!(run_id, parent = rest.run_id, "the rest goes on"),
            Ok(Some((run_id, Some(why)))) => tracing::warn!(run_id, parent = rest.run_id, why, "the rest is held"),
            Ok(None) => {}
            Err(error) => tracing::error!(parent = rest.run_id, ?error, "cannot begin the rest"),
        }
    }
    Ok(())
}

async fn begin_one(store: &Store, rest: &DueRest) -> Result<Option<(i64, Option<String>)>> {
    let mut tx = store.pool.begin().await?;
    let campaign = campaigns::get(&mut tx, rest.workspace_id, &rest.campaign).await?;
    campaigns::lock(&mut tx, rest.workspace_id, campaign.campaign_id).await?;
    let campaign = as_frozen(&mut tx, rest.workspace_id, campaign, rest.run_id).await?;
    let Some(part) = campaign.first_part else { return Ok(None) };
    let counts = reports::by_arm(&mut tx, rest.workspace_id, rest.run_id).await?;
    let why = objection(part, &counts);
    let frozen = fanfare_store::arms::of_run(&mut tx, rest.workspace_id, rest.run_id).await?;
    let arms = match part.measure() {
        Some(measure) => vec![RunArm { weight: 1, ..winner(&frozen, &counts, measure) }],
        None => frozen,
    };
    let particulars = Particulars {
        kind: RunKind::Rest,
        actor: SCHEDULER,
        arms: &arms,
        parent_run_id: rest.run_id,
        step: None,
        cohort: &[],
        part: Some(First::rest(rest.part_to)),
        planned: rest.planned,
        held: why.is_some().then_some(PausedReason::FirstPart),
    };
    let run_id = match begin(&mut tx, store, rest.workspace_id, &campaign, particulars).await {
        Err(Error::Conflict(_)) => return Ok(None),
        done => done?,
    };
    if let Some(why) = &why {
        fanfare_store::runs::say_why(&mut tx, rest.workspace_id, run_id, why).await?;
    }
    tx.commit().await?;
    Ok(Some((run_id, why)))
}

/// Writes down that the first parts of a campaign, whose lock the caller holds, are followed by nothing: a rest that
/// is cancelled before it began. Gives their runs.
///
/// # Errors
/// When the database fails.
pub(crate) async fn forgo(
    c: &mut PgConnection,
    store: &Store,
    workspace_id: i32,
    campaign: &Campaign,
) -> Result<Vec<i64>> {
    let mut runs = Vec::new();
    for rest in first_part::awaited(c, (workspace_id, campaign.campaign_id)).await? {
        let arms = fanfare_store::arms::of_run(c, workspace_id, rest.run_id).await?;
        let particulars = Particulars {
            kind: RunKind::Rest,
            actor: &store.actor,
            arms: &arms,
            parent_run_id: rest.run_id,
            step: None,
            cohort: &[],
            part: Some(First::rest(rest.part_to)),
            planned: rest.planned,
            held: Some(PausedReason::Person),
        };
        runs.push(begin_cancelled(c, store, workspace_id, campaign, particulars).await?);
    }
    Ok(runs)
}

/// What the first part has against the rest.
fn objection(part: FirstPart, counts: &[ArmCounts]) -> Option<String> {
    let sum = |of: fn(&ArmCounts) -> i64| counts.iter().map(of).sum::<i64>();
    let (messages, sent) = (sum(|c| c.messages), sum(|c| c.sent));
    let failed = sum(|c| c.failed) + sum(|c| c.undelivered);
    let over = |n: i64, of: i64, limit: Option<i32>| limit.is_some_and(|limit| n * 1000 > of * i64::from(limit));
    let permille = |limit: Option<i32>| f64::from(limit.unwrap_or_default()) / 10.0;
    if over(failed, messages, part.failed_permille) {
        let limit = permille(part.failed_permille);
        return Some(format!("{failed} of {messages} failed, more than {limit} %"));
    }
    let opted_out = sum(|c| c.opted_out);
    if over(opted_out, sent, part.opted_out_permille) {
        let limit = permille(part.opted_out_permille);
        return Some(format!("{opted_out} of {sent} opted out, more than {limit} %"));
    }
    None
}

/// The arm whose messages fared best, of those sent; the first of several that fared alike.
fn winner(arms: &[RunArm], counts: &[ArmCounts], measure: Measure) -> RunArm {
    let won = |c: &ArmCounts| match measure {
        Measure::Delivered => c.delivered,
        Measure::Read => c.read,
        Measure::Replied => c.replied,
        Measure::Confirmed => c.confirmed,
    };
    let of = |arm: usize| counts.iter().find(|c| usize::try_from(c.arm) == Ok(arm)).copied().unwrap_or_default();
    let better = |a: ArmCounts, b: ArmCounts| won(&a) * b.sent.max(1) > won(&b) * a.sent.max(1);
    let best = (1..arms.len()).fold(0, |best, arm| if better(of(arm), of(best)) { arm } else { best });
    // A run has one at least.
    arms[best]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(arm: i16, sent: i64, read: i64) -> ArmCounts {
        ArmCounts { arm, messages: sent, sent, read, ..ArmCounts::default() }
    }

    #[test]
    fn the_arm_with_the_best_part_wins_not_the_largest() {
        let arms = [10, 20, 30].map(|template_id| RunArm { template_id, version: 1, weight: 1 });
        let best = |counts: &[ArmCounts]| winner(&arms, counts, Measure::Read).template_id;
        assert_eq!(best(&[counts(0, 1_000, 300), counts(1, 100, 40), counts(2, 500, 190)]), 20);
        assert_eq!(best(&[counts(0, 100, 10), counts(2, 100, 10)]), 10, "the first of equals");
        assert_eq!(best(&[counts(0, 0, 0), counts(2, 100, 1)]), 30);
        assert_eq!(best(&[]), 10);
    }

    #[test]
    fn the_rest_is_held_beyond_a_limit_and_not_at_it() {
        let mut part = FirstPart::new(Some(100_000), None);
        let failing = |failed| [ArmCounts { messages: 200, sent: 200 - failed, failed, ..ArmCounts::default() }];
        assert_eq!(objection(part, &failing(200)), None, "no limit");
        part.failed_permille = Some(50);
        assert_eq!(objection(part, &failing(10)), None);
        assert_eq!(objection(part, &failing(11)).as_deref(), Some("11 of 200 failed, more than 5 %"));
        part.opted_out_permille = Some(10);
        let leaving = |opted_out| [ArmCounts { messages: 200, sent: 200, opted_out, ..ArmCounts::default() }];
        assert_eq!(objection(part, &leaving(2)), None);
        assert_eq!(objection(part, &leaving(3)).as_deref(), Some("3 of 200 opted out, more than 1 %"));
    }
}
