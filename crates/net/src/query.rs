//! Query strings.

/// The query string of a request.
pub struct Query<'a>(pub Option<&'a str>);

impl<'a> Query<'a> {
    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let pairs = self.0.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// Returns the first value of a key, not decoded; empty if it has none.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.pairs().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Returns all values of a key, decoded.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.pairs().filter(|(key, _)| *key == name).map(|(_, value)| decoded(value)).collect()
    }

    /// Returns whether a key is present and neither `0` nor `false`.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, "0" | "false"))
    }
}

/// Decodes percent-encoding and `+`.
pub fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let hex = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        if byte == b'%' {
            let mut ahead = bytes.clone();
            if let (Some(high), Some(low)) = (hex(ahead.next()), hex(ahead.next())) {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                bytes = ahead;
                continue;
            }
        }
        out.push(if byte == b'+' { b' ' } else { byte });
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_keys_and_values() {
        let query = Query(Some("wait&name=a%20b&name=c&timeout=5s&off=0&bad=%zz"));
        assert!(query.has("wait") && !query.has("off") && !query.has("none"));
        assert_eq!(query.get("timeout"), Some("5s"));
        assert_eq!(query.all("name"), ["a b", "c"]);
        assert_eq!(query.all("bad"), ["%zz"]);
    }
}
