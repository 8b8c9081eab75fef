//! Requests to any node of a cluster: another is asked when one does not answer, as long as that cannot do something
//! twice.

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

/// The most that is read of one answer: above what etcd sends by itself (1.5 MiB for each request, by default).
const MOST_READ: usize = 64 << 20;

/// May it be asked twice?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twice {
    /// It does no harm.
    Harmless,
    /// It may have been done already.
    Never,
}

/// The nodes of a cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<(String, Channel)>,
    /// Who answered last.
    current: AtomicUsize,
    user: Option<(String, String)>,
    token: Mutex<Option<MetadataValue<Ascii>>>,
    pub(crate) limits: Limits,
}

/// What an error of one node means for the request.
enum Verdict {
    /// It was not done: any node may be asked.
    NotDone(String),
    /// It may have been done.
    Unknown(String),
    /// The token is not valid any more.
    Stranger,
    /// So it is, whoever is asked.
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

    /// The node to be asked, its name and its number.
    pub(crate) fn node(&self) -> (usize, &str, Grpc<Channel>) {
        let number = self.current.load(Ordering::Relaxed) % self.nodes.len();
        let (name, channel) = &self.nodes[number];
        let grpc = Grpc::new(channel.clone()).max_decoding_message_size(MOST_READ);
        (number, name, grpc)
    }

    /// That one did not answer: the next is asked from now on.
    pub(crate) fn leave(&self, number: usize) {
        let next = (number + 1) % self.nodes.len();
        // Somebody else may have left it already.
        let _ = self.current.compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Another token is needed, if any.
    pub(crate) fn forget_token(&self) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A request that shows who we are, and that a node without a leader refuses.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        if let Some(token) = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            request.metadata_mut().insert("token", token);
        }
        request
    }

    /// Asks until somebody answers or the time is over.
    pub(crate) async fn call<A, B>(
        &self,
        path: &'static str,
        message: A,
        twice: Twice,
    ) -> Result<B, StoreError>
    where
        A: Message + Clone + 'static,
        B: Message + Default + 'static,
    {
        let until = Instant::now() + self.limits.all;
        let mut refused = false;
        let mut asked = 0;
        loop {
            let (number, name, mut grpc) = self.node();
            let this = match twice {
                Twice::Harmless => until.min(Instant::now() + self.limits.node),
                Twice::Never => until,
            };
            self.authenticate(until).await?;
            let request = self.request(message.clone());
            let answer = async {
                grpc.ready().await.map_err(|error| Verdict::NotDone(chain(&error)))?;
                let codec = ProstCodec::<A, B>::default();
                grpc.unary(request, PathAndQuery::from_static(path), codec)
                    .await
                    .map_err(|status| verdict(&status))
            };
            let verdict = match timeout_at(this, answer).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(verdict)) => verdict,
                Err(_) => Verdict::Unknown("no answer in time".to_owned()),
            };
            asked += 1;
            let why = match verdict {
                Verdict::Final(error) => return Err(error),
                Verdict::Stranger if !refused && self.user.is_some() => {
                    refused = true;
                    self.forget_token();
                    continue;
                }
                Verdict::Stranger => {
                    return Err(StoreError::Refused("etcd does not know who we are".to_owned()));
                }
                Verdict::NotDone(why) => why,
                Verdict::Unknown(why) if twice == Twice::Harmless => why,
                Verdict::Unknown(why) => {
                    self.leave(number);
                    return Err(StoreError::Unknown(format!("{name}: {why}")));
                }
            };
            let why = format!("{name}: {why}");
            self.leave(number);
            if !self.goes_on(asked, until).await {
                return Err(StoreError::Unavailable(why));
            }
        }
    }

    /// So many were asked in vain. When it was everybody, they are asked again a little later. False: there is no time
    /// for that.
    pub(crate) async fn goes_on(&self, asked: usize, until: Instant) -> bool {
        let round = if asked.is_multiple_of(self.nodes.len()) { asked / self.nodes.len() } else { 0 };
        let pause = Duration::from_millis(50) * u32::try_from(round.min(10)).unwrap_or(0);
        let at = Instant::now() + pause;
        if at >= until {
            return false;
        }
        sleep_until(at).await;
        true
    }

    /// Gets a token, where there is a user and no token yet.
    pub(crate) async fn authenticate(&self, until: Instant) -> Result<(), StoreError> {
        let Some((name, password)) = &self.user else { return Ok(()) };
        let mut asked = 0;
        while self.token.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            let message = AuthenticateRequest { name: name.clone(), password: password.clone() };
            let (number, node, mut grpc) = self.node();
            let answer = async {
                grpc.ready().await.map_err(|error| Verdict::NotDone(chain(&error)))?;
                let codec = ProstCodec::<AuthenticateRequest, AuthenticateResponse>::default();
                let path = PathAndQuery::from_static("/etcdserverpb.Auth/Authenticate");
                grpc.unary(Request::new(message), path, codec).await.map_err(|status| verdict(&status))
            };
            let within = until.min(Instant::now() + self.limits.node);
            let why = match timeout_at(within, answer).await {
                Ok(Ok(answer)) => {
                    let token = answer.into_inner().token.parse().map_err(|_| {
                        StoreError::Refused("etcd gave a token that no header can carry".to_owned())
                    })?;
                    *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
                    return Ok(());
                }
                Ok(Err(Verdict::Final(error))) => return Err(error),
                Ok(Err(Verdict::Stranger)) => {
                    return Err(StoreError::Refused(format!("etcd does not take the password of '{name}'")));
                }
                Ok(Err(Verdict::NotDone(why) | Verdict::Unknown(why))) => why,
                Err(_) => "no answer in time".to_owned(),
            };
            asked += 1;
            self.leave(number);
            if !self.goes_on(asked, until).await {
                return Err(StoreError::Unavailable(format!("{node}: {why}")));
            }
        }
        Ok(())
    }
}

/// What a node's refusal means. Its codes and texts are those of etcd's api/v3rpc/rpctypes/error.go.
fn verdict(status: &Status) -> Verdict {
    let text = status.message();
    let told = || if text.is_empty() { status.code().description().to_owned() } else { text.to_owned() };
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
            Verdict::Final(StoreError::Full(told()))
        }
        // Before anything was proposed.
        Code::ResourceExhausted if text.contains("too many requests") => Verdict::NotDone(told()),
        Code::Unavailable if text.contains("no leader") || text.contains("not capable") => {
            Verdict::NotDone(told())
        }
        Code::Unauthenticated => Verdict::Stranger,
        // Also "authentication failed, invalid user ID or password", and "user name is empty".
        Code::InvalidArgument if text.contains("auth") || text.contains("user name is empty") => {
            Verdict::Stranger
        }
        Code::InvalidArgument
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::NotFound
        | Code::OutOfRange
        | Code::ResourceExhausted => Verdict::Final(StoreError::Refused(told())),
        _ => match status.source() {
            Some(cause) => Verdict::Unknown(chain(cause)),
            None => Verdict::Unknown(told()),
        },
    }
}

/// The same for the answers of a stream, of which nothing is done twice.
pub(crate) fn of_stream(status: &Status) -> Result<String, StoreError> {
    match verdict(status) {
        Verdict::Final(error) => Err(error),
        Verdict::Stranger => Ok("etcd does not know who we are any more".to_owned()),
        Verdict::NotDone(why) | Verdict::Unknown(why) => Ok(why),
    }
}
