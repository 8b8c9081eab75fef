//! Requests to any node of a cluster, with failover to the next node unless that could carry out a request twice.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ensemble::{LeaseId, Revision, StoreError};
use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, ConnectError, Request, Status};
use tonic_prost::ProstCodec;

use crate::messages::{AuthenticateRequest, AuthenticateResponse};
use crate::options::{Limits, Node, Options, OptionsError, chain};

/// Maximum size of a response, in bytes; more than etcd sends (1.5 MiB for each request, by default).
const MAX_RESPONSE: usize = 64 << 20;

/// Whether a request may be sent again when its result is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// The request is idempotent.
    Idempotent,
    /// The request may have been carried out already.
    Never,
}

/// The nodes of a cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<(String, Channel)>,
    /// Index of the node that responded last.
    current: AtomicUsize,
    user: Option<(String, String)>,
    token: Mutex<Option<MetadataValue<Ascii>>>,
    pub(crate) limits: Limits,
}

/// The meaning of an error of one node for the request.
enum Verdict {
    /// It was not carried out: any node may be tried.
    NotDone(String),
    /// It may have been carried out.
    Unknown(String),
    /// The token is no longer valid.
    Unauthenticated,
    /// Every node would respond so.
    Final(StoreError),
}

impl Cluster {
    pub(crate) fn new(options: &Options) -> Result<Self, OptionsError> {
        let nodes =
            options.nodes()?.into_iter().map(|Node { name, endpoint }| (name, endpoint.connect_lazy()));
        Ok(Self {
            nodes: nodes.collect(),
            current: AtomicUsize::new(0),
            user: options.user.clone(),
            token: Mutex::new(None),
            limits: options.limits,
        })
    }

    /// Returns the current node: its index, name and channel.
    pub(crate) fn node(&self) -> (usize, &str, Grpc<Channel>) {
        let number = self.current.load(Ordering::Relaxed) % self.nodes.len();
        let (name, channel) = &self.nodes[number];
        let grpc = Grpc::new(channel.clone()).max_decoding_message_size(MAX_RESPONSE);
        (number, name, grpc)
    }

