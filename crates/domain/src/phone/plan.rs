//! Numbering plans: the patterns of the metadata, compiled once for each region that is met.

use std::borrow::Cow;
use std::fmt;
use std::sync::{LazyLock, OnceLock};

use phonenumber::Metadata;
use phonenumber::metadata::{DATABASE, Descriptor};
use regex::bytes::{Regex, RegexBuilder};

/// Id of plans that belong to no region, in the metadata.
const WORLD: &str = "001";
const LETTERS: usize = 26;
/// Most digits of a country's code.
const CODE_DIGITS_MAX: usize = 3;

/// A region with phones of its own, by its ISO 3166 alpha-2 code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region([u8; 2]);

impl Region {
    /// The region of a two-letter code in any case; `UK` is understood as `GB`.
    pub(super) fn find(text: &str) -> Option<Self> {
        let &[a, b] = text.trim().as_bytes() else { return None };
        let code = match [a.to_ascii_uppercase(), b.to_ascii_uppercase()] {
            [b'U', b'K'] => *b"GB",
            code => code,
        };
        index_of(code).map(|_| Self(code))
    }

    /// The region that a calling code belongs to first, e.g. 213 → DZ, 1 → US.
    pub fn of_calling_code(code: u16) -> Option<Self> {
        PLANS.by_code.get(usize::from(code))?.first().and_then(|i| PLANS.slots[*i].region)
    }

    /// The calling code of its numbers, e.g. DZ → 213.
    pub fn calling_code(self) -> u16 {
        // Every region was made from a slot.
        PLANS.slots[index_of(self.0).expect("a region has a slot")].metadata.country_code()
    }

    /// Two capital letters.
    pub fn as_str(&self) -> &str {
        // Only `find` and the metadata make regions, and both are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One kind of number: its lengths, as bits, and its digits.
struct Kind {
    lengths: u32,
    pattern: Regex,
}

/// The rules of one region.
pub(super) struct Plan {
    region: Option<Region>,
    code: u16,
    code_digits: String,
    general: Regex,
    kinds: Vec<Kind>,
    lengths: u32,
    leading: Option<Regex>,
    international_prefix: Option<Regex>,
    trunk_prefix: Option<Regex>,
    transform: Option<String>,
}

struct Slot {
    region: Option<Region>,
    metadata: &'static Metadata,
    plan: OnceLock<Plan>,
}

struct Plans {
    /// The regions in order, then what belongs to no region.
    slots: Vec<Slot>,
    /// Indices into `slots` of each calling code, the main region first.
    by_code: Vec<Vec<usize>>,
    /// Index into `slots` of each pair of letters; see [`place_of`].
    by_letters: Vec<Option<usize>>,
}

static PLANS: LazyLock<Plans> = LazyLock::new(|| {
    let mut slots: Vec<Slot> = DATABASE
        .iter()
        .filter_map(|metadata| {
            let region = metadata.id().as_bytes().try_into().ok().map(Region);
            region.map(|region| Slot { region: Some(region), metadata, plan: OnceLock::new() })
        })
        .collect();
    slots.sort_unstable_by_key(|slot| slot.region);
    let mut by_letters = vec![None; LETTERS * LETTERS];
    for (i, slot) in slots.iter().enumerate() {
        if let Some(place) = slot.region.and_then(|region| place_of(region.0)) {
            by_letters[place] = Some(i);
        }
    }
    let mut by_code = vec![Vec::new(); 10usize.pow(CODE_DIGITS_MAX as u32)];
    for code in 1..by_code.len() as u16 {
        for id in DATABASE.region(&code).unwrap_or_default() {
            let found = match id {
                WORLD => {
                    let Some(metadata) = DATABASE.by_code(&code).and_then(|all| all.into_iter().next()) else {
                        continue;
                    };
                    slots.push(Slot { region: None, metadata, plan: OnceLock::new() });
                    slots.len() - 1
                }
                id => match slots.iter().position(|slot| slot.metadata.id() == id) {
                    Some(found) => found,
                    None => continue,
                },
            };
            by_code[usize::from(code)].push(found);
        }
    }
    Plans { slots, by_code, by_letters }
});

fn index_of(code: [u8; 2]) -> Option<usize> {
    PLANS.by_letters[place_of(code)?]
}

/// Where a pair of capital letters stands among all pairs.
fn place_of([a, b]: [u8; 2]) -> Option<usize> {
    let letter = |c: u8| c.is_ascii_uppercase().then(|| usize::from(c - b'A'));
    Some(letter(a)? * LETTERS + letter(b)?)
}

fn plan_at(index: usize) -> &'static Plan {
    let slot = &PLANS.slots[index];
    slot.plan.get_or_init(|| Plan::new(slot.region, slot.metadata))
}

/// The plan of a region.
pub(super) fn plan(region: Region) -> &'static Plan {
    // Every region was made from a slot.
    plan_at(index_of(region.0).expect("a region has a plan"))
}

