//! How long accounts take together, and which of them sends how much.

use crate::limits::DAY_US;
use crate::pace::Pace;
use crate::state::Sharing;

const DAY_SECONDS: f64 = DAY_US as f64 / 1e6;
/// What takes longer than this many days is not forecast.
const DAYS_MAX: u32 = 36_500;

/// What is to be expected of a run's accounts.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// Seconds until the last message; `None` if nothing limits them, or it would take a century.
    pub seconds: Option<f64>,
    /// Messages through each account.
    pub messages: Vec<u64>,
}

/// What is to be expected when idle accounts, each with its pace and share, send `messages`.
pub fn forecast(sharing: Sharing, accounts: &[(Pace, i32)], messages: u64) -> Forecast {
    if let [(pace, _)] = accounts {
        return Forecast { seconds: pace.is_limited().then(|| pace.seconds_for(messages)), messages: vec![messages] };
    }
    match sharing {
        Sharing::Together => together(accounts, messages),
        Sharing::Shares => by_shares(accounts, messages),
        Sharing::InOrder => in_order(accounts, messages),
    }
}

/// What else an account has to send, beside a campaign of this weight.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load {
    /// The campaign's weight.
    pub weight: i32,
    /// Messages of other campaigns, each with its weight.
    pub others: Vec<(u64, i32)>,
}

impl Load {
    /// Messages that the account sends in all until `ours` of the campaign are sent: all are served by their
    /// weights, until they have nothing left.
    fn needed(&self, ours: f64) -> f64 {
        let turn = ours / f64::from(self.weight.max(1));
        ours + self.others.iter().map(|(left, weight)| (*left as f64).min(turn * f64::from(*weight))).sum::<f64>()
    }

    /// Messages of the campaign among the first `all` that the account sends.
    fn ours(&self, all: f64) -> f64 {
        let (mut low, mut high) = (0.0, all);
        for _ in 0..64 {
            let middle = (low + high) / 2.0;
            if self.needed(middle) < all { low = middle } else { high = middle }
        }
        high
    }
}

/// The same for accounts that have other campaigns to send as well. How accounts divide a campaign by shares or in
/// order is taken to be as if they were idle.
pub fn forecast_beside(sharing: Sharing, accounts: &[(Pace, i32)], loads: &[Load], messages: u64) -> Forecast {
    let idle = forecast(sharing, accounts, messages);
    if loads.iter().all(|load| load.others.is_empty()) || idle.seconds.is_none() {
        return idle;
    }
    let beside = || accounts.iter().map(|(pace, _)| pace).zip(loads);
    if sharing == Sharing::Together && accounts.len() > 1 {
        let sent =
            |seconds: f64| beside().map(|(pace, load)| load.ours(pace.sends_within(seconds))).collect::<Vec<_>>();
        let (mut low, mut high) = (0.0, f64::from(DAYS_MAX) * DAY_SECONDS);
        for _ in 0..64 {
            let middle = (low + high) / 2.0;
            if sent(middle).iter().sum::<f64>() < messages as f64 { low = middle } else { high = middle }
        }
        return Forecast { seconds: Some(high), messages: split(messages, &sent(high)) };
    }
    let of_each = beside().zip(&idle.messages).filter(|(_, ours)| **ours > 0);
    let seconds = of_each.map(|((pace, load), ours)| pace.seconds_for(load.needed(*ours as f64).ceil() as u64));
    Forecast { seconds: Some(seconds.fold(0.0, f64::max)), ..idle }
}

/// The fastest sends most. Of several without a limit none is known to be faster.
fn together(accounts: &[(Pace, i32)], messages: u64) -> Forecast {
    let unlimited = accounts.iter().filter(|(pace, _)| !pace.is_limited()).count();
    if unlimited > 0 {
        let parts: Vec<f64> = accounts.iter().map(|(pace, _)| f64::from(u8::from(!pace.is_limited()))).collect();
        return Forecast { seconds: None, messages: split(messages, &parts) };
    }
    let sent = |seconds: f64| accounts.iter().map(|(pace, _)| pace.sends_within(seconds)).sum::<f64>();
    let (mut low, mut high) = (0.0, f64::from(DAYS_MAX) * DAY_SECONDS);
    if sent(high) < messages as f64 {
        return Forecast { seconds: None, messages: split(messages, &vec![1.0; accounts.len()]) };
    }
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if sent(middle) < messages as f64 { low = middle } else { high = middle }
    }
    let parts: Vec<f64> = accounts.iter().map(|(pace, _)| pace.sends_within(high)).collect();
    Forecast { seconds: Some(high), messages: split(messages, &parts) }
}

