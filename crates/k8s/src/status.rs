//! A `Status` object, with which the server refuses a request: the body of a response, or an event.

use std::time::Duration;

use serde::Deserialize;

use crate::KubeError;
use crate::exchange::Request;
use crate::names::shown;

/// Maximum pause that a server can request.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// A `Status` in the format of the API.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct RawStatus {
    message: Option<String>,
    reason: Option<String>,
    code: Option<u16>,
    details: Option<RawDetails>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDetails {
    retry_after_seconds: Option<u64>,
}

impl RawStatus {
    /// Parses the body of a response. Anything but a Status (such as a page of a proxy) becomes the message.
    pub(crate) fn of_body(body: &[u8]) -> Self {
        serde_json::from_slice(body).ok().filter(|status: &Self| status.message.is_some()).unwrap_or_else(
            || Self { message: Some(String::from_utf8_lossy(body).into_owned()), ..Self::default() },
        )
    }

    /// Returns the code in the Status; an event of a watch has no HTTP code.
    pub(crate) fn code(&self) -> u16 {
        self.code.unwrap_or(500)
    }

    /// Converts to an error. `header` is the value of `Retry-After`.
    pub(crate) fn error(self, request: &Request<'_>, code: u16, header: Option<&str>) -> KubeError {
        let message = match (self.message.as_deref().map(str::trim), self.reason.as_deref()) {
            (None | Some(""), None) => "no reason given".to_owned(),
            (None | Some(""), Some(reason)) => shown(reason),
            (Some(message), _) => shown(message),
        };
        match code {
            401 => KubeError::Unauthorized {
                request: request.target.clone(),
                token: request.config.token_file.clone(),
                message,
            },
            403 => KubeError::Forbidden {
                account: account(&message),
                verb: request.verb,
                namespace: request.namespace.to_owned(),
                message,
            },
            _ => {
                let seconds = header.and_then(|header| header.trim().parse().ok());
                let seconds = seconds.or(self.details.and_then(|details| details.retry_after_seconds));
                let retry_after = match code {
                    429 | 503 => seconds.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER)),
                    _ => None,
                };
                KubeError::Status { request: request.target.clone(), code, message, retry_after }
            }
        }
    }
}

/// Extracts the account from a message such as `pods is forbidden: User "system:serviceaccount:shop:default" cannot …`.
fn account(message: &str) -> Option<String> {
    let (_, user) = message.split_once("User \"")?;
    let (user, _) = user.split_once('"')?;
    Some(user.strip_prefix("system:serviceaccount:").unwrap_or(user).to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::Config;

    fn error(code: u16, body: &str, header: Option<&str>) -> KubeError {
        let config = Config {
            host: "api".to_owned(),
            port: 443,
            ca_file: PathBuf::new(),
            token_file: PathBuf::from("/token"),
            namespace: None,
        };
        let request = Request { target: "/x".to_owned(), verb: "list", namespace: "shop", config: &config };
        RawStatus::of_body(body.as_bytes()).error(&request, code, header)
    }

    #[test]
    fn reports_a_missing_permission_with_its_remedy() {
        let body = r#"{"kind":"Status","status":"Failure","code":403,"reason":"Forbidden",
            "message":"pods is forbidden: User \"system:serviceaccount:shop:default\" cannot list resource \"pods\" in API group \"\" in the namespace \"shop\""}"#;
        let text = error(403, body, None).to_string();
        for part in [
            "the service account shop:default may not list pods in namespace shop: ",
            "it needs a Role with get, list and watch on pods (docs/kubernetes/role.yaml)",
            "cannot list resource \"pods\"",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let text = error(403, "<html>\n<b>no", None).to_string();
        assert!(text.contains("the service account may not list pods in namespace shop"), "{text}");
        assert!(text.contains("<html>\\n<b>no"), "{text}");
    }

    #[test]
    fn reads_the_retry_delay_from_header_or_body() {
        let body = r#"{"message":"too many","details":{"retryAfterSeconds":7}}"#;
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(error(429, body, Some("3")).retry_after(), seconds(3));
        assert_eq!(error(503, body, None).retry_after(), seconds(7));
        assert_eq!(error(429, "", Some("Wed, 21 Oct 2026 07:28:00 GMT")).retry_after(), None);
        assert_eq!(error(429, "", Some("99999999999")).retry_after(), seconds(300));
        assert_eq!(error(500, body, Some("3")).retry_after(), None);
    }

    #[test]
    fn a_response_without_a_message_has_an_error_message() {
        assert_eq!(
            error(500, "", None).to_string(),
            "the API server responded with 500 to '/x': no reason given"
        );
        let refused = error(401, r#"{"reason":"Unauthorized"}"#, None).to_string();
        assert!(refused.contains("the token in /token (401 to '/x')"), "{refused}");
    }
}