/// The plan that a calling code of [`split_code`] belongs to first.
pub(super) fn main_of(code: u16) -> &'static Plan {
    plan_at(PLANS.by_code[usize::from(code)][0])
}

/// The country's code at the start of `digits`, and the rest. No code is the beginning of another.
pub(super) fn split_code(digits: &str) -> Option<(u16, &str)> {
    if digits.starts_with('0') {
        return None;
    }
    (1..=CODE_DIGITS_MAX.min(digits.len())).find_map(|n| {
        let (code, rest) = digits.split_at(n);
        let code: u16 = code.parse().ok()?;
        (!PLANS.by_code.get(usize::from(code))?.is_empty()).then_some((code, rest))
    })
}

/// The plan that gives out `national` under `code`; none if no plan does.
pub(super) fn owner(code: u16, national: &str) -> Option<&'static Plan> {
    match PLANS.by_code[usize::from(code)].as_slice() {
        [only] => Some(plan_at(*only)).filter(|plan| plan.gives_out(national)),
        several => several
            .iter()
            .map(|i| plan_at(*i))
            .find(|plan| match &plan.leading {
                Some(leading) => leading.is_match(national.as_bytes()),
                None => plan.gives_out(national),
            })
            .filter(|plan| plan.gives_out(national)),
    }
}

impl Plan {
    fn new(region: Option<Region>, metadata: &Metadata) -> Self {
        let all = metadata.descriptors();
        // Those most often met first; the order does not change the answer.
        let kinds = [
            all.mobile(),
            all.fixed_line(),
            all.toll_free(),
            all.premium_rate(),
            all.shared_cost(),
            all.voip(),
            all.personal_number(),
            all.pager(),
            all.uan(),
            all.voicemail(),
        ];
        let kinds: Vec<Kind> = kinds.into_iter().flatten().map(Kind::new).collect();
        let trunk_prefix = match (metadata.national_prefix_for_parsing(), metadata.national_prefix()) {
            (Some(pattern), _) => Some(begins(pattern.as_str())),
            (None, Some(prefix)) => Some(begins(prefix)),
            (None, None) => None,
        };
        Self {
            region,
            code: metadata.country_code(),
            code_digits: metadata.country_code().to_string(),
            general: is_all(all.general().national_number().as_str()),
            lengths: kinds.iter().fold(0, |bits, kind| bits | kind.lengths),
            kinds,
            leading: metadata.leading_digits().map(|p| begins(p.as_str())),
            international_prefix: metadata.international_prefix().map(|p| begins(p.as_str())),
            trunk_prefix,
            transform: metadata.national_prefix_transform_rule().map(braced),
        }
    }

    pub(super) fn region(&self) -> Option<Region> {
        self.region
    }

    pub(super) fn code(&self) -> u16 {
        self.code
    }

