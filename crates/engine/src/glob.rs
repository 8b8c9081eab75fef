//! Name patterns of glob(7): `*`, `?`, `[abc]`, `[a-z]`, `[!a]`, and `\` to escape.

/// Whether all of `text` matches.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // The position after the last star and how much text it has consumed: no backtracking before that star is needed.
    let (mut at, mut on) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while on < text.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at + 1, on));
            at += 1;
            continue;
        }
        if let Some(next) = one(&pattern, at, text[on]) {
            (at, on) = (next, on + 1);
            continue;
        }
        let Some((behind, taken)) = star else { return false };
        star = Some((behind, taken + 1));
        (at, on) = (behind, taken + 1);
    }
    pattern[at..].iter().all(|c| *c == '*')
}

/// Matches one element of the pattern at `at` with a character; returns the position of the next element.
fn one(pattern: &[char], at: usize, c: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '\\' => (*pattern.get(at + 1)? == c).then_some(at + 2),
        '[' => {
            let Some(end) = class_end(pattern, at) else { return (c == '[').then_some(at + 1) };
            let negated = matches!(pattern[at + 1], '!' | '^');
            let members = &pattern[at + 1 + usize::from(negated)..end];
            (in_class(members, c) != negated).then_some(end + 1)
        }
        other => (*other == c).then_some(at + 1),
    }
}

/// The position of the `]` that closes the class at `at`. A `]` right after the opening is a member.
fn class_end(pattern: &[char], at: usize) -> Option<usize> {
    let first = at + 1 + usize::from(matches!(pattern.get(at + 1), Some('!' | '^')));
    (first + 1..pattern.len()).find(|index| pattern[*index] == ']')
}

fn in_class(members: &[char], c: char) -> bool {
    let mut rest = members;
    while let [first, more @ ..] = rest {
        match more {
            ['-', last, after @ ..] => {
                if (*first..=*last).contains(&c) {
                    return true;
                }
                rest = after;
            }
            _ if *first == c => return true,
            _ => rest = more,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_like_a_shell() {
        for (pattern, yes, no) in [
            ("A", &["A"][..], &["", "AA", "a", "B"][..]),
            ("*", &["", "A", "A*B"], &[]),
            ("A*", &["A", "ABC"], &["BA", ""]),
            ("*a*b", &["ab", "xaxbxb"], &["ba", "a", "abc"]),
            ("??", &["AB", "äö"], &["A", "ABC"]),
            ("S[0-9]", &["S0", "S9"], &["S", "SA", "S10"]),
            ("[!a-c]x", &["dx"], &["ax", "x"]),
            ("[]a]", &["]", "a"], &["b"]),
            ("[a", &["[a"], &["a"]),
            ("\\*", &["*"], &["a", "\\*"]),
            ("", &[""], &["a"]),
        ] {
            assert!(yes.iter().all(|text| matches(pattern, text)), "{pattern}");
            assert!(!no.iter().any(|text| matches(pattern, text)), "{pattern}");
        }
    }

    #[test]
    fn many_stars_do_not_take_exponential_time() {
        assert!(!matches(&"*a".repeat(50), &"a".repeat(49)));
        assert!(!matches(&format!("{}b", "a*".repeat(1000)), &"a".repeat(5000)));
    }
}
