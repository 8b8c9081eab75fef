//! The requests. All of them need a Role with get, list and watch on pods.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::RETRY_AFTER;

use crate::config::read_token;
use crate::exchange::{ApiResponse, Request, send};
use crate::names::{PodName, escape};
use crate::pod::{RawList, RawPod};
use crate::status::RawStatus;
use crate::tls::Trust;
use crate::{Config, KubeError, Limits, PodState};

/// Maximum size of the body of an error response, in bytes.
const MAX_ERROR_BODY: usize = 64 << 10;

/// A client of one API server. Clones share its state.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    config: Config,
    trust: Trust,
    limits: Limits,
}

/// A pod from a list, and the version from which to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) pod: Option<PodState>,
    pub(crate) version: String,
}

impl Client {
    /// Creates a client with the default limits.
    ///
    /// # Errors
    ///
    /// The CA file cannot be read or contains no certificate.
    pub fn new(config: Config) -> Result<Self, KubeError> {
        Self::with_limits(config, Limits::default())
    }

    /// Creates a client with these limits.
    ///
    /// # Errors
    ///
    /// As [`Client::new`].
    pub fn with_limits(config: Config, limits: Limits) -> Result<Self, KubeError> {
        let trust = Trust::new(&config)?;
        Ok(Self(Arc::new(Inner { config, trust, limits })))
    }

    /// Returns the address and the credentials.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Reads the state of a pod; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// The name is invalid, or the request failed.
    pub async fn pod(&self, namespace: &str, name: &str) -> Result<Option<PodState>, KubeError> {
        let pod = PodName::new(namespace, name)?;
        let PodName { namespace, name } = &pod;
        let request = self.request(namespace, "get", format!("/api/v1/namespaces/{namespace}/pods/{name}"));
        match self.response(&request).await {
            Ok(response) => {
                let body = self.body(response, &request).await?;
                Ok(Some(parsed::<RawPod>(&body, &request)?.read()))
            }
            Err(KubeError::Status { code: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the pod as a list of at most one, since only a list has a version from which to watch. The request has no
    /// version, so the response is not older than the request.
    pub(crate) async fn list(&self, pod: &PodName) -> Result<Listed, KubeError> {
        let PodName { namespace, name } = pod;
        let selector = escape(&format!("metadata.name={name}"));
        let request = self.request(
            namespace,
            "list",
            format!("/api/v1/namespaces/{namespace}/pods?fieldSelector={selector}"),
        );
        let body = self.body(self.response(&request).await?, &request).await?;
        let (pod, version) = parsed::<RawList>(&body, &request)?.read(name);
        let version = version
            .ok_or_else(|| request.malformed(&"expected metadata.resourceVersion in a list", &body))?;
        Ok(Listed { pod, version })
    }

    /// Creates the request of a watch.
    pub(crate) fn watch_request<'a>(&'a self, pod: &'a PodName, from: &str, seconds: u64) -> Request<'a> {
        let PodName { namespace, name } = pod;
        let selector = escape(&format!("metadata.name={name}"));
        let from = escape(from);
        self.request(
            namespace,
            "watch",
            format!(
                "/api/v1/namespaces/{namespace}/pods?watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}\
                 &fieldSelector={selector}&resourceVersion={from}"
            ),
        )
    }

    pub(crate) fn request<'a>(
        &'a self,
        namespace: &'a str,
        verb: &'static str,
        target: String,
    ) -> Request<'a> {
        Request { target, verb, namespace, config: &self.0.config }
    }

    /// Sends a request; any status but 200 is an error. If the token was rotated meanwhile, the request is repeated
    /// once.
    pub(crate) async fn response(&self, request: &Request<'_>) -> Result<ApiResponse, KubeError> {
        let Inner { config, trust, limits } = &*self.0;
        // A small file in memory: reading it does not block.
        let token = read_token(&config.token_file)?;
        let mut response = send(request, &token, trust, limits).await?;
        if response.code == StatusCode::UNAUTHORIZED
            && let Ok(newer) = read_token(&config.token_file)
            && newer != token
        {
            response = send(request, &newer, trust, limits).await?;
        }
        if response.code == StatusCode::OK {
            Ok(response)
        } else {
            Err(refusal(request, &mut response, limits).await)
        }
    }

    pub(crate) async fn body(
        &self,
        mut response: ApiResponse,
        request: &Request<'_>,
    ) -> Result<Vec<u8>, KubeError> {
        response.read_all(request, self.0.limits.max_response, self.0.limits.body).await
    }
}

pub(crate) fn parsed<T: serde::de::DeserializeOwned>(
    body: &[u8],
    request: &Request<'_>,
) -> Result<T, KubeError> {
    serde_json::from_slice(body).map_err(|error| request.malformed(&error, body))
}

/// Converts an error response. The status code is sufficient if the body cannot be read.
async fn refusal(request: &Request<'_>, response: &mut ApiResponse, limits: &Limits) -> KubeError {
    let body = response.read_up_to(request, MAX_ERROR_BODY, limits.body).await.map(|(body, _)| body);
    let after = response.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    RawStatus::of_body(&body.unwrap_or_default()).error(request, response.code.as_u16(), after)
}
