//! Names that may have been meant.

/// Most names that are suggested.
const SUGGESTED_MAX: usize = 3;

/// Of `candidates`, those that `name` may be a slip of, nearest first.
pub fn nearest<S: AsRef<str>>(name: &str, candidates: impl IntoIterator<Item = S>) -> Vec<String> {
    let wanted = name.to_lowercase();
    let slips_max = 1 + wanted.chars().count() / 3;
    let mut near: Vec<(usize, String)> = candidates
        .into_iter()
        .filter_map(|candidate| {
            let lower = candidate.as_ref().to_lowercase();
            let slips = strsim::damerau_levenshtein(&wanted, &lower);
            let part = lower.starts_with(&wanted) || wanted.starts_with(&lower);
            (slips <= slips_max || (part && !lower.is_empty() && !wanted.is_empty()))
                .then(|| (slips, candidate.as_ref().to_owned()))
        })
        .collect();
    near.sort();
    near.into_iter().take(SUGGESTED_MAX).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_and_beginnings_are_suggested_and_strangers_are_not() {
        let names = ["spring", "spring-2026", "Sprung", "winter", "x"];
        assert_eq!(nearest("sprnig", names), ["spring", "Sprung"]);
        assert_eq!(nearest("SPRING", names), ["spring", "Sprung", "spring-2026"]);
        assert!(nearest("autumn", names).is_empty());
        assert!(nearest("", names).len() <= 3);
    }
}
