//! The store that many machines share: [etcd](https://etcd.io), by its v3 API over gRPC.
//!
//! * Any node of the cluster is asked; the next one when it does not answer or has no leader. What must not be done
//!   twice (a transaction) is asked once: when its answer is lost, that is told ([`StoreError::Unknown`]).
//! * A watch goes on at another node from the revision at which it was; nothing is left out and nothing told twice.
//! * The messages are set by hand ([`messages`]): nothing has to be generated, and no compiler for them be installed.
//! * Leases count in whole seconds, and etcd makes them no shorter than its election timeout and a half.

mod calls;
mod messages;
mod options;
mod watch;

use std::time::Duration;

use ensemble::{
    Answer, Committed, Condition, Entry, Lease, LeaseId, Page, Revision, Store, StoreError, Transaction,
    Watch, Write,
};
use futures_util::stream;
use http::uri::PathAndQuery;
use tokio::time::{Instant, timeout_at};
use tonic_prost::ProstCodec;

use calls::{Cluster, Twice, of_stream};
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
            Some(messages::Answered::Range(range)) => Some(range),
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
    /// A store in the cluster with these nodes. Nobody is asked yet.
    ///
    /// # Errors
    ///
    /// The endpoints or the certificates cannot be used.
    pub fn new(options: &Options) -> Result<Self, OptionsError> {
        Ok(Self { cluster: std::sync::Arc::new(Cluster::new(options)?) })
    }

    async fn range(&self, key: Vec<u8>, end: Vec<u8>, limit: i64) -> Result<m::RangeResponse, StoreError> {
        let message = m::RangeRequest { key, range_end: end, limit };
        self.cluster.call("/etcdserverpb.KV/Range", message, Twice::Harmless).await
    }

    async fn kept_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        let until = Instant::now() + self.cluster.limits.all;
        let mut asked = 0;
        loop {
            self.cluster.authenticate(until).await?;
            let (number, name, mut grpc) = self.cluster.node();
            let message = m::LeaseNamed { id: lease.0.cast_signed() };
            let request = self.cluster.request(stream::iter([message]));
            let answer = async {
                grpc.ready().await.map_err(|error| Ok(options::chain(&error)))?;
                let codec = ProstCodec::<m::LeaseNamed, m::LeaseKeepAliveResponse>::default();
                let path = PathAndQuery::from_static("/etcdserverpb.Lease/LeaseKeepAlive");
                let mut answers = grpc
                    .streaming(request, path, codec)
                    .await
                    .map_err(|status| of_stream(&status).map_or_else(Err, Ok))?;
                let told = answers.get_mut().message().await;
                told.map_err(|status| of_stream(&status).map_or_else(Err, Ok))
            };
            let within = until.min(Instant::now() + self.cluster.limits.node);
            let why = match timeout_at(within, answer).await {
                Ok(Ok(Some(answer))) => {
                    let seconds = u64::try_from(answer.ttl).unwrap_or(0);
                    let gone = StoreError::LeaseGone(lease);
                    return if seconds == 0 { Err(gone) } else { Ok(Duration::from_secs(seconds)) };
                }
                Ok(Ok(None)) => "it ended the stream".to_owned(),
                Ok(Err(Err(StoreError::LeaseGone(_)))) => return Err(StoreError::LeaseGone(lease)),
                Ok(Err(Err(error))) => return Err(error),
                Ok(Err(Ok(why))) => {
                    self.cluster.forget_token();
                    why
                }
                Err(_) => "no answer in time".to_owned(),
            };
            asked += 1;
            self.cluster.leave(number);
            if !self.cluster.goes_on(asked, until).await {
                return Err(StoreError::Unavailable(format!("{name}: {why}")));
            }
        }
    }
}

