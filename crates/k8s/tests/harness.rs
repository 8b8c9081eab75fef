//! A fake server, a client with short limits, and a watch.

use std::time::Duration;

use k8s::fake::FakeApiServer;
use k8s::watch::{Update, watch_pod};
use k8s::{Client, KubeError, Limits, Pace, PodState};
use testkit::{LIMIT, TempDir};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) const NAMESPACE: &str = "shop";
pub(crate) const NAME: &str = "web-0";

pub(crate) struct TestCluster {
    pub(crate) server: FakeApiServer,
    /// Files of the service account.
    pub(crate) account: TempDir,
    _certificates: TempDir,
}

impl TestCluster {
    pub(crate) fn new() -> Self {
        Self::named("IP:127.0.0.1,DNS:localhost")
    }

    /// Starts a server with a certificate for these names.
    pub(crate) fn named(names: &str) -> Self {
        let certificates = testkit::private_directory();
        let server = FakeApiServer::start_as(certificates.path(), names);
        Self { server, account: testkit::private_directory(), _certificates: certificates }
    }

    /// Starts a server with a pod.
    pub(crate) fn with_pod() -> Self {
        let cluster = Self::new();
        cluster.server.set_pod(Some(k8s::fake::pod(NAMESPACE, NAME)));
        cluster
    }

    pub(crate) fn client(&self) -> Client {
        self.client_with(quick())
    }

    pub(crate) fn client_with(&self, limits: Limits) -> Client {
        let config = self.server.config(self.account.path()).unwrap_or_else(|error| panic!("{error}"));
        Client::with_limits(config, limits).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn watch(&self) -> TestWatch {
        TestWatch::new(&self.client())
    }

    pub(crate) fn watch_with(&self, limits: Limits) -> TestWatch {
        TestWatch::new(&self.client_with(limits))
    }
}

/// Default limits with pauses of milliseconds.
pub(crate) fn quick() -> Limits {
    Limits {
        pace: Pace {
            first: Duration::from_millis(2),
            longest: Duration::from_millis(20),
            stood: Duration::from_millis(50),
        },
        ..Limits::default()
    }
}

/// A watch and its updates.
pub(crate) struct TestWatch {
    updates: mpsc::Receiver<Update>,
    task: JoinHandle<Result<(), KubeError>>,
}

impl TestWatch {
    pub(crate) fn new(client: &Client) -> Self {
        let (sender, updates) = mpsc::channel(100);
        let client = client.clone();
        let task = tokio::spawn(async move { watch_pod(&client, NAMESPACE, NAME, sender).await });
        Self { updates, task }
    }

    pub(crate) async fn next(&mut self) -> Update {
        match timeout(LIMIT, self.updates.recv()).await {
            Ok(Some(update)) => update,
            Ok(None) => panic!("the watch has ended"),
            Err(_) => panic!("no update within {LIMIT:?}"),
        }
    }

    /// Expects an update of the pod.
    pub(crate) async fn pod(&mut self) -> Option<PodState> {
        match self.next().await {
            Update::Pod(pod) => pod,
            Update::Failed(error) => panic!("failure: {error}"),
        }
    }

    /// Expects a failure.
    pub(crate) async fn failure(&mut self) -> String {
        match self.next().await {
            Update::Failed(error) => error.to_string(),
            Update::Pod(pod) => panic!("no failure: {pod:?}"),
        }
    }

    /// Expects this version of the pod.
    #[track_caller]
    pub(crate) fn version(&mut self, expected: &str) -> impl Future<Output = ()> {
        let expected = expected.to_owned();
        let at = std::panic::Location::caller();
        async move {
            let pod = self.pod().await;
            let version = pod.as_ref().map(|pod| pod.resource_version.as_str());
            assert_eq!(version, Some(expected.as_str()), "{at}: {pod:?}");
        }
    }

    /// Drops the receiver and waits for the end of the watch.
    pub(crate) async fn dropped(self) -> Result<(), KubeError> {
        drop(self.updates);
        match timeout(LIMIT, self.task).await {
            Ok(Ok(ended)) => ended,
            other => panic!("the watch does not end: {other:?}"),
        }
    }
}
