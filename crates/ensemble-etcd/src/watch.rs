//! A watch that goes from node to node.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ensemble::{Change, Changes, Revision, StoreError, Watch};
use futures_util::stream::{self, StreamExt as _};
use http::uri::PathAndQuery;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Streaming;
use tonic_prost::ProstCodec;

use crate::calls::{Cluster, of_stream};
use crate::messages as m;
use crate::{behind, entry, options, revision};

/// How long to pause before the next node is asked: at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

struct Watching {
    cluster: Arc<Cluster>,
    prefix: String,
    /// What was told last.
    told: Revision,
    open: Option<(usize, Streaming<m::WatchResponse>)>,
    /// To be told.
    ready: VecDeque<Changes>,
    pause: Duration,
    over: bool,
}

/// Appends the changes after a revision, one item per revision. A response may hold several writes; all changes of a
/// write are in one response.
pub(crate) fn add_changes(ready: &mut VecDeque<Changes>, events: Vec<m::Event>, after: Revision) {
    for event in events {
        let Some(kv) = event.kv else { continue };
        let at = revision(kv.mod_revision);
        if at <= after {
            continue;
        }
        let change = if event.kind == i32::from(m::EventType::Delete) {
            String::from_utf8(kv.key).ok().map(Change::Deleted)
        } else {
            entry(kv).map(Change::Put)
        };
        let Some(change) = change else { continue };
        match ready.back_mut() {
            Some(changes) if changes.revision == at => changes.changes.push(change),
            _ => ready.push_back(Changes { revision: at, changes: vec![change] }),
        }
    }
}

pub(crate) fn watch(cluster: Arc<Cluster>, prefix: &str, after: Revision) -> Watch {
    let watching = Watching {
        cluster,
        prefix: prefix.to_owned(),
        told: after,
        open: None,
        ready: VecDeque::new(),
        pause: PAUSES.0,
        over: false,
    };
    Box::pin(stream::unfold(watching, |mut watching| async move {
        let next = watching.next().await?;
        Some((next, watching))
    }))
}

impl Watching {
    async fn next(&mut self) -> Option<Result<Changes, StoreError>> {
        while !self.over {
            if let Some(changes) = self.ready.pop_front() {
                self.told = changes.revision;
                return Some(Ok(changes));
            }
            let why = match &mut self.open {
                None => match self.begin().await {
                    Ok(()) => continue,
                    Err(why) => why,
                },
                Some((_, answers)) => match answers.message().await {
                    Ok(Some(answer)) => match self.take(answer) {
                        Ok(()) => continue,
                        Err(why) => why,
                    },
                    Ok(None) => Ok("it ended the stream".to_owned()),
                    Err(status) => of_stream(&status).map_or_else(Err, Ok),
                },
            };
            match why {
                Ok(why) => self.elsewhere(&why).await,
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }

    /// Asks a node. An error is either a reason to ask another or the end.
    async fn begin(&mut self) -> Result<(), Result<String, StoreError>> {
        let limits = self.cluster.limits;
        self.cluster.authenticate(Instant::now() + limits.all).await.map_err(|error| match error {
            error if error.is_retryable() => Ok(error.to_string()),
            error => Err(error),
        })?;
        let (number, _, mut grpc) = self.cluster.node();
        let create = m::WatchCreateRequest {
            key: self.prefix.clone().into_bytes(),
            range_end: behind(&self.prefix),
            start_revision: i64::try_from(self.told.0).unwrap_or(i64::MAX).saturating_add(1),
        };
        // The stream of requests stays open: its end is the end of the watch.
        let requests = stream::iter([m::WatchRequest { create: Some(create) }])
            .chain(stream::pending::<m::WatchRequest>());
        let request = self.cluster.request(requests);
        let answer = async {
            grpc.ready().await.map_err(|error| Ok(options::chain(&error)))?;
            let codec = ProstCodec::<m::WatchRequest, m::WatchResponse>::default();
            let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
            let answers = grpc.streaming(request, path, codec).await;
            answers.map_err(|status| of_stream(&status).map_or_else(Err, Ok))
        };
        let within = Instant::now() + limits.node;
        let answers = timeout_at(within, answer).await.map_err(|_| Ok("no answer in time".to_owned()))??;
        self.open = Some((number, answers.into_inner()));
        Ok(())
    }

    fn take(&mut self, answer: m::WatchResponse) -> Result<(), Result<String, StoreError>> {
        if answer.compact_revision > 0 {
            return Err(Err(StoreError::Compacted(revision(answer.compact_revision))));
        }
        if answer.canceled {
            return Err(Ok(answer.cancel_reason));
        }
        self.pause = PAUSES.0;
        add_changes(&mut self.ready, answer.events, self.told);
        Ok(())
    }

    async fn elsewhere(&mut self, why: &str) {
        let (number, name) = match self.open.take() {
            Some((number, _)) => (number, String::new()),
            None => {
                let (number, name, _) = self.cluster.node();
                (number, name.to_owned())
            }
        };
        log::debug!("a watch of etcd goes on elsewhere: {name} {why}");
        self.cluster.leave(number);
        self.cluster.forget_token();
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
    }
}