/// Each its part, the slowest sets the pace; what the day of one leaves is the others'.
fn by_shares(accounts: &[(Pace, i32)], messages: u64) -> Forecast {
    let (mut left, mut sent) = (messages, vec![0; accounts.len()]);
    for day in 0..DAYS_MAX {
        let takes = shares_of_day(accounts, day, left);
        // Whose slots do not suffice for its part of the day keeps the others waiting.
        let slots = accounts.iter().zip(&takes).filter(|(_, take)| **take > 0);
        let part = slots.map(|((pace, _), take)| pace.slots_from(0.0) as f64 / *take as f64).fold(1.0, f64::min);
        let takes: Vec<u64> = takes.iter().map(|take| (*take as f64 * part) as u64).collect();
        sent.iter_mut().zip(&takes).for_each(|(sent, take)| *sent += take);
        left -= takes.iter().sum::<u64>();
        if left == 0 {
            let slowest = accounts.iter().zip(&takes).map(|((pace, _), take)| pace.slotted(*take)).fold(0.0, f64::max);
            let limited = day > 0 || accounts.iter().any(|(pace, _)| pace.is_limited());
            return Forecast { seconds: limited.then_some(f64::from(day) * DAY_SECONDS + slowest), messages: sent };
        }
    }
    // The rest would come after a century.
    sent[0] += left;
    Forecast { seconds: None, messages: sent }
}

/// What each account takes of `left` on a day: its part, as far as the day lets it, and of what another's day
/// leaves, its part again.
fn shares_of_day(accounts: &[(Pace, i32)], day: u32, left: u64) -> Vec<u64> {
    let rooms: Vec<u64> = accounts.iter().map(|(pace, _)| pace.day_room(day)).collect();
    let (mut takes, mut rest) = (vec![0; accounts.len()], left);
    loop {
        let open = |(i, (_, share)): (usize, &(Pace, i32))| if takes[i] < rooms[i] { f64::from(*share) } else { 0.0 };
        let parts: Vec<f64> = accounts.iter().enumerate().map(open).collect();
        if rest == 0 || parts.iter().all(|part| *part == 0.0) {
            return takes;
        }
        for (i, part) in split(rest, &parts).into_iter().enumerate() {
            let take = part.min(rooms[i] - takes[i]);
            takes[i] += take;
            rest -= take;
        }
    }
}

/// Each what the earlier ones leave of a day, once they have come to its end.
fn in_order(accounts: &[(Pace, i32)], messages: u64) -> Forecast {
    let (mut left, mut sent) = (messages, vec![0; accounts.len()]);
    for day in 0..DAYS_MAX {
        let mut time = 0.0;
        for (i, (pace, _)) in accounts.iter().enumerate() {
            let take = left.min(pace.day_room(day)).min(pace.slots_from(time));
            time += pace.slotted(take);
            sent[i] += take;
            left -= take;
            if left == 0 {
                let limited = day > 0 || accounts[..=i].iter().any(|(pace, _)| pace.is_limited());
                let seconds = f64::from(day) * DAY_SECONDS + time;
                return Forecast { seconds: limited.then_some(seconds), messages: sent };
            }
            // It can send all day long, and goes on tomorrow.
            if take < pace.day_room(day) {
                break;
            }
        }
    }
    // The rest would come after a century.
    sent[0] += left;
    Forecast { seconds: None, messages: sent }
}

