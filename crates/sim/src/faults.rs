//! The faults a provider may have, and how often.

use std::collections::BTreeMap;
use std::str::FromStr;

use fanfare_domain::rng::Rng;
use serde::{Deserialize, Serialize};

use crate::ConfigError;
use crate::dialect::Trouble;

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident $name:literal light $light:literal heavy $heavy:literal;)+) => {
        /// One way to fail.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Fault { $($(#[$doc])* #[serde(rename = $name)] $fault),+ }

        impl Fault {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$fault),+];

            /// As written on the command line and in the statistics.
            pub fn name(self) -> &'static str {
                match self { $(Self::$fault => $name),+ }
            }

            /// How often it happens in the presets `light` and `heavy`.
            fn presets(self) -> (f64, f64) {
                match self { $(Self::$fault => ($light, $heavy)),+ }
            }
        }
    };
}

faults! {
    /// 429 without Retry-After. Not accepted.
    Throttle "429" light 0.001 heavy 0.01;
    /// 429 with Retry-After of a second. Not accepted.
    ThrottleFor "429-retry-after" light 0.0001 heavy 0.0005;
    /// 500. Not accepted.
    Error "500" light 0.002 heavy 0.03;
    /// Accepted, then 500, or what the interface says instead.
    ErrorAccepted "500-accepted" light 0.002 heavy 0.02;
    /// 503 with Retry-After of a second. Not accepted.
    Unavailable "503" light 0.002 heavy 0.02;
    /// The connection is reset before the request is read. Not accepted.
    Reset "reset" light 0.002 heavy 0.03;
    /// Accepted, then the connection is reset.
    ResetAccepted "reset-accepted" light 0.002 heavy 0.02;
    /// Accepted, then nothing until the client gives up (or a minute has passed).
    SilenceAccepted "silence-accepted" light 0.0001 heavy 0.001;
    /// Accepted, and the answer trickles for a second.
    SlowBody "slow-body" light 0.002 heavy 0.01;
    /// Accepted, and the answer is 200 with broken JSON.
    Malformed "malformed" light 0.001 heavy 0.02;
    /// 400 that blames the recipient. Not accepted.
    Recipient "recipient" light 0.005 heavy 0.03;
    /// The template does not exist. Not accepted.
    TemplateMissing "template-missing" light 0.0 heavy 0.0;
    /// The template was paused. Not accepted.
    TemplatePaused "template-paused" light 0.0 heavy 0.0;
    /// The template takes another number of parameters. Not accepted.
    TemplateParameters "template-parameters" light 0.0 heavy 0.0;
    /// The delivery receipt comes twice.
    ReceiptTwice "receipt-twice" light 0.01 heavy 0.1;
    /// The delivery receipt comes two seconds late.
    ReceiptLate "receipt-late" light 0.01 heavy 0.1;
}

impl Fault {
    /// What it says is the matter with the template, if that is what it blames.
    pub(crate) fn of_template(self) -> Option<Trouble> {
        match self {
            Self::TemplateMissing => Some(Trouble::Missing),
            Self::TemplatePaused => Some(Trouble::Paused),
            Self::TemplateParameters => Some(Trouble::Parameters),
            _ => None,
        }
    }

    fn is_of_receipts(self) -> bool {
        matches!(self, Self::ReceiptTwice | Self::ReceiptLate)
    }
}

impl FromStr for Fault {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        Self::ALL.iter().copied().find(|f| f.name() == name).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|f| f.name()).collect();
            ConfigError::new("fault", name, format!("one of {}", known.join(", ")))
        })
    }
}

/// A fault and how often it happens, written `429=0.02`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chance {
    /// The fault.
    pub fault: Fault,
    /// From 0 to 1.
    pub probability: f64,
}

impl FromStr for Chance {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let refused = || ConfigError::new("fault", text, "KIND=PROBABILITY from 0 to 1, for example 429=0.02");
        let (name, probability) = text.split_once('=').ok_or_else(refused)?;
        let probability = probability.parse().ok().filter(|p| (0.0..=1.0).contains(p)).ok_or_else(refused)?;
        Ok(Self { fault: name.parse()?, probability })
    }
}

/// How often each fault happens. A request has one fault at most, so that they come to 1 at most (those of
/// receipts apart).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<Fault, f64>", into = "BTreeMap<Fault, f64>")]
pub struct Faults {
    probabilities: [f64; Fault::ALL.len()],
}

