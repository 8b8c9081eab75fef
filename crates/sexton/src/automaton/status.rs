//! What an automaton says to whoever is above it (sd_notify(3), `STATUS`), and how that is read there.

/// Where we are, and whence we have come.
#[must_use]
pub fn write(tag: &str, from: Option<&str>) -> String {
    from.map_or_else(|| format!("state {tag}"), |from| format!("state {tag}, from {from}"))
}

/// The same, read. A tag holds no blank.
#[must_use]
pub fn read(text: &str) -> Option<(&str, Option<&str>)> {
    let words = text.strip_prefix("state ")?;
    Some(words.split_once(", from ").map_or((words, None), |(tag, from)| (tag, Some(from))))
}

/// How a transition is told.
#[must_use]
pub fn entered(tag: &str, from: Option<&str>) -> String {
    from.map_or_else(|| format!("entered {tag}"), |from| format!("entered {tag} from {from}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (tag, from) in [("A", None), ("B", Some("A")), ("a,", Some("from"))] {
            assert_eq!(read(&write(tag, from)), Some((tag, from)));
        }
        assert_eq!(read("warming up"), None);
    }
}
