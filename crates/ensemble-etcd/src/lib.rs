//! A store shared by many machines: [etcd](https://etcd.io), through its v3 API over gRPC.
//!
//! * Requests go to any node of the cluster, and to the next one if it does not respond or has no leader. A transaction,
//!   which must not be carried out twice, is sent once: if its response is lost, it fails with [`StoreError::Unknown`].
//! * A watch continues at another node from its last revision: each change is yielded exactly once.
//! * The messages are written by hand ([`messages`]): there is no generated code, and no protobuf compiler needed.
//! * Lease TTLs are whole seconds, and etcd makes them no shorter than one and a half times its election timeout.

#![forbid(unsafe_code)]

mod calls;
mod messages;
mod options;
mod watch;

use std::time::Duration;

use ensemble::{
    Committed, Condition, Entry, Lease, LeaseId, Page, Revision, Store, StoreError, StoreFuture, Transaction,
    Watch, Write,
};
use futures_util::stream;
use http::uri::PathAndQuery;
use tokio::time::{Instant, timeout_at};
use tonic_prost::ProstCodec;

use calls::{Cluster, Retry, stream_verdict};
use messages as m;
pub use options::{Limits, Options, OptionsError};

/// Entry points of the fuzz targets into the decoding of responses.
#[doc(hidden)]
pub mod fuzz {
    use std::collections::VecDeque;

    use ensemble::store::{Changes, Revision};
    use prost::Message as _;

    use crate::{messages, watch};

    /// Decodes the response to a watch request and returns its changes.
    #[must_use]
    pub fn watch_response(bytes: &[u8]) -> Option<VecDeque<Changes>> {
        let response = messages::WatchResponse::decode(bytes).ok()?;
        let mut changes = VecDeque::new();
        watch::add_changes(&mut changes, response.events, Revision(0));
        Some(changes)
    }

    /// Decodes the response to a transaction or a range request; returns the number of entries.
    #[must_use]
    pub fn entries(bytes: &[u8]) -> usize {
        let ranges = messages::TxnResponse::decode(bytes).into_iter().flat_map(|txn| txn.responses);
        let ranges = ranges.filter_map(|op| match op.response {
            Some(messages::ResponseKind::Range(range)) => Some(range),
            _ => None,
        });
        let single = messages::RangeResponse::decode(bytes).ok();
        ranges.chain(single).flat_map(|range| range.kvs).filter_map(crate::entry).count()
    }
}

/// A store in etcd.
#[derive(Debug, Clone)]
pub struct Etcd {
    cluster: std::sync::Arc<Cluster>,
}

impl Etcd {
    /// Creates a store in the cluster with these nodes, without connecting yet.
    ///
    /// # Errors
    ///
    /// The endpoints or the certificates are invalid.
    pub fn new(options: &Options) -> Result<Self, OptionsError> {
        Ok(Self { cluster: std::sync::Arc::new(Cluster::new(options)?) })
    }

    async fn range(&self, key: Vec<u8>, end: Vec<u8>, limit: i64) -> Result<m::RangeResponse, StoreError> {
        let message = m::RangeRequest { key, range_end: end, limit };
        self.cluster.call("/etcdserverpb.KV/Range", message, Retry::Idempotent).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        let until = Instant::now() + self.cluster.limits.all;
        let mut attempts = 0;
        loop {
            self.cluster.authenticate(until).await?;
            let (number, name, mut grpc) = self.cluster.node();
            let message = m::LeaseRequest { id: lease.0.cast_signed() };
            let request = self.cluster.request(stream::iter([message]));
            let response = async {
                grpc.ready().await.map_err(|error| Ok(options::chain(&error)))?;
                let codec = ProstCodec::<m::LeaseRequest, m::LeaseKeepAliveResponse>::default();
                let path = PathAndQuery::from_static("/etcdserverpb.Lease/LeaseKeepAlive");
                let mut responses = grpc
                    .streaming(request, path, codec)
                    .await
                    .map_err(|status| stream_verdict(&status).map_or_else(Err, Ok))?;
                let message = responses.get_mut().message().await;
                message.map_err(|status| stream_verdict(&status).map_or_else(Err, Ok))
            };
            let deadline = until.min(Instant::now() + self.cluster.limits.node);
            let why = match timeout_at(deadline, response).await {
                Ok(Ok(Some(response))) => {
                    let seconds = u64::try_from(response.ttl).unwrap_or(0);
                    let gone = StoreError::LeaseGone(lease);
                    return if seconds == 0 { Err(gone) } else { Ok(Duration::from_secs(seconds)) };
                }
                Ok(Ok(None)) => "the stream was closed".to_owned(),
                Ok(Err(Err(StoreError::LeaseGone(_)))) => return Err(StoreError::LeaseGone(lease)),
                Ok(Err(Err(error))) => return Err(error),
                Ok(Err(Ok(why))) => {
                    self.cluster.forget_token();
                    why
                }
                Err(_) => "timeout".to_owned(),
            };
            attempts += 1;
            self.cluster.leave(number);
            if !self.cluster.may_retry(attempts, until).await {
                return Err(StoreError::Unavailable(format!("{name}: {why}")));
            }
        }
    }
}

