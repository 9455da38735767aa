//! The recipients of a stretch of contacts, put aside by wave.

use chrono::{DateTime, Utc};
use fanfare_store::audience::{Contact, LeftOut, NewSegment, Wave};
use fanfare_store::hours::{Rules, Windowed};
use fanfare_store::parts::Part;
use tokio::sync::mpsc;

use crate::waves::Waves;

/// Recipients by wave. Their numbers are known when all are.
pub(super) struct Divided {
    key: (i32, i64),
    rules: Rules,
    waves: Waves,
    /// By wave.
    parts: Vec<Part>,
    /// How many each had.
    sizes: Vec<i32>,
}

impl Divided {
    pub fn new(key: (i32, i64), windowed: Windowed) -> Self {
        let Windowed { rules, started_at, waves } = windowed;
        let waves = Waves::known(rules.zone, started_at, &waves);
        Self { key, rules, waves, parts: Vec::new(), sizes: Vec::new() }
    }

    /// Puts a recipient aside; says how many bytes it takes.
    pub fn push(
        &mut self,
        contact: &Contact<'_>,
        how: (i16, i16),
        whom: (&str, Option<&str>),
        params: Option<&str>,
    ) -> usize {
        // Counts from 0.
        let wave = self.waves.of(contact).wave as usize;
        while self.parts.len() <= wave {
            self.parts.push(Part::new(self.key));
        }
        self.parts[wave].push(how, whom, params)
    }

    /// Sends them on, wave by wave, numbered from `first`; gives the number after the last.
    pub fn send(&mut self, first: i32, chunks: &mpsc::UnboundedSender<Vec<u8>>) -> i32 {
        let mut next = first;
        for part in std::mem::take(&mut self.parts) {
            self.sizes.push(part.len());
            let begin = next;
            next += part.len();
            // Fails only when the writer has failed, which then says why.
            let _ = chunks.send(part.numbered(begin));
        }
        next
    }

    /// The segments of the stretch: one for each wave with somebody in it, from `whole` on. What was left out
    /// is counted in the first.
    pub fn segments(self, whole: &NewSegment, now: DateTime<Utc>) -> Vec<NewSegment> {
        let (mut segments, mut lo) = (Vec::new(), whole.lo);
        for ((number, size), zone) in (0..).zip(self.sizes).zip(self.waves.zones()) {
            if size == 0 {
                continue;
            }
            let wave = Wave { wave: number, zone, window: self.rules.window_or_wait(zone, now) };
            let segment_no = whole.segment_no + segments.len() as i32;
            let left_out = if segments.is_empty() { whole.left_out } else { LeftOut::default() };
            segments.push(NewSegment { segment_no, lo, hi: lo + size, left_out, wave: Some(wave), ..whole.clone() });
            lo += size;
        }
        if segments.is_empty() { vec![whole.clone()] } else { segments }
    }
}
