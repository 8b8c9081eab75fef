//! What a member says of itself, and what is kept of it.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// The longest keepalive, in bytes: what a store takes as one value (etcd: 1.5 MiB), with room for the rest.
pub const LONGEST: usize = 1 << 20;
/// The longest name of a member.
pub const LONGEST_ID: usize = 253;
/// The longest of the other words.
const LONGEST_WORD: usize = 1024;

/// A member's sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keepalive {
    /// To what it belongs.
    pub app: String,
    /// Its name, unique in the ensemble.
    pub id: String,
    /// Its address.
    #[serde(default)]
    pub ip: String,
    /// The address as a number, in base 62.
    #[serde(default)]
    pub key: String,
    /// Another at each start of the member.
    #[serde(default)]
    pub nonce: String,
    /// What it has to tell.
    #[serde(default)]
    pub payload: Value,
    /// What it is for.
    #[serde(default)]
    pub role: String,
    /// It ends: this is the last one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub down: bool,
}

/// What is wrong with a keepalive.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadKeepalive {
    /// It is longer than [`LONGEST`].
    #[error("longer than {LONGEST} bytes")]
    Long,
    /// It is no JSON, or a key is missing or of another kind.
    #[error("expected JSON with app, id, ip, key, nonce, payload and role: {0}")]
    Form(String),
    /// A word is empty, too long, or has control characters.
    #[error("{0}: expected 1 to {1} bytes without control characters")]
    Word(&'static str, usize),
    /// It belongs to another ensemble.
    #[error("app is '{0}', this ensemble is '{1}'")]
    Stranger(String, String),
}

impl Keepalive {
    /// Reads one that was received, for an ensemble of this name.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(text: &[u8], app: &str) -> Result<Self, BadKeepalive> {
        if text.len() > LONGEST {
            return Err(BadKeepalive::Long);
        }
        let it: Self = serde_json::from_slice(text).map_err(|error| BadKeepalive::Form(error.to_string()))?;
        it.check()?;
        if it.app != app {
            return Err(BadKeepalive::Stranger(it.app, app.to_owned()));
        }
        Ok(it)
    }

    /// Is it one?
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), BadKeepalive> {
        let plain = |word: &str, most: usize| word.len() <= most && !word.chars().any(char::is_control);
        if self.id.is_empty() || self.id.contains('/') || !plain(&self.id, LONGEST_ID) {
            return Err(BadKeepalive::Word("id (without a slash)", LONGEST_ID));
        }
        if self.app.is_empty() || !plain(&self.app, LONGEST_ID) {
            return Err(BadKeepalive::Word("app", LONGEST_ID));
        }
        for (name, word) in
            [("ip", &self.ip), ("key", &self.key), ("nonce", &self.nonce), ("role", &self.role)]
        {
            if !plain(word, LONGEST_WORD) {
                return Err(BadKeepalive::Word(name, LONGEST_WORD));
            }
        }
        Ok(())
    }
}

/// A member as it is kept, and as callbacks see it. The order of the keys is that of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// To what it belongs.
    pub app: String,
    /// Its name.
    pub id: String,
    /// Its address.
    pub ip: String,
    /// The address as a number, in base 62.
    pub key: String,
    /// Another at each start.
    pub nonce: String,
    /// What it has told.
    pub payload: Value,
    /// What it is for.
    pub role: String,
    /// Its place in the order.
    pub seq: u64,
}

impl Member {
    /// As a keepalive has it, at this place.
    #[must_use]
    pub fn of(keepalive: &Keepalive, seq: u64) -> Self {
        let Keepalive { app, id, ip, key, nonce, payload, role, down: _ } = keepalive.clone();
        Self { app, id, ip, key, nonce, payload, role, seq }
    }

    /// Does the keepalive say nothing that is not known?
    #[must_use]
    pub fn is_as(&self, keepalive: &Keepalive) -> bool {
        *self == Self::of(keepalive, self.seq)
    }
}

/// An address of IPv4 as a number in base 62 (digits, lower case, upper case), without padding.
#[must_use]
pub fn key_of(ip: Ipv4Addr) -> String {
    const DIGITS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut number = ip.to_bits();
    let mut digits = Vec::new();
    loop {
        digits.push(char::from(DIGITS[number as usize % 62]));
        number /= 62;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_was_written_is_what_was_read(number in proptest::num::f64::NORMAL) {
            let payload = serde_json::json!({"load": number});
            let written = payload.to_string();
            proptest::prop_assert_eq!(serde_json::from_str::<Value>(&written).ok(), Some(payload));
        }
    }

    #[test]
    fn an_address_is_a_number_in_base_62() {
        for (ip, key) in [
            ("0.0.0.0", "0"),
            ("0.0.0.61", "Z"),
            ("0.0.0.62", "10"),
            ("10.0.0.1", "blXcB"),
            ("255.255.255.255", "4GFfc3"),
        ] {
            let ip: Ipv4Addr = ip.parse().unwrap_or(Ipv4Addr::LOCALHOST);
            assert_eq!(key_of(ip), key, "{ip}");
        }
    }

    #[test]
    fn what_is_no_keepalive_is_refused() {
        let read = |text: &str| Keepalive::read(text.as_bytes(), "demo");
        let whole = r#"{"app":"demo","id":"a","ip":"10.0.0.1","key":"x","nonce":"n","payload":{"b":1,"a":2},"role":"r"}"#;
        assert!(read(whole).is_ok_and(|it| !it.down && it.payload["a"] == 2));
        assert!(read(r#"{"app":"demo","id":"a","down":true}"#).is_ok_and(|it| it.down));
        for (text, part) in [
            ("", "expected JSON"),
            ("[]", "expected JSON"),
            (r#"{"app":"demo"}"#, "missing field `id`"),
            (r#"{"app":"demo","id":""}"#, "id"),
            (r#"{"app":"demo","id":"a/b"}"#, "id"),
            (r#"{"app":"demo","id":"a\u0000"}"#, "id"),
            (r#"{"app":"other","id":"a"}"#, "this ensemble is 'demo'"),
            (r#"{"app":"demo","id":7}"#, "expected a string"),
        ] {
            assert!(read(text).is_err_and(|error| error.to_string().contains(part)), "{text}");
        }
        let huge = format!(r#"{{"app":"demo","id":"a","payload":"{}"}}"#, "x".repeat(LONGEST));
        assert_eq!(read(&huge), Err(BadKeepalive::Long));
    }
}
