//! Names of objects, and their escaping in URLs.

use crate::KubeError;

/// Maximum length of a namespace, a DNS label (RFC 1123).
const MAX_LABEL: usize = 63;
/// Maximum length of a pod or node name, a DNS name.
const MAX_NAME: usize = 253;

/// Namespace and name of a pod. They are valid, so they need no escaping in a path.
#[derive(Debug, Clone)]
pub(crate) struct PodName {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl PodName {
    pub(crate) fn new(namespace: &str, name: &str) -> Result<Self, KubeError> {
        let bad = |what, name: &str, most| KubeError::Name { what, name: name.to_owned(), most };
        if namespace.len() > MAX_LABEL || !is_label(namespace) {
            return Err(bad("namespace", namespace, MAX_LABEL));
        }
        if !is_name(name) {
            return Err(bad("pod", name, MAX_NAME));
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

/// Returns whether this is a valid name of a pod or node.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME && name.split('.').all(is_label)
}

impl KubeError {
    pub(crate) fn name(what: &'static str, name: &str) -> Self {
        Self::Name { what, name: name.to_owned(), most: MAX_NAME }
    }
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// Escapes a value of a query: all but the unreserved characters of RFC 3986.
pub(crate) fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => {
                escaped.push('%');
                for digit in [byte >> 4, byte & 15] {
                    escaped.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
                }
            }
        }
    }
    escaped
}

/// Returns the beginning of received text for a message: on one line, without control characters.
pub(crate) fn shown(text: &str) -> String {
    /// Maximum number of characters.
    const MAX: usize = 500;
    let mut shown: String = text
        .trim()
        .chars()
        .take(MAX)
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect();
    if text.trim().chars().nth(MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_dns_names_only() {
        for (namespace, name) in
            [("default", "web-0"), ("a", "a.b-c.d"), ("0", "7"), (&*"a".repeat(63), &*"a".repeat(253))]
        {
            assert!(PodName::new(namespace, name).is_ok(), "{namespace}/{name}");
        }
        for name in
            ["", "a/b", "..", "a..b", ".a", "a.", "-a", "a-", "a.-b", "A", "ä", "a b", "a%2fb", "a?b", "a\n"]
        {
            let error = PodName::new("default", name).map(|_| ()).map_err(|error| error.to_string());
            assert!(
                error.as_ref().is_err_and(|text| text.contains(&format!("invalid name of a pod '{name}'"))),
                "{error:?}"
            );
        }
        for namespace in ["", "a.b", "a/b", &*"a".repeat(64)] {
            assert!(PodName::new(namespace, "web").is_err(), "{namespace}");
        }
        assert!(PodName::new("default", &"a".repeat(254)).is_err());
    }

    #[test]
    fn received_text_becomes_one_short_line() {
        assert_eq!(shown("  a\nb\x1b[31m  "), "a\\nb\\u{1b}[31m");
        assert_eq!(shown(&"ä".repeat(1000)).chars().count(), 501);
    }

    proptest! {
        #[test]
        fn an_escaped_value_can_be_decoded(value in ".*") {
            let escaped = escape(&value);
            prop_assert!(escaped.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
            let mut bytes = Vec::new();
            let mut rest = escaped.as_bytes();
            while let Some((first, after)) = rest.split_first() {
                if *first == b'%' {
                    let digits = std::str::from_utf8(&after[..2]).unwrap_or_default();
                    bytes.push(u8::from_str_radix(digits, 16).unwrap_or_default());
                    rest = &after[2..];
                } else {
                    bytes.push(*first);
                    rest = after;
                }
            }
            prop_assert_eq!(bytes, value.into_bytes());
        }
    }
}