/// Divides `messages` in proportion to `parts`, exactly: what rounding leaves goes to the first.
fn split(messages: u64, parts: &[f64]) -> Vec<u64> {
    let all: f64 = parts.iter().sum();
    let mut of_each: Vec<u64> = parts.iter().map(|part| (messages as f64 * part / all) as u64).collect();
    let given: u64 = of_each.iter().sum();
    if let Some(first) = of_each.iter_mut().zip(parts).find(|(_, part)| **part > 0.0) {
        *first.0 += messages.saturating_sub(given);
    }
    of_each
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(caps: &[&str]) -> Pace {
        Pace::of(&caps.iter().map(|c| c.parse().unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn other_campaigns_of_an_account_take_their_turns_until_they_are_done() {
        let one = [(pace(&["100/s"]), 1)];
        let alone = forecast(Sharing::Together, &one, 1_000).seconds.unwrap();
        let beside = |weight, others: &[(u64, i32)]| {
            let load = Load { weight, others: others.to_vec() };
            forecast_beside(Sharing::Together, &one, &[load], 1_000).seconds.unwrap() / alone
        };
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 0.01, "{found}, not {expected}");
        near(beside(1, &[]), 1.0);
        near(beside(1, &[(5_000, 1)]), 2.0);
        near(beside(3, &[(5_000, 1)]), 4.0 / 3.0);
        near(beside(1, &[(200, 1)]), 1.2);
        near(beside(1, &[(200, 1), (9_000, 2)]), 3.2);
        let two = [(pace(&["100/s"]), 1), (pace(&["100/s"]), 1)];
        let loads = [Load { weight: 1, others: vec![(90_000, 1)] }, Load { weight: 1, others: vec![] }];
        let together = forecast_beside(Sharing::Together, &two, &loads, 3_000);
        near(together.seconds.unwrap() / alone, 2.0);
        assert!((990..=1_010).contains(&together.messages[0]), "{together:?}");
    }

    #[test]
    fn together_the_fastest_sends_most() {
        let f = forecast(Sharing::Together, &[(pace(&["300/s"]), 1), (pace(&["100/s"]), 1)], 40_000);
        let seconds = f.seconds.unwrap();
        assert!((100.0..110.0).contains(&seconds), "{seconds}");
        assert_eq!(f.messages.iter().sum::<u64>(), 40_000);
        assert!((29_900..30_100).contains(&f.messages[0]), "{f:?}");
        let free = forecast(Sharing::Together, &[(pace(&["300/s"]), 1), (pace(&[]), 1)], 100);
        assert_eq!(free, Forecast { seconds: None, messages: vec![0, 100] });
    }

    #[test]
    fn shares_divide_and_the_slowest_sets_the_end() {
        let f = forecast(Sharing::Shares, &[(pace(&["1000/s"]), 3), (pace(&["10/s"]), 1)], 4_000);
        assert_eq!(f.messages, [3_000, 1_000]);
        assert!(f.seconds.unwrap() > 100.0, "{f:?}");
    }

    #[test]
    fn what_the_day_of_one_leaves_of_its_share_is_the_others() {
        let f = forecast(Sharing::Shares, &[(pace(&["20/d"]), 3), (pace(&["1/s"]), 1)], 43);
        assert_eq!(f.messages, [20, 23]);
        assert!(f.seconds.is_some_and(|s| s < 60.0), "{f:?}");
        let both = forecast(Sharing::Shares, &[(pace(&["20/d"]), 3), (pace(&["30/d"]), 1)], 70);
        assert_eq!(both.messages.iter().sum::<u64>(), 70);
        assert_eq!(both.seconds, Some(86_400.0), "{both:?}");
        let slow = forecast(Sharing::Shares, &[(pace(&["100/h", "5000/d"]), 1), (pace(&[]), 1)], 9_600);
        assert!((2.0 * 86_400.0 - 1_000.0..2.1 * 86_400.0).contains(&slow.seconds.unwrap()), "{slow:?}");
    }

    #[test]
    fn in_order_the_next_account_takes_what_the_day_of_the_first_leaves() {
        let f = forecast(Sharing::InOrder, &[(pace(&["250/d"]), 1), (pace(&["1/s", "1000/d"]), 1)], 2_500);
        assert_eq!(f.messages, [500, 2_000]);
        assert!((86_400.0 + 1_000.0..86_400.0 + 1_100.0).contains(&f.seconds.unwrap()), "{f:?}");
        let all_by_the_first = forecast(Sharing::InOrder, &[(pace(&["10/s"]), 1), (pace(&[]), 1)], 1_000);
        assert_eq!(all_by_the_first.messages, [1_000, 0]);
        let for_days = forecast(Sharing::InOrder, &[(pace(&["10/s"]), 1), (pace(&[]), 1)], 2_000_000);
        assert_eq!(for_days.messages, [2_000_000, 0], "its slots never come to an end");
        assert!((200_000.0..210_000.0).contains(&for_days.seconds.unwrap()), "{for_days:?}");
    }
}
