//! The calls. Each is allowed by a Role with get, list and watch on pods.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::RETRY_AFTER;

use crate::config::read_token;
use crate::exchange::{Answer, Request, ask};
use crate::names::{PodName, escape};
use crate::pod::{RawList, RawPod};
use crate::status::RawStatus;
use crate::tls::Trust;
use crate::{Config, KubeError, Limits, PodState};

/// The most that is read of an answer which says why not.
const MOST_REFUSAL: usize = 64 << 10;

/// Asks one API server. Clones share everything.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    config: Config,
    trust: Trust,
    limits: Limits,
}

/// A pod that was looked up in a list, and the version from which a watch goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) pod: Option<PodState>,
    pub(crate) version: String,
}

impl Client {
    /// With the limits that suit clusters.
    ///
    /// # Errors
    ///
    /// The CA cannot be read or holds no certificate.
    pub fn new(config: Config) -> Result<Self, KubeError> {
        Self::with_limits(config, Limits::default())
    }

    /// With limits of one's own.
    ///
    /// # Errors
    ///
    /// As [`Client::new`].
    pub fn with_limits(config: Config, limits: Limits) -> Result<Self, KubeError> {
        let trust = Trust::new(&config)?;
        Ok(Self(Arc::new(Inner { config, trust, limits })))
    }

    /// Where the API is, and with which papers it is asked.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// What state a pod is in; `None`: there is no such pod.
    ///
    /// # Errors
    ///
    /// The name is none, or the server does not tell.
    pub async fn pod(&self, namespace: &str, name: &str) -> Result<Option<PodState>, KubeError> {
        let pod = PodName::new(namespace, name)?;
        let PodName { namespace, name } = &pod;
        let request = self.request(namespace, "get", format!("/api/v1/namespaces/{namespace}/pods/{name}"));
        match self.answer(&request).await {
            Ok(answer) => {
                let body = self.body(answer, &request).await?;
                Ok(Some(parsed::<RawPod>(&body, &request)?.read()))
            }
            Err(KubeError::Status { code: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same as a list of at most one, since only a list has a version from which to watch. It asks for no
    /// version, so that the answer is not older than the question.
    pub(crate) async fn list(&self, pod: &PodName) -> Result<Listed, KubeError> {
        let PodName { namespace, name } = pod;
        let selector = escape(&format!("metadata.name={name}"));
        let request = self.request(
            namespace,
            "list",
            format!("/api/v1/namespaces/{namespace}/pods?fieldSelector={selector}"),
        );
        let body = self.body(self.answer(&request).await?, &request).await?;
        let (pod, version) = parsed::<RawList>(&body, &request)?.read(name);
        let version =
            version.ok_or_else(|| request.malformed(&"a list has a metadata.resourceVersion", &body))?;
        Ok(Listed { pod, version })
    }

    /// The request of a watch.
    pub(crate) fn watching<'a>(&'a self, pod: &'a PodName, from: &str, seconds: u64) -> Request<'a> {
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

    /// An answer with code 200; anything else is an error. The token may have been replaced while the request
    /// was on its way: then it is sent once more.
    pub(crate) async fn answer(&self, request: &Request<'_>) -> Result<Answer, KubeError> {
        let Inner { config, trust, limits } = &*self.0;
        // A small file in memory: reading it holds nobody up.
        let token = read_token(&config.token_file)?;
        let mut answer = ask(request, &token, trust, limits).await?;
        if answer.code == StatusCode::UNAUTHORIZED
            && let Ok(newer) = read_token(&config.token_file)
            && newer != token
        {
            answer = ask(request, &newer, trust, limits).await?;
        }
        if answer.code == StatusCode::OK {
            Ok(answer)
        } else {
            Err(refusal(request, &mut answer, limits).await)
        }
    }

    pub(crate) async fn body(&self, mut answer: Answer, request: &Request<'_>) -> Result<Vec<u8>, KubeError> {
        answer.whole(request, self.0.limits.most_answer, self.0.limits.body).await
    }
}

pub(crate) fn parsed<T: serde::de::DeserializeOwned>(
    body: &[u8],
    request: &Request<'_>,
) -> Result<T, KubeError> {
    serde_json::from_slice(body).map_err(|error| request.malformed(&error, body))
}

/// Why the server does not do as asked. The code alone is enough if the rest does not come.
async fn refusal(request: &Request<'_>, answer: &mut Answer, limits: &Limits) -> KubeError {
    let body = answer.beginning(request, MOST_REFUSAL, limits.body).await.map(|(body, _)| body);
    let after = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    RawStatus::of_body(&body.unwrap_or_default()).error(request, answer.code.as_u16(), after)
}
