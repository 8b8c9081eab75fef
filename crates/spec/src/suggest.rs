//! "Did you mean …?"

/// The nearest of these words, if one is near enough to have been meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let distance = |other: &str| strsim::damerau_levenshtein(&lower, &other.to_lowercase());
    let near = |other: &&str| distance(other) <= 1.max(word.chars().count() / 3);
    known.into_iter().filter(near).min_by_key(|other| distance(other))
}

/// `, did you mean 'x'?`, if something near is known.
pub fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map(|near| format!(", did you mean '{near}'?")).unwrap_or_default()
}
