//! When messages are sent that may not be at any time: what a plan says of waves.

use chrono::{DateTime, TimeDelta, Utc};

use crate::hours::Window;
use crate::limits::HOURS_MARGIN;

/// Steps after which a run is taken to have no end.
const STEPS_MAX: u32 = 200_000;

/// Messages of one wave in a stretch of the audience. Stretches are sent in their order, as far as they are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Number of the wave.
    pub wave: usize,
    /// How many.
    pub messages: u64,
}

/// When a wave is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Course {
    /// Its first message; `None` if there is none before its expiry.
    pub starts_at: Option<DateTime<Utc>>,
    /// Its last one; `None` if some are not sent.
    pub finishes_at: Option<DateTime<Utc>>,
    /// How many are not, by their expiry.
    pub expired: u64,
}

/// The courses of `waves` waves whose messages are sent one after the other, `per_second` of them or at once,
/// each while its window is open, from `from` until `expires_at`. `next` says the window of a wave that is
/// open at an instant, or the next.
pub fn spread(
    stretches: &[Stretch],
    waves: usize,
    per_second: Option<f64>,
    (from, expires_at): (DateTime<Utc>, Option<DateTime<Utc>>),
    next: impl Fn(usize, DateTime<Utc>) -> Option<Window>,
) -> Vec<Course> {
    let mut run = Run {
        from,
        now_s: 0.0,
        end_s: expires_at.map_or(f64::INFINITY, |at| (at - from).as_seconds_f64()),
        left: stretches.iter().map(|s| s.messages as f64).collect(),
        windows: vec![(f64::NEG_INFINITY, f64::NEG_INFINITY); waves],
        courses: vec![Course::default(); waves],
    };
    for _ in 0..STEPS_MAX {
        if !run.step(stretches, per_second, &next) {
            break;
        }
    }
    for (stretch, left) in stretches.iter().zip(&run.left).filter(|(_, left)| **left > 0.0) {
        let course = &mut run.courses[stretch.wave];
        course.expired += left.ceil() as u64;
        course.finishes_at = None;
    }
    run.courses
}

/// How far it is. Times are seconds from the start.
struct Run {
    from: DateTime<Utc>,
    now_s: f64,
    end_s: f64,
    left: Vec<f64>,
    windows: Vec<(f64, f64)>,
    courses: Vec<Course>,
}

impl Run {
    /// Until something is done, opens or shuts; false at the end.
    fn step(
        &mut self,
        stretches: &[Stretch],
        per_second: Option<f64>,
        next: impl Fn(usize, DateTime<Utc>) -> Option<Window>,
    ) -> bool {
        if self.now_s >= self.end_s {
            return false;
        }
        let mut until = self.end_s;
        let mut first = None;
        for (i, stretch) in stretches.iter().enumerate() {
            if self.left[i] <= 0.0 {
                continue;
            }
            let (opens, shuts) = self.window(stretch.wave, &next);
            if opens <= self.now_s {
                until = until.min(shuts);
                first = Some(i);
                break;
            }
            until = until.min(opens);
        }
        let Some(i) = first else {
            // Nothing is open: on to the next opening.
            let more = until < self.end_s;
            self.now_s = until;
            return more;
        };
        let wave = stretches[i].wave;
        let begins = self.at(self.now_s);
        let takes = per_second.map_or(0.0, |rate| self.left[i] / rate);
        let done = self.now_s + takes <= until;
        self.left[i] = if done { 0.0 } else { self.left[i] - (until - self.now_s) * per_second.unwrap_or(0.0) };
        self.now_s = if done { self.now_s + takes } else { until };
        let ends = self.at(self.now_s);
        let course = &mut self.courses[wave];
        course.starts_at.get_or_insert(begins);
        course.finishes_at = Some(ends);
        true
    }

    /// Opening and shutting of the wave's window, that is open now or next.
    fn window(&mut self, wave: usize, next: impl Fn(usize, DateTime<Utc>) -> Option<Window>) -> (f64, f64) {
        if self.windows[wave].1 <= self.now_s {
            let margin = if self.windows[wave].1.is_finite() { HOURS_MARGIN.as_secs_f64() } else { 0.0 };
            let from = self.from;
            let seconds = |at: DateTime<Utc>| (at - from).as_seconds_f64();
            self.windows[wave] = match next(wave, self.at(self.now_s + margin)) {
                Some(Window { opens, closes }) => {
                    let shuts = closes.map_or(f64::INFINITY, |at| seconds(at) - HOURS_MARGIN.as_secs_f64());
                    (seconds(opens).max(self.now_s), shuts)
                }
                None => (f64::INFINITY, f64::INFINITY),
            };
        }
        self.windows[wave]
    }

