//! The words behind the question mark.

/// What was asked beside the path.
pub struct Query<'a>(pub Option<&'a str>);

impl<'a> Query<'a> {
    fn words(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let words = self.0.unwrap_or_default().split('&').filter(|word| !word.is_empty());
        words.map(|word| word.split_once('=').unwrap_or((word, "")))
    }

    /// The value of a word; empty if it has none.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.words().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// All values of a word.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.words().filter(|(key, _)| *key == name).map(|(_, value)| decoded(value)).collect()
    }

    /// Is it there, and not said to be off?
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, "0" | "false"))
    }
}

/// `%20` and its like.
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
    fn words_and_values() {
        let query = Query(Some("wait&name=a%20b&name=c&timeout=5s&off=0&bad=%zz"));
        assert!(query.has("wait") && !query.has("off") && !query.has("none"));
        assert_eq!(query.get("timeout"), Some("5s"));
        assert_eq!(query.all("name"), ["a b", "c"]);
        assert_eq!(query.all("bad"), ["%zz"]);
    }
}
