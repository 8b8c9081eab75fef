//! Keepalives, and members as they are stored.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// Maximum size of a keepalive, in bytes: the limit of a stored value (etcd: 1.5 MiB) with a reserve.
pub const LONGEST: usize = 1 << 20;
/// Maximum length of the name of a member, in bytes.
pub const LONGEST_ID: usize = 253;
/// Maximum length of the other text fields, in bytes.
const LONGEST_FIELD: usize = 1024;

/// A keepalive of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keepalive {
    /// Name of the ensemble.
    pub app: String,
    /// Name of the member, unique in the ensemble.
    pub id: String,
    /// IPv4 or IPv6 address.
    #[serde(default)]
    pub ip: String,
    /// The IPv4 address as a number in base 62.
    #[serde(default)]
    pub key: String,
    /// Random value, new at each start of the member.
    #[serde(default)]
    pub nonce: String,
    /// Data of the member.
    #[serde(default)]
    pub payload: Value,
    #[serde(default)]
    pub role: String,
    /// The last keepalive, sent at a graceful shutdown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub down: bool,
}

/// A keepalive is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeepaliveError {
    /// It is longer than [`LONGEST`].
    #[error("longer than {LONGEST} bytes")]
    TooLong,
    /// It is not JSON, or a key is missing or has another type.
    #[error("expected JSON with app, id, ip, key, nonce, payload and role: {0}")]
    Format(String),
    /// A field is empty, too long, or has control characters.
    #[error("{0}: expected 1 to {1} bytes without control characters")]
    Field(&'static str, usize),
    /// It belongs to another ensemble.
    #[error("app is '{0}', this ensemble is '{1}'")]
    OtherEnsemble(String, String),
}

impl Keepalive {
    /// Parses and checks a keepalive that an ensemble of this name has received.
    ///
    /// # Errors
    ///
    /// The keepalive is invalid.
    pub fn read(text: &[u8], app: &str) -> Result<Self, KeepaliveError> {
        if text.len() > LONGEST {
            return Err(KeepaliveError::TooLong);
        }
        let it: Self =
            serde_json::from_slice(text).map_err(|error| KeepaliveError::Format(error.to_string()))?;
        it.check()?;
        if it.app != app {
            return Err(KeepaliveError::OtherEnsemble(it.app, app.to_owned()));
        }
        Ok(it)
    }

    /// Checks the fields.
    ///
    /// # Errors
    ///
    /// The keepalive is invalid.
    pub fn check(&self) -> Result<(), KeepaliveError> {
        let plain = |text: &str, most: usize| text.len() <= most && !text.chars().any(char::is_control);
        if self.id.is_empty() || self.id.contains('/') || !plain(&self.id, LONGEST_ID) {
            return Err(KeepaliveError::Field("id (without a slash)", LONGEST_ID));
        }
        if self.app.is_empty() || !plain(&self.app, LONGEST_ID) {
            return Err(KeepaliveError::Field("app", LONGEST_ID));
        }
        for (name, text) in
            [("ip", &self.ip), ("key", &self.key), ("nonce", &self.nonce), ("role", &self.role)]
        {
            if !plain(text, LONGEST_FIELD) {
                return Err(KeepaliveError::Field(name, LONGEST_FIELD));
            }
        }
        Ok(())
    }
}

/// A member as it is stored and passed to callbacks. The keys are in alphabetical order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub app: String,
    pub id: String,
    pub ip: String,
    pub key: String,
    pub nonce: String,
    pub payload: Value,
    pub role: String,
    /// Sequence number, which orders the list.
    pub seq: u64,
}

impl Member {
    /// Creates a member from its keepalive and sequence number.
    #[must_use]
    pub fn of(keepalive: &Keepalive, seq: u64) -> Self {
        let Keepalive { app, id, ip, key, nonce, payload, role, down: _ } = keepalive.clone();
        Self { app, id, ip, key, nonce, payload, role, seq }
    }

    /// Returns whether the keepalive contains nothing new.
    #[must_use]
    pub fn matches(&self, keepalive: &Keepalive) -> bool {
        *self == Self::of(keepalive, self.seq)
    }
}

/// Formats an IPv4 address as a number in base 62 (digits, lower case, upper case), without padding.
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
        fn numbers_survive_a_round_trip(number in proptest::num::f64::NORMAL) {
            let payload = serde_json::json!({"load": number});
            let written = payload.to_string();
            proptest::prop_assert_eq!(serde_json::from_str::<Value>(&written).ok(), Some(payload));
        }
    }

    #[test]
    fn formats_an_address_in_base_62() {
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
    fn refuses_invalid_keepalives() {
        let read = |text: &str| Keepalive::read(text.as_bytes(), "demo");
        let complete = r#"{"app":"demo","id":"a","ip":"10.0.0.1","key":"x","nonce":"n","payload":{"b":1,"a":2},"role":"r"}"#;
        assert!(read(complete).is_ok_and(|it| !it.down && it.payload["a"] == 2));
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
        assert_eq!(read(&huge), Err(KeepaliveError::TooLong));
    }
}