    /// Switches from a node that did not respond to the next one.
    pub(crate) fn leave(&self, number: usize) {
        let next = (number + 1) % self.nodes.len();
        // Fails if another request has switched already.
        let _ = self.current.compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Drops the token, so that the next request authenticates again.
    pub(crate) fn forget_token(&self) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Creates a request with the token, which a node without a leader refuses.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        if let Some(token) = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            request.metadata_mut().insert("token", token);
        }
        request
    }

    /// Sends a request until a node responds or the time limit is reached.
    pub(crate) async fn call<A, B>(
        &self,
        path: &'static str,
        message: A,
        retry: Retry,
    ) -> Result<B, StoreError>
    where
        A: Message + Clone + 'static,
        B: Message + Default + 'static,
    {
        let until = Instant::now() + self.limits.all;
        let mut refused = false;
        let mut attempts = 0;
        loop {
            let (number, name, mut grpc) = self.node();
            let attempt_until = match retry {
                Retry::Idempotent => until.min(Instant::now() + self.limits.node),
                Retry::Never => until,
            };
            self.authenticate(until).await?;
            let request = self.request(message.clone());
            let response = async {
                grpc.ready().await.map_err(|error| Verdict::NotDone(chain(&error)))?;
                let codec = ProstCodec::<A, B>::default();
                grpc.unary(request, PathAndQuery::from_static(path), codec)
                    .await
                    .map_err(|status| verdict(&status))
            };
            let verdict = match timeout_at(attempt_until, response).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(verdict)) => verdict,
                Err(_) => Verdict::Unknown("timeout".to_owned()),
            };
            attempts += 1;
            let why = match verdict {
                Verdict::Final(error) => return Err(error),
                Verdict::Unauthenticated if !refused && self.user.is_some() => {
                    refused = true;
                    self.forget_token();
                    continue;
                }
                Verdict::Unauthenticated => {
                    return Err(StoreError::Refused("etcd: authentication required".to_owned()));
                }
                Verdict::NotDone(why) => why,
                Verdict::Unknown(why) if retry == Retry::Idempotent => why,
                Verdict::Unknown(why) => {
                    self.leave(number);
                    return Err(StoreError::Unknown(format!("{name}: {why}")));
                }
            };
            let why = format!("{name}: {why}");
            self.leave(number);
            if !self.may_retry(attempts, until).await {
                return Err(StoreError::Unavailable(why));
            }
        }
    }

    /// Waits before the next attempt: for a moment after each round of all nodes. Returns `false` if there is no time
    /// left.
    pub(crate) async fn may_retry(&self, attempts: usize, until: Instant) -> bool {
        let round = if attempts.is_multiple_of(self.nodes.len()) { attempts / self.nodes.len() } else { 0 };
        let pause = Duration::from_millis(50) * u32::try_from(round.min(10)).unwrap_or(0);
        let at = Instant::now() + pause;
        if at >= until {
            return false;
        }
        sleep_until(at).await;
        true
    }

    /// Gets a token if there is a user and no token yet.
    pub(crate) async fn authenticate(&self, until: Instant) -> Result<(), StoreError> {
        let Some((name, password)) = &self.user else { return Ok(()) };
        let mut attempts = 0;
        while self.token.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            let message = AuthenticateRequest { name: name.clone(), password: password.clone() };
            let (number, node, mut grpc) = self.node();
            let response = async {
                grpc.ready().await.map_err(|error| Verdict::NotDone(chain(&error)))?;
                let codec = ProstCodec::<AuthenticateRequest, AuthenticateResponse>::default();
                let path = PathAndQuery::from_static("/etcdserverpb.Auth/Authenticate");
                grpc.unary(Request::new(message), path, codec).await.map_err(|status| verdict(&status))
            };
            let deadline = until.min(Instant::now() + self.limits.node);
            let why = match timeout_at(deadline, response).await {
                Ok(Ok(response)) => {
                    let token = response.into_inner().token.parse().map_err(|_| {
                        StoreError::Refused("etcd sent a token that is no valid header".to_owned())
                    })?;
                    *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
                    return Ok(());
                }
                Ok(Err(Verdict::Final(error))) => return Err(error),
                Ok(Err(Verdict::Unauthenticated)) => {
                    return Err(StoreError::Refused(format!(
                        "etcd refused the user name or password of '{name}'"
                    )));
                }
                Ok(Err(Verdict::NotDone(why) | Verdict::Unknown(why))) => why,
                Err(_) => "timeout".to_owned(),
            };
            attempts += 1;
            self.leave(number);
            if !self.may_retry(attempts, until).await {
                return Err(StoreError::Unavailable(format!("{node}: {why}")));
            }
        }
        Ok(())
    }
}

/// Interprets an error of a node. Codes and texts are those of etcd's api/v3rpc/rpctypes/error.go.
fn verdict(status: &Status) -> Verdict {
    let text = status.message();
    let reason = || if text.is_empty() { status.code().description().to_owned() } else { text.to_owned() };
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return Verdict::NotDone(chain(error));
        }
        cause = error.source();
    }
    match status.code() {
        Code::NotFound if text.contains("lease not found") => {
            Verdict::Final(StoreError::LeaseGone(LeaseId(0)))
        }
        Code::OutOfRange if text.contains("compacted") => Verdict::Final(StoreError::Compacted(Revision(0))),
        Code::ResourceExhausted if text.contains("space exceeded") => {
            Verdict::Final(StoreError::Full(reason()))
        }
        // Refused before anything was proposed.
        Code::ResourceExhausted if text.contains("too many requests") => Verdict::NotDone(reason()),
        Code::Unavailable if text.contains("no leader") || text.contains("not capable") => {
            Verdict::NotDone(reason())
        }
        Code::Unauthenticated => Verdict::Unauthenticated,
        // Also "authentication failed, invalid user ID or password", and "user name is empty".
        Code::InvalidArgument if text.contains("auth") || text.contains("user name is empty") => {
            Verdict::Unauthenticated
        }
        Code::InvalidArgument
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::NotFound
        | Code::OutOfRange
        | Code::ResourceExhausted => Verdict::Final(StoreError::Refused(reason())),
        _ => match status.source() {
            Some(cause) => Verdict::Unknown(chain(cause)),
            None => Verdict::Unknown(reason()),
        },
    }
}

/// Interprets an error of a stream: `Ok` is a reason to retry at another node.
pub(crate) fn stream_verdict(status: &Status) -> Result<String, StoreError> {
    match verdict(status) {
        Verdict::Final(error) => Err(error),
        Verdict::Unauthenticated => Ok("the token of etcd has expired".to_owned()),
        Verdict::NotDone(why) | Verdict::Unknown(why) => Ok(why),
    }
}