    pub(super) fn code_digits(&self) -> &str {
        &self.code_digits
    }

    pub(super) fn digits_min(&self) -> usize {
        self.lengths.trailing_zeros() as usize
    }

    pub(super) fn digits_max(&self) -> usize {
        (u32::BITS - self.lengths.leading_zeros()).saturating_sub(1) as usize
    }

    /// Whether a number of this length is given out.
    pub(super) fn may_be(&self, national: &str) -> bool {
        self.lengths & length_bit(national.len()) != 0
    }

    /// Whether the national number has the general form of the region's numbers.
    pub(super) fn is_general(&self, national: &str) -> bool {
        self.general.is_match(national.as_bytes())
    }

    /// Whether such a number is given out.
    fn gives_out(&self, national: &str) -> bool {
        let bit = length_bit(national.len());
        self.is_general(national)
            && self.kinds.iter().any(|k| k.lengths & bit != 0 && k.pattern.is_match(national.as_bytes()))
    }

    /// What follows the prefix for calls abroad, if `digits` begin with it.
    pub(super) fn without_international_prefix<'a>(&self, digits: &'a str) -> Option<&'a str> {
        let found = self.international_prefix.as_ref()?.find(digits.as_bytes())?;
        let rest = &digits[found.end()..];
        (!rest.is_empty() && !rest.starts_with('0')).then_some(rest)
    }

    /// `national` without the prefix for calls inside the country, unless that is part of the number.
    pub(super) fn without_trunk_prefix<'a>(&self, national: &'a str) -> Cow<'a, str> {
        let kept = Cow::Borrowed(national);
        let Some(prefix) = &self.trunk_prefix else { return kept };
        let Some(found) = prefix.captures(national.as_bytes()) else { return kept };
        let last = found.get(found.len() - 1);
        let end = found.get(0).map_or(0, |all| all.end());
        let stripped = match &self.transform {
            Some(transform) if last.is_some() => {
                let mut new = Vec::with_capacity(national.len());
                found.expand(transform.as_bytes(), &mut new);
                new.extend_from_slice(&national.as_bytes()[end..]);
                // Digits only: the rule and the number are ASCII.
                Cow::Owned(String::from_utf8(new).unwrap_or_default())
            }
            _ => Cow::Borrowed(&national[end..]),
        };
        if self.is_general(national) && !self.is_general(&stripped) { kept } else { stripped }
    }
}

impl Kind {
    fn new(descriptor: &Descriptor) -> Self {
        let lengths = descriptor.possible_length().iter().fold(0, |bits, n| bits | length_bit(usize::from(*n)));
        Self { lengths, pattern: is_all(descriptor.national_number().as_str()) }
    }
}

fn length_bit(digits: usize) -> u32 {
    1u32.checked_shl(digits as u32).unwrap_or(0)
}

fn is_all(pattern: &str) -> Regex {
    compile(&format!("^(?:{pattern}\n)$"))
}

fn begins(pattern: &str) -> Regex {
    compile(&format!("^(?:{pattern}\n)"))
}

fn compile(pattern: &str) -> Regex {
    RegexBuilder::new(pattern)
        .ignore_whitespace(true)
        .unicode(false)
        .build()
        // A test compiles the patterns of every region.
        .expect("the metadata has valid patterns")
}

/// `9$1` → `9${1}`, so that a digit after the group's number is no part of its name.
fn braced(rule: &str) -> String {
    let mut braced = String::with_capacity(rule.len() + 4);
    let mut chars = rule.chars();
    while let Some(c) = chars.next() {
        match c {
            '$' => match chars.next() {
                Some(group) => braced.extend(['$', '{', group, '}']),
                None => braced.push_str("$$"),
            },
            c => braced.push(c),
        }
    }
    braced
}

#[cfg(test)]
pub(super) fn compile_all() -> usize {
    (0..PLANS.slots.len()).map(plan_at).count()
}