impl Store for Etcd {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<Entry>> {
        Box::pin(async move {
            let response = self.range(key.into(), Vec::new(), 1).await?;
            Ok(response.kvs.into_iter().find_map(entry))
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, most: usize) -> StoreFuture<'a, Page> {
        Box::pin(async move {
            let from = match after {
                // The first key after it.
                Some(after) if after >= prefix => [after.as_bytes(), &[0]].concat(),
                _ => prefix.into(),
            };
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let response = self.range(from, prefix_end(prefix), most).await?;
            let revision = revision(response.header.map_or(0, |header| header.revision));
            Ok(Page {
                entries: response.kvs.into_iter().filter_map(entry).collect(),
                more: response.more,
                revision,
            })
        })
    }

    fn commit(&self, transaction: Transaction) -> StoreFuture<'_, Committed> {
        Box::pin(async move {
            let read = |condition: &Condition| m::RangeRequest {
                key: condition.key().into(),
                range_end: Vec::new(),
                limit: 1,
            };
            let lease = transaction.writes.iter().find_map(|write| match write {
                Write::Put { lease, .. } => *lease,
                Write::Delete(_) => None,
            });
            let message = m::TxnRequest {
                compare: transaction.conditions.iter().map(compare).collect(),
                success: transaction.writes.into_iter().map(write).collect(),
                failure: transaction
                    .conditions
                    .iter()
                    .map(|condition| m::RequestOp { request: Some(m::RequestKind::Range(read(condition))) })
                    .collect(),
            };
            let response: Result<m::TxnResponse, _> =
                self.cluster.call("/etcdserverpb.KV/Txn", message, Retry::Never).await;
            let response = response.map_err(|error| match (error, lease) {
                (StoreError::LeaseGone(_), Some(lease)) => StoreError::LeaseGone(lease),
                (error, _) => error,
            })?;
            if response.succeeded {
                return Ok(Committed::Done(revision(response.header.map_or(0, |header| header.revision))));
            }
            let found = response.responses.into_iter().map(|it| match it.response {
                Some(m::ResponseKind::Range(range)) => range.kvs.into_iter().find_map(entry),
                _ => None,
            });
            Ok(Committed::Refused(found.collect()))
        })
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        watch::watch(std::sync::Arc::clone(&self.cluster), prefix, after)
    }

    fn grant(&self, ttl: Duration) -> StoreFuture<'_, Lease> {
        Box::pin(async move {
            let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
            let message = m::LeaseGrantRequest { ttl: i64::try_from(seconds.max(1)).unwrap_or(i64::MAX) };
            // If the response is lost, the granted lease lapses.
            let response: m::LeaseGrantResponse =
                self.cluster.call("/etcdserverpb.Lease/LeaseGrant", message, Retry::Idempotent).await?;
            if !response.error.is_empty() {
                return Err(StoreError::Refused(response.error));
            }
            let ttl = Duration::from_secs(u64::try_from(response.ttl).unwrap_or(0));
            Ok(Lease { id: LeaseId(response.id.cast_unsigned()), ttl })
        })
    }

    fn keep_alive(&self, lease: LeaseId) -> StoreFuture<'_, Duration> {
        Box::pin(self.renew(lease))
    }

    /// A deposed leader that was partitioned or stalled by its disk may revoke leases that the new leader has renewed:
    /// <https://github.com/etcd-io/etcd/issues/15247>, open in etcd 3.4 of Debian.
    fn may_lapse_early(&self) -> bool {
        true
    }

    fn revoke(&self, lease: LeaseId) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let message = m::LeaseRequest { id: lease.0.cast_signed() };
            let response: Result<m::Empty, _> =
                self.cluster.call("/etcdserverpb.Lease/LeaseRevoke", message, Retry::Idempotent).await;
            match response {
                Ok(_) | Err(StoreError::LeaseGone(_)) => Ok(()),
                Err(error) => Err(error),
            }
        })
    }
}

/// Returns the first key after all keys with the prefix; the byte 0, which means "to the end", if there is none.
pub(crate) fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

pub(crate) fn revision(number: i64) -> Revision {
    Revision(u64::try_from(number).unwrap_or(0))
}

/// Converts an entry; `None` if its key is not UTF-8, which this program never writes.
pub(crate) fn entry(kv: m::KeyValue) -> Option<Entry> {
    Some(Entry {
        key: String::from_utf8(kv.key).ok()?,
        value: kv.value,
        created: revision(kv.create_revision),
        changed: revision(kv.mod_revision),
        lease: Some(kv.lease).filter(|lease| *lease != 0).map(|lease| LeaseId(lease.cast_unsigned())),
    })
}

fn compare(condition: &Condition) -> m::Compare {
    let number = |revision: Revision| i64::try_from(revision.0).unwrap_or(i64::MAX);
    let (target, with) = match condition {
        Condition::Absent(_) => (m::CompareTarget::Create, m::Compared::CreateRevision(0)),
        Condition::Since(_, at) => (m::CompareTarget::Create, m::Compared::CreateRevision(number(*at))),
        Condition::Unchanged(_, at) => (m::CompareTarget::Mod, m::Compared::ModRevision(number(*at))),
    };
    m::Compare {
        result: m::CompareResult::Equal.into(),
        target: target.into(),
        key: condition.key().into(),
        with: Some(with),
    }
}

fn write(write: Write) -> m::RequestOp {
    let request = match write {
        Write::Put { key, value, lease } => m::RequestKind::Put(m::PutRequest {
            key: key.into_bytes(),
            value,
            lease: lease.map_or(0, |lease| lease.0.cast_signed()),
        }),
        Write::Delete(key) => m::RequestKind::DeleteRange(m::DeleteRangeRequest { key: key.into_bytes() }),
    };
    m::RequestOp { request: Some(request) }
}
