//! A server, a client without patience, and a watch that tells.

use std::time::Duration;

use k8s::pretend::Pretend;
use k8s::watch::{Update, watch_pod};
use k8s::{Client, KubeError, Limits, Pace, PodState};
use testkit::{LIMIT, TempDir};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) const NAMESPACE: &str = "shop";
pub(crate) const NAME: &str = "web-0";

pub(crate) struct Place {
    pub(crate) server: Pretend,
    /// The files of the service account.
    pub(crate) account: TempDir,
    _certificates: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::named("IP:127.0.0.1,DNS:localhost")
    }

    /// A server whose certificate is for these names.
    pub(crate) fn named(names: &str) -> Self {
        let certificates = testkit::private_directory();
        let server = Pretend::start_as(certificates.path(), names);
        Self { server, account: testkit::private_directory(), _certificates: certificates }
    }

    /// With a pod.
    pub(crate) fn with_pod() -> Self {
        let place = Self::new();
        place.server.set_pod(Some(k8s::pretend::pod(NAMESPACE, NAME)));
        place
    }

    pub(crate) fn client(&self) -> Client {
        self.client_with(quick())
    }

    pub(crate) fn client_with(&self, limits: Limits) -> Client {
        let config = self.server.config(self.account.path()).unwrap_or_else(|error| panic!("{error}"));
        Client::with_limits(config, limits).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn watch(&self) -> Watching {
        Watching::new(&self.client())
    }

    pub(crate) fn watch_with(&self, limits: Limits) -> Watching {
        Watching::new(&self.client_with(limits))
    }
}

/// Pauses of milliseconds; patience as ever.
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

/// A watch, and what it has told.
pub(crate) struct Watching {
    updates: mpsc::Receiver<Update>,
    task: JoinHandle<Result<(), KubeError>>,
}

impl Watching {
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
            Err(_) => panic!("nothing told within {LIMIT:?}"),
        }
    }

    /// The next thing told is how the pod is.
    pub(crate) async fn pod(&mut self) -> Option<PodState> {
        match self.next().await {
            Update::Pod(pod) => pod,
            Update::Trouble(error) => panic!("trouble: {error}"),
        }
    }

    /// The next thing told is a trouble.
    pub(crate) async fn trouble(&mut self) -> String {
        match self.next().await {
            Update::Trouble(error) => error.to_string(),
            Update::Pod(pod) => panic!("no trouble: {pod:?}"),
        }
    }

    /// The next thing told is this version of the pod.
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

    /// Nobody listens any more; the watch ends.
    pub(crate) async fn dropped(self) -> Result<(), KubeError> {
        drop(self.updates);
        match timeout(LIMIT, self.task).await {
            Ok(Ok(ended)) => ended,
            other => panic!("the watch does not end: {other:?}"),
        }
    }
}