impl Faults {
    /// By the name of a preset: `none`, `light` (2 % of the requests) or `heavy` (19 %).
    ///
    /// # Errors
    /// [`ConfigError`] for another name.
    pub fn preset(name: &str) -> Result<Self, ConfigError> {
        let pick: fn((f64, f64)) -> f64 = match name {
            "none" => |_| 0.0,
            "light" => |(light, _)| light,
            "heavy" => |(_, heavy)| heavy,
            _ => return Err(ConfigError::new("faults", name, "none, light or heavy")),
        };
        let mut faults = Self::default();
        for fault in Fault::ALL {
            faults.probabilities[*fault as usize] = pick(fault.presets());
        }
        Ok(faults)
    }

    /// The same with one fault as often as this.
    ///
    /// # Errors
    /// [`ConfigError`] if a request would have more than one fault.
    pub fn with(mut self, chance: Chance) -> Result<Self, ConfigError> {
        self.probabilities[chance.fault as usize] = chance.probability;
        let sum = self.of_requests();
        // A little above 1 may be rounding.
        if !(0.0..=1.000_001).contains(&chance.probability) || sum > 1.000_001 {
            let found = format!("{}={}", chance.fault.name(), chance.probability);
            return Err(ConfigError::new("fault", &found, format!("1 in all, and these come to {sum}")));
        }
        Ok(self)
    }

    fn of_requests(&self) -> f64 {
        Fault::ALL.iter().filter(|f| !f.is_of_receipts()).map(|f| self.probabilities[*f as usize]).sum()
    }

    /// Draws the fault of a request, if it has one.
    pub(crate) fn draw(&self, rng: &Rng) -> Option<Fault> {
        if self.of_requests() == 0.0 {
            return None;
        }
        let mut left = rng.below(1 << 53) as f64 / (1u64 << 53) as f64;
        Fault::ALL.iter().copied().filter(|f| !f.is_of_receipts()).find(|f| {
            left -= self.probabilities[*f as usize];
            left < 0.0
        })
    }

    /// Draws whether a receipt has this fault.
    pub(crate) fn strikes(&self, fault: Fault, rng: &Rng) -> bool {
        let probability = self.probabilities[fault as usize];
        probability > 0.0 && rng.chance(probability)
    }
}

impl TryFrom<BTreeMap<Fault, f64>> for Faults {
    type Error = ConfigError;

    fn try_from(chances: BTreeMap<Fault, f64>) -> Result<Self, ConfigError> {
        chances
            .into_iter()
            .try_fold(Self::default(), |faults, (fault, probability)| faults.with(Chance { fault, probability }))
    }
}

impl From<Faults> for BTreeMap<Fault, f64> {
    fn from(faults: Faults) -> Self {
        let chances = Fault::ALL.iter().map(|f| (*f, faults.probabilities[*f as usize]));
        chances.filter(|(_, probability)| *probability > 0.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_drawn_as_often_as_asked() {
        let faults = Faults::preset("heavy").unwrap();
        let rng = Rng::seeded(5);
        let mut seen = [0u32; Fault::ALL.len()];
        for _ in 0..200_000 {
            if let Some(fault) = faults.draw(&rng) {
                seen[fault as usize] += 1;
            }
        }
        for fault in Fault::ALL.iter().filter(|f| !f.is_of_receipts()) {
            let expected = fault.presets().1 * 200_000.0;
            let off = (f64::from(seen[*fault as usize]) - expected).abs();
            assert!(off <= 5.0 * expected.sqrt(), "{} of {expected} {}, seed 5", seen[*fault as usize], fault.name());
        }
        assert_eq!(seen[Fault::ReceiptTwice as usize], 0);
    }

    #[test]
    fn chances_are_read_as_people_write_them() {
        let chance: Chance = "reset-accepted=0.25".parse().unwrap();
        assert_eq!(chance, Chance { fault: Fault::ResetAccepted, probability: 0.25 });
        for bad in ["", "429", "429=", "429=2", "429=-0.1", "429=NaN", "430=0.1"] {
            assert!(bad.parse::<Chance>().is_err(), "{bad}");
        }
        let half: Chance = "503=0.5".parse().unwrap();
        let more: Chance = "500=0.6".parse().unwrap();
        let error = Faults::default().with(half).unwrap().with(more).unwrap_err();
        assert_eq!(error.to_string(), r#"fault "500=0.6": expected 1 in all, and these come to 1.1"#);
    }

    #[test]
    fn every_preset_can_be_drawn_from_and_goes_through_json() {
        for name in ["none", "light", "heavy"] {
            let faults = Faults::preset(name).unwrap();
            assert!(faults.of_requests() < 0.5);
            let json = serde_json::to_string(&faults).unwrap();
            assert_eq!(serde_json::from_str::<Faults>(&json).unwrap(), faults);
        }
        assert!(Faults::preset("medium").is_err());
    }
}
