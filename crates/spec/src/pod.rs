//! Coordination with the other containers of the pod.

use std::path::PathBuf;
use std::time::Duration;

/// The default directory of tombstones.
pub const DEFAULT_DIRECTORY: &str = "/graveyard";

/// The mode of a directory that sexton creates: each container may add its tombstone, and none may remove another's.
pub const DEFAULT_MODE: u32 = 0o1777;

/// The settings of the graveyard and of peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodPlan {
    /// The name of the tombstone of this sexton; `None`: it writes none.
    pub name: Option<String>,
    /// The directory of tombstones.
    pub directory: PathBuf,
    /// The mode of the directory, if it has to be created.
    pub mode: u32,
    /// The polling interval in addition to inotify; `None`: poll only where inotify does not work.
    pub poll: Option<Duration>,
    /// Watch the containers of this pod through the Kubernetes API.
    pub api: Option<ApiPlan>,
    /// Quit requests that are sent when sexton shuts down.
    pub quit: Vec<Quit>,
    /// Send them only if the exit code is 0.
    pub quit_on_success_only: bool,
}

impl Default for PodPlan {
    fn default() -> Self {
        Self {
            name: None,
            directory: PathBuf::from(DEFAULT_DIRECTORY),
            mode: DEFAULT_MODE,
            poll: None,
            api: None,
            quit: Vec::new(),
            quit_on_success_only: false,
        }
    }
}

/// The pod to watch through the Kubernetes API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiPlan {
    pub pod: String,
    /// `None`: the namespace of the service account.
    pub namespace: Option<String>,
}

/// A request that asks a server to shut down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quit {
    /// The URL of the POST request.
    pub url: String,
    /// The timeout, including retries.
    pub timeout: Duration,
    /// Whether a failure makes sexton fail.
    pub fatal: bool,
}
