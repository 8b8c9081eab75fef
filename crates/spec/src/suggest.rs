//! "Did you mean …?"

/// Longer names are compared with none: the time of a comparison grows with the product of both lengths.
const MAX_LENGTH: usize = 64;
/// The number of names of a similar length that are compared.
const MAX_COMPARED: usize = 500;

/// The nearest of these words, if one is near enough to have been meant. Takes a bounded time, whatever the word is.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_LENGTH {
        return None;
    }
    let lower = word.to_lowercase();
    let limit = 1.max(word.chars().count() / 3);
    let similar = |other: &&str| other.len() <= MAX_LENGTH && other.len().abs_diff(word.len()) <= 4 * limit;
    let compared = known.into_iter().filter(similar).take(MAX_COMPARED);
    let distances = compared.map(|other| (strsim::osa_distance(&lower, &other.to_lowercase()), other));
    distances
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// `, did you mean 'x'?`, if something near is known.
pub fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map(|near| format!(", did you mean '{near}'?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_probably_meant() {
        assert_eq!(nearest("comand", ["args", "command"]), Some("command"));
        assert_eq!(nearest("Web", ["web", "db"]), Some("web"));
        assert_eq!(nearest("wbe", ["web", "db"]), Some("web"), "a transposition");
        assert_eq!(nearest("x", ["web", "db"]), None);
        assert_eq!(hint("portt", ["port"]), ", did you mean 'port'?");
    }

    #[test]
    fn compares_no_long_names() {
        let long = "x".repeat(MAX_LENGTH + 1);
        assert_eq!(nearest(&long, [long.as_str()]), None);
        let known = std::iter::repeat_with(|| panic!("compared")).take(1);
        assert_eq!(nearest(&"x".repeat(1 << 20), known), None);
    }
}