    /// Rounded up: what starts with its window is not shown to start before it.
    fn at(&self, seconds: f64) -> DateTime<Utc> {
        let after = TimeDelta::try_milliseconds((seconds * 1e3).ceil() as i64);
        after.and_then(|after| self.from.checked_add_signed(after)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hours::Hours;
    use crate::zone;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// Waves of Algiers, New York and Tokyo, from noon of Algiers on.
    fn course(open: &str, stretches: &[(usize, u64)], per_second: f64, expires: Option<&str>) -> Vec<[String; 3]> {
        let zones = ["Africa/Algiers", "America/New_York", "Asia/Tokyo"].map(|name| zone::parse(name).unwrap());
        let hours: Hours = open.parse().unwrap();
        let stretches: Vec<Stretch> =
            stretches.iter().map(|(wave, messages)| Stretch { wave: *wave, messages: *messages }).collect();
        let when = (at("2026-11-23T11:00:00Z"), expires.map(at));
        let next = |wave: usize, from| hours.next(zones[wave], from);
        let shown = |at: Option<DateTime<Utc>>| at.map_or("-".to_owned(), |at| at.format("%dT%H:%M:%S").to_string());
        let rate = (per_second > 0.0).then_some(per_second);
        let courses = spread(&stretches, zones.len(), rate, when, next);
        courses.into_iter().map(|c| [shown(c.starts_at), shown(c.finishes_at), c.expired.to_string()]).collect()
    }

    #[test]
    fn each_wave_is_sent_while_it_is_open_and_the_earlier_stretch_first() {
        let all = [(0, 3_600), (1, 3_600), (2, 3_600)];
        // Noon in Algiers, 06:00 in New York, 20:00 in Tokyo.
        assert_eq!(
            course("09:00-18:00", &all, 1.0, None),
            [
                ["23T11:00:00", "23T12:00:00", "0"],
                ["23T14:00:00", "23T15:00:00", "0"],
                ["24T00:00:00", "24T01:00:00", "0"]
            ]
        );
        // What cannot be done before the evening goes on in the morning, a little after the closing's margin.
        assert_eq!(course("09:00-18:00", &[(0, 21_600 + 594)], 1.0, None)[0], ["23T11:00:00", "24T08:10:00", "0"]);
        // Without a limit.
        assert_eq!(course("09:00-18:00", &all, 0.0, None)[1], ["23T14:00:00", "23T14:00:00", "0"]);
        // Two at a time share the rate by their order.
        let both = course("00:00-24:00", &[(0, 60), (1, 60), (0, 60)], 1.0, None);
        assert_eq!(both[..2], [["23T11:00:00", "23T11:03:00", "0"], ["23T11:01:00", "23T11:02:00", "0"]]);
        assert_eq!(both[2], ["-", "-", "0"]);
    }

    #[test]
    fn nothing_starts_before_its_window_whatever_the_fraction_of_the_start() {
        let hours: Hours = "09:00-18:00".parse().unwrap();
        let one = [Stretch { wave: 0, messages: 1 }];
        let next = |_, from| hours.next(chrono_tz::Tz::UTC, from);
        for start in ["2026-11-23T01:00:00.000300Z", "2026-11-23T01:00:00.999999Z", "2026-11-23T08:59:59.123456Z"] {
            let starts = spread(&one, 1, Some(10.0), (at(start), None), next)[0].starts_at.unwrap();
            let late = starts - at("2026-11-23T09:00:00Z");
            assert!(late >= TimeDelta::zero() && late <= TimeDelta::milliseconds(2), "{start}: {starts}");
        }
    }

    #[test]
    fn what_opens_too_late_expires() {
        let all = [(0, 3_600), (1, 7_200), (2, 10)];
        assert_eq!(
            course("09:00-18:00", &all, 1.0, Some("2026-11-23T15:00:00Z")),
            [["23T11:00:00", "23T12:00:00", "0"], ["23T14:00:00", "-", "3600"], ["-", "-", "10"]]
        );
    }
}
