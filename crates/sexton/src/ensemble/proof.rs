//! Who may have us run commands, and who may be on the list: whoever shows the token, or a certificate of the CA.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use net::server::Caller;

/// What somebody shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// A token.
    pub token: Option<String>,
    /// A certificate that the CA knows.
    pub certified: bool,
}

impl Credentials {
    /// With a request of HTTP.
    pub fn with(headers: &HeaderMap, caller: Caller) -> Self {
        let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        Self { token: token.map(str::to_owned), certified: caller.certified }
    }
}

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody may.
    Off,
    /// What he shows is not enough.
    Unproven,
}

impl Refusal {
    /// As it is told.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::Off => {
                "commands are off: give this pod a --token-file, or --tls-ca with --tls-cert and --tls-key (or --allow-unauthenticated-invoke)"
            }
            Self::Unproven => "the token is missing or wrong, and there is no certificate that is known",
        }
    }
}

/// What has to be shown.
#[derive(Debug, Clone, Default)]
pub struct AccessPolicy {
    /// This, if there is one.
    pub token: Option<Arc<str>>,
    /// Certificates are looked at.
    pub certificates: bool,
    /// Commands need nothing.
    pub open: bool,
    /// Keepalives need it too.
    pub keepalives: bool,
}

impl AccessPolicy {
    /// May he have us run commands?
    pub fn may_invoke(&self, shown: &Credentials) -> Result<(), Refusal> {
        if self.open {
            return Ok(());
        }
        if self.token.is_none() && !self.certificates {
            return Err(Refusal::Off);
        }
        self.proven(shown)
    }

    /// May he be on the list?
    pub fn may_report(&self, shown: &Credentials) -> Result<(), Refusal> {
        if self.keepalives { self.proven(shown) } else { Ok(()) }
    }

    fn proven(&self, shown: &Credentials) -> Result<(), Refusal> {
        let known = self.token.as_deref().zip(shown.token.as_deref());
        let known = known.is_some_and(|(a, b)| !a.is_empty() && same(a, b));
        if known || shown.certified { Ok(()) } else { Err(Refusal::Unproven) }
    }
}

/// Compared in a time that does not tell where they differ.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_need_proof_and_keepalives_where_it_is_asked_for() {
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
        for (shown, expected) in [
            (&nothing, Err(Refusal::Unproven)),
            (&token("secres"), Err(Refusal::Unproven)),
            (&token("secretly"), Err(Refusal::Unproven)),
            (&token(""), Err(Refusal::Unproven)),
            (&token("secret"), Ok(())),
        ] {
            assert_eq!(
                (by_token.may_invoke(shown), by_token.may_report(shown)),
                (expected, expected),
                "{shown:?}"
            );
        }
        let empty = AccessPolicy { token: Some("".into()), keepalives: true, ..AccessPolicy::default() };
        assert_eq!(
            (empty.may_invoke(&token("")), empty.may_report(&token(""))),
            (Err(Refusal::Unproven), Err(Refusal::Unproven))
        );
        let by_certificate = AccessPolicy { certificates: true, ..AccessPolicy::default() };
        assert_eq!(by_certificate.may_invoke(&certified), Ok(()));
        assert_eq!(by_certificate.may_invoke(&token("secret")), Err(Refusal::Unproven));
    }
}
