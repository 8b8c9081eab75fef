//! A fake API server with the objects and faults of a real one, for tests.
//!
//! It serves one pod over TLS, on a free port of 127.0.0.1, in its own thread. It supports get, list and watch, requires
//! the token of its service account, and injects faults on request. Failures of the server itself panic.

mod body;
mod certificates;
mod server;
mod shapes;
mod state;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::timeout;

pub use self::shapes::{container, pod, pod_of, state_running, state_terminated, state_waiting};
use self::state::ServerState;
pub use self::state::{After, Fault, RecordedRequest, Verb};
use crate::{Config, KubeError};

/// Time limit of waits, sufficient for a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// A fake API server, which is stopped when dropped.
pub struct FakeApiServer {
    address: SocketAddr,
    ca: PathBuf,
    state: Arc<ServerState>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeApiServer {
    /// Starts a server with a certificate for 127.0.0.1 and localhost. The CA, the certificate and their keys are created
    /// in the directory.
    #[must_use]
    pub fn start(directory: &Path) -> Self {
        Self::start_as(directory, "IP:127.0.0.1,DNS:localhost")
    }

    /// Starts a server with a certificate for these names, such as `IP:127.0.0.1` or `DNS:api.example`.
    #[must_use]
    pub fn start_as(directory: &Path, names: &str) -> Self {
        let made = certificates::make(directory, names);
        let state = Arc::new(ServerState::default());
        let (stop, stopped) = oneshot::channel();
        let (address, thread) = server::start(&made, Arc::clone(&state), stopped);
        Self { address, ca: made.ca, state, stop: Some(stop), thread: Some(thread) }
    }

    /// Returns the address of the server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes the files of a service account (token, ca.crt, namespace) and returns the variables that the kubelet would
    /// set.
    #[must_use]
    pub fn write_service_account(&self, directory: &Path) -> [(&'static str, String); 2] {
        self.state.give_token(directory);
        let ca = std::fs::read(&self.ca).unwrap_or_else(|error| panic!("{}: {error}", self.ca.display()));
        state::replace(&directory.join("ca.crt"), &ca);
        state::replace(&directory.join("namespace"), b"shop");
        [
            ("KUBERNETES_SERVICE_HOST", self.address.ip().to_string()),
            ("KUBERNETES_SERVICE_PORT", self.address.port().to_string()),
        ]
    }

    /// Writes the service account and returns the configuration.
    ///
    /// # Errors
    ///
    /// Those of [`Config::in_cluster`].
    pub fn config(&self, directory: &Path) -> Result<Config, KubeError> {
        let variables = self.write_service_account(directory);
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
        Config::in_cluster(variable, directory)
    }

    /// Rotates the token, in the server and in the files of the service account.
    pub fn rotate_token(&self, token: &str) {
        self.state.rotate_token(token);
    }

    /// Sets or deletes the pod. The server chooses its version and notifies all watches.
    pub fn set_pod(&self, pod: Option<Value>) {
        self.state.set_pod(pod);
    }

    /// Sets or deletes the node.
    pub fn set_node(&self, node: Option<Value>) {
        self.state.set_node(node);
    }

    /// Returns the newest version.
    #[must_use]
    pub fn version(&self) -> String {
        self.state.version()
    }

    /// Advances the version and sends a bookmark to the watches.
    pub fn bookmark(&self) {
        self.state.bookmark();
    }

    /// Compacts the history, as etcd does every few minutes: a watch from an older version gets an error event.
    pub fn compact(&self) {
        self.state.compact();
    }

    /// Sends arbitrary bytes to all open watches.
    pub fn send_raw(&self, text: &[u8]) {
        self.state.send_raw(text);
    }

    /// Sends arbitrary bytes to all open watches, then ends them.
    pub fn end_watches(&self, last_bytes: &[u8], after: After) {
        self.state.end_watches(last_bytes, after);
    }

    /// Injects a fault into the next request of this verb. Several faults are queued.
    pub fn fail_next(&self, verb: Verb, fault: Fault) {
        self.state.fail_next(verb, fault);
    }

    /// Removes all queued faults.
    pub fn clear_faults(&self) {
        self.state.clear_faults();
    }

    /// Sends responses byte by byte, or normally.
    pub fn trickle(&self, on: bool) {
        self.state.trickle(on);
    }

    /// Returns all requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state.requests()
    }

    /// Returns the number of open watches.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.state.watches()
    }

    /// Waits for a condition on the requests and the number of open watches; panics at the time limit.
    pub async fn wait_for(
        &self,
        what: &str,
        wanted: impl Fn(&[RecordedRequest], usize) -> bool,
    ) -> Vec<RecordedRequest> {
        let mut changes = self.state.changes();
        let waited = timeout(LIMIT, async {
            loop {
                let asked = self.state.requests();
                if wanted(&asked, self.state.watches()) || changes.changed().await.is_err() {
                    return asked;
                }
            }
        });
        match waited.await {
            Ok(asked) => asked,
            Err(_) => panic!("no {what} within {LIMIT:?}; requests: {:#?}", self.state.requests()),
        }
    }
}

impl Drop for FakeApiServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
    }
}
