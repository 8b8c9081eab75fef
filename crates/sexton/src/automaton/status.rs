//! The status text of an automaton for its service manager (sd_notify(3), `STATUS`), and its parser.

/// Formats the current and the previous state.
#[must_use]
pub fn write(tag: &str, from: Option<&str>) -> String {
    from.map_or_else(|| format!("state {tag}"), |from| format!("state {tag}, from {from}"))
}

/// Parses the status text. Tags do not contain blanks.
#[must_use]
pub fn read(text: &str) -> Option<(&str, Option<&str>)> {
    let rest = text.strip_prefix("state ")?;
    Some(rest.split_once(", from ").map_or((rest, None), |(tag, from)| (tag, Some(from))))
}

/// Describes a transition.
#[must_use]
pub fn entered(tag: &str, from: Option<&str>) -> String {
    from.map_or_else(|| format!("entered {tag}"), |from| format!("entered {tag} from {from}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        for (tag, from) in [("A", None), ("B", Some("A")), ("a,", Some("from"))] {
            assert_eq!(read(&write(tag, from)), Some((tag, from)));
        }
        assert_eq!(read("warming up"), None);
    }
}
