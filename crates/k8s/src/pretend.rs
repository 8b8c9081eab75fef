//! A server with the shapes and faults of the API, for tests.
//!
//! It serves one pod, over TLS, on a port of 127.0.0.1 that the system chooses, from a thread of its own. It can
//! get, list and watch; it wants the token of its service account; and it does wrong whatever it is told to.
//! What cannot be done ends in a panic: a test has no better use for it.

mod body;
mod certificates;
mod server;
mod shapes;
mod world;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::timeout;

pub use self::shapes::{container, pod, pod_of, state_running, state_terminated, state_waiting};
use self::world::World;
pub use self::world::{After, Asked, Fault, Verb};
use crate::{Config, KubeError};

/// Longer than anything that works takes, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(30);

/// A pretend API server. It ends when it is dropped.
pub struct Pretend {
    address: SocketAddr,
    ca: PathBuf,
    world: Arc<World>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Pretend {
    /// Starts a server whose certificate is for 127.0.0.1 and for localhost. A CA, the certificate and their keys
    /// are made in the directory.
    #[must_use]
    pub fn start(directory: &Path) -> Self {
        Self::start_as(directory, "IP:127.0.0.1,DNS:localhost")
    }

    /// Starts a server whose certificate is for these names, such as `IP:127.0.0.1` or `DNS:api.example`.
    #[must_use]
    pub fn start_as(directory: &Path, names: &str) -> Self {
        let made = certificates::make(directory, names);
        let world = Arc::new(World::default());
        let (stop, stopped) = oneshot::channel();
        let (address, thread) = server::start(&made, Arc::clone(&world), stopped);
        Self { address, ca: made.ca, world, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes the files that a pod has of its service account (token, ca.crt, namespace), and returns the variables
    /// that the kubelet would set. From now on the server wants this token.
    #[must_use]
    pub fn write_service_account(&self, directory: &Path) -> [(&'static str, String); 2] {
        self.world.give_token(directory);
        let ca = std::fs::read(&self.ca).unwrap_or_else(|error| panic!("{}: {error}", self.ca.display()));
        world::replace(&directory.join("ca.crt"), &ca);
        world::replace(&directory.join("namespace"), b"shop");
        [
            ("KUBERNETES_SERVICE_HOST", self.address.ip().to_string()),
            ("KUBERNETES_SERVICE_PORT", self.address.port().to_string()),
        ]
    }

    /// The same as a configuration.
    ///
    /// # Errors
    ///
    /// As [`Config::in_cluster`].
    pub fn config(&self, directory: &Path) -> Result<Config, KubeError> {
        let variables = self.write_service_account(directory);
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        Config::in_cluster(variable, directory)
    }

    /// Replaces the token, here and in the files of the service account, as a cluster does every hour or so.
    pub fn rotate_token(&self, token: &str) {
        self.world.rotate_token(token);
    }

    /// There is this pod from now on, or none. Its version is chosen by the server. All watches are told.
    pub fn set_pod(&self, pod: Option<Value>) {
        self.world.set_pod(pod);
    }

    /// There is this node from now on, or none.
    pub fn set_node(&self, node: Option<Value>) {
        self.world.set_node(node);
    }

    /// The newest version.
    #[must_use]
    pub fn version(&self) -> String {
        self.world.version()
    }

    /// Something else in the cluster changes: the version goes on, and the watches are told of it by a bookmark.
    pub fn bookmark(&self) {
        self.world.bookmark();
    }

    /// Forgets all that was, as etcd does every few minutes: who watches from an older version than the newest is
    /// told that it is gone, by an event.
    pub fn compact(&self) {
        self.world.compact();
    }

    /// Writes to all watches that are open, whatever it is: an event, half of one, no JSON.
    pub fn say(&self, text: &[u8]) {
        self.world.say(text);
    }

    /// The same, and then ends them in some way.
    pub fn end_watches(&self, last_words: &[u8], after: After) {
        self.world.end_watches(last_words, after);
    }

    /// What goes wrong with the next request of this verb. Several faults are met one after the other.
    pub fn fail_next(&self, verb: Verb, fault: Fault) {
        self.world.fail_next(verb, fault);
    }

    /// Forgets all faults that were not met yet.
    pub fn mend(&self) {
        self.world.mend();
    }

    /// From now on answers come byte by byte, or again as a whole.
    pub fn trickle(&self, on: bool) {
        self.world.trickle(on);
    }

    /// All requests so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.world.asked()
    }

    /// How many watches are open.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.world.watches()
    }

    /// Waits until the requests, and the number of open watches, are as wanted; panics when that takes too long.
    pub async fn until(&self, what: &str, wanted: impl Fn(&[Asked], usize) -> bool) -> Vec<Asked> {
        let mut changes = self.world.changes();
        let waited = timeout(LIMIT, async {
            loop {
                let asked = self.world.asked();
                if wanted(&asked, self.world.watches()) || changes.changed().await.is_err() {
                    return asked;
                }
            }
        });
        match waited.await {
            Ok(asked) => asked,
            Err(_) => panic!("waited {LIMIT:?} in vain: {what}; asked: {:#?}", self.world.asked()),
        }
    }
}

impl Drop for Pretend {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has said itself why it panicked, if it did.
            let _ = thread.join();
        }
    }
}
