//! Authorization of commands and keepalives: by a token, or by a client certificate signed by the CA.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use net::server::Caller;

/// The credentials of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    pub token: Option<String>,
    /// Whether it has a certificate signed by the CA.
    pub certified: bool,
}

impl Credentials {
    /// Reads the credentials of an HTTP request.
    pub fn with(headers: &HeaderMap, caller: Caller) -> Self {
        let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        Self { token: token.map(str::to_owned), certified: caller.certified }
    }
}

/// Why a client is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Commands are disabled.
    Off,
    /// The credentials are missing or wrong.
    Unauthorized,
}

impl Refusal {
    /// Returns the message for the client.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::Off => {
                "commands are disabled: start this pod with --token-file, or --tls-ca with --tls-cert and --tls-key (or --allow-unauthenticated-invoke)"
            }
            Self::Unauthorized => {
                "the token is missing or wrong, and there is no client certificate signed by the CA"
            }
        }
    }
}

/// The credentials that are required.
#[derive(Debug, Clone, Default)]
pub struct AccessPolicy {
    pub token: Option<Arc<str>>,
    /// Client certificates are accepted as credentials.
    pub certificates: bool,
    /// Commands need no credentials.
    pub open: bool,
    /// Keepalives need credentials too.
    pub keepalives: bool,
}

impl AccessPolicy {
    /// Checks whether a client may run commands.
    pub fn may_invoke(&self, credentials: &Credentials) -> Result<(), Refusal> {
        if self.open {
            return Ok(());
        }
        if self.token.is_none() && !self.certificates {
            return Err(Refusal::Off);
        }
        self.check(credentials)
    }

    /// Checks whether a client may send keepalives.
    pub fn may_report(&self, credentials: &Credentials) -> Result<(), Refusal> {
        if self.keepalives { self.check(credentials) } else { Ok(()) }
    }

    fn check(&self, credentials: &Credentials) -> Result<(), Refusal> {
        let known = self.token.as_deref().zip(credentials.token.as_deref());
        let known = known.is_some_and(|(a, b)| !a.is_empty() && constant_time_eq(a, b));
        if known || credentials.certified { Ok(()) } else { Err(Refusal::Unauthorized) }
    }
}

/// Compares two strings in time that is independent of where they differ.
fn constant_time_eq(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_need_credentials_and_keepalives_if_configured() {
        let nothing = Credentials::default();
        let token = |text: &str| Credentials { token: Some(text.to_owned()), certified: false };
        let certified = Credentials { token: None, certified: true };
        let off = AccessPolicy::default();
        assert_eq!(off.may_invoke(&token("x")), Err(Refusal::Off));
        assert_eq!(
            (off.may_report(&nothing), AccessPolicy { open: true, ..off }.may_invoke(&nothing)),
            (Ok(()), Ok(()))
        );
        let by_token =
            AccessPolicy { token: Some("secret".into()), keepalives: true, ..AccessPolicy::default() };
        for (credentials, expected) in [
            (&nothing, Err(Refusal::Unauthorized)),
            (&token("secres"), Err(Refusal::Unauthorized)),
            (&token("secretly"), Err(Refusal::Unauthorized)),
            (&token(""), Err(Refusal::Unauthorized)),
            (&token("secret"), Ok(())),
        ] {
            assert_eq!(
                (by_token.may_invoke(credentials), by_token.may_report(credentials)),
                (expected, expected),
                "{credentials:?}"
            );
        }
        let empty = AccessPolicy { token: Some("".into()), keepalives: true, ..AccessPolicy::default() };
        assert_eq!(
            (empty.may_invoke(&token("")), empty.may_report(&token(""))),
            (Err(Refusal::Unauthorized), Err(Refusal::Unauthorized))
        );
        let by_certificate = AccessPolicy { certificates: true, ..AccessPolicy::default() };
        assert_eq!(by_certificate.may_invoke(&certified), Ok(()));
        assert_eq!(by_certificate.may_invoke(&token("secret")), Err(Refusal::Unauthorized));
    }
}
