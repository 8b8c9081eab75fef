//! A watch that continues at another node after a failure.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ensemble::{Change, Changes, Revision, StoreError, Watch};
use futures_util::stream::{self, StreamExt as _};
use http::uri::PathAndQuery;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Streaming;
use tonic_prost::ProstCodec;

use crate::calls::{Cluster, stream_verdict};
use crate::messages as m;
use crate::{entry, options, prefix_end, revision};

/// First and maximum pause before the next node is tried.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

struct WatchState {
    cluster: Arc<Cluster>,
    prefix: String,
    /// Last yielded revision.
    last: Revision,
    open: Option<(usize, Streaming<m::WatchResponse>)>,
    /// Received and not yet yielded changes.
    ready: VecDeque<Changes>,
    pause: Duration,
    closed: bool,
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
    let state = WatchState {
        cluster,
        prefix: prefix.to_owned(),
        last: after,
        open: None,
        ready: VecDeque::new(),
        pause: PAUSES.0,
        closed: false,
    };
    Box::pin(stream::unfold(state, |mut state| async move {
        let next = state.next().await?;
        Some((next, state))
    }))
}

impl WatchState {
    async fn next(&mut self) -> Option<Result<Changes, StoreError>> {
        while !self.closed {
            if let Some(changes) = self.ready.pop_front() {
                self.last = changes.revision;
                return Some(Ok(changes));
            }
            let why = match &mut self.open {
                None => match self.open_stream().await {
                    Ok(()) => continue,
                    Err(why) => why,
                },
                Some((_, responses)) => match responses.message().await {
                    Ok(Some(response)) => match self.take(response) {
                        Ok(()) => continue,
                        Err(why) => why,
                    },
                    Ok(None) => Ok("the stream was closed".to_owned()),
                    Err(status) => stream_verdict(&status).map_or_else(Err, Ok),
                },
            };
            match why {
                Ok(why) => self.switch_node(&why).await,
                Err(error) => {
                    self.closed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }

    /// Opens the watch at a node. `Err(Ok)` is a reason to try another node, `Err(Err)` ends the watch.
    async fn open_stream(&mut self) -> Result<(), Result<String, StoreError>> {
        let limits = self.cluster.limits;
        self.cluster.authenticate(Instant::now() + limits.all).await.map_err(|error| match error {
            error if error.is_retryable() => Ok(error.to_string()),
            error => Err(error),
        })?;
        let (number, _, mut grpc) = self.cluster.node();
        let create = m::WatchCreateRequest {
            key: self.prefix.clone().into_bytes(),
            range_end: prefix_end(&self.prefix),
            start_revision: i64::try_from(self.last.0).unwrap_or(i64::MAX).saturating_add(1),
        };
        // The request stream stays open: closing it would end the watch.
        let requests = stream::iter([m::WatchRequest { create: Some(create) }])
            .chain(stream::pending::<m::WatchRequest>());
        let request = self.cluster.request(requests);
        let response = async {
            grpc.ready().await.map_err(|error| Ok(options::chain(&error)))?;
            let codec = ProstCodec::<m::WatchRequest, m::WatchResponse>::default();
            let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
            let responses = grpc.streaming(request, path, codec).await;
            responses.map_err(|status| stream_verdict(&status).map_or_else(Err, Ok))
        };
        let deadline = Instant::now() + limits.node;
        let responses = timeout_at(deadline, response).await.map_err(|_| Ok("timeout".to_owned()))??;
        self.open = Some((number, responses.into_inner()));
        Ok(())
    }

    fn take(&mut self, response: m::WatchResponse) -> Result<(), Result<String, StoreError>> {
        if response.compact_revision > 0 {
            return Err(Err(StoreError::Compacted(revision(response.compact_revision))));
        }
        if response.canceled {
            return Err(Ok(response.cancel_reason));
        }
        self.pause = PAUSES.0;
        add_changes(&mut self.ready, response.events, self.last);
        Ok(())
    }

    async fn switch_node(&mut self, why: &str) {
        let (number, name) = match self.open.take() {
            Some((number, _)) => (number, String::new()),
            None => {
                let (number, name, _) = self.cluster.node();
                (number, name.to_owned())
            }
        };
        log::debug!("an etcd watch continues at another node: {name} {why}");
        self.cluster.leave(number);
        self.cluster.forget_token();
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
    }
}
