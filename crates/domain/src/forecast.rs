//! How long accounts take together, and which of them sends how much.

use crate::cap::Cap;
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

impl Forecast {
    /// The same where the messages are sent at no more than this rate, if there is one. Which account sends how much
    /// is taken to be as without it.
    pub fn at_most(self, rate: Option<Cap>) -> Self {
        let messages: u64 = self.messages.iter().sum();
        let own = rate.map(|rate| messages as f64 * rate.per_us as f64 / 1e6 / rate.count as f64);
        Self { seconds: self.seconds.into_iter().chain(own).reduce(f64::max), ..self }
    }
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
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Load {
    /// The campaign's weight.
    pub weight: i32,
    /// What it has of other campaigns.
    pub others: Vec<Other>,
}

/// What an account has to send of another campaign.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Other {
    /// Messages that are left.
    pub messages: u64,
    /// That campaign's weight.
    pub weight: i32,
    /// How many go through the account in a second, at most, where that campaign has a rate of its own.
    pub per_second: Option<f64>,
}

impl Other {
    /// Messages of it that are sent in so many seconds, in which each unit of weight has had `turn` messages.
    fn sent(&self, turn: f64, seconds: f64) -> f64 {
        let by_pace = self.per_second.map_or(f64::INFINITY, |rate| rate * seconds);
        (self.messages as f64).min(turn * f64::from(self.weight)).min(by_pace)
    }
}

impl Load {
    /// Messages that the account sends in all until `ours` of the campaign are sent, after so many seconds: all are
    /// served by their weights, until they have nothing left.
    fn needed(&self, ours: f64, seconds: f64) -> f64 {
        let turn = ours / f64::from(self.weight.max(1));
        ours + self.others.iter().map(|other| other.sent(turn, seconds)).sum::<f64>()
    }

    /// Seconds until `ours` of the campaign are sent at this pace.
    fn seconds_for(&self, ours: f64, pace: &Pace) -> f64 {
        let mut seconds = f64::INFINITY;
        // The sooner it is done, the less others send meanwhile that keep to a rate.
        for _ in 0..64 {
            let sooner = pace.seconds_for(self.needed(ours, seconds).ceil() as u64);
            if sooner >= seconds {
                break;
            }
            seconds = sooner;
        }
        seconds
    }

    /// Messages of the campaign among those that the account sends in so many seconds at this pace.
    fn ours(&self, pace: &Pace, seconds: f64) -> f64 {
        let all = pace.sends_within(seconds);
        let (mut low, mut high) = (0.0, all);
        for _ in 0..64 {
            let middle = (low + high) / 2.0;
            if self.needed(middle, seconds) < all { low = middle } else { high = middle }
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
        let sent = |seconds: f64| beside().map(|(pace, load)| load.ours(pace, seconds)).collect::<Vec<_>>();
        let (mut low, mut high) = (0.0, f64::from(DAYS_MAX) * DAY_SECONDS);
        for _ in 0..64 {
            let middle = (low + high) / 2.0;
            if sent(middle).iter().sum::<f64>() < messages as f64 { low = middle } else { high = middle }
        }
        return Forecast { seconds: Some(high), messages: split(messages, &sent(high)) };
    }
    let of_each = beside().zip(&idle.messages).filter(|(_, ours)| **ours > 0);
    let seconds = of_each.map(|((pace, load), ours)| load.seconds_for(*ours as f64, pace));
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

    fn other((messages, weight): (u64, i32)) -> Other {
        Other { messages, weight, per_second: None }
    }

    #[test]
    fn a_rate_of_its_own_sets_the_end_where_the_accounts_would_be_faster() {
        let rate = |text: &str| Some(text.parse().unwrap());
        let free = || forecast(Sharing::Together, &[(pace(&[]), 1)], 1_000);
        assert_eq!(free().at_most(None).seconds, None);
        assert_eq!(free().at_most(rate("50/s")).seconds, Some(20.0));
        assert_eq!(free().at_most(rate("600/h")).seconds, Some(6_000.0));
        let capped = forecast(Sharing::Together, &[(pace(&["10/s"]), 1), (pace(&["10/s"]), 1)], 1_000);
        assert!(capped.seconds.is_some_and(|s| (50.0..55.0).contains(&s)), "{capped:?}");
        assert_eq!(capped.clone().at_most(rate("50/s")), capped);
        assert_eq!(capped.at_most(rate("10/s")).seconds, Some(100.0));
    }

    #[test]
    fn another_campaign_that_keeps_a_rate_takes_no_more_than_that_of_an_account() {
        let one = [(pace(&["100/s"]), 1)];
        let alone = forecast(Sharing::Together, &one, 1_000).seconds.unwrap();
        let beside = |rate| {
            let paced = Other { per_second: Some(rate), ..other((90_000, 1)) };
            let load = Load { weight: 1, others: vec![paced] };
            forecast_beside(Sharing::Together, &one, &[load], 1_000).seconds.unwrap() / alone
        };
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 0.02, "{found}, not {expected}");
        near(beside(10.0), 1.0 / 0.9);
        near(beside(0.001), 1.0);
        near(beside(80.0), 2.0);
        let two = [(pace(&["100/s"]), 1), (pace(&["100/s"]), 1)];
        let paced = Other { per_second: Some(20.0), ..other((90_000, 1)) };
        let loads = [Load { weight: 1, others: vec![paced] }, Load { weight: 1, others: vec![] }];
        let together = forecast_beside(Sharing::Together, &two, &loads, 1_800);
        near(together.seconds.unwrap() / alone, 1.0);
    }

    #[test]
    fn other_campaigns_of_an_account_take_their_turns_until_they_are_done() {
        let one = [(pace(&["100/s"]), 1)];
        let alone = forecast(Sharing::Together, &one, 1_000).seconds.unwrap();
        let beside = |weight, others: &[(u64, i32)]| {
            let load = Load { weight, others: others.iter().copied().map(other).collect() };
            forecast_beside(Sharing::Together, &one, &[load], 1_000).seconds.unwrap() / alone
        };
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 0.01, "{found}, not {expected}");
        near(beside(1, &[]), 1.0);
        near(beside(1, &[(5_000, 1)]), 2.0);
        near(beside(3, &[(5_000, 1)]), 4.0 / 3.0);
        near(beside(1, &[(200, 1)]), 1.2);
        near(beside(1, &[(200, 1), (9_000, 2)]), 3.2);
        let two = [(pace(&["100/s"]), 1), (pace(&["100/s"]), 1)];
        let loads = [Load { weight: 1, others: vec![other((90_000, 1))] }, Load { weight: 1, others: vec![] }];
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