impl Store for Etcd {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        Box::pin(async move {
            let answer = self.range(key.into(), Vec::new(), 1).await?;
            Ok(answer.kvs.into_iter().find_map(entry))
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, most: usize) -> Answer<'a, Page> {
        Box::pin(async move {
            let from = match after {
                // The first key behind it.
                Some(after) if after >= prefix => [after.as_bytes(), &[0]].concat(),
                _ => prefix.into(),
            };
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let answer = self.range(from, behind(prefix), most).await?;
            let revision = revision(answer.header.map_or(0, |header| header.revision));
            Ok(Page {
                entries: answer.kvs.into_iter().filter_map(entry).collect(),
                more: answer.more,
                revision,
            })
        })
    }

    fn commit(&self, transaction: Transaction) -> Answer<'_, Committed> {
        Box::pin(async move {
            let look = |condition: &Condition| m::RangeRequest {
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
                    .map(|condition| m::RequestOp { request: Some(m::Asked::Range(look(condition))) })
                    .collect(),
            };
            let answer: Result<m::TxnResponse, _> =
                self.cluster.call("/etcdserverpb.KV/Txn", message, Twice::Never).await;
            let answer = answer.map_err(|error| match (error, lease) {
                (StoreError::LeaseGone(_), Some(lease)) => StoreError::LeaseGone(lease),
                (error, _) => error,
            })?;
            if answer.succeeded {
                return Ok(Committed::Done(revision(answer.header.map_or(0, |header| header.revision))));
            }
            let found = answer.responses.into_iter().map(|it| match it.response {
                Some(m::Answered::Range(range)) => range.kvs.into_iter().find_map(entry),
                _ => None,
            });
            Ok(Committed::Refused(found.collect()))
        })
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        watch::watch(std::sync::Arc::clone(&self.cluster), prefix, after)
    }

    fn grant(&self, ttl: Duration) -> Answer<'_, Lease> {
        Box::pin(async move {
            let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
            let message = m::LeaseGrantRequest { ttl: i64::try_from(seconds.max(1)).unwrap_or(i64::MAX) };
            // One that was granted and not heard of lapses by itself.
            let answer: m::LeaseGrantResponse =
                self.cluster.call("/etcdserverpb.Lease/LeaseGrant", message, Twice::Harmless).await?;
            if !answer.error.is_empty() {
                return Err(StoreError::Refused(answer.error));
            }
            let ttl = Duration::from_secs(u64::try_from(answer.ttl).unwrap_or(0));
            Ok(Lease { id: LeaseId(answer.id.cast_unsigned()), ttl })
        })
    }

    fn keep_alive(&self, lease: LeaseId) -> Answer<'_, Duration> {
        Box::pin(self.kept_alive(lease))
    }

    /// A leader that was cut off or held up by its disk, and is none any more, may revoke leases that the new one has
    /// kept alive: <https://github.com/etcd-io/etcd/issues/15247>, open in etcd 3.4 as Debian has it.
    fn may_lapse_early(&self) -> bool {
        true
    }

    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()> {
        Box::pin(async move {
            let message = m::LeaseNamed { id: lease.0.cast_signed() };
            let answer: Result<m::Nothing, _> =
                self.cluster.call("/etcdserverpb.Lease/LeaseRevoke", message, Twice::Harmless).await;
            match answer {
                Ok(_) | Err(StoreError::LeaseGone(_)) => Ok(()),
                Err(error) => Err(error),
            }
        })
    }
}

/// The first key that does not begin with the prefix; the byte 0, which stands for "to the end", if there is none.
pub(crate) fn behind(prefix: &str) -> Vec<u8> {
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

/// What we can have written; a key that is no UTF-8 is somebody else's.
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
        Write::Put { key, value, lease } => m::Asked::Put(m::PutRequest {
            key: key.into_bytes(),
            value,
            lease: lease.map_or(0, |lease| lease.0.cast_signed()),
        }),
        Write::Delete(key) => m::Asked::DeleteRange(m::DeleteRangeRequest { key: key.into_bytes() }),
    };
    m::RequestOp { request: Some(request) }
}
